"""Which partitions are held while others are behind."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from faust.types import TP

from cutover_app.core.frames import LEGACY, REBUILT
from cutover_app.runtime.alignment import AHEAD_MS, Alignment
from cutover_app.runtime.chunks import Chunk

OLD, NEW = TP("orders", 0), TP("orders", 0)


@dataclass
class _Record:
    timestamp: int


class _Readers:
    """Two readers, and what each of them holds."""

    def __init__(self, alignment: Alignment) -> None:
        self.held: dict[int, set[TP]] = {LEGACY: set(), REBUILT: set()}
        for side in self.held:
            alignment.join(side, lambda tps, side=side: self._hold(side, tps))

    def _hold(self, side: int, tps: Iterable[TP]) -> None:
        self.held[side] = set(tps)


def chunk(tp: TP, timestamp: int, *, end: int, readable: int) -> Chunk:
    records: Any = [_Record(timestamp)]
    return Chunk(tp, 0, end, records, size=1, readable=readable)


def test_each_reader_is_told_what_it_holds() -> None:
    """Whichever side moves, the one that is ahead is held; topics of one name on two clusters are two topics."""
    alignment = Alignment()
    readers = _Readers(alignment)
    alignment.moved(LEGACY, chunk(OLD, 0, end=10, readable=90))
    alignment.moved(REBUILT, chunk(NEW, AHEAD_MS + 1, end=10, readable=90))

    assert readers.held == {LEGACY: set(), REBUILT: {NEW}}

    alignment.moved(LEGACY, chunk(OLD, 2 * AHEAD_MS + 2, end=20, readable=90))

    assert readers.held == {LEGACY: {OLD}, REBUILT: set()}


def test_a_side_at_its_end_holds_nobody_back() -> None:
    """It may be idle for hours."""
    alignment = Alignment()
    readers = _Readers(alignment)
    alignment.moved(LEGACY, chunk(OLD, 0, end=90, readable=90))
    alignment.moved(REBUILT, chunk(NEW, AHEAD_MS + 1, end=10, readable=90))

    assert readers.held == {LEGACY: set(), REBUILT: set()}


def test_a_side_that_is_gone_holds_nobody_back() -> None:
    """What another worker reads now is no reason to hold anything here."""
    alignment = Alignment()
    readers = _Readers(alignment)
    alignment.moved(LEGACY, chunk(OLD, 0, end=10, readable=90))
    alignment.moved(REBUILT, chunk(NEW, AHEAD_MS + 1, end=10, readable=90))
    alignment.clear(LEGACY)

    assert readers.held == {LEGACY: set(), REBUILT: set()}
