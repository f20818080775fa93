"""Create topics on a lab's cluster."""

import asyncio
from collections.abc import Mapping

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code

from cutover_app.lab.errors import LabError

TIMEOUT_MS = 15_000


async def create_topics(
    bootstrap: str, partitions: Mapping[str, int], *, configs: Mapping[str, str] | None = None
) -> None:
    """Create topics with one replica each; `configs` (such as cleanup.policy) apply to all."""
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


def create_topics_now(
    bootstrap: str, partitions: Mapping[str, int], *, configs: Mapping[str, str] | None = None
) -> None:
    """Do the same from code that runs no event loop."""
    asyncio.run(create_topics(bootstrap, partitions, configs=configs))
