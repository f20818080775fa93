"""Which keys count no more (R7), and when their rows are deleted.

A key is forgotten when nothing of it is pending or an unresolved problem and both frontiers have passed its last record
by `remember`; with an unresolved problem after a longer time of its own. All match keys of an order key are forgotten
together. One queue of buckets, in the order in which keys were first seen, says where to look.

Whether a key counts is decided by its rows and the last barrier alone. Rows are deleted later, in bulk, and a record
that comes before that finds a row that no longer counts.
"""

from collections.abc import Callable

from cutover_app.core.books import Books
from cutover_app.core.decide import JudgeTerms
from cutover_app.core.ordering import Ordering
from cutover_app.core.rows import Rows
from cutover_app.core.state import ORDER_PREFIX, PENDING, KeyRow, OrderRow
from cutover_app.core.verdicts import FINE


class Forgetting:
    """Forgets the keys of one intake partition."""

    def __init__(self, terms: JudgeTerms, books: Books, rows: Rows, ordering: Ordering) -> None:
        self._terms = terms
        self._books = books
        self._rows = rows
        self._ordering = ordering
        self.on_forgotten: Callable[[bytes], None] = _ignore

    def counts(self, row: KeyRow) -> bool:
        """Tell whether a key row still counts; where there are order rows, its order key decides."""
        if not row.order:
            return not self._is_over(row.last_ms, row)
        order = self._ordering.row(row.order)
        return order is not None and self.order_counts(order)

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
        if any(record.tally == PENDING for records in (row.expected, row.actual) for record in records):
            return False
        return all(said.outcome in FINE for said in row.published) or last_ms + self._terms.problems_ms <= now

    def forget(self, key: bytes, row: KeyRow) -> None:
        """Drop a key row, and with it all others of its order key where there are order rows."""
        if row.order:
            self.forget_order(row.order)
        else:
            self._drop(key, row)

    def forget_order(self, order: bytes) -> None:
        """Drop an order row and all its key rows."""
        row = self._ordering.row(order)
        for key in row.keys if row is not None else ():
            key_row = self._rows.keys.load(key)
            if key_row is not None:
                self._drop(key, key_row)
        self._ordering.forget(order)

    def _drop(self, key: bytes, row: KeyRow) -> None:
        self.on_forgotten(key)
        self._books.forgotten += 1
        self._rows.drop_key(key, row)

    def delete_oldest(self) -> None:
        """Delete the rows of the oldest bucket once its time has come."""
        rows = self._rows
        bucket = rows.oldest_bucket()
        if bucket is None or bucket.judge_ms + self._terms.remember_ms > self._books.forgotten_ms:
            return
        if not self._terms.order_apart:
            rows.keys.prefetch(bucket.keys)
        for place in bucket.keys:
            if place.startswith(ORDER_PREFIX):
                self._delete_order(place)
            else:
                self._delete_key(place)
        rows.drop_bucket()

    def _delete_key(self, key: bytes) -> None:
        row = self._rows.keys.find(key)
        if row is not None and self.counts(row):
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
