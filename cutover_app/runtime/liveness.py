"""A worker looks at itself, and ends where it does not get on: the rules are in `core/liveness.py`."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from aiokafka.errors import KafkaError
from mode import Service

from cutover_app.core.liveness import LOOK_SECONDS, Liveness, Look
from cutover_app.kafka.cluster import LATEST, Cluster
from cutover_app.kafka.errors import KafkaUnavailable
from cutover_app.kafka.settings import Broker
from cutover_app.runtime.app import CutoverApp
from cutover_app.runtime.fatal import FatalError, cancelled_by_nobody, die
from cutover_app.runtime.watching import Group
from cutover_app.runtime.worker import WorkerState

ANSWER_SECONDS: Final = 10.0
"""How long a cluster may take to say where its topic ends; a look then goes on without."""

log = logging.getLogger(__name__)


class Reading(NamedTuple):
    """A topic that this worker reads.

    Attributes:
        broker: On which cluster.
        group: As whose member.
        topic: Its name.
        positions: Where each of its partitions is read that must get on.
    """

    broker: Broker
    group: Group
    topic: str
    positions: Callable[[], Mapping[int, int]]


class LivenessWatch(Service):
    """Looks every now and then, for as long as the process lives."""

    def __init__(self, app: CutoverApp, readings: Iterable[Reading], **kwargs: Any) -> None:
        self._app = app
        self._readings = [(Cluster(each.broker, client_id="cutover-liveness"), each) for each in readings]
        self._liveness = Liveness()
        super().__init__(**kwargs)

    @Service.task
    async def _look_forever(self) -> None:
        while not self.should_stop:
            await self.sleep(LOOK_SECONDS)
            with cancelled_by_nobody(lambda: self.should_stop):
                seen = await self._look()
            if line := self._liveness.look(seen):
                die(FatalError(line))

    async def _look(self) -> Look:
        app = self._app
        tenure, state = app.tenure, app.standing.state
        unread, unknown = await self._unread()
        if unknown.issuperset(each.topic for _cluster, each in self._readings if each.group is app):
            return Look(tenure=tenure, answered=False)
        if app.tenure != tenure or app.standing.state is not state:
            return Look(tenure=app.tenure, answered=False)  # it has changed while we asked
        return Look(
            tenure=tenure,
            works=state.ready,
            recovers=state is WorkerState.RECOVERING,
            rebalances=state is WorkerState.REBALANCING,
            unassigned=[
                each.topic
                for _cluster, each in self._readings
                if each.group.tenure is None and each.topic not in unknown
            ],
            idle_agents=app.idle_agents(),
            silent={
                each.stage.topic: each.stage.sender.beats
                for each in app.hearts
                if each.overdue and each.stage.topic not in unknown
            },
            unread={} if app.doubts else unread,
            uncommitted=app.chunk_consumer.uncommitted() if state.ready else None,
            to_recover=app.recovery_remaining(),
            examined=app.judging.examined,
        )

    async def _unread(self) -> tuple[dict[str, int], set[str]]:
        """Return the partitions that can be read on, and where they are read; and topics of which nobody knows.

        Positions are as they were before we asked for the end.
        """
        found: dict[str, int] = {}
        unknown = set()
        read = [dict(each.positions()) for _cluster, each in self._readings]
        # All at once: a cluster that does not answer delays no look at the others.
        asked = await asyncio.gather(*(_ends(cluster, each.topic) for cluster, each in self._readings))
        for (_cluster, each), positions, ends in zip(self._readings, read, asked, strict=True):
            if ends is None:
                unknown.add(each.topic)
                continue
            found |= {
                f"{each.topic}/{number}": position
                for number, position in positions.items()
                if position < ends.get(number, 0)
            }
        return found, unknown

    async def on_stop(self) -> None:
        """Disconnect."""
        for cluster, _reading in self._readings:
            await cluster.close()


async def _ends(cluster: Cluster, topic: str) -> Mapping[int, int] | None:
    """Return where a topic ends, none of it where it is gone or changes (`watching.py`); None without an answer."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            found = (await cluster.topics([topic])).get(topic)
            return {} if found is None else await cluster.offsets(found, LATEST, stable=True)
    except (KafkaError, KafkaUnavailable, TimeoutError, OSError) as error:
        log.info("brokers give no answer about %s: %r", topic, error)
        return None
