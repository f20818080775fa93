"""How a worker ends when going on could make its verdicts wrong.

Faust restarts an agent that raised, acknowledges what it was working on, and commits while it
stops. A verifier must do none of that: whoever takes over replays from the last checkpoint. So a
fatal error leaves the process at once, without a commit, and says why in one line.
"""

import logging
import os
import sys
import threading
from typing import NoReturn

#: Operational failure; the same number on the command line.
EXIT_FATAL = 4

log = logging.getLogger(__name__)


class FatalError(Exception):
    """Expected in kind (a broker gone, fenced by a new owner), so its line needs no traceback."""


def die(reason: BaseException | str) -> NoReturn:
    """End this process now: no commit, no clean-up, exit code 4."""
    if isinstance(reason, BaseException) and not isinstance(reason, FatalError):
        log.critical("unexpected error", exc_info=reason)
    logging.shutdown()
    # Faust redirects sys.stderr into its log.
    print(f"cutover: fatal: {_line(reason)}", file=sys.__stderr__, flush=True)  # noqa: T201
    os._exit(EXIT_FATAL)


def leave() -> NoReturn:
    """End this process now, in good order."""
    logging.shutdown()
    os._exit(0)


def die_after(seconds: float, why: str) -> threading.Timer:
    """Arm a last resort that works even when the event loop hangs. Cancel it when done."""
    timer = threading.Timer(seconds, die, (f"{why} took longer than {seconds:g} s",))
    timer.daemon = True
    timer.start()
    return timer


def _line(reason: BaseException | str) -> str:
    if isinstance(reason, str | FatalError):
        text = str(reason)
    else:
        text = f"{type(reason).__name__}: {reason}"
    return " ".join(text.split())
