"""Both histories of one key, as one timeline.

Pure: a key row, its books and its verdicts go in, what happened comes out.

What happened is told in the order of the intake partition, because that is the order in which it was judged:

    arrived    a source record came into intake; with what was published about it elsewhere: position, time
    rebuilt    the message that the rebuilt producer should have published was made of it
    compared   the record and its partner had both come
    closed     the other side was complete and the grace had passed: what has not come is not coming
    verdict    a revision was published

Nothing in here is content of a message: the values in a finding were masked when the verdict was made.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from msgspec import UNSET

from cutover_app.commands.output import shown_place, shown_position
from cutover_app.commands.places import FoundRow
from cutover_app.core.books import Books
from cutover_app.core.closing import NEVER
from cutover_app.core.frames import LEGACY, REBUILT, SIDES, Origin
from cutover_app.core.state import OPEN, PAIRED, PENDING, TALLIES, Rec, other, position_of
from cutover_app.core.verdicts import FINE, Finding, Verdict, verdict_id

ARRIVED: Final = "arrived"
REBUILT_AS: Final = "rebuilt"
COMPARED: Final = "compared"
CLOSED: Final = "closed"
VERDICT: Final = "verdict"
WHATS: Final = (ARRIVED, REBUILT_AS, COMPARED, CLOSED, VERDICT)

RECORDS_MAX: Final = 200
"""Records of one key that are told about, the oldest first; how many more there are is said."""


@dataclass(frozen=True, slots=True)
class Known:
    """One record of the key. Times in milliseconds: its own since the epoch (-1: none), judge time of its arrival."""

    side: str
    topic: str
    partition: int
    offset: int
    index: int
    timestamp: int
    intake_partition: int
    intake_offset: int
    judge_ms: int
    tally: str
    closed_at: int | None
    """Intake offset of the barrier that closed it; None while it is open, or where nothing had to be closed."""
    partner: str
    """Its partner's place; empty where it has none, or nobody can say."""
    waits: str
    """What it waits for, if it is pending."""

    @property
    def place(self) -> str:
        """Return where it is, as verdicts and reports write it."""
        return shown_place(self.topic, self.partition, self.offset, self.index)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, at an intake offset."""

    intake_partition: int
    intake_offset: int
    judge_ms: int | None
    what: str
    about: str
    """The record's place, or the verdict's id."""
    text: str


@dataclass(frozen=True, slots=True)
class History:
    """What is known about one key row."""

    records: list[Known]
    events: list[Event]
    more: int
    """Records that are left out."""


def ids_of(contract: str, found: FoundRow, books: Books) -> set[str]:
    """Return the ids that verdicts about these records have."""
    return {
        verdict_id(contract, Origin(books.sources[record.source], record.offset, record.index))
        for side in (LEGACY, REBUILT)
        for record in found.row.of(side)
    }


def history_of(found: FoundRow, books: Books, verdicts: Sequence[Verdict], grace_ms: int) -> History:
    """Return the history of one key row; `verdicts` are all revisions of its verdicts that are left."""
    both = [(side, record) for side in (LEGACY, REBUILT) for record in found.row.of(side)]
    both.sort(key=lambda each: each[1].position)
    told = both[:RECORDS_MAX]
    place = _Place(found.partition, books, grace_ms)
    partners = _partners(told, books, verdicts)
    records = [_known(place, side, record, partners.get(record.position)) for side, record in told]
    events = [
        event
        for known, (side, record) in zip(records, told, strict=True)
        for event in _events(known, side, record, books)
    ]
    events += [
        _comparison(found.partition, one, two, books, equal) for one, two, equal in _pairs(told, books, verdicts)
    ]
    events += verdict_events(verdicts)
    events.sort(key=lambda event: (event.intake_partition, event.intake_offset, WHATS.index(event.what)))
    return History(records, events, len(both) - len(told))


def verdict_events(verdicts: Iterable[Verdict]) -> list[Event]:
    """Return what revisions of verdicts say."""
    return [Event(each.at[0], each.at[1], None, VERDICT, each.id, _said(each)) for each in verdicts]


def newest(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Return the newest revision of each id (R5)."""
    found: dict[str, Verdict] = {}
    for verdict in sorted(verdicts, key=lambda each: (each.at[1], each.rev)):
        found[verdict.id] = verdict
    return list(found.values())


# -- records -----------------------------------------------------------------------------------------------------------


Both = tuple[int, Rec]


class _Place(NamedTuple):
    """What all records of a key row have in common."""

    partition: int
    books: Books
    grace_ms: int


def _known(place: "_Place", side: int, record: Rec, partner: Rec | None) -> Known:
    books = place.books
    source = books.sources[record.source]
    return Known(
        side=SIDES[side],
        topic=source.topic,
        partition=source.partition,
        offset=record.offset,
        index=record.index,
        timestamp=record.timestamp,
        intake_partition=place.partition,
        intake_offset=_intake_offset(record),
        judge_ms=record.judge_ms,
        tally=_tally(side, record),
        closed_at=None if record.closed_at == OPEN else record.closed_at,
        partner=_place(partner, books) if partner is not None else "",
        waits=_waits(side, record, books, place.grace_ms) if record.tally == PENDING else "",
    )


