"""What a worker is doing, in one word and one sentence.

Log lines, `/ready`, metrics and commands all use these words, so that nobody has to translate one into another. Only
what concerns the worker itself is here: whether topics are idle, books balance or anything can be told is not its
state, and no reason to take a worker out of service.
"""

import logging
import time
from bisect import bisect_left
from enum import Enum
from typing import Final

from cutover_app.core import waiting

log = logging.getLogger(__name__)

RECOVERY_SECONDS: Final = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Bounds by which recoveries are counted."""


class WorkerState(Enum):
    """Every state: the sentence about it, and whether the worker does its job in it."""

    STARTING = ("it connects, and looks at the topics", False)
    REBALANCING = (waiting.REBALANCING, False)
    RECOVERING = (waiting.RECOVERING, False)
    WORKING = ("it reads and judges its partitions", True)
    SPARE = ("there are more workers than partitions; it stands by for one that leaves", True)
    STOPPING = ("it finishes what it has taken in, and leaves", False)

    def __init__(self, sentence: str, ready: bool) -> None:
        self.sentence = sentence
        self.ready = ready

    @property
    def word(self) -> str:
        """The state as label and in text."""
        return self.name.lower()

    @property
    def line(self) -> str:
        """Word and sentence."""
        return f"{self.word}: {self.sentence}"


class Durations:
    """How often something took how long: a histogram, its last bucket without a bound."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.seconds += seconds


class Standing:
    """The state of this worker, since when it is in it, and how long its recoveries took."""

    def __init__(self) -> None:
        self.state = WorkerState.STARTING
        self.since = time.monotonic()
        self.recoveries = Durations(RECOVERY_SECONDS)

    def enter(self, state: WorkerState) -> None:
        """Change the state, and say so; nothing comes after stopping."""
        if self.state in (state, WorkerState.STOPPING):
            return
        now = time.monotonic()
        if self.state is WorkerState.RECOVERING and state.ready:
            self.recoveries.add(now - self.since)
        self.state, self.since = state, now
        log.info("worker is %s", state.line)
