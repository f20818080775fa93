"""What is asked of an aiokafka consumer, whoever owns it: chunks instead of records, and what it believes of topics.

The owners are Faust's consumer thread (`transport.py`) and the reader of another cluster (`direct.py`). The position
before and after a run is known only here, so here it is cut into chunks.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from itertools import islice
from time import monotonic
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import CommitFailedError, ConsumerStoppedError, CorruptRecordException, KafkaError
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from cutover_app.runtime.chunks import Chunk
from cutover_app.runtime.fatal import FatalError

#: Records of one chunk, so that no agent holds the event loop for long.
CHUNK_RECORDS_MAX = 1000
#: Bytes fetched per partition and request; a larger batch still comes, alone.
FETCH_PARTITION_BYTES = 1024 * 1024
FETCH_BYTES_MAX = 16 * 1024 * 1024
#: The broker answers a fetch when it has so much, or after this long: one by one, messages cost many times as much.
#: A longer poll would delay busy partitions.
FETCH_BYTES_MIN = 256 * 1024
FETCH_WAIT_MS = 100
#: How long the fetch loop waits for data before it looks again at what it may fetch.
POLL_SECONDS = 0.1
#: A commit that takes longer is given up; the next one says the same.
COMMIT_SECONDS_MAX = 10.0
#: How often a group is helped on, see `go_on`.
GO_ON_SECONDS = 1.0
#: A damaged batch is fetched again after this long, and for so long before it ends the worker.
DAMAGE_SECONDS = 1.0
DAMAGE_SECONDS_MAX = 10.0
#: How often it is looked whether positions have moved without a record.
MOVED_SECONDS = 1.0

log = logging.getLogger(__name__)

At = tuple[int, str]
"""A position, and the text that is committed beside it."""


async def fetch_chunks(
    consumer: Any,
    wanted: set[TP],
    timeout: float,  # noqa: ASYNC109 - aiokafka's word for how long it may wait
    limit: int = CHUNK_RECORDS_MAX,
) -> dict[TP, list[Chunk]]:
    """Take chunks off aiokafka's buffers; what `Fetcher.fetched_records` does for records."""
    fetcher = consumer._fetcher
    if consumer._closed or fetcher._closed:
        raise ConsumerStoppedError
    if fetcher._subscriptions.reassignment_in_progress:
        await asyncio.sleep(POLL_SECONDS)
        return {}
    with fetcher._subscriptions.fetch_context():
        found = take_chunks(fetcher, wanted, limit)
        if not found and timeout:
            waiter = fetcher._create_fetch_waiter()
            await asyncio.wait([waiter], timeout=timeout)
            if not waiter.done():
                waiter.cancel()
                return {}
            if waiter.exception() is not None:  # it is the group's
                go_on(consumer)
                return {}
            found = take_chunks(fetcher, wanted, limit)
    return found


def take_chunks(fetcher: Any, wanted: set[TP], limit: int) -> dict[TP, list[Chunk]]:
    """One chunk of each wanted partition that has something, even if only its position moved."""
    found: dict[TP, list[Chunk]] = {}
    _stamp(fetcher)
    for tp in list(fetcher._records):
        if tp not in wanted:
            if not fetcher._subscriptions.is_assigned(tp):
                del fetcher._records[tp]
            continue
        result = fetcher._records[tp]
        if type(result) is not FetchResult:
            if found:  # hand over what there is; the error comes with the next call
                break
            _done_with(fetcher, tp)
            result.check_raise()
        if monotonic() < result.__dict__.get("again_at", 0.0):
            continue
        chunk = _take(result, tp, limit)
        if not result.has_more():
            _done_with(fetcher, tp)
        if chunk is not None:
            found[chunk.tp] = [chunk]
    return found


def _stamp(fetcher: Any) -> None:
    """Note of everything that was fetched by now that it was: the sooner this is known, the fewer questions follow."""
    now = monotonic()
    for result in fetcher._records.values():
        result.__dict__.setdefault("fetched", now)


def moved_chunks(fetcher: Any, wanted: set[TP]) -> dict[TP, list[Chunk]]:
    """An empty chunk for each partition that has a position and nothing fetched: it says where reading is."""
    assignment = fetcher._subscriptions.subscription.assignment
    found: dict[TP, list[Chunk]] = {}
    for tp in assignment.tps if assignment is not None else ():
        state = assignment.state_value(tp)
        here = TP(tp.topic, tp.partition)
        if here in wanted and tp not in fetcher._records and state.has_valid_position and not state.paused:
            at = state.position
            found[here] = [Chunk(here, at, at, (), size=0, readable=at)]
    return found


def _unchanged(_tp: Any, record: Any) -> Any:
    return record


def _done_with(fetcher: Any, tp: Any) -> None:
    del fetcher._records[tp]
    fetcher._notify(fetcher._wait_consume_future)


def _take(result: Any, tp: Any, limit: int) -> Chunk | None:
    # False where a seek or a rebalance made the fetched data stale; the result is empty then.
    if not result.check_assignment(tp):
        return None
    # The parsed records serve as they are: making an eleven-field ConsumerRecord of each would
    # cost as much as fetching and parsing it (0.9 us per record without, 2.9 us with).
    result._partition_records._consumer_record = _unchanged
    state = result._assignment.state_value(tp)
    start = state.position
    records = _read(result, tp, limit)
    end = state.position
    if end == start:
        return None
    size = sum([len(record.value or b"") for record in records])
    readable = -1 if state.lso is None else state.lso
    chunk = Chunk(TP(tp.topic, tp.partition), start, end, records, size=size, readable=readable)
    chunk.fetched = result.__dict__.get("fetched", chunk.fetched)
    return chunk


