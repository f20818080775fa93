"""Keeps the sides of a backlog together, so that most pairs meet between two checkpoints.

Two topics that are read as fast as possible drift apart: one is smaller, or cheaper to read. Every pair that drifts
further apart than a checkpoint costs rows on disk that a pair which meets in memory does not. So the partitions that
are ahead in event time are not fetched for a while.

This is about cost only: no verdict depends on it. It cannot stop anything either. The partition that is furthest
behind is never held, and one that has been read to its end holds nobody back, because it may be idle for hours.
"""

from collections.abc import Set
from typing import Final

from faust.types import TP

from cutover_app.runtime.chunks import Chunk

AHEAD_MS: Final = 10_000
"""Event time by which a partition may be ahead of the one furthest behind."""


class Alignment:
    """What each source partition of this worker was last read up to."""

    def __init__(self) -> None:
        self._times: dict[TP, int] = {}
        self._behind: set[TP] = set()

    def moved(self, chunk: Chunk) -> Set[TP]:
        """Take note of a chunk and return the partitions to hold.

        The last timestamp of a chunk counts, whatever it is: a wrong one misleads until the next chunk.
        """
        if chunk.records:
            self._times[chunk.tp] = chunk.records[-1].timestamp
        if chunk.end < chunk.readable:
            self._behind.add(chunk.tp)
        else:
            self._behind.discard(chunk.tp)
        slowest = min((self._times[tp] for tp in self._behind if tp in self._times), default=None)
        if slowest is None:
            return frozenset()
        return {tp for tp, time in self._times.items() if time > slowest + AHEAD_MS}

    def clear(self) -> None:
        """Forget everything: the partitions are somebody else's."""
        self._times.clear()
        self._behind.clear()
