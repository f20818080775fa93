"""Follows the topic in which a mirror keeps its positions, on the work cluster, without a group."""

import asyncio
import re
from typing import Any, Final

from aiokafka import TopicPartition

from cutover_app.kafka.cluster import Cluster
from cutover_app.kafka.errors import MirrorUnreadable
from cutover_app.kafka.reading import WAIT_MS, onlooker
from cutover_app.kafka.settings import Broker
from cutover_app.mirror.positions import AmbiguousMirror, Positions, choose

_NAMES: Final = re.compile(r"mm2-offsets.+internal")
"""What MirrorMaker 2 calls the topic when it runs by itself; on a plain Connect cluster the name is free."""


class MirrorOffsets:
    """The positions of whoever copies `source` to `copy`, from `topic` or from where they are found.

    Every `read` raises `MirrorUnreadable`, or what Kafka said; the next one begins anew then.
    """

    def __init__(self, broker: Broker, *, source: str, copy: str, topic: str | None) -> None:
        self._broker = broker
        self._cluster = Cluster(broker, client_id="cutover-mirror")
        self._source = source
        self._copy = copy
        self._named = topic
        self._ids: dict[str, str] = {}
        self._found: dict[str, Positions] = {}
        self._consumer: Any = None

    def __repr__(self) -> str:
        """Return what is followed."""
        return f"<MirrorOffsets {self._found}>"

    @property
    def topics(self) -> list[str]:
        """The topics that are followed."""
        return sorted(self._ids)

    @property
    def undecodable(self) -> int:
        """Records that nobody could read."""
        return sum(each.undecodable for each in self._found.values())

    async def read(self) -> dict[int, int]:
        """Return the offset that the mirror copies next, by partition of the source topic, as told by now."""
        try:
            await self._follow()
            await self._take(wait_ms=0)
            chosen = choose(self._found, self._copy)
        except AmbiguousMirror as error:
            raise MirrorUnreadable(f"{error}; expected one, in the topic that legacy.mirror.offsets names") from error
        except BaseException:
            await self.close()
            raise
        return self._found[chosen[0]].of(chosen[1]) if chosen else {}

    async def close(self) -> None:
        """Disconnect, and forget what was read."""
        consumer, self._consumer = self._consumer, None
        self._ids, self._found = {}, {}
        if consumer is not None:
            await consumer.stop()
        await self._cluster.close()

    async def _follow(self) -> None:
        """Make sure that the right topics are followed, each from its beginning to its end at least."""
        wanted = [self._named] if self._named else self.topics
        if not any(each.copiers for each in self._found.values()) and not self._named:
            wanted = [name for name in await self._cluster.names() if _NAMES.fullmatch(name)]
        if not wanted:
            raise MirrorUnreadable(
                "no topic mm2-offsets.*.internal is to be seen on the work cluster: expected the mirror's positions "
                "there, or in the topic that legacy.mirror.offsets names"
            )
        topics = await self._cluster.topics(wanted)
        if absent := sorted(set(wanted) - set(topics)):
            raise MirrorUnreadable(
                f"topic {', '.join(absent)} does not exist: expected the mirror's positions there, "
                "see legacy.mirror.offsets"
            )
        ids = {name: topic.id for name, topic in topics.items()}
        if ids == self._ids and self._consumer is not None:
            return
        if self._consumer is not None:
            await self._consumer.stop()
            self._consumer = None
        self._found = {name: Positions(self._source) for name in topics}
        places = [TopicPartition(name, number) for name, topic in topics.items() for number in topic.leaders]
        await self._begin(places)
        self._ids = ids

    async def _begin(self, places: list[TopicPartition]) -> None:
        self._consumer = onlooker(self._broker, "cutover-mirror")
        await self._consumer.start()
        self._consumer.assign(places)
        ends = await self._consumer.end_offsets(places)
        # A position that is not the newest may be one in a topic that is gone.
        while [place for place in places if await self._consumer.position(place) < ends[place]]:
            await self._take(wait_ms=WAIT_MS)

    async def _take(self, *, wait_ms: int) -> None:
        records = await self._consumer.getmany(timeout_ms=wait_ms)
        while records:
            for place, run in records.items():
                for record in run:
                    self._found[place.topic].take(record.key, record.value)
            await asyncio.sleep(0)
            records = await self._consumer.getmany(timeout_ms=0)
