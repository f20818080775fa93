"""Which records keep their payload: all but those of equal pairs (R6).

Records of equal digest have equal payloads, so one of them stands for all: who loses an equal partner gets its payload
back from it. Two exceptions: one equal pair in so many is compared in full before it lets go (R10), and where values
differ that a tolerance covers, one payload of the digest stays, to be compared again.
"""

from typing import Final

from cutover_app.core.decide import Decision, JudgeTerms, Load
from cutover_app.core.frames import LEGACY, MESSAGE, REBUILT, SEALED_BESIDE, Entry
from cutover_app.core.rows import Rows
from cutover_app.core.state import KeyRow, PendingRow, Rec

CHECK_EVERY: Final = 9_973
"""One equal pair in so many is compared in full: a prime, so that no layout of frames avoids it."""

_Copies = dict[bytes, tuple[int, Rec]]
"""A record that has its payload, and its side, by digest."""


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
        lost = [each for each in records if each[1].position not in equal and not each[1].stored]
        copies = _copies(row) if lost else {}
        for side, record in lost:
            payload = _kept(self._find(copies, record), record)
            self._rows.restore_payload(side, record.position, PendingRow(key, record.judge_ms, payload))
            record.stored = True
        needed = _compared_again(row) if self._tolerant else set()
        for side, record in records:
            if record.position not in equal or not record.stored:
                continue
            if record.digest in needed:
                needed.discard(record.digest)
                continue
            self._rows.drop_payload(side, record.position)
            record.stored = False
        return lost

    def loader(self, key: bytes, row: KeyRow) -> Load:
        """Return what makes of a record what it was in intake, as far as its comparison needs it.

        A record without payload is compared with one of equal digest only, and none is read then: what differs under
        a tolerance keeps one (`_compared_again`).
        """
        copies: _Copies | None = None

        def payload(side: int, record: Rec) -> bytes | None:
            nonlocal copies
            if record.stored:
                return self._rows.payload(side, record.position)
            copies = _copies(row) if copies is None else copies
            return self._find(copies, record)

        def entry(side: int, record: Rec) -> Entry:
            return Entry(
                record.offset,
                record.index,
                record.timestamp,
                MESSAGE,
                key[len(row.order) :],
                record.digest,
                record.raw,
                payload(side, record) or b"",
                record.beside,
            )

        return entry

    def _find(self, copies: _Copies, record: Rec) -> bytes | None:
        """Return the payload of a record that has none: that of one of equal digest, whichever side it is of."""
        copy = copies.get(record.digest)
        return self._rows.payload(copy[0], copy[1].position) if copy is not None else None


def _copies(row: KeyRow) -> _Copies:
    """Return, by digest, a record that has its payload."""
    return {record.digest: (side, record) for side in (LEGACY, REBUILT) for record in row.of(side) if record.stored}


def _kept(payload: bytes | None, record: Rec) -> bytes:
    assert payload is not None, f"the payload of {record!r} is gone; only equal pairs may lose theirs"
    return payload


def _compared_again(row: KeyRow) -> set[bytes]:
    """Return the digests under which values differ that a tolerance covers.

    They are compared inside the whole message each time the key is decided: one payload of such a digest stays.
    """
    besides: dict[bytes, bytes] = {}
    found = set()
    for record in row.expected + row.actual:
        beside = record.beside.partition(SEALED_BESIDE)[0]  # what is sealed is compared without payloads
        if besides.setdefault(record.digest, beside) != beside:
            found.add(record.digest)
    return found
