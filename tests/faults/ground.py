"""Where a row is played: a cluster of its own kind, plans with a seed, and the steps that rows share."""

import asyncio
import random
import re
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from cutover_app.lab.cluster import QUICK_JVM, Cluster
from cutover_app.lab.fleet import Fleet, Worker, run_command
from cutover_app.lab.jars import LEGACY_VERSION
from cutover_app.lab.mirror import Mirror
from cutover_app.lab.pages import is_working
from cutover_app.lab.run import JUDGED, RunPlan, Stage, Step, run
from cutover_app.lab.scenario import Scenario
from cutover_app.lab.verify import Findings
from cutover_app.runtime.fatal import EXIT_FATAL
from tests.faults.row import Seen

RATE: Final = 500.0
"""Legacy messages per second; what matters is what happens meanwhile."""
FAULTS: Final = dict.fromkeys(
    ("missing", "missing_field", "wrong_value", "unmapped_value", "duplicate", "unknown"), 0.002
)
"""Planted per message and kind."""
TIMING: Final = {"grace": "4s", "remember": "1h", "barrier": "500ms"}
ENDS_SECONDS: Final = 60.0
"""Within these a worker has ended that ends by itself."""
WORKS_SECONDS: Final = 120.0
LOOK_SECONDS: Final = 0.5
RSS_MAX: Final = 500 * 1024 * 1024
FATAL: Final = "cutover: fatal: "
FENCED: Final = re.compile("fenced|was taken over")
AGAIN: Final = "it is judged again from the beginning of its intake"
ALONE: Final = re.compile("no Kafka broker answers")
"""What a worker says whose start found nobody: whoever runs workers starts another."""


class Played(NamedTuple):
    """What came out of a plan."""

    found: Findings
    redelivered: int
    log: str
    """Of all workers."""


class Ground:
    """One row's ground: what it is played on, and the seed of everything that is drawn."""

    def __init__(self, stack: ExitStack, folder: Path, seed: int, number: int) -> None:
        self.seed = seed
        self.number = number
        self.folder = folder
        self.random = random.Random(f"{seed}-{number}")
        self.stack = stack

    @cached_property
    def cluster(self) -> Cluster:
        """One broker."""
        return self.stack.enter_context(Cluster(f"row{self.number}", jvm=QUICK_JVM))

    def keep_logs(self, folder: Path) -> int:
        """Copy what brokers and workers have written, whose directories go with the row; return how many did."""
        cluster = vars(self).get("cluster")
        clusters = [] if cluster is None else [cluster, *getattr(cluster, "nodes", [])]
        found = [log for each in clusters for log in (each.log, *each.directory.glob("*/worker.log"))]
        logs = [log for log in dict.fromkeys(found) if log.is_file()]
        for log in logs:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(log, folder / f"{log.parent.name}.log")
        return len(logs)

    def plan(self, seconds: float, *, rates: Mapping[str, float] = FAULTS, **more: Any) -> RunPlan:
        """Return a live run of about so many seconds; `rate=None` has as many messages, and is as fast as can be."""
        scenario = Scenario(
            count=int(seconds * RATE),
            seed=self.seed * 1000 + self.number,
            rates=dict(rates),
            start_ms=int(time.time() * 1000),
            pace=RATE,
        )
        fields = {"rate": RATE, "workers": 2, "timing": TIMING, "timeout_s": 180.0} | more
        return RunPlan(name=f"row{self.number}", scenario=scenario, **fields)

    async def play(
        self,
        seen: Seen,
        plan: RunPlan,
        *steps: Step,
        mirror: Mirror | None = None,
        taken_back: bool = False,
        state_lost: bool = False,
    ) -> Played:
        """Carry out a plan; what is wrong with what came out is wrong with the row.

        A verdict that had to be taken back is wrong too, unless a row is about such: it was false when it was said. So
        is state that had to be made again from intake: it may hide that rows were not what they had to be.
        """
        plan = replace(plan, scenario=replace(plan.scenario, start_ms=int(time.time() * 1000)))
        found = (await run(plan, self.cluster, mirror=mirror, steps=steps)).findings
        redelivered = sum(found.totals.redelivered)
        seen.note(f"{found.entries[0]} + {found.entries[1]} messages, {redelivered} redelivered, equal to the oracle")
        seen.wrong += found.wrong
        resolved = found.outcomes.get("resolved", 0)
        seen.expect(taken_back or not resolved, f"{resolved} verdicts taken back")
        logs = sorted(self.cluster.directory.glob(f"{plan.name}-worker-*/worker.log"))
        said = "\n".join(log.read_text(errors="replace") for log in logs)
        again = [line for line in said.splitlines() if AGAIN in line]
        if again and not state_lost:
            seen.wrong.append(f"state was made again: {again[0]}")
        return Played(found, redelivered, said)


