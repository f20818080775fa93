"""Reads whole topics, once: from the beginning to where they ended when the reading began, committed records only."""

from collections.abc import Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from cutover_app.kafka.cluster import Topic
from cutover_app.kafka.settings import Broker

Take = Callable[[Any], None]

WAIT_MS = 200
RECORDS_MAX = 5_000
FETCH_BYTES = 4 * 1024 * 1024


async def read_topics(broker: Broker, topics: Sequence[Topic], take: Take) -> None:
    """Hand every record of these topics to `take`, those of a partition in order.

    The end of a partition is its last stable offset: what a transaction that is still open holds is left for the next
    reading. All ends are asked for first, so that what was written together is seen together, or nearly so.
    """
    places = [TopicPartition(topic.name, number) for topic in topics for number in range(topic.partitions)]
    if not places:
        return
    consumer = AIOKafkaConsumer(
        **broker.client("cutover-reader"),
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_wait_ms=WAIT_MS,
    )
    async with consumer:
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        left = {place for place, start in (await consumer.beginning_offsets(places)).items() if start < ends[place]}
        consumer.pause(*(place for place in places if place not in left))
        while left:
            found = await consumer.getmany(timeout_ms=WAIT_MS, max_records=RECORDS_MAX)
            for place, records in found.items():
                for record in records:
                    if record.offset < ends[place]:
                        take(record)
            # The position also passes the markers of transactions, which are no records.
            done = {place for place in left if await consumer.position(place) >= ends[place]}
            consumer.pause(*done)
            left -= done
