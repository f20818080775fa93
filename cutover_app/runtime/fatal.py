"""How a worker ends when going on could make its verdicts wrong.

Faust restarts an agent that raised, acknowledges what it was working on, and commits while it
stops. A verifier must do none of that: whoever takes over replays from the last checkpoint. So a
fatal error leaves the process at once, without a commit, and says why in one line.
"""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, NoReturn

from cutover_app.contract.errors import ComparisonError, ContractError, ImpureHookError
from cutover_app.core.foreign import ForeignRulesError
from cutover_app.core.payloads import DigestError
from cutover_app.core.state import RowError
from cutover_app.kafka.errors import AccessRefused, KafkaUnavailable, TopicsUnfit
from cutover_app.kafka.refusal import denied

#: Operational failure; the same number on the command line.
EXIT_FATAL = 4

log = logging.getLogger(__name__)


class FatalError(Exception):
    """What ends a worker for a reason that one line can say: a broker gone, fenced by a new owner."""


#: Their line says all there is to say; anything else is a defect of ours and shows its traceback.
EXPECTED: Final = (
    FatalError,
    AccessRefused,
    KafkaUnavailable,
    TopicsUnfit,
    ContractError,
    ImpureHookError,
    ComparisonError,
    DigestError,
    ForeignRulesError,
    RowError,
)


def die(reason: BaseException | str) -> NoReturn:
    """End this process now: no commit, no clean-up, exit code 4."""
    _end_soon(EXIT_FATAL)
    if isinstance(reason, BaseException):
        reason = denied(reason) or reason  # whatever failed for want of a permission says which one
    if isinstance(reason, BaseException) and not isinstance(reason, EXPECTED):
        log.critical("unexpected error", exc_info=reason)
    logging.shutdown()
    # Faust redirects sys.stderr into its log.
    print(f"cutover: fatal: {_line(reason)}", file=sys.__stderr__, flush=True)
    os._exit(EXIT_FATAL)


def leave() -> NoReturn:
    """End this process now, in good order."""
    _end_soon(0)
    logging.shutdown()
    os._exit(0)


def _end_soon(code: int) -> None:
    """Exit in a second even if writing the last line blocks, on a full pipe for one."""
    after(1.0, partial(os._exit, code))


def after(seconds: float, last_resort: Callable[[], object]) -> threading.Timer:
    """Arm what works even when the event loop hangs. Cancel it when it is not needed."""
    timer = threading.Timer(seconds, last_resort)
    timer.daemon = True
    timer.start()
    return timer


@contextmanager
def cancelled_by_nobody(is_over: Callable[[], bool]) -> Iterator[None]:
    """End this process where a cancellation comes up that nobody asked for, while what is done is not over.

    A library that lets one out would end the task that called it, in silence: mode takes it for a stop.
    """
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling() or is_over():
            raise
        die(f"{task.get_name()} was cancelled, and nobody cancelled it")


def die_after(seconds: float, why: str) -> threading.Timer:
    """Arm a last resort that ends this process. Cancel it when done."""
    return after(seconds, partial(die, f"{why} took longer than {seconds:g} s"))


def _line(reason: BaseException | str) -> str:
    named = isinstance(reason, BaseException) and not isinstance(reason, EXPECTED)
    return " ".join(f"{type(reason).__name__ + ': ' if named else ''}{reason}".split())
