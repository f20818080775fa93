"""Samples of a topic's ends, for barriers: afresh, without a group, on a connection of their own."""

import time
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


class Identity:
    """Tells whether what was fetched of a topic is of the topic that one believes to read.

    Kafka's fetch names topics by name: of a topic that was deleted and made anew it returns records of the new one, at
    the old position. An id never comes back, so one that is the same after the fetch was the same during it. The leader
    of the partition is asked, because it is the one broker that knew of the new topic when it served its records.
    """

    def __init__(self, broker: Broker, topic: str) -> None:
        self._cluster = Cluster(broker, client_id="cutover-identity")
        self._topic = topic
        self._leaders: Mapping[int, int] = {}
        self._asked: dict[int | None, float] = {}
        self._id: str | None = None

    async def at(self, partition: int, fetched: float) -> str | None:
        """Return the topic's id as of a moment not before `fetched` (monotonic seconds); None without such a topic.

        One answer serves everything that was fetched before the question.
        """
        leader = self._leaders.get(partition)
        if self._asked.get(leader, -1.0) < fetched:
            now = time.monotonic()
            found = (await self._cluster.topics([self._topic], node=leader)).get(self._topic)
            self._leaders = found.leaders if found is not None else {}
            self._id = found.id if found is not None else None
            self._asked[leader] = now
        return self._id

    async def close(self) -> None:
        """Disconnect."""
        await self._cluster.close()
