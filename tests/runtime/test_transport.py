"""Faust's consumer as we have it, without a cluster: what it asks of its thread, and what it says of commits."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from cutover_app.kafka.settings import Broker
from cutover_app.runtime import transport
from cutover_app.runtime.app import CutoverApp, settings
from cutover_app.runtime.transport import ChunkConsumer


@pytest.fixture
def consuming(tmp_path: Path) -> Callable[..., ChunkConsumer]:
    """Return what makes a consumer with a thread that does what it is given; within an event loop."""

    def made(**thread: Any) -> ChunkConsumer:
        app = CutoverApp("consuming", **settings(Broker.parse("kafka://127.0.0.1:1"), datadir=tmp_path))
        consumer = app.chunk_consumer
        consumer._thread = SimpleNamespace(**thread)  # type: ignore[assignment]
        return consumer

    return made


def test_a_worker_without_partitions_stays_in_its_group(
    consuming: Callable[..., ChunkConsumer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust does not even ask for records then: its group is helped on by the clock, and not by what is fetched."""
    monkeypatch.setattr(transport, "GO_ON_SECONDS", 0.01)

    async def play() -> None:
        helped = asyncio.Semaphore(0)

        async def go_on() -> None:
            helped.release()

        consumer = consuming(go_on=go_on)
        helping = asyncio.create_task(ChunkConsumer._go_on_forever(consumer))
        async with asyncio.timeout(5.0):
            for _ in range(3):
                await helped.acquire()
        helping.cancel()

    asyncio.run(play())


@pytest.mark.parametrize(
    ("committed", "said"),
    [({}, {"t/0": -1, "t/1": -1}), ({1: 0}, {"t/0": -1, "t/1": 0}), ({0: 0, 1: 7}, None)],
    ids=["nothing", "one of two", "all"],
)
def test_what_was_committed_is_committed_at_offset_0_too(
    consuming: Callable[..., ChunkConsumer], committed: dict[int, int], said: dict[str, int] | None
) -> None:
    """A partition that never had a record stands at 0: a worker that has committed this has nothing left to commit."""

    async def play() -> dict[str, int] | None:
        consumer = consuming()
        consumer._committed |= {TP("t", number): (offset, "") for number, offset in committed.items()}
        consumer.set_committable(TP("t", 0), 0)
        consumer.set_committable(TP("t", 1), 7)
        return consumer.uncommitted()

    assert asyncio.run(play()) == said


def test_what_was_not_committed_stays_to_be_committed(consuming: Callable[..., ChunkConsumer]) -> None:
    """Of two partitions one was deleted: only the other is noted as committed."""

    async def commit(commits: dict[TP, tuple[int, str]]) -> dict[TP, tuple[int, str]]:
        return {tp: at for tp, at in commits.items() if tp.partition == 1}

    async def play() -> tuple[bool, dict[str, int] | None]:
        consumer = consuming(commit_with_notes=commit)
        places = {TP("t", number): 7 for number in range(2)}
        consumer.assignment = lambda: set(places)  # type: ignore[method-assign]
        for tp, offset in places.items():
            consumer.set_committable(tp, offset)
        return await consumer._commit_offsets(places), consumer.uncommitted()

    assert asyncio.run(play()) == (True, {"t/0": -1, "t/1": 7})


def test_a_note_is_committed_at_the_same_position_too(consuming: Callable[..., ChunkConsumer]) -> None:
    """The reason of a quarantine, or a new edge, comes where no offset moves: Faust would keep it to itself."""
    place = TP("intake", 0)
    made: list[tuple[int, str]] = []

    async def commit(commits: dict[TP, tuple[int, str]]) -> dict[TP, tuple[int, str]]:
        made.append(commits[place])
        return commits

    async def play() -> None:
        consumer = consuming(commit_with_notes=commit)
        consumer.assignment = lambda: {place}  # type: ignore[method-assign]
        for at in ((5, ""), (5, ""), (5, "quarantined"), (5, "quarantined"), (6, "quarantined")):
            consumer.set_committable(place, *at)
            await consumer.commit()
            assert consumer.uncommitted() is None
        consumer.set_committable(place, 6, "")
        assert consumer.uncommitted() == {"intake/0": 6}

    asyncio.run(play())
    assert made == [(5, ""), (5, "quarantined"), (6, "quarantined")]
