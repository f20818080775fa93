"""Runs the tests against each mutant: collected once, in a process of its own per module, and forked for each mutant.

In the fork the code of every function is replaced by that of the mutant, wherever the function is known by. What else
a module consists of (constants, defaults of fields) cannot be replaced like that; the whole module is, and every module
of the core that has taken something from it is told.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

import pytest
from hypothesis import Phase, settings

from tests.mutation.operators import Mutant

TESTS: Final = Path("tests/core")
FAR: Final = ("test_sealing.py::test_ciphertexts_are_always_taken_for_sealed",)
"""Tests that take long, and call nothing of these modules."""
CPU_SECONDS_MAX: Final = 120
"""Of the processor, and not of a clock: a mutant must not be killed by what else the machine does."""


def run_all(module: str, made: Sequence[Mutant], nearest: Sequence[str], jobs: int) -> list[bool]:
    """Return, for each mutant, whether it lives."""
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        with os.fdopen(writing, "wb") as out:
            out.write(bytes(_collect_and_run(module, made, nearest, jobs)))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answers:
        lives = [bool(each) for each in answers.read()]
    os.waitpid(pid, 0)
    if len(lives) != len(made):
        raise RuntimeError(f"{module}: the tests could not be collected")
    return lives


def _collect_and_run(module: str, made: Sequence[Mutant], nearest: Sequence[str], jobs: int) -> list[bool]:
    # A failure is enough; nobody needs the smallest example of it.
    settings.register_profile("mutants", phases=(Phase.explicit, Phase.generate), database=None, deadline=None)
    settings.load_profile("mutants")
    plugin = _Plugin(module, made, jobs)
    paths = [*(str(TESTS / name) for name in nearest), str(TESTS)]
    without = [f"--deselect={TESTS / each}" for each in FAR]
    options = ["-q", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-seed=0", "--tb=no"]
    pytest.main([*options, *without, *paths], plugins=[plugin])
    return plugin.lives


class _Plugin:
    """Takes the place of pytest's loop over the tests."""

    def __init__(self, module: str, made: Sequence[Mutant], jobs: int) -> None:
        self.module = module
        self.made = made
        self.jobs = jobs
        self.lives: list[bool] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run all tests once for each mutant."""
        self.lives = [False] * len(self.made)
        waiting = list(enumerate(self.made))[::-1]
        running: dict[int, int] = {}
        while waiting or running:
            while waiting and len(running) < self.jobs:
                number, mutant = waiting.pop()
                running[_fork(lambda each=mutant: self._survives(session, each))] = number
            pid, status = os.wait()
            number = running.pop(pid)
            self.lives[number] = status == 0
            if status == 0 and self.made[number].line:  # a run may take an hour: nobody has to wait for what it found
                print(f"  lives, line {self.made[number].line}: {self.made[number].name}", file=sys.stderr)
            print(f"{self.module}: {len(self.made) - len(waiting)} of {len(self.made)}", end="\r", file=sys.stderr)
        return True

    def _survives(self, session: pytest.Session, mutant: Mutant) -> bool:
        _install(import_module(self.module), mutant.source)
        for item, following in zip(session.items, [*session.items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.testsfailed:
                return False
        return True


def _fork(survives: Callable[[], bool]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS_MAX)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        code = 0 if survives() else 1
    finally:
        os._exit(code)


def _install(module: ModuleType, source: str) -> None:
    """Have a module be another."""
    other = ModuleType(module.__name__)
    code = compile(source, str(module.__file__), "exec")
    exec(code, other.__dict__)  # noqa: S102 - our own code, a little changed
    if _shape(code) == _shape(compile(Path(str(module.__file__)).read_text(), str(module.__file__), "exec")):
        _replace_code(module, other)
    else:
        _replace_names(module, other)


def _shape(code: CodeType) -> tuple[object, ...]:
    """Return all of a module or class body but what is in functions that have a name there."""
    bodies = [each for each in code.co_consts if isinstance(each, CodeType)]
    inside = [_shape(each) for each in bodies if "__qualname__" in each.co_names or each.co_name == "<lambda>"]
    plain = [each for each in code.co_consts if not isinstance(each, CodeType)]
    return code.co_code, code.co_names, repr(plain), tuple(inside)


def _replace_code(module: ModuleType, other: ModuleType) -> None:
    for name, old in _functions(module, module.__name__):
        new = dict(_functions(other, module.__name__))[name]
        old.__code__, old.__defaults__, old.__kwdefaults__ = new.__code__, new.__defaults__, new.__kwdefaults__


def _functions(place: Any, module: str, prefix: str = "") -> Iterator[tuple[str, FunctionType]]:
    """Yield the functions and methods that a module defines."""
    for name, value in list(vars(place).items()):
        if isinstance(value, type) and value.__module__ == module:
            yield from _functions(value, module, f"{prefix}{name}.")
            continue
        found = getattr(value, "fget", None) or getattr(value, "func", None) or getattr(value, "__wrapped__", value)
        if isinstance(found, FunctionType) and found.__module__ == module:
            yield f"{prefix}{name}", found


def _replace_names(module: ModuleType, other: ModuleType) -> None:
    """Put what the other module defines in the place of what this one did, in every module that has taken it."""
    for name, new in vars(other).items():
        old = vars(module).get(name)
        if name.startswith("__") or old is new:
            continue
        for each in list(sys.modules.values()):
            if getattr(each, "__name__", "").startswith(("cutover_app.", "tests.")) and vars(each).get(name) is old:
                setattr(each, name, new)
