"""A mirror of the test's own: copies records as MirrorMaker 2 does, and can be stalled.

Same partition, timestamp, key, value and headers; positions in a topic of Connect's form, told when everything below
has been acknowledged; at-least-once after `crash`.
"""

import asyncio
import json
import time
from base64 import b64encode
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

POLL_MS = 50
TELL_SECONDS = 0.3
PATIENCE_S = 60.0


def key_of(topic: str, partition: int, cluster: str = "legacy") -> bytes:
    """Return the key of an offset record, as Connect writes it."""
    source = {"cluster": cluster, "partition": partition, "topic": topic}
    return json.dumps(["MirrorSourceConnector", source], separators=(",", ":")).encode()


class FakeMirror:
    """Copies `topic` from one broker to another until it is stopped."""

    def __init__(self, legacy: str, work: str, topic: str, offsets: str, *, partitions: int, copy: str = "") -> None:
        self.topic = topic
        self.copy = copy or topic
        self.offsets = offsets
        self.base64 = False
        self.copied = 0
        self._partitions = partitions
        self._legacy = legacy
        self._work = work
        self._go = asyncio.Event()
        self._go.set()
        self._told: dict[int, int] = {}
        self._done: dict[int, int] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._producer = AIOKafkaProducer(bootstrap_servers=self._work)
        await self._producer.start()
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self._legacy, enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=50
        )
        await self._consumer.start()
        self._places = [TopicPartition(self.topic, number) for number in range(self._partitions)]
        self._consumer.assign(self._places)
        self._tasks = [asyncio.create_task(self._copy_forever()), asyncio.create_task(self._tell_forever())]
        return self

    async def __aexit__(self, *_error: object) -> None:
        for task in self._tasks:
            task.cancel()
        done = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._consumer.stop()
        await self._producer.stop()
        for each in done:
            if isinstance(each, Exception):
                raise each

    def stall(self) -> None:
        """Copy and tell nothing."""
        self._go.clear()

    def go(self) -> None:
        """Go on."""
        self._go.set()

    async def until(self, copied: int) -> None:
        """Wait until so many records have been copied, copies of copies included."""
        deadline = time.monotonic() + PATIENCE_S
        while self.copied < copied:
            assert time.monotonic() < deadline, f"{self.copied} of {copied} copied"
            await asyncio.sleep(0.1)

    async def until_told(self) -> None:
        """Wait until all that has been copied has been told."""
        deadline = time.monotonic() + PATIENCE_S
        while self._told != self._done:
            assert time.monotonic() < deadline, f"{self._told} of {self._done} told"
            await asyncio.sleep(0.1)

    async def again(self, back: int) -> None:
        """Copy the last records of each partition once more, as after a crash before the next flush."""
        for place in self._places:
            self._consumer.seek(place, max(0, self._done.get(place.partition, 0) - back))

    async def _copy_forever(self) -> None:
        while True:
            await self._go.wait()
            for place, records in (await self._consumer.getmany(timeout_ms=POLL_MS)).items():
                await self._go.wait()
                sent = [await self._send(place.partition, record) for record in records]
                await asyncio.gather(*sent)
                self._done[place.partition] = records[-1].offset + 1
                self.copied += len(records)

    async def _send(self, partition: int, record: Any) -> Any:
        headers = [(name, b64encode(value) if self.base64 else value) for name, value in record.headers]
        return await self._producer.send(
            self.copy,
            record.value,
            key=record.key,
            partition=partition,
            timestamp_ms=record.timestamp,
            headers=headers,
        )

    async def _tell_forever(self) -> None:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            await self._go.wait()
            for partition, at in dict(self._done).items():
                if self._told.get(partition) != at:
                    value = json.dumps({"offset": at - 1}).encode()
                    await self._producer.send_and_wait(self.offsets, value, key=key_of(self.topic, partition))
                    self._told[partition] = at
