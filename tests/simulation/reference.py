"""An own account of judge time, frontiers and closes, from the intake log alone (R1), to hold the judge against."""

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import pairwise

from cutover_app.core.frames import LEGACY, REBUILT, Records
from tests.simulation.intake import Appended

NEVER = -(1 << 60)


@dataclass
class Account:
    """One intake partition, as far as it has been read."""

    interval_ms: int
    judge_ms: list[int] = field(default_factory=list)
    """Judge time of each intake record."""
    complete_ms: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    """Per side: the frontier after each intake record."""
    last_record_ms: int = NEVER
    _sum: int = 0
    _previous: int | None = None
    _count: list[int] = field(default_factory=lambda: [0, 0])
    _vouched: tuple[dict[int, int], dict[int, int]] = field(default_factory=lambda: ({}, {}))

    def read(self, log: list[Appended]) -> None:
        """Take in what has been appended since the last call."""
        for appended in log[len(self.judge_ms) :]:
            self._take(appended)

    def _take(self, appended: Appended) -> None:
        if self._previous is not None:
            self._sum += clipped(appended.append_ms - self._previous, self.interval_ms)
        self._previous = appended.append_ms
        self.judge_ms.append(max(self._sum, self.judge_ms[-1] if self.judge_ms else 0))
        frame = appended.frame
        if isinstance(frame, Records):
            self.last_record_ms = self.judge_ms[-1]
        else:
            self._count[frame.side] = max(self._count[frame.side], frame.partitions)
            vouched = self._vouched[frame.side]
            for vouch in frame.vouches if frame.proven else ():
                number, when = vouch.source.partition, self.judge_ms[vouch.barrier]
                vouched[number] = max(when, vouched.get(number, NEVER))
        for side in (LEGACY, REBUILT):
            self.complete_ms[side].append(self._frontier(side))

    def _frontier(self, side: int) -> int:
        if not self._count[side]:
            return NEVER
        return min(self._vouched[side].get(number, NEVER) for number in range(self._count[side]))

    def both_passed(self, judge_ms: int) -> bool:
        """Tell whether both frontiers have reached this judge time."""
        return bool(self.judge_ms) and all(each[-1] >= judge_ms for each in self.complete_ms)


def clipped(difference: int, interval_ms: int) -> int:
    """Return what a difference of append times counts for."""
    return max(-2 * interval_ms, min(2 * interval_ms, difference))


class Hastening:
    """How much sooner than the true time a judge may close, because the clocks of the brokers jumped."""

    def __init__(self, log: list[Appended], interval_ms: int) -> None:
        skews = [each.append_ms - each.true_ms for each in log]
        jumps = [b - a for a, b in pairwise(skews)]
        self._offsets = [offset + 1 for offset, jump in enumerate(jumps) if jump]
        self._gains = [clipped(jump, interval_ms) for jump in jumps if jump]

    def gain(self, after: int, until: int) -> int:
        """Return the most that judge time can have gained on the true time in (after, until]."""
        first, last = bisect_right(self._offsets, after), bisect_right(self._offsets, until)
        total = best = 0
        for gain in self._gains[first:last]:
            total += gain
            best = max(best, total)
        return best
