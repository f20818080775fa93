"""The heartbeat of stage one: barriers, and the samples that let later barriers vouch (R1.2).

Each interval: one barrier to every intake partition; when all have acknowledged it, the cluster is
asked, afresh and on a connection of its own, for the partition count and the end offsets (high
watermarks) of the source topic. Only that order makes a sample proof of anything.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from aiokafka.errors import KafkaError
from mode import Service

from cutover_app.kafka.errors import KafkaUnavailable
from cutover_app.kafka.samplers import EndSampler
from cutover_app.runtime.fatal import die
from cutover_app.runtime.stage import SourceStage

log = logging.getLogger(__name__)


class Barriers(Service):
    """Beats for one side, as long as this worker reads any of its partitions."""

    def __init__(
        self,
        stage: SourceStage,
        ends: EndSampler,
        *,
        interval: float,
        build: Callable[[], Mapping[int, bytes]],
        **kwargs: Any,
    ) -> None:
        self.stage = stage
        self.ends = ends
        self.interval = interval
        self.build = build
        super().__init__(**kwargs)

    @Service.task
    async def _beat_forever(self) -> None:
        async for _late in self.itertimer(self.interval, name="barriers"):
            if self.stage.partitions:
                try:
                    await self.beat()
                except Exception as error:  # a silent heart would delay every close
                    die(error)

    async def beat(self) -> None:
        """One barrier, then one sample."""
        offsets = await self.stage.sender.send_barriers(self.build)
        self.stage.sampling.barrier_acked(offsets)
        try:
            sample = await self.ends.sample(self.stage.topic)
        except (KafkaError, KafkaUnavailable, TimeoutError) as error:
            # No sample proves nothing: what could be closed by it waits for the next one.
            log.warning("no end offsets of %s: %r", self.stage.topic, error)
            return
        if self.stage.sound(sample):
            self.stage.sampling.sampled(sample.ends, sample.partitions)

    async def on_stop(self) -> None:
        """Disconnect."""
        await self.ends.close()
        await self.stage.sender.stop()
