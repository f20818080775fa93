"""The reader of a legacy cluster: what a rebalance does to a fetch that is under way, and who stays in the group."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from faust.types import TP

from cutover_app.kafka.errors import KafkaUnavailable
from cutover_app.kafka.settings import Broker
from cutover_app.lab.cluster import Cluster
from cutover_app.runtime import direct
from cutover_app.runtime.chunks import Chunk
from cutover_app.runtime.direct import DirectReader

PLACE = TP("legacy", 0)
PATIENCE_SECONDS = 20.0


class Forwarding:
    """A forwarder that is where its side stands, and keeps what it takes."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.taken: list[tuple[int, int, int]] = []
        self.while_assigning: Any = None
        self.unanswered = 0
        """How often nobody says where it stands."""

    async def starts(self, tps: Iterable[TP]) -> dict[TP, int]:
        """All of them where it stands."""
        if self.unanswered:
            self.unanswered -= 1
            raise KafkaUnavailable(["127.0.0.1:1"], "it is started again")
        return dict.fromkeys(tps, self.position)

    async def assigned(self, positions: Mapping[TP, int]) -> None:
        """Have something happen meanwhile."""
        if self.while_assigning is not None:
            await self.while_assigning()

    async def revoked(self) -> None:
        """Nothing is under way."""

    async def take(self, chunk: Chunk) -> None:
        """Keep it."""
        self.taken.append((chunk.after, chunk.start, chunk.end))
        self.position = chunk.end


class Consuming:
    """The log and the position of one partition."""

    def __init__(self) -> None:
        self.position = -1
        self._coordinator = SimpleNamespace(_start_heartbeat_task=lambda: None)

    def seek(self, _place: object, offset: int) -> None:
        """Go there."""
        self.position = offset

    def run(self, end: int) -> dict[TP, list[Chunk]]:
        """Take a run off the buffers, as a fetch does."""
        start, self.position = self.position, end
        return {PLACE: [Chunk(PLACE, start, end, (), size=0, readable=end)]}


async def confirmed() -> None:
    """The run is the one that it was."""


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> DirectReader:
    """Return a reader without a cluster that stands at 549."""
    made = DirectReader(Broker.parse("127.0.0.1:1"), topic=PLACE.topic, group="g")
    made.forwarder = Forwarding(549)  # type: ignore[assignment]
    made.confirm_run = confirmed
    made._consumer = Consuming()
    made._moved_next = float("inf")

    async def no_commit() -> None:
        """There is no cluster."""

    monkeypatch.setattr(made, "_commit", no_commit)
    return made


def test_what_a_fetch_takes_of_the_next_assignment_is_forwarded(
    reader: DirectReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fetch that began before a rebalance and ends after it has read on: its records are not dropped as stale."""

    async def through_a_rebalance(*_args: object) -> dict[TP, list[Chunk]]:
        await reader.on_partitions_revoked([PLACE])
        await reader.on_partitions_assigned([PLACE])
        return reader._consumer.run(551)

    async def read() -> None:
        await reader.on_partitions_assigned([PLACE])
        with monkeypatch.context() as patched:
            patched.setattr(direct, "fetch_chunks", through_a_rebalance)
            await reader._read()

    asyncio.run(read())
    assert reader.forwarder.taken == [(549, 549, 551)]  # type: ignore[attr-defined]


def test_what_a_fetch_takes_between_two_assignments_is_read_again(
    reader: DirectReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until everything is known of a partition nothing of it goes out; then it is read from where it stands."""
    fetched = asyncio.Event()
    assigning = asyncio.Event()

    async def meanwhile(*_args: object) -> dict[TP, list[Chunk]]:
        await assigning.wait()
        return reader._consumer.run(560)

    async def on(*_args: object) -> dict[TP, list[Chunk]]:
        return reader._consumer.run(570)

    async def wait_for_the_fetch() -> None:
        assigning.set()
        await fetched.wait()

    async def read() -> None:
        await reader.on_partitions_assigned([PLACE])
        monkeypatch.setattr(direct, "fetch_chunks", meanwhile)
        reading = asyncio.create_task(reader._read())
        await asyncio.sleep(0)
        await reader.on_partitions_revoked([PLACE])
        reader.forwarder.while_assigning = wait_for_the_fetch  # type: ignore[attr-defined]
        taking = asyncio.create_task(reader.on_partitions_assigned([PLACE]))
        await reading
        fetched.set()
        await taking
        monkeypatch.setattr(direct, "fetch_chunks", on)
        await reader._read()

    asyncio.run(read())
    assert reader.forwarder.taken == [(549, 549, 570)]  # type: ignore[attr-defined]


def test_a_broker_that_is_away_while_partitions_change_hands_is_asked_again(
    reader: DirectReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that is just started again ends nobody: where the group stands is asked until somebody answers."""
    monkeypatch.setattr(direct, "die", lambda reason: pytest.fail(str(reason)))
    reader.forwarder.unanswered = 2  # type: ignore[attr-defined]
    asyncio.run(reader.on_partitions_assigned([PLACE]))
    assert reader.tenure is not None
    assert reader._consumer.position == 549


def test_a_broker_that_is_away_is_no_concern_of_who_has_left(
    reader: DirectReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is told to stop meanwhile asks no more, and ends in good order."""
    monkeypatch.setattr(direct, "die", lambda reason: pytest.fail(str(reason)))
    reader.forwarder.unanswered = 10**9  # type: ignore[attr-defined]

    async def leave_meanwhile() -> None:
        taking = asyncio.create_task(reader.on_partitions_assigned([PLACE]))
        await asyncio.sleep(0)
        await reader._leave()
        async with asyncio.timeout(5.0):
            await taking

    asyncio.run(leave_meanwhile())
    assert reader.tenure is None


def test_a_reader_that_has_nothing_to_fetch_stays_in_its_group(
    kafka: Cluster, topic: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a partition, or with its only one held: twice as long as aiokafka waits for a fetch, nobody leaves."""
    name, idle_ms = topic("direct"), 1_500
    monkeypatch.setattr(direct, "AIOKafkaConsumer", partial(AIOKafkaConsumer, max_poll_interval_ms=idle_ms))

    def reader() -> DirectReader:
        made = DirectReader(Broker.parse(kafka.bootstrap), topic=name, group=f"group-of-{name}")
        made.forwarder = Forwarding(0)  # type: ignore[assignment]
        made.confirm_run = confirmed
        return made

    async def play() -> tuple[list[int | None], list[int | None]]:
        readers = [reader(), reader()]
        try:
            for each in readers:
                await each.start()
            async with asyncio.timeout(PATIENCE_SECONDS):
                while {len(each._open) if each._holds else None for each in readers} != {0, 1}:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            for each in readers:
                each.hold(name, [TP(name, 0)])
            before = [each.tenure for each in readers]
            await asyncio.sleep(2 * idle_ms / 1000)
            return before, [each.tenure for each in readers]
        finally:
            for each in readers:
                await each.stop()

    before, after = asyncio.run(play())
    assert after == before
