"""Health and figures of real workers, over HTTP as an orchestrator and Prometheus ask for them."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from cutover_app.contract.compile import compile_contract
from cutover_app.contract.load import load_contract
from cutover_app.kafka.settings import Broker
from cutover_app.lab.cluster import Cluster
from cutover_app.lab.fleet import Fleet, Worker
from cutover_app.lab.run import create_all
from cutover_app.lab.verify import Subject
from cutover_app.runtime.app import CutoverApp, settings
from cutover_app.runtime.worker import WorkerState
from cutover_app.web.metrics import METRICS
from tests.integration.helpers import SHORT, Sent, send, write

WAIT_S = 90.0
CANARY = "canary-value"
CONTRACT = Path(__file__).parents[2] / "cutover.yaml"
STOCK_PAGES = (
    "/", "/table", "/table/", "/table/pending/", "/table/pending/a/", "/tables/", "/router", "/router/",
    "/router/pending/", "/router/pending/a/", "/graph", "/graph/", "/performance", "/performance/", "/stats",
    "/monitor/", "/assignment/", "/docs",
)  # fmt: skip
"""Everything that Faust's own blueprints serve, and some guesses."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    text: str


def ask(port: int, path: str, method: str = "GET") -> Answer:
    """Ask a worker; raises OSError where nobody listens."""
    link = HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(link):
        link.request(method, path)
        answer = link.getresponse()
        return Answer(answer.status, answer.read().decode())


def figures(port: int) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Samples of a scrape by name."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(ask(port, "/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(what: str, true: Callable[[], Any], check: Callable[[], None] = lambda: None) -> Any:
    """Wait until something is so; nobody listening is not yet."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        check()
        with contextlib.suppress(OSError):
            if found := true():
                return found
        time.sleep(0.05)
    raise AssertionError(f"not in {WAIT_S:g} s: {what}")


@dataclass
class Served:
    """A worker at work on a run of a few records."""

    fleet: Fleet
    worker: Worker
    port: int
    answers: list[Answer]
    """What `/ready` said until it was ready."""


@pytest.fixture(scope="module")
def served(kafka: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One worker with a web server; one legacy message is missing, one has a wrong value, and the topics are idle."""
    contract = write(
        tmp_path_factory.mktemp("served"),
        {
            "contract": "served",
            "broker": "kafka://localhost:9092",
            "legacy": {"topic": "served.legacy"},
            "rebuilt": {"topic": "served.rebuilt"},
            "match": {"key": ["id"]},
            "timing": SHORT,
            "rebuild": {"id": "no", "name": "name"},
            "intake": {"partitions": 4},
            "verdicts": {"topic": "served.verdicts"},
        },
    )
    subject = Subject.load(kafka.bootstrap, contract)
    asyncio.run(create_all(subject, (2, 3)))
    legacy = [Sent(json.dumps({"no": no, "name": CANARY}).encode()) for no in range(10)]
    rebuilt = [Sent(json.dumps({"id": no, "name": CANARY if no else "other"}).encode()) for no in range(9)]
    asyncio.run(send(kafka.bootstrap, "served.legacy", legacy))
    asyncio.run(send(kafka.bootstrap, "served.rebuilt", rebuilt))
    fleet, port = Fleet(kafka, contract, name="served"), free_port()
    try:
        (worker,) = fleet.start(web_port=port)
        answers: list[Answer] = []

        def is_ready() -> bool:
            answers.append(ask(port, "/ready"))
            return answers[-1].status == 200

        wait_for("ready", is_ready, fleet.check)
        yield Served(fleet, worker, port, answers)
    finally:
        fleet.close()


def test_a_worker_is_not_ready_before_it_works(served: Served) -> None:
    """While a worker starts, joins or recovers, `/ready` is 503 with the reason; then 200, though topics are idle."""
    *before, last = served.answers
    reasons = {state.line for state in WorkerState if not state.ready}

    assert Answer(200, f"{WorkerState.WORKING.line}\n") == last
    assert before
    assert {503} == {answer.status for answer in before}
    assert {answer.text.strip().partition("; ")[0] for answer in before} <= reasons
    assert Answer(200, "live: the event loop turns\n") == ask(served.port, "/live")


def test_a_scrape_says_what_was_judged(served: Served) -> None:
    """If one message is missing and one is wrong, then a scrape says so, in every metric, and shows no value."""

    def judged() -> bool:
        verdicts = {labels["outcome"]: value for labels, value in figures(served.port)["cutover_verdicts_total"]}
        return verdicts["missing"] == 1 and verdicts["mismatch"] == 1

    wait_for("two verdicts", judged, served.fleet.check)
    found = figures(served.port)
    text = ask(served.port, "/metrics").text

    assert all(f"# HELP {each.name} {each.help}" in text for each in METRICS)
    assert {"missing": 1, "wrong_value": 1} == {
        labels["kind"]: value for labels, value in found["cutover_findings_total"] if value
    }
    assert 4 == sum(value for _, value in found["cutover_books_balanced"])
    accepted = dict.fromkeys(("legacy", "rebuilt"), 0.0)
    for labels, value in found["cutover_accepted_records_total"]:
        accepted[labels["side"]] += value
    assert {"legacy": 10, "rebuilt": 9} == accepted
    assert 1 <= found["cutover_checkpoint_seconds_count"][0][1]
    assert 0 < found["cutover_checkpoint_bytes_total"][0][1]
    assert 1 == found["cutover_recovery_seconds_count"][0][1]
    assert {0.0} == {value for _, value in found["cutover_source_lag_records"]}
    assert all(value < WAIT_S for _, value in found["cutover_frontier_lag_seconds"])
    assert all(value > 0 for _, value in found["cutover_barriers_total"])
    assert CANARY not in text
    assert "served.legacy" not in text


