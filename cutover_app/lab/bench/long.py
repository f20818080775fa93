"""A long run: a day of the reference load, replayed by one worker, and whether its end costs what its beginning did.

The backlog is published first. Then the run is cut into tenths of its messages, and each is told apart: time, CPU,
memory, and what lies on disk by then. A machine that has neighbours changes its speed within an hour, so each tenth
also says what a fixed piece of work cost meanwhile (the *pulse*): a message costs more than at the beginning only
where that grows by more than the pulse does.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Final

from rich.table import Table

from cutover_app.core.canonical import canonical, reader
from cutover_app.lab.bench.figures import Mark, Run
from cutover_app.lab.bench.load import create
from cutover_app.lab.bench.plan import REFERENCE
from cutover_app.lab.bench.worker import Meter, follow
from cutover_app.lab.cluster import Cluster

LONG_MESSAGES: Final = 60_000_000
"""30 million pairs: a day of the reference load."""
PARTS: Final = 10
SAMPLE_S: Final = 20.0
PULSE_MESSAGES: Final = 10_000
"""More than a processor's own cache holds, as the messages of a worker are."""
_RUN: Final = "long-run"


@dataclass(frozen=True)
class Sample:
    """What was seen at a moment (seconds since the epoch): sizes in bytes, the pulse in CPU-seconds."""

    at: float
    state: int
    broker: int
    pulse: float


@dataclass(frozen=True)
class Part:
    """A tenth of the run: messages, seconds and CPU-seconds of it alone, the rest as it was at its end."""

    messages: int
    seconds: float
    cpu_seconds: float
    rss: int
    state: int
    """Bytes of the worker's directory: RocksDB and its log."""
    written: int
    """Bytes that the broker holds beyond the sources: intake, changelogs and verdicts."""
    pulse: float
    """CPU-seconds, on the average of this part."""


async def measure_long(messages: int, tell: Callable[[str], None]) -> tuple[Run, list[Part]]:
    """Publish a backlog and have one worker judge it; return the whole, and its tenths."""
    with Cluster("long") as cluster:
        began = time.monotonic()
        prepared = await create(replace(REFERENCE, name="long", messages=messages, codec="zstd"), cluster)
        await prepared.play_apart()
        sources = _size(cluster.directory)
        tell(f"{messages:,} messages published in {time.monotonic() - began:,.0f} s: {sources / 1e9:.2f} GB")
        samples: list[Sample] = []
        sampling = asyncio.create_task(_sample(cluster.directory, samples, tell))
        try:
            run, progress, meter = await follow(prepared, _RUN)
        finally:
            sampling.cancel()
    return run, tenths(progress, meter, samples, sources)


async def _sample(directory: Path, samples: list[Sample], tell: Callable[[str], None]) -> None:
    began = time.monotonic()
    while True:
        samples.append(await asyncio.to_thread(_look, directory))
        last = samples[-1]
        tell(
            f"  {time.monotonic() - began:6,.0f} s: {last.broker / 1e9:.2f} GB on the broker, "
            f"{last.state / 1e9:.2f} GB in the worker's directory, pulse {last.pulse:.3f}"
        )
        await asyncio.sleep(SAMPLE_S)


def _look(directory: Path) -> Sample:
    state = sum(_size(each) for each in directory.glob(f"{_RUN}-*"))
    return Sample(time.time(), state, _size(directory) - state, _pulse())


def _size(directory: Path) -> int:
    total = 0
    for file in directory.rglob("*"):
        try:
            total += file.stat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total


def _pulse() -> float:
    """Read and write JSON of no meaning; return the CPU-seconds of this thread."""
    texts = [canonical({"number": n, "texts": [f"{n + each}" for each in range(50)]}) for n in range(PULSE_MESSAGES)]
    read = reader()
    began = time.thread_time()
    for text in texts:
        canonical(read(text))
    return time.thread_time() - began


def tenths(progress: Sequence[Mark], meter: Meter, samples: Sequence[Sample], sources: int) -> list[Part]:
    """Cut a run into tenths of its messages; `sources` are the bytes that lay on the broker before."""
    total = progress[-1][1]
    bounds = [progress[0], *(next(m for m in progress if m[1] * PARTS >= total * n) for n in range(1, PARTS + 1))]
    parts = []
    for (began, before), (ended, after) in pairwise(bounds):
        during = [each for each in samples if began <= each.at <= ended] or [samples[-1]]
        parts.append(
            Part(
                after - before,
                ended - began,
                meter.cpu_between(began, ended),
                meter.rss_at(ended),
                during[-1].state,
                during[-1].broker - sources,
                fmean(each.pulse for each in during),
            )
        )
    return parts


def long_table(parts: Sequence[Part]) -> Table:
    """Return a table of the tenths; `of pulse` is the cost of a message in relation to the pulse, 1 in the first."""
    shown = Table("")
    for title in ("messages/s", "CPU-s/M", "pulse", "of pulse", "RSS MB", "state MB", "written MB"):
        shown.add_column(title, justify="right", no_wrap=True)
    costs = [part.cpu_seconds / part.messages / part.pulse for part in parts]
    for number, (part, cost) in enumerate(zip(parts, costs, strict=True), 1):
        shown.add_row(
            f"tenth {number}",
            f"{part.messages / part.seconds:,.0f}",
            f"{part.cpu_seconds / part.messages * 1e6:.1f}",
            f"{part.pulse:.3f}",
            f"{cost / costs[0]:.2f}",
            f"{part.rss / 1e6:,.0f}",
            f"{part.state / 1e6:,.0f}",
            f"{part.written / 1e6:,.0f}",
        )
    return shown
