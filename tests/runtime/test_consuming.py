"""What is asked of an aiokafka consumer beside records."""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import CommitFailedError, GroupAuthorizationFailedError, KafkaError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from cutover_app.lab.cluster import Cluster
from cutover_app.runtime import consuming
from cutover_app.runtime.consuming import commit, go_on, keep_session, take_chunks
from cutover_app.runtime.fatal import FatalError

PATIENCE_SECONDS = 20.0
SESSION_SECONDS = 6.0
"""As short as brokers allow."""
PLACE = TopicPartition("source", 0)


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


class Position:
    """Where a consumer is in a partition."""

    position, lso, paused = 10, None, False

    def consumed_to(self, position: int) -> None:
        """Move on."""
        self.position = position


def fetched(position: Position, *batches: tuple[int, int], damaged: int | None = None) -> Any:
    """A fetcher that holds batches of (offset, records), of which one is damaged."""
    data = b""
    for offset, records in batches:
        builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
        for number in range(records):
            builder.append(number, 0, b"key", b"value", [])
        made = bytearray(builder.build())
        made[:8] = offset.to_bytes(8, "big")
        made[-1] ^= offset == damaged
        data += made
    assignment = SimpleNamespace(active=True, state_value=lambda _tp: position)
    parsed = PartitionRecords(PLACE, MemoryRecords(data), [], position.position, None, None, True, 1)
    result = FetchResult(PLACE, assignment=assignment, partition_records=parsed, backoff=0)
    return SimpleNamespace(_records={PLACE: result}, _notify=lambda _future: None, _wait_consume_future=None)


def taken(fetcher: Any) -> list[tuple[int, int, int]]:
    """Positions and number of records of the chunks that are taken off a fetcher."""
    chunks = take_chunks(fetcher, {TP(*PLACE)}, 4).values()
    return [(each.start, each.end, len(each.records)) for (each,) in chunks]


def test_what_was_read_before_a_damaged_batch_goes_out() -> None:
    """Nothing is skipped and nothing handed out twice: chunks end where the damage begins."""
    position = Position()
    fetcher = fetched(position, (10, 3), (13, 3), (16, 2), (18, 1), damaged=16)
    assert [taken(fetcher) for _ in range(3)] == [[(10, 14, 4)], [(14, 16, 2)], []]
    assert (position.position, fetcher._records) == (16, {})
    assert taken(fetched(position, (16, 2), (18, 1))) == [(16, 19, 3)], "it was damaged on its way only"


def test_a_batch_that_stays_damaged_ends_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is fetched again for a while, a second apart; then one line names the place, and where to go on."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(consuming, "monotonic", lambda: clock.now)
    position = Position()
    for _second in range(10):
        fetcher = fetched(position, (10, 3), damaged=10)
        assert (taken(fetcher), taken(fetcher), PLACE in fetcher._records) == ([], [], True)
        clock.now += 1.0
        assert (taken(fetcher), PLACE in fetcher._records) == ([], False), "now it is fetched again"
    with pytest.raises(FatalError, match=r"^source\[0\]: the batch at offset 10 .* the records below offset 13 \("):
        taken(fetched(position, (10, 3), damaged=10))
    assert position.position == 10


@pytest.mark.parametrize(
    ("error", "ended"),
    [(GroupAuthorizationFailedError("group"), False), (KafkaError("whatever"), True)],
    ids=["refused", "the coordination has ended"],
)
def test_what_another_try_will_not_mend_is_raised(error: KafkaError, ended: bool) -> None:
    """A permission does not come back by asking again, and what has ended tries nothing."""

    def check_errors() -> None:
        raise error

    coordinator = SimpleNamespace(
        check_errors=check_errors, _heartbeat_task=None, _coordination_task=SimpleNamespace(done=lambda: ended)
    )
    subscription = SimpleNamespace(fetch_context=nullcontext)
    with pytest.raises(type(error)):
        go_on(SimpleNamespace(_coordinator=coordinator, _subscription=subscription))


def test_a_member_whose_heartbeats_have_ended_joins_again() -> None:
    """Aiokafka gives up for good at an answer that it does not know; who has nothing to commit would never find out."""
    asked: list[str] = []

    async def play() -> None:
        async def beat() -> None:
            raise KafkaError("an unknown error")

        beating = asyncio.create_task(beat())
        await asyncio.wait([beating])
        coordinator = SimpleNamespace(
            check_errors=lambda: None, _heartbeat_task=beating, request_rejoin=lambda: asked.append("rejoin")
        )
        go_on(SimpleNamespace(_coordinator=coordinator, _subscription=SimpleNamespace(fetch_context=nullcontext)))

    asyncio.run(play())
    assert asked == ["rejoin"]


class Slow(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka is not typed
    """Takes longer to take partitions over than its session lasts."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self.taken = 0

    async def on_partitions_assigned(self, _assigned: Any) -> None:
        """Take them over."""
        self.taken += 1
        keep_session(self._consumer)
        await asyncio.sleep(1.5 * SESSION_SECONDS)

    async def on_partitions_revoked(self, _revoked: Any) -> None:
        """Nothing is to be done."""


def test_whoever_takes_long_to_take_partitions_over_stays_a_member(kafka: Cluster, topic: Callable[..., str]) -> None:
    """It would fence who has them by then, find out, join again, take long again, and so on."""
    name = topic("consuming")

    async def play() -> int:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=kafka.bootstrap,
            group_id=f"group-of-{name}",
            session_timeout_ms=int(SESSION_SECONDS * 1000),
            heartbeat_interval_ms=500,
        )
        listener = Slow(consumer)
        consumer.subscribe([name], listener=listener)
        try:
            await consumer.start()
            await asyncio.sleep(2.0)
            return listener.taken
        finally:
            await consumer.stop()

    assert asyncio.run(play()) == 1


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
        _coordinator=SimpleNamespace(coordinator_id=node, generation=1),
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
        _client=SimpleNamespace(cluster=SimpleNamespace(partitions_for_topic=lambda _topic: left)),
        _coordinator=SimpleNamespace(generation=1),
        commit=committing,
    )
    done = asyncio.run(commit(consumer, {TP("source", 0): (7, "a"), TP("source", 1): (8, "b")}))
    assert {tp.partition for tp in done} == (left or set())
    assert asked == ([{TopicPartition(*tp): OffsetAndMetadata(*at) for tp, at in done.items()}] if left else [])


def test_who_is_no_member_any_more_commits_nothing() -> None:
    """Kafka takes positions of anybody while a group is empty; those of a run that was reset are not the new one's."""
    consumer = SimpleNamespace(
        _client=SimpleNamespace(cluster=SimpleNamespace(partitions_for_topic=lambda _topic: {0})),
        _coordinator=SimpleNamespace(generation=-1),
    )
    with pytest.raises(CommitFailedError, match="session has ended"):
        asyncio.run(commit(consumer, {TP("source", 0): (7, "")}))
