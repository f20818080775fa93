"""One world: build it, let it run, let everything close, examine it."""

import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from cutover_app.core.frames import LEGACY, REBUILT
from cutover_app.core.judge import Judge, JudgeTerms
from cutover_app.lab.oracle import Terms
from tests.simulation.checks import Examination, Truth, note_outcomes, topics_were_read
from tests.simulation.fleet import Fleet
from tests.simulation.judging import Committed, JudgeHost, Run
from tests.simulation.mirror import Mirror
from tests.simulation.reference import Account
from tests.simulation.rules import shown_key
from tests.simulation.senders import Sender
from tests.simulation.setting import Plan, Setting, draw_plan
from tests.simulation.timeline import EPOCH_MS
from tests.simulation.topics import Partition
from tests.simulation.traffic import Traffic

CONTRACT = "simulated"
CLOSING_INTERVALS_MAX = 600
"""Barrier intervals within which everything has to close once the faults are over."""


@dataclass
class Parts:
    """What a world is made of; a mutant swaps one of them."""

    setting: Callable[..., Setting] = Setting
    judge: Callable[..., Judge] = Judge
    committed: Callable[[], Committed] = Committed


@dataclass
class Report:
    """How a run went."""

    seed: int
    plan: Plan
    records: tuple[int, int]
    reached: Counter[str]
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return the line that the package docstring explains."""
        plan = self.plan
        about = [
            name
            for name in ("unique", "tolerant", "matches", "scattered", "apart", "mirrored", "unproven")
            if getattr(plan, name)
        ]
        return (
            f"seed {self.seed}: {self.records[0]}+{self.records[1]} records over {plan.partitions[0]}+"
            f"{plan.partitions[1]} partitions, {plan.intake} intake; {' '.join(about) or 'plain'}; "
            f"{'FAILED' if self.failures else 'ok'}"
        )


class World:
    """Everything of one seed."""

    def __init__(self, seed: int, parts: Parts) -> None:
        self.seed = seed
        rng = Random(seed)
        plan = draw_plan(rng)
        self.parts = parts
        self.setting = parts.setting(rng, plan)
        self.traffic = Traffic(self.setting)
        self.fleets = [Fleet(self.setting, side) for side in (LEGACY, REBUILT)]
        self.mirrors = [Mirror(self.setting, self.fleets[LEGACY].grow_read)] if plan.mirrored else []
        self.setting.mirror = next(iter(self.mirrors), None)
        self.terms = JudgeTerms(
            contract=CONTRACT,
            run="r1",
            rules=plan.rules,
            partitions=plan.intake,
            grace_ms=plan.grace_ms,
            remember_ms=plan.remember_ms,
            problems_ms=plan.problems_ms,
            interval_ms=plan.interval_ms,
            edge_ms=plan.edge_ms,
            unique=plan.unique,
            matches=plan.matches,
            diff=self.setting.rules.diff,
            shown_key=shown_key,
            late_ms=plan.late_ms,
            order_apart=plan.apart,
            ordered_max=plan.ordered_max,
            turn_keys=plan.turn_keys,
            close_max=plan.close_max,
            records_max=plan.records_max,
        )
        self.hosts = [
            JudgeHost(self.setting, self.terms, each, parts.committed, parts.judge) for each in self.setting.intake
        ]
        self.accounts = [Account(plan.interval_ms) for _ in self.hosts]

    def run(self) -> Report:
        """Run to the end and examine."""
        self._start()
        closed = self._finish()
        truth = Truth(self.setting)
        topics = self.setting.topics
        report = Report(
            self.seed,
            self.setting.plan,
            (len(topics[0].records()), len(topics[1].records())),
            self.setting.reached,
        )
        if not closed:
            report.failures.append(f"not everything closed within {CLOSING_INTERVALS_MAX} intervals")
            return report
        plan = self.setting.plan
        terms = Terms(CONTRACT, plan.unique, plan.edge_ms, self.terms.diff, plan.late_ms, plan.ordered_max)
        examined = [
            Examination(self.setting, host, terms, truth, account)
            for host, account in zip(self.hosts, self.accounts, strict=True)
        ]
        for examination in examined:
            report.failures += examination.all()
            report.failures += self._replay(examination)
        report.failures += topics_were_read(self.setting, truth, examined)
        note_outcomes(self.setting.reached, examined)
        return report

    # -- what happens --------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        plan, rng = self.setting.plan, self.setting.rng
        timeline = self.setting.timeline
        self.setting.reached["unique contract"] += plan.unique
        if plan.start_behind:
            self._preload()
        self.setting.on_edge = self._endanger
        for part in (self.traffic, *self.mirrors, *self.fleets, *self.hosts):
            part.start()
        if plan.growth:
            for _ in range(rng.randint(1, 3)):
                timeline.at(rng.randint(0, plan.span_ms), rng.choice(self.fleets).grow)
        if plan.retention:
            for _ in range(4):
                timeline.at(rng.randint(0, plan.span_ms), self._delete_old)
        if plan.clocks != "calm":
            for _ in range(rng.randint(1, 4)):
                timeline.at(rng.randint(0, 2 * plan.span_ms), self._disturb_clock)

    def _preload(self) -> None:
        """Leave some records behind the start position of the run."""
        rng = self.setting.rng
        for side, topic in enumerate(self.setting.topics):
            for partition in topic.partitions:
                for number in range(rng.randint(0, 3)):
                    topic.append(partition.number, b"\xfe%d%d" % (side, number), timestamp=EPOCH_MS - 500, now=0)
                partition.start = partition.end

    def _endanger(self, finder: Sender) -> None:
        """Have who found a lost range die now and then, before or after it has told everybody."""
        rng, timeline = self.setting.rng, self.setting.timeline
        if not self.setting.quiet and rng.random() < 0.3:
            fleet = self.fleets[finder.side]
            timeline.after(rng.randint(1, 2 * self.setting.plan.interval_ms), lambda: fleet.crash(finder))

    def _delete_old(self) -> None:
        """Let retention take records, some of which nobody may have read."""
        rng = self.setting.rng
        if self.setting.quiet:
            return
        partition: Partition = rng.choice(rng.choice(self.setting.topics).partitions)
        partition.start = rng.randint(partition.start, partition.stable)

    def _disturb_clock(self) -> None:
        plan, rng = self.setting.plan, self.setting.rng
        if self.setting.quiet:
            return
        clock = rng.choice(self.setting.intake).clock
        by = rng.randint(plan.interval_ms // 2, 20 * plan.interval_ms)
        if plan.clocks == "swing":
            clock.swing = 0 if clock.swing else by
            self.setting.reached["clock swing"] += 1
            return
        by = rng.choice((by, -by))
        self.setting.reached["clock step forward" if by > 0 else "clock step back"] += 1
        clock.step(by)

    def _finish(self) -> bool:
        """Let everything be published, read and closed; False when it takes too long."""
        timeline, plan = self.setting.timeline, self.setting.plan
        timeline.run(plan.span_ms)
        while timeline.now <= self.traffic.end_ms:
            timeline.run(self.traffic.end_ms + 1)
        self.setting.quiet = True
        for partition in self.setting.intake:
            partition.clock.swing = 0
        for _ in range(CLOSING_INTERVALS_MAX):
            timeline.run(timeline.now + plan.interval_ms)
            done = all(mirror.is_done() for mirror in self.mirrors)
            if done and all(fleet.is_at_end() for fleet in self.fleets) and self._all_closed():
                break
        else:
            return False
        records = sum(len(topic.records()) for topic in self.setting.topics)
        timeline.run(timeline.now + plan.tail_ms + records // plan.close_max * plan.interval_ms)
        for host, account in zip(self.hosts, self.accounts, strict=True):
            host.finish()
            account.read(host.partition.log)
        return True

    def _all_closed(self) -> bool:
        closed = True
        for host, account in zip(self.hosts, self.accounts, strict=True):
            account.read(host.partition.log)
            closed &= account.both_passed(account.last_record_ms + self.setting.plan.grace_ms)
        return closed

    # -- replays -------------------------------------------------------------------------------------------------------

    def _replay(self, examination: Examination) -> list[str]:
        """Judge the same log again, cut otherwise."""
        rng = Random(self.seed + 1)
        partition = examination.host.partition
        name, chunk, checkpoints = rng.choice(
            (("frame by frame", 1, 0.0), ("at once", len(partition.log), 0.0), ("in chunks", 37, 0.5))
        )
        committed = self.parts.committed()
        run = Run(self.terms, partition.number, committed, self.parts.judge)
        while not run.is_at_end(partition):
            run.read(partition, chunk)
            if rng.random() < checkpoints:
                self._commit(run, committed)
        self._commit(run, committed)
        return examination.compare_replay(run, committed, name)

    @staticmethod
    def _commit(run: Run, committed: Committed) -> None:
        changes = run.judge.checkpoint()
        assert committed.commit(run.generation, changes, run.judge.take_verdicts())
        run.store.apply(changes)
        run.judge.committed()


def simulate(seed: int, parts: Parts | None = None) -> Report:
    """Run one seed; whatever raises is a failure of that seed."""
    world = World(seed, parts or Parts())
    try:
        return world.run()
    except Exception as error:
        trace = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{trace.filename.rpartition('/')[2]}:{trace.lineno}"
        failure = f"raised {type(error).__name__} at {where}: {str(error)[:200]}"
        return Report(seed, world.setting.plan, (0, 0), world.setting.reached, [failure])
