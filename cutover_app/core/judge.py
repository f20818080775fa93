"""The judge of one intake partition: (state, intake record) -> (state, effects), a pure function of the log (R3).

It is told three things about each intake record: its offset, its append time, and its frame. It has no other
knowledge of time, and asks nobody. What it decides it hands out as effects: verdicts to publish and rows to keep;
whoever runs it performs them, both in one transaction (R9).

How a record goes through:

1. `apply` takes in entries. What stands at or below the mark of its source is redelivery (R4); what is above is
   accepted, joins the row of its match key, and the key counts as touched.
2. A barrier moves the frontiers, closes what is due (R1), has the touched keys decided, and only then lets go of what
   is older than remembered (R7).
3. `settle` decides every touched key: who is paired with whom (`pairing`), what that means (`decide`), whether order
   was kept (`ordering`), and publishes what differs from what was published before.

Invariants:

A. Outcomes of a key depend on the set of its records and closes, never on how the log was cut into chunks; the sequence
   of revisions may.
B. Whether a key is forgotten is decided by its rows and the last barrier alone (`forgetting`).
C. Every accepted record is in exactly one tally of the books at any time.
"""

from collections.abc import Callable, Iterator

from cutover_app.core.books import BOOKS_KEY, Books
from cutover_app.core.cache import Store
from cutover_app.core.decide import CROWDED_NOTE, Decision, JudgeTerms, decide, is_given_up, stands, tally_of
from cutover_app.core.foreign import CHANGED, ForeignRulesError
from cutover_app.core.forgetting import Forgetting
from cutover_app.core.forwarding import is_home
from cutover_app.core.frames import (
    LEGACY,
    REBUILT,
    REJECTED_AS,
    SIDES,
    Barrier,
    Entry,
    Frame,
    Origin,
    Records,
    Source,
)
from cutover_app.core.limits import CROWDED_MAX, RECORD_BYTES, ROW_BYTES_MAX
from cutover_app.core.ordering import Ordering, note, unmark
from cutover_app.core.payloads import Payloads
from cutover_app.core.publishing import Publisher
from cutover_app.core.rows import BOOKS_TABLE, UNPROVEN, Changes, Rows, in_turns
from cutover_app.core.state import (
    FULL,
    LEGACY_FULL,
    OPEN,
    PAIRED,
    PENDING,
    REJECTED,
    TIMED,
    UNDETERMINED,
    KeyRow,
    PendingRow,
    Rec,
    decode_row,
    order_row_key,
    other,
    position_of,
)
from cutover_app.core.steps import step
from cutover_app.core.verdicts import INDETERMINATE, MISSING, UNDECODABLE, UNKNOWN, Finding, Position, Verdict

__all__ = ["Judge", "JudgeTerms"]


