"""Create topics on a lab's cluster."""

import asyncio
import contextlib
from collections.abc import Collection, Mapping

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.errors import KafkaError, for_code

from cutover_app.kafka.admin import delete
from cutover_app.kafka.cluster import LATEST, Cluster
from cutover_app.kafka.settings import Broker
from cutover_app.lab.errors import LabError

TIMEOUT_MS = 15_000
POLL_S = 0.05


async def create_topics(
    bootstrap: str, partitions: Mapping[str, int], *, configs: Mapping[str, str] | None = None, replicas: int = 1
) -> None:
    """Create topics; `configs` (such as cleanup.policy) apply to all.

    They can be used when this returns.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        wanted = [
            NewTopic(name, count, replicas, topic_configs=dict(configs or {})) for name, count in partitions.items()
        ]
        answer = await admin.create_topics(wanted, timeout_ms=TIMEOUT_MS)
        for name, code, message in answer.topic_errors:
            if code:
                raise LabError(f"topic {name}: {message or for_code(code).__name__}")
    finally:
        await admin.close()
    await _appear(bootstrap, partitions)


async def _appear(bootstrap: str, names: Collection[str], *, partitions: int = 1) -> None:
    """Wait until the broker knows what its controller has created, with at least so many partitions each."""
    async with Cluster(Broker.parse(bootstrap)) as cluster, asyncio.timeout(TIMEOUT_MS / 1000):
        while True:
            with contextlib.suppress(KafkaError):
                topics = await cluster.topics(names)
                if len(topics) == len(names) and all(each.partitions >= partitions for each in topics.values()):
                    for topic in topics.values():
                        await cluster.offsets(topic, LATEST)
                    return
            await asyncio.sleep(POLL_S)


def create_topics_now(
    bootstrap: str, partitions: Mapping[str, int], *, configs: Mapping[str, str] | None = None
) -> None:
    """Do the same from code that runs no event loop."""
    asyncio.run(create_topics(bootstrap, partitions, configs=configs))


async def delete_records(bootstrap: str, topic: str, before: Mapping[int, int]) -> None:
    """Delete what partitions hold below an offset, as retention would."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        wanted = {TopicPartition(topic, number): RecordsToDelete(offset) for number, offset in before.items()}
        await admin.delete_records(wanted, timeout_ms=TIMEOUT_MS)
    finally:
        await admin.close()


async def add_partitions(bootstrap: str, topic: str, count: int) -> None:
    """Have a topic grow to `count` partitions; they can be used when this returns."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_partitions({topic: NewPartitions(count)}, timeout_ms=TIMEOUT_MS)
    finally:
        await admin.close()
    await _appear(bootstrap, [topic], partitions=count)


async def create_anew(bootstrap: str, topic: str, partitions: int) -> None:
    """Delete a topic and create another of the same name."""
    async with Cluster(Broker.parse(bootstrap)) as cluster, asyncio.timeout(TIMEOUT_MS / 1000):
        await delete(cluster, [topic])
        while await cluster.topics([topic]):  # noqa: ASYNC110 - only the broker knows
            await asyncio.sleep(POLL_S)
    await create_topics(bootstrap, {topic: partitions})