def patched(*values: str) -> tuple[str, ...]:
    """Return the command under which workers have constants of other values: `MODULE:NAME=VALUE` each."""
    return sys.executable, str(Path(__file__).with_name("patched.py")), *values, "--"


async def mirror_of(ground: Ground) -> tuple[Cluster, Mirror]:
    """Start a real legacy cluster, and a real mirror to the row's own one."""
    legacy = ground.stack.enter_context(Cluster("legacy", version=LEGACY_VERSION, jvm=QUICK_JVM))
    mirror = Mirror(legacy, ground.cluster)
    ground.stack.callback(mirror.kill)
    await asyncio.to_thread(mirror.start)
    return legacy, mirror


async def gone(stage: Stage, worker: Worker, *, within: float = ENDS_SECONDS) -> int:
    """Wait until a worker has ended by itself."""
    return await asyncio.to_thread(stage.fleet.wait, worker, timeout=within)


async def at_work(worker: Worker, port: int) -> bool:
    """Wait until a worker that shows itself at this port is at work; False where it has ended instead."""
    async with asyncio.timeout(WORKS_SECONDS):
        while worker.running and not await asyncio.to_thread(is_working, port):  # noqa: ASYNC110 - its own time
            await asyncio.sleep(0.1)
    return worker.running


async def fails(fleet: Fleet, seen: Seen, worker: Worker, *words: str) -> None:
    """Wait until a worker ends by itself, with these words in its last line."""
    worker.may_end = True
    code = await asyncio.to_thread(fleet.wait, worker, timeout=ENDS_SECONDS)
    line = last_words(worker)
    seen.expect(code == EXIT_FATAL and all(each in line for each in words), line)


async def asked(stage: Stage, *words: str) -> tuple[int, str]:
    """Run one of our commands; return its exit code and what it printed."""
    contract = stage.folder / "cutover.yaml"
    done = await asyncio.to_thread(run_command, words, contract, stage.cluster.bootstrap)
    return done.returncode, done.stdout + done.stderr


class Successors:
    """Starts another worker for each that ends because of a broker, from a step of a run to its end.

    A worker that was taken for dead may notice it long after what has caused it, with its next commit.
    """

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._task: asyncio.Task[None] | None = None

    def from_step(self, at: float, act: Callable[[Stage], Awaitable[None]]) -> tuple[Step, ...]:
        """Return the steps of a plan in which workers may be fenced from that step on."""
        return (at, self._begin), (at, act), (JUDGED, self._end)

    async def _begin(self, stage: Stage) -> None:
        self._task = asyncio.create_task(self._replace(stage))
        await asyncio.sleep(0)

    async def _end(self, stage: Stage) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):  # and nothing else: what went wrong in it is wrong with the row
            await self._task
        await self._bury(stage)

    async def _replace(self, stage: Stage) -> None:
        while True:
            for _worker in range(await self._bury(stage)):
                stage.fleet.start()
            for worker in stage.fleet.running:
                worker.may_end = True
            await asyncio.sleep(LOOK_SECONDS)

    async def _bury(self, stage: Stage) -> int:
        """Hold what workers that have ended said against why they may; return how many there were."""
        dead = [worker for worker in stage.fleet.workers if not worker.running]
        for worker in dead:
            code = await gone(stage, worker)
            line = last_words(worker)
            self._seen.expect(code == EXIT_FATAL and bool(FENCED.search(line) or ALONE.search(line)), line)
        return len(dead)


async def ended(stage: Stage, worker: Worker) -> float:
    """End a worker in good order."""
    return await asyncio.to_thread(stage.fleet.terminate, worker)


def logged(workers: Sequence[Worker] | Worker) -> str:
    """Return what workers have logged."""
    each = [workers] if isinstance(workers, Worker) else workers
    return "\n".join(worker.log.read_text(errors="replace") for worker in each)


def last_words(worker: Worker) -> str:
    """Return the line with which a worker ended, without what stands before every such line."""
    lines = [line.partition(FATAL)[2] for line in logged(worker).splitlines() if FATAL in line]
    return lines[-1] if lines else "(no last line)"


async def set_config(cluster: Cluster, topic: str, configs: Mapping[str, str]) -> None:
    """Give a topic these settings, and all others their defaults."""
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    await admin.start()
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, dict(configs))])
    finally:
        await admin.close()
