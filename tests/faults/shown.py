"""Rows that a test of its own shows: the test is run, and its claim is what was observed."""

import asyncio
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.faults.ground import Ground
from tests.faults.row import Seen, row

PROJECT: Final = Path(__file__).parents[2]
TAIL_LINES: Final = 12

_EDGES: Final = "tests/integration/test_edges.py"
_INPUT: Final = "tests/integration/test_bad_input.py"
_done: dict[tuple[str, ...], list[str]] = {}
"""What was wrong with tests that this process has run: several rows may be shown by one."""


async def shown(seen: Seen, *nodes: str) -> None:
    """Run tests, once per process, and note what they claim."""
    if nodes in _done:
        seen.note("run with a row before this one")
    else:
        _done[nodes] = await asyncio.to_thread(_run, nodes)
    seen.wrong += _done[nodes]
    for node in nodes:
        seen.note(_claim(node))


def _run(nodes: tuple[str, ...]) -> list[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "kafka or not kafka", *nodes]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[-TAIL_LINES:] if done.returncode else []


def _claim(node: str) -> str:
    """Return the first line of a test's docstring, or of its file's."""
    file, _, name = node.partition("::")
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    text = getattr(module, name).__doc__ if name else module.__doc__
    return f"{name or Path(file).name}: {(text or '').strip().splitlines()[0]}"


@row(12, "retention overtakes a stopped and a held worker", "lost ranges with exact bounds, indeterminate")
async def retention(_ground: Ground, seen: Seen) -> None:
    """Shown with rows 14 and 15."""
    await shown(seen, f"{_EDGES}::test_a_source_that_does_not_stay_as_it_was")


@row(14, "a topic is deleted and created anew, twice", "noticed by its id; no state used again; indeterminate")
async def created_anew(_ground: Ground, seen: Seen) -> None:
    """Shown with rows 12 and 15."""
    await shown(seen, f"{_EDGES}::test_a_source_that_does_not_stay_as_it_was")


@row(15, "partitions are added while running", "found within 30 s, all of it judged")
async def grown(_ground: Ground, seen: Seen) -> None:
    """Shown with rows 12 and 14."""
    await shown(seen, f"{_EDGES}::test_a_source_that_does_not_stay_as_it_was")


@row(26, "bytes that are no message: not JSON, cut, trailing, not UTF-8", "undecodable, with side and reason")
async def damaged(_ground: Ground, seen: Seen) -> None:
    """Shown with rows 29 to 31 and 38."""
    await shown(seen, _INPUT)


@row(29, "messages of 2 MB, and beyond the limit", "judged; oversized with position")
async def oversized(_ground: Ground, seen: Seen) -> None:
    """Shown with row 26."""
    await shown(seen, _INPUT)


@row(30, "tombstones, null keys, no match key, match key null", "a verdict, or compared as such")
async def keyless(_ground: Ground, seen: Seen) -> None:
    """Shown with row 26."""
    await shown(seen, _INPUT)


@row(31, 'match keys 1, "1", other spellings of a text', "equal only as the contract says")
async def key_types(_ground: Ground, seen: Seen) -> None:
    """Shown with row 26, and by the canonical form's own examples."""
    await shown(seen, _INPUT, "tests/core/test_canonical.py")


@row(36, "a certificate and a token replaced, expired, refused; a user refused", "reloaded; refusals in one line")
async def secrets(_ground: Ground, seen: Seen) -> None:
    """A changed password needs a restart: the reference says so."""
    await shown(
        seen,
        "tests/kafka/test_security.py",
        "tests/kafka/test_tokens.py",
        "tests/integration/test_secured.py::test_a_worker_gets_in_by_every_mechanism",
        "tests/integration/test_secured.py::test_a_worker_says_why_it_is_refused",
    )


@row(39, "digests of 16 bits: different messages have one", "no wrong merge; found out, and the worker ends")
async def collisions(_ground: Ground, seen: Seen) -> None:
    """Keys are compared whole; one equal pair in ten thousand is compared in full."""
    await shown(seen, "tests/core/test_collisions.py")
