"""Named places where a worker can be made to fail, so that what follows a crash can be tried and not only argued.

    CUTOVER_FAILPOINTS="checkpoint.committed=kill@3 judge.take[1]=raise intake.landed=block:6@10"

Each entry names a place, if need be with the partition in brackets, and what happens when it is reached: `kill` ends
the process as SIGKILL does, `raise` raises an error, `sleep:SECONDS` waits there, `block:SECONDS` stands still with the
whole event loop. `@N` is the N-th time that the place is reached, and only that one; without it, every time. What
happened is said in a line to the worker's output: a trial whose place was never reached proves nothing.

Not armed, a place costs one look at an empty mapping, a few times per chunk at most.
"""

import asyncio
import os
import signal
import time
from collections import Counter
from typing import Final, NamedTuple

from cutover_app.runtime.fatal import FatalError

ENVIRONMENT: Final = "CUTOVER_FAILPOINTS"

PLACES: Final = {
    "intake.sent": "frames of a source chunk are with the producer, not acknowledged",
    "intake.landed": "they are acknowledged, their source position is not committable yet",
    "offsets.commit": "positions are about to be committed",
    "offsets.committed": "they are committed",
    "judge.wait": "a chunk of intake is with its agent",
    "judge.take": "a chunk of intake is about to be judged",
    "judge.taken": "it is judged, in memory",
    "checkpoint.begun": "rows and verdicts are made, nothing is sent",
    "checkpoint.sent": "all is sent, the transaction is open",
    "checkpoint.committed": "the transaction is committed, RocksDB knows nothing of it",
    "checkpoint.written": "the rows of one table are in RocksDB, perhaps not those of the others",
    "checkpoint.done": "all rows are, intake's position is not committable yet",
    "partitions.taken": "the checkpoints of the partitions are ours, recovery begins",
    "recovery.applied": "one chunk of a changelog is applied",
    "partitions.opened": "the judges are open, nothing is read yet",
    "partitions.leaving": "the partitions are to be left, nothing is finished",
    "partitions.left": "all is checkpointed, positions are not committed",
}
"""Every place, and what is true there."""

ACTIONS: Final = ("kill", "raise", "sleep", "block")


class FailpointError(Exception):
    """What `raise` raises: to the worker it is a defect of its own code."""


class Trap(NamedTuple):
    """What happens at a place; `nth` 0 is every time."""

    action: str
    seconds: float = 0.0
    nth: int = 0


def parse(text: str) -> dict[str, Trap]:
    """Read the setting: what happens, by place, or place with partition. Raises `FatalError` with a clear line."""
    traps = {}
    for entry in text.split():
        place, _, rest = entry.partition("=")
        what, _, nth = rest.partition("@")
        action, _, seconds = what.partition(":")
        try:
            traps[place] = Trap(action, float(seconds or 0), int(nth or 0))
        except ValueError:
            action = ""
        if place.partition("[")[0] not in PLACES or action not in ACTIONS:
            raise FatalError(
                f"{ENVIRONMENT}: {entry!r} is not PLACE=ACTION[:SECONDS][@N] with one of the places"
                f" {', '.join(PLACES)} and one of the actions {', '.join(ACTIONS)}"
            )
    return traps


_traps: Final[dict[str, Trap]] = {}
_reached: Final[Counter[str]] = Counter()


def arm(text: str) -> None:
    """Set the traps that the setting names, once per process. Raises `FatalError` with a clear line."""
    _traps.update(parse(text))


def failpoint(place: str, partition: int | None = None) -> None:
    """Pass a place, in code that does not wait: here `sleep` stands still too."""
    if _traps and (trap := _sprung(place, partition)):
        time.sleep(trap.seconds)


async def failpoint_waiting(place: str, partition: int | None = None) -> None:
    """Pass a place, in code that may wait."""
    if _traps and (trap := _sprung(place, partition)):
        if trap.action == "block":
            time.sleep(trap.seconds)  # noqa: ASYNC251 - that is what is asked for
        else:
            await asyncio.sleep(trap.seconds)


def _sprung(place: str, partition: int | None) -> Trap | None:
    """Return the trap that is to wait; end or raise where that is asked for."""
    for name in (place, f"{place}[{partition}]"):
        trap = _traps.get(name)
        if trap is None:
            continue
        _reached[name] += 1
        if trap.nth not in (0, _reached[name]):
            continue
        os.write(2, f"cutover: failpoint {name}: {trap.action}, time {_reached[name]}\n".encode())
        if trap.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if trap.action == "raise":
            raise FailpointError(f"failpoint {name}")
        return trap
    return None
