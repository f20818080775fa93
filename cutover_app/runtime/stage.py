"""One side's reader: the source partitions of this worker, and how far they are in intake."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from faust.types import TP

from cutover_app.kafka.samplers import Sample
from cutover_app.kafka.settings import Broker
from cutover_app.runtime.app import CutoverApp
from cutover_app.runtime.intake import IntakeSender


class Sampling(Protocol):
    """The pure half of barriers (`core/sampling.py`)."""

    def assign(self, positions: Mapping[int, int]) -> None:
        """Source partitions and positions below which everything is in intake."""

    def positions(self) -> dict[int, int]:
        """Positions below which everything is in intake, by source partition."""

    def progress(self, partition: int, position: int) -> None:
        """Everything below `position` is in intake."""

    def barrier_acked(self, offsets: Sequence[int]) -> None:
        """Offsets of the newest barrier, by intake partition."""

    def sampled(self, ends: Mapping[int, int], partitions: int, barrier: Sequence[int] | None = None) -> None:
        """What the cluster said after that."""


class Reader(Protocol):
    """Whoever reads the source topic: the app's consumer, or one on another cluster (`direct.py`)."""

    def set_committable(self, tp: TP, offset: int, note: str = "") -> None:
        """All of `tp` below `offset` is in intake; `note` is committed with it."""

    def hold(self, topic: str, tps: Iterable[TP]) -> None:
        """Fetch exactly these partitions of a topic no more, until the next call."""


class SourceStage:
    """Keeps sender, sampling and committable offsets in step with what is assigned."""

    def __init__(
        self,
        app: CutoverApp,
        broker: Broker,
        *,
        topic: str,
        intake: str,
        sampling: Sampling,
        reader: Reader | None = None,
    ) -> None:
        """Without a `reader` the topic is read by the app's own consumer."""
        self.topic = topic
        self.sampling = sampling
        self.sender = IntakeSender(
            broker,
            name=f"{app.conf.id}-{topic}",
            topic=intake,
            on_acked=self._acked,
            incarnation=lambda: app.topic_ids.get(intake, ""),
        )
        self.partitions: frozenset[int] = frozenset()
        self.taken_at = 0.0
        """When they were taken over, by the monotonic clock."""
        self._app = app
        self._other_reader = reader
        #: What is committed beside a position.
        self.note: Callable[[TP, int], str] = lambda _tp, _position: ""
        #: Whether a sample is of the topic that is read, and may vouch for anything; with the positions before it.
        self.sound: Callable[[Sample, Mapping[int, int]], bool] = lambda _sample, _before: True

    async def starts(self, tps: Iterable[TP]) -> dict[TP, int]:
        """Where to read partitions that are about to be assigned."""
        return await self._app.chunk_consumer.start_positions(tps)

    @property
    def reader(self) -> Reader:
        """Whoever reads the topic."""
        return self._other_reader or self._app.chunk_consumer

    async def assigned(self, positions: Mapping[TP, int]) -> None:
        """Begin; the positions are committable as they are, so that they are resolved only once."""
        await self.sender.start()
        for tp, position in positions.items():
            self._commit(tp, position)
        starts = {tp.partition: position for tp, position in positions.items()}
        self.sampling.assign(starts)
        self.partitions, self.taken_at = frozenset(starts), time.monotonic()

    def hold(self, tps: Iterable[TP]) -> None:
        """Fetch exactly these partitions no more, until the next call."""
        self.reader.hold(self.topic, tps)

    async def revoked(self) -> None:
        """No barrier speaks for a partition that is about to be someone else's."""
        self.partitions = frozenset()
        await self.sender.flush()
        self.sampling.assign({})

    async def send(self, *args: Any, **kwargs: Any) -> None:
        """See `IntakeSender.send`."""
        await self.sender.send(*args, **kwargs)

    def renew(self, partition: int, position: int) -> None:
        """Have committed what is now to be said beside a position, wherever that is committed already."""
        if partition in self.partitions:
            self._commit(TP(self.topic, partition), position)

    def _acked(self, source: TP, end: int) -> None:
        self._commit(source, end)
        self.sampling.progress(source.partition, end)

    def _commit(self, tp: TP, position: int) -> None:
        self.reader.set_committable(tp, position, self.note(tp, position))
