"""The sender's half of the proof that allows closing (R1.2): which barriers may vouch for which X.

A worker of stage one sends a barrier to every intake partition at each interval. Once all intake partitions have
acknowledged it, the worker asks the cluster, afresh, how many partitions its source topic has and where they end. A
source partition that has been read up to such an end, and whose records below it are all in intake, is complete as of
the barrier that came *before* that question: whatever the topic held when that barrier was appended lies in the log
already. So the next barrier vouches for X, the offset of that earlier barrier, and never for itself.

Invariants:

A. A sample is attached to a barrier that every intake partition had acknowledged before the cluster was asked.
B. A sample's ends are high watermarks. A last stable offset would hide the records of an open transaction, and vouch
   for a time at which the topic already held them.
C. Per source partition the oldest sample not reached and the newest are kept: the oldest will be reached under any
   lag, however fast the topic grows, and the newest is as fresh as it gets once the lag is gone.
D. A position counts only when every record below it has been acknowledged by intake. A partition whose position is not
   known vouches for nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """An end of one source partition, and the barrier, by intake partition, that came before the question."""

    end: int
    barrier: tuple[int, ...]
    proven: bool = True
    """False where nobody could say whether this end covers what it should (a copy that may be incomplete, R1.5)."""


@dataclass(slots=True)
class _Progress:
    position: int | None = None
    oldest: Sample | None = None
    newest: Sample | None = None
    reached: Sample | None = None

    @property
    def lag(self) -> int | None:
        """Return the offsets from the position to the newest sample; None while either is not known."""
        if self.position is None or (self.newest is None and self.reached is None):
            return None
        return max(self.newest.end - self.position, 0) if self.newest is not None else 0

    def advance(self) -> None:
        """Move what the position has reached from `oldest` and `newest` to `reached`."""
        if self.position is None:
            return
        for sample in (self.oldest, self.newest):
            if sample is not None and sample.end <= self.position:
                self.reached = sample
        if self.oldest is not None and self.oldest.end <= self.position:
            self.oldest = None if self.newest is self.oldest else self.newest
        if self.newest is not None and self.newest.end <= self.position:
            self.newest = self.oldest = None


class Sampling:
    """What one sender knows about the completeness of the source partitions that it reads. No I/O: it is told."""

    def __init__(self) -> None:
        self._progress: dict[int, _Progress] = {}
        self._barrier: tuple[int, ...] | None = None
        self.partitions = 0

    def __repr__(self) -> str:
        """Return what an operator asks for: how many partitions are read, and how many have not reached a sample."""
        behind = sum(1 for each in self._progress.values() if each.oldest is not None)
        return f"<Sampling {len(self._progress)} of {self.partitions} partitions, {behind} behind their sample>"

    def assign(self, positions: Mapping[int, int]) -> None:
        """Take over source partitions at these positions and forget all others; everything below is in intake."""
        kept = {partition: self._progress.get(partition) for partition in positions}
        self._progress = {partition: each or _Progress() for partition, each in kept.items()}
        for partition, position in positions.items():
            self.progress(partition, position)

    def position(self, partition: int) -> int | None:
        """Return the position below which everything of a partition is in intake, where that is known."""
        each = self._progress.get(partition)
        return each.position if each is not None else None

    def positions(self) -> dict[int, int]:
        """Return all positions that are known."""
        return {number: each.position for number, each in self._progress.items() if each.position is not None}

    def progress(self, partition: int, position: int) -> None:
        """Record that intake has acknowledged everything below `position`; ignored for a partition not assigned."""
        each = self._progress.get(partition)
        if each is not None:
            each.position = max(position, each.position or 0)
            each.advance()

    def barrier_acked(self, offsets: Sequence[int]) -> None:
        """Record the offset of the newest barrier in each intake partition, all of them acknowledged."""
        self._barrier = tuple(offsets)

    def sampled(
        self, ends: Mapping[int, int], partitions: int, barrier: Sequence[int] | None = None, *, proven: bool = True
    ) -> None:
        """Record high watermarks and the partition count (invariant A).

        They were asked for after `barrier`, whose offsets per intake partition these are; None is the last one acked.
        What is vouched for by ends that are not `proven` is not proven either.
        """
        self.partitions = partitions
        before = self._barrier if barrier is None else tuple(barrier)
        if before is None:
            return
        for partition, end in ends.items():
            each = self._progress.get(partition)
            if each is None:
                continue
            each.newest = Sample(end, before, proven)
            each.oldest = each.oldest or each.newest
            each.advance()

    def lag(self) -> int | None:
        """Return how many offsets the partitions read here are behind their last sample; None while not known."""
        lags = [each.lag for each in self._progress.values()]
        return None if None in lags else sum(lag for lag in lags if lag is not None)

    def vouches(self) -> Iterable[tuple[int, tuple[int, ...]]]:
        """Return (source partition, barrier offset per intake partition) of everything that can be vouched for."""
        return [(partition, each.reached.barrier) for partition, each in sorted(self._progress.items()) if each.reached]

    @property
    def proven(self) -> bool:
        """Whether everything that can be vouched for is proven."""
        return all(each.reached.proven for each in self._progress.values() if each.reached)

    def behind(self) -> dict[int, Sample]:
        """Return the oldest sample that is not reached, of the partitions that have one."""
        return {partition: each.oldest for partition, each in sorted(self._progress.items()) if each.oldest}
