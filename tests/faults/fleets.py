"""What happens to a whole fleet, and the long runs that are made by hand."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from cutover_app.core.frames import LEGACY
from cutover_app.core.state import ALONE, PENDING
from cutover_app.core.verdicts import FINE, Verdict
from cutover_app.lab.cluster import Cluster, free_ports
from cutover_app.lab.evidence import Watch, wait_quiet
from cutover_app.lab.fleet import Fleet
from cutover_app.lab.pages import metric
from cutover_app.lab.run import JUDGED, RunPlan, Stage, create_all, write_contract
from cutover_app.lab.shop import command
from cutover_app.lab.verify import Findings, Subject, verify
from tests.faults.ground import RATE, RSS_MAX, Ground, at_work, ended, patched
from tests.faults.row import Seen, row

KILLS: Final = 50
KILLED_PAIRS: Final = 1_000_000
BACKLOG: Final = 2_000_000
LONG: Final = "3h"
SHORT: Final = "4s"
REPLAYED: Final = 50_000
REPLAY_SECONDS: Final = 1_200.0
"""A chunk of one record takes as long as one of hundreds."""
RECOVERED: Final = 1_000_000
RECOVERY_SECONDS: Final = 20.0


@row(101, "one worker, three, two, under load; then all of them killed at once", "equal to the oracle")
async def grown_and_shrunk(ground: Ground, seen: Seen) -> None:
    """Two join at once, one leaves, the last two are killed, and two others start."""

    async def join(stage: Stage) -> None:
        stage.fleet.start(2)

    async def leave(stage: Stage) -> None:
        await ended(stage, ground.random.choice(stage.fleet.running))

    async def kill(stage: Stage) -> None:
        for worker in stage.fleet.running:
            stage.fleet.kill(worker)
        stage.fleet.start(2)

    played = await ground.play(seen, ground.plan(60, workers=1), (0.2, join), (0.5, leave), (0.7, kill))
    seen.expect(played.redelivered > 0, "something was redelivered")


@row(111, f"SIGKILL {KILLS} times during {KILLED_PAIRS} pairs, two workers", "equal to the oracle", by_hand=True)
async def killed_often(ground: Ground, seen: Seen) -> None:
    """At random moments, whichever; another starts at once."""
    rate = 1_000.0
    plan = ground.plan(KILLED_PAIRS / RATE, rate=rate, timeout_s=600.0)
    plan = replace(plan, scenario=replace(plan.scenario, pace=rate))

    async def kill(stage: Stage) -> None:
        stage.fleet.kill(ground.random.choice(stage.fleet.running))
        stage.fleet.start()

    moments = sorted(ground.random.uniform(0.02, 0.97) for _ in range(KILLS))
    await ground.play(seen, plan, *((at, kill) for at in moments))


@row(112, f"{BACKLOG} legacy records pending under a grace of hours, then the other side", "none false", by_hand=True)
async def one_side_first(ground: Ground, seen: Seen) -> None:
    """Nothing may be said before the rebuilt side has come, and nothing be held in memory."""
    found = await _backlog(ground, seen, LONG)
    seen.expect(not found.outcomes, f"verdicts: {dict(found.outcomes)}")


@row(113, f"{BACKLOG} legacy records closed as missing, then the other side", "each revised", by_hand=True)
async def one_side_first_and_closed(ground: Ground, seen: Seen) -> None:
    """With a short grace each is missing, truly, and then resolved."""
    found = await _backlog(ground, seen, SHORT)
    resolved = found.outcomes.get("resolved", 0)
    seen.expect(resolved > 0.99 * BACKLOG, f"{resolved} verdicts taken back")


def _one_side_first(ground: Ground, count: int, grace: str) -> RunPlan:
    """The rebuilt side begins when the gate is opened, and has everything then."""
    return ground.plan(
        count / RATE,
        rate=None,
        loading="legacy-first",
        gated=True,
        workers=1,
        rates={},
        timing={"grace": grace, "remember": "4h", "barrier": "1s"},
        timeout_s=1_200.0,
        intake=8,
    )


async def _filled(stage: Stage, tally: int) -> None:
    """Wait until all legacy messages have this tally in the books of the run."""
    async with asyncio.timeout(stage.plan.timeout_s):
        while stage.watch.totals.tallies[LEGACY][tally] < stage.plan.scenario.count:
            stage.fleet.check()
            await stage.watch.look()


async def _backlog(ground: Ground, seen: Seen, grace: str) -> Findings:
    peaks: list[int] = []

    async def fill(stage: Stage) -> None:
        await _filled(stage, ALONE if grace == SHORT else PENDING)
        await measure(stage)
        stage.open_gate()

    async def measure(stage: Stage) -> None:
        peaks.extend(worker.usage().peak_rss_bytes for worker in stage.fleet.running)

    plan = _one_side_first(ground, BACKLOG, grace)
    played = await ground.play(seen, plan, (0.0, fill), (JUDGED, measure), taken_back=grace == SHORT)
    seen.expect(max(peaks) < RSS_MAX, f"peaks {', '.join(f'{peak / 2**20:.0f} MB' for peak in peaks)}")
    return played.found


@row(114, f"{REPLAYED} pairs, three replays by 1, 2, 3 workers in chunks of 1 and 5000", "one table", by_hand=True)
async def replayed(ground: Ground, seen: Seen) -> None:
    """The same two topics, judged from the beginning by fleets that have nothing in common."""
    plan = ground.plan(REPLAYED / RATE, rate=None)
    subject = _subject(ground.cluster, ground.folder, plan, plan.name)
    await create_all(subject, plan.partitions)
    ledger = ground.folder / "ledger.jsonl"
    with (ground.folder / "shop.log").open("wb") as log:
        words = command(plan.scenario, plan.delivery(ground.cluster.bootstrap), ledger)
        shop = ground.cluster.spawn(words, log=log)
    await asyncio.to_thread(shop.wait)
    tables = []
    for time_ in range(3):
        for workers in (1, 2, 3):
            for chunk in (1, 5000):
                name = f"{plan.name}-{time_}{workers}{chunk}"
                found = await _again(ground, plan, name, workers, chunk)
                seen.wrong += found.wrong
                tables.append(_table(found))
    seen.expect(all(table == tables[0] for table in tables), f"{len(tables)} tables of {len(tables[0])} verdicts agree")


def _subject(cluster: Cluster, folder: Path, plan: RunPlan, run: str) -> Subject:
    file = folder / f"{run}.yaml"
    write_contract(file, plan.changes() | {"run": run, "verdicts": {"topic": f"{run}.verdicts"}})
    return Subject.load(cluster.bootstrap, file)


async def _again(ground: Ground, plan: RunPlan, name: str, workers: int, chunk: int) -> Findings:
    subject = _subject(ground.cluster, ground.folder, plan, name)
    under = patched(f"cutover_app.runtime.transport:CHUNK_RECORDS_MAX={chunk}")
    fleet = Fleet(ground.cluster, ground.folder / f"{name}.yaml", name=f"{name}-worker", under=under)
    watch = Watch(ground.cluster.bootstrap, subject.contract)
    fleet.start(workers)
    try:
        while True:
            try:
                await watch.start()
                break
            except Exception:  # the first worker makes the topics
                fleet.check()
                await asyncio.sleep(0.5)
        await wait_quiet(watch, timeout=REPLAY_SECONDS, check=fleet.check)
        await asyncio.to_thread(fleet.close)
    finally:
        await watch.stop()
        await asyncio.to_thread(fleet.close)
    return await verify(subject, watch.totals, ground.folder / "ledger.jsonl")


def _table(found: Findings) -> dict[str, tuple[object, ...]]:
    return {name: _said(each) for name, each in found.verdicts.items() if each.outcome not in FINE}


def _said(verdict: Verdict) -> tuple[object, ...]:
    return verdict.outcome, verdict.findings, verdict.legacy, verdict.rebuilt


@row(115, f"a worker starts on an empty directory with {RECOVERED} rows in its changelogs", f"{RECOVERY_SECONDS:g} s",
     by_hand=True)  # fmt: skip
async def recovered(ground: Ground, seen: Seen) -> None:
    """Every payload of a backlog is a row: all of them are pending when the worker is killed.

    How long the start took is told too: half of it is the session of the killed one, which has to run out first.
    """
    took: dict[str, float] = {}

    async def recover(stage: Stage) -> None:
        await _filled(stage, PENDING)
        (worker,) = stage.fleet.running
        stage.fleet.kill(worker)
        began = time.monotonic()
        (port,) = free_ports(1)
        (worker,) = stage.fleet.start(web_port=port)
        await at_work(worker, port)
        took["start"] = time.monotonic() - began
        # From the assignment to the first record read, as the worker itself measured it.
        took["recovery"] = await asyncio.to_thread(metric, port, "cutover_recovery_seconds_sum")
        stage.open_gate()

    await ground.play(seen, _one_side_first(ground, RECOVERED, LONG), (0.0, recover))
    line = "recovered in {recovery:.1f} s, at work {start:.1f} s after its start".format(**took)
    seen.expect(took["recovery"] < RECOVERY_SECONDS, line)
