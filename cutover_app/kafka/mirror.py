"""Samples a copy only when it is proven complete: the I/O of R1.5, beside the heartbeat and never in its way.

`after` takes note of a barrier and returns. A task of its own reads how far the mirror is, asks the legacy cluster
where its topic ends, looks behind a position that stands still, and asks the copy for its ends when `mirror/proof.py`
says for which barrier. Barriers that pass meanwhile are passed over: the newest is the next.

Where the legacy cluster or the mirror's positions cannot be read, and for longer than `UNREADABLE_SECONDS`, the copy
alone is sampled and what is vouched for is no longer *proven*. A mirror that merely stalls is waited for.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from aiokafka.errors import KafkaError

from cutover_app.contract.models import Contract, Mirror
from cutover_app.core.sampling import Sampling
from cutover_app.core.standing import UNKNOWN_END, Uncopied
from cutover_app.kafka.clusters import ASK_SECONDS, legacy_broker, work_broker
from cutover_app.kafka.errors import KafkaUnavailable, MirrorUnreadable
from cutover_app.kafka.headers import header_damage
from cutover_app.kafka.legacy_log import LegacyTopic
from cutover_app.kafka.mirror_offsets import MirrorOffsets
from cutover_app.kafka.samplers import EndSampler, Sample
from cutover_app.mirror.proof import Behind, Lost, Proof

UNREADABLE_SECONDS: Final = 30.0
"""How long the mirror's state may be unknown before the copy is taken as it is, unproven."""
STALLED_SECONDS: Final = 70.0
"""A partition that the mirror has not brought up for this long is told about; Connect tells positions every 60 s."""
LOOK_SECONDS: Final = 2.0
"""How long one turn may read the legacy log behind positions that stand still."""
RETRY_SECONDS: Final = 2.0

log = logging.getLogger(__name__)

FAILURES: Final = (KafkaError, KafkaUnavailable, MirrorUnreadable, TimeoutError, OSError)


