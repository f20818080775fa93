"""The main job, from one command: a real broker, two workers, a shop whose rebuilt producer has defects.

    python -m cutover_app.lab.demo [--pairs N] [--rate N]

Both producers publish live. While they do, it shows how far the two workers are and what they have found; when all is
judged it ends by itself, with the report that `cutover report` gives and a table of what was planted, found, and said
without cause. The exit code is 0 only if everything planted was found, nothing else was said, and the books balance.

With KEEP=1 in the environment all of it stays up until Ctrl-C, and the commands to look around are printed.
"""

import argparse
import asyncio
import os
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cutover_app.core.frames import SIDES
from cutover_app.kafka.topics import changelog_of, intake_of
from cutover_app.lab.cluster import Cluster
from cutover_app.lab.errors import LabError
from cutover_app.lab.evidence import Quiet, Totals, Watch, is_working, read_verdicts
from cutover_app.lab.fleet import Fleet, run_command
from cutover_app.lab.jars import KAFKA_VERSION, jars, java
from cutover_app.lab.lane import Side
from cutover_app.lab.ledger import Judgement, judge_ledger, read_ledger
from cutover_app.lab.run import DEMO_CONTRACT, create_all
from cutover_app.lab.scenario import Scenario
from cutover_app.lab.shop import Delivery, command
from cutover_app.lab.verify import Subject, plain

PAIRS: Final = 50_000
RATE: Final = 2_000.0
WORKERS: Final = 2
PARTITIONS: Final = (3, 5)
LINE_SECONDS: Final = 4.0
"""Between two lines of progress where there is no terminal."""
RATE_SECONDS: Final = 3.0
"""Over which rates are taken."""
END_TIMEOUT_S: Final = 90.0

OPERATIONAL: Final = 4


@dataclass
class Progress:
    """What is known while it runs, in the two forms in which it is shown."""

    pairs: int
    phase: str = ""
    totals: Totals | None = None
    findings: Counter[str] = field(default_factory=Counter)
    _history: list[tuple[float, tuple[int, int]]] = field(default_factory=list)
    _since: float = field(default_factory=time.monotonic)

    def take(self, watch: Watch) -> None:
        """Take in what the books say now."""
        now = time.monotonic()
        self.totals, self.findings = watch.totals, watch.findings()
        self._history.append((now, self.totals.accepted))
        while self._history[0][0] < now - RATE_SECONDS:
            self._history.pop(0)

    def rate(self, side: int) -> float:
        """Messages per second that were taken in lately."""
        (began, first), (ended, last) = self._history[0], self._history[-1]
        return (last[side] - first[side]) / (ended - began) if ended > began else 0.0

    def line(self) -> str:
        """Say it in one line."""
        head = f"{time.monotonic() - self._since:4.0f} s  {self.phase}"
        if self.totals is None:
            return head
        sides = ", ".join(
            f"{name} {self.totals.accepted[side]:,} ({self.rate(side):,.0f}/s, frontier {self._lag(side)})"
            for side, name in enumerate(SIDES)
        )
        found = " ".join(f"{kind} {count}" for kind, count in sorted(self.findings.items()) if count)
        return f"{head}: {sides}; {self.totals.pending:,} pending; {found or 'nothing found yet'}"

    def _lag(self, side: int) -> str:
        lag = self.totals.lag_ms[side] if self.totals is not None else None
        return "none yet" if lag is None else f"-{lag / 1000:.1f} s"

    def __rich__(self) -> Group:
        """Say it as tables."""
        head = Text(f"{time.monotonic() - self._since:4.0f} s  {self.phase}", style="bold")
        if self.totals is None:
            return Group(head)
        sides = Table()
        for title in ("", "taken in", "per second", "paired", "pending", "frontier"):
            sides.add_column(title, justify="left" if not title else "right")
        for side, name in enumerate(SIDES):
            pending, paired = self.totals.tallies[side][:2]
            taken = f"{self.totals.accepted[side]:,}"
            sides.add_row(name, taken, f"{self.rate(side):,.0f}", f"{paired:,}", f"{pending:,}", self._lag(side))
        found = Table()
        found.add_column("finding")
        found.add_column("open", justify="right")
        for kind, count in sorted(self.findings.items()):
            if count:
                found.add_row(kind, str(count))
        return Group(head, sides, found)


