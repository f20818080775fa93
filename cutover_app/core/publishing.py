"""From outcomes to revisions: what has to be published, given what has been (R5).

A verdict id is published again only when its outcome, its findings or its partner differ from its newest revision. What
turned out fine after having been a problem is `resolved` under its own id, once. A record that is not judged yet
leaves its old verdict standing. Families count, per kind and path, how many verdicts have such a finding now.
"""

from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from cutover_app.core.books import Books
from cutover_app.core.decide import Decision, JudgeTerms, Paired
from cutover_app.core.frames import LEGACY, REBUILT, Origin
from cutover_app.core.limits import LISTED_MAX, ROW_FAMILIES_MAX, SAMPLES_MAX
from cutover_app.core.rows import Rows
from cutover_app.core.state import KeyRow, Published, Rec, other
from cutover_app.core.verdicts import (
    FINE,
    MATCH,
    MISSING,
    OTHER_PATHS,
    RESOLVED,
    UNKNOWN,
    FamilyName,
    Finding,
    Position,
    Verdict,
    family_of,
    verdict_id,
)

BY_ORDER_NOTE: Final = "paired by order: too many messages of this key are without an equal partner to find the closest"


class _Said(NamedTuple):
    """What a revision says."""

    outcome: str
    findings: tuple[Finding, ...] = ()
    partner: Rec | None = None
    pair: str | UnsetType = UNSET


class _Known(NamedTuple):
    """A key, its row, and the newest revisions in it by anchor."""

    key: bytes
    row: KeyRow
    published: dict[tuple[int, int, int, int], Published]


