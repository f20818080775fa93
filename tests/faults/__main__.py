"""Play rows of the fault matrix: `python -m tests.faults --rows 1,2,30-33 --seed 7`."""

import argparse
import asyncio
import logging
import secrets
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cutover_app.lab.errors import LabError
from tests.faults import brokers, clocks, fleets, load, outputs, shown, sources, state, workers
from tests.faults.ground import Ground
from tests.faults.row import Row, Seen, select

MODULES = (workers, fleets, brokers, sources, clocks, state, outputs, load, shown)
"""Where the rows are: to import them is to have them."""
WIDTH = 160
LOGS = Path("faults.logs")
"""Where the logs of rows go that are not as they must be."""


def main() -> int:
    """Return 0 when every row is as it must be."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rows", default="", help="numbers and ranges; default: all")
    parser.add_argument("--seed", type=int, help="of everything that is drawn; default: a new one")
    parser.add_argument("--list", action="store_true", help="say what there is, and play nothing")
    options = parser.parse_args()
    try:
        rows = select(options.rows)
    except ValueError as error:
        print(f"faults: {error}", file=sys.stderr)
        return 2
    # What clients log while brokers are away is what these rows are about.
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    console = Console(width=WIDTH)
    if options.list:
        console.print(_table("The fault matrix", [(each, None, 0.0) for each in rows]))
        return 0
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    began = time.monotonic()
    played = []
    for each in rows:
        try:
            seen, seconds = play(each, seed)
        except KeyboardInterrupt:
            return 130
        played.append((each, seen, seconds))
        print(f"row {each.number}: {'ok' if not seen.wrong else 'WRONG'} ({seconds:.0f} s) {each.injected}", flush=True)
        for line in seen.wrong:
            print(f"    {line}", flush=True)
    failed = sum(bool(seen.wrong) for _each, seen, _seconds in played)
    spent = (time.monotonic() - began) / 60
    console.print(_table(f"seed {seed}: {len(played)} rows in {spent:.0f} min, {failed} not as they must be", played))
    return bool(failed)


def play(each: Row, seed: int) -> tuple[Seen, float]:
    """Play one row; what goes wrong on the way is wrong with the row."""
    seen = Seen()
    began = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"cutover-row{each.number}-")))
        ground = Ground(stack, folder, seed, each.number)
        try:
            asyncio.run(_play(each, ground, seen))
        except LabError as error:
            seen.wrong.append(str(error))
        except Exception as error:
            traceback.print_exc()
            seen.wrong.append(f"{type(error).__name__}: {error}")
        logs = LOGS / f"{seed}-{each.number}"
        if seen.wrong and (kept := ground.keep_logs(logs)):
            seen.wrong.append(f"{kept} logs are in {logs}")
    return seen, time.monotonic() - began


async def _play(each: Row, ground: Ground, seen: Seen) -> None:
    await each.play(ground, seen)


def _table(title: str, played: list[tuple[Row, Seen | None, float]]) -> Table:
    table = Table(title=title, show_lines=True)
    for name in ("row", "injected", "expected", "observed", "ok"):
        table.add_column(name, overflow="fold")
    for each, seen, seconds in played:
        observed = "" if seen is None else "; ".join([*seen.observed, *seen.wrong]) + f" ({seconds:.0f} s)"
        verdict = "" if seen is None else "no" if seen.wrong else "ok"
        table.add_row(str(each.number), each.injected, each.expected, observed, verdict)
    return table


if __name__ == "__main__":
    sys.exit(main())
