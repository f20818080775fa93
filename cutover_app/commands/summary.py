"""From the evidence of a run to a report: counts, families, and one conclusion with its reasons.

Pure: what was read goes in, what is to be shown comes out. Values in it were masked when the verdicts were made.

The conclusion, by numbered rules, the first that holds. A problem that was found outranks evidence that is missing,
and missing evidence outranks the absence of problems: nobody is told "fine" by a run that could not have found
anything. Without a single pair, though, problems mean nothing either: a wrong topic or match key looks just like that.

    C1  not a single pair                                                             cannot tell
    C2  a problem in an intake partition whose books balance                          problems
    C3  no state of this run, or of some of its intake partitions                     cannot tell
    C4  books that do not balance; what such a partition says counts for nothing      cannot tell
    C5  a side without a frontier: nothing of the other side could have been closed   cannot tell
    C10 an intake partition that is quarantined, or judged far behind its end         cannot tell
    C11 a backlog that is being closed in steps: what is missing in it is not said    cannot tell
    C12 messages that wait for a side whose frontier stands, or for a worker          cannot tell
    C6  records that are indeterminate                                                cannot tell
    C7  families with more open findings than there are verdicts that say so          cannot tell
    C8  input that is not what it claims to be                                        cannot tell
    C9  problems of before a fix, and nothing published since the fix was judged      cannot tell
    else                                                                              fine

Of what a judge has not taken in its books show nothing: they balance, and their clock and frontiers stand where it
stands. So C10 asks intake itself. Where all workers have been stopped intake stands still, too: then what had come
into it is judged but for what is pending (C12), nobody knows of what came later, and the report says up to when it
speaks.

A problem whose families are all marked as fixed, and whose records are older than the marks, is not open (`fixes.py`).

Pending records do not stand in the way as long as the other side gets on: on live traffic some always wait. How many
do is said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cutover_app.commands.doubts import (
    counted,
    doubts_about_books,
    doubts_about_judges,
    doubts_about_pending,
    doubts_about_verdicts,
    first,
    open_problems,
)
from cutover_app.commands.fixes import Mark, show_time
from cutover_app.commands.fold import Ages, VerdictFold
from cutover_app.commands.output import shown_position
from cutover_app.core.books import Books
from cutover_app.core.closing import NEVER
from cutover_app.core.frames import LEGACY, REBUILT, SIDES, Edge
from cutover_app.core.limits import ORDERED_MAX
from cutover_app.core.standing import FAR_PAST, UNKNOWN_END
from cutover_app.core.state import PAIRED, PENDING, TALLIES, FamilyRow, other
from cutover_app.core.verdicts import OUTCOMES, FamilyName, Finding, Verdict, family_of

CONCLUSION_FINE: Final = "fine"
CONCLUSION_PROBLEMS: Final = "problems"
CONCLUSION_CANNOT_TELL: Final = "cannot tell"

SAMPLES_SHOWN: Final = 3
"""Verdicts shown per family."""

RANGES_SHOWN: Final = 50
"""Lost ranges listed, the youngest first; all of them are counted."""

IMBALANCES_SHOWN: Final = 5
"""Lines of evidence shown about books that do not balance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was read about a run, wherever it was read from."""

    contract: str
    run: str
    partitions: int
    """Intake partitions that the contract asks for."""
    grace_ms: int
    books: Mapping[int, Books]
    families: Sequence[FamilyRow]
    verdicts: VerdictFold
    unread: tuple[int | None, int | None] = (None, None)
    """Source records per side that are not in intake yet; None where that is not known."""
    unjudged: int = 0
    """Intake records that no judge has taken in yet."""
    intake: Mapping[int, tuple[int, int]] | None = None
    """Offset and append time of the newest record of each intake partition that has one; None without an intake."""
    intake_ranges: Mapping[int, tuple[int, int]] | None = None
    """Where each intake partition begins and ends; None without an intake, or where nobody has looked."""
    stale_ms: tuple[int, int] | None = None
    """By side, how far its frontier may be behind; None where time plays no part."""
    now_ms: int | None = None
    """When this was read, by the clock of who asked."""
    quarantined: Mapping[int, str] = field(default_factory=dict)
    """Why an intake partition is judged no more, by what its owner has committed beside its position."""
    doubts: Sequence[str] = ()
    """Why the input is not what it claims to be."""
    marks: Mapping[FamilyName, Mark] = field(default_factory=dict)
    """Families that were fixed."""
    read_since: int | None = None
    """Records of the rebuilt topic that were read and are not older than the newest mark; None without marks."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One verdict of a family, by the finding that makes it one."""

    id: str
    outcome: str
    key: list[Any]
    path: str
    expected: Any
    actual: Any
    note: str
    legacy: str
    rebuilt: str