def test_nothing_else_is_served(served: Served) -> None:
    """Faust's own pages, those with rows of tables first of all, are not there; ours take no other method than GET."""
    assert {404} == {ask(served.port, page).status for page in STOCK_PAGES}
    assert {405} == {ask(served.port, page, "POST").status for page in ("/live", "/ready", "/metrics")}
    assert 200 == ask(served.port, "/live", "HEAD").status


def test_only_this_host_is_listened_to(served: Served) -> None:
    """Unless told otherwise, a worker listens on the loopback address alone."""
    listening = [
        fields[1]
        for table in ("tcp", "tcp6")
        for fields in (line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:])
        if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == served.port
    ]

    assert [f"0100007F:{served.port:04X}"] == listening


def test_a_port_in_use_is_one_line(served: Served) -> None:
    """If the port is taken, then a worker says which and what to set, exits with 4, and nobody has to rebalance."""
    (second,) = served.fleet.start(web_port=served.port)
    second.process.wait(WAIT_S)
    said = second.log.read_text()
    served.fleet.workers.remove(second)

    assert 4 == second.process.returncode
    (line,) = [each for each in said.splitlines() if "cutover: fatal: " in each]
    assert f"127.0.0.1:{served.port}" in line
    assert "--web-port" in line
    assert "--without-web" in line
    assert "Traceback" not in said
    assert 200 == ask(served.port, "/ready").status
    assert 1 == figures(served.port)["cutover_recovery_seconds_count"][0][1]


def test_partitions_that_leave_take_their_series_along(served: Served) -> None:
    """If another worker joins, then this one exports only the partitions that it has kept, and is ready again."""
    served.fleet.start()

    def shared() -> bool:
        return len(figures(served.port).get("cutover_books_balanced", ())) == 2

    wait_for("a share of two partitions", shared, served.fleet.check)
    wait_for("ready again", lambda: ask(served.port, "/ready").status == 200, served.fleet.check)

    found = figures(served.port)
    assert 2 == found["cutover_recovery_seconds_count"][0][1]
    assert 2 == len({labels["partition"] for labels, _ in found["cutover_pending_records"]})


def test_an_open_connection_delays_no_stop(served: Served) -> None:
    """If a client keeps its connection open, then SIGTERM still ends the worker in time; it comes last."""
    link = HTTPConnection("127.0.0.1", served.port, timeout=10)
    with contextlib.closing(link):
        link.request("GET", "/live")
        assert 200 == link.getresponse().status

        assert 10 > served.fleet.terminate(served.worker)


def test_without_a_server_of_ours_stock_pages_are_off_too(tmp_path: Path) -> None:
    """If an app has no web server of its own, then Faust's shows that it is there, and no data."""
    app = CutoverApp("bare", **settings(Broker.parse("localhost"), datadir=tmp_path))

    assert [""] == [prefix for prefix, _ in app.web.blueprints._enabled]


@pytest.mark.parametrize("state", WorkerState, ids=lambda state: state.word)
def test_every_state_has_its_answer(state: WorkerState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`/ready` is 200 or 503 by the state, with its line; `/live` is 200 in all of them."""
    monkeypatch.setenv("CUTOVER_CONTRACT", str(CONTRACT))
    monkeypatch.setenv("CUTOVER_DATADIR", str(tmp_path))
    from cutover_app.main import create_app  # noqa: PLC0415 - needs the contract

    contract = load_contract(CONTRACT)

    async def answers() -> tuple[Answer, Answer, list[str]]:
        app: CutoverApp = create_app(contract, compile_contract(contract))
        app.standing.state = state
        monkeypatch.setattr(CutoverApp, "recovery_remaining", lambda _app: 7)
        app.web.init_server()
        async with TestClient(TestServer(app.web.web_app)) as client:
            got = [await client.get(path) for path in ("/ready", "/live")]
            ready, live = [Answer(each.status, await each.text()) for each in got]
        routes = sorted({route.resource.canonical for route in app.web.web_app.router.routes()})
        return ready, live, routes

    ready, live, routes = asyncio.run(answers())

    assert (200 if state.ready else 503) == ready.status
    assert ready.text.startswith(state.line)
    assert ("7 offsets to go" in ready.text) == (state is WorkerState.RECOVERING)
    assert 200 == live.status
    assert ["/live", "/metrics", "/ready"] == routes
