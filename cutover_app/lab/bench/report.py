"""How figures are shown, and where they were measured."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from cutover_app.lab.bench.figures import Rung
from cutover_app.lab.bench.ladder import RUNGS
from cutover_app.lab.bench.plan import FLOOR
from cutover_app.lab.jars import KAFKA_VERSION

COLUMNS: Final = ("messages/s", "of floor", "CPU-s/M", "more", "RSS MB", "spread")
"""CPU-s/M: CPU-seconds of the process per million messages; more: than the rung of the ladder above it."""
COUNTS: Final = {
    "changelog rows": "log rows",
    "RocksDB writes": "writes",
    "RocksDB reads": "reads",
    "delay p99": "p99 s",
    "false": "false",
    "missed": "missed",
    "taken back": "back",
}
"""What runs may count, and how it is called in the table; the first three are per message, the delay is in seconds."""

WHOLE: Final = {"false", "missed", "taken back"}
"""Counts of verdicts; `taken back` are those that were true when they were said, and are resolved."""


def environment() -> dict[str, Any]:
    """Return on what the figures were measured."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "kafka": KAFKA_VERSION,
        "system": f"{platform.system()} {platform.release()}",
    }


def as_dict(rungs: Sequence[Rung]) -> dict[str, Any]:
    """Return everything, for a file."""
    return {"v": 2, "environment": environment(), "rungs": [rung.as_dict() for rung in rungs]}


def where(found: dict[str, Any]) -> str:
    """Say in a line on what the figures were measured."""
    each = found["environment"]
    return (
        f"JSON, broker on the same machine; {each['cpu']}, {each['cores']} cores, Python {each['python']}, "
        f"Kafka {each['kafka']}, {each['system']}"
    )


def table(rungs: Sequence[Rung]) -> Table:
    """Return a table of all rungs."""
    shown = Table("")
    for title in (*COLUMNS, *COUNTS.values()):
        shown.add_column(title, justify="right", no_wrap=True)
    floor = next((rung for rung in rungs if rung.name == FLOOR), None)
    before: Rung | None = None
    for rung in rungs:
        more = "" if before is None else f"{rung.cpu_per_million - before.cpu_per_million:+.1f}"
        shown.add_row(
            rung.name,
            f"{rung.rate:,.0f}",
            f"{rung.rate / floor.rate:.2f}" if floor else "",
            f"{rung.cpu_per_million:.1f}",
            more,
            f"{rung.peak_rss_bytes / 1e6:,.0f}",
            f"{rung.spread:.0%}",
            *(_count(rung, name) for name in COUNTS),
        )
        before = rung if rung.name in RUNGS else None
    return shown


def _count(rung: Rung, name: str) -> str:
    value = rung.count(name)
    if value is None:
        return ""
    return f"{value:.0f}" if name in WHOLE else f"{value:.2f}"
