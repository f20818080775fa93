"""What a worker looks at when it looks at itself."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import LeaderNotAvailableError

from cutover_app.core.liveness import Look
from cutover_app.kafka.settings import Broker
from cutover_app.runtime.liveness import LivenessWatch, Reading
from cutover_app.runtime.worker import WorkerState


def look(state: WorkerState, tenure: int | None, *unknown: str, mute: str = "") -> Look:
    """Look at a worker in a state, whose legacy topic is read directly, by a group in which it has this tenure."""
    app: Any = SimpleNamespace(
        tenure=1,
        standing=SimpleNamespace(state=state),
        idle_agents=list,
        doubts=False,
        chunk_consumer=SimpleNamespace(uncommitted=lambda: None),
        recovery_remaining=lambda: 0,
        hearts=[
            SimpleNamespace(overdue=True, stage=SimpleNamespace(topic=each, sender=SimpleNamespace(beats=7)))
            for each in ("legacy", "rebuilt")
        ],
        judging=SimpleNamespace(examined=0),
    )
    group: Any = SimpleNamespace(tenure=tenure)

    class Asked:
        """A cluster that knows of no topic, and gives no answer about some."""

        async def topics(self, names: list[str]) -> dict[str, Any]:
            """Look it up."""
            if names[0] == mute:
                await asyncio.sleep(60)
            if unknown and names[0] in unknown:
                raise LeaderNotAvailableError(names[0])
            return {}

    async def play() -> Look:
        broker, asked = Broker.parse("127.0.0.1:1"), Asked()
        watch = LivenessWatch(app, [Reading(broker, group, "legacy", dict), Reading(broker, app, "intake", dict)])
        watch._readings = [(asked, each) for _cluster, each in watch._readings]  # type: ignore[misc]
        return await watch._look()

    return asyncio.run(play())


@pytest.mark.parametrize("state", [WorkerState.WORKING, WorkerState.SPARE])
def test_a_reader_that_should_be_in_its_group_and_is_not_is_seen(state: WorkerState) -> None:
    """Such a reader has no partitions that could stand still; a worker without partitions of its own may have one."""
    seen = look(state, None)
    assert seen.works
    assert seen.unassigned == ["legacy"]
    assert look(state, 3).unassigned == []


def test_a_topic_of_which_nobody_knows_hides_no_other() -> None:
    """The legacy cluster may be away for long: what it keeps from getting on is no fault, and the rest still is."""
    seen = look(WorkerState.WORKING, None, "legacy")
    assert (seen.answered, list(seen.unassigned), list(seen.silent)) == (True, [], ["rebuilt"])
    assert list(look(WorkerState.WORKING, 3).silent) == ["legacy", "rebuilt"]
    assert not look(WorkerState.WORKING, None, "intake").answered


def test_a_cluster_that_is_mute_delays_no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its packets are dropped: nobody knows of its topic, and the worker looks at the rest all the same."""
    monkeypatch.setattr("cutover_app.runtime.liveness.ANSWER_SECONDS", 0.05)
    seen = look(WorkerState.WORKING, None, mute="legacy")
    assert (seen.answered, list(seen.silent)) == (True, ["rebuilt"])
