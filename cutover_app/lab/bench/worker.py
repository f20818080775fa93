"""One worker on a backlog of both sides, beside the plain-Python floor on the same records.

    python -m cutover_app.lab.bench [--messages N] [--output json]

Everything is on: exact JSON, rules, intake, books, checkpoints. The clock runs from the first record in intake to the
checkpoint in which the last one is durable, by the times of the broker's records; CPU time and memory are the worker
process's own, from /proc. The verdicts are held against the ledger of what was planted: a fast wrong answer is none.
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from rich.console import Console
from rich.table import Table

from cutover_app.core.frames import Records, decode_frame
from cutover_app.lab.cluster import Cluster
from cutover_app.lab.errors import LabError
from cutover_app.lab.evidence import Watch, ends_of, read_verdicts, wait_quiet
from cutover_app.lab.fleet import Fleet, Usage, Worker
from cutover_app.lab.jars import KAFKA_VERSION
from cutover_app.lab.ledger import judge_ledger, read_ledger
from cutover_app.lab.run import RunPlan, create_all, write_contract
from cutover_app.lab.scenario import Scenario
from cutover_app.lab.shop import command
from cutover_app.lab.verify import Subject, plain

MESSAGES: Final = 600_000
GOAL: Final = 25_000
"""Messages per second that one worker must sustain."""
SAMPLE_S: Final = 0.1
START_TIMEOUT_S: Final = 60.0
RUN_TIMEOUT_S: Final = 300.0
PARTITIONS: Final = (6, 6)
INTAKE: Final = 12


@dataclass(frozen=True)
class Rung:
    """What one program did with the records."""

    name: str
    messages: int
    seconds: float
    cpu_seconds: float
    peak_rss_bytes: int
    false_verdicts: int | None = None
    missed: int | None = None

    @property
    def rate(self) -> float:
        """Messages per second."""
        return self.messages / self.seconds

    @property
    def cpu_per_million(self) -> float:
        """CPU-seconds per million messages."""
        return self.cpu_seconds / self.messages * 1e6


async def _first_record_ms(bootstrap: str, topic: str) -> int:
    """Return when the first entries were appended to intake."""
    places = await ends_of(bootstrap, topic)
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign(list(places))
        firsts: dict[Any, int] = {}
        deadline = time.monotonic() + START_TIMEOUT_S
        while len(firsts) < len(places) and time.monotonic() < deadline:
            for place, records in (await consumer.getmany(timeout_ms=1000, max_records=50)).items():
                for record in records:
                    if place not in firsts and isinstance(decode_frame(record.value), Records):
                        firsts[place] = record.timestamp
    if not firsts:
        raise LabError("nothing arrived in intake")
    return min(firsts.values())


class _Meter:
    """Usage of a worker over time."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._samples: list[Usage] = []

    async def run(self) -> None:
        while True:
            self._samples.append(self._worker.usage())
            await asyncio.sleep(SAMPLE_S)

    def cpu_between(self, began: float, ended: float) -> float:
        return self._at(ended).cpu_seconds - self._at(began).cpu_seconds

    def peak(self) -> int:
        return max(sample.peak_rss_bytes for sample in self._samples)

    def _at(self, moment: float) -> Usage:
        place = bisect_left(self._samples, moment, key=lambda sample: sample.at)
        return self._samples[min(place, len(self._samples) - 1)]


async def _worker_rung(cluster: Cluster, subject: Subject, contract: Path, ledger: Path) -> Rung:
    fleet = Fleet(cluster, contract)
    watch = Watch(cluster.bootstrap, subject.contract)
    await watch.start()
    try:
        (worker,) = fleet.start()
        meter = _Meter(worker)
        sampling = asyncio.create_task(meter.run())
        try:
            await wait_quiet(watch, timeout=RUN_TIMEOUT_S, check=fleet.check)
        finally:
            sampling.cancel()
    finally:
        await watch.stop()
        await asyncio.to_thread(fleet.close)
    first = await _first_record_ms(cluster.bootstrap, subject.intake) / 1000
    last = max(at for _, at in watch.accepted_ms.values()) / 1000
    verdicts = await read_verdicts(cluster.bootstrap, subject.contract)
    found = judge_ledger(read_ledger(ledger), plain(verdicts.values()))
    if balance := watch.totals.balance:
        raise LabError("the books do not balance: " + "; ".join(balance))
    return Rung(
        "cutover, one worker",
        sum(watch.totals.accepted),
        last - first,
        meter.cpu_between(first, last),
        meter.peak(),
        len(found.false),
        len(found.not_found),
    )


