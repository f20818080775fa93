"""What a worker of the lab says over HTTP."""

import contextlib
from urllib.request import urlopen

from cutover_app.lab.errors import LabError
from cutover_app.runtime.worker import WorkerState

TIMEOUT_S = 5.0


def page(port: int, path: str) -> str:
    """Return a page of a worker; empty while it does not answer, or answers with an error."""
    with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{port}/{path}", timeout=TIMEOUT_S) as answer:
        return str(answer.read(), "utf-8")
    return ""


def is_working(port: int) -> bool:
    """Tell whether a worker has its partitions, and has opened them."""
    return WorkerState.WORKING.line in page(port, "ready")


def metric(port: int, name: str) -> float:
    """Return a metric of a worker that has no labels."""
    lines = [line for line in page(port, "metrics").splitlines() if line.startswith(f"{name} ")]
    if len(lines) != 1:
        raise LabError(f"the worker at port {port} shows {name} {len(lines)} times")
    return float(lines[0].rpartition(" ")[2])
