"""When a copy is as complete as its original was at a barrier: one sender's half of R1.5.

A mirror reads the legacy topic as a worker reads its source, so `core.sampling.Sampling` serves once more: the mirror's
own position is measured against ends of the legacy log that were asked for after a barrier X. What the mirror has
passed lies in the copy. So then, and not before, the copy is asked where it ends, and *that* sample belongs to X.

One look (`observe`) is made in this order: the mirror's positions are read, then the legacy cluster is asked. A
position beyond the end that was asked for after it is a position in another log: the topic was made anew, or cut short.

Connect keeps the offset of the last *record* copied. Behind it may lie what is never copied: control records, and
aborted batches where the mirror reads committed records only. A position that stands still short of an end is helped
over them by a look at the legacy log (`looks`, `looked`). What retention took away before it was copied, and what a
topic that is made anew may have taken with it, is found by any look (`take_lost`).

Invariants:

A. The copy may be asked for X only when no record below the legacy end asked for after X can still be copied.
B. What is known about a log is forgotten when its topic's id changes, and a partition's when its end goes back; old
   positions count again only when the mirror has told one anew.
C. Nothing is decided by time: a mirror that stalls holds the proof up for as long as it stalls.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from cutover_app.core.sampling import Sampling
from cutover_app.core.standing import UNKNOWN_END

STILL_LOOKS: Final = 2
"""A position has to be the same in this many looks after the first before the legacy log is read behind it."""


@dataclass(frozen=True, slots=True)
class LegacyLog:
    """The legacy topic as its cluster describes it."""

    topic_id: str
    starts: Mapping[int, int]
    ends: Mapping[int, int]
    """High watermarks."""


class Range(NamedTuple):
    """Offsets [start, end) of a partition of the legacy topic; it ends at `UNKNOWN_END` where the topic is gone."""

    partition: int
    start: int
    end: int


class Lost(NamedTuple):
    """Offsets of the legacy topic of this id that went before they were copied; the rest as in `Range`."""

    partition: int
    start: int
    end: int
    topic_id: str


class Behind(NamedTuple):
    """A partition that the mirror has not copied as far as it must; `still` looks have found it where it is."""

    partition: int
    records: int
    still: int


@dataclass(slots=True)
class _Partition:
    first: int
    """Where the log began when it was first looked at: there a mirror begins that has told no position."""
    told: int | None = None
    stale: int | None = None
    """The position that the mirror told last, where it is one in another log."""
    still: int = -1
    clear: int = 0
    blocked: int = -1
    lost_to: int = 0
    settled: int = 0
    """The offset below which everything was copied or lost at some look, though the mirror may have gone back."""
    end: int = 0

    @property
    def reached(self) -> int:
        """The offset below which nothing can still be copied, as far as is known."""
        return max(self.first if self.told is None else self.told, self.clear)

    @property
    def known(self) -> int:
        """The offset below which everything is copied, or told to be lost."""
        return max(self.reached, self.lost_to)


class Proof:
    """What one sender knows about how complete the copy is. No I/O: it is told."""

    def __init__(self, topic_id: str = "") -> None:
        """`topic_id`: of the topic that was there when somebody looked last; positions of another one are not its."""
        self._log = Sampling()
        self.topic_id = topic_id
        self._each: dict[int, _Partition] = {}
        self._released: dict[int, tuple[int, ...]] = {}
        self._lost: list[Lost] = []
        self.partitions = 0

    def __repr__(self) -> str:
        """Return how many partitions are behind."""
        return f"<Proof {len(self._each)} partitions, {len(self._log.behind())} behind>"

    def observe(self, barrier: Sequence[int], log: LegacyLog, positions: Mapping[int, int]) -> None:
        """Take in one look: `positions` were read, then `log` was asked for, both after `barrier` was acknowledged."""
        if self.topic_id != log.topic_id:
            self._forget(log, positions)
        self.topic_id, self.partitions = log.topic_id, len(log.ends)
        for partition, end in log.ends.items():
            self._look_at(partition, log.starts.get(partition, 0), end, positions.get(partition))
        self._log.assign({partition: each.reached for partition, each in self._each.items()})
        self._log.sampled(log.ends, self.partitions, barrier)

    def _forget(self, log: LegacyLog, positions: Mapping[int, int]) -> None:
        """Begin anew; what the mirror told about another log says nothing about this one."""
        stale = positions if self.topic_id else {}
        # More may have come since the last look, and have gone with the topic.
        self._lost += [Lost(number, each.known, UNKNOWN_END, self.topic_id) for number, each in self._each.items()]
        self._log, self._released = Sampling(), {}
        self._each = {
            number: _Partition(log.starts.get(number, 0), stale=stale.get(number)) for number in sorted(log.ends)
        }

    def _look_at(self, number: int, start: int, end: int, told: int | None) -> None:
        each = self._each.get(number)
        if each is None or end < each.end:
            stale = None if each is None else told
            each = self._each[number] = _Partition(start, stale=stale)
            self._released.pop(number, None)
            self._log.assign({other: state.reached for other, state in self._each.items() if other != number})
        each.end = end
        # What went since the last look may have gone before it was copied, whatever is told by now.
        before = None
        if each.still >= 0:
            before = each.settled = max(each.settled, each.known)
        if told is not None and (told == each.stale or told > end):
            each.stale, told = told, None
        elif told is not None:
            each.stale = None
        each.still = each.still + 1 if told == each.told else 0
        each.told = told
        known = each.known if before is None else before
        if start > known:
            self._lost.append(Lost(number, known, start, self.topic_id))
            each.lost_to = start

    def looks(self, partitions: Collection[int]) -> list[Range]:
        """Return the ranges of the legacy log that have to be read, of these partitions: is there anything to copy?"""
        found = []
        for partition, sample in self._log.behind().items():
            each = self._each[partition]
            start = each.known
            if partition in partitions and each.still >= STILL_LOOKS and not start <= each.blocked:
                found.append(Range(partition, start, sample.end))
        return found

    def looked(self, look: Range, clear: int, *, found: bool) -> None:
        """Take in what a look came to: nothing to copy in [start, clear), and whether there is a record at `clear`."""
        each = self._each.get(look.partition)
        if each is None:
            return
        each.clear = max(each.clear, clear)
        each.blocked = clear if found else -1
        self._log.progress(look.partition, each.reached)

    def has(self, partition: int) -> bool:
        """Tell whether the legacy topic has been seen with this partition."""
        return partition in self._each

    def ready(self) -> dict[int, tuple[int, ...]]:
        """Return, by partition, the barrier for which the copy may now be asked where it ends."""
        vouched = dict(self._log.vouches())
        return {number: barrier for number, barrier in vouched.items() if self._released.get(number) != barrier}

    def asked(self, ready: Mapping[int, tuple[int, ...]]) -> None:
        """Record that the copy was asked for these; they are not ready again."""
        self._released |= ready

    def take_lost(self) -> list[Lost]:
        """Return ranges that retention took away before the mirror had told that it copied them; each is given once."""
        lost, self._lost = self._lost, []
        return lost

    def behind(self) -> list[Behind]:
        """Return the partitions of which something has still to be copied, the worst first."""
        found = []
        for partition in self._log.behind():
            each = self._each[partition]
            found.append(Behind(partition, each.end - each.reached, each.still))
        return sorted(found, key=lambda one: (-one.records, one.partition))

    def unbelievable(self) -> list[int]:
        """Return the partitions in which the mirror's position is not one of this log."""
        return sorted(number for number, each in self._each.items() if each.stale is not None)