def _floor_rung(plan: RunPlan, bootstrap: str) -> Rung:
    legacy, rebuilt = plan.topics
    words = ["--broker", bootstrap, "--legacy", legacy, "--rebuilt", rebuilt]
    done = subprocess.run(
        [sys.executable, "-m", "cutover_app.lab.floor", *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LabError(f"the floor ended with {done.returncode}:\n{done.stderr}")
    said = json.loads(done.stdout)
    return Rung("plain Python, not durable", said["messages"], said["seconds"], said["cpu_seconds"], said["peak_rss"])


def _preload(cluster: Cluster, plan: RunPlan, ledger: Path) -> None:
    words = command(plan.scenario, plan.delivery(cluster.bootstrap), ledger)
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"the scenario ended with {done.returncode}:\n{done.stderr}")


def environment() -> dict[str, Any]:
    """Return on what the figures were measured."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "kafka": KAFKA_VERSION,
        "system": f"{platform.system()} {platform.release()}",
    }


async def bench(messages: int, size: int) -> dict[str, Any]:
    """Measure, and return figures and environment."""
    pairs = messages // 2
    scenario = Scenario(count=pairs, size=size, start_ms=int((time.time() - pairs / 2000) * 1000))
    timing = {"grace": "10s", "remember": "1h", "barrier": "1s"}
    plan = RunPlan(name="bench", scenario=scenario, partitions=PARTITIONS, intake=INTAKE, timing=timing)
    with Cluster("bench") as cluster, tempfile.TemporaryDirectory(dir=cluster.directory) as name:
        folder = Path(name)
        contract = write_contract(folder / "cutover.yaml", plan.changes())
        subject = Subject.load(cluster.bootstrap, contract)
        await create_all(subject, plan.partitions)
        await asyncio.to_thread(_preload, cluster, plan, folder / "ledger.jsonl")
        rungs = [await asyncio.to_thread(_floor_rung, plan, cluster.bootstrap)]
        rungs.append(await _worker_rung(cluster, subject, contract, folder / "ledger.jsonl"))
    shown = [asdict(rung) | {"rate": rung.rate, "cpu_per_million": rung.cpu_per_million} for rung in rungs]
    return {"v": 1, "environment": environment(), "message_bytes": size, "goal": GOAL, "rungs": shown}


def _print(found: Mapping[str, Any], console: Console) -> None:
    where = found["environment"]
    console.print(
        f"JSON of about {found['message_bytes']} bytes, lz4, broker on the same machine; {where['cpu']}, "
        f"{where['cores']} cores, Python {where['python']}, Kafka {where['kafka']}, {where['system']}"
    )
    table = Table()
    table.add_column("")
    for title in ("messages", "messages/s", "CPU-s per million", "peak RSS MB", "false", "missed"):
        table.add_column(title, justify="right")
    for rung in found["rungs"]:
        said = ["-" if rung[name] is None else str(rung[name]) for name in ("false_verdicts", "missed")]
        table.add_row(
            rung["name"],
            f"{rung['messages']:,}",
            f"{rung['rate']:,.0f}",
            f"{rung['cpu_per_million']:.1f}",
            f"{rung['peak_rss_bytes'] / 1e6:,.0f}",
            *said,
        )
    console.print(table)


def main() -> int:
    """Print the figures; 1 when the worker was too slow or wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=MESSAGES, help="both sides together")
    parser.add_argument("--size", type=int, default=800, help="bytes of a legacy message, about")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    try:
        found = asyncio.run(bench(options.messages, options.size))
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 4
    except KeyboardInterrupt:
        return 130
    if options.output == "json":
        print(json.dumps(found))
    else:
        _print(found, Console(soft_wrap=True))
    worker = found["rungs"][-1]
    if worker["false_verdicts"] or worker["missed"]:
        print("bench: the verdicts are wrong", file=sys.stderr)
        return 1
    if worker["rate"] < GOAL:
        print(f"bench: below the goal of {GOAL:,} messages/s", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
