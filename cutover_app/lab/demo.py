"""The main job, from one command: two clusters, a mirror, two workers, a shop whose rebuilt producer has defects.

    python -m cutover_app.lab.demo [--pairs N] [--rate N] [--kill-mirror]

It is the migration as it was: the legacy producer publishes on a legacy cluster, MirrorMaker 2 copies its topic to the
new one, and the rebuilt producer publishes there. While they do, it shows how far the two workers are and what they
have found; when all is judged it ends by itself, with the report that `cutover report` gives and a table of what was
planted, found, and said without cause. The exit code is 0 only if everything planted was found, nothing else was said,
and the books balance.

With MIRROR_KILL=1 in the environment MirrorMaker 2 is killed in the middle and started again. What it sends again then
is in the table too: each of it has to be a duplicate whose transport is suspected. With KEEP=1 all of it stays up until
Ctrl-C, and the commands to look around are printed.
"""

import argparse
import asyncio
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cutover_app.kafka.topics import changelog_of, intake_of
from cutover_app.lab.cluster import Cluster, start_together
from cutover_app.lab.errors import LabError
from cutover_app.lab.evidence import Quiet, Watch, is_working, read_verdicts
from cutover_app.lab.faults import ALL_RATES
from cutover_app.lab.fleet import Fleet, run_command
from cutover_app.lab.jars import KAFKA_VERSION, LEGACY_VERSION, jars, java
from cutover_app.lab.lane import Side
from cutover_app.lab.ledger import Judgement, judge_ledger, read_ledger
from cutover_app.lab.mirror import Lag, Mirror
from cutover_app.lab.progress import Progress, Screen
from cutover_app.lab.resent import compare, explain
from cutover_app.lab.route import Route
from cutover_app.lab.run import DEMO_CONTRACT, write_mirrored_contract
from cutover_app.lab.scenario import Scenario
from cutover_app.lab.shop import Delivery, command
from cutover_app.lab.verify import Subject, plain

PAIRS: Final = 50_000
RATE: Final = 2_000.0
PER_KEY: Final = 2
WORKERS: Final = 2
PARTITIONS: Final = (3, 5)
TOPIC: Final = "shop.orders"
KILL_AT: Final = 0.4
"""Part of the scenario after which the mirror is killed, if it is."""
FLUSH_MS: Final = 3_000
"""Between two notes of its position by a mirror that is to be killed: so much of what it copied is sent again."""
END_TIMEOUT_S: Final = 120.0

OPERATIONAL: Final = 4


