"""Faust's Kafka consumer, with one message per fetched run of a partition instead of per record.

Stock Faust spends four asyncio tasks on every message. Here the consumer thread cuts what was
fetched into chunks (`chunks.py`), where the position before and after is known, and everything
above it - conductor, streams, rebalances, generations - stays as it is and simply sees few
messages. All topics of the app are chunked: sources, intake, changelogs.

Offsets are committed only where the job says so (`set_committable`); Faust's own acknowledgement
bookkeeping, which can pass records that were never processed, is not used.

Between an assignment and `open_streams` only changelogs are fetched. Recovery may let the flow run
for a while before the streams have their positions, and clears all queues at its end: a chunk that
arrived in between would be lost, or come from the wrong place.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode import Service

from cutover_app.kafka.refusal import denied
from cutover_app.runtime.chunks import Chunk
from cutover_app.runtime.consuming import (
    CHUNK_RECORDS_MAX,
    FETCH_BYTES_MAX,
    FETCH_BYTES_MIN,
    FETCH_WAIT_MS,
    GO_ON_SECONDS,
    MOVED_SECONDS,
    POLL_SECONDS,
    At,
    commit,
    fetch_chunks,
    go_on,
    keep_session,
    moved_chunks,
    partition_counts,
    rejoin,
)
from cutover_app.runtime.failpoints import failpoint
from cutover_app.runtime.fatal import FatalError, cancelled_by_nobody, die
from cutover_app.runtime.following import Following

if TYPE_CHECKING:
    from cutover_app.runtime.app import CutoverApp

#: Bytes of one topic that wait for its agent; beyond it the topic is not fetched.
TOPIC_BYTES_MAX = 4 * 1024 * 1024


class ChunkThread(driver.AIOKafkaConsumerThread):
    """The thread that owns aiokafka's consumer, and the only place that knows positions."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._moved_next = 0.0
        self._turn = asyncio.Lock()

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust offers no settings for these; aiokafka reads them when the consumer starts.
        consumer._isolation_level = "read_committed"
        consumer._fetch_min_bytes = FETCH_BYTES_MIN
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        consumer._fetch_max_bytes = FETCH_BYTES_MAX
        consumer.commit = _ending(consumer.commit)
        return consumer

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 - the signature of the base class
        max_records: int | None = None,
    ) -> dict[TP, list[Chunk]]:
        async with self._turn:
            if not self.consumer.flow_active:
                return {}
            found = await fetch_chunks(consumer, active_partitions, timeout or 0.0, max_records or CHUNK_RECORDS_MAX)
        fetcher = consumer._fetcher
        if fetcher._subscriptions.reassignment_in_progress:
            return found
        return self._moved(fetcher, active_partitions) | found

    async def _seek_wait(self, consumer: Any, partitions: Mapping[TP, int]) -> None:
        """Seek, and not while a fetch of a former assignment is under way: nobody would miss what it takes."""
        async with self._turn:
            await super()._seek_wait(consumer, partitions)

    def _moved(self, fetcher: Any, wanted: set[TP]) -> dict[TP, list[Chunk]]:
        """Say once in a while where the sources are read: a position that was reset may find nothing to fetch."""
        now = monotonic()
        if now < self._moved_next:
            return {}
        self._moved_next = now + MOVED_SECONDS
        app = cast("CutoverApp", self.consumer.app)
        return moved_chunks(fetcher, {tp for tp in wanted if tp.topic in app.lossy})

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Stay in the group meanwhile, see `consuming.keep_session`."""
        keep_session(self._ensure_consumer())
        await super().on_partitions_assigned(assigned, generation_id)

    async def partition_counts(self, topics: Iterable[str]) -> dict[str, int]:
        """How many partitions this consumer believes that topics have; what it was assigned is made of that."""
        return cast("dict[str, int]", await self.call_thread(self._partition_counts, list(topics)))

    async def _partition_counts(self, topics: list[str]) -> dict[str, int]:
        return partition_counts(self._ensure_consumer(), topics)

    async def go_on(self) -> None:
        """Stay in the group, see `consuming.go_on`."""
        if self._consumer is not None:
            await self.call_thread(self._go_on)

    async def _go_on(self) -> None:
        go_on(self._ensure_consumer())

    async def rejoin(self) -> None:
        """Ask anew what topics there are, and have the partitions handed out anew."""
        await self.call_thread(self._rejoin)

    async def _rejoin(self) -> None:
        await rejoin(self._ensure_consumer())

    async def commit_with_notes(self, commits: Mapping[TP, At]) -> dict[TP, At]:
        """Commit positions, each with its text; return those that are committed, none where the group has moved on."""
        return cast("dict[TP, At]", await self.call_thread(self._commit_with_notes, dict(commits)))

    async def _commit_with_notes(self, commits: dict[TP, At]) -> dict[TP, At]:
        consumer = self._ensure_consumer()
        failpoint("offsets.commit")
        try:
            done = await commit(consumer, commits)
        except (CommitFailedError, TimeoutError) as error:
            self.log.info("nothing committed: %r", error)
            return {}
        except Exception as error:
            await self.crash(error)
            return {}
        failpoint("offsets.committed")
        return done

    async def committed(self, tps: Iterable[TP]) -> dict[TP, int | None]:
        """The group's committed positions, asked of the broker."""
        return cast("dict[TP, int | None]", await self.call_thread(self._committed, list(tps)))

    async def _committed(self, tps: list[TP]) -> dict[TP, int | None]:
        consumer = self._ensure_consumer()
        offsets = await asyncio.gather(*(consumer.committed(driver.ensure_aiokafka_TP(tp)) for tp in tps))
        return dict(zip(tps, offsets, strict=True))

    async def stop_fetching(self, tps: Iterable[TP]) -> None:
        """Fetch these no more until the next assignment (aiokafka would prefetch our writes)."""
        await self.call_thread(self._stop_fetching, list(tps))

    async def _stop_fetching(self, tps: list[TP]) -> None:  # runs in the thread
        self._ensure_consumer().pause(*(driver.ensure_aiokafka_TP(tp) for tp in tps))


