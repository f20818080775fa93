"""Compares a bounded sample of a copy with its original, for what the mirror does to headers."""

import time
from typing import Any, Final

from aiokafka import TopicPartition

from cutover_app.contract.models import Contract, Mirror
from cutover_app.kafka.cluster import Cluster
from cutover_app.kafka.clusters import ASK_SECONDS, legacy_broker, work_broker
from cutover_app.kafka.reading import WAIT_MS, onlooker
from cutover_app.kafka.settings import Broker
from cutover_app.mirror.headers import damage

CLIENT_ID: Final = "cutover-headers"
SAMPLE_RECORDS: Final = 100
"""Records of each partition of the copy, the newest."""
MARGIN_RECORDS: Final = 100
"""The originals may have others beside them, and be further from the end."""
SAMPLE_SECONDS: Final = 5.0


async def header_damage(contract: Contract) -> str:
    """Return a line that says how the mirror changes headers, and where; empty where a sample shows no change.

    Raises what Kafka says where one of the clusters cannot be read.
    """
    mirror, topic = contract.legacy.mirror, contract.legacy.topic
    legacy = legacy_broker(contract, request_timeout=ASK_SECONDS)
    assert isinstance(mirror, Mirror)
    assert legacy is not None
    copies = await _newest(work_broker(contract, request_timeout=ASK_SECONDS), topic)
    if not copies:
        return ""
    source = contract.legacy.original
    since: dict[int, int] = {}
    for each in copies:
        since[each.partition] = min(each.timestamp, since.get(each.partition, each.timestamp))
    found = damage(await _since(legacy, source, since), copies)
    if found is None:
        return ""
    return (
        f"the mirror {found.how}: partition {found.partition} of {source}, offset {found.original}, and its copy in "
        f"{topic}, offset {found.copy}; on a plain Connect cluster set header.converter to ByteArrayConverter"
    )


async def _newest(broker: Broker, topic: str) -> list[Any]:
    async with onlooker(broker, CLIENT_ID) as consumer:
        places = await _places(broker, topic)
        if not places:
            return []
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        starts = await consumer.beginning_offsets(places)
        for place in places:
            consumer.seek(place, max(starts[place], ends[place] - SAMPLE_RECORDS))
        return await _read(consumer, ends, SAMPLE_RECORDS)


async def _since(broker: Broker, topic: str, since: dict[int, int]) -> list[Any]:
    """Read records from a time on; timestamps of a partition need not ascend, so this may miss some."""
    async with onlooker(broker, CLIENT_ID) as consumer:
        places = [place for place in await _places(broker, topic) if place.partition in since]
        if not places:
            return []
        consumer.assign(places)
        found = await consumer.offsets_for_times({place: since[place.partition] for place in places})
        ends = await consumer.end_offsets(places)
        for place in places:
            consumer.seek(place, ends[place] if found[place] is None else found[place].offset)
        return await _read(consumer, ends, SAMPLE_RECORDS + MARGIN_RECORDS)


async def _places(broker: Broker, topic: str) -> list[TopicPartition]:
    async with Cluster(broker, client_id=CLIENT_ID) as cluster:
        found = (await cluster.topics([topic])).get(topic)
    return [TopicPartition(topic, number) for number in sorted(found.leaders)] if found else []


async def _read(consumer: Any, ends: dict[Any, int], most: int) -> list[Any]:
    """Read up to these ends, `most` records of each partition, for a bounded time."""
    records: list[Any] = []
    left = dict.fromkeys(ends, most)
    deadline = time.monotonic() + SAMPLE_SECONDS
    while left and time.monotonic() < deadline:
        for place, run in (await consumer.getmany(*left, timeout_ms=WAIT_MS)).items():
            records += [record for record in run[: left[place]] if record.offset < ends[place]]
            left[place] -= len(run)
        left = {place: n for place, n in left.items() if n > 0 and await consumer.position(place) < ends[place]}
    return records
