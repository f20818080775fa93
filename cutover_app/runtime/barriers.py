"""The heartbeat of stage one: barriers, and the samples that let later barriers vouch (R1.2).

Each interval: one barrier to every intake partition; when all have acknowledged it, the cluster is
asked, afresh and on a connection of its own, for the partition count and the end offsets (high
watermarks) of the source topic. Only that order makes a sample proof of anything. Where the topic
is a copy, asking takes longer than a beat and is somebody else's work (`kafka/mirror.py`).
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from aiokafka.errors import KafkaError
from mode import Service

from cutover_app.kafka.errors import KafkaUnavailable
from cutover_app.kafka.refusal import denied
from cutover_app.kafka.samplers import EndSampler
from cutover_app.runtime.fatal import cancelled_by_nobody, die
from cutover_app.runtime.stage import SourceStage

OVERDUE_INTERVALS: Final = 3

log = logging.getLogger(__name__)


class Sampler(Protocol):
    """Samples where a source topic ends, after a barrier, and tells the side's `Sampling`."""

    async def after(self, barrier: Sequence[int]) -> None:
        """All intake partitions have acknowledged this barrier; must not hold the next one up."""

    def rest(self) -> None:
        """Nothing of the topic is read here any more, and nobody looks."""

    async def close(self) -> None:
        """Disconnect."""


class TopicSampler:
    """Asks the cluster at once: the topic itself is what the producer writes to."""

    def __init__(self, stage: SourceStage, ends: EndSampler) -> None:
        self._stage = stage
        self._ends = ends

    async def after(self, barrier: Sequence[int]) -> None:
        """One sample."""
        before = self._stage.sampling.positions()
        try:
            sample = await self._ends.sample(self._stage.topic)
        except (KafkaError, KafkaUnavailable, TimeoutError) as error:
            if denied(error) is not None:
                raise  # it would stay like this
            # No sample proves nothing: what could be closed by it waits for the next one.
            log.warning("no end offsets of %s: %r", self._stage.topic, error)
            return
        if self._stage.sound(sample, before):
            self._stage.sampling.sampled(sample.ends, sample.partitions, barrier)

    def rest(self) -> None:
        """Each sample is a look of its own."""

    async def close(self) -> None:
        """Disconnect."""
        await self._ends.close()


class Barriers(Service):
    """Beats for one side, as long as this worker reads any of its partitions."""

    def __init__(
        self,
        stage: SourceStage,
        sampler: Sampler,
        *,
        interval: float,
        build: Callable[[], Mapping[int, bytes]],
        **kwargs: Any,
    ) -> None:
        self.stage = stage
        self.sampler = sampler
        self.interval = interval
        self.build = build
        super().__init__(**kwargs)

    @Service.task
    async def _beat_forever(self) -> None:
        async for _late in self.itertimer(self.interval, name="barriers"):
            if not self.stage.partitions:
                self.sampler.rest()
            else:
                try:
                    with cancelled_by_nobody(lambda: self.should_stop):
                        await self.beat()
                except Exception as error:  # a silent heart would delay every close
                    die(error)

    @property
    def overdue(self) -> bool:
        """Whether partitions have been read, and no barrier been acknowledged, for several intervals."""
        stage = self.stage
        since = time.monotonic() - max(stage.taken_at, stage.sender.beaten_at or 0.0)
        return bool(stage.partitions) and since > OVERDUE_INTERVALS * self.interval

    async def beat(self) -> None:
        """One barrier, then one sample."""
        offsets = await self.stage.sender.send_barriers(self.build)
        self.stage.sampling.barrier_acked(offsets)
        await self.sampler.after(offsets)

    async def on_stop(self) -> None:
        """Disconnect."""
        await self.sampler.close()
        await self.stage.sender.stop()