def _tally(side: int, record: Rec) -> str:
    name = TALLIES[record.tally]
    return ("missing" if side == LEGACY else "unknown") if name == "alone" else name


def _waits(side: int, record: Rec, books: Books, grace_ms: int) -> str:
    """Say until when a pending record waits."""
    if record.closed_at != OPEN:
        return "closed; an open record of the other side may still turn out to be its partner"
    theirs = SIDES[other(side)]
    due = record.judge_ms + grace_ms
    closed = books.frontiers[other(side)].closed
    if closed == NEVER:
        return f"for its partner; {theirs} has no frontier yet"
    if closed >= due:
        return f"for its turn: {theirs} is complete as of judge time {closed:,}, and a backlog is closed in steps"
    return f"for its partner, until {theirs} is complete as of judge time {due:,}; it is as of {closed:,}"


def _events(known: Known, side: int, record: Rec, books: Books) -> Iterable[Event]:
    at = (known.intake_partition, known.intake_offset, known.judge_ms)
    yield Event(*at, ARRIVED, known.place, f"a {known.side} record arrived")
    if side == LEGACY:
        yield Event(*at, REBUILT_AS, known.place, f"message {record.index} was made of it")
    if record.closed_at != OPEN:
        judge_ms = books.ring.time_of(record.closed_at)
        text = f"{SIDES[other(side)]} was complete, and the grace had passed"
        yield Event(at[0], record.closed_at, None if judge_ms == NEVER else judge_ms, CLOSED, known.place, text)


def _intake_offset(record: Rec) -> int:
    return record.position // position_of(1)


# -- pairs -------------------------------------------------------------------------------------------------------------


def _pairs(told: Sequence[Both], books: Books, verdicts: Sequence[Verdict]) -> list[tuple[Rec, Rec, bool]]:
    """Return (expected, actual, whether they agree) of the pairs that the verdicts or equal digests show."""
    by_place = {(side, _place(record, books)): record for side, record in told}
    pairs: list[tuple[Rec, Rec, bool]] = []
    taken: set[int] = set()
    for verdict in newest(verdicts):
        expected = by_place.get((LEGACY, shown_position(verdict.legacy)))
        actual = by_place.get((REBUILT, shown_position(verdict.rebuilt)))
        if expected is not None and actual is not None:
            pairs.append((expected, actual, _agrees(verdict)))
            taken |= {expected.position, actual.position}
    waiting: dict[bytes, list[Rec]] = {}
    rest = [(side, record) for side, record in told if record.tally == PAIRED and record.position not in taken]
    rest.sort(key=lambda each: (books.sources[each[1].source], each[1].offset, each[1].index))
    for side, record in rest:
        if side == LEGACY:
            waiting.setdefault(record.digest, []).append(record)
    for side, record in rest:
        if side == REBUILT and waiting.get(record.digest):
            pairs.append((waiting[record.digest].pop(0), record, True))
    return pairs


def _agrees(verdict: Verdict) -> bool:
    """Tell whether two messages agree: what is only late, or out of order, does."""
    return verdict.outcome in FINE or all(finding.kind in _ABOUT_TIME for finding in verdict.findings)


_ABOUT_TIME: Final = frozenset({"late", "out_of_order"})


def _partners(told: Sequence[Both], books: Books, verdicts: Sequence[Verdict]) -> dict[int, Rec]:
    partners: dict[int, Rec] = {}
    for expected, actual, _equal in _pairs(told, books, verdicts):
        partners[expected.position], partners[actual.position] = actual, expected
    return partners


def _comparison(partition: int, expected: Rec, actual: Rec, books: Books, equal: bool) -> Event:
    later = max(expected, actual, key=lambda record: record.position)
    text = f"with {_place(actual, books)}: {'they agree' if equal else 'they differ'}"
    return Event(partition, _intake_offset(later), later.judge_ms, COMPARED, _place(expected, books), text)


# -- words -------------------------------------------------------------------------------------------------------------


def _place(record: Rec, books: Books) -> str:
    source = books.sources[record.source]
    return shown_place(source.topic, source.partition, record.offset, record.index)


def _said(verdict: Verdict) -> str:
    findings = "; ".join(_finding(each) for each in verdict.findings)
    pair = f" (its pair: {verdict.pair})" if verdict.pair is not UNSET else ""
    return f"{verdict.outcome}, revision {verdict.rev}{': ' if findings else ''}{findings}{pair}"


def _finding(finding: Finding) -> str:
    return f"{finding.kind} {finding.path}".strip() + (f" ({finding.note})" if finding.note else "")
