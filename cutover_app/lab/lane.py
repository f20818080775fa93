"""One producer of the shop at work: batches by hand, for speed.

Records are appended to one open batch per partition; a full one is sent, and the next one begun
while it is under way. Every delivery is checked in the end: a scenario of which a part got lost
would prove nothing.
"""

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from aiokafka import AIOKafkaProducer
from aiokafka.errors import UnknownTopicOrPartitionError

from cutover_app.lab.errors import LabError
from cutover_app.lab.ledger import Entry
from cutover_app.lab.partitioners import PARTITIONERS, PartitionerName
from cutover_app.lab.sealing import Headers

BATCH_BYTES: Final = 256 * 1024
REQUEST_BYTES_MAX: Final = 16 * 1024 * 1024
DELIVERY_TIMEOUT_MS: Final = 60_000
TOPIC_TIMEOUT_S: Final = 5.0
UNDER_WAY_MAX: Final = 64

Codec: TypeAlias = Literal["none", "gzip", "snappy", "lz4", "zstd"]
CODECS: Final[tuple[Codec, ...]] = ("none", "gzip", "snappy", "lz4", "zstd")


@dataclass(frozen=True, kw_only=True)
class Side:
    """How one producer publishes.

    Attributes:
        topic: Where to.
        partitioner: How it chooses a partition.
        codec: How it compresses. (aiokafka asks lz4 for its highest level, at ten times the cost of zstd.)
        delay_s: Seconds by which it is held back behind the other one.
    """

    topic: str
    partitioner: PartitionerName = "murmur2"
    codec: Codec = "zstd"
    delay_s: float = 0.0


class Item(NamedTuple):
    """A record to publish; `entry` is written to the ledger as soon as its position is known."""

    key: bytes
    value: bytes | None
    timestamp: int
    headers: Headers = ()
    entry: Entry | None = None
    route: bytes | None = None
    """What its partition is chosen by, where it is not the key."""
    held_s: float = 0.0
    """By how much it is held back behind its side."""


class Lane:
    """Publishes the records of one side, each partition in order."""

    def __init__(self, bootstrap: str, side: Side, note: Callable[[Entry], None]) -> None:
        self.count = 0
        self._side = side
        self._note = note
        self._choose = PARTITIONERS[side.partitioner]
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            enable_idempotence=True,
            compression_type=None if side.codec == "none" else side.codec,
            max_batch_size=BATCH_BYTES,
            max_request_size=REQUEST_BYTES_MAX,
            request_timeout_ms=DELIVERY_TIMEOUT_MS,
        )
        # aiokafka's batch builder has no public name.
        self._batches: list[Any] = []
        self._entries: list[list[tuple[int, Entry]]] = []
        self._held: list[tuple[float, int, Item]] = []
        self._held_so_far = 0
        self._under_way: deque[tuple[asyncio.Future[Any], list[tuple[int, Entry]]]] = deque()

    async def start(self) -> None:
        """Connect, and learn how many partitions there are."""
        await self._producer.start()
        topic = self._side.topic
        try:
            # Asked for a topic that is not there, aiokafka goes on looking for it for a minute.
            partitions = await asyncio.wait_for(self._producer.partitions_for(topic), TOPIC_TIMEOUT_S)
        except (TimeoutError, UnknownTopicOrPartitionError) as error:
            raise LabError(f"topic {topic} does not exist") from error
        self._batches = [self._producer.create_batch() for _ in partitions]
        self._entries = [[] for _ in partitions]

    async def stop(self) -> None:
        """Disconnect; `finish` comes before, where all went well."""
        await self._producer.stop()

    async def put(self, item: Item) -> None:
        """Publish a record, now or when its delay is over."""
        delay_s = self._side.delay_s + item.held_s
        if delay_s:
            self._held_so_far += 1
            heapq.heappush(self._held, (time.monotonic() + delay_s, self._held_so_far, item))
        else:
            await self._append(item)

    async def release(self) -> None:
        """Publish the held records whose time has come."""
        now = time.monotonic()
        while self._held and self._held[0][0] <= now:
            await self._append(heapq.heappop(self._held)[2])

    async def flush(self) -> None:
        """Send what is in open batches."""
        for partition, batch in enumerate(self._batches):
            if batch.record_count():
                await self._send(partition)

    async def finish(self) -> None:
        """Publish everything, delayed records included, and wait until all of it is delivered."""
        while self._held:
            await asyncio.sleep(max(0.0, self._held[0][0] - time.monotonic()))
            await self.release()
            await self.flush()
        await self.flush()
        while self._under_way:
            await self._delivered()

    async def _append(self, item: Item) -> None:
        partition = self._choose(item.route or item.key, len(self._batches))
        batch = self._batches[partition]
        place = batch.append(timestamp=item.timestamp, key=item.key, value=item.value, headers=list(item.headers))
        if place is None:
            await self._send(partition)
            batch = self._batches[partition]
            place = batch.append(timestamp=item.timestamp, key=item.key, value=item.value, headers=list(item.headers))
        self.count += 1
        if item.entry is not None:
            self._entries[partition].append((place.offset, item.entry))

    async def _send(self, partition: int) -> None:
        batch, entries = self._batches[partition], self._entries[partition]
        batch.close()
        self._batches[partition] = self._producer.create_batch()
        self._entries[partition] = []
        topic = self._side.topic
        future = await self._producer.send_batch(batch, topic, partition=partition)
        self._under_way.append((future, entries))
        while len(self._under_way) > UNDER_WAY_MAX or self._under_way[0][0].done():
            await self._delivered()
            if not self._under_way:
                break

    async def _delivered(self) -> None:
        future, entries = self._under_way.popleft()
        placed = await future
        for place, entry in entries:
            self._note(entry.located(placed.partition, placed.offset + place))
