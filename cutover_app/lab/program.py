"""A program of the lab in a process of its own, a broker or MirrorMaker 2: what can be done to it, and its log."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

STOP_TIMEOUT_S = 20.0
LOG_TAIL_LINES = 25


class Keeps(Protocol):
    """Whoever sees to it that a process does not outlive the lab."""

    def spawn(
        self,
        command: Sequence[str],
        *,
        log: IO[Any] | int | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a process."""

    def forget(self, process: subprocess.Popen[bytes]) -> None:
        """Note that a process has ended and been waited for."""


class Program:
    """What every program of the lab has in common; each starts in its own way, and says when it is ready."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """Its log."""
        raise NotImplementedError

    @property
    def _keeps(self) -> Keeps:
        raise NotImplementedError

    @property
    def pid(self) -> int | None:
        """Its process, while it runs."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End it in good order (SIGTERM)."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._ended(self._process)

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._ended(self._process)

    def pause(self) -> None:
        """Halt it (SIGSTOP) until `resume`: alive, but silent."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        """Return the last lines of its log."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _run(self, command: Sequence[str], directory: Path) -> None:
        # Kafka's scripts set these variables for the garbage collector's log; nothing else is needed.
        env = {name: value for name, value in os.environ.items() if not name.startswith("KAFKA_")}
        with self.log.open("ab") as log:
            self._process = self._keeps.spawn(command, log=log, env=env, cwd=directory)

    def _ended(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        self._keeps.forget(process)
        self._process = None
