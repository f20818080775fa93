"""Which keys count no more (R7), and when their rows are deleted.

A key is forgotten when nothing of it is pending or an unresolved problem and both frontiers have passed its last record
by `remember`; with an unresolved problem after a longer time of its own. All match keys of an order key are forgotten
together, unless it is crowded: then its order is not judged any more, it may never rest, and each of its match keys
stands for itself. One queue of buckets, in the order in which keys were first seen, says where to look.

Whether a key counts is decided by its rows and the last barrier alone. Rows are deleted later, in bulk, and a record
that comes before that finds a row that no longer counts.
"""

from collections.abc import Callable, Iterator

from cutover_app.core.books import Books
from cutover_app.core.decide import JudgeTerms
from cutover_app.core.frames import LEGACY, REBUILT
from cutover_app.core.ordering import Ordering
from cutover_app.core.rows import Rows
from cutover_app.core.state import ORDER_PREFIX, PENDING, KeyRow, OrderRow, order_row_key
from cutover_app.core.verdicts import FINE


class Forgetting:
    """Forgets the keys of one intake partition."""

    def __init__(self, terms: JudgeTerms, books: Books, rows: Rows, ordering: Ordering) -> None:
        self._terms = terms
        self._books = books
        self._rows = rows
        self._ordering = ordering
        self.on_forgotten: Callable[[bytes], None] = _ignore

    def counts(self, key: bytes, row: KeyRow) -> bool:
        """Tell whether a key row still counts: it does as long as one does that is forgotten with it."""
        if not self._is_over(row.last_ms, row):
            return True
        order = self._whole(key, row)
        return order is not None and self.order_counts(order)

    def _whole(self, key: bytes, row: KeyRow) -> OrderRow | None:
        """Return the row of the order key that a key row is forgotten with.

        None where the key stands for itself: there are no order rows, or its order key was crowded when it came. That
        may have been forgotten since, and come anew; what does not count any more must not count again then.
        """
        order = self._ordering.row(row.order) if row.order else None
        return order if order is not None and key in order.keys else None

    def order_counts(self, row: OrderRow) -> bool:
        """Tell whether an order row, and every key row of it, still counts."""
        if row.last_ms + self._terms.remember_ms > self._books.forgotten_ms:
            return True
        self._rows.keys.prefetch(row.keys)
        each = (self._rows.keys.find(key) for key in row.keys)
        return not all(key_row is None or self._is_over(row.last_ms, key_row) for key_row in each)

    def _is_over(self, last_ms: int, row: KeyRow) -> bool:
        now = self._books.forgotten_ms
        if last_ms + self._terms.remember_ms > now:
            return False
        if last_ms > min(self._books.due_ms[LEGACY], self._books.due_ms[REBUILT]):
            return False  # what was given up is decided again when it is closed
        if any(record.tally == PENDING for records in (row.expected, row.actual) for record in records):
            return False
        return all(said.outcome in FINE for said in row.published) or last_ms + self._terms.problems_ms <= now

    def forget(self, key: bytes, row: KeyRow) -> None:
        """Drop a key row, and with it all others that are forgotten with it."""
        if self._whole(key, row) is not None:
            self.forget_order(row.order)
        if self._rows.keys.load(key) is not None:
            self._drop(key, row)

    def forget_order(self, order: bytes) -> None:
        """Drop an order row and all its key rows."""
        row = self._ordering.row(order)
        for key in row.keys if row is not None else ():
            key_row = self._rows.keys.load(key)
            if key_row is not None:
                self._drop(key, key_row)
        self.on_forgotten(order_row_key(order))
        self._ordering.forget(order)

    def _drop(self, key: bytes, row: KeyRow) -> None:
        self.on_forgotten(key)
        self._books.forgotten += 1
        self._rows.drop_key(key, row)

    def delete_due(self) -> Iterator[None]:
        """Delete the rows of buckets whose time has come, oldest first; yield after each.

        Those of a long time may be due at once, and need not go at once: per barrier one for each second between two
        of them, and one more, are as many as checkpoints make.
        """
        rows = self._rows
        for _ in range(1 + self._terms.interval_ms // 1000):
            bucket = rows.oldest_bucket()
            if bucket is None or bucket.judge_ms + self._terms.remember_ms > self._books.forgotten_ms:
                return
            rows.keys.prefetch(place for place in bucket.keys if not place.startswith(ORDER_PREFIX))
            for place in bucket.keys:
                if place.startswith(ORDER_PREFIX):
                    self._delete_order(place)
                else:
                    self._delete_key(place)
            rows.drop_bucket()
            yield

    def _delete_key(self, key: bytes) -> None:
        row = self._rows.keys.find(key)
        if row is not None and self.counts(key, row):
            self._rows.await_forgetting(key)
        elif row is not None:
            self._drop(key, row)

    def _delete_order(self, place: bytes) -> None:
        order = place.removeprefix(ORDER_PREFIX)
        row = self._ordering.row(order)
        if row is not None and self.order_counts(row):
            self._rows.await_forgetting(place)
        elif row is not None:
            self.forget_order(order)


def _ignore(_key: bytes) -> None:
    pass
