"""A mirror: the legacy cluster's own topic, what copies it, and what the copying says of itself.

Records go over in order, partition by partition, with their timestamps. Control records never do; those of aborted
transactions do where the mirror reads uncommitted. Every now and then the position of the last record copied is
written down, and that is all that anybody else can see of it. A mirror stalls; it dies, and copies again what it had
copied since it last wrote down where it was; a partition that the original has grown exists in the copy only later.
"""

from collections.abc import Callable

from cutover_app.core.frames import LEGACY
from cutover_app.mirror.proof import LegacyLog, Range
from tests.simulation.setting import Setting
from tests.simulation.topics import Record


class Mirror:
    """Copies the original legacy topic to the one that the workers read."""

    def __init__(self, setting: Setting, grown: Callable[[], None]) -> None:
        assert setting.original is not None
        self._setting = setting
        self._rng = setting.rng
        self._timeline = setting.timeline
        self._original = setting.original
        self._copy = setting.topics[LEGACY]
        self._grown = grown
        self._committed_only = self._rng.random() < 0.3
        self._next: dict[int, int] = {}
        self._copied: dict[int, int] = {}
        self._told: dict[int, int] = {}
        self._stalled_until = 0

    def start(self) -> None:
        """Begin to copy."""
        plan, rng = self._setting.plan, self._rng
        self._timeline.after(rng.randint(1, 40), self._work)
        self._timeline.after(rng.randint(1, 400), self._tell)
        for _ in range(rng.randint(0, 3)):
            self._timeline.at(rng.randint(0, plan.span_ms), self._stall)
        for _ in range(rng.randint(0, 2)):
            self._timeline.at(rng.randint(0, plan.span_ms), self._die)

    # -- copying -------------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        if self._timeline.now >= self._stalled_until or self._setting.quiet:
            for number in range(len(self._original.partitions)):
                self._copy_some(number)
        self._timeline.after(self._rng.randint(10, 80), self._work)

    def _copy_some(self, number: int) -> None:
        if number >= len(self._copy.partitions):
            if self._rng.random() < 0.1 or self._setting.quiet:
                self._grown()
            else:
                self._setting.reached["partition of one cluster"] += 1
            return
        position = self._next.get(number, 0)
        for _ in range(self._rng.choice((1, 3, 20))):
            position = self._first_to_copy(number, position)
            slot = self._slot(number, position)
            if slot is None:
                break
            self._copy.append(number, slot.value, timestamp=slot.timestamp, now=slot.appended)
            self._copied[number] = position
            position += 1
        self._next[number] = position

    def _first_to_copy(self, number: int, position: int) -> int:
        """Return the position of the next record to copy, or where the reading of the original ends now."""
        partition = self._original.partitions[number]
        end = partition.stable if self._committed_only else partition.end
        while position < end and self._slot(number, position) is None:
            position += 1
        return position

    def _slot(self, number: int, position: int) -> Record | None:
        partition = self._original.partitions[number]
        end = partition.stable if self._committed_only else partition.end
        slot = partition.slots[position] if position < end else None
        return slot if slot is not None and (slot.committed or not self._committed_only) else None

    def is_done(self) -> bool:
        """Tell whether everything has been copied."""
        return len(self._copy.partitions) == len(self._original.partitions) and all(
            self._first_to_copy(each.number, self._next.get(each.number, 0)) == each.end
            for each in self._original.partitions
        )

    # -- what happens to it --------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        self._told |= self._copied
        self._timeline.after(self._rng.randint(1, 6) * self._setting.plan.interval_ms, self._tell)

    def _stall(self) -> None:
        self._setting.reached["mirror stalls"] += 1
        self._stalled_until = self._timeline.now + self._rng.randint(5, 30) * self._setting.plan.interval_ms

    def _die(self) -> None:
        """Start again from what was last written down."""
        if self._setting.quiet:
            return
        again = sum(position > self._told.get(number, -1) for number, position in self._copied.items())
        self._setting.reached["mirror sends again"] += again
        self._next = {number: position + 1 for number, position in self._told.items()}
        self._copied = dict(self._told)

    # -- what can be seen of it, and of the original -------------------------------------------------------------------

    def positions(self) -> dict[int, int]:
        """Return, by partition, the position behind the last record that it said it copied."""
        return {number: position + 1 for number, position in self._told.items()}

    def log(self) -> LegacyLog:
        """Return what the legacy cluster says of the original."""
        ends = {each.number: self._setting.sampled_end(each) for each in self._original.partitions}
        return LegacyLog("id", dict.fromkeys(ends, 0), ends)

    def look(self, wanted: Range) -> tuple[int, bool]:
        """Read the original as the mirror does: where the first record stands, if there is one, or the reading ends."""
        position = self._first_to_copy(wanted.partition, wanted.start)
        return min(position, wanted.end), position < wanted.end and self._slot(wanted.partition, position) is not None
