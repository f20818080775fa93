"""The checkpoint: one Kafka transaction per intake partition (R9).

A transaction holds the verdicts of the partition, the changelog rows of all tables, and with them
the books row that says up to which intake offset all this is true. It belongs to a producer whose
`transactional.id` belongs to the intake partition: whoever opens it fences the former owner and
aborts what that one left. So an owner can tell only one of two stories about its partition, and
tables cannot be torn. Rows reach RocksDB after the commit, with the changelog offsets they have.

There is no way back from a commit that did not return: it may have happened. The process ends and
the next owner finds out.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    KafkaError,
    ProducerFenced,
)

from cutover_app.kafka.cluster import answering, patiently
from cutover_app.kafka.settings import COMPRESSION, Broker
from cutover_app.kafka.topics import checkpoints_of
from cutover_app.runtime.failpoints import failpoint, failpoint_waiting
from cutover_app.runtime.fatal import FatalError
from cutover_app.runtime.table import BatchTable, Rows
from cutover_app.runtime.worker import Durations

log = logging.getLogger(__name__)

BATCH_BYTES = 512 * 1024
#: A transaction that its owner leaves behind is aborted by the broker after this long.
TRANSACTION_SECONDS = 60.0
#: How long opening or a checkpoint may take before this worker gives up and ends.
DEADLINE_SECONDS = 45.0

CHECKPOINT_SECONDS: Final = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds by which checkpoints are counted."""

_FENCED = (ProducerFenced, InvalidProducerEpoch, InvalidProducerIdMapping)


class Checkpointer:
    """The transactional producers of this worker's intake partitions."""

    def __init__(self, broker: Broker, *, app_id: str, tables: Sequence[BatchTable], verdicts: str) -> None:
        self._broker = broker
        self._app_id = app_id
        self._tables = {table.name: table for table in tables}
        self._verdicts = verdicts
        self._producers: dict[int, Any] = {}
        self.durations = Durations(CHECKPOINT_SECONDS)
        """Of the checkpoints of this process."""
        self.written: Counter[str] = Counter()
        """Rows, verdicts and bytes committed by this process."""

    async def open(self, *partitions: int) -> None:
        """Become the only one who can write these partitions' checkpoints."""
        new = [number for number in partitions if number not in self._producers]
        if new:
            broker = await patiently(partial(answering, self._broker))
            await asyncio.gather(*(self._open(broker, number) for number in new))

    async def _open(self, broker: Broker, partition: int) -> None:
        name = f"{checkpoints_of(self._app_id)}{partition}"
        producer = AIOKafkaProducer(
            **broker.client(name),
            transactional_id=name,
            transaction_timeout_ms=int(TRANSACTION_SECONDS * 1000),
            compression_type=COMPRESSION,
            max_batch_size=BATCH_BYTES,
        )
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await producer.start()
                await _know(producer, [*(table.changelog_name for table in self._tables.values()), self._verdicts])
        except (KafkaError, TimeoutError) as error:
            raise FatalError(f"cannot open the checkpoints of partition {partition}: {error!r}") from error
        self._producers[partition] = producer

    async def close_all(self) -> None:
        """Close every producer; nothing is open in any of them."""
        producers, self._producers = self._producers, {}
        await asyncio.gather(*(producer.stop() for producer in producers.values()))

    async def commit(self, partition: int, rows: Mapping[str, Rows], verdicts: Rows = ()) -> None:
        """Make rows (by table) and verdicts durable, all or nothing, then apply the rows."""
        producer = self._producers[partition]
        outputs = {self._tables[name].changelog_name: part for name, part in rows.items() if part}
        if verdicts:
            outputs[self._verdicts] = verdicts
        if not outputs:
            return
        began = time.monotonic()
        next(iter(self._tables.values())).check_room()  # all are in one directory
        await failpoint_waiting("checkpoint.begun", partition)
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                ends, size = await _transaction(producer, partition, outputs)
        except _FENCED as error:
            by = type(error).__name__
            raise FatalError(f"intake partition {partition} was taken over by another worker (fenced: {by})") from error
        except (KafkaError, TimeoutError) as error:
            gone = [topic for topic in outputs if not producer.client.cluster.partitions_for_topic(topic)]
            lost = f"; no broker knows topic {', '.join(gone)}: was it deleted?" if gone else ""
            line = f"the checkpoint of partition {partition} has an unknown result: {error!r}{lost}"
            raise FatalError(line) from error
        await failpoint_waiting("checkpoint.committed", partition)
        for name, part in rows.items():
            if part:
                table = self._tables[name]
                table.write_batch(partition, part, ends[table.changelog_name])
                failpoint("checkpoint.written", partition)
        self.durations.add(time.monotonic() - began)
        self.written.update(rows=sum(map(len, rows.values())), verdicts=len(verdicts), bytes=size)


async def _know(producer: Any, topics: Sequence[str]) -> None:
    """Follow all of these from now on.

    aiokafka loses sight of topics as soon as it had to ask for one by name; whoever writes the first verdict in a while
    would have to ask where that goes, and brokers may just not be there to answer.
    """
    for topic in topics:
        producer.client.add_topic(topic)
    for topic in topics:
        await producer.partitions_for(topic)


async def _transaction(producer: Any, partition: int, outputs: Mapping[str, Rows]) -> tuple[dict[str, int], int]:
    """Write everything in one transaction; return the last offset per topic, and the bytes before compression."""
    await producer.begin_transaction()
    sent, size = [], 0
    for topic, rows in outputs.items():
        for batch, count in _batches(producer, rows):
            size += batch._builder.size()
            sent.append((topic, count, await producer.send_batch(batch, topic, partition=partition)))
    ends = {}
    for topic, count, future in sent:
        ends[topic] = (await future).offset + count - 1
    await failpoint_waiting("checkpoint.sent", partition)
    await producer.commit_transaction()
    return ends, size


def _batches(producer: Any, rows: Rows) -> list[tuple[Any, int]]:
    """Rows as record batches, with their counts."""
    now_ms = int(time.time() * 1000)
    batches = []
    batch = producer.create_batch()
    # The builder inside: the wrapper around it costs four times as much per row as the work.
    append, count = batch._builder.append, 0
    for key, value in rows:
        while append(count, now_ms, key, value, []) is None:
            batches.append((batch, count))
            batch = producer.create_batch()
            append, count = batch._builder.append, 0
        count += 1
    batches.append((batch, count))
    for batch, count in batches:
        batch._relative_offset = count
    return batches
