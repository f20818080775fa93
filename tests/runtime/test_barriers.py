"""A heart beats as long as it has something to say, and is missed when it does not."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from cutover_app.runtime import barriers, fatal
from cutover_app.runtime.barriers import OVERDUE_INTERVALS, Barriers


class DeadError(Exception):
    """The process would have ended."""


def heart(
    after: Any,
    *,
    partitions: frozenset[int] = frozenset({0}),
    beaten_at: float | None = None,
    taken_at: float = 0.0,
    rest: Any = None,
) -> Barriers:
    """Return a heart of a hundred beats a second, and what follows each."""

    async def send_barriers(_build: Any) -> list[int]:
        return [0]

    sender = SimpleNamespace(send_barriers=send_barriers, beaten_at=beaten_at)
    sampling = SimpleNamespace(barrier_acked=len)
    stage: Any = SimpleNamespace(partitions=partitions, sender=sender, sampling=sampling, taken_at=taken_at)
    return Barriers(stage, SimpleNamespace(after=after, rest=rest), interval=0.01, build=dict)  # type: ignore[arg-type]


def test_a_heart_that_somebody_else_cancels_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mode would end the task in silence, and nothing that waits for a barrier would ever be closed."""
    died: list[Any] = []

    def die(reason: Any) -> None:
        died.append(reason)
        raise DeadError

    async def after(_offsets: Any) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(fatal, "die", die)
    monkeypatch.setattr(barriers, "die", die)

    async def play() -> None:
        each = heart(after)
        await each.start()
        async with asyncio.timeout(2):
            while not died:  # noqa: ASYNC110 - mode has no event for it
                await asyncio.sleep(0.01)

    asyncio.run(play())
    assert "was cancelled, and nobody cancelled it" in died[0]


@pytest.mark.parametrize(
    ("partitions", "beaten", "taken", "overdue"),
    [
        ((0,), None, 2.0, True),
        ((0,), 2.0, 9.0, True),
        ((0,), 0.0, 9.0, False),
        ((0,), 9.0, 0.0, False),
        ((), None, 9.0, False),
    ],
    ids=["never", "long ago", "just now", "just taken over", "nothing is read"],
)
def test_a_barrier_is_overdue_after_some_intervals(
    partitions: tuple[int, ...], beaten: float | None, taken: float, overdue: bool
) -> None:
    """Where something is read; how long it may last is for `core/liveness.py` to say."""
    now, limit = time.monotonic(), OVERDUE_INTERVALS * 0.01
    at = None if beaten is None else now - beaten * limit
    each = heart(None, partitions=frozenset(partitions), beaten_at=at, taken_at=now - taken * limit)
    assert each.overdue is overdue


def test_a_heart_without_partitions_says_that_it_rests() -> None:
    """What a mirror's sampler has seen gets old while it looks at nothing."""
    rested = asyncio.Event()

    async def play() -> None:
        each = heart(None, partitions=frozenset(), rest=rested.set)
        await each.start()
        async with asyncio.timeout(2):
            await rested.wait()

    asyncio.run(play())
