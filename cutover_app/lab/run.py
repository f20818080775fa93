"""A whole verification run on a real broker: topics, contract, workers, scenario, the wait for its end, examination.

    python -m cutover_app.lab.run --pairs 300000      the runs that a release has to pass

A run is described by a `RunPlan` and ends in a `Result`. The plans of `plans` differ in how the two sides reach the
workers, and in what happens to the workers meanwhile; what must come out is always the same: equal to the oracle,
everything planted found and nothing else said, books balanced.
"""

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

import yaml

import cutover_app
from cutover_app.lab.cluster import Cluster
from cutover_app.lab.errors import LabError
from cutover_app.lab.evidence import Watch, wait_quiet, wait_working
from cutover_app.lab.fleet import Fleet
from cutover_app.lab.jars import LEGACY_VERSION
from cutover_app.lab.lane import Codec, Side
from cutover_app.lab.mirror import Mirror
from cutover_app.lab.partitioners import PartitionerName
from cutover_app.lab.route import Route, through
from cutover_app.lab.scenario import Scenario
from cutover_app.lab.shop import Delivery, Loading, command
from cutover_app.lab.verify import Findings, Subject, verify

DEMO_CONTRACT: Final = Path(cutover_app.__file__).parents[1] / "cutover.yaml"
PLAIN_CONTRACT: Final = Path(__file__).with_name("contracts") / "orders.yaml"
"""One cluster, nothing encrypted, one message per order: what speed is measured on."""
QUIET_TIMEOUT_S: Final = 120.0
LIVE_RATE: Final = 2000.0
POLL_S: Final = 0.2

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Stage:
    """What a step of a run may lay hands on."""

    plan: "RunPlan"
    cluster: Cluster
    fleet: Fleet
    route: Route
    watch: Watch
    folder: Path
    """Files of the run, the contract among them."""
    tell: Tell

    @property
    def gate(self) -> Path | None:
        """The file for which the second of two sides waits, in a plan that is gated."""
        return self.folder / "gate" if self.plan.gated else None

    def open_gate(self) -> None:
        """Let the second side begin."""
        assert self.gate is not None
        self.gate.touch()


Step = tuple[float, Callable[[Stage], Awaitable[None]]]
"""A part of the scenario, and what happens after it; from `PUBLISHED` after all of it, from `JUDGED` at the end."""

