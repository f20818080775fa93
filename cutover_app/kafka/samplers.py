"""Samples of a topic's ends, for barriers: afresh, without a group, on a connection of their own."""

from collections.abc import Mapping
from dataclasses import dataclass

from aiokafka.errors import UnknownTopicOrPartitionError

from cutover_app.kafka.cluster import LATEST, Cluster
from cutover_app.kafka.settings import Broker


@dataclass(frozen=True, slots=True)
class Sample:
    """High watermark of every partition that the topic has now."""

    partitions: int
    ends: Mapping[int, int]
    topic_id: str


class EndSampler:
    """Asks one cluster. The partition count comes first: a partition added in between only waits."""

    def __init__(self, broker: Broker, *, client_id: str = "cutover-sampler") -> None:
        self._cluster = Cluster(broker, client_id=client_id)

    async def sample(self, topic: str) -> Sample:
        """Partition count, then end offsets (high watermarks, never last stable offsets)."""
        found = (await self._cluster.topics([topic])).get(topic)
        if found is None:
            raise UnknownTopicOrPartitionError(topic)
        ends = await self._cluster.offsets(found, LATEST)
        return Sample(found.partitions, ends, found.id)

    async def close(self) -> None:
        """Disconnect."""
        await self._cluster.close()
