"""Run seeds: `python -m tests.simulation --seeds 500`, `--seed 7`, `--mutant NAME --seeds 200`."""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.faults import FAULTS
from tests.simulation.mutants import MUTANTS, first_catch
from tests.simulation.world import Report, simulate

LINES_MAX = 12
TELL_EVERY = 5_000
"""Seeds between two signs of life."""


def main() -> int:
    """Return 0 when every seed holds, or when every mutant asked for is caught."""
    arguments = _arguments()
    if arguments.mutant:
        return _mutants(arguments.mutant, range(arguments.first, arguments.first + arguments.seeds))
    if arguments.seed is not None:
        report = simulate(arguments.seed)
        _show(report)
        for name, count in sorted(report.reached.items()):
            if count:
                print(f"  {count:6} {name}")
        return bool(report.failures)
    return _batch(range(arguments.first, arguments.first + arguments.seeds), arguments.jobs)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=500, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="run this one only, and say what it reached")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--mutant", help="break one rule; `all` tries every one")
    return parser.parse_args()


def _batch(seeds: range, jobs: int) -> int:
    started = time.monotonic()
    reached: Counter[str] = Counter()
    failed = 0
    for played, report in enumerate(_reports(seeds, jobs), start=1):
        reached.update(report.reached)
        if report.failures:
            failed += 1
            _show(report)
        if played % TELL_EVERY == 0 and played < len(seeds):
            print(f"{played} of {len(seeds)} seeds: {failed} failed", flush=True)
    missed = [name for name in FAULTS if not reached[name]]
    for name in missed:
        print(f"never reached: {name} ({FAULTS[name]})")
    spent = time.monotonic() - started
    faults = f"{len(FAULTS) - len(missed)} of {len(FAULTS)} faults reached"
    print(f"{len(seeds)} seeds in {spent:.0f} s: {failed} failed, {faults}")
    return bool(failed or missed)


def _reports(seeds: Iterable[int], jobs: int) -> Iterator[Report]:
    if jobs == 1:
        yield from map(simulate, seeds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(simulate, seeds, chunksize=10)


def _show(report: Report) -> None:
    print(report)
    for line in report.failures[:LINES_MAX]:
        print(f"  {line}")
    if len(report.failures) > LINES_MAX:
        print(f"  ... and {len(report.failures) - LINES_MAX} more")
    if report.failures:
        print(f"  replay it: make simulate SEED={report.seed}")


def _mutants(name: str, seeds: range) -> int:
    survived = 0
    for each in MUTANTS if name == "all" else [name]:
        caught = first_catch(each, seeds)
        survived += caught is None
        if caught is None:
            print(f"{each}: survived {len(seeds)} seeds")
        else:
            print(f"{each}: caught at seed {caught.seed}: {caught.failures[0]}")
    return bool(survived)


if __name__ == "__main__":
    sys.exit(main())
