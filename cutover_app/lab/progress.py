"""How far a run is, shown while it goes on: tables on a terminal, a line every few seconds elsewhere."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cutover_app.core.frames import SIDES
from cutover_app.lab.evidence import Totals, Watch

LINE_SECONDS: Final = 4.0
"""Between two lines of progress where there is no terminal."""
RATE_SECONDS: Final = 3.0
"""Over which rates are taken."""


@dataclass
class Progress:
    """What is known while it runs, in the two forms in which it is shown."""

    phase: str = ""
    mirror_lag: int | None = None
    """Records that the mirror has not noted as copied."""
    totals: Totals | None = None
    findings: Counter[str] = field(default_factory=Counter)
    _history: list[tuple[float, tuple[int, int]]] = field(default_factory=list)
    _since: float = field(default_factory=time.monotonic)

    def take(self, watch: Watch) -> None:
        """Take in what the books say now."""
        now = time.monotonic()
        self.totals, self.findings = watch.totals, watch.findings()
        self._history.append((now, self.totals.accepted))
        while self._history[0][0] < now - RATE_SECONDS:
            self._history.pop(0)

    def rate(self, side: int) -> float:
        """Messages per second that were taken in lately."""
        (began, first), (ended, last) = self._history[0], self._history[-1]
        return (last[side] - first[side]) / (ended - began) if ended > began else 0.0

    def line(self) -> str:
        """Say it in one line."""
        head = f"{time.monotonic() - self._since:4.0f} s  {self.phase}"
        if self.totals is None:
            return head
        sides = ", ".join(
            f"{name} {self.totals.accepted[side]:,} ({self.rate(side):,.0f}/s, frontier {self._lag(side)})"
            for side, name in enumerate(SIDES)
        )
        found = " ".join(f"{kind} {count}" for kind, count in sorted(self.findings.items()) if count)
        mirror = "" if self.mirror_lag is None else f"mirror {self.mirror_lag:,} behind; "
        return f"{head}: {sides}; {mirror}{self.totals.pending:,} pending; {found or 'nothing found yet'}"

    def _lag(self, side: int) -> str:
        lag = self.totals.lag_ms[side] if self.totals is not None else None
        return "none yet" if lag is None else f"-{lag / 1000:.1f} s"

    def __rich__(self) -> Group:
        """Say it as tables."""
        head = Text(f"{time.monotonic() - self._since:4.0f} s  {self.phase}", style="bold")
        if self.totals is None:
            return Group(head)
        sides = Table()
        for title in ("", "taken in", "per second", "paired", "pending", "frontier"):
            sides.add_column(title, justify="left" if not title else "right")
        for side, name in enumerate(SIDES):
            pending, paired = self.totals.tallies[side][:2]
            taken = f"{self.totals.accepted[side]:,}"
            sides.add_row(name, taken, f"{self.rate(side):,.0f}", f"{paired:,}", f"{pending:,}", self._lag(side))
        found = Table()
        found.add_column("finding")
        found.add_column("open", justify="right")
        for kind, count in sorted(self.findings.items()):
            if count:
                found.add_row(kind, str(count))
        if self.mirror_lag is None:
            return Group(head, sides, found)
        return Group(head, sides, Text(f"the mirror is {self.mirror_lag:,} records behind"), found)


class Screen:
    """Shows progress: redrawn on a terminal, a line every few seconds elsewhere."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self._progress = progress
        self._next = 0.0
        self._phase = ""

    @contextmanager
    def live(self) -> Iterator[None]:
        """Draw while inside."""
        if not self._console.is_terminal:
            yield
            return
        with Live(self._progress, console=self._console, refresh_per_second=4):
            yield

    def update(self) -> None:
        """Write a line if it is time for one."""
        if self._console.is_terminal:
            return
        now = time.monotonic()
        if now >= self._next or self._phase != self._progress.phase:
            self._next, self._phase = now + LINE_SECONDS, self._progress.phase
            self._console.print(self._progress.line(), soft_wrap=True, markup=False, highlight=False)
