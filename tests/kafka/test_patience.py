"""How long a cluster that is away is waited for."""

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import GroupAuthorizationFailedError, KafkaConnectionError, NodeNotReadyError

from cutover_app.kafka import cluster as module
from cutover_app.kafka.cluster import patiently
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
    assert bool(closed) is not cancelled
