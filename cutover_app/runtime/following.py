"""What follows what: where each partition is fetched to, where it is taken to, and whether the two fit.

A jump forward in a source is a lost range, and the chunk says so (`Chunk.after`). A step back is another log: Faust
would drop such a chunk without a word. So it is a doubt, and while there is one nothing of the group's sources goes on,
until its partitions are taken over anew. Between fetching and taking nothing may be lost at all; that ends the process.
"""

import logging
from collections.abc import Mapping

from faust.types import TP

from cutover_app.runtime.chunks import Chunk
from cutover_app.runtime.fatal import FatalError

log = logging.getLogger(__name__)


class Doubts:
    """Whether the sources of a group are what this worker believes. True while there is a doubt."""

    def __init__(self) -> None:
        self._any = False

    def __bool__(self) -> bool:
        return self._any

    def add(self, why: str) -> None:
        """A source is not what it was: nothing is forwarded until its partitions are taken over anew."""
        if not self._any:
            log.warning("%s: it is looked at again", why)
        self._any = True

    def clear(self) -> None:
        """The partitions are taken over anew."""
        self._any = False


class Following:
    """Holds each chunk against the one before it, once when it is fetched and once when it is taken."""

    def __init__(self, doubts: Doubts) -> None:
        self._doubts = doubts
        self._fetched: dict[TP, int] = {}
        self._taken: dict[TP, int] = {}

    def begin(self, positions: Mapping[TP, int]) -> None:
        """Expect these partitions to go on there."""
        self._fetched.update(positions)
        self._taken.update(positions)

    def fetched(self, chunk: Chunk) -> bool:
        """Note what was lost before a chunk of a source; False for one that is not to be handed on."""
        before = self._fetched.get(chunk.tp, chunk.start)
        if self._doubts:
            return False
        if chunk.start < before:
            self._doubts.add(f"{chunk.tp.topic}[{chunk.tp.partition}] goes back from {before} to {chunk.start}")
            return False
        chunk.after = before
        self._fetched[chunk.tp] = chunk.end
        return chunk.end > before

    def taken(self, chunk: Chunk) -> None:
        """Raise `FatalError` for a chunk that does not follow the one taken before it."""
        expected = self._taken.get(chunk.tp)
        if expected is not None and chunk.after != expected:
            why = "were deleted before they were read" if chunk.after > expected else "start again: a new topic?"
            raise FatalError(
                f"{chunk.tp.topic}[{chunk.tp.partition}]: expected offset {expected}, got {chunk.after}: records {why}"
            )
        self._taken[chunk.tp] = chunk.end

    def clear(self) -> None:
        """Expect nothing."""
        self._fetched.clear()
        self._taken.clear()