class Publisher:
    """Turns the decisions about keys into revisions of verdicts, and keeps the families."""

    def __init__(self, terms: JudgeTerms, books: Books, rows: Rows) -> None:
        self._terms = terms
        self._books = books
        self._rows = rows
        self._verdicts: list[Verdict] = []

    def take(self) -> list[Verdict]:
        """Return what has been decided since the last call."""
        taken, self._verdicts = self._verdicts, []
        return taken

    def once(self, origin: Origin, position: Position, outcome: str, finding: Finding, key: list[Any]) -> None:
        """Publish the verdict of a record that is not kept; `key` as it is shown. It never changes."""
        self._count([self._rows.counted_in(family_of(finding))], [], origin, position.timestamp)
        legacy, rebuilt = (position, UNSET) if origin.source.side == LEGACY else (UNSET, position)
        self._emit(origin, _Said(outcome, (finding,)), rev=1, key=key, legacy=legacy, rebuilt=rebuilt)

    def publish(self, key: bytes, row: KeyRow, decision: Decision) -> None:
        """Publish what a decision about a key changes."""
        known = {(p.side, p.source, p.offset, p.index): p for p in row.published}
        for pair in decision.pairs:
            note = BY_ORDER_NOTE if decision.by_order and not pair.equal else ""
            self._publish_pair(_Known(key, row, known), pair, note)
        for single in decision.singles:
            if single.outcome is not None:
                said = _Said(single.outcome, single.findings)
                self._revise(_Known(key, row, known), single.side, single.record, said)

    def _publish_pair(self, known: _Known, pair: Paired, note: str) -> None:
        expected, actual = pair.expected, pair.actual
        findings = pair.findings
        if note and findings:
            findings = (*findings[:-1], msgspec.structs.replace(findings[-1], note=findings[-1].note or note))
        published = known.published.get(_anchor(LEGACY, expected))
        outcome = pair.outcome
        if outcome == MATCH and published is not None and published.outcome != MATCH:
            outcome = RESOLVED
        if outcome != MATCH or self._terms.matches:
            self._revise(known, LEGACY, expected, _Said(outcome, findings, actual))
        if _anchor(REBUILT, actual) in known.published:
            pair_id = verdict_id(self._terms.contract, self._origin(expected))
            self._revise(known, REBUILT, actual, _Said(RESOLVED, pair=pair_id))

    def _revise(self, known: _Known, side: int, record: Rec, said: _Said) -> None:
        """Publish a new revision of the verdict anchored at `record`, unless the newest one says the same."""
        mine = self._position(record)
        theirs = self._position(said.partner) if said.partner is not None else UNSET
        fingerprint = _fingerprint(said, theirs)
        published = known.published.get(_anchor(side, record))
        if published is None:
            published = Published(side, record.source, record.offset, record.index, 0, MATCH, b"", [])
            known.row.published.append(published)
        elif published.fingerprint == fingerprint:
            return
        origin = self._origin(record)
        row = known.row
        families = [] if said.outcome in FINE else self._families_of(said.findings, row.families)
        self._count(families, [row.families[place] for place in published.families], origin, record.timestamp)
        published.rev += 1
        published.outcome, published.fingerprint = said.outcome, fingerprint
        row.families += tuple(each for each in families if each not in row.families)
        published.families = [row.families.index(each) for each in families]
        self._emit(
            origin,
            said,
            rev=published.rev,
            key=self._terms.shown_key(known.key[len(known.row.order) :]),
            legacy=mine if side == LEGACY else theirs,
            rebuilt=theirs if side == LEGACY else mine,
            nearby=self._unreadable_near(side, record) if said.outcome in (MISSING, UNKNOWN) else (),
        )

    def _emit(
        self,
        origin: Origin,
        said: _Said,
        *,
        rev: int,
        key: list[Any],
        legacy: Position | UnsetType,
        rebuilt: Position | UnsetType,
        nearby: tuple[Position, ...] = (),
    ) -> None:
        terms, books = self._terms, self._books
        verdict = Verdict(
            id=verdict_id(terms.contract, origin),
            rev=rev,
            at=(books.partition, books.at),
            run=terms.run,
            contract=terms.contract,
            rules=terms.rules,
            outcome=said.outcome,
            key=key,
            findings=said.findings,
            legacy=legacy,
            rebuilt=rebuilt,
            delay_ms=_delay(legacy, rebuilt),
            pair=said.pair,
            undecodable=nearby,
        )
        self._verdicts.append(verdict)

    def _count(self, families: list[FamilyName], before: list[FamilyName], origin: Origin, at_ms: int) -> None:
        """Move a verdict from the families that it was in to those that it is in."""
        for kind, path in before:
            if (kind, path) not in families:
                self._rows.family(kind, path, at_ms).open -= 1
        for kind, path in families:
            if (kind, path) in before:
                continue
            row = self._rows.family(kind, path, at_ms)
            row.total += 1
            row.open += 1
            row.first_ms, row.last_ms = min(row.first_ms, at_ms), max(row.last_ms, at_ms)
            if len(row.samples) < SAMPLES_MAX:
                row.samples.append(verdict_id(self._terms.contract, origin))

    def _families_of(self, findings: tuple[Finding, ...], known: tuple[FamilyName, ...]) -> list[FamilyName]:
        """Return the families that findings are counted in, given those that their key has been in."""
        families = {self._rows.counted_in(family_of(finding)) for finding in findings}
        if len(known) + len(families) > ROW_FAMILIES_MAX:
            families = {each if each in known or not each[1] else (each[0], OTHER_PATHS) for each in families}
        return sorted(families)

    def _unreadable_near(self, side: int, record: Rec) -> tuple[Position, ...]:
        """Return unreadable records of the other side within grace of this one; each may be its partner (R11)."""
        rejects = self._books.rejects[other(side)]
        if not rejects:
            return ()
        grace = self._terms.grace_ms
        near = [each for each in rejects if abs(each.timestamp - record.timestamp) <= grace]
        return tuple(near[:LISTED_MAX])

    def _origin(self, record: Rec) -> Origin:
        return Origin(self._books.sources[record.source], record.offset, record.index)

    def _position(self, record: Rec) -> Position:
        source = self._books.sources[record.source]
        return Position(
            source.topic, source.partition, record.offset, record.timestamp, record.index, source.incarnation
        )


def _anchor(side: int, record: Rec) -> tuple[int, int, int, int]:
    return side, record.source, record.offset, record.index


def _fingerprint(said: _Said, partner: Position | UnsetType) -> bytes:
    """Return a short digest of what a revision says; two that say the same have the same."""
    shown = (
        said.outcome,
        said.findings,
        None if partner is UNSET else partner,
        None if said.pair is UNSET else said.pair,
    )
    return blake2b(msgspec.msgpack.encode(shown), digest_size=8).digest()


def _delay(legacy: Position | UnsetType, rebuilt: Position | UnsetType) -> int | UnsetType:
    if isinstance(legacy, UnsetType) or isinstance(rebuilt, UnsetType) or min(legacy.timestamp, rebuilt.timestamp) < 0:
        return UNSET
    return rebuilt.timestamp - legacy.timestamp