class Screen:
    """Shows progress: redrawn on a terminal, a line every few seconds elsewhere."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self._progress = progress
        self._next = 0.0
        self._phase = ""

    @contextmanager
    def live(self) -> Iterator[None]:
        """Draw while inside."""
        if not self._console.is_terminal:
            yield
            return
        with Live(self._progress, console=self._console, refresh_per_second=4):
            yield

    def update(self) -> None:
        """Write a line if it is time for one."""
        if self._console.is_terminal:
            return
        now = time.monotonic()
        if now >= self._next or self._phase != self._progress.phase:
            self._next, self._phase = now + LINE_SECONDS, self._progress.phase
            self._console.print(self._progress.line(), soft_wrap=True, markup=False, highlight=False)


class Demo:
    """The demo on a running broker."""

    def __init__(self, cluster: Cluster, console: Console, *, pairs: int, rate: float) -> None:
        self.subject = Subject.load(cluster.bootstrap, DEMO_CONTRACT)
        self._cluster = cluster
        self._console = console
        self._progress = Progress(pairs)
        self._screen = Screen(console, self._progress)
        self._scenario = Scenario(count=pairs, pace=rate, start_ms=int(time.time() * 1000))
        self._rate = rate
        self._ledger = cluster.directory / "ledger.jsonl"
        self._fleet = Fleet(cluster, DEMO_CONTRACT)
        self._watch = Watch(cluster.bootstrap, self.subject.contract)

    async def play(self) -> None:
        """Publish and judge until everything is judged."""
        await create_all(self.subject, PARTITIONS)
        await self._watch.start()
        try:
            with self._screen.live():
                await self._play()
        finally:
            await self._watch.stop()

    async def _play(self) -> None:
        self._progress.phase = f"{WORKERS} workers start"
        self._fleet.start(WORKERS)
        while not await is_working(self._watch):
            await self._look()
        self._progress.phase = f"{self._scenario.count:,} pairs are published, {self._rate:,.0f} per second"
        shop = self._publish()
        await self._until(lambda: shop.poll() is not None)
        if shop.returncode:
            raise LabError(f"the scenario ended with {shop.returncode}: see {self._cluster.directory / 'shop.log'}")
        self._progress.phase = "all is published; what has no partner waits for its grace"
        quiet = Quiet(self._watch)
        deadline = time.monotonic() + END_TIMEOUT_S
        while not await quiet.reached():
            await self._look()
            if time.monotonic() > deadline:
                raise LabError("not at its end: " + "; ".join(self._watch.totals.lines()))
        await self._look()

    async def _until(self, done: Callable[[], bool]) -> None:
        while not done():
            await self._look()

    async def _look(self) -> None:
        await self._watch.look()
        self._fleet.check()
        self._progress.take(self._watch)
        self._screen.update()

    def _publish(self) -> subprocess.Popen[bytes]:
        contract = self.subject.contract
        delivery = Delivery(
            bootstrap=self._cluster.bootstrap,
            legacy=Side(topic=contract.legacy.topic, partitioner="murmur2"),
            rebuilt=Side(topic=contract.rebuilt.topic, partitioner="crc32", delay_s=0.5),
            rate=self._rate,
        )
        with (self._cluster.directory / "shop.log").open("wb") as log:
            return self._cluster.spawn(command(self._scenario, delivery, self._ledger), log=log)

    async def judge(self) -> tuple[Judgement, tuple[str, ...]]:
        """Hold the verdicts against the ledger; return that and what is wrong with the books."""
        verdicts = await read_verdicts(self._cluster.bootstrap, self.subject.contract)
        return judge_ledger(read_ledger(self._ledger), plain(verdicts.values())), self._watch.totals.balance

    def report(self) -> None:
        """Print what `cutover report` says."""
        done = run_command(["report"], DEMO_CONTRACT, self._cluster.bootstrap)
        self._console.print(Text(done.stdout + done.stderr), soft_wrap=True)

    def close(self) -> None:
        """End the workers in good order."""
        self._fleet.close()

    def ways(self) -> list[tuple[str, str]]:
        """Return (what it shows, command) for looking around."""
        contract, broker = self.subject.contract, self._cluster.bootstrap
        programs = Path(sys.executable).parent
        faust = shlex.join([*_program(programs / "faust", "-m", "faust"), "-A", "cutover_app"])
        cutover = shlex.join(_program(programs / "cutover", "-m", "cutover_app"))
        consumer = [java(), "-cp", f"{jars(KAFKA_VERSION)}/*", "org.apache.kafka.tools.consumer.ConsoleConsumer"]
        consumer += ["--bootstrap-server", broker, "--from-beginning", "--isolation-level", "read_committed"]
        return [
            ("first", f"export CUTOVER_CONTRACT={shlex.quote(str(DEMO_CONTRACT))} CUTOVER_BROKER=kafka://{broker}"),
            ("the tables", f"{faust} tables"),
            ("the agents", f"{faust} agents"),
            ("what was found", f"{cutover} report"),
            ("what a run needs", f"{cutover} plan"),
            ("verdicts", shlex.join([*consumer, "--topic", contract.verdicts.topic, "--timeout-ms", "5000"])),
            ("the workers' logs", f"tail -n 50 {self._cluster.directory}/worker-*/worker.log"),
            ("topics of the run", f"{intake_of(contract)}, {changelog_of(contract, 'books')}, ..."),
        ]


def _program(script: Path, *otherwise: str) -> list[str]:
    """Return how to start a program from anywhere, or at least from the project's folder."""
    return [str(script)] if script.exists() else [sys.executable, *otherwise]