class MirrorSampler:
    """Tells a sender's `Sampling` where the copy ends, each time for the barrier to which that belongs."""

    def __init__(
        self,
        sampling: Sampling,
        *,
        topic: str,
        copy: tuple[EndSampler, EndSampler],
        legacy: LegacyTopic,
        offsets: MirrorOffsets,
        partitions: Callable[[], Collection[int]],
        lost: Callable[[int, Uncopied], None] | None = None,
        read_to_ms: Callable[[], Mapping[int, int]] = dict,
        sound: Callable[[Sample, Mapping[int, int]], bool] = lambda _sample, _before: True,
        headers: Callable[[], Awaitable[str]] | None = None,
        unreadable_seconds: float = UNREADABLE_SECONDS,
        stalled_seconds: float = STALLED_SECONDS,
    ) -> None:
        """`copy` samples the copy `topic`, with a connection for each of the two who ask: the task, and the heartbeat.

        `partitions` are those that this worker reads; `lost` is told what was deleted before it was copied, of
        whichever partition, and `read_to_ms` says of when the last record is that was read of those that are; a sample
        of the copy that is not `sound`, given the positions when it was asked for, is of another topic; `headers` says,
        once, what the mirror does to headers.
        """
        self.behind: list[Behind] = []
        """Partitions of which the mirror has still to copy something, the worst first."""
        self.trouble = ""
        """Why the mirror's state is not known; empty where it is."""
        self._sampling = sampling
        self._topic = topic
        self._copy, self._copy_alone = copy
        self._legacy = legacy
        self._offsets = offsets
        self._partitions = partitions
        self._lost = lost
        self._read_to_ms = read_to_ms
        self._before_ms: Mapping[int, int] = {}
        """The same as it was before the last look: what that did not find lost was there when this was read."""
        self._untold: list[tuple[Lost, int | None]] = []
        """What is lost and not told yet, and since when it was written."""
        self._sound = sound
        self._headers = headers
        self._beside: asyncio.Task[None] | None = None
        self._patience = unreadable_seconds
        self._stalled_seconds = stalled_seconds
        self._proof = Proof()
        self._resting_since: float | None = None
        self._barrier: Sequence[int] = ()
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._trouble_since: float | None = None
        self._level: dict[int, float] = {}
        self._said = "level"

    @property
    def proven(self) -> bool:
        """Whether the copy is sampled only where it is proven complete; False after too long a time in trouble."""
        return self._trouble_since is None or time.monotonic() - self._trouble_since < self._patience

    @property
    def reason(self) -> str:
        """Why a close may wait, or is not proven, in one line; empty where all is well."""
        return self._state()[1]

    async def after(self, barrier: Sequence[int]) -> None:
        """Take note of a barrier that all intake partitions have acknowledged."""
        self._barrier = tuple(barrier)
        self._due.set()
        if self._task is None:
            self._task = asyncio.create_task(self._prove_forever(), name="mirror-proof")
        elif self._task.done():
            self._task.result()  # raises what was not foreseen
        if not self.proven:
            await self._sample_alone()
        self._tell()

    def rest(self) -> None:
        """Nobody looks here from now on, until the next barrier."""
        self._resting_since = self._resting_since or time.monotonic()

    async def close(self) -> None:
        """Disconnect."""
        tasks = [task for task in (self._task, self._beside) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._task = self._beside = None
        for each in (self._copy, self._copy_alone, self._legacy, self._offsets):
            await each.close()

    async def _prove_forever(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                await self._prove(self._barrier)
            except FAILURES as error:
                self._trouble_since = self._trouble_since or time.monotonic()
                self.trouble = line_of(error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._trouble_since, self.trouble = None, ""

    async def _prove(self, barrier: Sequence[int]) -> None:
        """One look, and a sample of the copy for what it has proven."""
        self._wake()
        read_to_ms = self._read_to_ms()
        positions = await self._ask(self._offsets.read(), self._offsets)
        legacy = await self._ask(self._legacy.log(), self._legacy)
        proof = self._proof
        proof.observe(barrier, legacy, positions)
        self._untold += [(gone, self._before_ms.get(gone.partition)) for gone in proof.take_lost()]
        self._before_ms = read_to_ms
        await self._look(self._partitions())
        ready, before = proof.ready(), self._sampling.positions()
        copy = await self._ask(self._copy.sample(self._topic), self._copy)
        if not self._sound(copy, before):
            return
        proof.asked(ready)
        # Before anything is vouched for: an edge goes with or before the barrier that vouches beyond it.
        while self._untold:
            await self._tell_lost(*self._untold.pop(0))
        # What only the copy has is nothing that the mirror brings: there is nothing to wait for.
        ready |= {number: tuple(barrier) for number in copy.ends if not proof.has(number)}
        partitions = max(copy.partitions, proof.partitions)
        self._sampling.sampled({}, partitions, barrier)
        for number, proven in ready.items():
            if number in copy.ends:
                self._sampling.sampled({number: copy.ends[number]}, partitions, proven)
        self._note_behind(ready)
        if self._headers is not None and self._beside is None and any(copy.ends.values()):
            self._beside = asyncio.create_task(self._compare_headers(), name="mirror-headers")

    def _wake(self) -> None:
        """Forget what was seen before a long rest: others have looked since, and what has gone meanwhile is no loss.

        A rebalance is a short one. Who forgot then would not know what went during it, nor since when.
        """
        since, self._resting_since = self._resting_since, None
        if since is not None and time.monotonic() - since > self._stalled_seconds:
            self._proof, self._before_ms = Proof(self._proof.topic_id), {}

    async def _ask(self, question: Awaitable[Any], whom: Any) -> Any:
        """Ask with a deadline; whoever failed is connected to anew."""
        try:
            async with asyncio.timeout(ASK_SECONDS):
                return await question
        except FAILURES:
            await whom.close()
            raise

    async def _look(self, mine: Collection[int]) -> None:
        """Read behind the positions that stand still, for a bounded time."""
        began = time.monotonic()
        for look in self._proof.looks(mine):
            left = began + LOOK_SECONDS - time.monotonic()
            if left <= 0:
                return
            clear, found = await self._ask(self._legacy.look(look, left), self._legacy)
            self._proof.looked(look, clear, found=found)

    async def _sample_alone(self) -> None:
        before = self._sampling.positions()
        try:
            async with asyncio.timeout(ASK_SECONDS):
                copy = await self._copy_alone.sample(self._topic)
        except FAILURES as error:
            log.warning("no end offsets of %s: %r", self._topic, error)
            return
        if self._sound(copy, before):
            partitions = max(copy.partitions, self._proof.partitions)
            self._sampling.sampled(copy.ends, partitions, self._barrier, proven=False)

    async def _tell_lost(self, gone: Lost, from_ms: int | None) -> None:
        """Tell of a range at once, whatever fails: there is no second time."""
        log.warning(
            "the legacy cluster deleted offsets %s of partition %d of %s before the mirror had told that it copied "
            "them",
            f"from {gone.start} on" if gone.end == UNKNOWN_END else f"{gone.start} to {gone.end - 1}",
            gone.partition,
            self._topic,
        )
        if self._lost is None:
            return
        next_ms = None
        if gone.end < UNKNOWN_END:
            with suppress(*FAILURES):
                next_ms = await self._ask(self._legacy.time_at(gone.partition, gone.end), self._legacy)
        now_ms = int(time.time() * 1000)
        next_ms = now_ms if next_ms is None else next_ms
        self._lost(gone.partition, Uncopied(gone.start, gone.end, next_ms, from_ms, gone.topic_id))

    async def _compare_headers(self) -> None:
        """Once, and never in the way of a proof."""
        assert self._headers is not None
        try:
            if damage := await self._headers():
                log.warning("%s", damage)
        except FAILURES as error:
            log.info("the headers of the copy were not compared: %s", line_of(error))

    def _note_behind(self, ready: Collection[int]) -> None:
        self.behind = [each for each in self._proof.behind() if each.partition in self._partitions()]
        now, late = time.monotonic(), {each.partition for each in self.behind}
        for number in range(self._proof.partitions):
            if number in ready or number not in late or number not in self._level:
                self._level[number] = now

    def _state(self) -> tuple[str, str]:
        """Return what the state is called, and the line that says it."""
        if not self.proven:
            return "unproven", f"the mirror of {self._topic} is not proven: {self.trouble}"
        if self.trouble:
            return "unreadable", f"the mirror of {self._topic} cannot be read: {self.trouble}"
        if unbelievable := self._proof.unbelievable():
            return "unbelievable", (
                f"the mirror's position is beyond the end of partition {unbelievable[0]} of the legacy topic, which "
                "was made anew or cut short: waiting for the position that the mirror tells next"
            )
        for each in self.behind:
            if time.monotonic() - self._level.get(each.partition, 0.0) > self._stalled_seconds:
                return "stalled", f"the mirror is {each.records:,} records behind on partition {each.partition}"
        return "level", ""

    def _tell(self) -> None:
        """One line when the state changes, not one per beat."""
        state, line = self._state()
        if state == self._said:
            return
        if line:
            log.warning("%s", line)
        else:
            log.info("the mirror of %s keeps up", self._topic)
        self._said = state


def legacy_topic(contract: Contract) -> LegacyTopic:
    """Return the topic that a contract's mirror copies."""
    mirror, broker = contract.legacy.mirror, legacy_broker(contract, request_timeout=ASK_SECONDS)
    assert isinstance(mirror, Mirror)
    assert broker is not None
    return LegacyTopic(broker, contract.legacy.original, isolation=mirror.isolation)


def mirror_offsets(contract: Contract) -> MirrorOffsets:
    """Return the positions of a contract's mirror."""
    mirror, copy = contract.legacy.mirror, contract.legacy.topic
    assert isinstance(mirror, Mirror)
    work = work_broker(contract, request_timeout=ASK_SECONDS)
    return MirrorOffsets(work, source=contract.legacy.original, copy=copy, topic=mirror.offsets)


def mirror_sampler(
    contract: Contract,
    sampling: Sampling,
    partitions: Callable[[], Collection[int]],
    *,
    lost: Callable[[int, Uncopied], None] | None = None,
    read_to_ms: Callable[[], Mapping[int, int]] = dict,
    sound: Callable[[Sample, Mapping[int, int]], bool] = lambda _sample, _before: True,
) -> MirrorSampler:
    """Return the sampler of a contract whose legacy topic is a copy."""
    work = work_broker(contract)
    return MirrorSampler(
        sampling,
        topic=contract.legacy.topic,
        copy=(EndSampler(work), EndSampler(work)),
        legacy=legacy_topic(contract),
        offsets=mirror_offsets(contract),
        partitions=partitions,
        lost=lost,
        read_to_ms=read_to_ms,
        sound=sound,
        headers=lambda: header_damage(contract),
    )


def line_of(error: BaseException) -> str:
    """Say in one line why a mirror's state is not known."""
    name = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
    text = " ".join(str(error).split())
    return text if isinstance(error, KafkaUnavailable | MirrorUnreadable) else f"{name} {text}".strip()
