"""How long a verdict takes once it is due: one side is published live, the other is idle, so every message is missing.

A message is due when its grace has passed since the broker had it: the topics of its load carry the broker's time,
because a producer's says when something happened, which may be long before. It is there when the broker has appended
its verdict. Between the two lie the way into intake, the barriers that prove the idle side complete, the judge, and
the age of a checkpoint.
"""

from collections.abc import Iterable
from statistics import quantiles
from typing import Any

from msgspec import UNSET

from cutover_app.core.verdicts import MISSING, decode_verdict
from cutover_app.lab.bench.figures import Run
from cutover_app.lab.bench.load import Prepared
from cutover_app.lab.bench.worker import let_work
from cutover_app.lab.errors import LabError
from cutover_app.lab.evidence import read_topic


async def measure_delay(prepared: Prepared, run: str, *, intake: int) -> Run:
    """Play a live load of one side; return how late its verdicts were."""
    subject, watch, meter = await let_work(prepared, run, intake=intake)
    records = [each async for found in read_topic(subject.bootstrap, subject.contract.verdicts.topic) for each in found]
    delays = delays_s(records, subject.contract.timing.grace / 1000)
    accepted = sum(watch.totals.accepted)
    if len(delays) != accepted:
        raise LabError(f"{accepted} messages without a partner, and {len(delays)} verdicts that say so")
    (began, _), *_, (ended, _) = watch.progress
    return Run(
        accepted,
        ended - began,
        meter.cpu_between(began, ended),
        meter.peak(),
        {"delay p99": quantiles(delays, n=100)[-1]},
    )


def delays_s(records: Iterable[Any], grace_s: float) -> list[float]:
    """Return for each first revision of a verdict about a missing message how many seconds after its grace it came."""
    delays = []
    for record in records:
        verdict = decode_verdict(record.value)
        if verdict.rev == 1 and verdict.outcome == MISSING:
            assert verdict.legacy is not UNSET
            delays.append((record.timestamp - verdict.legacy.timestamp) / 1000 - grace_s)
    return delays
