"""Carries out what the plan says, round by round, so that a machine that changes its speed does so to all alike."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from cutover_app.lab.bench.delay import measure_delay
from cutover_app.lab.bench.figures import Run, Rung
from cutover_app.lab.bench.load import Prepared, new_cluster, prepare
from cutover_app.lab.bench.peering import PEERS, java_program, measure_peer, sources
from cutover_app.lab.bench.plan import DELAY, FLOOR, JAVA_FLOOR, PEER, RECOVERY, WORKER, Chapter, Step
from cutover_app.lab.bench.recovery import measure_recovery
from cutover_app.lab.bench.worker import measure
from cutover_app.lab.cluster import Cluster
from cutover_app.lab.errors import LabError
from cutover_app.lab.fleet import environment

Tell = Callable[[str], None]
PROGRAM_TIMEOUT_S: Final = 600.0


async def climb(chapters: Sequence[Chapter], runs: int, tell: Tell) -> list[Rung]:
    """Measure every step of every chapter `runs` times; each chapter has a broker of its own."""
    found: list[Rung] = []
    for chapter in chapters:
        tell(f"{chapter.load.name}: {chapter.load.messages:,} messages of about {chapter.load.size} bytes")
        with new_cluster(chapter.load) as cluster:
            found += await _climb(chapter, cluster, runs, tell)
    return found


async def _climb(chapter: Chapter, cluster: Cluster, runs: int, tell: Tell) -> list[Rung]:
    prepared = await prepare(chapter.load, cluster)
    rounds: dict[str, list[Run]] = {step.label: [] for step in chapter.steps}
    for number in range(runs):
        for place, step in enumerate(chapter.steps):
            run = await measure_step(prepared, step, f"{prepared.plan.name}-{place}-{number}")
            tell(f"  {step.label}: {run.rate:,.0f} messages/s, {run.cpu_per_million:.1f} CPU-s per million")
            rounds[step.label].append(run)
    return [Rung(name, each) for name, each in rounds.items()]


async def measure_step(prepared: Prepared, step: Step, name: str) -> Run:
    """Measure one program once; `name` is that of its run."""
    if step.rung == WORKER:
        return await measure(prepared, name, intake=step.intake, workers=step.workers)
    if step.rung == DELAY:
        return await measure_delay(prepared, name, intake=step.intake)
    if step.rung == RECOVERY:
        return await measure_recovery(prepared, name, intake=step.intake)
    if step.rung == PEER:
        (peer,) = (each for each in PEERS if each.name == step.peer)
        return await measure_peer(prepared, peer, name)
    if step.rung == FLOOR:
        legacy, rebuilt = prepared.topics
        return _ours("floor", "--broker", prepared.cluster.bootstrap, "--legacy", legacy, "--rebuilt", rebuilt)
    if step.rung == JAVA_FLOOR:
        return _program(java_program("JavaFloor"), env={**os.environ, **sources(prepared)})
    contract = prepared.contract(name, step.intake)
    env = environment(contract, prepared.cluster.bootstrap)
    return _ours("ladder", step.rung, "--messages", str(prepared.load.messages), env=env)


def _ours(module: str, *words: str, env: Mapping[str, str] | None = None) -> Run:
    return _program([sys.executable, "-m", f"cutover_app.lab.bench.{module}", *words], env=env)


def _program(command: Sequence[str], env: Mapping[str, str] | None) -> Run:
    """Run a program that prints its figures as JSON."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=PROGRAM_TIMEOUT_S)
    if done.returncode:
        raise LabError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    said: dict[str, Any] = json.loads(done.stdout)
    return Run(**said)
