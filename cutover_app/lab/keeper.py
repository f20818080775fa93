"""A keeper sees to it that nothing of a lab outlives the process that made it.

The maker of a lab may end in ways in which it cannot clean up: SIGKILL, a SIGTERM that nobody
handles, a crash of the interpreter. So a second, tiny process holds the other end of a pipe. When
the pipe breaks, for whatever reason, it kills the process groups that it was told about and
removes the lab's directory. It sits in a session of its own, where a Ctrl-C does not reach it.

It runs this file as a script, without the project or site packages, and so starts in milliseconds.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

KILL_WAIT_S = 5.0


class Keeper:
    """Starts processes that end with this one, beside a directory that goes with it."""

    def __init__(self, directory: Path) -> None:
        """Watch over `directory` from now on."""
        self._child = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(directory)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def spawn(
        self,
        command: Sequence[str],
        *,
        log: IO[Any] | int | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a process in a session of its own; its output goes to `log`, its input is empty."""
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT if log is not None else None,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
        self._tell("watch", process.pid)
        return process

    def forget(self, process: subprocess.Popen[bytes]) -> None:
        """Stop watching a process that has ended: its number may be given to another one."""
        self._tell("forget", process.pid)

    def close(self) -> None:
        """Kill what still runs and remove the directory; return when that is done."""
        if self._child.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._child.stdin.close()
        self._child.wait()

    def _tell(self, word: str, pid: int) -> None:
        if self._child.stdin is None:
            raise RuntimeError("the keeper has no pipe")
        self._child.stdin.write(f"{word} {pid}\n".encode())
        self._child.stdin.flush()


def _keep(directory: str) -> None:
    """Read `watch PID` and `forget PID` until the pipe breaks, then clean up."""
    watched: set[int] = set()
    for line in sys.stdin:
        word, _, pid = line.partition(" ")
        if word == "watch":
            watched.add(int(pid))
        else:
            watched.discard(int(pid))
    for pid in watched:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    # A process that is just dying may still create a file: look again until the directory is gone.
    deadline = time.monotonic() + KILL_WAIT_S
    while os.path.exists(directory) and time.monotonic() < deadline:  # noqa: PTH110 - starts sooner
        shutil.rmtree(directory, ignore_errors=True)
        time.sleep(0.02)


if __name__ == "__main__":
    _keep(sys.argv[1])
