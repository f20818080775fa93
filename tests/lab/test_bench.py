"""The bench: what its figures mean, and that a worker has not become much slower beside a plain floor."""

import asyncio
from collections import Counter
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from rich.console import Console

from cutover_app.core.verdicts import MISSING, Position, Verdict, encode_verdict
from cutover_app.lab.bench import delay, figures, long, worker
from cutover_app.lab.bench.figures import Meter, Run, Rung, window
from cutover_app.lab.bench.ladder import RUNGS
from cutover_app.lab.bench.load import Load, prepare
from cutover_app.lab.bench.plan import DELAY, FLOOR, RECOVERY, REFERENCE, WORKER, Step, full, peers, quick
from cutover_app.lab.bench.report import as_dict, table
from cutover_app.lab.bench.running import measure_step
from cutover_app.lab.cluster import Cluster
from cutover_app.lab.fleet import Usage

GUARDED_MESSAGES = 120_000
FLOOR_SHARE = 0.30
"""Messages per second of a worker, as a part of the floor's (tests/TESTING.md)."""
FLOOR_COST = 3.2
"""CPU-seconds per million of a worker, as a multiple of the floor's."""
LOSS_MAX = 1 / 3
GUARD_TRIES = 3
"""A neighbour on the host slows the worker more than the floor, which fits into a cache; a loss of ours stays."""


def test_what_passes_while_warming_up_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the messages, and the time until then, count for nothing."""
    now = [0.0]
    monkeypatch.setattr(figures.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(figures.time, "process_time", lambda: now[0] / 2)
    meter = Meter(1000)
    for _ in range(10):
        now[0] += 1.0
        meter.add(100)
    run = Run(**meter.figures({"rows": 3}))
    assert (run.messages, run.seconds, run.cpu_seconds) == (900, 9.0, 4.5)
    assert run.rate == 100
    assert run.cpu_per_million == 5000
    assert run.counts == {"rows": 3}


def test_a_rung_is_the_median_of_its_runs_and_says_how_far_they_lie_apart() -> None:
    """One run that something else has slowed down changes nothing but the spread."""
    runs = [Run(1000, seconds, seconds / 2, 10, {"false": false}) for seconds, false in ((1, 0), (2, 7), (1, 0))]
    rung = Rung("x", runs)
    assert rung.rate == 1000
    assert rung.spread == 0.5
    assert rung.count("false") == 7
    assert rung.count("missed") is None
    assert as_dict([rung])["rungs"][0]["runs"][1]["seconds"] == 2


def test_the_table_compares_with_the_floor_and_with_the_rung_above() -> None:
    """Figures of two machines can be compared by the ratio alone; what is not of the ladder has no rung above it."""
    last, before = RUNGS[-1], RUNGS[-2]
    took = {FLOOR: 1, before: 2, last: 5, "a": 6, "b": 7}
    rungs = [Rung(name, [Run(1000, seconds, seconds, 10**6)]) for name, seconds in took.items()]
    console = Console(width=140, record=True)
    console.print(table(rungs))
    rows = [line.split("│")[1:] for line in console.export_text().splitlines() if "│" in line]
    shown = {row[0].strip(): [cell.strip() for cell in row[2:5]] for row in rows}
    assert shown == {
        FLOOR: ["1.00", "1000.0", ""],
        before: ["0.50", "2000.0", ""],
        last: ["0.20", "5000.0", "+3000.0"],
        "a": ["0.17", "6000.0", "+1000.0"],
        "b": ["0.14", "7000.0", ""],
    }


def test_each_load_differs_from_the_reference_in_one_way() -> None:
    """Otherwise nobody could say what makes the difference. Large messages are fewer too, to fit on the disk."""
    for chapter in full():
        if chapter.steps[0].rung in {RECOVERY, DELAY}:
            continue
        changed = [f.name for f in fields(Load) if getattr(chapter.load, f.name) != getattr(REFERENCE, f.name)]
        assert len(set(changed) - {"name", "messages"}) <= 1, chapter


def test_what_begins_and_ends_a_load_is_not_measured() -> None:
    """From a tenth to nine tenths, or from the first mark where all is done in one go."""
    marks = [(float(at), at * 5) for at in range(21)]
    assert window(marks, 100) == ((2.0, 10), (18.0, 90))
    assert window([(1.0, 0), (2.0, 0), (3.0, 100)], 100) == ((1.0, 0), (3.0, 100))


def test_each_tenth_of_a_long_run_is_told_apart() -> None:
    """What grows with time shows, and a machine that has become slower meanwhile does not look like it."""
    at = [float(second) for second in range(101)]
    meter = worker.Meter([])
    meter._samples = [[Usage(second, second * (1 if second <= 50 else 2), int(second), 0)] for second in at]
    samples = [long.Sample(second, int(second), 1000 + int(second), 0.1 if second < 51 else 0.2) for second in at]
    parts = long.tenths([(second, int(second) * 10) for second in at], meter, samples, sources=1000)
    assert [part.messages for part in parts] == [100] * 10
    assert [part.seconds for part in parts] == [10.0] * 10
    assert (parts[0].cpu_seconds, parts[9].cpu_seconds) == (10.0, 20.0)
    assert (parts[0].rss, parts[9].state, parts[9].written) == (10, 100, 100)
    console = Console(width=140, record=True)
    console.print(long.long_table(parts))
    rows = [line.split("│")[1:-1] for line in console.export_text().splitlines() if "│" in line]
    assert [row[4].strip() for row in (rows[0], rows[9])] == ["1.00", "1.00"]
    assert [row[2].strip() for row in (rows[0], rows[9])] == ["100000.0", "200000.0"]


def test_a_delay_counts_from_the_end_of_grace() -> None:
    """By the broker's clock; a verdict that is revised later is not late for that."""

    def record(timestamp: int, **changes: Any) -> Any:
        position = Position("orders", 0, 1, 1_000_000)
        verdict = Verdict("1", 1, (0, 1), "run", "contract", "rules", MISSING, [], legacy=position)
        return SimpleNamespace(timestamp=timestamp, value=encode_verdict(msgspec.structs.replace(verdict, **changes)))

    found = [record(1_012_500), record(1_090_000, rev=2), record(1_090_000, outcome="unknown")]
    assert delay.delays_s(found, 10.0) == [2.5]


