"""Looks at the topic that a mirror copies, on the cluster of the legacy producer: read only, and without a group."""

import asyncio
import time
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import OffsetOutOfRangeError, UnknownTopicOrPartitionError

from cutover_app.kafka.cluster import EARLIEST, LATEST, Cluster
from cutover_app.kafka.reading import onlooker
from cutover_app.kafka.settings import Broker
from cutover_app.mirror.proof import LegacyLog, Range

FETCH_BYTES: Final = 64 * 1024
"""One record is enough to know that there is one; a larger batch still comes, alone."""
WAIT_MS: Final = 100


class LegacyTopic:
    """One topic of the legacy cluster. `isolation` is how its mirror reads it."""

    def __init__(self, broker: Broker, topic: str, *, isolation: str = "read_uncommitted") -> None:
        self._broker = broker
        self._topic = topic
        self._isolation = isolation
        self._cluster = Cluster(broker, client_id="cutover-mirror")
        self._consumer: Any = None

    async def log(self) -> LegacyLog:
        """Ask, afresh, where its partitions begin and end."""
        found = (await self._cluster.topics([self._topic])).get(self._topic)
        if found is None:
            raise UnknownTopicOrPartitionError(self._topic)
        # The beginning first: were it asked for last, retention could have moved it beyond the end.
        starts = await self._cluster.offsets(found, EARLIEST)
        ends = await self._cluster.offsets(found, LATEST)
        await self._cluster.confirm(found)
        return LegacyLog(found.id, starts, ends)

    async def look(self, wanted: Range, seconds: float) -> tuple[int, bool]:
        """Read a range for as long as that; return up to where it holds nothing to copy, and whether a record is there.

        An offset that the log does not have (any more) is found out by the next `log`.
        """
        if wanted.start >= wanted.end:
            return wanted.start, False
        consumer, place = await self._connected(), TopicPartition(self._topic, wanted.partition)
        consumer.assign([place])
        consumer.seek(place, wanted.start)
        deadline, at = time.monotonic() + seconds, wanted.start
        while time.monotonic() < deadline:
            try:
                records = (await consumer.getmany(timeout_ms=WAIT_MS, max_records=1)).get(place)
            except OffsetOutOfRangeError:
                return wanted.start, False
            if records:
                offset = int(records[0].offset)
                return (offset, True) if offset < wanted.end else (wanted.end, False)
            at = int(await consumer.position(place))  # it passes control records and aborted batches
            if at >= wanted.end:
                return wanted.end, False
        return at, False

    async def time_at(self, partition: int, offset: int) -> int | None:
        """Return the timestamp of the first record from an offset on; None where there is none to be seen yet."""
        consumer, place = await self._connected(), TopicPartition(self._topic, partition)
        consumer.assign([place])
        consumer.seek(place, offset)
        try:
            records = (await consumer.getmany(timeout_ms=5 * WAIT_MS, max_records=1)).get(place)
        except OffsetOutOfRangeError:
            return None
        return int(records[0].timestamp) if records else None

    async def close(self) -> None:
        """Disconnect; a later question connects again."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()
        await self._cluster.close()

    async def _connected(self) -> Any:
        if self._consumer is None:
            consumer = onlooker(
                self._broker,
                "cutover-mirror",
                isolation_level=self._isolation,
                auto_offset_reset="none",
                max_partition_fetch_bytes=FETCH_BYTES,
                fetch_max_wait_ms=WAIT_MS,
            )
            async with asyncio.timeout(self._broker.request_timeout):
                await consumer.start()
            self._consumer = consumer
        return self._consumer
