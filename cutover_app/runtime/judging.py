"""The judges of this worker: one per intake partition that it owns, and when each is checkpointed.

A checkpoint runs beside the other partitions' work; its own partition waits for it, because rows must not change
between being written and being committed.

A defect of our own, met while judging, must neither be passed over nor stop everything: the partition is *quarantined*.
So is one into which somebody else has written what is no frame; a frame of another contract ends the worker.
What was not committed of it is dropped and nothing more is committed, so its books and verdicts stay at the last
checkpoint, from where whoever takes it over tries again. The others go on, and the process ends with a failure.
"""

import asyncio
import logging
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from faust.types import TP

from cutover_app.core.frames import LEGACY, REBUILT, FrameError, decode_frame, is_stray
from cutover_app.core.judge import Judge, JudgeTerms
from cutover_app.core.rows import BOOKS_TABLE
from cutover_app.core.state import RowError
from cutover_app.core.verdicts import encode_verdict
from cutover_app.kafka.cluster import patiently
from cutover_app.runtime.changelogs import Changelogs, OvertakenError
from cutover_app.runtime.checkpoint import Checkpointer
from cutover_app.runtime.chunks import Chunk
from cutover_app.runtime.failpoints import failpoint, failpoint_waiting
from cutover_app.runtime.fatal import EXPECTED, FatalError, die
from cutover_app.runtime.table import BatchTable

if TYPE_CHECKING:
    from cutover_app.runtime.app import CutoverApp

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS: Final = 2.0
"""Age at which changes are committed, where a worker has few partitions."""
CHECKPOINT_SECONDS_MAX: Final = 5.0
"""The same where it has many."""
CHECKPOINTS_PER_SECOND: Final = 8
"""A worker with more partitions than it can commit at this pace commits each of them later: a commit has its price."""
CHECKPOINT_ENTRIES: Final = 20_000
"""Entries of one partition after which changes are committed, whatever their age: it bounds memory."""
CHECKPOINT_BYTES: Final = 2 * 1024 * 1024
"""Payloads of one partition that wait for partners, about, after which they are committed: then they are on disk."""
CHECKPOINT_VERDICTS: Final = 2_000
"""Verdicts of one partition after which they are committed: a backlog that is closed as missing makes many at once."""
DELETED_ROWS: Final = 20_000
"""Rows that one transaction deletes, where they are to be made again."""
NEW_RUN: Final = (
    "begin a new run, which reads the source topics again (`cutover reset`, or another `run`); what is gone from them "
    "will be indeterminate"
)
IDLE_SECONDS: Final = 10.0
"""Age at which a partition that saw nothing but barriers is committed."""


