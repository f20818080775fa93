"""The senders of one side as a fleet: who reads what, who has committed what, and what goes wrong with them.

Committed positions and ownership are all that a group coordinator keeps. A sender that has been replaced may go on for
a while: its commits are refused, its frames are not.
"""

from cutover_app.core.frames import LEGACY
from tests.simulation.senders import Sender
from tests.simulation.setting import Setting


class Fleet:
    """The workers of one side."""

    def __init__(self, setting: Setting, side: int) -> None:
        self._setting = setting
        self._rng = setting.rng
        self._timeline = setting.timeline
        self._topic = setting.topics[side]
        self.side = side
        self._starts = 0
        self.workers: list[Sender] = [self._start_sender(slot) for slot in range(setting.plan.workers[side])]
        self.owner: dict[int, Sender] = {}
        self.committed: dict[int, int] = {}
        self._zombies: list[tuple[Sender, int]] = []

    def start(self) -> None:
        """Assign everything and schedule what will go wrong."""
        for partition in self._topic.partitions:
            self._adopt(partition.number)
        plan, rng = self._setting.plan, self._rng
        self._timeline.after(rng.randint(20, 200), self._commit)
        for _ in range(plan.fleet_faults):
            fault = rng.choice((self._move, self._move_with_zombie, self._crash, self._pause))
            self._timeline.at(rng.randint(0, plan.span_ms), lambda fault=fault: self._unless_quiet(fault))
        if plan.unproven and self.side == LEGACY:
            for _ in range(3):
                self._timeline.at(rng.randint(0, plan.span_ms), self._lose_sight)
        if plan.lag_side == self.side:
            for _ in range(2):
                self._timeline.at(rng.randint(0, plan.span_ms), self._lag)

    def _unless_quiet(self, fault: object) -> None:
        if not self._setting.quiet:
            fault()

    def _start_sender(self, slot: int) -> Sender:
        self._starts += 1
        return Sender(self._setting, self.side, f"{'lr'[self.side]}{slot}-{self._starts}")

    def _adopt(self, number: int) -> None:
        """Give a partition that has no owner to somebody, from its beginning."""
        self.committed.setdefault(number, 0)
        self._give(number, self._rng.choice(self.workers))

    def _give(self, number: int, worker: Sender) -> None:
        self.owner[number] = worker
        worker.assign({number: self.committed[number]})

    def _commit(self) -> None:
        for number, worker in self.owner.items():
            self._commit_one(number, worker)
        self._timeline.after(self._rng.randint(50, 400), self._commit)

    def _commit_one(self, number: int, worker: Sender) -> None:
        if worker.alive and number in worker.reading:
            self.committed[number] = worker.reading[number].acked

    def grow(self) -> None:
        """Add a partition to the topic that is published to; of a copy, the mirror adds it later."""
        self._setting.reached["count growth"] += 1
        if self._setting.published(self.side) is self._topic:
            self.grow_read()
        else:
            self._setting.published(self.side).grow()

    def grow_read(self) -> None:
        """Add a partition to the topic that is read; it is assigned once somebody has noticed."""
        partition = self._topic.grow()

        def noticed() -> None:
            if partition.end:
                self._setting.reached["records beyond the known count"] += 1
            self._adopt(partition.number)

        self._timeline.after(self._rng.randint(1, 25 * self._setting.plan.interval_ms), noticed)

    # -- faults --------------------------------------------------------------------------------------------------------

    def _move(self, *, zombie: bool = False) -> None:
        number = self._rng.choice(sorted(self.owner))
        former = self.owner[number]
        others = [worker for worker in self.workers if worker is not former]
        if not others:
            return
        self._setting.reached["moved partition"] += 1
        if zombie and former.alive:
            self._setting.reached["zombie sender"] += 1
            self._zombies.append((former, number))
            delay = self._rng.randint(50, 12 * self._setting.plan.interval_ms)
            self._timeline.after(delay, lambda: self._end_zombie(former, number))
        else:
            self._commit_one(number, former)
            former.drop(number)
        self._give(number, self._rng.choice(others))

    def _move_with_zombie(self) -> None:
        self._move(zombie=True)

    def _end_zombie(self, former: Sender, number: int) -> None:
        if (former, number) not in self._zombies:
            return
        self._zombies.remove((former, number))
        if self.owner[number] is not former:
            former.drop(number)

    def _crash(self) -> None:
        self.crash(self._rng.choice(self.workers))

    def crash(self, worker: Sender) -> None:
        """Kill a sender; another one takes its place after a while."""
        if not worker.alive or worker not in self.workers:
            return
        slot = self.workers.index(worker)
        worker.crash()
        self._setting.reached["sender crash"] += 1
        delay = self._rng.randint(10, 10 * self._setting.plan.interval_ms)
        self._timeline.after(delay, lambda: self._replace(slot, worker))

    def _replace(self, slot: int, dead: Sender) -> None:
        self.workers[slot] = self._start_sender(slot)
        for number, owner in sorted(self.owner.items()):
            if owner is dead:
                self._give(number, self._rng.choice([each for each in self.workers if each.alive]))

    def _pause(self) -> None:
        worker = self._rng.choice(self.workers)
        worker.paused_until = self._timeline.now + self._rng.randint(1, 8) * self._setting.plan.interval_ms

    def _lag(self) -> None:
        """Stop reading on this side for longer than the grace."""
        if self._setting.quiet:
            return
        self._setting.reached["lag"] += 1
        until = self._timeline.now + self._rng.randint(10, 20) * self._setting.plan.interval_ms
        for worker in self.workers:
            worker.paused_until = until

    def _lose_sight(self) -> None:
        """Have somebody not know for a while how complete the copy is that it reads."""
        worker = self._rng.choice(self.workers)
        worker.unproven_until = self._timeline.now + self._rng.randint(5, 30) * self._setting.plan.interval_ms

    # -- the end -------------------------------------------------------------------------------------------------------

    def is_at_end(self) -> bool:
        """Tell whether everything that the topic holds is in intake, and no zombie is left."""
        return (
            len(self.owner) == len(self._topic.partitions)
            and not self._zombies
            and all(
                worker.alive and number in worker.reading and worker.is_at_end()
                for number, worker in self.owner.items()
            )
        )
