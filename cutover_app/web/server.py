"""Faust's web server with three routes of ours and none of its own: `/live`, `/ready`, `/metrics`.

Stock pages serve rows of tables, settings and the layout of the fleet to whoever asks; here they do not exist. The
server runs on the worker's event loop: an answer of `/live` proves that the loop turns, and one that does not come says
the opposite. It is bound before the consumer starts, so that a worker whose port is taken never joins its group.
"""

from typing import Any

from aiohttp.web import AppRunner, Request, Response
from faust.web.drivers import aiohttp as driver
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest

from cutover_app.runtime.app import CutoverApp
from cutover_app.runtime.fatal import FatalError
from cutover_app.runtime.worker import WorkerState
from cutover_app.web.collector import WorkerCollector

LEAVE_SECONDS = 1.0
"""How long a stop waits for an answer that is being given."""
HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


class WorkerWeb(driver.Web):
    """The web server of a worker."""

    default_blueprints = ()
    production_blueprints = ()
    debug_blueprints = ()
    optional_blueprints = ()

    def __init__(self, app: CutoverApp, collector: WorkerCollector) -> None:
        super().__init__(app)
        self._worker = app
        self._registry = CollectorRegistry()
        self._registry.register(collector)
        ProcessCollector(registry=self._registry)
        self._runner = AppRunner(self.web_app, access_log=None, shutdown_timeout=LEAVE_SECONDS)
        for path, handler in (("/live", self._live), ("/ready", self._ready), ("/metrics", self._metrics)):
            self.web_app.router.add_get(path, handler)

    async def start_server(self) -> None:
        """Listen; raises `FatalError` where that is not possible."""
        try:
            await super().start_server()
        except OSError as error:
            where = f"{self._worker.conf.web_bind}:{self._worker.conf.web_port}"
            raise FatalError(
                f"the web server cannot listen on {where} ({error.strerror or error}): "
                "give this worker another --web-port (or --web-bind), or start it --without-web"
            ) from None

    async def _live(self, _request: Request) -> Response:
        return _text("live: the event loop turns")

    async def _ready(self, _request: Request) -> Response:
        state = self._worker.standing.state
        line = state.line
        if state is WorkerState.RECOVERING:
            line = f"{line}; {self._worker.recovery_remaining()} offsets to go"
        if quarantine := self._worker.quarantine_line():
            # Still ready: the other partitions are judged, and to restart would only bring the same again.
            line = f"{line}; {quarantine}"
        return _text(line, status=200 if state.ready else 503)

    async def _metrics(self, _request: Request) -> Response:
        headers: dict[str, Any] = {**HEADERS, "Content-Type": CONTENT_TYPE_LATEST}
        return Response(body=generate_latest(self._registry), headers=headers)


def _text(line: str, status: int = 200) -> Response:
    return Response(text=f"{line}\n", status=status, headers=HEADERS)
