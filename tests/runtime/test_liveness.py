"""What a worker looks at when it looks at itself."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from cutover_app.core.liveness import Look
from cutover_app.kafka.settings import Broker
from cutover_app.runtime.liveness import LivenessWatch, Reading
from cutover_app.runtime.worker import WorkerState


def look(state: WorkerState, tenure: int | None) -> Look:
    """Look at a worker in a state, whose legacy topic is read directly, by a group in which it has this tenure."""
    app: Any = SimpleNamespace(
        tenure=1,
        standing=SimpleNamespace(state=state),
        idle_agents=list,
        doubts=False,
        chunk_consumer=SimpleNamespace(uncommitted=lambda: None),
        recovery_remaining=lambda: 0,
        hearts=[],
        judging=SimpleNamespace(examined=0),
    )
    group: Any = SimpleNamespace(tenure=tenure)

    async def nothing_unread() -> dict[str, int]:
        return {}

    async def play() -> Look:
        watch = LivenessWatch(app, [Reading(Broker.parse("127.0.0.1:1"), group, "legacy", dict)])
        watch._unread = nothing_unread  # type: ignore[method-assign]
        return await watch._look()

    return asyncio.run(play())


@pytest.mark.parametrize("state", [WorkerState.WORKING, WorkerState.SPARE])
def test_a_reader_that_should_be_in_its_group_and_is_not_is_seen(state: WorkerState) -> None:
    """Such a reader has no partitions that could stand still; a worker without partitions of its own may have one."""
    seen = look(state, None)
    assert seen.works
    assert seen.unassigned == ["legacy"]
    assert look(state, 3).unassigned == []
