"""One side of stage one: from the records of a source topic to frames in intake, and what its barriers say.

It keeps no state but counters since the last barrier: how many entries went into each intake partition, and how each
source offset that was passed is accounted for (R2). Both change in the sender's turn, in the order in which frames
are handed to the producer, so a barrier says what is true of the log before it.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

from faust.types import TP

from cutover_app.contract.compile import Compiled
from cutover_app.core.forwarding import frames, lay_out
from cutover_app.core.frames import LEGACY, Barrier, Entry, Passed, Source, Vouch, encode_frame
from cutover_app.core.sampling import Sampling
from cutover_app.runtime.alignment import Alignment
from cutover_app.runtime.chunks import Chunk
from cutover_app.runtime.stage import SourceStage

Reader = Callable[[Sequence[Any]], tuple[list[Entry], int]]
"""Makes the entries of source records, and counts the records that the contract filters."""


def reader_of(compiled: Compiled, side: int) -> Reader:
    """Return what reads the records of one side."""
    rebuild, observe = compiled.rebuild, compiled.observe

    def expected(records: Sequence[Any]) -> tuple[list[Entry], int]:
        made = [rebuild(record) for record in records]
        return list(chain.from_iterable(made)), made.count([])

    def actual(records: Sequence[Any]) -> tuple[list[Entry], int]:
        return [observe(record) for record in records], 0

    return expected if side == LEGACY else actual


class Forwarder:
    """Forwards one source topic, and builds the barriers of its side."""

    def __init__(
        self, stage: SourceStage, read: Reader, alignment: Alignment, *, side: int, rules: str, partitions: int
    ) -> None:
        self.stage = stage
        self._read = read
        self._alignment = alignment
        self._side = side
        self._rules = rules
        self._partitions = partitions
        self._sent = [0] * partitions
        self._passed: list[Passed] = []
        alignment.join(side, stage.hold)

    @property
    def sampling(self) -> Sampling:
        """What this side knows about completeness."""
        sampling = self.stage.sampling
        assert isinstance(sampling, Sampling)
        return sampling

    def source(self, partition: int) -> Source:
        """Return a partition of this side's topic."""
        return Source(self._side, self.stage.topic, "", partition)

    async def take(self, chunk: Chunk) -> None:
        """Forward a run of source records; returns when it is on its way, not when it has arrived."""
        self._alignment.moved(self._side, chunk)
        entries, filtered = self._read(chunk.records)
        source = self.source(chunk.tp.partition)
        laid = lay_out(entries, self._partitions)
        sender = self.stage.sender.sender_id
        outgoing = [(q, data) for q, each in laid.items() for data in frames(self._rules, sender, source, each)]
        passed = Passed(
            source,
            chunk.start,
            chunk.end,
            len(chunk.records) - filtered,
            filtered,
            chunk.end - chunk.start - len(chunk.records),
        )
        await self.stage.send(chunk.tp, chunk.end, outgoing, lambda: self._account(laid, passed))

    def _account(self, laid: dict[int, list[Entry]], passed: Passed) -> None:
        for partition, entries in laid.items():
            self._sent[partition] += len(entries)
        for place, each in enumerate(self._passed):
            if each.source == passed.source and each.end == passed.start:
                self._passed[place] = _joined(each, passed)
                return
        self._passed.append(passed)

    def barriers(self) -> dict[int, bytes]:
        """Build the next barrier for every intake partition; what they say has been said then."""
        sampling = self.sampling
        vouches = [(self.source(partition), offsets) for partition, offsets in sampling.vouches()]
        built = {}
        for partition in range(self._partitions):
            barrier = Barrier(
                rules=self._rules,
                sender=self.stage.sender.sender_id,
                side=self._side,
                topic=self.stage.topic,
                incarnation="",
                partitions=sampling.partitions,
                vouches=[Vouch(source, offsets[partition]) for source, offsets in vouches],
                sent=self._sent[partition],
                passed=self._passed,
                edges=[],
                proven=sampling.proven,
            )
            built[partition] = encode_frame(barrier)
        self._sent = [0] * self._partitions
        self._passed = []
        return built

    # -- what partitions coming and going means for a side (`runtime.partitions.Stage`)

    async def assigned(self, positions: Mapping[TP, int]) -> None:
        """Begin to read these partitions."""
        await self.stage.assigned(positions)

    async def revoked(self) -> None:
        """Wait until everything taken is in intake."""
        self._alignment.clear(self._side)
        await self.stage.revoked()


def _joined(first: Passed, second: Passed) -> Passed:
    return Passed(
        first.source,
        first.start,
        second.end,
        first.records + second.records,
        first.filtered + second.filtered,
        first.gaps + second.gaps,
    )
