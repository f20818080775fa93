"""The table of metrics is what a scrape gives, and a scrape is what the worker knows."""

import asyncio
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from cutover_app.contract.compile import compile_contract
from cutover_app.contract.load import load_contract
from cutover_app.core.frames import LEGACY, REBUILT
from cutover_app.core.rows import SCAN_ROWS
from cutover_app.runtime.app import CutoverApp
from cutover_app.runtime.judging import Seat
from cutover_app.runtime.worker import Durations, Standing, WorkerState
from cutover_app.web.collector import WorkerCollector
from cutover_app.web.metrics import LABELS, METRICS, PREFIX, markdown
from tests.core.history import Log, entry

CONTRACT = Path(__file__).parents[2] / "cutover.yaml"
DOCUMENTATION = (Path(__file__).parents[2] / "README.md", Path(__file__).parents[2] / "ARCHITECTURE.md")
UNITS = {"", "seconds", "bytes", "records", "verdicts", "findings", "partitions", "imbalances", "barriers", "rows"}


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CutoverApp:
    """A worker that was not started and owns no partition."""
    monkeypatch.setenv("CUTOVER_CONTRACT", str(CONTRACT))
    monkeypatch.setenv("CUTOVER_DATADIR", str(tmp_path))
    from cutover_app.main import create_app  # noqa: PLC0415 - needs the contract

    contract = load_contract(CONTRACT)
    return create_app(contract, compile_contract(contract))


def scrape(app: CutoverApp) -> dict[str, Metric]:
    """What Prometheus would read, by the name in the table."""
    registry = CollectorRegistry()
    registry.register(WorkerCollector(app, contract="orders", run="r1", rules="sha256:1"))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {f"{each.name}_total" if each.type == "counter" else each.name: each for each in families}


def values(metric: Metric) -> dict[tuple[str, ...], float]:
    """Values by the values of the labels, in the order of the table."""
    (labels,) = (each.labels for each in METRICS if each.name.removesuffix("_total") == metric.name)
    return {tuple(sample.labels[label] for label in labels): sample.value for sample in metric.samples}


def seat(app: CutoverApp, partition: int, log: Log) -> Seat:
    """Give the worker a partition."""
    taken = Seat(log.judge)
    app.judging._seats[partition] = taken
    return taken


def busy(app: CutoverApp) -> None:
    """Bring the worker into a state in which every metric has a value."""
    log = Log()
    log.legacy(entry(0, "a=1"), entry(1, "b=1"))
    log.rebuilt(entry(0, "a=1"))
    log.pass_time(3)
    log.settle()
    seat(app, 3, log)
    for forwarder in (app.legacy, app.rebuilt):
        forwarder.stage.partitions = frozenset({0})
        forwarder.stage.sender.beaten_at = 0.0
        forwarder.sampling.assign({0: 5})
        forwarder.sampling.barrier_acked([0] * 12)
        forwarder.sampling.sampled({0: 9}, 1)


def test_the_table_is_what_a_scrape_gives(app: CutoverApp) -> None:
    """Name, type, labels and help of every metric are those of the table, in its order, and there are no others."""
    busy(app)

    found = scrape(app)

    assert [each.name for each in METRICS] == list(found)
    for metric in METRICS:
        family = found[metric.name]
        kind = "gauge" if metric.kind == "info" else metric.kind
        assert (kind, metric.help) == (family.type, family.documentation), metric.name
        assert family.samples, metric.name
        labels = {frozenset(sample.labels) - {"le"} for sample in family.samples}
        assert {frozenset(metric.labels)} == labels, metric.name


def test_names_are_conventional() -> None:
    """One prefix, base units, `_total` on counters and on nothing else, `_info` where the value says nothing."""
    for each in METRICS:
        assert each.name.startswith(PREFIX)
        assert each.name.endswith("_total") == (each.kind == "counter"), each.name
        assert each.name.endswith("_info") == (each.kind == "info"), each.name
        assert each.unit in UNITS, each.name
        assert each.unit in each.name.removesuffix("_total").split("_") or not each.unit, each.name
        assert set(each.labels) <= set(LABELS) or each.kind == "info", each.name