class Demo:
    """The demo on running clusters."""

    def __init__(self, mirror: Mirror, console: Console, *, pairs: int, rate: float, kills: bool) -> None:
        self._cluster = mirror.work
        self._mirror = mirror
        self.contract = write_mirrored_contract(self._cluster.directory / "cutover.yaml", {}, mirror, DEMO_CONTRACT)
        self.subject = Subject.load(self._cluster.bootstrap, self.contract)
        self._console = console
        self._progress = Progress()
        self._screen = Screen(console, self._progress)
        self._scenario = Scenario(
            count=pairs - pairs % PER_KEY,
            pace=rate,
            start_ms=int(time.time() * 1000),
            rates=ALL_RATES,
            per_key=PER_KEY,
            sealed="vault",
            headers=True,
        )
        self._rate = rate
        self._kills = kills
        self._ledger = self._cluster.directory / "ledger.jsonl"
        self._fleet = Fleet(self._cluster, self.contract)
        self._watch = Watch(self._cluster.bootstrap, self.subject.contract)
        self._lag = Lag(mirror)

    async def play(self) -> None:
        """Publish, copy and judge until everything is judged."""
        await Route(self.subject, self._mirror).create(PARTITIONS)
        await self._watch.start()
        await self._lag.start()
        try:
            with self._screen.live():
                await self._play()
        finally:
            await self._lag.stop()
            await self._watch.stop()

    async def _play(self) -> None:
        self._progress.phase = f"{WORKERS} workers start"
        self._fleet.start(WORKERS)
        while not await is_working(self._watch):
            await self._look()
        publishing = f"{self._scenario.count:,} pairs are published, {self._rate:,.0f} per second"
        self._progress.phase = publishing
        shop = self._publish()
        if self._kills:
            due = time.monotonic() + KILL_AT * self._scenario.count / self._rate
            await self._until(lambda: shop.poll() is not None or time.monotonic() >= due)
            await self._kill_mirror()
            self._progress.phase = publishing
        await self._until(lambda: shop.poll() is not None)
        if shop.returncode:
            raise LabError(f"the scenario ended with {shop.returncode}: see {self._cluster.directory / 'shop.log'}")
        self._progress.phase = "all is published; the mirror catches up"
        await self._until(lambda: self._progress.mirror_lag == 0)
        self._progress.phase = "all is copied; what has no partner waits for its grace"
        quiet = Quiet(self._watch)
        deadline = time.monotonic() + END_TIMEOUT_S
        while not await quiet.reached():
            await self._look()
            if time.monotonic() > deadline:
                raise LabError("not at its end: " + "; ".join(self._watch.totals.lines()))
        await self._look()

    async def _kill_mirror(self) -> None:
        self._progress.phase = "SIGKILL for MirrorMaker 2; it starts again"
        self._mirror.kill()
        starting = asyncio.create_task(asyncio.to_thread(self._mirror.start))
        await self._until(starting.done)
        await starting

    async def _until(self, done: Callable[[], bool]) -> None:
        while not done():
            await self._look()

    async def _look(self) -> None:
        await self._watch.look()
        self._fleet.check()
        self._mirror.check()
        self._progress.mirror_lag = await self._lag.records(TOPIC)
        self._progress.take(self._watch)
        self._screen.update()

    def _publish(self) -> subprocess.Popen[bytes]:
        contract = self.subject.contract
        delivery = Delivery(
            bootstrap=self._cluster.bootstrap,
            legacy_bootstrap=self._mirror.legacy.bootstrap,
            legacy=Side(topic=TOPIC, partitioner="murmur2"),
            rebuilt=Side(topic=contract.rebuilt.topic, partitioner="crc32", delay_s=0.5),
            rate=self._rate,
        )
        with (self._cluster.directory / "shop.log").open("wb") as log:
            return self._cluster.spawn(command(self._scenario, delivery, self._ledger), log=log)

    async def judge(self) -> tuple[Judgement, tuple[str, ...]]:
        """Hold the verdicts against the ledger; return that and what is wrong with the books."""
        verdicts = await read_verdicts(self._cluster.bootstrap, self.subject.contract)
        again = (await compare(self._mirror, TOPIC)).again
        if self._kills and not again:
            raise LabError("MirrorMaker 2 was killed and sent nothing again: try once more")
        ledger = explain(read_ledger(self._ledger), again)
        if left_open := [entry.key[0] for entry in ledger if entry.anything]:
            orders = ", ".join(left_open)
            self._console.print(Text(f"both sides have these orders twice, anything may be said: {orders}"))
        return judge_ledger(ledger, plain(verdicts.values())), self._watch.totals.balance

    def report(self) -> None:
        """Print what `cutover report` says."""
        done = run_command(["report"], self.contract, self._cluster.bootstrap)
        self._console.print(Text(done.stdout + done.stderr), soft_wrap=True)

    def close(self) -> None:
        """End the workers in good order."""
        self._fleet.close()

    def ways(self) -> list[tuple[str, str]]:
        """Return (what it shows, command) for looking around."""
        contract, broker, legacy = self.subject.contract, self._cluster.bootstrap, self._mirror.legacy.bootstrap
        programs = Path(sys.executable).parent
        faust = shlex.join([*_program(programs / "faust", "-m", "faust"), "-A", "cutover_app"])
        cutover = shlex.join(_program(programs / "cutover", "-m", "cutover_app"))
        return [
            ("first", f"export CUTOVER_CONTRACT={shlex.quote(str(self.contract))}"),
            ("the tables", f"{faust} tables"),
            ("the agents", f"{faust} agents"),
            ("what was found", f"{cutover} report"),
            ("what a run needs", f"{cutover} plan"),
            ("verdicts", _reading(broker, contract.verdicts.topic)),
            ("the legacy topic, where it was published", _reading(legacy, TOPIC)),
            ("its copy", _reading(broker, contract.legacy.topic)),
            ("how far MirrorMaker 2 says it is", _reading(broker, self._mirror.offsets_topic)),
            ("MirrorMaker 2's settings and log", f"ls {self._mirror.log.parent}"),
            ("the workers' logs", f"tail -n 50 {self._cluster.directory}/worker-*/worker.log"),
            ("topics of the run", f"{intake_of(contract)}, {changelog_of(contract, 'books')}, ..."),
        ]


def _reading(broker: str, topic: str) -> str:
    """Return the command line of Kafka's own console consumer, from the beginning of a topic."""
    words = [java(), "-cp", f"{jars(KAFKA_VERSION)}/*", "org.apache.kafka.tools.consumer.ConsoleConsumer"]
    words += ["--bootstrap-server", broker, "--from-beginning", "--isolation-level", "read_committed"]
    return shlex.join([*words, "--property", "print.key=true", "--topic", topic, "--timeout-ms", "5000"])


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


def show(console: Console, *, pairs: int, rate: float, keep: bool, kills: bool) -> bool:
    """Run the demo and return whether all came out as it must."""
    began = time.monotonic()
    console.print(Text(f"two clusters start, Kafka {LEGACY_VERSION} and {KAFKA_VERSION}, and MirrorMaker 2"))
    with ExitStack() as stack:
        legacy, work = Cluster("legacy", version=LEGACY_VERSION), Cluster("demo")
        stack.callback(legacy.close)
        stack.callback(work.close)
        start_together(legacy, work)
        mirror = Mirror(legacy, work, flush_ms=FLUSH_MS if kills else 1000)
        stack.callback(mirror.kill)
        mirror.start()
        demo = Demo(mirror, console, pairs=pairs, rate=rate, kills=kills)
        stack.callback(demo.close)
        asyncio.run(demo.play())
        demo.report()
        judgement, imbalances = asyncio.run(demo.judge())
        right = _conclude(console, judgement, imbalances, time.monotonic() - began)
        if keep:
            _keep(console, demo)
    return right


def main() -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--rate", type=float, default=RATE, help="pairs per second")
    parser.add_argument("--keep", action="store_true", default=_is_set("KEEP"))
    parser.add_argument("--kill-mirror", action="store_true", default=_is_set("MIRROR_KILL"))
    options = parser.parse_args()
    console = Console(highlight=False)
    try:
        right = show(console, pairs=options.pairs, rate=options.rate, keep=options.keep, kills=options.kill_mirror)
    except LabError as error:
        print(f"demo: {error}", file=sys.stderr)
        return OPERATIONAL
    except KeyboardInterrupt:
        return 0 if options.keep else 130
    return 0 if right else 1


def _is_set(name: str) -> bool:
    return os.environ.get(name, "") not in {"", "0"}


if __name__ == "__main__":
    sys.exit(main())
