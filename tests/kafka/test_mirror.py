"""What a sampler of a copy does when one of those whom it asks does not answer; all of them are played."""

import asyncio
import time
from typing import Any

import pytest

from cutover_app.core.sampling import Sampling
from cutover_app.core.standing import Uncopied
from cutover_app.kafka.mirror import MirrorSampler
from cutover_app.kafka.samplers import Sample
from cutover_app.mirror.proof import LegacyLog, Range


class World:
    """Both clusters and the mirror: one partition, of which the mirror has copied four records."""

    def __init__(self) -> None:
        self.start = 0
        self.copied = 4

    async def read(self) -> dict[int, int]:
        """Return how far the mirror has told to be."""
        return {0: self.copied}

    async def log(self) -> LegacyLog:
        """Return what legacy has."""
        return LegacyLog("id", {0: self.start}, {0: 10})

    async def look(self, wanted: Range, _seconds: float) -> tuple[int, bool]:
        """Find a record to be copied."""
        return wanted.start, True

    async def time_at(self, _partition: int, _offset: int) -> int:
        """Do not answer in time."""
        raise TimeoutError

    async def sample(self, _topic: str) -> Sample:
        """Return what the copy has."""
        return Sample(1, {0: self.copied}, "copy")

    async def close(self) -> None:
        """Disconnect from nothing."""


def sampler_of(world: Any, **options: Any) -> MirrorSampler:
    """Return a sampler whose clusters, copy and mirror are all the same world."""
    return MirrorSampler(Sampling(), topic="orders", copy=(world, world), legacy=world, offsets=world, **options)


@pytest.mark.parametrize("mine", [(0,), ()], ids=["read here", "read by another worker"])
def test_what_was_never_copied_is_told_at_once(mine: tuple[int, ...]) -> None:
    """There is no second time: whoever reads the partition, and up to now where nobody says how young it was."""
    world: Any = World()
    told: list[tuple[int, Uncopied]] = []
    read_ms = {0: 500}
    sampler = sampler_of(
        world,
        partitions=lambda: mine,
        lost=lambda *gone: told.append(gone),
        read_to_ms=lambda: {number: read_ms[number] for number in mine},
    )

    async def play() -> None:
        for barrier, world.start in enumerate((0, 8)):
            await sampler.after([barrier])
            await asyncio.sleep(0.01)
            read_ms[0] = 9_000  # what was copied behind the gap may have been read before anybody has looked
        await sampler.close()

    began = int(time.time() * 1000)
    asyncio.run(play())

    ((partition, gone),) = told
    assert (partition, gone.start, gone.end, gone.from_ms) == (0, 4, 8, 500 if mine else None)
    assert began <= gone.next_ms <= time.time() * 1000


@pytest.mark.parametrize(
    ("rests", "long"),
    [(False, False), (True, False), (True, True)],
    ids=["it has looked all the time", "a rebalance was between", "others have looked for long"],
)
def test_what_went_while_nobody_looked_here_for_long_is_no_loss(rests: bool, long: bool) -> None:
    """Retention took what had been copied long ago; whoever has not looked since knows nothing of that."""
    world: Any = World()
    told: list[int] = []
    sampler = sampler_of(
        world,
        partitions=lambda: (0,),
        lost=lambda partition, _gone: told.append(partition),
        stalled_seconds=0.0 if long else 70.0,
    )

    async def play() -> None:
        await sampler.after([0])
        await asyncio.sleep(0.01)
        if rests:
            sampler.rest()
        world.start, world.copied = 8, 10
        await sampler.after([1])
        await asyncio.sleep(0.01)
        await sampler.close()

    asyncio.run(play())
    assert bool(told) is not long


def test_what_is_found_lost_is_told_whatever_comes_between() -> None:
    """The copy does not answer, partitions change hands, and who was asked for a time takes it: it is told once."""
    world: Any = World()
    told: list[tuple[int, int]] = []
    sampler = sampler_of(
        world,
        partitions=lambda: (0,),
        lost=lambda _partition, gone: told.append((gone.start, gone.end)),
        stalled_seconds=0.0,
    )
    answer, sample = asyncio.Event(), world.sample

    async def time_at(_partition: int, _offset: int) -> int:
        await answer.wait()
        return 1_000

    async def no_sample(_topic: str) -> Sample:
        raise TimeoutError

    async def play() -> None:
        await sampler.after([0])
        await asyncio.sleep(0.01)
        world.start, world.sample, world.time_at = 8, no_sample, time_at
        await sampler.after([1])
        await asyncio.sleep(0.01)
        world.sample, world.copied = sample, 10
        for barrier in (2, 3):
            sampler.rest()
            await sampler.after([barrier])
            await asyncio.sleep(2.1)  # it tries again after two seconds
        answer.set()
        await sampler.after([4])
        await asyncio.sleep(0.01)
        await sampler.close()

    asyncio.run(play())
    assert told == [(4, 8)]