def _table(judgement: Judgement) -> Table:
    table = Table(title="planted faults")
    table.add_column("kind")
    for title in ("planted", "found", "false"):
        table.add_column(title, justify="right")
    for row in sorted(judgement.rows, key=lambda each: each.kind):
        style = "green" if row.planted == row.found and not row.false else "red"
        table.add_row(row.kind, str(row.planted), str(row.found), str(row.false), style=style)
    return table


def _conclude(console: Console, judgement: Judgement, imbalances: tuple[str, ...], seconds: float) -> bool:
    console.print(_table(judgement))
    for entry in judgement.not_found[:5]:
        console.print(Text(f"not found: {entry}"), soft_wrap=True)
    for verdict in judgement.false[:5]:
        console.print(Text(f"false: {dict(verdict)}"), soft_wrap=True)
    for line in imbalances[:5]:
        console.print(Text(f"books: {line}"), soft_wrap=True)
    right = judgement.perfect and not imbalances
    said = "everything planted was found, nothing else was said, the books balance" if right else "NOT as it must be"
    console.print(Text(f"{said} ({seconds:.0f} s)", style="bold green" if right else "bold red"), soft_wrap=True)
    return right


def _keep(console: Console, demo: Demo) -> None:
    console.print(Text("\nAll of it stays up until Ctrl-C. To look around, in another terminal:\n", style="bold"))
    for what, how in demo.ways():
        console.print(Text(f"# {what}"), Text(how), sep="\n", soft_wrap=True)
    while True:
        time.sleep(1)


def show(console: Console, *, pairs: int, rate: float, keep: bool) -> bool:
    """Run the demo and return whether all came out as it must."""
    began = time.monotonic()
    console.print(Text("a broker starts"))
    with Cluster("demo") as cluster:
        demo = Demo(cluster, console, pairs=pairs, rate=rate)
        try:
            asyncio.run(demo.play())
            demo.report()
            judgement, imbalances = asyncio.run(demo.judge())
            right = _conclude(console, judgement, imbalances, time.monotonic() - began)
            if keep:
                _keep(console, demo)
        finally:
            demo.close()
    return right


def main() -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--rate", type=float, default=RATE, help="pairs per second")
    parser.add_argument("--keep", action="store_true", default=os.environ.get("KEEP", "") not in {"", "0"})
    options = parser.parse_args()
    console = Console(highlight=False)
    try:
        return 0 if show(console, pairs=options.pairs, rate=options.rate, keep=options.keep) else 1
    except LabError as error:
        print(f"demo: {error}", file=sys.stderr)
        return OPERATIONAL
    except KeyboardInterrupt:
        return 0 if options.keep else 130


if __name__ == "__main__":
    sys.exit(main())
