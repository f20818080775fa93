"""What the pairing of a key means: outcomes and findings (R6, R7, R8).

A pure function of a key row, its payloads and the books.

A pair whose messages agree under the contract is a match, unless it is late or out of order; else it is a mismatch. A
record that has no partner is missing or unknown, or a duplicate of one that has. Where the evidence has an edge (a
range of a source that nobody can read any more), what would be missing, unknown or wrong near that edge is
indeterminate: the partner may have been in there. Duplicates stay duplicates, because both copies were seen. An actual
that has waited long enough, but behind a mirror of which nobody could say whether it is complete, is indeterminate
until that can be said (R1.5). Of a key that has had more records than are paired, whatever has no equal partner is
indeterminate: its partner may be one of those. A duplicate stays one unless legacy records were among those.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from cutover_app.core.books import Books
from cutover_app.core.frames import LEGACY, REBUILT, Entry
from cutover_app.core.limits import CLOSED_MAX, KEY_RECORDS_MAX, ORDERED_MAX, TURN_KEYS
from cutover_app.core.ordering import overtaken, passage
from cutover_app.core.pairing import Pairing, leftovers, pair
from cutover_app.core.rows import UNPROVEN
from cutover_app.core.state import (
    ALONE,
    CROWDED,
    DUPLICATED,
    FULL,
    LEGACY_FULL,
    PENDING,
    UNDETERMINED,
    KeyRow,
    Rec,
    other,
)
from cutover_app.core.verdicts import (
    DUPLICATE,
    INDETERMINATE,
    LATE,
    MATCH,
    MISMATCH,
    OUT_OF_ORDER,
    UNKNOWN,
    Finding,
)

Differ = Callable[[Entry, Entry], tuple[Finding, ...]]
Load = Callable[[int, Rec], Entry]


def _as_it_is(key: bytes) -> list[Any]:
    return [key.decode("utf-8", "replace")]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeTerms:
    """What a judge needs to know of a contract. Times in milliseconds."""

    contract: str
    run: str
    rules: str
    partitions: int
    """Partitions of intake."""
    grace_ms: int
    remember_ms: int
    problems_ms: int
    interval_ms: int
    """Barrier interval."""
    edge_ms: int
    unique: bool
    diff: Differ
    """(expected, actual) -> findings; none is a match."""
    late_ms: int = 1 << 62
    """By how much an actual may be younger than its expected record, by their own timestamps."""
    order_apart: bool = False
    """Whether the order key is another one than the match key."""
    ordered_max: int = ORDERED_MAX
    """Records of one order key up to which its order is judged."""
    records_max: int = KEY_RECORDS_MAX
    """Records of one match key that are paired."""
    close_max: int = CLOSED_MAX
    """Records of a side, undecided so far, that a barrier closes, for each second of the interval."""
    turn_keys: int = TURN_KEYS
    """Keys that a barrier closes or decides before others have their turn."""
    matches: bool = False
    """Whether matches are published too."""
    tolerant: bool = True
    """Whether a comparison of equal digests needs the payload: to put values under a tolerance back into it."""
    shown_key: Callable[[bytes], list[Any]] = _as_it_is


@dataclass(frozen=True, slots=True)
class Paired:
    """A pair and what it means."""

    expected: Rec
    actual: Rec
    equal: bool
    """Whether the digests are equal."""
    outcome: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Single:
    """A record without partner; outcome None while it is too early to say."""

    side: int
    record: Rec
    outcome: str | None
    findings: tuple[Finding, ...] = ()


@dataclass(slots=True)
class Decision:
    """The outcomes of one key."""

    pairs: list[Paired] = field(default_factory=list)
    singles: list[Single] = field(default_factory=list)
    by_order: bool = False
    near: bool = False
    """Whether a record of the key lies near a lost range, or some have not been kept."""


CROWDED_NOTE: Final = (
    "more messages of this key than are paired (core/limits.py): choose a match key that tells them apart"
)
UNPROVEN_NOTE: Final = "mirror not proven: nobody could say whether the copy of the legacy topic was complete"
OVERTAKEN_NOTE: Final = "a message of the same order key that came after it was published before it"


def decide(terms: JudgeTerms, books: Books, row: KeyRow, load: Load) -> Decision:
    """Return the outcomes of a key; `load` makes the entry of a record, payload included."""
    expected, actual = _in_order(books, row.expected), _in_order(books, row.actual)
    differ = _Differ(terms.diff, load)
    pairing = pair(expected, actual, terms.unique, lambda e, a: len(differ(e, a)))
    near = bool(row.noted & FULL) or (
        bool(books.edges)
        and any(_near_edge(terms, books, side, record) for side in (LEGACY, REBUILT) for record in row.of(side))
    )
    decision = Decision(_decide_pairs(terms, row, pairing, differ, near=near), by_order=pairing.by_order, near=near)
    for side, ordered in ((LEGACY, expected), (REBUILT, actual)):
        for record, outcome in leftovers(pairing, side, ordered):
            decision.singles.append(_single(terms, books, side, record, outcome, noted=row.noted))
    return decision


def _in_order(books: Books, records: list[Rec]) -> list[Rec]:
    if len(records) < 2:
        return records
    return sorted(records, key=lambda record: (books.sources[record.source], record.offset, record.index))


class _Differ:
    """Compares two records at most once per decision."""

    def __init__(self, diff: Differ, load: Load) -> None:
        self._diff = diff
        self._load = load
        self._known: dict[tuple[int, int], tuple[Finding, ...]] = {}
        self._entries: dict[int, Entry] = {}

    def __call__(self, expected: Rec, actual: Rec) -> tuple[Finding, ...]:
        both = (expected.position, actual.position)
        findings = self._known.get(both)
        if findings is None:
            findings = self._known[both] = self._diff(self._entry(LEGACY, expected), self._entry(REBUILT, actual))
        return findings

    def _entry(self, side: int, record: Rec) -> Entry:
        entry = self._entries.get(record.position)
        if entry is None:
            entry = self._entries[record.position] = self._load(side, record)
        return entry


def _decide_pairs(terms: JudgeTerms, row: KeyRow, pairing: Pairing, differ: _Differ, *, near: bool) -> list[Paired]:
    behind = set() if near else _overtaken(terms, row, pairing)
    made = []
    for equal, pairs in ((True, pairing.equal), (False, pairing.unequal)):
        for expected, actual in pairs:
            # What a tolerance covers is not in the digest; it travels beside it.
            findings = () if equal and expected.beside == actual.beside else differ(expected, actual)
            if actual.timestamp - expected.timestamp > terms.late_ms:
                findings += _late(terms, expected, actual)
            if expected.position in behind:
                findings += (Finding(OUT_OF_ORDER, note=OVERTAKEN_NOTE),)
            outcome = (INDETERMINATE if near else MISMATCH) if findings else MATCH
            made.append(Paired(expected, actual, equal, outcome, findings))
    return made


def _late(terms: JudgeTerms, expected: Rec, actual: Rec) -> tuple[Finding, ...]:
    """R7: by the records' own timestamps, where these mean the same on both sides."""
    if expected.timestamp < 0 or expected.appended != actual.appended:
        return ()
    delay = actual.timestamp - expected.timestamp
    return (Finding(LATE, note=f"{delay} ms after its legacy record; allowed are {terms.late_ms} ms"),)


