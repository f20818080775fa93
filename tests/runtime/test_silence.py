"""A cancellation that nobody asked for, and a question that takes too long: neither ends anything in silence."""

import asyncio
import logging
from typing import Any

import pytest
from faust.tables.recovery import RebalanceAgain, Recovery, ServiceStopped

from cutover_app.runtime import fatal
from cutover_app.runtime.fatal import cancelled_by_nobody
from cutover_app.runtime.recovery import BatchRecovery


@pytest.mark.parametrize(("asked", "over", "dies"), [(False, False, True), (True, False, False), (False, True, False)])
def test_who_is_cancelled_by_nobody_ends_the_process(
    asked: bool, over: bool, dies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mode would take it for a stop; whoever is stopped, or has nothing left to do, just ends."""
    died: list[Any] = []
    monkeypatch.setattr(fatal, "die", died.append)

    async def work() -> None:
        with cancelled_by_nobody(lambda: over):
            if asked:
                await asyncio.sleep(60)
            raise asyncio.CancelledError

    async def play() -> None:
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        if asked:
            task.cancel()
        await asyncio.wait([task])

    asyncio.run(play())
    assert bool(died) is dies


@pytest.mark.parametrize(("stops", "raised"), [(False, RebalanceAgain), (True, ServiceStopped)])
def test_a_recovery_that_nobody_answers_begins_again(
    stops: bool, raised: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mode calls a question that has timed out a stop, and Faust would never recover anything any more."""

    async def too_long(*_args: Any) -> None:
        raise ServiceStopped

    monkeypatch.setattr(Recovery, "_wait", too_long)
    monkeypatch.setattr(BatchRecovery, "should_stop", stops)
    monkeypatch.setattr(BatchRecovery, "log", logging.getLogger("test"), raising=False)

    async def play() -> bool:
        recovery, signal = BatchRecovery.__new__(BatchRecovery), asyncio.Event()
        monkeypatch.setattr(BatchRecovery, "signal_recovery_start", signal)
        with pytest.raises(raised):
            await recovery._wait(None, 30.0)
        return signal.is_set()

    assert asyncio.run(play()) is not stops
