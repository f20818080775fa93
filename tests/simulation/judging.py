"""The judges of one intake partition through time: owners, former owners, and the one store that they commit to.

A commit is atomic, verdicts and rows together, and refused to whoever has been fenced. Each owner works on its own
copy of what was committed when it took over, as it would after recovering from the changelogs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from cutover_app.core.frames import LEGACY, REBUILT
from cutover_app.core.integrity import Found, flaw
from cutover_app.core.judge import Judge, JudgeTerms
from cutover_app.core.verdicts import Verdict
from tests.simulation.intake import IntakePartition
from tests.simulation.setting import Setting

Rows = dict[str, dict[bytes, bytes]]
Changes = dict[str, dict[bytes, bytes | None]]

LOOK_EVERY = 4
"""One start of a judge in so many looks at all rows that it begins on."""


class MemoryStore:
    """Committed rows, as a judge reads them."""

    def __init__(self, tables: Rows) -> None:
        self.tables = {name: dict(rows) for name, rows in tables.items()}
        self._ordered: dict[str, list[bytes]] = {}

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return one row."""
        return self.tables.get(table, {}).get(key)

    def get_many(self, table: str, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return rows in the order of `keys`."""
        rows = self.tables.get(table, {})
        return [rows.get(key) for key in keys]

    def scan(self, table: str, start: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        """Return up to `limit` rows with keys from `start` on, ascending."""
        rows = self.tables.get(table, {})
        ordered = self._ordered.get(table)
        if ordered is None:
            ordered = self._ordered[table] = sorted(rows)
        return [(key, rows[key]) for key in ordered if key >= start][:limit]

    def apply(self, changes: Changes) -> None:
        """Write changed rows."""
        self._ordered.clear()
        for name, rows in changes.items():
            table = self.tables.setdefault(name, {})
            for key, row in rows.items():
                if row is None:
                    table.pop(key, None)
                else:
                    table[key] = row


@dataclass
class Committed:
    """What survives: rows, verdicts, and who may write."""

    generation: int = 0
    store: MemoryStore = field(default_factory=lambda: MemoryStore({}))
    verdicts: list[Verdict] = field(default_factory=list)
    judged: int = 0
    """The highest intake offset below which everything was judged at a commit."""

    def commit(self, generation: int, changes: Changes, verdicts: list[Verdict]) -> bool:
        """Commit all or nothing; False to a writer that has been fenced."""
        if generation != self.generation:
            return False
        self.store.apply(changes)
        self.verdicts += verdicts
        return True

    def abort(self, changes: Changes, verdicts: list[Verdict], rng: Random) -> None:
        """Lose a transaction that was not committed: nothing is left of it."""


class Run:
    """One judge from its start to its death."""

    def __init__(self, terms: JudgeTerms, partition: int, committed: Committed, make: Callable[..., Judge]) -> None:
        committed.generation += 1
        self.generation = committed.generation
        self.store = MemoryStore(committed.store.tables)
        self.judge = make(terms, partition, self.store)
        self.judge.tell_forgotten(self._forgotten)
        self.offset = -1
        self.uncommitted = 0
        self.forgotten: list[tuple[bytes, int]] = []
        """(key, intake offset) of every time that a key was forgotten."""

    def _forgotten(self, key: bytes) -> None:
        self.forgotten.append((key, self.offset))

    def read(self, partition: IntakePartition, limit: int, *, settle: bool = True) -> None:
        """Apply the next chunk; a checkpoint that follows settles by itself."""
        first = self.judge.next_offset
        for each in partition.log[first : first + limit]:
            self.offset = each.offset
            self.judge.apply(each.offset, each.append_ms, each.frame)
            self.uncommitted += 1
        if settle:
            self.judge.settle()
            for side in (LEGACY, REBUILT):
                self.judge.oldest_ms(side)  # as a scrape does, at any time: it must change nothing

    def is_at_end(self, partition: IntakePartition) -> bool:
        """Tell whether all of the log has been applied."""
        return self.judge.next_offset == len(partition.log)


class JudgeHost:
    """Runs the judge of one intake partition, and everything that happens to it."""

    def __init__(
        self,
        setting: Setting,
        terms: JudgeTerms,
        partition: IntakePartition,
        committed: Callable[[], Committed] = Committed,
        make: Callable[..., Judge] = Judge,
    ) -> None:
        self._setting = setting
        self._terms = terms
        self._make = make
        self.partition = partition
        self.committed = committed()
        self.said: list[Verdict] = []
        """Every revision that was ever decided, committed or not."""
        self.lives: list[int] = []
        """How many verdicts had been committed each time that all rows were lost."""
        self.flaws: list[str] = []
        self.runs: list[Run] = []
        self._zombies: list[Run] = []
        self.run = self._begin()

    def start(self) -> None:
        """Begin to read."""
        self._setting.timeline.after(self._setting.rng.randint(1, 100), self._work)

    def _begin(self) -> Run:
        run = Run(self._terms, self.partition.number, self.committed, self._make)
        if not run.judge.next_offset:
            run.judge.books.again_to = len(self.partition.log) - 1
        elif line := flaw(run.store, Found(self.committed.judged, whole=len(self.runs) % LOOK_EVERY == 0)):
            self.flaws.append(line)
        self.runs.append(run)
        return run

    def _work(self) -> None:
        rng = self._setting.rng
        for zombie in list(self._zombies):
            self._work_zombie(zombie, rng)
        if self._setting.plan.eager:
            self._work_eagerly(rng)
        checkpoint = rng.random() < 0.3
        settle = not checkpoint or rng.random() < 0.5
        self.run.read(self.partition, rng.choice((1, 5, 20, 100, 1000)), settle=settle)
        if checkpoint:
            self.checkpoint(self.run)
        if rng.random() < self._setting.plan.judge_faults and not self._setting.quiet:
            self._fail(rng)
        delay = rng.choice((30, 60, 60, 200)) if rng.random() < 0.97 else rng.randint(200, 2000)
        self._setting.timeline.after(delay, self._work)

    def _work_eagerly(self, rng: Random) -> None:
        """Commit every frame or two, and lose the judge right after now and then."""
        for _ in range(8):
            self.run.read(self.partition, rng.choice((1, 1, 2)), settle=False)
            self.checkpoint(self.run)
            if rng.random() < 0.3:
                self._setting.reached["judge crash after commit"] += 1
                self.run = self._begin()

    def _fail(self, rng: Random) -> None:
        reached = self._setting.reached
        kind = rng.randrange(5)
        if kind == 0:
            reached["judge crash"] += self.run.uncommitted > 0
        elif kind == 3:
            self.run.read(self.partition, rng.choice((5, 20, 100)), settle=False)
            self.checkpoint(self.run)
            reached["judge crash after commit"] += 1
        elif kind == 1:
            changes = self.run.judge.checkpoint()
            verdicts = self.run.judge.take_verdicts()
            self.said += verdicts
            self.committed.abort(changes, verdicts, rng)
            reached["judge crash at commit"] += 1
        elif kind == 4:
            self._lose_rows()
            return
        else:
            self._zombies.append(self.run)
            reached["zombie judge"] += 1
        self.run = self._begin()

    def _lose_rows(self) -> None:
        """Find all rows flawed, and judge again from the beginning of intake."""
        self._setting.reached["rows lost"] += self.committed.judged > 0
        self.lives.append(len(self.committed.verdicts))
        self.committed.store = MemoryStore({})
        self.run = self._begin()

    def _work_zombie(self, zombie: Run, rng: Random) -> None:
        zombie.read(self.partition, rng.choice((1, 5, 20, 100)))
        if rng.random() < 0.3 and not self.checkpoint(zombie):
            self._zombies.remove(zombie)
            self._setting.reached["fenced commit"] += 1

    def checkpoint(self, run: Run) -> bool:
        """Commit a run's rows and verdicts; False where it has been fenced."""
        changes = run.judge.checkpoint()
        verdicts = run.judge.take_verdicts()
        self.said += verdicts
        if not self.committed.commit(run.generation, changes, verdicts):
            return False
        self.committed.judged = max(self.committed.judged, run.judge.next_offset)
        if run.store is not self.committed.store:
            run.store.apply(changes)
        run.judge.committed()
        run.uncommitted = 0
        return True

    def finish(self) -> None:
        """Read all, and commit."""
        self._zombies.clear()
        self.run.read(self.partition, len(self.partition.log), settle=False)
        self.checkpoint(self.run)

    def forgotten(self) -> Iterator[tuple[bytes, int]]:
        """Yield (key, intake offset) of everything that any run forgot."""
        for run in self.runs:
            yield from run.forgotten