def test_the_documentation_has_the_table() -> None:
    """Where the documentation lists the metrics, it lists exactly these."""
    documented = [text for text in (file.read_text() for file in DOCUMENTATION) if "| metric | type |" in text]

    if not documented:
        pytest.skip("no table of metrics in README.md or ARCHITECTURE.md")
    for text in documented:
        assert markdown() in text


def test_labels_hold_no_text_of_messages(app: CutoverApp) -> None:
    """If messages, keys and topics have telling values, then no label has one: all are of a fixed few."""
    log = Log()
    log.legacy(entry(0, "canary-key=canary-value"))
    log.rebuilt(entry(0, "canary-key=other-canary"))
    log.pass_time(10)
    log.settle()
    seat(app, 3, log)

    exported = "\n".join(str(each.samples) for each in scrape(app).values())

    assert "canary" not in exported
    assert "shop.orders" not in exported


def test_books_are_exported_as_they_are(app: CutoverApp) -> None:
    """If one pair has met and one legacy record waits, then the figures say so and add up as the books do."""
    busy(app)

    found = {name: values(metric) for name, metric in scrape(app).items()}

    assert {("legacy", "3"): 2, ("rebuilt", "3"): 1} == found["cutover_accepted_records_total"]
    assert {("legacy", "3"): 1, ("rebuilt", "3"): 0} == found["cutover_pending_records"]
    assert 1 == found["cutover_judged_records"]["legacy", "paired", "3"]
    assert {("legacy", "3"): 3.0, ("rebuilt", "3"): 0.0} == found["cutover_oldest_pending_seconds"]
    assert {("3",): 1} == found["cutover_books_balanced"]
    assert {("legacy", "3"): 1.0, ("rebuilt", "3"): 1.0} == found["cutover_frontier_lag_seconds"]
    assert {("legacy", "3"): 1, ("rebuilt", "3"): 1} == found["cutover_frontier_proven"]
    assert {("legacy",): 4, ("rebuilt",): 4} == found["cutover_source_lag_records"]


def test_an_imbalance_is_exported(app: CutoverApp) -> None:
    """If a sender says that it put more into the log than has arrived, then the books do not balance."""
    log = Log()
    log.barrier(LEGACY, sent=7)
    seat(app, 3, log)

    found = scrape(app)

    assert {("3",): 0} == values(found["cutover_books_balanced"])
    assert {("3",): 1} == values(found["cutover_imbalances_total"])


def test_without_a_frontier_there_is_no_lag(app: CutoverApp) -> None:
    """If a source partition is not vouched for, then a no lag is made up; the counts of partitions say why."""
    log = Log()
    log.barrier(LEGACY, partitions=2)
    seat(app, 3, log)

    found = scrape(app)

    assert {} == values(found["cutover_frontier_lag_seconds"])
    assert 2 == values(found["cutover_source_partitions"])["legacy", "3"]
    assert 0 == values(found["cutover_vouched_partitions"])["legacy", "3"]


def test_a_mirror_that_is_not_proven_is_exported(app: CutoverApp) -> None:
    """If the barriers of the legacy side vouch without proof, then a scrape says so of that side alone."""
    log = Log()
    first = log.barrier(LEGACY)
    log.barrier(LEGACY, first, 1_000, proven=False)
    seat(app, 3, log)

    assert {("legacy", "3"): 0, ("rebuilt", "3"): 1} == values(scrape(app)["cutover_frontier_proven"])


def test_partitions_that_left_vanish(app: CutoverApp) -> None:
    """If a rebalance takes a partition away, then no series of it is left, and what is the worker's own stays."""
    busy(app)
    app.judging.outcomes["missing"] = 5
    app.judging._seats.clear()
    app.legacy.stage.partitions = app.rebuilt.stage.partitions = frozenset()

    found = scrape(app)

    for each in METRICS:
        if "partition" in each.labels:
            assert {} == values(found[each.name]), each.name
    assert {} == values(found["cutover_barrier_age_seconds"])
    assert {} == values(found["cutover_source_lag_records"])
    assert 5 == values(found["cutover_verdicts_total"])["missing",]


