"""A small shop on two clusters: one legacy and one rebuilt message per order, and a worker's run to examine."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from cutover_app.kafka.settings import Broker
from cutover_app.kafka.topics import verify_topics
from cutover_app.lab.cluster import Cluster
from cutover_app.lab.evidence import Watch, read_verdicts, wait_quiet, wait_working
from cutover_app.lab.fleet import Fleet
from cutover_app.lab.topics import create_topics
from cutover_app.lab.verify import Findings, Subject, verify
from tests.integration.helpers import SHORT, write

PARTITIONS = (2, 3)
END_S = 150.0


@dataclass
class Shop:
    """Topics and contract of one run. `name` is its run, and what all its topics begin with."""

    work: Cluster
    legacy: Cluster
    name: str
    folder: Path
    legacy_topic: str
    copy: str | None
    """The copy of the legacy topic on the work cluster; None where the legacy topic is read directly."""
    rebuilt: str
    makes_copy: bool = True
    """Whether the copy's topic is created here, or by the mirror."""

    def contract(self, legacy: Mapping[str, Any], **settings: Any) -> Path:
        """Write the contract; `legacy` are settings of the legacy topic beside its name."""
        return write(
            self.folder,
            {
                "contract": "mirrored",
                "run": self.name,
                "broker": "kafka://localhost:9092",
                "legacy": {"topic": self.copy or self.legacy_topic, **legacy},
                "rebuilt": {"topic": self.rebuilt},
                "match": {"key": ["id"], "unique": True},
                "timing": SHORT,
                "rebuild": {"id": "no", "text": "txt"},
                "intake": {"partitions": 3},
                "verdicts": {"topic": f"{self.name}.verdicts"},
                **settings,
            },
        )

    async def create(self) -> None:
        """Create the source topics."""
        await create_topics(self.legacy.bootstrap, {self.legacy_topic: PARTITIONS[0]})
        if self.copy and self.makes_copy:
            await create_topics(self.work.bootstrap, {self.copy: PARTITIONS[0]})
        await create_topics(self.work.bootstrap, {self.rebuilt: PARTITIONS[1]})


class Producers:
    """Both producers, in step: order `n` is published by both, but for what is left out."""

    def __init__(self, shop: Shop, *, missing: int = -1, unknown: int = -1) -> None:
        self._shop = shop
        self._missing = missing
        self._unknown = unknown
        self._next = 0
        self.legacy = 0
        """Records that the legacy producer has published."""

    async def __aenter__(self) -> "Producers":
        self._legacy = AIOKafkaProducer(bootstrap_servers=self._shop.legacy.bootstrap, linger_ms=5)
        self._rebuilt = AIOKafkaProducer(bootstrap_servers=self._shop.work.bootstrap, linger_ms=5)
        await self._legacy.start()
        await self._rebuilt.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._legacy.stop()
        await self._rebuilt.stop()

    async def publish(self, count: int, *, rate: float = 200.0) -> None:
        """Publish orders, so many a second."""
        began, first, sent = time.monotonic(), self._next, []
        for number in range(first, first + count):
            key = b"%d" % number
            old = json.dumps({"no": number, "txt": f"order {number}"}).encode()
            new = json.dumps({"id": number, "text": f"order {number}"}).encode()
            if number != self._unknown:
                self.legacy += 1
                headers = [("trace", b"%d" % number)]
                place = self._shop.legacy_topic
                sent.append(await self._legacy.send(place, old, key=key, partition=number % 2, headers=headers))
            if number != self._missing:
                sent.append(await self._rebuilt.send(self._shop.rebuilt, new, key=key, partition=number % 3))
            await asyncio.sleep(max(0.0, began + (number - first) / rate - time.monotonic()))
        await asyncio.gather(*sent)
        self._next += count


class Run:
    """Workers on a contract, from their start to the examination."""

    def __init__(self, shop: Shop, contract: Path) -> None:
        self.subject = Subject.load(shop.work.bootstrap, contract)
        self.fleet = Fleet(shop.work, contract, name=f"{self.subject.contract.run}-worker")
        self.watch = Watch(shop.work.bootstrap, self.subject.contract)
        self._work = shop.work

    async def __aenter__(self) -> "Run":
        await verify_topics(self.subject.contract, Broker.parse(self._work.bootstrap))
        await self.watch.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.watch.stop()
        await asyncio.to_thread(self.fleet.close)

    async def start(self, workers: int = 1) -> None:
        """Start workers and wait until they work."""
        self.fleet.start(workers)
        await wait_working(self.watch, timeout=END_S, check=self.fleet.check)

    async def outcomes(self) -> set[str]:
        """Return the outcomes of all verdicts so far; what had to be taken back is `resolved` among them."""
        return {each.outcome for each in (await read_verdicts(self._work.bootstrap, self.subject.contract)).values()}

    async def end(self) -> Findings:
        """Wait until all is judged and examine what came out. Nothing may be published any more."""
        await wait_quiet(self.watch, timeout=END_S, check=self.fleet.check)
        await asyncio.to_thread(self.fleet.close)
        return await verify(self.subject, self.watch.totals, None)

    def log(self) -> str:
        """Return what the workers logged."""
        return "".join(
            path.read_text(errors="replace") for path in self._work.directory.glob(f"{self.fleet._name}-*/worker.log")
        )
