"""Which pairs are out of order (R6).

A pair is out of order if it was overtaken: if among the pairs of its order key, in one legacy and one rebuilt
partition, another one has a higher legacy offset and a lower rebuilt offset. Where the records of an order key are
spread over several partitions nothing is known about their order across them; that is noted, and counted. Beyond
`ORDERED_MAX` records an order key is crowded: it is not judged for order any more, which is noted too (R12).

Mostly the order key is the match key. Then all of its pairs are in one row, and its order is decided with it. Otherwise
an `OrderRow` knows the pairs of all its match keys, as *passages*. When those of a key change, the order is judged
again, and every key of which a pair is overtaken now, or is not any more, is decided again.

Invariants:

A. What is overtaken is a function of the set of pairs; an expected record carries `overtaken` exactly when its passage
   does.
B. Pairs near a lost range take no part: with another partner they might stand elsewhere (R8).
C. All keys of an order key are forgotten together (R7): a part of them would be in another order than the whole. Those
   of a crowded one are not, and its row does not list them: it would grow for as long as messages come.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from cutover_app.core.books import Books
from cutover_app.core.rows import Rows
from cutover_app.core.state import CROWDED, SPREAD, KeyRow, OrderRow, Passage, Rec, order_row_key


def overtaken(passages: Iterable[Passage]) -> set[int]:
    """Return the positions of the passages that are out of order."""
    lanes: defaultdict[tuple[int, int], list[Passage]] = defaultdict(list)
    for each in passages:
        lanes[each.lane].append(each)
    found: set[int] = set()
    for lane in lanes.values():
        found.update(_overtaken_in(lane))
    return found


def _overtaken_in(lane: list[Passage]) -> Iterator[int]:
    """Walk down the legacy offsets, with the lowest rebuilt offset of all that are strictly higher."""
    lane.sort(key=lambda each: each.legacy, reverse=True)
    lowest = lowest_here = None
    here = None
    for each in lane:
        if each.legacy != here:
            lowest, here = lowest_here, each.legacy
        if lowest is not None and each.rebuilt > lowest:
            yield each.position
        if lowest_here is None or each.rebuilt < lowest_here:
            lowest_here = each.rebuilt


def _grouped(passages: Iterable[Passage]) -> dict[bytes, list[Passage]]:
    found: dict[bytes, list[Passage]] = {}
    for each in passages:
        found.setdefault(each.key, []).append(each)
    return found


def passage(key: bytes, expected: Rec, actual: Rec) -> Passage:
    """Return a pair as order sees it."""
    return Passage(key, expected.position, (expected.source, actual.source), expected.offset, actual.offset)


def note(books: Books, noted: int, sources: Iterable[Iterable[int]], *, crowded: bool) -> int:
    """Return what is to be noted of an order key, given the sources of its expected and of its actual records."""
    now = noted | (CROWDED if crowded else 0)
    if not now & SPREAD and any(len(set(side)) > 1 for side in sources):
        now |= SPREAD
    books.crowded += (now ^ noted) & CROWDED != 0
    books.spread += (now ^ noted) & SPREAD != 0
    return now


class Ordering:
    """The order rows of one intake partition."""

    def __init__(self, books: Books, rows: Rows, records_max: int) -> None:
        self._books = books
        self._records_max = records_max
        self._rows = rows
        self._touched: dict[bytes, None] = {}
        self._by_key: dict[bytes, dict[bytes, list[Passage]]] = {}
        """Passages by key, of the order keys that were looked at since order was judged: a key may have one of many."""

    def row(self, order: bytes) -> OrderRow | None:
        """Return the row of an order key, from the store if need be."""
        return self._rows.orders.load(order_row_key(order))

    def keys_of(self, order: bytes) -> list[bytes]:
        """Return the keys of an order key; none where it is the match key, or crowded."""
        row = self.row(order) if order else None
        return row.keys if row is not None else []

    def arrived(self, order: bytes, key: bytes, now: int, source: int, *, is_new: bool) -> None:
        """Take note of a record of `key`."""
        row = self.row(order)
        place = order_row_key(order)
        if row is None:
            row = self._rows.orders.add(place, OrderRow([], now, 0, [], []))
            self._rows.await_forgetting(place)
        if is_new and row.noted & CROWDED:
            self._rows.await_forgetting(key)
        elif is_new:
            row.keys.append(key)
        row.last_ms = now
        row.records += 1
        self._rows.orders.changed((place,))
        if source not in row.sources:
            row.sources.append(source)
            self._note(order, row)
        elif row.records > self._records_max and not row.noted & CROWDED:
            self._note(order, row)

    def _note(self, order: bytes, row: OrderRow) -> None:
        sides: tuple[list[int], list[int]] = ([], [])
        for source in row.sources:
            sides[self._books.sources[source].side].append(source)
        before, row.noted = row.noted, note(self._books, row.noted, sides, crowded=row.records > self._records_max)
        if (before ^ row.noted) & CROWDED:
            self._touched[order] = None
            for key in row.keys:
                self._rows.await_forgetting(key)
            row.keys = []

    def paired(self, order: bytes, key: bytes, pairs: Iterable[tuple[Rec, Rec]]) -> None:
        """Take note of all the pairs of a key."""
        row = self.row(order)
        if row is None or row.noted & CROWDED:
            return
        if order not in self._by_key:
            self._by_key[order] = _grouped(row.passages)
        known = self._by_key[order]
        before = known.get(key, [])
        flagged = {each.position: each.overtaken for each in before}
        now = [passage(key, expected, actual) for expected, actual in pairs]
        for each in now:
            each.overtaken = flagged.get(each.position, False)
        if now == before:
            return
        if before:
            row.passages = [each for each in row.passages if each.key != key]
        row.passages += now
        known[key] = now
        self._touched[order] = None
        self._rows.orders.changed((order_row_key(order),))

    def settle(self) -> Iterator[bytes]:
        """Judge the order where pairs have changed; yield the keys that have to be decided again."""
        touched, self._touched = self._touched, {}
        self._by_key = {}
        for order in touched:
            row = self.row(order)
            if row is None:
                continue
            wrong = set() if row.noted & CROWDED else overtaken(row.passages)
            changed = [each for each in row.passages if (each.position in wrong) != each.overtaken]
            for each in changed:
                each.overtaken = not each.overtaken
            for key in dict.fromkeys(each.key for each in changed):
                self._mark(key, {each.position: each.overtaken for each in changed if each.key == key})
                yield key
            if row.noted & CROWDED:
                row.passages = []
            self._rows.orders.changed((order_row_key(order),))

    def _mark(self, key: bytes, flags: dict[int, bool]) -> None:
        row = self._rows.keys.load(key)
        for record in row.expected if row is not None else ():
            record.overtaken = flags.get(record.position, record.overtaken)

    def forget(self, order: bytes) -> None:
        """Drop an order row; its key rows are dropped by whoever asks."""
        self._touched.pop(order, None)
        self._by_key.pop(order, None)
        self._rows.orders.drop(order_row_key(order))


def unmark(row: KeyRow, paired: set[int]) -> None:
    """Take the mark off expected records that have no pair (invariant A)."""
    for record in row.expected:
        if record.overtaken and record.position not in paired:
            record.overtaken = False
