"""One run with numbered messages, and what has happened to its topics.

Messages are one a minute by their timestamps, from six hours ago on, unless said otherwise.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cutover_app.core.frames import LEGACY, REBUILT
from cutover_app.core.verdicts import decode_verdict
from cutover_app.lab.cluster import Cluster
from cutover_app.lab.evidence import Watch, read_topic, wait_quiet, wait_working
from cutover_app.lab.fleet import Fleet, Worker
from cutover_app.lab.run import create_all
from cutover_app.lab.verify import Findings, Subject, verify
from tests.integration.helpers import QUIET_S, SHORT, Sent, send, write

MINUTE = 60_000
BEGAN = (int(time.time() * 1000) - 6 * 60 * MINUTE) // 1000 * 1000
LATER = 1_000
"""Milliseconds by which the rebuilt producer is behind."""


def at(number: int, side: int = LEGACY) -> int:
    """When a message was published."""
    return BEGAN + number * MINUTE + (LATER if side == REBUILT else 0)


class Life:
    """One run, its topics, and what has happened to them."""

    def __init__(self, kafka: Cluster, folder: Path, name: str, **settings: Any) -> None:
        contract = {
            "contract": "edges",
            "run": name,
            "broker": "kafka://localhost:9092",
            "legacy": {"topic": f"{name}.legacy"},
            "rebuilt": {"topic": f"{name}.rebuilt"},
            "match": {"key": ["id"]},
            "timing": SHORT,
            "rebuild": {"id": "no"},
            "intake": {"partitions": 3},
            "verdicts": {"topic": f"{name}.verdicts"},
            **settings,
        }
        file = write(folder, contract)
        self.subject = Subject.load(kafka.bootstrap, file)
        self.bootstrap = kafka.bootstrap
        self.fleet = Fleet(kafka, file, name=f"{name}-worker")
        self.watch = Watch(kafka.bootstrap, self.subject.contract)

    @property
    def topics(self) -> tuple[str, str]:
        """Both source topics."""
        return self.subject.contract.legacy.topic, self.subject.contract.rebuilt.topic

    async def publish(
        self, side: int, numbers: Iterable[int], *, partition: int = 0, when: Callable[[int, int], int] = at
    ) -> None:
        """Publish messages; `when` is the timestamp of a number on a side."""
        field = "no" if side == LEGACY else "id"
        wanted = [
            Sent(json.dumps({field: n}).encode(), key=b"%d" % n, partition=partition, timestamp=when(n, side))
            for n in numbers
        ]
        await send(self.bootstrap, self.topics[side], wanted)

    async def both(
        self,
        numbers: Collection[int],
        *,
        without: Collection[int] = (),
        partition: int = 0,
        when: Callable[[int, int], int] = at,
    ) -> None:
        """Publish messages on both sides; `without` are forgotten by the rebuilt producer."""
        await self.publish(LEGACY, numbers, when=when)
        await self.publish(REBUILT, [each for each in numbers if each not in without], partition=partition, when=when)

    async def quiet(self) -> None:
        """Wait until everything is judged."""
        await wait_quiet(self.watch, timeout=QUIET_S, check=self.fleet.check)

    async def start(self) -> Worker:
        """Start a worker."""
        (worker,) = self.fleet.start()
        await wait_working(self.watch, timeout=QUIET_S, check=self.fleet.check)
        return worker

    async def stop(self, worker: Worker) -> None:
        """Stop a worker."""
        await asyncio.to_thread(self.fleet.terminate, worker)

    async def delays_ms(self) -> list[int]:
        """How long after it was published by its timestamp something was said about each legacy message."""
        found = []
        async for records in read_topic(self.bootstrap, self.subject.contract.verdicts.topic):
            said = [(each.timestamp, decode_verdict(each.value).legacy) for each in records]
            found += [at_ms - legacy.timestamp for at_ms, legacy in said if legacy]
        return found

    async def examine(self) -> Findings:
        """Stop everything and hold what was said against the oracle, the books and the replay."""
        await asyncio.to_thread(self.fleet.close)
        await self.watch.look()
        return await verify(self.subject, self.watch.totals, None)


@asynccontextmanager
async def living(
    kafka: Cluster, folder: Path, name: str, partitions: tuple[int, int], **settings: Any
) -> AsyncIterator[Life]:
    """A run whose topics exist."""
    life = Life(kafka, folder, name, **settings)
    await create_all(life.subject, partitions)
    await life.watch.start()
    try:
        yield life
    finally:
        await life.watch.stop()
        await asyncio.to_thread(life.fleet.close)
