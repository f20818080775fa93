"""What Faust's consumer commits: positions with their notes, and each of them once."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from faust.types import TP

from cutover_app.kafka.settings import Broker
from cutover_app.runtime.app import CutoverApp, settings
from cutover_app.runtime.transport import ChunkConsumer

PLACE = TP("intake", 0)


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """Return what is committed of the one partition that there is, in place of a broker."""
    made: list[tuple[int, str]] = []

    async def commit(_thread: object, wanted: Mapping[TP, tuple[int, str]]) -> bool:
        made.append(wanted[PLACE])
        return True

    monkeypatch.setattr("cutover_app.runtime.transport.ChunkThread.commit_with_notes", commit)
    monkeypatch.setattr(ChunkConsumer, "assignment", lambda _consumer: {PLACE})
    return made


def test_a_note_is_committed_at_the_same_position_too(commits: list[tuple[int, str]], tmp_path: Path) -> None:
    """The reason of a quarantine, or a new edge, comes where no offset moves: Faust would keep it to itself."""

    async def play() -> None:
        app = CutoverApp("committing", **settings(Broker.parse("kafka://127.0.0.1:1"), datadir=tmp_path))
        consumer = app.chunk_consumer
        for at in ((5, ""), (5, ""), (5, "quarantined"), (5, "quarantined"), (6, "quarantined")):
            consumer.set_committable(PLACE, *at)
            await consumer.commit()
            assert consumer.uncommitted() is None
        consumer.set_committable(PLACE, 6, "")
        assert consumer.uncommitted() == {"intake/0": 6}

    asyncio.run(play())
    assert commits == [(5, ""), (5, "quarantined"), (6, "quarantined")]
