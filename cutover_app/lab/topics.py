"""Create topics on a lab's cluster."""

import asyncio
import contextlib
from collections.abc import Collection, Mapping

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, for_code

from cutover_app.kafka.cluster import LATEST, Cluster
from cutover_app.kafka.settings import Broker
from cutover_app.lab.errors import LabError

TIMEOUT_MS = 15_000
POLL_S = 0.05


async def create_topics(
    bootstrap: str, partitions: Mapping[str, int], *, configs: Mapping[str, str] | None = None
) -> None:
    """Create topics with one replica each; `configs` (such as cleanup.policy) apply to all.

    They can be used when this returns.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        wanted = [NewTopic(name, count, 1, topic_configs=dict(configs or {})) for name, count in partitions.items()]
        answer = await admin.create_topics(wanted, timeout_ms=TIMEOUT_MS)
        for name, code, message in answer.topic_errors:
            if code:
                raise LabError(f"topic {name}: {message or for_code(code).__name__}")
    finally:
        await admin.close()
    await _appear(bootstrap, partitions)


async def _appear(bootstrap: str, names: Collection[str]) -> None:
    """Wait until the broker knows what its controller has created."""
    async with Cluster(Broker.parse(bootstrap)) as cluster, asyncio.timeout(TIMEOUT_MS / 1000):
        while True:
            with contextlib.suppress(KafkaError):
                topics = await cluster.topics(names)
                if len(topics) == len(names):
                    for topic in topics.values():
                        await cluster.offsets(topic, LATEST)
                    return
            await asyncio.sleep(POLL_S)


def create_topics_now(
    bootstrap: str, partitions: Mapping[str, int], *, configs: Mapping[str, str] | None = None
) -> None:
    """Do the same from code that runs no event loop."""
    asyncio.run(create_topics(bootstrap, partitions, configs=configs))
