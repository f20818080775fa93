"""Measure, show a table, keep the figures in a file; 1 when a worker was wrong, or too slow."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from cutover_app.lab.bench import __doc__ as essay
from cutover_app.lab.bench.figures import Rung
from cutover_app.lab.bench.long import LONG_MESSAGES, long_table, measure_long
from cutover_app.lab.bench.peering import PEERS
from cutover_app.lab.bench.plan import full, peers, quick
from cutover_app.lab.bench.report import as_dict, table, where
from cutover_app.lab.bench.running import climb
from cutover_app.lab.errors import LabError

QUICK_MESSAGES: Final = 200_000
PEERS_MESSAGES: Final = 600_000


async def _measure_long(options: argparse.Namespace, console: Console) -> list[Rung]:
    run, parts = await measure_long(
        options.messages or LONG_MESSAGES, lambda line: console.print(line, highlight=False)
    )
    console.print(long_table(parts))
    return [Rung("a long run", [run])]


async def _measure(options: argparse.Namespace, console: Console) -> list[Rung]:
    if options.long:
        return await _measure_long(options, console)
    if options.peers:
        chapters = peers(options.messages or PEERS_MESSAGES, {peer.name: peer.part for peer in PEERS})
    else:
        chapters = quick(options.messages or QUICK_MESSAGES) if options.quick else full()
    runs = options.runs or (1 if options.quick or options.peers else 3)
    return await climb(chapters, runs, lambda line: console.print(line, highlight=False))


def _wrong(rungs: Sequence[Rung]) -> list[str]:
    """Say which workers said something false, or missed something."""
    said = []
    for rung in rungs:
        false, missed = (rung.count(name) for name in ("false", "missed"))
        if false or missed:
            said.append(f"{rung.name}: {false:.0f} false verdicts, {missed or 0:.0f} planted faults missed")
    return said


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m cutover_app.lab.bench", description=essay)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="the ladder and one worker, once, in two minutes")
    parser.add_argument("--peers", action="store_true", help="the same work done by others, beside ours")
    parser.add_argument("--long", action="store_true", help="one worker through a day of the reference load")
    parser.add_argument("--runs", type=int, help="of each rung; default: 3, or 1 where it is quick, or beside peers")
    parser.add_argument("--messages", type=int, help="both sides together, where it is quick, long, or beside peers")
    parser.add_argument("--output", type=Path, default=Path("bench.json"), help="file for all figures")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 140)
    try:
        rungs = asyncio.run(_measure(options, console))
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 4
    except KeyboardInterrupt:
        return 130
    found = as_dict(rungs)
    options.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    console.print(where(found))
    console.print(table(rungs))
    wrong = _wrong(rungs)
    for line in wrong:
        print(f"bench: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