def _overtaken(terms: JudgeTerms, row: KeyRow, pairing: Pairing) -> set[int]:
    """Return the positions of the expected records whose pairs are out of order."""
    if terms.order_apart:
        return {record.position for record in row.expected if record.overtaken}
    pairs = pairing.equal + pairing.unequal
    if len(pairs) < 2 or row.noted & CROWDED:
        return set()
    return overtaken(passage(b"", expected, actual) for expected, actual in pairs)


def _single(terms: JudgeTerms, books: Books, side: int, record: Rec, outcome: str | None, *, noted: int) -> Single:
    if outcome is None:
        if not is_given_up(books, side, record):
            return Single(side, record, None)
        return Single(side, record, INDETERMINATE, (Finding(UNKNOWN, note=UNPROVEN_NOTE),))
    if outcome == DUPLICATE and side == REBUILT and noted & LEGACY_FULL:
        outcome = UNKNOWN
    finding = Finding(outcome)
    if outcome == DUPLICATE:
        if side == LEGACY:
            finding = Finding(DUPLICATE, note="the same bytes again at another offset: the transport is suspected")
    elif noted & FULL:
        outcome, finding = INDETERMINATE, Finding(outcome, note=CROWDED_NOTE)
    elif books.edges and _near_edge(terms, books, side, record):
        outcome = INDETERMINATE
    return Single(side, record, outcome, (finding,))


def is_given_up(books: Books, side: int, record: Rec) -> bool:
    """Tell whether an actual would be closed, had somebody proven that the mirror is complete.

    What is due without proof is, once its turn has come; until it is due with proof and closed. Both move only where
    the keys of the records that they pass are decided again.
    """
    return side == REBUILT and books.due_ms[REBUILT] < record.judge_ms <= books.due_ms[UNPROVEN]


def stands(books: Books, row: KeyRow) -> bool:
    """Tell whether time changes nothing any more: one pair, said to differ, and nothing beside it to judge it by.

    Decided again when it is closed, it would be read from disk and compared for nothing.
    """
    return (
        len(row.expected) == len(row.actual) == 1
        and any(said.outcome == MISMATCH for said in row.published)
        and not (row.noted or row.order or books.edges)
    )


def _near_edge(terms: JudgeTerms, books: Books, side: int, record: Rec) -> bool:
    """Tell whether a lost range of the other side may hold the partner of a record."""
    opposite, stamp, width = other(side), record.timestamp, terms.edge_ms
    return any(
        edge.source.side == opposite and edge.from_ms - width <= stamp <= edge.to_ms + width for edge in books.edges
    )


def tally_of(outcome: str | None) -> int:
    """Return how a record without partner is counted in the books."""
    if outcome is None:
        return PENDING
    if outcome == DUPLICATE:
        return DUPLICATED
    return UNDETERMINED if outcome == INDETERMINATE else ALONE
