"""Virtual time: a queue of things to happen, and the clocks of the brokers that write append times."""

import heapq
from collections.abc import Callable
from itertools import count
from random import Random

EPOCH_MS = 1_700_000_000_000
"""What the clocks show at virtual time 0."""


class Timeline:
    """Virtual milliseconds. What is due at the same time happens in the order in which it was asked for."""

    def __init__(self) -> None:
        self.now = 0
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._ticket = count()

    def at(self, when: int, action: Callable[[], None]) -> None:
        """Have `action` happen at `when`, or now if that has passed."""
        heapq.heappush(self._queue, (max(when, self.now), next(self._ticket), action))

    def after(self, delay: int, action: Callable[[], None]) -> None:
        """Have `action` happen in `delay` milliseconds."""
        self.at(self.now + delay, action)

    def run(self, until: int) -> None:
        """Let everything happen that is due up to `until`."""
        while self._queue and self._queue[0][0] <= until:
            self.now, _, action = heapq.heappop(self._queue)
            action()
        self.now = max(self.now, until)


class BrokerClock:
    """The clock behind the append times of one intake partition: true time plus an offset that may change."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.offset = 0
        self.swing = 0
        """Difference to the clock of the other broker, while leadership swings between the two."""
        self._on_other = False

    def step(self, by: int) -> None:
        """Change what the clock shows."""
        self.offset += by

    def read(self, now: int) -> int:
        """Return milliseconds since the epoch as the leader of the moment sees them."""
        if self.swing and self._rng.random() < 0.4:
            self._on_other = not self._on_other
        return EPOCH_MS + now + self.offset + (self.swing if self.swing and self._on_other else 0)