class PartitionRows:
    """The committed rows of one intake partition, all tables (`core.rows.Store`)."""

    def __init__(self, tables: Sequence[BatchTable], partition: int) -> None:
        self._tables = {table.name: table for table in tables}
        self._partition = partition

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return one row."""
        return self._tables[table].get(self._partition, key)

    def get_many(self, table: str, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return rows in the order of `keys`."""
        return self._tables[table].multi_get(self._partition, keys)

    def scan(self, table: str, start: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        """Return up to `limit` rows with keys from `start` on, ascending."""
        return self._tables[table].scan(self._partition, start, limit=limit)


def checkpoint_age(partitions: int) -> float:
    """Return the age in seconds at which a worker with so many partitions commits what has changed in one."""
    return min(max(CHECKPOINT_SECONDS, partitions / CHECKPOINTS_PER_SECOND), CHECKPOINT_SECONDS_MAX)


class Seat:
    """One judge, and what is going on about it."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.committed = judge.next_offset
        """Everything of intake below it is in the last checkpoint."""
        self.quarantine = ""
        """Why nothing more is judged here; empty while all is well. It shows no value of any message."""
        self.reached = judge.next_offset
        """Where the last chunk that was judged to its end ended: the next one begins there."""
        self.halfway = False
        """An intake record is being judged: what there is now is neither before nor after it."""
        self.entries = 0
        self.bytes = 0
        """Of the frames of these entries."""
        self.verdicts: list[tuple[bytes, bytes]] = []
        """Decided and not committed yet, as they are written: a backlog may be closed by one barrier."""
        self.outcomes: Counter[str] = Counter()
        """Of these verdicts."""
        self.findings: Counter[str] = Counter()
        """Findings of these verdicts, by kind."""
        self.since = time.monotonic()
        self.committing: asyncio.Task[None] | None = None
        self._oldest_ms: tuple[int | None, int | None] = (None, None)

    def oldest_ms(self) -> tuple[int | None, int | None]:
        """Per side: `Judge.oldest_ms`, as it was before a commit that is under way."""
        if self.committing is None or self.committing.done():
            self._oldest_ms = self.judge.oldest_ms(LEGACY), self.judge.oldest_ms(REBUILT)
        return self._oldest_ms

    def take_verdicts(self) -> None:
        """Take over what has been decided."""
        for verdict in self.judge.take_verdicts():
            self.verdicts.append((verdict.id.encode(), encode_verdict(verdict)))
            self.outcomes[verdict.outcome] += 1
            self.findings.update(finding.kind for finding in verdict.findings)

    def is_due(self, age_max: float) -> bool:
        """Tell whether it is time for a checkpoint; it is at this age, in seconds, if there is anything to commit."""
        age = time.monotonic() - self.since
        if len(self.verdicts) >= CHECKPOINT_VERDICTS:
            return True
        if self.entries >= CHECKPOINT_ENTRIES or self.bytes * self.judge.held >= CHECKPOINT_BYTES * (self.entries or 1):
            return True
        return age >= (age_max if self.entries or self.verdicts else IDLE_SECONDS)


class Judging:
    """Opens, feeds, checkpoints and closes judges."""

    def __init__(
        self,
        terms: JudgeTerms,
        *,
        intake: str,
        tables: Sequence[BatchTable],
        checkpointer: Checkpointer,
        changelogs: Changelogs,
        app: "CutoverApp",
    ) -> None:
        self._terms = terms
        self._intake = intake
        self._tables = tables
        self._checkpointer = checkpointer
        self._changelogs = changelogs
        self._app = app
        self._seats: dict[int, Seat] = {}
        self.outcomes: Counter[str] = Counter()
        """Verdicts that this process has committed."""
        self.findings: Counter[str] = Counter()
        """Findings of these, by kind."""

    @property
    def seats(self) -> Mapping[int, Seat]:
        """The judges at work, by intake partition."""
        return self._seats

    def positions(self) -> dict[int, int]:
        """Return up to where each partition that must get on is judged.

        It is none that is quarantined, and no one at all while a barrier closes a backlog: that may take minutes, and
        chunks are judged one after the other.
        """
        seats = {number: seat for number, seat in self._seats.items() if not seat.quarantine}
        if any(seat.halfway for seat in seats.values()):
            return {}
        return {number: seat.judge.next_offset for number, seat in seats.items()}

    @property
    def examined(self) -> int:
        """Recovered rows that this process has looked at one by one."""
        return self._changelogs.examined

    async def look(self, partitions: Iterable[int]) -> None:
        """Look at the changelogs of these partitions, for as long as it takes brokers to answer."""
        await patiently(partial(self._changelogs.look, partitions))

    async def open(self, partition: int, ours: Callable[[], bool]) -> int:
        """Start the judge of a partition from its recovered rows; return the intake offset to read from.

        Raises `OvertakenError` as soon as the partition is not `ours`.
        """
        rows = PartitionRows(self._tables, partition)
        begin, end = self._changelogs.intake(partition)
        if line := await self._changelogs.flaw(partition, rows, ours):
            if begin:
                raise FatalError(
                    f"intake partition {partition}: {line}; and its state cannot be made again, because its intake "
                    f"begins at offset {begin}; {NEW_RUN}"
                )
            log.warning("intake partition %s: %s; it is judged again from the beginning of its intake", partition, line)
            judge = await self._begin_again(partition, rows, end, ours)
        else:
            judge = Judge(self._terms, partition, rows)
        if not begin <= judge.next_offset <= end:
            raise FatalError(
                f"intake partition {partition} has offsets {begin} to {end}, and was judged up to {judge.next_offset}: "
                f"what is between them is lost; {NEW_RUN}"
            )
        self._seats[partition] = Seat(judge)
        return judge.next_offset

    async def _begin_again(self, partition: int, rows: PartitionRows, end: int, ours: Callable[[], bool]) -> Judge:
        """Delete rows that are not what was written, books first, and start a judge at the beginning of intake."""
        for table in (BOOKS_TABLE, *(each.name for each in self._tables)):
            start = b""
            while found := rows.scan(table, start, DELETED_ROWS):
                if not ours():
                    raise OvertakenError
                self._changelogs.examined += len(found)
                await self._checkpointer.commit(partition, {table: [(key, None) for key, _ in found]})
                start = found[-1][0]  # from the beginning it would pass over all that is deleted, each time
        judge = Judge(self._terms, partition, rows)
        judge.books.begins = self._changelogs.begins(partition)
        judge.books.again_to = end - 1
        return judge

    async def close(self, partition: int) -> None:
        """Checkpoint, then drop the judge; one that was stopped within a record has nothing to commit."""
        seat = self._seats.pop(partition, None)
        if seat is not None and not seat.quarantine and not seat.halfway:
            await _settled(seat)
            await self._checkpoint(seat)

    async def take(self, chunk: Chunk) -> None:
        """Judge a run of intake records."""
        seat = self._seats[chunk.tp.partition]
        await failpoint_waiting("judge.wait", chunk.tp.partition)
        await _settled(seat)
        if seat.quarantine or seat.halfway:  # the rest of a chunk that was let go of would be missing before this one
            return
        with self._isolated(seat):
            if await self._judge(seat, chunk) and seat.is_due(checkpoint_age(len(self._seats))):
                seat.committing = asyncio.create_task(self._checkpoint_or_die(seat))

    async def _judge(self, seat: Seat, chunk: Chunk) -> bool:
        """Judge a chunk; False where it was let go of halfway, because the partitions go."""
        judge = seat.judge
        assert chunk.start == seat.reached, f"judged up to {seat.reached}, and {chunk.start} comes next"
        failpoint("judge.take", judge.partition)
        before = judge.entries
        seat.halfway = True
        for record in self._ours(chunk):
            for _ in judge.applying(record.offset, record.timestamp, decode_frame(record.value)):
                seat.take_verdicts()
                await asyncio.sleep(0)  # other partitions' checkpoints take a dozen turns of the loop each
                if self._app.tenure is None:
                    return False  # a backlog may take longer than there is: the next owner closes it
        judge.settle()
        seat.halfway, seat.reached = False, chunk.end
        seat.entries += judge.entries - before
        seat.bytes += chunk.size
        seat.take_verdicts()
        failpoint("judge.taken", judge.partition)
        return True

    def _ours(self, chunk: Chunk) -> Sequence[Any]:
        """Return the records of a chunk that were made for this intake, nearly always all of them."""
        incarnation = self._app.topic_ids.get(self._intake, "")
        found = [record for record in chunk.records if not is_stray(record.key, incarnation)]
        if strays := len(chunk.records) - len(found):
            log.warning(
                "intake partition %s: %s records passed by, made for a topic of this name that is gone: a worker wrote "
                "them that had stood still while its run was reset",
                chunk.tp.partition,
                strays,
            )
        return found

    async def _checkpoint_or_die(self, seat: Seat) -> None:
        try:
            await self._checkpoint(seat)
        except Exception as error:
            die(error)

    async def _checkpoint(self, seat: Seat) -> None:
        judge = seat.judge
        seat.entries, seat.bytes, seat.since = 0, 0, time.monotonic()
        rows = {}
        with self._isolated(seat):
            rows = {table: list(changed.items()) for table, changed in judge.checkpoint().items()}
        if seat.quarantine:
            return
        seat.take_verdicts()
        verdicts, seat.verdicts = seat.verdicts, []
        outcomes, seat.outcomes = seat.outcomes, Counter()
        findings, seat.findings = seat.findings, Counter()
        await self._checkpointer.commit(judge.partition, rows, verdicts)
        await failpoint_waiting("checkpoint.done", judge.partition)
        judge.committed()
        self.outcomes.update(outcomes)
        self.findings.update(findings)
        seat.committed = judge.next_offset
        self._app.chunk_consumer.set_committable(TP(self._intake, judge.partition), seat.committed)

    @contextmanager
    def _isolated(self, seat: Seat) -> Iterator[None]:
        """Let a defect of ours stop this partition and no other; what one line explains ends the worker."""
        try:
            yield
        except RowError:
            # It was not written by a checkpoint: have every row looked at by whoever starts here next.
            self._tables[0].data.partition(seat.judge.partition).condemn()
            raise
        except EXPECTED:
            raise
        except Exception as error:
            self._quarantine(seat, error)

    def _quarantine(self, seat: Seat, error: Exception) -> None:
        """Judge this partition no more, and say so: in the log, and beside its position for `status`."""
        partition, at = seat.judge.partition, seat.judge.next_offset
        seat.quarantine = self._app.quarantined[partition] = f"{_origin(error)} behind intake offset {at}"
        seat.verdicts = []
        log.critical("intake partition %s is quarantined: %s; the others go on", partition, seat.quarantine)
        self._app.chunk_consumer.set_committable(TP(self._intake, partition), seat.committed, seat.quarantine)


def _origin(error: Exception) -> str:
    """Return what was raised and where. Not what it says: that may be a value of a message."""
    *_, last = traceback.extract_tb(error.__traceback__)
    place = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
    return f"a record that is no frame of this version ({place})" if isinstance(error, FrameError) else place


async def _settled(seat: Seat) -> None:
    if seat.committing is not None:
        await seat.committing
        seat.committing = None
