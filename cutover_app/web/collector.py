"""The figures of a worker, read from it when they are asked for: what happens per message pays nothing for them.

Everything is read on the worker's own event loop, between two chunks, so that figures of one partition belong together.
What belongs to a partition is looked up among those that the worker owns now; so its series end when it moves on.
"""

import platform
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

import faust
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from cutover_app import __version__
from cutover_app.core.closing import NEVER
from cutover_app.core.frames import LEGACY, REBUILT, SIDES
from cutover_app.core.state import PENDING, TALLIES
from cutover_app.core.verdicts import FINDING_KINDS, OUTCOMES
from cutover_app.runtime.app import CutoverApp
from cutover_app.runtime.judging import Seat
from cutover_app.runtime.worker import Durations, WorkerState
from cutover_app.web import metrics

Figure = tuple[str, tuple[str, ...], float | Durations]
"""Name, values of the labels in the order of the table, value."""

INFINITY: Final = "+Inf"


class WorkerCollector(Collector):
    """Exports everything that `metrics.METRICS` names."""

    def __init__(self, app: CutoverApp, *, contract: str, run: str, rules: str) -> None:
        self._app = app
        self._run = (contract, run, rules)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric of the table, with the figures that there are of it."""
        found: defaultdict[str, list[tuple[tuple[str, ...], float | Durations]]] = defaultdict(list)
        for name, labels, value in self.figures():
            found[name].append((labels, value))
        for metric in metrics.METRICS:
            yield _family(metric, found.pop(metric.name, ()))
        assert not found, f"not in the table of metrics: {sorted(found)}"

    def figures(self) -> Iterator[Figure]:
        """Yield all figures."""
        yield "cutover_build_info", (__version__, faust.__version__, platform.python_version()), 1
        yield "cutover_run_info", self._run, 1
        yield from self._worker()
        yield from self._stages()
        for number, seat in sorted(self._app.judging.seats.items()):
            yield from _seat(str(number), seat)

    def _worker(self) -> Iterator[Figure]:
        app = self._app
        for state in WorkerState:
            yield "cutover_worker_state", (state.word,), float(state is app.standing.state)
        for outcome in OUTCOMES:
            yield "cutover_verdicts_total", (outcome,), app.judging.outcomes[outcome]
        for kind in FINDING_KINDS:
            yield "cutover_findings_total", (kind,), app.judging.findings[kind]
        yield "cutover_checkpoint_seconds", (), app.checkpointer.durations
        yield "cutover_checkpoint_rows_total", (), app.checkpointer.written["rows"]
        yield "cutover_checkpoint_bytes_total", (), app.checkpointer.written["bytes"]
        yield "cutover_recovery_seconds", (), app.standing.recoveries
        yield "cutover_recovery_remaining_records", (), app.recovery_remaining()

    def _stages(self) -> Iterator[Figure]:
        for side, forwarder in ((LEGACY, self._app.legacy), (REBUILT, self._app.rebuilt)):
            stage, labels = forwarder.stage, (SIDES[side],)
            yield "cutover_barriers_total", labels, stage.sender.beats
            yield "cutover_intake_flight_bytes", labels, stage.sender.flying
            if not stage.partitions:
                continue
            if stage.sender.beaten_at is not None:
                yield "cutover_barrier_age_seconds", labels, time.monotonic() - stage.sender.beaten_at
            lag = forwarder.sampling.lag()
            if lag is not None:
                yield "cutover_source_lag_records", labels, lag


def _seat(partition: str, seat: Seat) -> Iterator[Figure]:
    yield "cutover_quarantined", (partition,), float(bool(seat.quarantine))
    if seat.quarantine:
        return
    books, oldest = seat.judge.books, seat.oldest_ms()
    yield "cutover_books_balanced", (partition,), float(not books.balance())
    yield "cutover_imbalances_total", (partition,), books.imbalanced
    for side, name in enumerate(SIDES):
        labels = (name, partition)
        ledger, frontier = books.ledgers[side], books.frontiers[side]
        yield "cutover_accepted_records_total", labels, ledger.accepted
        yield "cutover_redelivered_records_total", labels, ledger.redelivered
        for tally, count in enumerate(ledger.tallies):
            if tally == PENDING:
                yield "cutover_pending_records", labels, count
            else:
                yield "cutover_judged_records", (name, TALLIES[tally], partition), count
        yield "cutover_oldest_pending_seconds", labels, (oldest[side] or 0) / 1000
        yield "cutover_frontier_proven", labels, float(frontier.is_proven)
        yield "cutover_vouched_partitions", labels, len(frontier.vouched)
        yield "cutover_source_partitions", labels, frontier.partitions
        if frontier.value() > NEVER:
            yield "cutover_frontier_lag_seconds", labels, (books.clock.now - frontier.value()) / 1000


def _family(metric: metrics.Metric, figures: Iterable[tuple[tuple[str, ...], float | Durations]]) -> Metric:
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, value in figures:
            assert isinstance(value, Durations)
            histogram.add_metric(labels, _buckets(value), value.seconds)
        return histogram
    make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = make(metric.name, metric.help, labels=metric.labels)
    for labels, value in figures:
        assert not isinstance(value, Durations)
        assert len(labels) == len(metric.labels)
        family.add_metric(labels, value)
    return family


def _buckets(durations: Durations) -> list[tuple[str, float]]:
    """Return how many were at most so long, by bound."""
    counted = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*map(str, durations.bounds), INFINITY), durations.counts, strict=True):
        counted += count
        buckets.append((bound, counted))
    return buckets
