"""Which records keep their payload: all but those of equal pairs (R6).

Records of equal digest have equal payloads, so one of them stands for all: who loses an equal partner gets its payload
back from it. Two exceptions: one equal pair in so many is compared in full before it lets go (R10), and where values
differ that a tolerance covers, one payload of the digest stays, to be compared again.
"""

from typing import Final

from cutover_app.core.decide import Decision, JudgeTerms
from cutover_app.core.frames import LEGACY, MESSAGE, REBUILT, Entry
from cutover_app.core.rows import Rows
from cutover_app.core.state import KeyRow, PendingRow, Rec

CHECK_EVERY: Final = 9_973
"""One equal pair in so many is compared in full: a prime, so that no layout of frames avoids it."""


class DigestError(Exception):
    """Two different messages have one digest: nothing that rests on digests can be believed."""


class Payloads:
    """The payloads of one intake partition."""

    def __init__(self, terms: JudgeTerms, rows: Rows) -> None:
        self._tolerant = terms.tolerant
        self._rows = rows

    def let_go(self, expected: Rec, actual: Rec) -> None:
        """Drop the payloads of a pair that is equal to the last byte. Raises `DigestError`."""
        if expected.position % CHECK_EVERY == 0:
            self._check(expected, actual)
        if expected.stored:
            self._rows.drop_payload(LEGACY, expected.position)
            expected.stored = False
        if actual.stored:
            self._rows.drop_payload(REBUILT, actual.position)
            actual.stored = False

    def _check(self, expected: Rec, actual: Rec) -> None:
        """Compare an equal pair in full, as long as both payloads are at hand (R10)."""
        if expected.stored and actual.stored:
            payloads = [self._rows.payload(s, r.position) for s, r in ((LEGACY, expected), (REBUILT, actual))]
            if payloads[0] != payloads[1]:
                raise DigestError(f"equal digests of unequal messages: {expected!r}, {actual!r}")

    def keep(self, key: bytes, row: KeyRow, decision: Decision) -> list[tuple[int, Rec]]:
        """Drop the payloads of equal pairs, keep all others; return (side, record) of those that got theirs back."""
        equal = {record.position for pair in decision.pairs if pair.equal for record in (pair.expected, pair.actual)}
        records = [(side, record) for side in (LEGACY, REBUILT) for record in row.of(side)]
        restored = []
        for side, record in records:
            if record.position not in equal and not record.stored:
                payload = _kept(self._find(row, side, record), record)
                self._rows.restore_payload(side, record.position, PendingRow(key, record.judge_ms, payload))
                record.stored = True
                restored.append((side, record))
        needed = _compared_again(row) if self._tolerant else set()
        for side, record in records:
            if record.position not in equal or not record.stored:
                continue
            if record.digest in needed:
                needed.discard(record.digest)
                continue
            self._rows.drop_payload(side, record.position)
            record.stored = False
        return restored

    def entry(self, key: bytes, row: KeyRow, side: int, record: Rec) -> Entry:
        """Return what a record was in intake, as far as its comparison needs it."""
        # A record without payload is compared with one of equal digest only (`JudgeTerms.tolerant`).
        payload = self._find(row, side, record)
        if self._tolerant:
            payload = _kept(payload, record)
        return Entry(
            record.offset,
            record.index,
            record.timestamp,
            MESSAGE,
            key[len(row.order) :],
            record.digest,
            record.raw,
            payload or b"",
            record.beside,
        )

    def _find(self, row: KeyRow, side: int, record: Rec) -> bytes | None:
        """Return a record's payload; that of a record of equal digest is the same, whichever side it is of."""
        kept = [(side, record)] + [(s, r) for s in (LEGACY, REBUILT) for r in row.of(s) if r.digest == record.digest]
        for each_side, each in kept:
            if each.stored:
                payload = self._rows.payload(each_side, each.position)
                if payload is not None:
                    return payload
        return None


def _kept(payload: bytes | None, record: Rec) -> bytes:
    assert payload is not None, f"the payload of {record!r} is gone; only equal pairs may lose theirs"
    return payload


def _compared_again(row: KeyRow) -> set[bytes]:
    """Return the digests under which values differ that a tolerance covers.

    They are compared inside the whole message each time the key is decided: one payload of such a digest stays.
    """
    besides: dict[bytes, bytes] = {}
    records = row.expected + row.actual
    return {r.digest for r in records if besides.setdefault(r.digest, r.beside) != r.beside}
