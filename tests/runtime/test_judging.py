"""When a partition is committed, and when not; and that its judge leaves the others their turns."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from cutover_app.core.foreign import ForeignRulesError
from cutover_app.core.frames import LEGACY, Records, encode_frame
from cutover_app.runtime.chunks import Chunk
from cutover_app.runtime.judging import (
    CHECKPOINT_SECONDS,
    CHECKPOINT_SECONDS_MAX,
    CHECKPOINTS_PER_SECOND,
    Judging,
    Seat,
    checkpoint_age,
)
from tests.core.history import RULES, source


@pytest.mark.parametrize("partitions", [1, 12, 16, 24, 64, 512])
def test_many_partitions_are_committed_less_often(partitions: int) -> None:
    """A worker commits so many partitions a second at most, unless verdicts would wait too long for that."""
    age = checkpoint_age(partitions)
    assert CHECKPOINT_SECONDS <= age <= CHECKPOINT_SECONDS_MAX
    assert partitions / age <= CHECKPOINTS_PER_SECOND or age == CHECKPOINT_SECONDS_MAX
    assert age == CHECKPOINT_SECONDS or partitions > CHECKPOINT_SECONDS * CHECKPOINTS_PER_SECOND


class Backlog:
    """A judge that closes a backlog, and has something to commit whenever it is asked."""

    entries = 0
    next_offset = 0
    held = 0

    def __init__(self, pieces: int, partition: int = 0) -> None:
        self.partition = partition
        self.pieces = pieces
        self.asked = self.taken = 0

    def applying(self, *_record: Any) -> Iterator[None]:
        """Take in a record in so many pieces."""
        self.taken += 1
        for _ in range(self.pieces):
            yield

    def settle(self) -> None:
        """Nothing is left."""

    def take_verdicts(self) -> list[Any]:
        """None."""
        return []

    def committed(self) -> None:
        """Nobody asks."""

    def checkpoint(self) -> dict[str, dict[bytes, bytes]]:
        """One row."""
        self.asked += 1
        return {"books": {b"books": b"row"}}


def chunk(partition: int = 0, key: bytes | None = b"now", start: int = 0) -> Chunk:
    """Return a chunk of one record."""
    value = encode_frame(Records(RULES, "l", source(LEGACY), []))
    record: Any = SimpleNamespace(offset=start, timestamp=0, key=key, value=value)
    return Chunk(TP("intake", partition), start, start + 1, [record], size=1, readable=1)


def judging_of(commits: list[int], *judges: Backlog) -> Judging:
    """Return judges at work, and note which partitions they commit."""

    async def commit(partition: int, *_rows: Any) -> None:
        commits.append(partition)

    consumer = SimpleNamespace(set_committable=lambda *_: None)
    app: Any = SimpleNamespace(chunk_consumer=consumer, tenure=1, quarantined={}, topic_ids={"intake": "now"})
    judging = Judging(
        None,  # type: ignore[arg-type]
        intake="intake",
        tables=[],
        checkpointer=SimpleNamespace(commit=commit),  # type: ignore[arg-type]
        changelogs=None,  # type: ignore[arg-type]
        app=app,
    )
    judging._seats |= {each.partition: Seat(each) for each in judges}  # type: ignore[arg-type]
    return judging


def play(judge: Backlog, *, stopped_after: int) -> None:
    """Have a chunk of one record judged, be stopped after so many turns of the loop, and closed."""
    commits: list[int] = []
    judging = judging_of(commits, judge)

    async def run() -> None:
        taking = asyncio.create_task(judging.take(chunk()))
        for _ in range(stopped_after):
            await asyncio.sleep(0)
        taking.cancel()
        with suppress(asyncio.CancelledError):
            await taking
        await judging.close(0)

    asyncio.run(run())
    assert len(commits) == judge.asked


def test_a_judge_that_is_stopped_within_a_record_commits_nothing() -> None:
    """Half of what a barrier closes is decided, and the rest would be forgotten; whoever comes next judges it again."""
    judge = Backlog(pieces=50)
    play(judge, stopped_after=20)
    assert judge.asked == 0


def test_a_judge_that_is_stopped_between_records_commits() -> None:
    """What was judged to its end is committed when its partition goes."""
    judge = Backlog(pieces=3)
    play(judge, stopped_after=20)
    assert judge.asked == 1


async def let_go_halfway(judging: Judging) -> None:
    """Have a partition go while a chunk of it is judged."""
    taking = asyncio.create_task(judging.take(chunk()))
    await asyncio.sleep(0)
    judging._app.tenure = None  # type: ignore[misc]
    await asyncio.wait_for(taking, 1)


def test_a_judge_whose_partition_goes_lets_a_backlog_be() -> None:
    """What a barrier closes may take longer than a rebalance, or a stop, waits; whoever comes next judges it again."""
    judge = Backlog(pieces=1_000_000)
    judging = judging_of([], judge)

    async def run() -> None:
        await let_go_halfway(judging)
        await judging.close(0)

    asyncio.run(run())
    assert judge.asked == 0


def test_nothing_is_judged_behind_what_was_let_go_of_halfway() -> None:
    """What follows would be judged without the rest of that chunk, and be committed: a hole that nobody sees."""
    judge = Backlog(pieces=1_000_000)
    judging = judging_of([], judge)

    async def run() -> None:
        await let_go_halfway(judging)
        judge.pieces = 0
        await judging.take(chunk())
        await judging.close(0)

    asyncio.run(run())
    assert (judge.taken, judge.asked) == (1, 0)


def test_a_hole_in_what_is_judged_stops_its_partition() -> None:
    """Whatever made it is a defect of ours: nothing is judged behind it, and nothing of it is committed."""
    commits: list[int] = []
    judge = Backlog(pieces=0)
    judging = judging_of(commits, judge)

    async def run() -> None:
        for start in (0, 1, 3):
            await judging.take(chunk(start=start))
        await judging.close(0)

    asyncio.run(run())
    assert (judge.taken, commits) == (2, [])
    assert "AssertionError at judging.py" in judging._app.quarantined[0]


@pytest.mark.parametrize(("key", "taken"), [(b"now", 1), (None, 1), (b"before", 0)])
def test_what_was_made_for_another_intake_is_passed_by(
    key: bytes | None, taken: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker that stood still while its run was reset writes what it had in hand into the topic of the same name."""
    judge = Backlog(pieces=1)
    asyncio.run(judging_of([], judge).take(chunk(key=key)))
    assert judge.taken == taken
    assert ("1 records passed by" in caplog.text) is not bool(taken)