def test_what_was_paired_since_is_not_the_oldest_pending() -> None:
    """If the payload of the oldest record is on disk and the record is paired, then it is not the oldest any more."""
    log = Log()
    log.legacy(entry(0, "a=1"))
    log.barrier(LEGACY, after_ms=1_000)
    log.legacy(entry(1, "b=1"))
    log.checkpoint()
    log.barrier(LEGACY, after_ms=2_000)
    assert 3_000 == log.judge.oldest_ms(LEGACY)

    log.rebuilt(entry(0, "a=1"))
    log.settle()
    assert 2_000 == log.judge.oldest_ms(LEGACY)
    log.checkpoint()
    assert 2_000 == log.judge.oldest_ms(LEGACY)
    assert log.judge.oldest_ms(REBUILT) is None
    log.rebuilt(entry(1, "b=1"))
    log.settle()
    assert log.judge.oldest_ms(LEGACY) is None


def test_behind_many_that_were_paired_somebody_waits() -> None:
    """If all records that one scan reads have been paired since, then the oldest is not said to be none."""
    log = Log()
    log.legacy(*[entry(place, f"k{place}=1") for place in range(SCAN_ROWS)])
    log.barrier(LEGACY, after_ms=1_000)
    log.legacy(entry(SCAN_ROWS, "last=1"))
    log.checkpoint()
    log.rebuilt(*[entry(place, f"k{place}=1") for place in range(SCAN_ROWS)])
    log.barrier(LEGACY, after_ms=1_000)
    log.settle()

    assert 2_000 == log.judge.oldest_ms(LEGACY)
    assert 1 == log.judge.books.pending(LEGACY)


def test_looking_at_the_oldest_changes_no_verdict() -> None:
    """If a scrape looks at the queue at any time, then what is closed and said is the same."""
    said = []
    for looks in (False, True):
        log = Log()
        for round_ in range(8):
            log.legacy(entry(3 * round_, f"a{round_}=1"), entry(3 * round_ + 1, f"b{round_}=1"))
            log.rebuilt(entry(round_, f"a{round_ - 1}=1"))
            if looks:
                log.judge.settle()
                assert log.judge.oldest_ms(LEGACY) is not None
            if round_ % 2:
                log.checkpoint()
            log.pass_time(2)
        log.settle()
        said.append([(each.id, each.rev, each.at, each.outcome) for each in log.history])

    assert said[0] == said[1]
    assert said[0]


def test_while_rows_are_committed_nothing_is_read(app: CutoverApp) -> None:
    """If a scrape comes while a commit is under way, then the figure from before it stands: rows must not be read."""

    async def scraped() -> tuple[int | None, int | None]:
        log = Log()
        log.legacy(entry(0, "a=1"))
        taken = seat(app, 3, log)
        before = taken.oldest_ms()
        taken.committing = asyncio.create_task(asyncio.sleep(60))
        taken.judge._rows = None  # type: ignore[assignment] # whoever reads now fails
        found = taken.oldest_ms()
        taken.committing.cancel()
        return before if found == before else (-1, -1)

    assert (0, None) == asyncio.run(scraped())


def test_durations_are_counted_by_bound() -> None:
    """If something took exactly a bound, then it is within it; a histogram is cumulative and ends at infinity."""
    durations = Durations((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 7.0):
        durations.add(seconds)

    assert [2, 1, 1] == durations.counts
    assert 7.65 == pytest.approx(durations.seconds)


def test_a_recovery_ends_with_work(caplog: pytest.LogCaptureFixture) -> None:
    """A recovery that ends in work is counted, one overtaken by a rebalance is not; nothing follows stopping."""
    standing = Standing()
    caplog.set_level("INFO")
    for state in (
        WorkerState.RECOVERING,
        WorkerState.REBALANCING,
        WorkerState.RECOVERING,
        WorkerState.WORKING,
        WorkerState.STOPPING,
        WorkerState.REBALANCING,
    ):
        standing.enter(state)

    assert 1 == sum(standing.recoveries.counts)
    assert WorkerState.STOPPING is standing.state
    assert f"worker is {WorkerState.WORKING.line}" in caplog.messages
    assert f"worker is {WorkerState.STOPPING.line}" == caplog.messages[-1]
    assert {"working", "spare"} == {state.word for state in WorkerState if state.ready}
