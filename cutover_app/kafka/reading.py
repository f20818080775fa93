"""Reads topics of any size, committed records only: forwards to where they ended, backwards until enough is known.

Forwards, everything is read once, and later only what has come since. Backwards, a partition is read in blocks from its
end, the newest record first: whoever looks for the newest row of a key, or for the last few rows of a table, need not
read the millions before them. Memory is bounded by a block.

The end of a partition is its last stable offset: what a transaction that is still open holds is left for the next
reading.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from cutover_app.kafka.cluster import Topic, answering
from cutover_app.kafka.settings import Broker

Take = Callable[[Any], None]
Enough = Callable[[Any], bool]
"""Takes a record, and returns whether no older one is needed."""

WAIT_MS = 200
RECORDS_MAX = 5_000
FETCH_BYTES = 4 * 1024 * 1024

TAIL_OFFSETS: Final = 2
"""Offsets that are read at first where only the newest record is wanted: it, and the marker of its transaction."""

BLOCK_OFFSETS: Final = 500
"""Offsets of the first block that is read backwards; each following one has twice as many."""
BLOCK_OFFSETS_MAX: Final = 64_000
BLOCK_BYTES: Final = 32 * 1024 * 1024
"""Bytes that are held of a block; of a larger one the older part is read again, by itself."""
RECORD_OVERHEAD_BYTES: Final = 500
"""What a record takes beside its key and value."""


def onlooker(broker: Broker, client_id: str, **options: Any) -> Any:
    """Return a consumer that only looks: without a group, and so without a trace. `options` are aiokafka's."""
    usual = {
        "isolation_level": "read_committed",
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "fetch_max_wait_ms": WAIT_MS,
    }
    consumer = _Onlooker(**broker.client(client_id), **(usual | options))
    consumer.broker = broker
    return consumer


class _Onlooker(AIOKafkaConsumer):  # type: ignore[misc] # aiokafka is not typed
    """One that could not start is closed: whoever asks again and again would leave many behind."""

    broker: Broker

    async def start(self) -> None:
        """Connect, by an address that answers."""
        try:
            door = await answering(self.broker)
            self._client._bootstrap_servers = list(door.servers)  # noqa: SLF001 - whoever made it could not ask
            await super().start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close, and keep to ourselves that aiokafka cancels a fetch of its own: nobody cancelled whoever closes."""
        try:
            await super().stop()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
        finally:
            await self._client.close()  # left open where a fetch comes in the way


def _consumer(broker: Broker) -> Any:
    return onlooker(broker, "cutover-reader", max_partition_fetch_bytes=FETCH_BYTES)


class TopicReader:
    """Reads all partitions of some topics, each time from where it stands to where they end now."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer

    async def catch_up(self, topics: Iterable[Topic], take: Take) -> None:
        """Hand every record that has come to `take`, those of a partition in order; the first time, all there are.

        All ends are asked for first, so that what was written together is seen together, or nearly so. A topic may be
        named later for the first time.
        """
        consumer = self._consumer
        places = _places(topics)
        if not places:
            return
        if set(places) != consumer.assignment():
            await self._assign(places)
        ends = await consumer.end_offsets(places)
        await _read_to(consumer, ends, take)

    async def _assign(self, places: Sequence[TopicPartition]) -> None:
        known = {place: await self._consumer.position(place) for place in self._consumer.assignment()}
        self._consumer.assign(places)
        starts = await self._consumer.beginning_offsets(places)
        for place in places:
            self._consumer.seek(place, known.get(place, starts[place]))


@asynccontextmanager
async def topic_reader(broker: Broker) -> AsyncIterator[TopicReader]:
    """Connect a reader."""
    async with _consumer(broker) as consumer:
        yield TopicReader(consumer)


async def read_topics(broker: Broker, topics: Sequence[Topic], take: Take) -> None:
    """Hand every record of these topics to `take`, those of a partition in order."""
    if topics:
        async with topic_reader(broker) as reader:
            await reader.catch_up(topics, take)


