"""How long a worker takes that starts on an empty directory: every pending record is a row to be read back.

One worker takes in a backlog of one side under a grace of hours and is killed; another one starts. Its own metric says
how long it took from the assignment to the first record read; to wait for the session of the killed one is not in it.
"""

import asyncio
import time
from typing import Final

from cutover_app.core.frames import LEGACY
from cutover_app.core.state import PENDING
from cutover_app.lab.bench.figures import Run
from cutover_app.lab.bench.load import Prepared
from cutover_app.lab.bench.worker import MESSAGES_PER_S_MIN, START_TIMEOUT_S
from cutover_app.lab.cluster import free_ports
from cutover_app.lab.errors import LabError
from cutover_app.lab.evidence import Watch
from cutover_app.lab.fleet import Fleet
from cutover_app.lab.pages import is_working, metric

LOOK_S: Final = 0.1


async def measure_recovery(prepared: Prepared, run: str, *, intake: int) -> Run:
    """Return rows as messages; CPU time is from the start of the process on."""
    contract = prepared.contract(run, intake)
    subject = await prepared.subject(contract)
    fleet, watch = Fleet(prepared.cluster, contract, name=run), Watch(prepared.cluster.bootstrap, subject.contract)
    (port,) = free_ports(1)
    await watch.start()
    try:
        (first,) = fleet.start()
        rows = await _pending(prepared, fleet, watch)
        fleet.kill(first)
        (worker,) = fleet.start(web_port=port)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not await asyncio.to_thread(is_working, port):
            fleet.check()
            if time.monotonic() > deadline:
                raise LabError(f"{worker.name} has not recovered within {START_TIMEOUT_S:g} s:\n{worker.log_tail()}")
            await asyncio.sleep(LOOK_S)
        usage = worker.usage()
        seconds = await asyncio.to_thread(metric, port, "cutover_recovery_seconds_sum")
    finally:
        await watch.stop()
        await asyncio.to_thread(fleet.close)
    return Run(rows, seconds, usage.cpu_seconds, usage.peak_rss_bytes)


async def _pending(prepared: Prepared, fleet: Fleet, watch: Watch) -> int:
    """Wait until all of the backlog is pending; return how many records that are."""
    wanted = prepared.load.messages // 2
    async with asyncio.timeout(START_TIMEOUT_S + wanted / MESSAGES_PER_S_MIN):
        while (found := watch.totals.tallies[LEGACY][PENDING] if watch.books else 0) < wanted:
            fleet.check()
            await watch.look()
    return found