class Judge:
    """Judges one intake partition."""

    def __init__(self, terms: JudgeTerms, partition: int, store: Store) -> None:
        data = store.get(BOOKS_TABLE, BOOKS_KEY)
        self.terms = terms
        self.books = decode_row(Books, data) if data is not None else Books(terms.rules, partition)
        self._check_rules(self.books.rules, "the state of this run")
        self._rows = Rows(store, self.books)
        self._ordering = Ordering(self.books, self._rows, terms.ordered_max)
        self._forgetting = Forgetting(terms, self.books, self._rows, self._ordering)
        self._payloads = Payloads(terms, self._rows)
        self._publisher = Publisher(terms, self.books, self._rows)
        self._touched: dict[bytes, None] = {}
        self._tallies = tuple(ledger.tallies for ledger in self.books.ledgers)
        self.entries = 0
        """Entries taken in since this judge was made, redelivered ones included."""

    def __repr__(self) -> str:
        """Return where this judge is, as an operator asks for it."""
        pending = " + ".join(f"{self.books.pending(side)} {SIDES[side]}" for side in (LEGACY, REBUILT))
        return f"<Judge of intake {self.books.partition} at {self.books.at}, {pending} pending>"

    @property
    def partition(self) -> int:
        """Return the intake partition that is judged."""
        return self.books.partition

    def tell_forgotten(self, told: Callable[[bytes], None]) -> None:
        """Have `told` called with the key of every row that is forgotten."""
        self._forgetting.on_forgotten = told

    @property
    def next_offset(self) -> int:
        """Return the intake offset to read next."""
        return self.books.at + 1

    def apply(self, offset: int, append_ms: int, frame: Frame) -> None:
        """Take in one intake record."""
        for _ in self.applying(offset, append_ms, frame):
            pass

    def applying(self, offset: int, append_ms: int, frame: Frame) -> Iterator[None]:
        """Do the same, and yield wherever others may have their turn: a barrier may close a whole backlog.

        It yields between two keys; until its end one may take verdicts, look at the books and at `oldest_ms`, and do
        nothing else.
        """
        if offset <= self.books.at:
            raise ValueError(f"intake offset {offset} after {self.books.at} in partition {self.books.partition}")
        self._check_rules(frame.rules, f"intake partition {self.books.partition}, offset {offset},")
        now = self.books.clock.advance(append_ms, self.terms.interval_ms)
        self.books.at = offset
        if isinstance(frame, Records):
            self._take_records(frame, offset, now)
        else:
            yield from self._take_barrier(frame, offset, now)
        if offset <= self.books.again_to:
            # Wherever the judge before this one decided, this one decides too: so it knows of all that was said, and a
            # verdict that stands until the next outcome is decided (R5) is revised by whoever decides that.
            yield from self._settling()

    def settle(self, *, crowded: bool = False) -> None:
        """Decide every touched key and queue what is to be published; those with many records only if asked for.

        To decide a key takes time in proportion to its records, and it is the same whenever it is done.
        """
        for _ in self._settling(crowded=crowded):
            pass

    def _settling(self, *, crowded: bool = False, many: bool = False) -> Iterator[None]:
        """Decide the touched keys, and yield after each turn of them; `many`: they are not needed again soon."""
        rows = self._rows
        later: dict[bytes, None] = {}
        # Who lost an equal partner after its own close is touched again: a checkpoint must not come in between.
        while self._touched:
            touched, self._touched = self._touched, {}
            for turn in in_turns(touched, self.terms.turn_keys):
                for key in turn:
                    row = rows.keys.load(key)
                    if row is None:
                        continue
                    if not crowded and len(row.expected) + len(row.actual) > CROWDED_MAX:
                        later[key] = None
                    else:
                        self._decide(key, row)
                yield from self._end_turn(turn, pack=many)
            rows.keys.changed(touched)
            if self.terms.order_apart:
                self._touched.update(dict.fromkeys(self._ordering.settle()))
        self._touched = later

    def take_verdicts(self) -> list[Verdict]:
        """Return the verdicts decided since the last call, in the order of their decision."""
        return self._publisher.take()

    def checkpoint(self) -> Changes:
        """Return the rows changed since the last one; to be committed with the verdicts taken after this call."""
        self.settle(crowded=True)
        return self._rows.changes()

    def committed(self) -> None:
        """Note that the rows of the last checkpoint can be read from the store."""
        self._rows.committed()

    @property
    def held(self) -> int:
        """Return how many payloads are in memory and in no checkpoint yet."""
        return self._rows.held

    def oldest_ms(self, side: int) -> int | None:
        """Return the age, in judge time, of the oldest record that is not closed and without an equal partner.

        None where nothing is pending. It may be called between any two chunks, and changes nothing.
        """
        oldest = self._rows.oldest(side) if self.books.pending(side) else None
        return None if oldest is None else self.books.clock.now - oldest.judge_ms

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
        self._prefetch(entries)
        position = position_of(offset)
        forgotten = books.forgotten_ms - self.terms.remember_ms
        find, add_payload, touched = rows.keys.find, rows.add_payload, self._touched
        apart, most = self.terms.order_apart, self.terms.records_max
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
            key = entry.order + entry.key if apart else entry.key
            row = find(key)
            if row is not None and row.last_ms <= forgotten and not self._forgetting.counts(key, row):
                self._forget(key, row)
                row = None
            if apart:
                self._join_order(entry.order, key, now, source, is_new=row is None)
            if row is not None:
                held = len(row.expected) + len(row.actual)
                if held >= most or held * RECORD_BYTES + row.beside + len(entry.beside) > ROW_BYTES_MAX:
                    self._crowd_out(frame.source, entry, key, row, now)
                    accepted -= 1
                    continue
            else:
                row = rows.keys.add(key, KeyRow([], [], [], now, entry.order if apart else b""))
                if not apart:
                    rows.await_forgetting(key)
            row.last_ms = now
            row.beside += len(entry.beside)
            (row.expected if side == LEGACY else row.actual).append(_record(entry, source, position, now))
            add_payload(side, position, PendingRow(key, now, entry.payload))
            touched[key] = None
        if entries:
            books.reach(source, mark, entries[-1].timestamp)
        ledger.accepted += accepted
        ledger.tallies[PENDING] += accepted

    def _prefetch(self, entries: list[Entry]) -> None:
        """Read the rows that a frame needs in one go."""
        rows = self._rows
        if not self.terms.order_apart:
            rows.keys.prefetch([entry.key for entry in entries if not entry.kind])
            return
        rows.keys.prefetch([entry.order + entry.key for entry in entries if not entry.kind])
        rows.orders.prefetch([order_row_key(entry.order) for entry in entries if not entry.kind])

    def _join_order(self, order: bytes, key: bytes, now: int, source: int, *, is_new: bool) -> None:
        """Add a record to its order key, of which nothing is left where that counts no more.

        A match key that is not new then stands for itself: one that belongs to it would have gone before.
        """
        row = self._ordering.row(order)
        if row is not None and not self._forgetting.order_counts(row):
            for each in row.keys:
                self._touched.pop(each, None)
            self._forgetting.forget_order(order)
        self._ordering.arrived(order, key, now, source, is_new=is_new)

    def _crowd_out(self, source: Source, entry: Entry, key: bytes, row: KeyRow, now: int) -> None:
        """Judge a record of a key that has more records than are paired; it is counted and published, not kept."""
        side = source.side
        ledger = self.books.ledgers[side]
        ledger.accepted += 1
        ledger.tallies[UNDETERMINED] += 1
        row.last_ms = now
        noted = row.noted | FULL | (LEGACY_FULL if side == LEGACY else 0)
        if noted != row.noted:
            row.noted = noted
            self._touched[key] = None
        self._rows.keys.changed((key,))
        finding = Finding(MISSING if side == LEGACY else UNKNOWN, note=CROWDED_NOTE)
        shown = self.terms.shown_key(key[len(row.order) :])
        origin = Origin(source, entry.offset, entry.index)
        self._publisher.once(origin, _place_of(source, entry), INDETERMINATE, finding, shown)

    def _reject(self, frame: Records, entry: Entry) -> None:
        """Judge a record that holds no message; at home it is counted and published, elsewhere only remembered."""
        side, books = frame.source.side, self.books
        source = frame.source
        position = _place_of(source, entry)
        books.add_reject(side, position)
        ledger = books.ledgers[side]
        if not is_home(source, books.partition, self.terms.partitions):
            ledger.notices += 1
            return
        ledger.accepted += 1
        ledger.tallies[REJECTED] += 1
        finding = Finding(REJECTED_AS[entry.kind], note=entry.payload.decode("utf-8", "replace"))
        self._publisher.once(Origin(source, entry.offset, entry.index), position, UNDECODABLE, finding, [])

    # -- barriers ------------------------------------------------------------------------------------------------------

    def _take_barrier(self, frame: Barrier, offset: int, now: int) -> Iterator[None]:
        books = self.books
        yield from self._settling(crowded=True)
        books.ring.add(offset, now)
        books.settle_sender(frame)
        frontier = books.frontiers[frame.side]
        if frame.partitions:
            frontier.count(frame.topic, frame.incarnation, frame.partitions)
            for vouch in frame.vouches:
                at = books.ring.time_of(vouch.barrier)
                frontier.vouch(vouch.source.partition, at, proven=frame.proven)
        before = len(self._touched)
        if books.add_edges(frame.edges):
            yield from self._touch_problems()
        frontier.advance()
        yield from self._close(other(frame.side), offset)
        if frame.side == LEGACY:
            yield from self._give_up()
        yield from self._settling(crowded=True, many=len(self._touched) - before >= self.terms.turn_keys)
        books.forgotten_ms = max(books.forgotten_ms, min(each.value() for each in books.frontiers))
        yield from self._forgetting.delete_due()

    def _touch_problems(self) -> Iterator[None]:
        """Have every key decided again that an edge may explain; what is forgotten keeps its verdicts."""
        orders: set[bytes] = set()
        for turn in in_turns(dict.fromkeys(self._rows.problem_keys()), self.terms.turn_keys):
            for key in turn:
                row = self._rows.keys.load(key)
                if row is None:
                    continue
                if not self._forgetting.counts(key, row):
                    self._forget(key, row)
                    continue
                self._touched[key] = None
                if row.order not in orders:
                    # Pairs near an edge take no part in order, whichever key they are of.
                    orders.add(row.order)
                    self._touched.update(dict.fromkeys(self._ordering.keys_of(row.order)))
            yield from self._end_turn(turn)

    def _end_turn(self, keys: list[bytes], *, pack: bool = True) -> Iterator[None]:
        """Let others have their turn after a whole one of ours, and give up the rows of its keys."""
        if len(keys) == self.terms.turn_keys:
            if pack:
                self._rows.pack(keys)
            yield

    def _forget(self, key: bytes, row: KeyRow) -> None:
        self._touched.pop(key, None)
        self._forgetting.forget(key, row)

    def _close(self, side: int, offset: int) -> Iterator[None]:
        """Close the records of a side whose grace has passed, oldest first."""
        for turn in in_turns(self._due(side, self.books.frontiers[other(side)].closed), self.terms.turn_keys):
            for key, record in turn:
                if record is not None and record.stored and record.closed_at == OPEN:
                    record.closed_at = offset
                    self._touched[key] = None
            yield from self._end_turn([key for key, _ in turn])

    def _give_up(self) -> Iterator[None]:
        """Have the actual records decided that wait for a mirror of which nothing is proven (R1.5)."""
        frontier = self.books.frontiers[LEGACY]
        self._rows.watch_unproven(not frontier.is_proven)
        if frontier.is_proven:
            return
        for turn in in_turns(self._due(UNPROVEN, frontier.claimed), self.terms.turn_keys):
            self._touched.update((key, None) for key, record in turn if record is not None)
            yield from self._end_turn([key for key, _ in turn])

    def _due(self, queue: int, frontier_ms: int) -> Iterator[tuple[bytes, Rec | None]]:
        """Take what is due from a queue, oldest first; of a long backlog the next barriers take the rest."""
        due, terms = self.books.due_ms, self.terms
        most = terms.close_max * max(1, terms.interval_ms // 1000)
        reached = yield from step(self._rows, queue, frontier_ms - terms.grace_ms, most)
        due[queue] = max(due[queue], reached)

    def _is_closed(self, side: int, record: Rec) -> bool:
        return record.judge_ms <= self.books.due_ms[side]

    # -- outcomes ------------------------------------------------------------------------------------------------------

    def _decide(self, key: bytes, row: KeyRow) -> None:
        terms = self.terms
        if len(row.expected) == len(row.actual) == 1 and not row.published and not terms.matches:
            expected, actual = row.expected[0], row.actual[0]
            if (
                expected.digest == actual.digest
                and expected.beside == actual.beside
                and actual.timestamp - expected.timestamp <= terms.late_ms
                and not (row.order and (expected.overtaken or self.books.edges))
            ):
                self._settle_equal(expected, actual)
                if row.order:
                    self._ordering.paired(row.order, key, [(expected, actual)])
                return
        if not (row.expected and row.actual) and not self._is_due(row):
            return
        if stands(self.books, row):
            return
        self._decide_with_care(key, row)

    def _decide_with_care(self, key: bytes, row: KeyRow) -> None:
        records = len(row.expected) + len(row.actual)
        if not row.order and records > 2:
            sources = [[record.source for record in side] for side in (row.expected, row.actual)]
            row.noted = note(self.books, row.noted, sources, crowded=records > self.terms.ordered_max)
        decision = decide(self.terms, self.books, row, self._payloads.loader(key, row))
        if row.order:
            pairs = [] if decision.near else [(pair.expected, pair.actual) for pair in decision.pairs]
            self._ordering.paired(row.order, key, pairs)
            unmark(row, {expected.position for expected, _ in pairs})
        timed = any(pair.equal and pair.findings for pair in decision.pairs)
        if timed != bool(row.noted & TIMED):
            row.noted ^= TIMED
            self._rows.mark(key, wanted=timed)
        self._retally(row, decision)
        for side, record in self._payloads.keep(key, row, decision):
            if record.closed_at == OPEN and self._is_closed(side, record):
                record.closed_at = self.books.at
                self._touched[key] = None
        self._publisher.publish(key, row, decision)

    def _is_due(self, row: KeyRow) -> bool:
        """Tell whether anything can be said about a key of which only one side is known."""
        # Nearly every message comes by here once, before its partner does: two loops cost half of what `any` does.
        for record in row.expected:
            if record.closed_at != OPEN:
                return True
        for record in row.actual:  # noqa: SIM110 - see above
            if record.closed_at != OPEN or is_given_up(self.books, REBUILT, record):
                return True
        return False

    def _settle_equal(self, expected: Rec, actual: Rec) -> None:
        """The common case: one pair, equal, nothing published before."""
        legacy, rebuilt = self._tallies
        if expected.tally != PAIRED:
            legacy[expected.tally] -= 1
            legacy[PAIRED] += 1
            expected.tally = PAIRED
        if actual.tally != PAIRED:
            rebuilt[actual.tally] -= 1
            rebuilt[PAIRED] += 1
            actual.tally = PAIRED
        self._payloads.let_go(expected, actual)

    def _retally(self, row: KeyRow, decision: Decision) -> None:
        counted: dict[int, int] = {}
        for pair in decision.pairs:
            tally = UNDETERMINED if pair.outcome == INDETERMINATE else PAIRED
            counted[pair.expected.position] = counted[pair.actual.position] = tally
        for single in decision.singles:
            counted[single.record.position] = tally_of(single.outcome)
        for side in (LEGACY, REBUILT):
            tallies = self.books.ledgers[side].tallies
            for record in row.of(side):
                tally = counted.get(record.position, PENDING)
                if tally != record.tally:
                    tallies[record.tally] -= 1
                    tallies[tally] += 1
                    record.tally = tally

    def _check_rules(self, rules: str, where: str) -> None:
        if rules != self.terms.rules:
            raise ForeignRulesError(
                f"{where} was made under rules {rules}, this worker has {self.terms.rules}: {CHANGED}"
            )


def _place_of(source: Source, entry: Entry) -> Position:
    return Position(source.topic, source.partition, entry.offset, entry.timestamp, entry.index, source.incarnation)


def _record(entry: Entry, source: int, position: int, now: int) -> Rec:
    return Rec(
        source,
        entry.offset,
        entry.index,
        entry.timestamp,
        position,
        now,
        entry.digest,
        entry.raw,
        entry.beside,
        OPEN,
        PENDING,
        True,
        entry.appended,
    )