async def newest_records(broker: Broker, topics: Iterable[Topic], wanted: Callable[[Any], bool]) -> list[Any]:
    """Return the newest record of each partition that is wanted, where there is one: all partitions side by side."""
    places = _places(topics)
    found: dict[TopicPartition, Any] = {}

    def take(record: Any) -> None:
        if wanted(record):
            found[TopicPartition(record.topic, record.partition)] = record

    if not places:
        return []
    async with _consumer(broker) as consumer:
        consumer.assign(places)
        starts, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        size, left = TAIL_OFFSETS, {place: ends[place] for place in places if starts[place] < ends[place]}
        while left:
            lows = {place: max(starts[place], ends[place] - size) for place in left}
            for place, low in lows.items():
                consumer.seek(place, low)
            await _read_to(consumer, left, take)
            left = {place: low for place, low in lows.items() if place not in found and low > starts[place]}
            size *= 2
    return list(found.values())


def _places(topics: Iterable[Topic]) -> list[TopicPartition]:
    return [TopicPartition(topic.name, number) for topic in topics for number in range(topic.partitions)]


async def _read_to(consumer: Any, ends: Mapping[TopicPartition, int], take: Take) -> None:
    """Hand every record from where the consumer stands to these ends to `take`; what it has besides is left alone."""
    left = {place for place in ends if await consumer.position(place) < ends[place]}
    consumer.pause(*(consumer.assignment() - left))
    consumer.resume(*left)
    while left:
        found = await consumer.getmany(timeout_ms=WAIT_MS, max_records=RECORDS_MAX)
        for place, records in found.items():
            for record in records:
                if record.offset < ends[place]:
                    take(record)
            if records and records[-1].offset >= ends[place]:
                consumer.seek(place, ends[place])  # what came meanwhile is for the next time
        # The position also passes the markers of transactions, which are no records.
        done = {place for place in left if await consumer.position(place) >= ends[place]}
        consumer.pause(*done)
        left -= done


# -- one partition ---------------------------------------------------------------------------------------------------


class PartitionReader:
    """Reads single partitions: the newest records first, forwards with a filter, or one record by its offset."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer

    async def newest_first(self, topic: str, partition: int, enough: Enough) -> bool:
        """Hand records to `enough`, newest first, until it returns True; return whether it did."""
        place = TopicPartition(topic, partition)
        self._consumer.assign([place])
        start, end = await self._bounds(place)
        size = BLOCK_OFFSETS
        while end > start:
            wanted = max(start, end - size)
            low, records = await self._block(place, wanted, end)
            for record in reversed(records):
                if enough(record):
                    return True
            # A block that was too large is followed by one of the size that was not.
            size = min(2 * size, BLOCK_OFFSETS_MAX) if low == wanted else end - low
            end = low
        return False

    async def forward(self, topic: str, partition: int, take: Take) -> None:
        """Hand every record of a partition to `take`, in order."""
        place = TopicPartition(topic, partition)
        self._consumer.assign([place])
        start, end = await self._bounds(place)
        async for record in self._records(place, start, end):
            take(record)

    async def at(self, topic: str, partition: int, offset: int) -> Any | None:
        """Return the record at an offset; None where there is none (any more, or for readers of committed records)."""
        place = TopicPartition(topic, partition)
        self._consumer.assign([place])
        start, end = await self._bounds(place)
        if not start <= offset < end:
            return None
        async for record in self._records(place, offset, offset + 1):
            return record
        return None

    async def _bounds(self, place: TopicPartition) -> tuple[int, int]:
        starts = await self._consumer.beginning_offsets([place])
        ends = await self._consumer.end_offsets([place])
        return starts[place], ends[place]

    async def _block(self, place: TopicPartition, low: int, end: int) -> tuple[int, Sequence[Any]]:
        """Return the records of [low, end), or of its newer part where it is too large, and where that begins."""
        kept: deque[Any] = deque()
        size = 0
        async for record in self._records(place, low, end):
            kept.append(record)
            size += _bytes(record)
            while size > BLOCK_BYTES and len(kept) > 1:
                size -= _bytes(kept.popleft())
                low = kept[0].offset
        return low, kept

    async def _records(self, place: TopicPartition, start: int, end: int) -> AsyncIterator[Any]:
        consumer = self._consumer
        consumer.seek(place, start)
        while await consumer.position(place) < end:
            found = await consumer.getmany(place, timeout_ms=WAIT_MS, max_records=RECORDS_MAX)
            for record in found.get(place, ()):
                if record.offset >= end:
                    return
                yield record


@asynccontextmanager
async def partition_reader(broker: Broker) -> AsyncIterator[PartitionReader]:
    """Connect a reader."""
    async with _consumer(broker) as consumer:
        yield PartitionReader(consumer)


def _bytes(record: Any) -> int:
    return RECORD_OVERHEAD_BYTES + len(record.key or b"") + len(record.value or b"")