def _end_if_refused(error: KafkaError) -> None:
    """Say what was refused in one line, before Faust logs it with tracebacks and takes everything down."""
    if denied(error) is not None:
        die(error)


def _ending(commit: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def committing(offsets: Any) -> None:
        try:
            await commit(offsets)
        except KafkaError as error:
            _end_if_refused(error)
            raise

    return committing


class ChunkConsumer(driver.Consumer):
    """The consumer as the event loop sees it: what may be fetched, and what may be committed."""

    app: "CutoverApp"
    _thread: ChunkThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._streams_open = False
        self._committable: dict[TP, At] = {}
        self._committed: dict[TP, At] = {}
        self._following = Following(self.app.doubts)
        self._waiting: Counter[str] = Counter()
        self._idle: dict[str, asyncio.Event] = {}
        self._held: dict[str, frozenset[TP]] = {}

    def _new_consumer_thread(self) -> ChunkThread:
        return ChunkThread(self, loop=self.loop, beacon=self.beacon)

    # -- fetching

    async def _getmany(
        self,
        active_partitions: set[TP] | None,
        timeout: float,  # noqa: ASYNC109 - the signature of the base class
    ) -> Mapping[TP, list[Chunk]]:
        wanted = {tp for tp in active_partitions or () if self._may_fetch(tp)}
        if not wanted:
            await asyncio.sleep(POLL_SECONDS / 5)
            return {}
        try:
            fetched = await self._thread.getmany(wanted, min(timeout, POLL_SECONDS))
        except FatalError as error:
            die(error)
        except KafkaError as error:
            _end_if_refused(error)
            raise
        fetched = {tp: chunks for tp, chunks in fetched.items() if self._goes_on(chunks[0])}
        for tp, chunks in fetched.items():
            self._waiting[tp.topic] += chunks[0].size
        return fetched

    def _goes_on(self, chunk: Chunk) -> bool:
        """Tell whether a chunk is to be handed on. Of our own topics each is: a hole in them ends the process."""
        return chunk.tp.topic not in self.app.lossy or self._following.fetched(chunk)

    def _may_fetch(self, tp: TP) -> bool:
        if self._is_changelog_tp(tp):
            return True
        held = tp in self._held.get(tp.topic, ())
        return self._streams_open and not held and self._waiting[tp.topic] < TOPIC_BYTES_MAX

    def hold(self, topic: str, tps: Iterable[TP]) -> None:
        """Fetch exactly these partitions of a topic no more, until the next call (stock pausing drops data)."""
        self._held[topic] = frozenset(tps)

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        chunk: Chunk = record
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            chunk.end - 1,
            (chunk.records[-1].timestamp or 0) / 1000 if chunk.records else 0.0,
            0,
            None,
            None,
            cast("Any", chunk),
            None,
            0,
            chunk.size,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Chunks say what they cover, so a jump between two messages means nothing."""

    async def chunks(self, stream: Any) -> AsyncIterator[Chunk]:
        """The chunks of an agent's stream, in unbroken order per partition.

        The agent is idle, as a rebalance sees it, only between the end of one loop body and the
        start of the next.
        """
        topic: str = stream.channel.get_topic_name()
        idle = self._idle.setdefault(topic, asyncio.Event())
        idle.set()
        async for event in stream.noack().events():
            chunk: Chunk = event.value
            if not self._streams_open:  # slipped past a rebalance; it will be read again
                continue
            if topic in self.app.lossy and self.app.doubts:  # so will what is behind a chunk that was let go of
                continue
            self._following.taken(chunk)
            idle.clear()
            yield chunk
            self._waiting[topic] = max(0, self._waiting[topic] - chunk.size)
            idle.set()

    # -- positions

    async def perform_seek(self) -> None:
        """Nothing: recovery places the changelogs, `open_streams` places everything else."""

    async def open_streams(self, positions: Mapping[TP, int], ours: Callable[[], bool]) -> None:
        """Start to fetch the streams, from these positions, if the partitions are still ours."""
        changelogs = [tp for tp in self.assignment() if self._is_changelog_tp(tp)]
        if changelogs and ours():
            await self._thread.stop_fetching(changelogs)
        if positions and ours():
            await self.seek_wait(positions)
        if ours():
            self._following.begin(positions)
            self._waiting.clear()  # of a fetch that ended after its partitions had gone
            self._streams_open = True

    async def start_positions(self, tps: Iterable[TP]) -> dict[TP, int]:
        """Where the group stands; the beginning of a partition where it has never been."""
        committed = await self._thread.committed(tps)
        fresh = [tp for tp, offset in committed.items() if offset is None]
        earliest = await self.earliest_offsets(*fresh) if fresh else {}
        starts = {ensure_TP(tp): offset for tp, offset in earliest.items()}
        return {tp: starts[tp] if at is None else at for tp, at in committed.items()}

    def close_streams(self) -> None:
        """Take no more chunks: what was fetched is dropped, and agents finish the one that they have."""
        self._streams_open = False
        self.stop_flow()
        self.app.flow_control.suspend()
        self.app.flow_control.clear()

    async def drain(self) -> None:
        """Wait until every agent has finished the chunk that it has; streams are closed."""
        await asyncio.gather(*(idle.wait() for idle in self._idle.values()))

    # -- committing

    def set_committable(self, tp: TP, offset: int, note: str = "") -> None:
        """All of `tp` below `offset` is safe elsewhere: in intake, or in a checkpoint; `note` is committed with it."""
        self._committable[tp] = offset, note

    def uncommitted(self) -> dict[str, int] | None:
        """Positions that are committed, by partition, where others could be; None where none could."""
        if not any(self._should_commit(tp, offset) for tp, (offset, _note) in self._committable.items()):
            return None
        done = {tp: self._committed.get(tp, (-1, ""))[0] for tp in self._committable}
        return {f"{tp.topic}/{tp.partition}": offset for tp, offset in done.items()}

    async def partition_counts(self, topics: Iterable[str]) -> dict[str, int]:
        """How many partitions this worker believes that topics have."""
        return await self._thread.partition_counts(topics)

    async def rejoin(self) -> None:
        """Have the partitions handed out anew, by what topics there are now."""
        await self._thread.rejoin()

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in self._committable if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        committable = self._committable.get(tp)
        return committable[0] if committable else None

    def _should_commit(self, tp: TP, offset: int) -> bool:  # noqa: ARG002 - Faust's signature
        """A position with another note is another one: Faust sees offsets only, and would never commit that note."""
        return self._committed.get(tp) != self._committable[tp]

    async def _commit_offsets(
        self,
        offsets: Mapping[TP, int],
        start_new_transaction: bool = True,  # noqa: ARG002 - Faust's signature
    ) -> bool:
        """As in Faust, but what was not committed stays to be committed."""
        assignment = self.assignment()
        # What has become committable since goes with it: position and note must be of one moment.
        mine = {tp: self._committable[tp] for tp in offsets if tp in assignment and tp in self._committable}
        done = await self._thread.commit_with_notes(mine) if mine else {}
        if not done:
            return False
        self._committed |= done
        reached = {tp: offset for tp, (offset, _note) in done.items()}
        self._committed_offset.update(reached)
        self.app.monitor.on_tp_commit(reached)
        return True

    # -- rebalances

    @Service.task
    async def _go_on_forever(self) -> None:
        async for _late in self.itertimer(GO_ON_SECONDS, name="group"):
            try:
                with cancelled_by_nobody(lambda: self.should_stop):
                    await self._thread.go_on()
            except KafkaError as error:
                die(error)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish, checkpoint and commit while the partitions are still ours."""
        await self.app.leave_partitions()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Shut out the former owners before recovery asks where the changelogs end."""
        await self.app.take_partitions(assigned, generation_id)
        await super().on_partitions_assigned(assigned, generation_id)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Nothing: Faust's check reads acknowledgements that we do not make, and would cry wolf."""

    def forget(self) -> None:
        """Drop everything that belonged to the last assignment."""
        self._committable.clear()
        self._committed.clear()
        self._following.clear()
        self._waiting.clear()
        self._held.clear()

    async def commit_all(self) -> None:
        """Commit what is committable, waiting for a commit that is already under way."""
        try:
            while self._commit_fut is not None:
                await self.maybe_wait_for_commit_to_finish()
            await self.commit()
        except IllegalStateError:
            self.log.info("nothing committed: the group has moved on")


class ChunkTransport(driver.Transport):
    """The stock transport with our consumer."""

    Consumer = ChunkConsumer
