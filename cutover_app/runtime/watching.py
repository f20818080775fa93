"""Notices that a source topic is not what it was: partitions added, deleted, created anew, or cut.

Kafka's client looks at a topic's metadata every five minutes; here it is asked every second or two. Whoever notices has
the group hand out the partitions anew, and each owner then finds out for itself where to read on (`kafka/starts.py`).
Every worker looks, also one without partitions: it may be the one that computes the assignment.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from aiokafka.errors import KafkaError
from mode import Service

from cutover_app.kafka.cluster import Cluster
from cutover_app.kafka.errors import KafkaUnavailable
from cutover_app.kafka.settings import Broker
from cutover_app.runtime.fatal import cancelled_by_nobody
from cutover_app.runtime.following import Doubts
from cutover_app.runtime.forwarding import Forwarder

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
#: Looks after which a rebalance that was asked for, and did not come, is asked for again.
PATIENCE_LOOKS = 15


class Group(Protocol):
    """A group's member whose partitions may have to be handed out anew: the app, or the reader of another cluster."""

    doubts: Doubts

    @property
    def tenure(self) -> int | None:
        """Generation of the assignment that is held; None between two."""

    async def partition_counts(self, topics: Iterable[str]) -> dict[str, int]:
        """How many partitions this member believes that topics have."""

    async def rejoin(self) -> None:
        """Have the partitions handed out anew, by what topics there are now."""


class SourceWatch(Service):
    """Watches the source topics that one worker reads of one cluster."""

    def __init__(self, group: Group, broker: Broker, sides: Mapping[str, Forwarder], **kwargs: Any) -> None:
        self._group = group
        self._cluster = Cluster(broker, client_id="cutover-watch")
        self._sides = sides
        self._asked: int | None = None
        """Generation in which a rebalance was asked for last."""
        self._looks = 0
        super().__init__(**kwargs)

    @Service.task
    async def _look_forever(self) -> None:
        async for _late in self.itertimer(LOOK_SECONDS, name="sources"):
            try:
                with cancelled_by_nobody(lambda: self.should_stop):
                    await self.look()
            except (KafkaError, KafkaUnavailable, TimeoutError) as error:
                log.warning("cannot look at the source topics: %r", error)

    async def look(self) -> None:
        """Look once."""
        tenure = self._group.tenure
        self._looks += 1
        if tenure is None or (tenure == self._asked and self._looks < PATIENCE_LOOKS):
            return
        why = await self._changed()
        if why and tenure == self._group.tenure:
            log.warning("%s: the partitions are handed out anew", why)
            self._asked, self._looks = tenure, 0
            await self._group.rejoin()

    async def _changed(self) -> str:
        """Return what is not as this worker believes; empty when all is."""
        found = await self._cluster.topics(self._sides)
        believed = await self._group.partition_counts(self._sides)
        for name, side in self._sides.items():
            count = found[name].partitions if name in found else 0
            if count != believed[name]:
                return f"topic {name} has {count} partitions, and had {believed[name]}"
            # Whoever reads nothing of it knows of no other: what it once read does not matter any more.
            if count and side.stage.partitions and side.topic_id != found[name].id:
                return f"topic {name} is another than it was"
        return "a source is in doubt" if self._group.doubts else ""

    async def on_stop(self) -> None:
        """Disconnect."""
        await self._cluster.close()
        for side in self._sides.values():
            await side.disconnect()
