"""The intake log, and the pipes through which senders reach it."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from cutover_app.core.frames import Frame, Records, Source, decode_frame, encode_frame
from tests.simulation.timeline import BrokerClock, Timeline


@dataclass(frozen=True)
class Appended:
    """An intake record; `true_ms` is the virtual time that nobody in the world can see."""

    offset: int
    true_ms: int
    append_ms: int
    frame: Frame


class IntakePartition:
    """One partition of the intake log."""

    def __init__(self, number: int, clock: BrokerClock, reached: Counter[str]) -> None:
        self.number = number
        self.clock = clock
        self.log: list[Appended] = []
        self._reached = reached
        self._counts: dict[int, int] = {}
        self._writers: dict[Source, list[str]] = {}

    def append(self, now: int, frame: Frame) -> int:
        """Append a frame and return its offset. It goes through its encoding, as it does in Kafka."""
        frame = decode_frame(encode_frame(frame))
        appended = Appended(len(self.log), now, self.clock.read(now), frame)
        self._note(frame)
        self.log.append(appended)
        return appended.offset

    def _note(self, frame: Frame) -> None:
        if isinstance(frame, Records):
            writers = self._writers.setdefault(frame.source, [])
            if frame.sender in writers[:-1]:
                self._reached["zombie interleaved"] += 1
            if frame.sender not in writers[-1:]:
                writers.append(frame.sender)
            return
        if frame.partitions < self._counts.get(frame.side, 0) and frame.partitions:
            self._reached["older count after newer"] += 1
        self._counts[frame.side] = max(frame.partitions, self._counts.get(frame.side, 0))


class Pipe:
    """What one sender has in flight to one intake partition: in order, each frame appended once or never."""

    def __init__(
        self,
        timeline: Timeline,
        partition: IntakePartition,
        rng: Random,
        reached: Counter[str],
        stall_ms: int,
    ) -> None:
        self._timeline = timeline
        self._partition = partition
        self._rng = rng
        self._reached = reached
        self._stall_ms = stall_ms
        self._in_flight: deque[tuple[Frame, Callable[[int], None]]] = deque()
        self._last_arrival = 0
        self._last_ack = 0
        self._survivors: int | None = None
        self.entries = 0
        """Entries put in since the last barrier."""

    def send(self, frame: Frame, on_ack: Callable[[int], None]) -> None:
        """Send a frame; `on_ack` is called with its offset."""
        delay = self._rng.randint(1, 15)
        if self._stall_ms and self._rng.random() < 0.01:
            delay += self._rng.randint(self._stall_ms // 2, self._stall_ms)
            self._reached["stalled pipe"] += 1
        self._last_arrival = max(self._last_arrival, self._timeline.now + delay)
        self._in_flight.append((frame, on_ack))
        self._timeline.at(self._last_arrival, self._arrive)

    def _arrive(self) -> None:
        if not self._in_flight or self._survivors == 0:
            return
        frame, on_ack = self._in_flight.popleft()
        offset = self._partition.append(self._timeline.now, frame)
        if self._survivors is not None:
            self._survivors -= 1
            self._reached["sends arrived after a crash"] += 1
            return
        due = self._timeline.now + self._rng.randint(1, 10)
        self._last_ack = max(self._last_ack, due)
        self._timeline.at(self._last_ack, lambda: self._acknowledge(on_ack, offset))

    def _acknowledge(self, on_ack: Callable[[int], None], offset: int) -> None:
        if self._survivors is None:
            on_ack(offset)

    def crash(self) -> None:
        """Lose the sender: some of what is in flight still arrives, what comes after it does not."""
        self._survivors = self._rng.randint(0, len(self._in_flight))
        if self._survivors < len(self._in_flight):
            self._reached["sends lost in a crash"] += 1
