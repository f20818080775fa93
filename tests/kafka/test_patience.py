"""How long a cluster that is away is waited for."""

import asyncio
import gc
import random
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import GroupAuthorizationFailedError, KafkaConnectionError, NodeNotReadyError

from cutover_app.kafka import cluster as module
from cutover_app.kafka.cluster import Cluster, answering, patiently
from cutover_app.kafka.errors import KafkaUnavailable
from cutover_app.kafka.reading import onlooker
from cutover_app.kafka.settings import Broker


def test_a_broker_that_is_away_for_a_moment_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as anybody wants to know, and not for ever; what will not change is no reason to wait."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    asked: list[Exception | int] = []

    def answers(*given: Exception | int) -> Callable[[], Awaitable[int]]:
        asked[:] = given

        async def ask() -> int:
            answer = asked.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return ask

    away = KafkaUnavailable(["a:1"], "nobody")
    assert asyncio.run(patiently(answers(away, NodeNotReadyError(), TimeoutError(), 7))) == 7
    with pytest.raises(GroupAuthorizationFailedError):
        asyncio.run(patiently(answers(GroupAuthorizationFailedError("g"), 7)))
    with pytest.raises(KafkaUnavailable):
        asyncio.run(patiently(answers(away, 7), wanted=lambda: False))
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(KafkaUnavailable):
        asyncio.run(patiently(answers(away, 7)))


def test_who_could_not_connect_leaves_nothing_behind() -> None:
    """A consumer that was not let in is closed, and nobody reads of an unclosed one afterwards."""
    told: list[str] = []

    async def play() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
        with pytest.raises(KafkaConnectionError):
            await onlooker(Broker.parse("127.0.0.1:1"), "test").start()
        gc.collect()

    asyncio.run(play())
    assert told == []


@pytest.mark.parametrize("cancelled", [False, True], ids=["aiokafka cancels a fetch of its own", "it is cancelled"])
def test_whoever_closes_a_consumer_is_cancelled_by_nobody_but_its_owner(
    cancelled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fetch that waits to be tried again is cancelled when the consumer closes, and aiokafka lets that out."""
    closed: list[bool] = []

    async def stop(_self: object) -> None:
        await asyncio.sleep(0)
        raise asyncio.CancelledError

    async def close() -> None:
        closed.append(True)

    monkeypatch.setattr(AIOKafkaConsumer, "stop", stop)

    async def play() -> None:
        consumer = onlooker(Broker.parse("127.0.0.1:1"), "test")
        monkeypatch.setattr(consumer._client, "close", close)
        stopping = asyncio.create_task(consumer.stop())
        await asyncio.sleep(0)
        if cancelled:
            stopping.cancel()
            with pytest.raises(asyncio.CancelledError):
                await stopping
        else:
            await stopping
        consumer._closed = True  # or it would complain

    asyncio.run(play())
    assert closed == [True]


class Doors:
    """A cluster of which one address is mute."""

    def __init__(self, mute: str, *, slow: float = 0.0) -> None:
        self.mute = mute
        self.slow = slow
        self.tried: list[str] = []

    def client(self, *, bootstrap_servers: list[str], **_options: object) -> "Door":
        """Make a client, as aiokafka does."""
        return Door(self, bootstrap_servers)


class Door:
    """A client of that cluster."""

    def __init__(self, doors: Doors, servers: list[str]) -> None:
        self._doors, self._servers = doors, servers
        self.cluster = SimpleNamespace(brokers=lambda: {1})

    async def bootstrap(self) -> None:
        """Connect to the only address."""
        (server,) = self._servers
        self._doors.tried.append(server)
        await asyncio.sleep(self._doors.slow or 60 * (server == self._doors.mute))

    async def close(self) -> None:
        """Disconnect."""


def test_a_mute_broker_of_several_is_passed_by_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is lost refuses nothing: who waited for it would use up all the time that there is."""
    doors = Doors("a:1")
    monkeypatch.setattr(module, "AIOKafkaClient", doors.client)
    monkeypatch.setattr(module, "MUTE_SECONDS", 0.02)
    monkeypatch.setattr(module, "_doors", {})
    monkeypatch.setattr(random, "shuffle", list.sort)
    broker = Broker.parse("a:1,b:1,c:1")

    async def play() -> None:
        async with asyncio.timeout(2):
            assert (await answering(broker)).servers == ("b:1",)
            async with Cluster(broker):
                pass

    asyncio.run(play())
    assert doors.tried == ["a:1", "b:1", "b:1"]


def test_who_could_not_wait_for_a_mute_broker_lets_the_next_one_begin_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has let us in before, and is tried first; whoever asks may have less time than it is given."""
    doors = Doors("a:1")
    broker = Broker.parse("a:1,b:1,c:1")
    monkeypatch.setattr(module, "AIOKafkaClient", doors.client)
    monkeypatch.setattr(module, "_doors", {broker.way: "a:1"})
    monkeypatch.setattr(random, "shuffle", lambda servers: servers.sort(reverse=True))

    async def play() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await answering(broker)
        assert (await answering(broker)).servers == ("c:1",)

    asyncio.run(play())
    assert doors.tried == ["a:1", "c:1"]


def test_brokers_that_are_only_slow_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of several is tried again with what time there is."""
    doors = Doors("a:1", slow=0.1)
    monkeypatch.setattr(module, "AIOKafkaClient", doors.client)
    monkeypatch.setattr(module, "MUTE_SECONDS", 0.02)
    monkeypatch.setattr(module, "_doors", {})
    broker = Broker.parse("a:1,b:1", request_timeout=2.0)
    assert asyncio.run(answering(broker)).servers[0] in broker.servers
    assert len(doors.tried) > len(broker.servers)
