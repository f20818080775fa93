"""Hand-written records through a real broker and one worker."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from aiokafka import AIOKafkaProducer

from cutover_app.core.verdicts import Verdict
from cutover_app.lab.cluster import Cluster
from cutover_app.lab.evidence import Watch, wait_quiet
from cutover_app.lab.fleet import Fleet
from cutover_app.lab.run import create_all
from cutover_app.lab.verify import Findings, Subject, verify

QUIET_S = 90.0
BYTES_MAX = 16 * 1024 * 1024
SHORT = {"grace": "3s", "remember": "1h", "barrier": "500ms"}

Position = tuple[str, int, int]
"""Topic, partition, offset."""


class Sent(NamedTuple):
    """A record to publish."""

    value: bytes | None
    key: bytes | None = None
    partition: int = 0
    codec: str | None = None
    timestamp: int | None = None


@dataclass
class Judged:
    """What one worker made of some records."""

    findings: Findings
    legacy: list[Position]
    rebuilt: list[Position]
    stop_s: float
    log: str

    def about(self, place: Position) -> Verdict | None:
        """Return the verdict anchored at, or paired with, a record."""
        for verdict in self.findings.verdicts.values():
            for side in (verdict.legacy, verdict.rebuilt):
                if side and (side.topic, side.partition, side.offset) == place:
                    return verdict
        return None


async def send(bootstrap: str, topic: str, records: Sequence[Sent]) -> list[Position]:
    """Publish records in order, each with its own codec; return where they are."""
    producers: dict[str | None, AIOKafkaProducer] = {}
    places = []
    try:
        for each in records:
            if each.codec not in producers:
                producer = AIOKafkaProducer(
                    bootstrap_servers=bootstrap, compression_type=each.codec, max_request_size=BYTES_MAX
                )
                await producer.start()
                producers[each.codec] = producer
            sent = await producers[each.codec].send_and_wait(
                topic, each.value, key=each.key, partition=each.partition, timestamp_ms=each.timestamp
            )
            places.append((topic, sent.partition, sent.offset))
    finally:
        for producer in producers.values():
            await producer.stop()
    return places


def write(folder: Path, settings: Mapping[str, Any]) -> Path:
    """Write a contract file."""
    file = folder / "cutover.yaml"
    file.write_text(yaml.safe_dump(dict(settings), sort_keys=False), encoding="utf-8")
    return file


def judge(
    cluster: Cluster, contract: Path, legacy: Sequence[Sent], rebuilt: Sequence[Sent], partitions: tuple[int, int]
) -> Judged:
    """Publish the records, have one worker judge them, stop it, and examine what it said."""
    return asyncio.run(_judge(cluster, contract, legacy, rebuilt, partitions))


async def _judge(
    cluster: Cluster, contract: Path, legacy: Sequence[Sent], rebuilt: Sequence[Sent], partitions: tuple[int, int]
) -> Judged:
    subject = Subject.load(cluster.bootstrap, contract)
    await create_all(subject, partitions)
    first = await send(cluster.bootstrap, subject.contract.legacy.topic, legacy)
    second = await send(cluster.bootstrap, subject.contract.rebuilt.topic, rebuilt)
    fleet = Fleet(cluster, contract, name=f"{subject.contract.run}-worker")
    watch = Watch(cluster.bootstrap, subject.contract)
    await watch.start()
    try:
        (worker,) = fleet.start()
        await wait_quiet(watch, timeout=QUIET_S, check=fleet.check)
        stop_s = await asyncio.to_thread(fleet.terminate, worker)
    finally:
        await watch.stop()
        await asyncio.to_thread(fleet.close)
    found = await verify(subject, watch.totals, None)
    return Judged(found, first, second, stop_s, worker.log.read_text(errors="replace"))
