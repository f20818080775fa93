"""`python -m tests.mutation [MODULE ...]`: which changes of the core do its tests not notice?

A mutant is killed when `tests/core` fails, or takes far too long. The tests are run unchanged too: what fails by itself
would kill every mutant. Those that live and are not in `survivors.yaml` are shown; so is what is in there and does not
live any more.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Final

import yaml

from tests.mutation.operators import Mutant, mutants
from tests.mutation.running import run_all

NEAREST: Final = {
    "compare": ("test_masking.py", "test_compare.py", "test_needles.py"),
    "pairing": ("test_pairing.py", "test_judge.py"),
    "closing": ("test_closing.py", "test_judge.py"),
    "books": ("test_books.py", "test_judge.py"),
    "steps": ("test_leap.py", "test_judge.py"),
}
"""Per module of the core: the tests that are most likely to notice, which are run first."""
SURVIVORS: Final = Path(__file__).with_name("survivors.yaml")
"""By module: mutants that live, and why that is so."""
AT_LEAST: Final = 0.95


def main() -> int:
    """Return 0 when enough are killed, and every survivor is a known one."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", default=list(NEAREST), help=f"of the core; default: {' '.join(NEAREST)}")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--match", default="", help="only mutants whose name contains this")
    options = parser.parse_args()
    good = [_check(module, options.jobs, options.match) for module in options.modules]
    return 0 if all(good) else 1


def _check(module: str, jobs: int, match: str) -> bool:
    source = Path(f"cutover_app/core/{module}.py").read_text(encoding="utf-8")
    made = [each for each in mutants(source) if match in each.name]
    began = time.monotonic()
    lives = run_all(f"cutover_app.core.{module}", [*made, Mutant("unchanged", "", 0, source)], NEAREST[module], jobs)
    if not lives.pop():
        print(f"{module}: the tests fail by themselves, and tell nothing", flush=True)
        return False
    alive = [each for each, life in zip(made, lives, strict=True) if life]
    listed = yaml.safe_load(SURVIVORS.read_text(encoding="utf-8")).get(module, [])
    known = {each["mutant"]: each["reason"] for each in listed}
    new = [each for each in alive if each.name not in known]
    killed = 1 - len(alive) / max(len(made), 1)
    print(
        f"{module}: {len(made)} mutants, {len(made) - len(alive)} killed ({killed:.1%}), {len(alive)} live, "
        f"{len(alive) - len(new)} of them with a reason, {time.monotonic() - began:.0f} s",
        flush=True,
    )
    for each in new:
        print(f"  lives, line {each.line}: {each.name}")
    gone = [] if match else sorted(known.keys() - {each.name for each in alive})
    for name in gone:
        print(f"  is in survivors.yaml and does not live: {name}")
    return killed >= AT_LEAST and not new and not gone


if __name__ == "__main__":
    sys.exit(main())
