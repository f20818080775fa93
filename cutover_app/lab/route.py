"""How the legacy topic of a run comes to the work cluster: produced there, or through a mirror from a legacy cluster.

    route = Route(subject)               # or Route(subject, mirror), for a contract made by `through`
    await route.create((3, 5))
    ...                                  # the legacy producer publishes to `route.topic` on `route.bootstrap`
    await route.arrived()
    compared = await route.compared()    # where its records are in the topic that the workers read

What the workers read may differ from what was published: a mirror may send records again, or damage their headers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cutover_app.contract.models import Mirror as MirrorSettings
from cutover_app.kafka.settings import Broker
from cutover_app.kafka.topics import verify_topics
from cutover_app.lab.mirror import Mirror
from cutover_app.lab.resent import Compared, compare
from cutover_app.lab.topics import create_topics
from cutover_app.lab.verify import Subject


def through(settings: Mapping[str, Any], mirror: Mirror) -> dict[str, Any]:
    """Return the settings of a contract whose legacy topic is the copy that this mirror makes, and is proven."""
    topic = settings["legacy"]["topic"]
    origin = {"broker": f"kafka://{mirror.legacy.bootstrap}", "topic": topic, "offsets": mirror.offsets_topic}
    legacy = {**settings["legacy"], "topic": mirror.copy_of(topic), "mirror": origin}
    return {**settings, "broker": f"kafka://{mirror.work.bootstrap}", "legacy": legacy}


@dataclass(frozen=True)
class Route:
    """The way of one run's legacy topic."""

    subject: Subject
    mirror: Mirror | None = None

    @property
    def topic(self) -> str:
        """The topic that the legacy producer publishes to."""
        legacy = self.subject.contract.legacy
        origin = legacy.mirror.topic if isinstance(legacy.mirror, MirrorSettings) else None
        return origin or legacy.topic

    @property
    def bootstrap(self) -> str:
        """The cluster on which it does."""
        return self.subject.bootstrap if self.mirror is None else self.mirror.legacy.bootstrap

    async def create(self, partitions: tuple[int, int]) -> None:
        """Create the topics of a run: those of the producers as planned, its own as a worker would."""
        contract = self.subject.contract
        replicas = contract.internal.replication
        await create_topics(self.bootstrap, {self.topic: partitions[0]}, replicas=replicas)
        await create_topics(self.subject.bootstrap, {contract.rebuilt.topic: partitions[1]}, replicas=replicas)
        if self.mirror is not None:
            await self.mirror.has_copied(self.topic)
        await verify_topics(contract, Broker.parse(self.subject.bootstrap))

    async def arrived(self) -> None:
        """Wait until all that the legacy producer has published can be read by the workers."""
        if self.mirror is not None:
            await self.mirror.caught_up(self.topic)

    async def compared(self) -> Compared:
        """Return what came of its records on the way; on one cluster nothing did."""
        return Compared() if self.mirror is None else await compare(self.mirror, self.topic)
