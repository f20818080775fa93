"""Stage one's way into the intake log.

Sound redelivery (R4) needs that whoever forwards a source partition forwards it in order, starts
where everything below is acknowledged, and stops at the first failed send. So: one idempotent
producer, whose sequence numbers let no later frame of an intake partition overtake a lost one;
every acknowledgement awaited, with a deadline; the first failure ends the process. Several chunks
may be in flight, but the acknowledged position of a source partition advances in order.

What a barrier says must be true of the log before it. So accounting, and the building of barriers,
happen while the sender holds its turn, in the order in which the frames are handed to the producer.
"""

import asyncio
import secrets
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError
from faust.types import TP

from cutover_app.core.frames import frame_key
from cutover_app.kafka.admin import MESSAGE_BYTES_MAX
from cutover_app.kafka.cluster import answering
from cutover_app.kafka.errors import AccessRefused
from cutover_app.kafka.refusal import unavailable
from cutover_app.kafka.settings import COMPRESSION, Broker
from cutover_app.runtime.failpoints import failpoint
from cutover_app.runtime.fatal import FatalError, die

BATCH_BYTES = 512 * 1024
#: A batch waits for more so long, unless it is full: sent one by one, live frames cost more than what is in them.
LINGER_MS = 100
#: Bytes that were taken from the source and not yet acknowledged by intake.
FLIGHT_BYTES_MAX = 32 * 1024 * 1024
DEADLINE_SECONDS = 30.0

Frames = Iterable[tuple[int, bytes]]


class _Flight:
    """One chunk's frames under way."""

    __slots__ = ("done", "end", "size")

    def __init__(self, end: int, size: int) -> None:
        self.end = end
        self.size = size
        self.done = False


class IntakeSender:
    """One per side and process start."""

    def __init__(
        self,
        broker: Broker,
        *,
        name: str,
        topic: str,
        on_acked: Callable[[TP, int], None],
        incarnation: Callable[[], str] = str,
    ) -> None:
        """`incarnation` is asked for the topic's id before the first frame; empty where nobody knows it."""
        #: Random per process start: a restarted worker is another sender (R2).
        self.sender_id = secrets.token_hex(8)
        self._broker = broker
        self._name = name
        self._topic = topic
        self._incarnation = incarnation
        self._on_acked = on_acked
        self._producer: Any = None
        self._turn = asyncio.Lock()
        self._flights: defaultdict[TP, deque[_Flight]] = defaultdict(deque)
        self._flying = 0
        self._landed = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.beats = 0
        """Barriers acknowledged by all of intake since this process started."""
        self.beaten_at: float | None = None
        """When the last one was, by the monotonic clock; None before the first."""

    @property
    def flying(self) -> int:
        """Bytes taken from the source and not yet acknowledged by intake."""
        return self._flying

    async def start(self) -> None:
        """Connect; safe to call again."""
        if self._producer is None:
            async with self._turn:
                await self._connect()

    async def _connect(self) -> None:
        if self._producer is not None:
            return
        broker = await answering(self._broker)
        producer = AIOKafkaProducer(
            **broker.client(f"{self._name}-{self.sender_id}") | {"request_timeout_ms": int(DEADLINE_SECONDS * 1000)},
            enable_idempotence=True,
            compression_type=COMPRESSION,
            max_batch_size=BATCH_BYTES,
            linger_ms=LINGER_MS,
            max_request_size=MESSAGE_BYTES_MAX,
        )
        try:
            await producer.start()
        except BaseException:  # one that has not started would only fail later, and say something else
            await producer.stop()
            raise
        self._producer = producer

    async def stop(self) -> None:
        """Wait for what is under way, and disconnect."""
        await self.flush()
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def send(self, source: TP, end: int, frames: Frames, account: Callable[[], None] | None = None) -> None:
        """Hand over the frames of a chunk that ends at source position `end`.

        Returns once they are queued, not acknowledged. `account` runs in the sender's turn: what
        it counts is in the log before any barrier that is built later.
        """
        async with self._turn:
            if account is not None:
                account()
            futures, size = [], 0
            for partition, frame in frames:
                size += len(frame)
                futures.append(await self._send(partition, frame))
            flight = _Flight(end, size)
            self._flights[source].append(flight)
            self._flying += size
            self._spawn(self._land(source, flight, futures))
        failpoint("intake.sent", source.partition)
        while self._flying > FLIGHT_BYTES_MAX:
            self._landed.clear()
            await self._landed.wait()

    async def send_barriers(self, build: Callable[[], Mapping[int, bytes]]) -> list[int]:
        """Build and send one frame per intake partition; return their offsets, by partition."""
        async with self._turn:
            frames = build()
            futures = [await self._send(partition, frames[partition]) for partition in sorted(frames)]
        offsets = [done.offset for done in await self._acknowledged(futures)]
        self.beats, self.beaten_at = self.beats + 1, time.monotonic()
        return offsets

    async def flush(self) -> None:
        """Wait until everything sent is acknowledged."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _land(self, source: TP, flight: _Flight, futures: list[Any]) -> None:
        await self._acknowledged(futures)
        failpoint("intake.landed", source.partition)
        flight.done = True
        self._flying -= flight.size
        self._landed.set()
        waiting = self._flights[source]
        end = None
        while waiting and waiting[0].done:
            end = waiting.popleft().end
        if end is not None:
            self._on_acked(source, end)

    async def _send(self, partition: int, frame: bytes) -> Any:
        try:
            return await self._producer.send(
                self._topic, frame, key=frame_key(self._incarnation()), partition=partition
            )
        except UnknownTopicOrPartitionError as error:
            # A refused token looks like a cluster without topics, too.
            found = await unavailable(self._broker, error, worked=True)
            lost = f"no broker has known topic {self._topic} for {DEADLINE_SECONDS:g} s: was it deleted?"
            die(found if isinstance(found, AccessRefused) else FatalError(lost))

    async def _acknowledged(self, futures: list[Any]) -> list[Any]:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS * 2):
                return await asyncio.gather(*futures)
        except (KafkaError, TimeoutError) as error:
            fatal = FatalError(f"intake did not acknowledge what was sent: {error!r}")
            fatal.__cause__ = error
            die(fatal)
