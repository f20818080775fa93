"""From evidence to a conclusion. The truth table below is the claim of `commands/summary.py`, row by row."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from cutover_app.commands.doubts import STOPPED_MS
from cutover_app.commands.fixes import Mark
from cutover_app.commands.fold import KEPT_MAX, VerdictFold
from cutover_app.commands.summary import RANGES_SHOWN, Evidence, LostRange, summarise
from cutover_app.core.books import Books
from cutover_app.core.frames import LEGACY, REBUILT, SIDES, Edge, Source
from cutover_app.core.standing import FAR_PAST, UNKNOWN_END
from cutover_app.core.state import PAIRED, PENDING, FamilyRow
from cutover_app.core.verdicts import OTHER_PATHS, Finding, Position, Verdict

NOW = 1_760_000_000_000


def verdict(number: int, outcome: str = "mismatch", *, at: tuple[int, int] = (0, 1), **more: Any) -> Verdict:
    findings = {"match": (), "resolved": ()}.get(outcome, (Finding("wrong_value", "$.total", 1, 2),))
    fields: dict[str, Any] = {
        "id": f"{number:032x}",
        "rev": 1,
        "at": at,
        "run": "r1",
        "contract": "orders",
        "rules": "sha256:00",
        "outcome": outcome,
        "key": [number],
        "findings": findings,
        "legacy": Position("shop.orders", 0, number, 5),
    }
    return Verdict(**fields | more)


def fold(*verdicts: Verdict) -> VerdictFold:
    folded = VerdictFold("orders", "r1")
    for each in verdicts:
        folded.add(each)
    return folded


def books(partition: int = 0, *, pairs: int = 5, frontiers: bool = True) -> Books:
    row = Books("sha256:00", partition, at=9)
    row.clock.now = 10_000
    row.reach(row.source_index(Source(REBUILT, "orders.v2", "", 0)), (0, 0), NOW)
    for side in (LEGACY, REBUILT):
        row.ledgers[side].accepted = row.ledgers[side].tallies[PAIRED] = pairs
        if frontiers:
            row.frontiers[side].count("t", "", 1)
            row.frontiers[side].vouch(0, 8_000)
            row.frontiers[side].advance()
            row.due_ms[side] = 4_000
    return row


def judged(partition: int = 0, *, at: int = 9, ms: int = NOW) -> Books:
    """Return books that have come up to an intake record and its append time."""
    row = books(partition)
    row.at, row.clock.last = at, ms
    return row


def leapt(partition: int = 0) -> Books:
    """Return books of which the frontiers are ahead of what barriers have come to."""
    row = books(partition)
    row.ledgers[LEGACY].accepted += 1
    row.ledgers[LEGACY].tallies[PENDING] = 1
    row.due_ms[LEGACY] -= 1
    return row


def unbalanced(partition: int = 0) -> Books:
    row = books(partition)
    row.ledgers[LEGACY].accepted += 1
    return row


def evidence(*rows: Books, said: VerdictFold | None = None, **more: Any) -> Evidence:
    fields: dict[str, Any] = {
        "contract": "orders",
        "run": "r1",
        "partitions": max(1, len(rows)),
        "grace_ms": 4_000,
        "books": {row.partition: row for row in rows},
        "families": [],
        "verdicts": said or fold(),
    }
    return Evidence(**fields | more)


OPEN_FAMILY = FamilyRow("wrong_value", "$.total", 1, 1, 5, 5, [])
MANY = FamilyRow("missing", "", 400, 400, 5, 5, [])
FIXED = {("wrong_value", "$.total"): Mark(from_ms=1_000, at=1_000)}
BEYOND = FamilyRow("wrong_value", OTHER_PATHS, 2, 2, 5, 5, [])
CLOSED_FAMILY = FamilyRow("wrong_value", "$.total", 1, 0, 5, 5, [])

TRUTH: list[tuple[str, Evidence, str, str]] = [
    ("all is well", evidence(books()), "fine", "5 pairs agree"),
    ("what was resolved is fine", evidence(books(), said=fold(verdict(1, "resolved"))), "fine", "5 pairs"),
    ("C1 nothing compared", evidence(books(pairs=0)), "cannot tell", "not a single pair"),
    ("C1 outranks problems", evidence(books(pairs=0), said=fold(verdict(1))), "cannot tell", "not a single pair"),
    ("C2 a problem", evidence(books(), said=fold(verdict(1))), "problems", "1 open problems: 1 mismatch"),
    ("C2 each outcome", evidence(books(), said=fold(verdict(1, "undecodable"))), "problems", "1 undecodable"),
    ("C2 outranks doubt", evidence(books(), said=fold(verdict(1)), partitions=2), "problems", "1 mismatch"),
    ("C3 no state", evidence(), "cannot tell", "no state of this run"),
    ("C3 barriers alone", evidence(unjudged=9), "cannot tell", "nothing has been judged yet"),
    ("C3 a part of it", evidence(books(0), books(2), partitions=3), "cannot tell", "intake partitions 1 yet"),
    ("C4 imbalance", evidence(unbalanced()), "cannot tell", "do not balance"),
    ("C4 a quarantined problem", evidence(unbalanced(), said=fold(verdict(1))), "cannot tell", "do not balance"),
    (
        "C4 the others go on",
        evidence(unbalanced(0), books(1), said=fold(verdict(1, at=(1, 1)))),
        "problems",
        "1 open problems",
    ),
    ("C5 no frontier", evidence(books(frontiers=False)), "cannot tell", "no frontier of legacy"),
    ("C5 in one partition", evidence(books(0), books(1, frontiers=False)), "cannot tell", "no frontier of legacy"),
    (
        "C10 quarantined",
        evidence(books(0), books(1), quarantined={1: "KeyError"}),
        "cannot tell",
        "partitions 1 are quar",
    ),
    (
        "C10 a judge stands still",
        evidence(judged(0), judged(1), intake={0: (10, NOW + 30_000), 1: (40, NOW + 30_001)}),
        "cannot tell",
        "intake partitions 1 are judged more than 30 s behind their ends",
    ),
    ("C10 behind as a checkpoint is", evidence(judged(), intake={0: (40, NOW + 30_000)}), "fine", "5 pairs"),
    ("C10 a clock that was ahead", evidence(judged(at=40), intake={0: (40, NOW + 3_600_000)}), "fine", "5 pairs"),
    (
        "C10 and a problem",
        evidence(books(), said=fold(verdict(1)), quarantined={0: "KeyError"}),
        "problems",
        "1 mismatch",
    ),
    ("C11 a backlog", evidence(books(0), leapt(1)), "cannot tell", "a backlog of intake partitions 1 is being closed"),
    ("C11 and a problem", evidence(leapt(), said=fold(verdict(1))), "problems", "1 mismatch"),
    ("C6 indeterminate", evidence(books(), said=fold(verdict(1, "indeterminate"))), "cannot tell", "1 records are"),
    ("C7 verdicts are gone", evidence(books(), families=[OPEN_FAMILY]), "cannot tell", "are in no verdict"),
    (
        "C7 and others came since",
        evidence(books(), families=[MANY, OPEN_FAMILY], said=fold(verdict(1)), marks=FIXED, read_since=1),
        "cannot tell",
        "400 open findings missing are in no verdict",
    ),
    (
        "C7 none is gone",
        evidence(books(), families=[OPEN_FAMILY] * 2, said=fold(verdict(1), verdict(2)), marks=FIXED, read_since=1),
        "fine",
        "nothing is open",
    ),
    (
        "C7 all but one of two",
        evidence(
            books(),
            families=[OPEN_FAMILY] * 2,
            said=fold(verdict(1), verdict(2, "resolved", findings=verdict(1).findings)),
            marks=FIXED,
            read_since=1,
        ),
        "cannot tell",
        "1 open findings wrong_value $.total are in no verdict",
    ),
    (
        "C7 paths beyond the limit",
        evidence(books(), families=[BEYOND], said=fold(verdict(1), verdict(2)), marks=FIXED, read_since=1),
        "fine",
        "nothing is open",
    ),
    (
        "C7 one of them is gone",
        evidence(books(), families=[BEYOND], said=fold(verdict(1)), marks=FIXED, read_since=1),
        "cannot tell",
        "1 open findings wrong_value (other paths) are in no verdict",
    ),
    ("C7 a closed family", evidence(books(), families=[CLOSED_FAMILY]), "fine", "5 pairs"),
    ("C8 bad input", evidence(books(), doubts=["the dump goes back"]), "cannot tell", "the dump goes back"),
]


@pytest.mark.parametrize(("case", "given", "conclusion", "reason"), TRUTH, ids=[row[0] for row in TRUTH])
def test_conclusion(case: str, given: Evidence, conclusion: str, reason: str) -> None:
    """Each row of the truth table comes to its conclusion, for its reason, which is named first."""
    report = summarise(given)
    assert report.conclusion == conclusion
    assert reason in report.reasons[0]


def test_a_verdict_of_many_families_hides_no_other() -> None:
    """Beyond the limit of families a judge counts verdicts of a kind, and so does who compares."""
    findings = (Finding("wrong_value", "$.a"), Finding("wrong_value", "$.b"))
    beyond = ("wrong_value", OTHER_PATHS)
    said = fold(verdict(1, findings=findings), verdict(2, findings=findings))
    assert [said.unsaid(Counter({beyond: known}))[beyond] for known in (1, 2, 3)] == [0, 0, 1]


def test_pending_and_unread_are_said_and_do_not_stand_in_the_way() -> None:
    """On live traffic something always waits: it is counted and said, and fine stays fine."""
    row = books()
    row.ledgers[LEGACY].accepted += 37
    row.ledgers[LEGACY].tallies[PENDING] = 37
    report = summarise(evidence(row, unread=(0, 1204), unjudged=3))
    assert report.conclusion == "fine"
    assert "37 legacy messages are still pending: ask again after their grace" in report.notes
    assert "1,204 rebuilt source records have not been read yet" in report.notes
    assert report.sides[LEGACY].pending == 37


def test_a_report_says_up_to_when_it_speaks() -> None:
    """Workers that were stopped vouch for nothing that came later: fine is what was judged, in all partitions."""
    report = summarise(evidence(judged(0), judged(1, ms=NOW - 7_000), intake={0: (9, NOW)}))
    assert (report.conclusion, report.judged_ms) == ("fine", NOW - 7_000)
    (reason,) = report.reasons
    assert reason.endswith("the books balance; judged is what was in intake by 2025-10-09 08:53:13Z")


def test_books_are_summed_and_lag_is_that_of_the_slowest() -> None:
    """Counters of the intake partitions add up; the frontier is as far behind as where it is furthest behind."""
    slow = books(1)
    slow.clock.now = 60_000
    first = books(0)
    for row, records in ((first, 70), (slow, 50)):
        row.ledgers[LEGACY].passed = row.ledgers[LEGACY].records = records
    report = summarise(evidence(first, slow))
    side = report.sides[LEGACY]
    assert (report.pairs, side.accepted, side.paired) == (10, 10, 10)
    assert side.frontier_lag_ms == 52_000
    assert side.source_records == 70


def test_families_of_all_partitions_are_one() -> None:
    """Rows of one kind and path add up, most open first; times span them all, and none is shown for none."""
    rows = [
        FamilyRow("missing", "", 1, 1, -1, -1, []),
        FamilyRow("wrong_value", "$.total", 4, 2, 50, 60, []),
        FamilyRow("wrong_value", "$.total", 3, 1, 40, 55, []),
    ]
    report = summarise(evidence(books(), families=rows, said=fold(verdict(2), verdict(1))))
    first, second = report.families
    assert (first.kind, first.open, first.total, first.first_ms, first.last_ms) == ("wrong_value", 3, 7, 40, 60)
    assert [sample.key for sample in first.samples] == [[1], [2]]
    assert (second.kind, second.first_ms, second.samples) == ("missing", None, [])


def test_lost_ranges_are_counted_once() -> None:
    """An edge is told to every intake partition; the report counts it once and says so."""
    edge = Edge(Source(LEGACY, "t", "", 0), 0, 10, 1, 2, "start")
    one, two = books(0), books(1)
    one.edges.append(edge)
    two.edges.append(edge)
    report = summarise(evidence(one, two))
    assert report.lost_ranges == 1
    assert "1 ranges of the sources could not be read" in report.notes
    assert report.ranges == [
        LostRange(
            side="legacy",
            topic="t",
            partition=0,
            incarnation="",
            start=0,
            end=10,
            from_ms=1,
            to_ms=2,
            reason="start",
        )
    ]


def test_the_youngest_lost_ranges_are_listed() -> None:
    """The list is bounded, the count is not; what is not known is None and no number that looks like one."""
    row = books()
    source = Source(REBUILT, "t", "id", 3)
    row.edges += [Edge(source, 0, UNKNOWN_END, FAR_PAST, number, "created anew") for number in range(RANGES_SHOWN + 7)]
    report = summarise(evidence(row))
    assert report.lost_ranges == RANGES_SHOWN + 7
    assert [each.to_ms for each in report.ranges] == list(range(RANGES_SHOWN + 6, 6, -1))
    assert (report.ranges[0].from_ms, report.ranges[0].end) == (None, None)


# -- fold ------------------------------------------------------------------------------------------------------------


def test_the_newest_revision_counts() -> None:
    """Of one id the highest `at` counts, whatever the order of arrival; an equal one replaces."""
    newer, older = verdict(1, "resolved", at=(0, 9)), verdict(1, "missing", at=(0, 4))
    for order in ([older, newer], [newer, older], [older, newer, newer]):
        assert dict(fold(*order).outcomes()) == {"resolved": 1}


def test_samples_follow_revisions() -> None:
    """A verdict that lost a finding is no sample of its family any more; neither is one that was deleted."""
    folded = fold(verdict(1), verdict(2))
    folded.add(verdict(1, "resolved", at=(0, 2)))
    assert [each.key for each in folded.samples(("wrong_value", "$.total"), 5)] == [[2]]
    folded.remove(verdict(2).id)
    assert folded.samples(("wrong_value", "$.total"), 5) == []
    assert len(folded) == 1


def test_verdicts_of_others_are_left_out() -> None:
    """Another contract or another run in the same topic is counted as foreign, nowhere else."""
    folded = fold(verdict(1, run="r2"), verdict(2, contract="payments"))
    assert (len(folded), folded.foreign) == (0, 2)


def test_samples_do_not_grow_with_verdicts() -> None:
    """However many verdicts there are, a bounded number is kept whole, and all are counted."""
    folded = fold(*(verdict(number) for number in range(KEPT_MAX * 3)))
    assert folded.outcomes()["mismatch"] == KEPT_MAX * 3
    assert len(folded.samples(("wrong_value", "$.total"), 10_000)) == KEPT_MAX


def test_lonely_records_near_unreadable_ones_are_counted_apart() -> None:
    """A missing record that may be one of the unreadable ones counts as explained, and is still a problem."""
    near = (Position("orders.v2", 0, 1, 5),)
    report = summarise(evidence(books(), said=fold(verdict(1, "missing", undecodable=near), verdict(2, "missing"))))
    assert (report.outcomes["missing"], report.explained) == (2, 1)
    assert report.conclusion == "problems"


def test_evidence_is_not_changed() -> None:
    """Summing up twice gives the same report: nothing is consumed."""
    given = replace(evidence(books(), said=fold(verdict(1))), families=[OPEN_FAMILY])
    assert summarise(given) == summarise(given)


def waits(side: int, *, frontier: int, partition: int = 0) -> Books:
    """Return books with something pending for the other side, whose frontier is so far behind."""
    row = judged(partition)
    row.ledgers[side].accepted += 1
    row.ledgers[side].tallies[PENDING] = 1
    row.clock.now = row.frontiers[1 - side].closed + frontier
    return row


STALE = (90_000, 30_000)


def test_what_waits_for_a_side_that_stands_still_is_not_fine() -> None:
    """C12: hours later it may be missing, and nobody has said so."""
    held = {"intake": {0: (9, NOW)}, "stale_ms": STALE}
    for side, limit in ((LEGACY, STALE[REBUILT]), (REBUILT, STALE[LEGACY])):
        assert summarise(evidence(waits(side, frontier=limit), **held)).conclusion == "fine"
        report = summarise(evidence(waits(side, frontier=limit + 1), **held))
        assert report.conclusion == "cannot tell"
        assert f"1 {SIDES[side]} messages wait for {SIDES[1 - side]}" in report.reasons[0]
        assert report.judged_ms is not None
        assert report.judged_ms <= NOW - limit


def test_what_waits_for_a_worker_is_not_fine() -> None:
    """C12: all have been stopped; nothing pends where all was judged, and then it is fine for ever."""
    later = {"now_ms": NOW + STOPPED_MS + 1, "stale_ms": STALE}
    assert summarise(evidence(judged(), **later)).conclusion == "fine"
    report = summarise(evidence(waits(LEGACY, frontier=2_000), **later))
    assert (report.conclusion, "start a worker" in report.reasons[0]) == ("cannot tell", True)
    assert summarise(evidence(waits(LEGACY, frontier=2_000), stale_ms=STALE, now_ms=NOW)).conclusion == "fine"


@pytest.mark.parametrize(
    ("found", "fine"),
    [
        ({0: (0, 10)}, True),
        ({0: (10, 10)}, True),
        ({0: (0, 99)}, True),
        ({0: (11, 20)}, False),
        ({0: (0, 5)}, False),
        ({}, False),
    ],
)
def test_an_intake_that_is_not_what_was_judged_is_not_fine(found: dict[int, tuple[int, int]], fine: bool) -> None:
    """C10: it was emptied, cut, made anew or deleted; nobody knows what has been in it."""
    report = summarise(evidence(judged(at=9), intake_ranges=found))
    assert report.conclusion == ("fine" if fine else "cannot tell")
