"""What was measured of one program, once or several times."""

import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Final

WARM_UP: Final = 0.1
"""Part of the messages that passes before anything is measured."""
COOL_DOWN: Final = 0.1
"""Part at the end of a worker's load that is not measured: what comes last waits for a checkpoint, not for work."""

Mark = tuple[float, int]
"""A time in seconds since the epoch, and how many messages were done by then."""


def window(progress: Sequence[Mark], total: int) -> tuple[Mark, Mark]:
    """Return where measuring begins and ends; `progress` ascends to `total`.

    What does all in one go has no tenth, and is measured from the first mark: that tells little of its speed.
    """
    began = next(mark for mark in progress if mark[1] >= total * WARM_UP)
    ended = next(mark for mark in progress if mark[1] >= total * (1 - COOL_DOWN))
    return (progress[0] if began == ended else began), ended


@dataclass(frozen=True)
class Run:
    """One program, once; CPU time and memory are its own, without the broker's."""

    messages: int
    seconds: float
    cpu_seconds: float
    peak_rss_bytes: int
    counts: Mapping[str, float] = field(default_factory=dict)
    """What else there is to say, by name: operations per message, verdicts that are false or were missed."""

    @property
    def rate(self) -> float:
        """Messages per second."""
        return self.messages / self.seconds

    @property
    def cpu_per_million(self) -> float:
        """CPU-seconds per million messages."""
        return self.cpu_seconds / self.messages * 1e6


@dataclass(frozen=True)
class Rung:
    """All runs of one program under one load."""

    name: str
    runs: Sequence[Run]

    @property
    def rate(self) -> float:
        """Messages per second: the median."""
        return median(run.rate for run in self.runs)

    @property
    def cpu_per_million(self) -> float:
        """CPU-seconds per million messages: the median."""
        return median(run.cpu_per_million for run in self.runs)

    @property
    def peak_rss_bytes(self) -> int:
        """The highest of all runs."""
        return max(run.peak_rss_bytes for run in self.runs)

    @property
    def spread(self) -> float:
        """How far rates lie apart, as a part of the median."""
        rates = [run.rate for run in self.runs]
        return (max(rates) - min(rates)) / self.rate

    def count(self, name: str) -> float | None:
        """Return the highest of one of the counts; None where there is none."""
        return max((run.counts[name] for run in self.runs if name in run.counts), default=None)

    def as_dict(self) -> dict[str, Any]:
        """Return everything, for a file."""
        return {
            "name": self.name,
            "rate": self.rate,
            "cpu_per_million": self.cpu_per_million,
            "peak_rss_bytes": self.peak_rss_bytes,
            "spread": self.spread,
            "runs": [asdict(run) for run in self.runs],
        }


class Meter:
    """Counts the messages that this process fetches, and measures from the end of the warm-up to where it is asked."""

    def __init__(self, goal: int) -> None:
        self._goal = goal
        self._seen = 0
        self._from = (0, 0.0, 0.0)

    def add(self, messages: int) -> None:
        """Note that so many were fetched."""
        self._seen += messages
        if not self._from[0] and self._seen >= self._goal * WARM_UP:
            self._from = self._seen, time.monotonic(), time.process_time()

    def figures(self, counts: Mapping[str, float]) -> dict[str, Any]:
        """Return the fields of a `Run`."""
        seen, wall, cpu = self._from
        return {
            "messages": self._seen - seen,
            "seconds": time.monotonic() - wall,
            "cpu_seconds": time.process_time() - cpu,
            "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "counts": dict(counts),
        }
