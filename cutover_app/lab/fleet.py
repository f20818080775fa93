"""Worker processes, as a fleet that can be killed, ended and measured one by one.

Each worker is the real command line in a process of its own, with its own state directory and its own log file, inside
the directory of a lab's cluster: it ends when the cluster does, and its files go with it.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

import cutover_app
from cutover_app.lab.cluster import Cluster
from cutover_app.lab.errors import LabError

COMMAND: Final = (sys.executable, "-m", "cutover_app")
LOG_TAIL_LINES: Final = 25
TERMINATE_TIMEOUT_S: Final = 30.0
POLL_S: Final = 0.02

_PROJECT: Final = Path(cutover_app.__file__).parents[1]
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Usage(NamedTuple):
    """What a process has used so far."""

    at: float
    """Seconds since the epoch."""
    cpu_seconds: float
    """User and system time."""
    rss_bytes: int
    peak_rss_bytes: int


def environment(contract: Path, broker: str, **more: str) -> dict[str, str]:
    """Return the environment in which commands and workers run."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CUTOVER_")}
    paths = [str(_PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return inherited | {
        "CUTOVER_CONTRACT": str(contract),
        "CUTOVER_BROKER": f"kafka://{broker}",
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        **more,
    }


@dataclass
class Worker:
    """One worker process."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]
    may_end: bool = False
    """Whether it is fine that it ends by itself."""

    def __repr__(self) -> str:
        """Return name, process and state."""
        state = "running" if self.running else f"ended with {self.process.returncode}"
        return f"<Worker {self.name} {self.process.pid} {state}>"

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.process.poll() is None

    def usage(self) -> Usage:
        """Read CPU time and memory from /proc; raises `LabError` when the process is gone."""
        folder = Path("/proc") / str(self.process.pid)
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            status = (folder / "status").read_text()
        except OSError:
            raise LabError(f"{self.name} is gone:\n{self.log_tail()}") from None
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in status.splitlines() if " kB" in line}
        cpu = (int(fields[11]) + int(fields[12])) / _TICKS
        return Usage(time.time(), cpu, sizes.get("VmRSS", 0), sizes.get("VmHWM", 0))

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        """Return the last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Fleet:
    """The workers of one contract, on one cluster, which they may reach at another address than the lab (`broker`)."""

    def __init__(
        self, cluster: Cluster, contract: Path, *, name: str = "worker", under: Sequence[str] = (), broker: str = ""
    ) -> None:
        self.workers: list[Worker] = []
        self.under = under
        """A command that runs the commands of workers from now on: in a network or with a clock of its own, for one."""
        self._cluster = cluster
        self._contract = contract
        self._name = name
        self._broker = broker or cluster.bootstrap
        self._numbers = count(1)

    def __repr__(self) -> str:
        """Return the workers that there are."""
        return f"<Fleet {self.workers}>"

    @property
    def running(self) -> list[Worker]:
        """The workers whose process is there."""
        return [worker for worker in self.workers if worker.running]

    def start(self, workers: int = 1, *, env: Mapping[str, str] | None = None, web_port: int = 0) -> list[Worker]:
        """Start workers, the first with a web server if a port is given; they are not ready when this returns."""
        ports = [web_port, *[0] * (workers - 1)]
        return [self._start(f"{self._name}-{next(self._numbers)}", env or {}, port) for port in ports]

    def start_again(self, worker: Worker, *, env: Mapping[str, str] | None = None) -> Worker:
        """Start a worker that has ended once more, with its former state and log."""
        if worker in self.workers:
            self._gone(worker)
        return self._start(worker.name, env or {}, 0)

    def _start(self, name: str, env: Mapping[str, str], web_port: int) -> Worker:
        directory = self._cluster.directory / name
        directory.mkdir(exist_ok=True)
        web = ["--web-port", str(web_port)] if web_port else ["--without-web"]
        log = directory / "worker.log"
        with log.open("ab") as output:
            process = self._cluster.spawn(
                [*self.under, *COMMAND, "worker", *web],
                log=output,
                env=environment(self._contract, self._broker, CUTOVER_DATADIR=str(directory / "data"), **env),
                cwd=directory,
            )
        worker = Worker(name, log, process)
        self.workers.append(worker)
        return worker

    def check(self) -> None:
        """Raise `LabError` if a worker has ended by itself that should not."""
        for worker in self.workers:
            code = worker.process.poll()
            if code is not None and not worker.may_end:
                raise LabError(f"{worker.name} ended with exit code {code}:\n{worker.log_tail()}")

    def wait(self, worker: Worker, *, timeout: float) -> int:
        """Wait until a worker has ended by itself; return its exit code, negative for a signal."""
        try:
            code = worker.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LabError(f"{worker.name} did not end within {timeout:g} s:\n{worker.log_tail()}") from None
        self._gone(worker)
        return code

    def kill(self, worker: Worker) -> None:
        """End a worker at once (SIGKILL), without a chance to leave the group."""
        worker.process.kill()
        self._gone(worker)

    def terminate(self, worker: Worker) -> float:
        """End a worker in good order (SIGTERM) and return the seconds until it was gone."""
        began = time.monotonic()
        worker.process.terminate()
        try:
            worker.process.wait(TERMINATE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill(worker)
            raise LabError(f"{worker.name} did not end on SIGTERM:\n{worker.log_tail()}") from None
        self._gone(worker)
        if worker.process.returncode:
            raise LabError(f"{worker.name} ended with {worker.process.returncode} on SIGTERM:\n{worker.log_tail()}")
        return time.monotonic() - began

    def close(self) -> None:
        """End all workers in good order, and by force where that does not help; safe to call again."""
        for worker in self.running:
            worker.process.terminate()
        deadline = time.monotonic() + TERMINATE_TIMEOUT_S / 2
        while self.running and time.monotonic() < deadline:
            time.sleep(POLL_S)
        for worker in self.running:
            self.kill(worker)
        for worker in list(self.workers):
            self._gone(worker)

    def _gone(self, worker: Worker) -> None:
        worker.process.wait()
        self._cluster.forget(worker.process)
        self.workers.remove(worker)


def run_command(
    words: Sequence[str],
    contract: Path,
    broker: str,
    *,
    timeout: float = 60.0,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run one command of the command line to its end."""
    return subprocess.run(
        [*COMMAND, *words],
        env=environment(contract, broker, **env or {}),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
