"""One side of stage one: from the records of a source topic to frames in intake, and what its barriers say.

It keeps no state but counters since the last barrier: how many entries went into each intake partition, and how each
source offset that was passed is accounted for (R2). Both change in the sender's turn, in the order in which frames
are handed to the producer, so a barrier says what is true of the log before it.

What nobody can read any more is told as an edge (R8). The edges of a standing are told again whenever its partition is
taken over, in the first barrier after that and so before any that vouches; one that is found while reading is told, and
acknowledged by every intake partition, before anything beyond it goes out.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
from aiokafka.errors import KafkaError
from faust.types import TP

from cutover_app.contract.compile import Compiled
from cutover_app.core.forwarding import frames, lay_out
from cutover_app.core.frames import LEGACY, Barrier, Edge, Entry, Passed, Source, Vouch, encode_frame
from cutover_app.core.sampling import Sampling
from cutover_app.core.standing import (
    EDGES_KEPT,
    FAR_PAST,
    Standing,
    Uncopied,
    lost,
    never_copied,
    not_told,
    note_of,
    with_edges,
    with_uncopied,
)
from cutover_app.kafka.cluster import RETRY_SECONDS
from cutover_app.kafka.errors import KafkaUnavailable
from cutover_app.kafka.samplers import Identity, Sample
from cutover_app.kafka.starts import Starts
from cutover_app.runtime.alignment import Alignment
from cutover_app.runtime.chunks import Chunk
from cutover_app.runtime.stage import SourceStage

log = logging.getLogger(__name__)

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
        self,
        stage: SourceStage,
        read: Reader,
        alignment: Alignment,
        *,
        starts: Starts,
        identity: Identity,
        doubt: Callable[[str], None],
        ours: Callable[[], bool],
        side: int,
        rules: str,
        partitions: int,
    ) -> None:
        self.stage = stage
        self.topic_id = ""
        """Id of the topic that is read; empty before partitions were taken over for the first time."""
        stage.note, stage.sound = self._note, self._is_sound
        self._read = read
        self._alignment = alignment
        self._starts = starts
        self._identity = identity
        self._doubt = doubt
        self._ours = ours
        self._side = side
        self._rules = rules
        self._partitions = partitions
        self._sent = [0] * partitions
        self._passed: list[Passed] = []
        alignment.join(side, stage.hold)
        self._standings: dict[int, Standing] = {}
        self._edges: list[Edge] = []
        """To be told by the next barrier."""
        self._uncopied: dict[int, deque[Uncopied]] = {}
        """What legacy lost before it was copied and this worker has not told, by partition, whoever owns that."""
        self._last_ms: dict[int, int] = {}
        """Timestamp of the last record read, by source partition."""
        self._taken_ms: dict[int, int] = {}
        """The same as it was when the partitions were taken over."""
        self._stamps: dict[int, deque[tuple[int, int]]] = {}
        """The same as of positions that are not in intake yet."""

    @property
    def sampling(self) -> Sampling:
        """What this side knows about completeness."""
        sampling = self.stage.sampling
        assert isinstance(sampling, Sampling)
        return sampling

    def source(self, partition: int) -> Source:
        """Return a partition of this side's topic, in the incarnation that is read."""
        standing = self._standings.get(partition)
        return standing.source if standing else Source(self._side, self.stage.topic, self.topic_id, partition)

    def positions(self) -> dict[int, int]:
        """Return up to where each partition that is not held for the other side is in intake."""
        held = {tp.partition for side, tp in self._alignment.held if side == self._side}
        found = {number: self.sampling.position(number) for number in self.stage.partitions - held}
        return {number: position for number, position in found.items() if position is not None}

    async def take(self, chunk: Chunk) -> None:
        """Forward a run of source records; returns when it is on its way, not when it has arrived."""
        same = asyncio.ensure_future(self._is_of_this_topic(chunk))
        await asyncio.sleep(0)  # the question is on its way while the records are read
        entries, filtered = self._read(chunk.records)
        if not await same:
            return
        if chunk.after < chunk.start:
            await self._tell_lost(chunk)
        self._stamp(chunk)
        self._alignment.moved(self._side, chunk)
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
                incarnation=self.topic_id,
                partitions=sampling.partitions,
                vouches=[Vouch(source, offsets[partition]) for source, offsets in vouches],
                sent=self._sent[partition],
                passed=self._passed,
                edges=self._edges,
                proven=sampling.proven,
            )
            built[partition] = encode_frame(barrier)
        self._sent = [0] * self._partitions
        self._passed = []
        for edge in self._edges:
            self._uncopied.pop(edge.source.partition, None)
        self._edges = []
        return built

    # -- what is lost, and whether the topic is still the same

    async def _tell_lost(self, chunk: Chunk) -> None:
        """Have every intake partition know of a lost range before anything beyond it is forwarded or committed."""
        partition = chunk.tp.partition
        next_ms = chunk.records[0].timestamp if chunk.records else await self._starts.first_ms(partition)
        last_ms = self._last_ms.get(partition, FAR_PAST)
        edge = lost(self.source(partition), chunk.after, chunk.start, last_ms=last_ms, next_ms=next_ms)
        log.warning(
            "%s[%s]: offsets %s to %s were deleted before they were read; what they may explain is indeterminate",
            chunk.tp.topic,
            partition,
            edge.start,
            edge.end,
        )
        self._edges.append(edge)
        # Should the heart take the edge into a barrier of its own first: this one is acknowledged after that one.
        await self.stage.sender.send_barriers(self.barriers)

    def read_to_ms(self) -> dict[int, int]:
        """Return the timestamp of the last record read, by source partition."""
        return dict(self._last_ms)

    def never_copied(self, partition: int, gone: Uncopied) -> None:
        """Have it told what the legacy cluster deleted before it was copied.

        The edge stays with the partition's standing, for whoever takes that over. What is lost of a partition of
        somebody else is remembered: its owner may be dead.
        """
        # Told at a takeover, all begin at one time, and the last ones reach furthest: older ones add nothing.
        self._uncopied.setdefault(partition, deque(maxlen=EDGES_KEPT)).append(gone)
        standing = self._standings.get(partition)
        if standing is None:
            return
        left = not_told(standing, gone)
        if left is None:
            return
        # Copies of what came behind the gap may have been read before anybody looked.
        edge = never_copied(standing, left, self._taken_ms.get(partition, standing.last_ms))
        self._standings[partition] = with_edges(standing, edge)
        self._edges.append(edge)
        position = self.sampling.position(partition)
        if position is not None:
            self.stage.renew(partition, position)

    def _stamp(self, chunk: Chunk) -> None:
        if chunk.records:
            partition, last_ms = chunk.tp.partition, chunk.records[-1].timestamp
            self._last_ms[partition] = last_ms
            self._stamps.setdefault(partition, deque()).append((chunk.end, last_ms))

    def _note(self, tp: TP, position: int) -> str:
        """Return what is committed beside a position: the standing, with the last record below the position."""
        standing = self._standings.get(tp.partition)
        if standing is None:
            return ""
        stamps, last_ms = self._stamps.get(tp.partition, ()), standing.last_ms
        while stamps and stamps[0][0] <= position:
            last_ms = stamps.popleft()[1]
        if last_ms != standing.last_ms:
            standing = self._standings[tp.partition] = msgspec.structs.replace(standing, last_ms=last_ms)
        return note_of(standing)

    async def _is_of_this_topic(self, chunk: Chunk) -> bool:
        """Tell whether a chunk is of the topic whose position this is; otherwise everything is to be taken over anew.

        A cluster that cannot be asked is asked again, while the partitions are ours; nothing is forwarded meanwhile.
        """
        while True:
            try:
                found = await self._identity.at(chunk.tp.partition, chunk.fetched)
                break
            except (KafkaError, KafkaUnavailable, TimeoutError) as error:
                log.warning("cannot ask for the id of %s: %r", self.stage.topic, error)
            if not self._ours():  # whoever is next reads it again, and the rebalance waits for us
                return False
            await asyncio.sleep(RETRY_SECONDS)
        if found != self.topic_id:
            self._doubt(f"topic {self.stage.topic} was deleted" + (" and created anew" if found else ""))
            return False
        return True

    def _is_sound(self, sample: Sample, before: Mapping[int, int]) -> bool:
        """Tell whether a sample is of the topic that is read, and of a log that still has what was read of it.

        `before`: the positions when it was asked for. Those of now may be beyond an end that was asked for first.
        """
        if sample.topic_id != self.topic_id:
            self._doubt(f"topic {self.stage.topic} was deleted and created anew")
            return False
        for partition, end in sample.ends.items():
            position = min(before.get(partition, 0), self.sampling.position(partition) or 0)
            if end < position:
                self._doubt(f"{self.stage.topic}[{partition}] ends at {end}, below position {position}")
                return False
        return True

    # -- what partitions coming and going means for a side (`runtime.partitions.Stage`)

    async def starts(self, tps: Iterable[TP]) -> dict[TP, int]:
        """Ask what was committed, and hold it against the topic as it is."""
        wanted = list(tps)
        if not wanted:
            self._standings = {}
            return {}
        found, standings = await self._starts.resolve(tp.partition for tp in wanted)
        self._standings = {
            number: with_uncopied(each, self._uncopied.get(number, ())) for number, each in standings.items()
        }
        if found != self.topic_id:
            self.topic_id = found
            self.sampling.partitions = 0  # nothing is known of how many partitions this one has
        return {tp: self._standings[tp.partition].position for tp in wanted}

    async def assigned(self, positions: Mapping[TP, int]) -> None:
        """Begin to read these partitions; their edges go with the first barrier."""
        self._stamps = {}
        self._taken_ms = {number: each.last_ms for number, each in self._standings.items()}
        self._last_ms = dict(self._taken_ms)
        self._edges = [edge for _number, each in sorted(self._standings.items()) for edge in each.edges]
        await self.stage.assigned(positions)

    async def disconnect(self) -> None:
        """Close what asks the cluster beside Faust."""
        await self._identity.close()

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