PUBLISHED: Final = 1.0
JUDGED: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What is to be done. Pairs of settings are (legacy, rebuilt).

    Attributes:
        name: Names the run, its topics and its files; one of its own for each run on a broker.
        scenario: What the two producers publish.
        partitions: Partitions of the source topics.
        partitioners: How the producers choose among them.
        codecs: How they compress.
        loading: Both sides together, or one completely before the other.
        rate: Legacy messages per second; None is full speed.
        gated: Whether the second of two sides waits until a step opens the gate (`Stage.open_gate`).
        workers: How many are started.
        begin: Whether they start before anything is published, or when all of it is.
        kill_at: Part of the scenario after which the first worker is killed; None leaves it alone.
        join_at: Part of the scenario after which one more joins.
        timing: Replaces the contract's timing.
        intake: Partitions of intake.
        timeout_s: How long the end may take, from when everything is published.
        mirrored: Whether the legacy side is published on a legacy cluster and comes through a mirror.
        kill_mirror_at: Part of the scenario after which that is killed, and started again; None leaves it alone.
        env: Environment of the workers that the plan starts.
        under: Command that runs the workers' commands.
        contract: Top-level settings of the contract that replace those that follow from the plan.
    """

    name: str
    scenario: Scenario
    partitions: tuple[int, int] = (3, 5)
    partitioners: tuple[PartitionerName, PartitionerName] = ("murmur2", "crc32")
    codecs: tuple[Codec, Codec] = ("lz4", "lz4")
    loading: Loading = "both"
    rate: float | None = None
    gated: bool = False
    workers: int = 1
    begin: Literal["before", "after"] = "before"
    kill_at: float | None = None
    join_at: float | None = None
    timing: Mapping[str, str] = field(default_factory=lambda: {"grace": "4s", "remember": "1h", "barrier": "500ms"})
    intake: int = 4
    timeout_s: float = QUIET_TIMEOUT_S
    mirrored: bool = False
    kill_mirror_at: float | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    under: Sequence[str] = ()
    contract: Mapping[str, Any] = field(default_factory=dict)

    @property
    def topics(self) -> tuple[str, str]:
        """The source topics, as the producers call them."""
        return f"{self.name}.shop.orders", f"{self.name}.orders.v2"

    def changes(self) -> dict[str, Any]:
        """Return what is different from the plain contract."""
        legacy, rebuilt = self.topics
        return {
            "run": self.name,
            "legacy": {"topic": legacy},
            "rebuilt": {"topic": rebuilt},
            "timing": dict(self.timing),
            "intake": {"partitions": self.intake},
            "verdicts": {"topic": f"{self.name}.verdicts"},
            **self.contract,
        }

    def delivery(self, bootstrap: str, legacy_bootstrap: str | None = None) -> Delivery:
        """Return how the scenario reaches the brokers."""
        legacy, rebuilt = (
            Side(topic=topic, partitioner=partitioner, codec=codec)
            for topic, partitioner, codec in zip(self.topics, self.partitioners, self.codecs, strict=True)
        )
        return Delivery(
            bootstrap=bootstrap,
            legacy_bootstrap=legacy_bootstrap,
            legacy=legacy,
            rebuilt=rebuilt,
            loading=self.loading,
            rate=self.rate,
        )


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    plan: RunPlan
    findings: Findings
    seconds: Mapping[str, float]
    """How long each phase took."""

    @property
    def wrong(self) -> list[str]:
        """Return a line for everything that is not as it must be."""
        return self.findings.wrong

    def lines(self) -> list[str]:
        """Say what came out."""
        took = ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in self.seconds.items())
        outcomes = ", ".join(f"{count} {name}" for name, count in sorted(self.findings.outcomes.items()))
        rows = self.findings.judgement.rows
        return [
            f"{self.plan.name}: {'as it must be' if not self.wrong else 'WRONG'} ({took})",
            f"  verdicts: {outcomes}",
            "  planted/found/false: " + ", ".join(f"{r.kind} {r.planted}/{r.found}/{r.false}" for r in rows),
            *(f"  {line}" for line in self.findings.totals.lines()),
            *(f"  {line}" for line in self.wrong),
        ]


def write_contract(file: Path, changes: Mapping[str, Any], base: Path = PLAIN_CONTRACT) -> Path:
    """Write a contract like `base` with some of its top-level settings replaced."""
    settings = yaml.safe_load(base.read_text(encoding="utf-8")) | dict(changes)
    file.write_text(yaml.safe_dump(settings, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return file


async def create_all(subject: Subject, partitions: tuple[int, int]) -> None:
    """Create the topics of a run on one cluster."""
    await Route(subject).create(partitions)


def write_mirrored_contract(file: Path, changes: Mapping[str, Any], mirror: Mirror, base: Path) -> Path:
    """Write a contract like `base` whose legacy topic is the copy that this mirror makes."""
    settings = yaml.safe_load(base.read_text(encoding="utf-8")) | dict(changes)
    return write_contract(file, through(settings, mirror), base)


async def run(
    plan: RunPlan,
    cluster: Cluster,
    tell: Tell = lambda _line: None,
    mirror: Mirror | None = None,
    steps: Sequence[Step] = (),
) -> Result:
    """Carry out a plan and examine what came out; `mirror`, for plans that need one, leads to this cluster."""
    if plan.mirrored and mirror is None:
        raise LabError(f"{plan.name} needs a mirror")
    folder = cluster.directory / f"run-{plan.name}"
    folder.mkdir()
    contract, route = _prepare(plan, cluster, folder, mirror if plan.mirrored else None)
    subject = route.subject
    await route.create(plan.partitions)
    fleet = Fleet(cluster, contract, name=f"{plan.name}-worker", under=plan.under)
    watch = Watch(cluster.bootstrap, subject.contract)
    stage = Stage(plan, cluster, fleet, route, watch, folder, tell)
    clock = _Phases()
    try:
        await watch.start()
        if plan.begin == "before":
            fleet.start(plan.workers, env=plan.env)
            await wait_working(watch, timeout=QUIET_TIMEOUT_S, check=fleet.check)
            clock.end("start")
        await _publish(stage, steps)
        await route.arrived()
        clock.end("publishing")
        if plan.begin == "after":
            fleet.start(plan.workers, env=plan.env)
        await wait_quiet(watch, timeout=plan.timeout_s, check=fleet.check)
        clock.end("end")
        for at, act in steps:
            if at >= JUDGED:
                await act(stage)
        await asyncio.to_thread(fleet.close)
    finally:
        await watch.stop()
        await asyncio.to_thread(fleet.close)
    clock.end("leaving")
    again = (await route.compared()).again
    findings = await verify(subject, watch.totals, folder / "ledger.jsonl", again)
    clock.end("examination")
    return Result(plan, findings, clock.seconds)


def _prepare(plan: RunPlan, cluster: Cluster, folder: Path, mirror: Mirror | None) -> tuple[Path, Route]:
    """Write the contract of a plan; return its file, and the way of the legacy topic."""
    file = folder / "cutover.yaml"
    if mirror is None:
        write_contract(file, plan.changes())
    else:
        write_mirrored_contract(file, plan.changes(), mirror, PLAIN_CONTRACT)
    return file, Route(Subject.load(cluster.bootstrap, file), mirror)


class _Phases:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.monotonic()

    def end(self, phase: str) -> None:
        now = time.monotonic()
        self.seconds[phase], self._since = now - self._since, now


async def _publish(stage: Stage, steps: Sequence[Step]) -> None:
    """Play the scenario in a process of its own, and do meanwhile what the plan and the steps say."""
    plan, fleet, folder = stage.plan, stage.fleet, stage.folder
    delivery = replace(plan.delivery(stage.cluster.bootstrap, stage.route.bootstrap), gate=stage.gate)
    log = folder / "shop.log"
    with log.open("wb") as output:
        shop = stage.cluster.spawn(command(plan.scenario, delivery, folder / "ledger.jsonl"), log=output)
    began = time.monotonic()
    span = plan.scenario.count / (plan.rate or LIVE_RATE)
    restart = _Restart()
    planned: list[tuple[float | None, Callable[[Stage], Awaitable[None]]]] = [
        (plan.kill_at, _kill_first),
        (plan.join_at, _join),
        (plan.kill_mirror_at, restart.begin),
        *steps,
    ]
    due = sorted(((at, act) for at, act in planned if at is not None), key=lambda step: step[0])
    while shop.poll() is None:
        await asyncio.sleep(POLL_S)
        fleet.check()
        while due and due[0][0] < PUBLISHED and time.monotonic() - began >= due[0][0] * span:
            await due.pop(0)[1](stage)
    await restart.end()
    if shop.returncode:
        raise LabError(f"the scenario ended with {shop.returncode}:\n{log.read_text(errors='replace')}")
    for at, act in due:
        if at < PUBLISHED:
            raise LabError("the scenario was over before everything had happened that the plan says")
        if at < JUDGED:
            await act(stage)


class _Restart:
    """Kills a mirror and starts it again, beside what else goes on."""

    def __init__(self) -> None:
        self._starting: asyncio.Task[None] | None = None

    async def begin(self, stage: Stage) -> None:
        mirror = stage.route.mirror
        if mirror is None:
            raise LabError("there is no mirror to kill")
        stage.tell("SIGKILL for MirrorMaker 2; it starts again")
        mirror.kill()
        self._starting = asyncio.create_task(asyncio.to_thread(mirror.start))

    async def end(self) -> None:
        if self._starting is not None:
            await self._starting


async def _kill_first(stage: Stage) -> None:
    worker = stage.fleet.running[0]
    stage.tell(f"SIGKILL for {worker.name}")
    stage.fleet.kill(worker)


async def _join(stage: Stage) -> None:
    (worker,) = stage.fleet.start()
    stage.tell(f"{worker.name} joins")


def plans(pairs: int, *, seed: int = 1, prefix: str = "") -> list[RunPlan]:
    """Return the runs that a release has to pass, for a number of pairs."""
    full = Scenario(count=pairs, seed=seed, start_ms=int((time.time() - pairs / LIVE_RATE) * 1000))
    live = replace(full, seed=seed + 1, start_ms=int(time.time() * 1000))
    timeout = max(QUIET_TIMEOUT_S, pairs / 500)
    return [
        RunPlan(name=f"{prefix}a", scenario=full, begin="after", timeout_s=timeout),
        RunPlan(name=f"{prefix}b", scenario=full, loading="legacy-first", timeout_s=timeout),
        RunPlan(name=f"{prefix}b2", scenario=full, loading="rebuilt-first", timeout_s=timeout),
        RunPlan(name=f"{prefix}c", scenario=live, rate=LIVE_RATE, workers=2, timeout_s=timeout),
        RunPlan(
            name=f"{prefix}d",
            scenario=replace(live, seed=seed + 2, per_key=2),
            rate=LIVE_RATE,
            workers=2,
            kill_at=0.4,
            join_at=0.6,
            timeout_s=timeout,
        ),
        RunPlan(
            name=f"{prefix}e",
            scenario=replace(live, seed=seed + 3),
            rate=LIVE_RATE,
            workers=2,
            timeout_s=timeout,
            mirrored=True,
            kill_mirror_at=0.4,
        ),
    ]


async def _run_all(wanted: list[RunPlan], cluster: Cluster, mirror: Mirror | None) -> bool:
    right = True
    for plan in wanted:
        try:
            result = await run(plan, cluster, print, mirror)
        except LabError as error:
            print(f"{plan.name}: {error}")
            right = False
            continue
        print("\n".join(result.lines()), flush=True)
        right = right and not result.wrong
    return right


def _start_mirror(stack: ExitStack, cluster: Cluster) -> Mirror:
    """Start a legacy cluster and a mirror from there."""
    mirror = Mirror(stack.enter_context(Cluster("legacy", version=LEGACY_VERSION)), cluster)
    stack.callback(mirror.kill)
    mirror.start()
    return mirror


def main() -> int:
    """Carry out the plans one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=300_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", help="name of a run; may be given several times")
    options = parser.parse_args()
    wanted = [plan for plan in plans(options.pairs, seed=options.seed) if not options.only or plan.name in options.only]
    try:
        with ExitStack() as stack:
            cluster = stack.enter_context(Cluster("acceptance"))
            mirror = _start_mirror(stack, cluster) if any(plan.mirrored for plan in wanted) else None
            return 0 if asyncio.run(_run_all(wanted, cluster, mirror)) else 1
    except (LabError, subprocess.SubprocessError) as error:
        print(f"acceptance: {error}", file=sys.stderr)
        return 4
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