class _Batches:
    """The batches of one fetch, and the one that was handed out last: of a damaged one it is said how far it goes."""

    def __init__(self, records: Any) -> None:
        self.last: Any = None
        self.has_next = records.has_next
        self._records = records

    def next_batch(self) -> Any:
        self.last = None
        self.last = self._records.next_batch()
        return self.last


def _read(result: Any, tp: Any, limit: int) -> list[Any]:
    """Do what `FetchResult.getall` does, and keep what was read before a damaged batch: it goes out first."""
    parsed = result._partition_records
    if not isinstance(parsed._records, _Batches):
        parsed._records = _Batches(parsed._records)
    start, records = parsed.next_fetch_offset, list[Any]()
    try:
        records.extend(islice(parsed, limit))
    except CorruptRecordException:
        if parsed.next_fetch_offset == start:
            _bear(result, tp, start)
            return records
    result._update_position()
    if len(records) < limit:  # what is left of a damaged fetch comes with the next one
        result._partition_records = None
    return records


def _bear(result: Any, tp: Any, start: int) -> None:
    """Have a damaged batch fetched again in a second; raises `FatalError` where that has gone on for too long.

    It may be whole at another try, or where another broker leads; and what was read before it is committed meanwhile.
    It is not passed over: another replica may have it whole, and how far it goes stands in what is damaged.
    """
    now, state = monotonic(), result._assignment.state_value(tp)
    place, since = state.__dict__.get("damaged", (-1, now))
    line = _damage(tp, start, result._partition_records._records.last)
    if place != start:
        state.damaged = start, now
        log.error("%s", line)
    elif now - since >= DAMAGE_SECONDS_MAX:
        raise FatalError(line)
    result.again_at = now + DAMAGE_SECONDS


def _damage(tp: Any, start: int, batch: Any) -> str:
    end = "of the next one" if batch is None else max(batch.next_offset, start + 1)
    return (
        f"{tp.topic}[{tp.partition}]: the batch at offset {start} is damaged (its checksum is wrong), and nothing "
        "behind it can be read: have another replica lead the partition if its copy is whole; else delete the records "
        f"below offset {end} (kafka-delete-records.sh), a changelog as a whole, and what is lost is known and said"
    )


def partition_counts(consumer: Any, topics: Iterable[str]) -> dict[str, int]:
    """How many partitions a consumer believes that topics have; what it was assigned is made of that."""
    cluster = consumer._client.cluster
    return {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in topics}


def go_on(consumer: Any) -> None:
    """Stay in the group whether there is anything to fetch or not, and have it try again if it failed to hand out.

    Who has fetched nothing for five minutes is taken out of the group by aiokafka, and joins again after a fetch only:
    with no partition, or with all of them held, never. An empty fetch will do. Whoever calls this stands for it that
    the process is not stuck; that partitions are read on is seen elsewhere (`core/liveness.py`).

    aiokafka keeps the error of a group that failed for whoever asks next, and does nothing before somebody has; neither
    Faust nor `fetch_chunks` does. Raises what another try will not mend.
    """
    with consumer._subscription.fetch_context():
        pass
    coordinator = consumer._coordinator
    beating = coordinator._heartbeat_task
    if beating is not None and beating.done() and not beating.cancelled() and beating.exception() is not None:
        coordinator.request_rejoin()  # nothing would be sent any more, and nobody joins again because of that
    try:
        coordinator.check_errors()
    except KafkaError as error:
        # One that is no more than a KafkaError is whatever went wrong while partitions were handed out.
        if coordinator._coordination_task.done() or not (error.retriable or type(error) is KafkaError):
            raise
        log.warning("the partitions could not be handed out: %r; it is tried again", error)


def keep_session(consumer: Any) -> None:
    """Stay a member while partitions are being taken over, however long brokers take to answer.

    aiokafka begins to send heartbeats when its listener has returned. Who has been given up by then would still fence
    the rightful owner, find out, join again, and so on.
    """
    consumer._coordinator._start_heartbeat_task()


async def rejoin(consumer: Any) -> None:
    """Ask anew what topics there are, and have the partitions handed out anew."""
    await consumer._client.force_metadata_update()
    consumer._coordinator.request_rejoin()


async def commit(consumer: Any, commits: Mapping[TP, At]) -> dict[TP, At]:
    """Commit positions, each with its text; return those of partitions that are still there.

    Raises what the consumer raises, or `TimeoutError`. Who is no member any more commits nothing: Kafka takes it of
    anybody while the group is empty, and the group may be another one by now, of a run that was reset meanwhile.
    """
    if consumer._coordinator.generation == OffsetCommitRequest.DEFAULT_GENERATION_ID:
        raise CommitFailedError("this member's session has ended")
    cluster = consumer._client.cluster
    # A partition that was deleted cannot be committed to, and aiokafka would try for ever.
    there = {tp: at for tp, at in commits.items() if tp.partition in (cluster.partitions_for_topic(tp.topic) or ())}
    if not there:
        return {}
    offsets = {TopicPartition(*tp): OffsetAndMetadata(*at) for tp, at in there.items()}
    try:
        async with asyncio.timeout(COMMIT_SECONDS_MAX):
            await consumer.commit(offsets)
    except TimeoutError:
        # aiokafka tries again in silence while a coordinator is looked for, or has still to load its groups.
        node = consumer._coordinator.coordinator_id
        who = "no coordinator of the group is found" if node is None else f"broker {node}, the coordinator, takes none"
        log.warning("positions could not be committed for %g s: %s", COMMIT_SECONDS_MAX, who)
        raise
    return there
