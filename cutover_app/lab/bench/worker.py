"""Whole workers on a backlog: the real command line, everything on.

The clock runs from the checkpoint in which a tenth of the records is durable to the one in which nine tenths are, by
the times of the broker's records; CPU time and memory are the worker processes' own, from /proc. The verdicts are held
against the ledger of what was planted: a fast wrong answer is none.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from cutover_app.core.rows import TABLES
from cutover_app.core.verdicts import RESOLVED
from cutover_app.kafka.topics import changelog_of
from cutover_app.lab.bench.figures import Mark, Run, window
from cutover_app.lab.bench.load import PASSWORD, PASSWORD_ENV, Prepared
from cutover_app.lab.errors import LabError
from cutover_app.lab.evidence import Watch, ends_of, read_verdicts, wait_quiet, wait_working
from cutover_app.lab.fleet import Fleet, Usage, Worker
from cutover_app.lab.ledger import judge_ledger, read_ledger
from cutover_app.lab.verify import Subject, plain

SAMPLE_S: Final = 0.1
MESSAGES_PER_S_MIN: Final = 1_000
"""Slower than this, something is wrong."""
START_TIMEOUT_S: Final = 90.0


class Meter:
    """Usage of workers over time."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = workers
        self._samples: list[list[Usage]] = []

    async def run(self) -> None:
        """Take samples until cancelled."""
        while True:
            self._samples.append([worker.usage() for worker in self._workers])
            await asyncio.sleep(SAMPLE_S)

    def cpu_between(self, began: float, ended: float) -> float:
        """Return CPU-seconds of all workers between two times since the epoch."""
        return self._cpu_at(ended) - self._cpu_at(began)

    def rss_at(self, moment: float) -> int:
        """Return what the largest worker had in memory."""
        return max(each.rss_bytes for each in self._sample_at(moment))

    def peak(self) -> int:
        """Return the highest memory that a worker had."""
        return max(each.peak_rss_bytes for sample in self._samples for each in sample)

    def _cpu_at(self, moment: float) -> float:
        return sum(each.cpu_seconds for each in self._sample_at(moment))

    def _sample_at(self, moment: float) -> list[Usage]:
        place = bisect_left(self._samples, moment, key=lambda sample: sample[0].at)
        return self._samples[min(place, len(self._samples) - 1)]


async def measure(prepared: Prepared, run: str, *, intake: int = 12, workers: int = 1) -> Run:
    """Have workers read a load from its beginning to its end."""
    measured, _, _ = await follow(prepared, run, intake=intake, workers=workers)
    return measured


async def follow(prepared: Prepared, run: str, *, intake: int = 12, workers: int = 1) -> tuple[Run, list[Mark], Meter]:
    """Do the same; return also how far they were when, and what they had used by then."""
    subject, watch, meter = await let_work(prepared, run, intake=intake, workers=workers)
    return await _run(prepared, subject, watch, meter), watch.progress, meter


async def let_work(prepared: Prepared, run: str, *, intake: int = 12, workers: int = 1) -> tuple[Subject, Watch, Meter]:
    """Start workers, wait until they have judged everything, and end them."""
    contract = prepared.contract(run, intake)
    subject = await prepared.subject(contract)
    fleet = Fleet(prepared.cluster, contract, name=run, broker=prepared.broker)
    watch = Watch(prepared.cluster.bootstrap, subject.contract)
    await watch.start()
    try:
        meter = Meter(fleet.start(workers, env={PASSWORD_ENV: PASSWORD}))
        sampling = asyncio.create_task(meter.run())
        try:
            if prepared.load.rate is not None:
                await wait_working(watch, timeout=START_TIMEOUT_S, check=fleet.check)
                await prepared.play()
            timeout = START_TIMEOUT_S + prepared.load.messages / MESSAGES_PER_S_MIN
            await wait_quiet(watch, timeout=timeout, check=fleet.check)
        finally:
            sampling.cancel()
    finally:
        await watch.stop()
        await asyncio.to_thread(fleet.close)
    if balance := watch.totals.balance:
        raise LabError("the books do not balance: " + "; ".join(balance))
    return subject, watch, meter


async def _run(prepared: Prepared, subject: Subject, watch: Watch, meter: Meter) -> Run:
    verdicts = await read_verdicts(subject.bootstrap, subject.contract)
    found = judge_ledger(read_ledger(prepared.ledger), plain(verdicts.values()))
    accepted = sum(watch.totals.accepted)
    (began, before), (ended, after) = window(watch.progress, accepted)
    changelogs = await ends_of(subject.bootstrap, *(changelog_of(subject.contract, table) for table in TABLES))
    counts = {
        "changelog rows": sum(changelogs.values()) / accepted,
        "false": len(found.false),
        "missed": len(found.not_found),
        "taken back": sum(verdict.outcome == RESOLVED for verdict in verdicts.values()),
    }
    return Run(
        after - before,
        ended - began,
        meter.cpu_between(began, ended),
        meter.peak(),
        counts,
    )
