"""`python -m tests.mutation [MODULE ...]`: which changes of the core do its tests not notice?

A mutant is killed when `tests/core` fails, or takes far too long. The tests are run unchanged before and after: what
fails by itself would kill every mutant. Those that live and are not in `survivors.py` are shown; so is what is in there
and does not live any more.
"""

import argparse
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import aiokafka  # noqa: F401 - what every child would import again
import faust  # noqa: F401
import hypothesis  # noqa: F401
import msgspec  # noqa: F401
import pytest

from tests.mutation.operators import Mutant, mutants
from tests.mutation.survivors import SURVIVORS

TESTS: Final = Path("tests/core")
NEAREST: Final = {
    "compare": ("test_compare.py", "test_sealing.py"),
    "pairing": ("test_pairing.py", "test_judge.py"),
    "closing": ("test_closing.py", "test_judge.py"),
    "books": ("test_judge.py", "test_crowded.py"),
}
"""Per module of the core: the tests that are most likely to notice, which are run first."""
FAR: Final = ("test_sealing.py::test_ciphertexts_are_always_taken_for_sealed",)
"""Tests that take long, and call nothing of these modules."""
SECONDS_MAX: Final = 240
AT_LEAST: Final = 0.95
ALIVE, KILLED = 0, 1


def main() -> int:
    """Return 0 when enough are killed, and every survivor is a known one."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", default=list(NEAREST), help=f"of the core; default: {' '.join(NEAREST)}")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--match", default="", help="only mutants whose name contains this")
    options = parser.parse_args()
    good = True
    for module in options.modules:
        good &= _check(module, options.jobs, options.match)
    return 0 if good else 1


def _check(module: str, jobs: int, match: str) -> bool:
    source = Path(f"cutover_app/core/{module}.py").read_text(encoding="utf-8")
    made = [each for each in mutants(source) if match in each.name]
    unchanged = Mutant("unchanged", "", 0, source)
    began = time.monotonic()
    results = list(_run_all(module, [unchanged, *made, unchanged], jobs))
    if KILLED in (results[0], results[-1]):
        print(f"{module}: the tests fail by themselves, and tell nothing", flush=True)
        return False
    alive = [each for each, result in zip(made, results[1:-1], strict=True) if result == ALIVE]
    known = SURVIVORS.get(module, {})
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
        print(f"  is in survivors.py and does not live: {name}")
    return killed >= AT_LEAST and not new and not gone


def _run_all(module: str, made: Sequence[Mutant], jobs: int) -> Iterable[int]:
    results = [ALIVE] * len(made)
    waiting = list(enumerate(made))[::-1]
    running: dict[int, int] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            number, mutant = waiting.pop()
            running[_fork(module, mutant)] = number
        pid, status = os.wait()
        results[running.pop(pid)] = KILLED if os.waitstatus_to_exitcode(status) else ALIVE
        print(f"{module}: {len(made) - len(waiting)} of {len(made)}", end="\r", file=sys.stderr, flush=True)
    return results


def _fork(module: str, mutant: Mutant) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = KILLED
    try:
        signal.alarm(SECONDS_MAX)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        _install(f"cutover_app.core.{module}", mutant.source)
        near = [str(TESTS / name) for name in NEAREST[module]]
        code = KILLED if _tests(near) or _tests([str(TESTS)]) else ALIVE
    finally:
        os._exit(code)


def _install(name: str, source: str) -> None:
    """Have a module with this source, before anybody imports it."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert name not in sys.modules
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    exec(compile(source, str(spec.origin), "exec"), module.__dict__)  # noqa: S102 - our own code, a little changed
    parent, _, short = name.rpartition(".")
    setattr(sys.modules[parent], short, module)


def _tests(paths: Sequence[str]) -> int:
    without = [f"--deselect={TESTS / each}" for each in FAR]
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-seed=0"]
    return int(pytest.main([*options, *without, *paths]))


if __name__ == "__main__":
    sys.exit(main())
