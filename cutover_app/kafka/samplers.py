"""Samples of a topic's ends, for barriers: afresh, without a group, on a connection of their own."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiokafka.errors import KafkaError, LeaderNotAvailableError, UnknownTopicOrPartitionError

from cutover_app.kafka.cluster import LATEST, Cluster
from cutover_app.kafka.errors import KafkaUnavailable
from cutover_app.kafka.settings import Broker

IDENTITY_SECONDS: Final = 3.0
"""A broker that has not said so long which topic it has is asked no more; a stop waits for this, and is short."""
NO_LEADER: Final = -1


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
        await self._cluster.confirm(found)
        return Sample(found.partitions, ends, found.id)

    async def close(self) -> None:
        """Disconnect."""
        await self._cluster.close()


class Identity:
    """Tells whether what was fetched of a topic is of the topic that one believes to read.

    Kafka's fetch names topics by name: of a topic that was deleted and made anew it returns records of the new one, at
    the old position. An id never comes back, so one that is the same after the fetch was the same during it. The leader
    of the partition is asked, because it is the one broker that knew of the new topic when it served its records. Any
    broker says who that is, and is asked anew whenever the leader did not answer: it may be gone for good.
    """

    def __init__(self, broker: Broker, topic: str) -> None:
        self._cluster = Cluster(broker, client_id="cutover-identity")
        self._topic = topic
        self._leaders: Mapping[int, int] = {}
        self._asked: dict[int, float] = {}
        self._id: str | None = None

    async def at(self, partition: int, fetched: float) -> str | None:
        """Return the topic's id as of a moment not before `fetched` (monotonic seconds); None without such a topic.

        One answer serves everything that was fetched before the question. Who failed to answer is not asked again.
        """
        try:
            async with asyncio.timeout(IDENTITY_SECONDS):
                if partition not in self._leaders:
                    await self._ask(None)
                leader = self._leaders.get(partition)
                if leader == NO_LEADER:
                    raise LeaderNotAvailableError(f"{self._topic}[{partition}]")
                if leader is not None and self._asked.get(leader, -1.0) < fetched:
                    await self._ask(leader)
        except (KafkaError, KafkaUnavailable, TimeoutError):
            self._leaders = {}
            await self._cluster.close()
            raise
        return self._id

    async def _ask(self, node: int | None) -> None:
        now = time.monotonic()
        found = (await self._cluster.topics([self._topic], node=node)).get(self._topic)
        self._leaders, self._id = ({}, None) if found is None else (found.leaders, found.id)
        if node is not None:
            self._asked[node] = now

    async def close(self) -> None:
        """Disconnect."""
        await self._cluster.close()
