"""What is asked of an aiokafka consumer beside records."""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from cutover_app.lab.cluster import Cluster
from cutover_app.runtime import consuming
from cutover_app.runtime.consuming import commit, go_on

PATIENCE_SECONDS = 20.0


class Stumbling(RoundRobinPartitionAssignor):  # type: ignore[misc] # aiokafka is not typed
    """Fails at the first time, as any does that meets a topic which is just being deleted."""

    stumbled = False

    @classmethod
    def assign(cls, cluster: Any, members: Any) -> Any:
        """Hand out partitions."""
        if not cls.stumbled:
            cls.stumbled = True
            raise KeyError("a partition that has gone")
        return super().assign(cluster, members)


async def until(holds: Callable[[], Any]) -> None:
    """Wait for something that aiokafka does not tell."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.05)


def test_a_group_that_failed_to_hand_out_its_partitions_tries_again(kafka: Cluster, topic: Callable[..., str]) -> None:
    """Without being asked, aiokafka waits for ever; once somebody has asked, the partitions come."""
    name = topic("consuming", partitions=2)

    async def play() -> None:
        consumer = AIOKafkaConsumer(
            name,
            bootstrap_servers=kafka.bootstrap,
            group_id=f"group-of-{name}",
            partition_assignment_strategy=[Stumbling],
        )
        starting = asyncio.create_task(consumer.start())
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await until(lambda: consumer._coordinator and consumer._coordinator._pending_exception)
                await asyncio.sleep(1.0)
                assert not consumer.assignment()
                go_on(consumer)
                await until(lambda: len(consumer.assignment()) == 2)
        finally:
            starting.cancel()
            await consumer.stop()

    asyncio.run(play())
    assert Stumbling.stumbled


@pytest.mark.parametrize(
    ("error", "ended"),
    [(GroupAuthorizationFailedError("group"), False), (KafkaError("whatever"), True)],
    ids=["refused", "the coordination has ended"],
)
def test_what_another_try_will_not_mend_is_raised(error: KafkaError, ended: bool) -> None:
    """A permission does not come back by asking again, and what has ended tries nothing."""

    def check_errors() -> None:
        raise error

    coordinator = SimpleNamespace(check_errors=check_errors, _coordination_task=SimpleNamespace(done=lambda: ended))
    subscription = SimpleNamespace(fetch_context=nullcontext)
    with pytest.raises(type(error)):
        go_on(SimpleNamespace(_coordinator=coordinator, _subscription=subscription))


@pytest.mark.parametrize(
    ("node", "words"), [(None, "no coordinator of the group is found"), (3, "broker 3, the coordinator, takes none")]
)
def test_a_commit_that_nobody_answers_says_who_it_waits_for(
    node: int | None, words: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is heard of aiokafka while it tries again: somebody who reads the log has to know what to look at."""
    monkeypatch.setattr(consuming, "COMMIT_SECONDS_MAX", 0.05)
    cluster = SimpleNamespace(partitions_for_topic=lambda _topic: {0})
    consumer = SimpleNamespace(
        _client=SimpleNamespace(cluster=cluster),
        _coordinator=SimpleNamespace(coordinator_id=node),
        commit=lambda _offsets: asyncio.sleep(60),
    )
    with pytest.raises(TimeoutError):
        asyncio.run(commit(consumer, {TP("source", 0): (7, "")}))
    assert words in caplog.text


@pytest.mark.parametrize("left", [{0, 1}, {1}, set(), None], ids=["both", "one", "no partition", "no topic"])
def test_what_is_gone_is_neither_committed_nor_said_to_be(left: set[int] | None) -> None:
    """A topic that was deleted has nothing left to commit to, and aiokafka takes no empty commit: nobody asks it."""
    asked: list[Any] = []

    async def committing(offsets: Any) -> None:
        asked.append(offsets)

    consumer = SimpleNamespace(
        _client=SimpleNamespace(cluster=SimpleNamespace(partitions_for_topic=lambda _topic: left)), commit=committing
    )
    done = asyncio.run(commit(consumer, {TP("source", 0): (7, "a"), TP("source", 1): (8, "b")}))
    assert {tp.partition for tp in done} == (left or set())
    assert asked == ([{TopicPartition(*tp): OffsetAndMetadata(*at) for tp, at in done.items()}] if left else [])
