"""Keeps the sides of a backlog together, so that most pairs meet between two checkpoints.

Two topics that are read as fast as possible drift apart: one is smaller, or cheaper to read. Every pair that drifts
further apart than a checkpoint costs rows on disk that a pair which meets in memory does not. So the partitions that
are ahead in event time are not fetched for a while.

This is about cost only: no verdict depends on it. It cannot stop anything either. The partition that is furthest
behind is never held, and one that has been read to its end holds nobody back, because it may be idle for hours.
"""

from collections.abc import Callable, Iterable
from typing import Final

from faust.types import TP

from cutover_app.runtime.chunks import Chunk

AHEAD_MS: Final = 2_000
"""Event time by which a partition may be ahead of the one furthest behind: about what a checkpoint covers."""

Hold = Callable[[Iterable[TP]], None]
"""Fetches exactly these partitions of a side no more, until the next call."""
Place = tuple[int, TP]
"""Side and partition: two clusters may have topics of one name."""


class Alignment:
    """What each source partition of this worker was last read up to, and which are held for it."""

    def __init__(self) -> None:
        self._holds: dict[int, Hold] = {}
        self._times: dict[Place, int] = {}
        self._behind: set[Place] = set()
        self._held: frozenset[Place] = frozenset()

    def join(self, side: int, hold: Hold) -> None:
        """Let a side be held."""
        self._holds[side] = hold

    @property
    def held(self) -> frozenset[Place]:
        """What is not fetched for now."""
        return self._held

    def moved(self, side: int, chunk: Chunk) -> None:
        """Take note of a chunk, and hold the partitions that are too far ahead, of whatever side.

        The last timestamp of a chunk counts, whatever it is: a wrong one misleads until the next chunk.
        """
        place = side, chunk.tp
        if chunk.records:
            self._times[place] = chunk.records[-1].timestamp
        if chunk.end < chunk.readable:
            self._behind.add(place)
        else:
            self._behind.discard(place)
        self._hold()

    def clear(self, side: int) -> None:
        """Forget the partitions of a side: they are somebody else's."""
        self._times = {place: time for place, time in self._times.items() if place[0] != side}
        self._behind = {place for place in self._behind if place[0] != side}
        self._hold()

    def _hold(self) -> None:
        slowest = min((self._times[place] for place in self._behind if place in self._times), default=None)
        ahead = () if slowest is None else (p for p, time in self._times.items() if time > slowest + AHEAD_MS)
        held = frozenset(ahead)
        if held == self._held:
            return
        self._held = held
        for side, hold in self._holds.items():
            hold(tp for its, tp in held if its == side)