@dataclass(frozen=True, slots=True)
class Family:
    """All findings of one kind and path. Times in milliseconds since the epoch, None where records carry none."""

    kind: str
    path: str
    open: int
    """Verdicts that have such a finding now; of a family that was fixed, those since."""
    total: int
    first_ms: int | None
    last_ms: int | None
    samples: list[Sample]
    fixed_ms: int | None = None
    """Since when it is said to be fixed; None where nobody said so."""
    before: int = 0
    """Of a family that was fixed, verdicts of before."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """The books of one side, summed over the intake partitions, and how far it is known to be complete."""

    side: str
    accepted: int
    paired: int
    alone: int
    duplicate: int
    rejected: int
    indeterminate: int
    pending: int
    redelivered: int
    source_records: int
    filtered: int
    gaps: int
    unread: int | None
    frontier_lag_ms: int | None
    """How far the frontier is behind judge time, in the intake partition where it is furthest; None without one."""
    partitions: int
    vouched: int
    """Source partitions, and how many of them have been vouched for in every intake partition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LostRange:
    """Source offsets from `start` up to `end` that this run could not read, and when they may have been written.

    `end` is None where the topic is gone, `from_ms` where nothing older is known.
    """

    side: str
    topic: str
    partition: int
    incarnation: str
    start: int
    end: int | None
    from_ms: int | None
    to_ms: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `report` and `check` show."""

    contract: str
    run: str
    rules: str
    judged_ms: int | None
    """Append time up to which all of intake is judged: of what came into it later nothing is known. None offline."""
    conclusion: str
    reasons: list[str]
    notes: list[str]
    pairs: int
    outcomes: dict[str, int]
    past: int
    """Of these, problems that are older than the fixes of all of their families."""
    explained: int
    families: list[Family]
    sides: list[Side]
    balanced: bool
    imbalances: list[str]
    unjudged: int
    intake_partitions: int
    lost_ranges: int
    ranges: list[LostRange]
    """The youngest of them."""
    forgotten_keys: int
    crowded_keys: int


def summarise(evidence: Evidence) -> Report:
    """Return the report of a run."""
    books = [evidence.books[number] for number in sorted(evidence.books)]
    outcomes = evidence.verdicts.outcomes()
    families = _families(evidence)
    sides = [_side(books, side, evidence.unread[side]) for side in (LEGACY, REBUILT)]
    imbalances = [line for each in books for line in each.balance()]
    conclusion, reasons = _conclude(evidence, sides)
    return Report(
        contract=evidence.contract,
        run=evidence.run,
        rules=books[0].rules if books else "",
        judged_ms=_judged_ms(evidence),
        conclusion=conclusion,
        reasons=reasons,
        notes=_notes(evidence, sides, books),
        pairs=sides[LEGACY].paired,
        outcomes={name: outcomes[name] for name in OUTCOMES if outcomes[name]},
        past=evidence.verdicts.past(evidence.marks),
        explained=evidence.verdicts.explained(),
        families=families,
        sides=sides,
        balanced=bool(books) and not imbalances,
        imbalances=first(imbalances, IMBALANCES_SHOWN),
        unjudged=evidence.unjudged,
        intake_partitions=evidence.partitions,
        lost_ranges=len(_edges(books)),
        ranges=[_lost_range(edge) for edge in _edges(books)[:RANGES_SHOWN]],
        forgotten_keys=sum(each.forgotten for each in books),
        crowded_keys=sum(each.crowded for each in books),
    )


# -- conclusion ------------------------------------------------------------------------------------------------------


def _conclude(evidence: Evidence, sides: list[Side]) -> tuple[str, list[str]]:
    problems = open_problems(evidence)
    doubts = [
        *doubts_about_books(evidence, sides),
        *doubts_about_judges(evidence),
        *doubts_about_pending(evidence),
        *doubts_about_verdicts(evidence),
        *evidence.doubts,
    ]
    past = evidence.verdicts.past(evidence.marks)
    newest_ms = max((mark.from_ms for mark in evidence.marks.values()), default=0)
    if past and not (evidence.read_since and _has_come_since(evidence, newest_ms)):
        what = "judged: ask again" if evidence.read_since else "read"
        since = f"since the fix ({show_time(newest_ms)})"
        doubts.append(f"nothing that the rebuilt producer published {since} has been {what}")
    if problems and sides[LEGACY].paired:
        return CONCLUSION_PROBLEMS, problems + doubts
    if doubts:
        return CONCLUSION_CANNOT_TELL, doubts + problems
    found = f"{sides[LEGACY].paired:,} pairs agree, nothing else was found"
    if past:
        found = f"nothing is open, {past:,} problems are older than the fixes of their families"
    judged_ms = _judged_ms(evidence)
    up_to = "" if judged_ms is None else f"; judged is what was in intake by {show_time(judged_ms)}"
    return CONCLUSION_FINE, [f"{found}, and the books balance{up_to}"]


def _notes(evidence: Evidence, sides: list[Side], books: list[Books]) -> list[str]:
    """Return what a reader must know beside the conclusion."""
    notes = []
    pending = {side.side: side.pending for side in sides if side.pending}
    if pending:
        notes.append(f"{counted(pending)} messages are still pending: ask again after their grace")
    unread = {side.side: side.unread for side in sides if side.unread}
    if unread:
        notes.append(f"{counted(unread)} source records have not been read yet")
    if evidence.unjudged:
        notes.append(f"{evidence.unjudged:,} intake records, barriers included, have come since the last checkpoint")
    if evidence.verdicts.explained():
        notes.append(f"{evidence.verdicts.explained():,} records without partner lie near one that could not be read")
    redelivered = {side.side: side.redelivered for side in sides if side.redelivered}
    if redelivered:
        notes.append(f"{counted(redelivered)} records were delivered again and counted once")
    lost = len(_edges(books))
    if lost:
        notes.append(f"{lost:,} ranges of the sources could not be read")
    crowded = sum(each.crowded for each in books)
    if crowded:
        notes.append(f"{crowded:,} order keys have more than {ORDERED_MAX:,} records: their order is not judged")
    spread = sum(each.spread for each in books)
    if spread:
        notes.append(f"{spread:,} order keys are spread over several partitions: order is known only within each")
    unproven = sum(not each.frontiers[LEGACY].is_proven for each in books)
    if unproven:
        notes.append(
            f"the mirror is not proven in {unproven:,} intake partitions: what has no partner is indeterminate there"
        )
    return notes


def _has_come_since(evidence: Evidence, ms: int) -> bool:
    """Tell whether a judge has seen a rebuilt record that is not older than that."""
    return any(
        source.side == REBUILT and seen_ms >= ms
        for each in evidence.books.values()
        for source, seen_ms in zip(each.sources, each.seen_ms, strict=True)
    )


# -- parts -----------------------------------------------------------------------------------------------------------


def _side(books: list[Books], side: int, unread: int | None) -> Side:
    ledgers = [each.ledgers[side] for each in books]
    tallies = {name: sum(ledger.tallies[number] for ledger in ledgers) for number, name in enumerate(TALLIES)}
    frontiers = [each.frontiers[side] for each in books]
    lags = [
        None if frontier.closed == NEVER else max(0, each.clock.now - frontier.closed)
        for each, frontier in zip(books, frontiers, strict=True)
    ]
    known = [lag for lag in lags if lag is not None]
    # What was passed is the same in every intake partition, each of which may have heard of it at another time.
    furthest = max(ledgers, key=lambda ledger: ledger.passed, default=None)
    return Side(
        side=SIDES[side],
        accepted=sum(ledger.accepted for ledger in ledgers),
        paired=tallies[TALLIES[PAIRED]],
        alone=tallies["alone"],
        duplicate=tallies["duplicate"],
        rejected=tallies["rejected"],
        indeterminate=tallies["indeterminate"],
        pending=tallies[TALLIES[PENDING]],
        redelivered=sum(ledger.redelivered for ledger in ledgers),
        source_records=furthest.records if furthest else 0,
        filtered=furthest.filtered if furthest else 0,
        gaps=furthest.gaps if furthest else 0,
        unread=unread,
        frontier_lag_ms=max(known) if known and len(known) == len(lags) else None,
        partitions=max((frontier.partitions for frontier in frontiers), default=0),
        vouched=min((len(frontier.vouched) for frontier in frontiers), default=0),
    )


def _families(evidence: Evidence) -> list[Family]:
    """Return the families of all intake partitions as one, most open first."""
    merged: dict[tuple[str, str], list[FamilyRow]] = {}
    for row in evidence.families:
        merged.setdefault((row.kind, row.path), []).append(row)
    ages = evidence.verdicts.ages(evidence.marks)
    families = [
        Family(
            kind=kind,
            path=path,
            open=ages[kind, path].since if (kind, path) in ages else sum(row.open for row in rows),
            total=sum(row.total for row in rows),
            first_ms=_time(min(row.first_ms for row in rows)),
            last_ms=_time(max(row.last_ms for row in rows)),
            samples=[_sample(each, kind, path) for each in evidence.verdicts.samples((kind, path), SAMPLES_SHOWN)],
            **_fix(evidence.marks.get((kind, path)), ages.get((kind, path))),
        )
        for (kind, path), rows in merged.items()
    ]
    return sorted(families, key=lambda family: (-family.open, -family.total, family.kind, family.path))


def _fix(mark: Mark | None, ages: Ages | None) -> dict[str, Any]:
    if mark is None or ages is None:
        return {}
    return {"fixed_ms": mark.from_ms, "before": ages.before, "reason": mark.reason}


def _sample(verdict: Verdict, kind: str, path: str) -> Sample:
    finding = next((each for each in verdict.findings if family_of(each) == (kind, path)), Finding(kind, path))
    return Sample(
        id=verdict.id,
        outcome=verdict.outcome,
        key=verdict.key,
        path=finding.path,
        expected=finding.expected,
        actual=finding.actual,
        note=finding.note,
        legacy=shown_position(verdict.legacy),
        rebuilt=shown_position(verdict.rebuilt),
    )


def _edges(books: list[Books]) -> list[Edge]:
    """Return the lost ranges that any judge knows of, the youngest first."""
    return sorted({edge for each in books for edge in each.edges}, key=lambda edge: (-edge.to_ms, edge))


def _lost_range(edge: Edge) -> LostRange:
    source = edge.source
    return LostRange(
        side=SIDES[source.side],
        topic=source.topic,
        partition=source.partition,
        incarnation=source.incarnation,
        start=edge.start,
        end=None if edge.end == UNKNOWN_END else edge.end,
        from_ms=None if edge.from_ms == FAR_PAST else edge.from_ms,
        to_ms=edge.to_ms,
        reason=edge.reason,
    )


def _judged_ms(evidence: Evidence) -> int | None:
    if evidence.intake is None or not evidence.books:
        return None
    return _time(min(_decided_ms(each, evidence.grace_ms) for each in evidence.books.values()))


def _decided_ms(books: Books, grace_ms: int) -> int:
    """Return the append time up to which nothing of an intake partition is pending."""
    ages = [books.clock.now - books.frontiers[other(side)].closed for side in (LEGACY, REBUILT) if books.pending(side)]
    return books.clock.last - max(0, *(age + grace_ms for age in ages)) if ages else books.clock.last


def _time(at_ms: int) -> int | None:
    return at_ms if at_ms >= 0 else None
