"""The judge of one intake partition: (state, intake record) -> (state, effects), a pure function of the log (R3).

It is told three things about each intake record: its offset, its append time, and its frame. It has no other
knowledge of time, and asks nobody. What it decides it hands out as effects: verdicts to publish and rows to keep;
whoever runs it performs them, both in one transaction (R9).

How a record goes through:

1. `apply` takes in entries. What stands at or below the mark of its source is redelivery (R4); what is above is
   accepted, joins the row of its match key, and the key counts as touched.
2. A barrier moves the frontiers, closes what is due (R1), has the touched keys decided, and only then lets go of what
   is older than remembered (R7).
3. `settle` decides every touched key: who is paired with whom (`pairing`), what that means (`decide`), and publishes
   what differs from what was published before.

Invariants:

A. Outcomes of a key depend on the set of its records and closes, never on how the log was cut into chunks; the sequence
   of revisions may.
B. Whether a key is forgotten is decided by its row and the last barrier alone. Rows are deleted later, in bulk, and a
   record that comes before that finds a row that no longer counts.
C. Every accepted record is in exactly one tally of the books at any time.
"""

from collections.abc import Callable
from typing import Final

from cutover_app.core.books import BOOKS_KEY, Books
from cutover_app.core.decide import Decision, JudgeTerms, decide
from cutover_app.core.forwarding import is_home
from cutover_app.core.frames import (
    LEGACY,
    REBUILT,
    REJECTED_AS,
    SIDES,
    Barrier,
    Entry,
    Frame,
    FrameError,
    Origin,
    Records,
)
from cutover_app.core.publishing import Publisher
from cutover_app.core.rows import BOOKS_TABLE, Changes, Rows, Store
from cutover_app.core.state import (
    ALONE,
    DUPLICATED,
    OPEN,
    PAIRED,
    PENDING,
    REJECTED,
    UNDETERMINED,
    KeyRow,
    PendingRow,
    Rec,
    decode_row,
    other,
    position_of,
)
from cutover_app.core.verdicts import DUPLICATE, FINE, INDETERMINATE, Finding, Position, Verdict

__all__ = ["Judge", "JudgeTerms"]

CHECK_EVERY: Final = 9_973
"""One equal pair in so many is compared in full: a prime, so that no layout of frames avoids it."""


class DigestError(Exception):
    """Two different messages have one digest: nothing that rests on digests can be believed."""


class ForeignRulesError(FrameError):
    """An intake record or a row that was made under another contract than this worker's."""


