"""Hand-written records through a real broker and one worker, the legacy ones through a mirror if asked."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from aiokafka import AIOKafkaProducer

from cutover_app.core.verdicts import FINE, Verdict
from cutover_app.lab.cluster import Cluster
from cutover_app.lab.evidence import Watch, wait_quiet
from cutover_app.lab.faults import KINDS
from cutover_app.lab.fleet import Fleet
from cutover_app.lab.mirror import Mirror
from cutover_app.lab.route import Route, through
from cutover_app.lab.run import RunPlan, plans
from cutover_app.lab.verify import Findings, Subject, verify

QUIET_S = 90.0
BYTES_MAX = 16 * 1024 * 1024
SHORT = {"grace": "3s", "remember": "1h", "barrier": "500ms"}

PAIRS = 12_000
RATE = 0.001
"""Faults per message and kind: each kind about a dozen times."""

Position = tuple[str, int, int]
"""Topic, partition, offset."""


class Sent(NamedTuple):
    """A record to publish."""

    value: bytes | None
    key: bytes | None = None
    partition: int = 0
    codec: str | None = None
    timestamp: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass
class Judged:
    """What one worker made of some records."""

    findings: Findings
    legacy: list[Position]
    """Where the records are in the topic that the worker read."""
    rebuilt: list[Position]
    stop_s: float
    log: str
    again: frozenset[Position] = frozenset()
    """Records of the legacy topic that a mirror sent again."""

    @property
    def problems(self) -> list[Verdict]:
        """The verdicts that say that something is wrong, but for those about what a mirror sent again."""
        return [each for each in self._problems() if not self._is_again(each)]

    @property
    def about_again(self) -> list[Verdict]:
        """Those."""
        return [each for each in self._problems() if self._is_again(each)]

    def _problems(self) -> Iterator[Verdict]:
        return (each for each in self.findings.verdicts.values() if each.outcome not in FINE)

    def _is_again(self, verdict: Verdict) -> bool:
        place = verdict.legacy
        return bool(place) and (place.topic, place.partition, place.offset) in self.again

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
                topic,
                each.value,
                key=each.key,
                partition=each.partition,
                timestamp_ms=each.timestamp,
                headers=list(each.headers),
            )
            places.append((topic, sent.partition, sent.offset))
    finally:
        for producer in producers.values():
            await producer.stop()
    return places


def named(settings: Mapping[str, Any], run: str) -> dict[str, Any]:
    """Return a contract whose run and topics have names of their own."""
    topics = {part: {"topic": f"{run}.{part}"} for part in ("legacy", "rebuilt", "verdicts")}
    return {**settings, "run": run, **topics}


def write(folder: Path, settings: Mapping[str, Any], mirror: Mirror | None = None) -> Path:
    """Write a contract file; with a mirror, the legacy topic is the copy that it makes."""
    file = folder / "cutover.yaml"
    settings = dict(settings) if mirror is None else through(settings, mirror)
    file.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return file


def judge(
    cluster: Cluster, contract: Path, legacy: Sequence[Sent], rebuilt: Sequence[Sent], partitions: tuple[int, int]
) -> Judged:
    """Publish the records, have one worker judge them, stop it, and examine what it said."""
    return asyncio.run(judging(cluster, contract, legacy, rebuilt, partitions))


async def judging(
    cluster: Cluster,
    contract: Path,
    legacy: Sequence[Sent],
    rebuilt: Sequence[Sent],
    partitions: tuple[int, int],
    mirror: Mirror | None = None,
) -> Judged:
    """Do the same beside other runs; with a mirror, the legacy records are published on its legacy cluster."""
    subject = Subject.load(cluster.bootstrap, contract)
    route = Route(subject, mirror)
    await route.create(partitions)
    first = await send(route.bootstrap, route.topic, legacy)
    second = await send(cluster.bootstrap, subject.contract.rebuilt.topic, rebuilt)
    fleet = Fleet(cluster, contract, name=f"{subject.contract.run}-worker")
    watch = Watch(cluster.bootstrap, subject.contract)
    await watch.start()
    try:
        (worker,) = fleet.start()
        await route.arrived()
        await wait_quiet(watch, timeout=QUIET_S, check=fleet.check)
        stop_s = await asyncio.to_thread(fleet.terminate, worker)
    finally:
        await watch.stop()
        await asyncio.to_thread(fleet.close)
    compared = await route.compared()
    topic = subject.contract.legacy.topic
    return Judged(
        await verify(subject, watch.totals, None, compared.again),
        [(topic, *compared.places.get((partition, offset), (partition, offset))) for _, partition, offset in first],
        second,
        stop_s,
        worker.log.read_text(errors="replace"),
        frozenset((topic, each.partition, each.offset) for each in compared.again),
    )


def daily_plans(*, mirrored: bool = False) -> list[RunPlan]:
    """Return what a release has to pass, on one cluster or through a mirror, at a size for every day."""
    wanted = [plan for plan in plans(PAIRS, prefix="daily-") if plan.mirrored == mirrored]
    rates = dict.fromkeys(KINDS, RATE)
    return [replace(plan, scenario=replace(plan.scenario, rates=rates)) for plan in wanted]
