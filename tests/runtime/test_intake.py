"""The acknowledged position of a source partition advances in order, and barriers tell the truth."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import UnknownTopicOrPartitionError
from faust.types import TP

from cutover_app.kafka.errors import AccessRefused, KafkaUnavailable
from cutover_app.kafka.settings import Broker
from cutover_app.lab.cluster import Cluster
from cutover_app.runtime import intake as module
from cutover_app.runtime.intake import IntakeSender

SOURCE = TP("source", 0)
OTHER = TP("source", 1)


class Producer:
    """Acknowledges when told to, in any order."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes, asyncio.Future[Any]]] = []
        self.keys: list[bytes | None] = []

    async def send(self, _topic: str, value: bytes, *, key: bytes | None, partition: int) -> asyncio.Future[Any]:
        """Queue."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.sent.append((partition, value, future))
        self.keys.append(key)
        return future

    async def land(self, number: int) -> None:
        """Acknowledge the n-th."""
        self.sent[number][2].set_result(SimpleNamespace(offset=100 + number))
        for _ in range(5):
            await asyncio.sleep(0)


def sender(incarnation: Callable[[], str] = str) -> tuple[IntakeSender, Producer, list[tuple[TP, int]]]:
    acked: list[tuple[TP, int]] = []
    made = IntakeSender(
        Broker(("nowhere:1",)),
        name="t",
        topic="intake",
        on_acked=lambda tp, end: acked.append((tp, end)),
        incarnation=incarnation,
    )
    made._producer = producer = Producer()
    return made, producer, acked


@pytest.mark.parametrize(("incarnation", "key"), [("id-1", b"id-1"), ("", None)])
def test_a_frame_says_which_topic_it_was_made_for(incarnation: str, key: bytes | None) -> None:
    """Kafka takes it by the topic's name, whatever became of the topic meanwhile."""

    async def run() -> list[bytes | None]:
        made, producer, _ = sender(lambda: incarnation)
        await made.send(SOURCE, 10, [(0, b"a"), (1, b"b")])
        return producer.keys

    assert asyncio.run(run()) == [key, key]


def test_positions_advance_in_order() -> None:
    """A later chunk that is acknowledged first waits for the earlier one; other partitions do not wait."""

    async def run() -> None:
        made, producer, acked = sender()
        await made.send(SOURCE, 10, [(0, b"a"), (1, b"b")])
        await made.send(SOURCE, 20, [(0, b"c")])
        await made.send(OTHER, 5, [(1, b"d")])
        await producer.land(2)
        await producer.land(0)
        assert acked == []
        await producer.land(3)
        assert acked == [(OTHER, 5)]
        await producer.land(1)
        assert acked == [(OTHER, 5), (SOURCE, 20)]

    asyncio.run(run())


def test_an_empty_chunk_waits_for_what_came_before() -> None:
    """A chunk without frames moves the position, but never past frames that are still under way."""

    async def run() -> None:
        made, producer, acked = sender()
        await made.send(SOURCE, 10, [(0, b"a")])
        await made.send(SOURCE, 11, [])
        await asyncio.sleep(0)
        assert acked == []
        await producer.land(0)
        assert acked == [(SOURCE, 11)]

    asyncio.run(run())


def test_a_barrier_follows_what_it_counts() -> None:
    """What was accounted for before a barrier was built is handed over before it, even while a send is waiting."""

    async def run() -> None:
        made, producer, _acked = sender()
        counted: list[str] = []
        first = asyncio.create_task(made.send(SOURCE, 10, [(0, b"a"), (0, b"b")], lambda: counted.append("chunk")))
        barrier = asyncio.create_task(made.send_barriers(lambda: {1: b"1", 0: f"after {len(counted)}".encode()}))
        await first
        await asyncio.sleep(0)
        assert [value for _partition, value, _future in producer.sent] == [b"a", b"b", b"after 1", b"1"]
        for number in range(4):
            await producer.land(number)
        assert await barrier == [102, 103], "offsets in the order of partitions"

    asyncio.run(run())


def test_too_much_in_flight_holds_the_agent(monkeypatch: Any) -> None:
    """Bytes under way are bounded: `send` returns only when enough has landed."""
    monkeypatch.setattr(module, "FLIGHT_BYTES_MAX", 5)

    async def run() -> None:
        made, producer, acked = sender()
        await made.send(SOURCE, 1, [(0, b"12345")])
        held = asyncio.create_task(made.send(SOURCE, 2, [(0, b"6")]))
        await asyncio.sleep(0.01)
        assert not held.done()
        await producer.land(0)
        await asyncio.wait_for(held, 1)
        assert acked == [(SOURCE, 1)]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (AccessRefused("the token has expired: see security.sasl"), "see security.sasl"),
        (KafkaUnavailable(["nowhere:1"], "nobody"), "no broker has known topic intake for 30 s: was it deleted?"),
    ],
)
def test_an_intake_that_nobody_knows_is_told(monkeypatch: pytest.MonkeyPatch, found: Exception, line: str) -> None:
    """A refused token looks like a cluster without topics: the line says which of the two it is."""
    said: list[str] = []

    async def unknown(*_args: Any, **_options: Any) -> None:
        raise UnknownTopicOrPartitionError

    async def looked(*_args: Any, **_options: Any) -> Exception:
        return found

    made, producer, _ = sender()
    monkeypatch.setattr(producer, "send", unknown)
    monkeypatch.setattr(module, "unavailable", looked)
    monkeypatch.setattr(module, "die", lambda reason: said.append(str(reason)))
    asyncio.run(made._send(0, b"frame"))
    assert [line in each for each in said] == [True]


def test_frames_arrive_in_order(kafka: Cluster, topic: Callable[..., str]) -> None:
    """Through a real broker: offsets of barriers ascend, and everything is acknowledged before the stop returns."""
    name = topic("intake", partitions=2)
    acked: list[int] = []

    async def run() -> list[list[int]]:
        made = IntakeSender(
            Broker.parse(kafka.bootstrap), name="t", topic=name, on_acked=lambda _tp, end: acked.append(end)
        )
        await made.start()
        offsets = []
        for number in range(20):
            await made.send(SOURCE, number + 1, [(number % 2, b"x" * 1000)])
            offsets.append(await made.send_barriers(lambda: {0: b"barrier", 1: b"barrier"}))
        await made.stop()
        return offsets

    offsets = asyncio.run(run())
    assert offsets == sorted(offsets)
    assert offsets[-1] == [29, 29]
    assert acked == sorted(acked)
    assert acked[-1] == 20
