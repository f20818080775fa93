"""When a record may be closed: judge time, the ring of barriers, and the frontiers (R1).

"Missing" may be said only when no record that the other topic held at the deadline can still be unprocessed. Comparing
clocks, or "nothing came lately", cannot show that. The log can: a barrier that stands in it says that a source
partition is complete as of an earlier barrier X, and X has a judge time. A record whose judge time + grace is not
above that time had its chance.

Invariants:

A. Judge time is a function of the append times of one intake partition, nothing else. It never goes back. One step of
   a broker's clock counts for at most `CUT` barrier intervals; a clock that swings between two brokers gains nothing,
   because steps back are subtracted before the highest value is taken.
B. A vouch is worth the judge time at X, not at the barrier that carries it. Of an X that the ring no longer knows
   exactly, the nearest *earlier* barrier counts: late is safe, early is not. An X older than the ring is ignored.
C. A frontier exists only when every source partition of that side has been vouched for, by the largest partition count
   that any barrier of the incarnation has carried. When the count grows it falls back; what is closed stays closed.
D. A vouch that is not proven (R1.5: the topic is a copy, and nobody could ask how complete it is) closes nothing. It is
   kept apart, and lets a record without partner be called indeterminate until a proven one comes.
E. Where a frontier has stood still and leaps, millions of records may be due at once. They are closed in steps, barrier
   by barrier: a step ends with the judge time of the last record of which closing may say something. Every key is
   decided before, so that how many those are, and with it what is closed when, is a function of the log.
"""

from bisect import bisect_right
from typing import Final

import msgspec

from cutover_app.core.limits import RING_MAX

CUT: Final = 2
"""Barrier intervals that one difference of append times may count for."""

NEVER: Final = -(1 << 62)


class Clock(msgspec.Struct, array_like=True):
    """Judge time of one intake partition, in milliseconds since its first record (invariant A)."""

    now: int = 0
    sum: int = 0
    last: int = -1

    def advance(self, append_ms: int, interval_ms: int) -> int:
        """Take in the append time of the next intake record and return the judge time."""
        if self.last >= 0:
            cut = CUT * interval_ms
            self.sum += min(max(append_ms - self.last, -cut), cut)
            self.now = max(self.now, self.sum)
        self.last = append_ms
        return self.now


class Ring(msgspec.Struct, array_like=True):
    """The judge time of past barriers, by intake offset (invariant B)."""

    offsets: list[int] = []
    times: list[int] = []

    def add(self, offset: int, judge_ms: int) -> None:
        """Remember a barrier; barriers that share a judge time share one place."""
        if self.times and self.times[-1] == judge_ms:
            return
        self.offsets.append(offset)
        self.times.append(judge_ms)
        if len(self.offsets) > RING_MAX:
            half = RING_MAX // 2
            self.offsets[:half] = self.offsets[:half:2]
            self.times[:half] = self.times[:half:2]

    def time_of(self, offset: int) -> int:
        """Return the judge time of the barrier at `offset` or of the nearest earlier one known, else `NEVER`."""
        place = bisect_right(self.offsets, offset)
        return self.times[place - 1] if place else NEVER


class Frontier(msgspec.Struct, array_like=True):
    """How far one side is known to be complete, in judge time (invariant C)."""

    topic: str = ""
    incarnation: str = ""
    partitions: int = 0
    vouched: dict[int, int] = {}
    closed: int = NEVER
    """The highest frontier so far: records of the other side up to `closed - grace` are closed."""
    unproven: dict[int, int] = {}
    """What was vouched for without proof, while that is ahead of `vouched`."""
    claimed: int = NEVER
    """The highest frontier so far if vouches without proof count too (invariant D)."""

    def count(self, topic: str, incarnation: str, partitions: int) -> None:
        """Take in the partition count of a barrier; another incarnation starts afresh."""
        if (topic, incarnation) != (self.topic, self.incarnation):
            self.topic, self.incarnation, self.partitions = topic, incarnation, partitions
            self.vouched, self.unproven = {}, {}
        self.partitions = max(self.partitions, partitions)

    def vouch(self, partition: int, judge_ms: int, *, proven: bool = True) -> None:
        """Take in that a source partition is complete as of `judge_ms`."""
        vouched = self.vouched if proven else self.unproven
        vouched[partition] = max(judge_ms, vouched.get(partition, NEVER))

    def value(self) -> int:
        """Return the frontier, or `NEVER` while a partition has not been vouched for."""
        return min((self.vouched.get(partition, NEVER) for partition in range(self.partitions)), default=NEVER)

    def advance(self) -> int:
        """Raise what is closed to the frontier and return it."""
        self.closed = max(self.closed, self.value())
        if self.unproven:
            self.claimed = max(self.claimed, self._claim())
            # Partitions are vouched for one after the other, by several senders: what one is ahead outlasts that.
            self.unproven = {each: ms for each, ms in self.unproven.items() if ms > self.vouched.get(each, NEVER)}
        return self.closed

    def _claim(self) -> int:
        vouched, unproven, numbers = self.vouched, self.unproven, range(self.partitions)
        return min((max(vouched.get(each, NEVER), unproven.get(each, NEVER)) for each in numbers), default=NEVER)

    @property
    def is_proven(self) -> bool:
        """Return whether no vouch without proof is ahead of the proven ones."""
        return self.claimed <= self.closed