def test_all_rungs_have_names_of_their_own() -> None:
    """Figures of two rungs of one name would be mixed."""
    for plan in (quick(1000), full(), peers(10_000, {"a": 1.0, "b": 0.1})):
        names = Counter(step.label for chapter in plan for step in chapter.steps)
        assert max(names.values()) == 1
        assert len({chapter.load.name for chapter in plan}) == len(plan)
    assert {FLOOR, *RUNGS} < {step.rung for step in quick(1000)[0].steps}


@pytest.mark.kafka
@pytest.mark.alone
def test_a_worker_keeps_its_speed_beside_the_floor(kafka: Cluster) -> None:
    """It may lose a third in messages per second, or in what they cost, but not both: machines differ, and are busy."""

    async def kept(tried: int) -> tuple[float, float]:
        found = [await measure_step(prepared, Step(rung), f"guard-{rung}-{tried}") for rung in (FLOOR, WORKER)]
        floor, ours = found
        assert (ours.counts["false"], ours.counts["missed"]) == (0, 0)
        return ours.rate / floor.rate / FLOOR_SHARE, floor.cpu_per_million * FLOOR_COST / ours.cpu_per_million

    prepared = asyncio.run(prepare(Load(name="guard", messages=GUARDED_MESSAGES), kafka))
    seen: list[tuple[float, float]] = []
    for tried in range(GUARD_TRIES):
        seen.append(asyncio.run(kept(tried)))
        if max(seen[-1]) > 1 - LOSS_MAX:
            return
    pytest.fail(f"parts kept of its speed, and of its thrift, in each try: {seen}")


@pytest.mark.kafka
@pytest.mark.parametrize("rung", RUNGS)
def test_each_rung_of_the_ladder_goes_through_all_messages(rung: str, kafka: Cluster) -> None:
    """The parts fit together outside of Faust too; what is durable is told per message."""

    async def measured() -> Run:
        prepared = await prepare(Load(name=f"ladder-{rung}", messages=4_000), kafka)
        return await measure_step(prepared, Step(rung), f"ladder-{rung}")

    run = asyncio.run(measured())
    assert 0 < run.messages <= 4_100
    assert ("changelog rows" in run.counts) is (rung == RUNGS[-1])
    if run.counts:
        assert 0.4 < run.counts["changelog rows"] < 1.5


@pytest.mark.kafka
def test_recovery_reads_every_pending_record_back(kafka: Cluster) -> None:
    """A worker that starts on an empty directory has all that another one had pending."""

    async def measured() -> Run:
        load = Load(name="recovery", messages=4_000, faults=0.0, loading="legacy-only", grace="3h")
        prepared = await prepare(load, kafka)
        return await measure_step(prepared, Step(RECOVERY, intake=2), "recovery")

    run = asyncio.run(measured())
    assert run.messages == 2_000
    assert 0 < run.seconds < 60