def test_what_is_no_frame_stops_its_partition_and_no_other() -> None:
    """Somebody wrote into intake: nothing more of that partition is judged or committed, and it is said why."""
    commits: list[int] = []
    judging = judging_of(commits, Backlog(pieces=0), Backlog(pieces=0, partition=1))

    async def run() -> None:
        foreign = chunk()
        foreign.records[0].value = b"secret"  # type: ignore[misc]
        await judging.take(foreign)
        await judging.take(chunk(partition=1))
        assert list(judging.positions()) == [1]
        await judging.close(0)
        await judging.close(1)

    asyncio.run(run())
    assert commits == [1]
    (why,) = judging._app.quarantined.values()
    assert re.fullmatch(r"a record that is no frame of this version \(FrameError at .*\) behind intake offset 0", why)


def test_a_frame_of_another_contract_ends_the_worker() -> None:
    """That is about the worker, whose contract was changed, and its line says what to do."""
    judging = judging_of([], Backlog(pieces=0))

    def applying(*_record: Any) -> Iterator[None]:
        raise ForeignRulesError("a changed contract is a new run")

    judging._seats[0].judge.applying = applying  # type: ignore[method-assign]
    with pytest.raises(ForeignRulesError):
        asyncio.run(judging.take(chunk()))


def test_while_a_backlog_is_closed_no_partition_need_get_on() -> None:
    """That takes as long as it takes, and the others wait for it; nobody may take that for standing still."""
    judging = judging_of([], Backlog(pieces=20), Backlog(pieces=0, partition=1))

    async def run() -> None:
        taking = asyncio.create_task(judging.take(chunk()))
        await asyncio.sleep(0)
        assert judging.positions() == {}
        await taking
        assert judging.positions() == {0: 0, 1: 0}

    asyncio.run(run())