class Judge:
    """Judges one intake partition."""

    def __init__(self, terms: JudgeTerms, partition: int, store: Store) -> None:
        data = store.get(BOOKS_TABLE, BOOKS_KEY)
        self.terms = terms
        self.books = decode_row(Books, data) if data is not None else Books(terms.rules, partition)
        self._check_rules(self.books.rules, "the state of this run")
        self._rows = Rows(store, self.books)
        self._publisher = Publisher(terms, self.books, self._rows)
        self._touched: dict[bytes, None] = {}
        self.entries = 0
        """Entries taken in since this judge was made, redelivered ones included."""
        self.on_forgotten: Callable[[bytes], None] = _ignore

    def __repr__(self) -> str:
        """Return where this judge is, as an operator asks for it."""
        pending = " + ".join(f"{self.books.pending(side)} {SIDES[side]}" for side in (LEGACY, REBUILT))
        return f"<Judge of intake {self.books.partition} at {self.books.at}, {pending} pending>"

    @property
    def partition(self) -> int:
        """Return the intake partition that is judged."""
        return self.books.partition

    @property
    def next_offset(self) -> int:
        """Return the intake offset to read next."""
        return self.books.at + 1

    def apply(self, offset: int, append_ms: int, frame: Frame) -> None:
        """Take in one intake record."""
        if offset <= self.books.at:
            raise ValueError(f"intake offset {offset} after {self.books.at} in partition {self.books.partition}")
        self._check_rules(frame.rules, f"intake partition {self.books.partition}, offset {offset},")
        now = self.books.clock.advance(append_ms, self.terms.interval_ms)
        self.books.at = offset
        if isinstance(frame, Records):
            self._take_records(frame, offset, now)
        else:
            self._take_barrier(frame, offset, now)

    def settle(self) -> None:
        """Decide every touched key and queue what is to be published."""
        rows = self._rows
        # Who lost an equal partner after its own close is touched again: a checkpoint must not come in between.
        while self._touched:
            touched, self._touched = self._touched, {}
            for key in touched:
                row = rows.load(key)
                if row is not None:
                    self._decide(key, row)
            rows.changed(touched)

    def take_verdicts(self) -> list[Verdict]:
        """Return the verdicts decided since the last call, in the order of their decision."""
        return self._publisher.take()

    def checkpoint(self) -> Changes:
        """Return the rows changed since the last one; to be committed with the verdicts taken after this call."""
        self.settle()
        return self._rows.changes()

    def committed(self) -> None:
        """Note that the rows of the last checkpoint can be read from the store."""
        self._rows.committed()

    def balance(self) -> list[str]:
        """Return a line for each way in which the books do not balance."""
        return self.books.balance()

    # -- entries -------------------------------------------------------------------------------------------------------

    def _take_records(self, frame: Records, offset: int, now: int) -> None:
        books, rows = self.books, self._rows
        source = books.source_index(frame.source)
        side = frame.source.side
        ledger = books.ledgers[side]
        mark = books.marks[source]
        entries = frame.entries
        books.arrived(frame.sender, len(entries))
        self.entries += len(entries)
        rows.prefetch(entry.key for entry in entries if not entry.kind)
        position = position_of(offset)
        forgotten = books.forgotten_ms - self.terms.remember_ms
        find, touched = rows.key, self._touched
        accepted = 0
        for entry in entries:
            position += 1
            reached = (entry.offset, entry.index)
            if reached <= mark:
                ledger.redelivered += 1
                continue
            mark = reached
            if entry.kind:
                self._reject(frame, entry)
                continue
            accepted += 1
            key = entry.key
            row = find(key)
            if row is not None and row.last_ms <= forgotten and self._is_forgotten(row):
                self._forget(key, row)
                row = None
            if row is None:
                row = rows.new_key(key, now)
            row.last_ms = now
            (row.expected if side == LEGACY else row.actual).append(_record(entry, source, position, now))
            rows.add_payload(side, position, PendingRow(key, now, entry.payload))
            touched[key] = None
        books.marks[source] = mark
        ledger.accepted += accepted
        ledger.tallies[PENDING] += accepted

    def _reject(self, frame: Records, entry: Entry) -> None:
        """Judge a record that holds no message; at home it is counted and published, elsewhere only remembered."""
        side, books = frame.source.side, self.books
        source = frame.source
        position = Position(
            source.topic, source.partition, entry.offset, entry.timestamp, entry.index, source.incarnation
        )
        books.add_reject(side, position)
        ledger = books.ledgers[side]
        if not is_home(source, books.partition, self.terms.partitions):
            ledger.notices += 1
            return
        ledger.accepted += 1
        ledger.tallies[REJECTED] += 1
        finding = Finding(REJECTED_AS[entry.kind], note=entry.payload.decode("utf-8", "replace"))
        self._publisher.reject(side, Origin(source, entry.offset, entry.index), position, finding)

    # -- barriers ------------------------------------------------------------------------------------------------------

    def _take_barrier(self, frame: Barrier, offset: int, now: int) -> None:
        books = self.books
        books.ring.add(offset, now)
        books.settle_sender(frame)
        frontier = books.frontiers[frame.side]
        if frame.partitions:
            frontier.count(frame.topic, frame.incarnation, frame.partitions)
            for vouch in frame.vouches:
                frontier.vouch(vouch.source.partition, books.ring.time_of(vouch.barrier))
        if books.add_edges(frame.edges):
            self._touch_problems()
        frontier.advance()
        self._close(other(frame.side), offset)
        self.settle()
        books.forgotten_ms = max(books.forgotten_ms, min(each.value() for each in books.frontiers))
        self._delete_forgotten()

    def _touch_problems(self) -> None:
        """Have every key decided again that an edge may explain; what is forgotten keeps its verdicts."""
        for key in dict.fromkeys(self._rows.payload_keys()):
            row = self._rows.load(key)
            if row is None:
                continue
            if self._is_forgotten(row):
                self._forget(key, row)
            else:
                self._touched[key] = None

    def _close(self, side: int, offset: int) -> None:
        """Close the records of a side whose grace has passed, oldest first."""
        rows = self._rows
        limit = self.books.frontiers[other(side)].closed - self.terms.grace_ms
        while (head := rows.waiting(side)) is not None and head.judge_ms <= limit:
            rows.close_next(side, head.position)
            row = rows.load(head.key)
            for record in row.of(side) if row is not None else ():
                if record.position == head.position and record.stored and record.closed_at == OPEN:
                    record.closed_at = offset
                    self._touched[head.key] = None

    def _is_closed(self, side: int, record: Rec) -> bool:
        return record.judge_ms + self.terms.grace_ms <= self.books.frontiers[other(side)].closed

    # -- forgetting ----------------------------------------------------------------------------------------------------

    def _is_forgotten(self, row: KeyRow) -> bool:
        """Tell whether a row no longer counts, by the last barrier (invariant B)."""
        if row.last_ms + self.terms.remember_ms > self.books.forgotten_ms:
            return False
        if any(record.tally == PENDING for records in (row.expected, row.actual) for record in records):
            return False
        if all(published.outcome in FINE for published in row.published):
            return True
        return row.last_ms + self.terms.problems_ms <= self.books.forgotten_ms

    def _forget(self, key: bytes, row: KeyRow) -> None:
        self.on_forgotten(key)
        self.books.forgotten += 1
        self._touched.pop(key, None)
        self._rows.drop_key(key, row)

    def _delete_forgotten(self) -> None:
        """Delete the rows of the oldest bucket once its time has come."""
        rows = self._rows
        bucket = rows.oldest_bucket()
        if bucket is None or bucket.judge_ms + self.terms.remember_ms > self.books.forgotten_ms:
            return
        rows.prefetch(bucket.keys)
        for key in bucket.keys:
            row = rows.key(key)
            if row is None:
                continue
            if self._is_forgotten(row):
                self._forget(key, row)
            else:
                rows.remember_longer(key)
        rows.drop_bucket()

    # -- outcomes ------------------------------------------------------------------------------------------------------

    def _decide(self, key: bytes, row: KeyRow) -> None:
        if len(row.expected) == len(row.actual) == 1 and not row.published and not self.terms.matches:
            expected, actual = row.expected[0], row.actual[0]
            if expected.digest == actual.digest and expected.beside == actual.beside:
                self._settle_equal(expected, actual)
                return
        if not (row.expected and row.actual) and all(r.closed_at == OPEN for r in row.expected + row.actual):
            return
        decision = decide(self.terms, self.books, row, lambda side, record: self._entry(key, row, side, record))
        self._retally(row, decision)
        self._keep_payloads(key, row, decision)
        self._publisher.publish(key, row, decision)

    def _settle_equal(self, expected: Rec, actual: Rec) -> None:
        """The common case: one pair, equal, nothing published before."""
        if expected.position % CHECK_EVERY == 0:
            self._check_digests(expected, actual)
        for side, record in ((LEGACY, expected), (REBUILT, actual)):
            if record.tally != PAIRED:
                tallies = self.books.ledgers[side].tallies
                tallies[record.tally] -= 1
                tallies[PAIRED] += 1
                record.tally = PAIRED
            if record.stored:
                self._rows.drop_payload(side, record.position)
                record.stored = False

    def _check_digests(self, expected: Rec, actual: Rec) -> None:
        """Compare an equal pair in full, as long as both payloads are at hand (R10)."""
        if expected.stored and actual.stored:
            payloads = [self._rows.payload(s, r.position) for s, r in ((LEGACY, expected), (REBUILT, actual))]
            if payloads[0] != payloads[1]:
                raise DigestError(f"equal digests of unequal messages: {expected!r}, {actual!r}")

    def _retally(self, row: KeyRow, decision: Decision) -> None:
        counted: dict[int, int] = {}
        for pair in decision.pairs:
            tally = UNDETERMINED if pair.outcome == INDETERMINATE else PAIRED
            counted[pair.expected.position] = counted[pair.actual.position] = tally
        for single in decision.singles:
            counted[single.record.position] = _tally_of(single.outcome)
        for side in (LEGACY, REBUILT):
            tallies = self.books.ledgers[side].tallies
            for record in row.of(side):
                tally = counted.get(record.position, PENDING)
                if tally != record.tally:
                    tallies[record.tally] -= 1
                    tallies[tally] += 1
                    record.tally = tally

    def _keep_payloads(self, key: bytes, row: KeyRow, decision: Decision) -> None:
        """Drop the payloads of equal pairs and keep all others; who lost an equal partner gets its payload back."""
        equal = {record.position for pair in decision.pairs if pair.equal for record in (pair.expected, pair.actual)}
        for side in (LEGACY, REBUILT):
            for record in row.of(side):
                if record.position not in equal and not record.stored:
                    self._rows.restore_payload(
                        side, record.position, PendingRow(key, record.judge_ms, self._payload(row, side, record))
                    )
                    record.stored = True
                    if record.closed_at == OPEN and self._is_closed(side, record):
                        record.closed_at = self.books.at
                        self._touched[key] = None
        needed = _compared_again(row)
        for side in (LEGACY, REBUILT):
            for record in row.of(side):
                if record.position not in equal or not record.stored:
                    continue
                if record.digest in needed:
                    needed.discard(record.digest)
                    continue
                self._rows.drop_payload(side, record.position)
                record.stored = False

    def _payload(self, row: KeyRow, side: int, record: Rec) -> bytes:
        """Return a record's payload; that of a record of equal digest is the same, whichever side it is of."""
        kept = [(side, record)] + [(s, r) for s in (LEGACY, REBUILT) for r in row.of(s) if r.digest == record.digest]
        for each_side, each in kept:
            if each.stored:
                payload = self._rows.payload(each_side, each.position)
                if payload is not None:
                    return payload
        raise AssertionError(f"the payload of {record!r} is gone; only equal pairs may lose theirs")

    def _entry(self, key: bytes, row: KeyRow, side: int, record: Rec) -> Entry:
        payload = self._payload(row, side, record)
        return Entry(
            record.offset, record.index, record.timestamp, 0, key, record.digest, record.raw, payload, record.beside
        )

    def _check_rules(self, rules: str, where: str) -> None:
        if rules != self.terms.rules:
            raise ForeignRulesError(
                f"{where} was made under rules {rules}, this worker has {self.terms.rules}: "
                "a changed contract is a new run; set another `run`"
            )


def _compared_again(row: KeyRow) -> set[bytes]:
    """Return the digests under which values differ that a tolerance covers.

    They are compared inside the whole message each time the key is decided: one payload of such a digest stays.
    """
    besides: dict[bytes, bytes] = {}
    records = row.expected + row.actual
    return {r.digest for r in records if besides.setdefault(r.digest, r.beside) != r.beside}


def _record(entry: Entry, source: int, position: int, now: int) -> Rec:
    return Rec(source, entry.offset, entry.index, entry.timestamp, position, now, entry.digest, entry.raw, entry.beside)


def _tally_of(outcome: str | None) -> int:
    if outcome is None:
        return PENDING
    if outcome == DUPLICATE:
        return DUPLICATED
    return UNDETERMINED if outcome == INDETERMINATE else ALONE


def _ignore(_key: bytes) -> None:
    pass
