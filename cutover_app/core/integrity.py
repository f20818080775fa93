"""Whether recovered rows are the rows that checkpoints wrote: all of them, and no others.

A changelog is a topic like any other. It can be deleted, cut, written to by somebody else, or be older or newer than
this program; and rows that are not what they were make verdicts wrong without a sound. So nobody judges on recovered
rows before they have been looked at:

A. Where intake has been judged, and where there are rows, there are books; and these have come as far as was committed.
B. A changelog begins where it began when the books were opened: compaction does not move the beginning, deletion does.
C. There are as many rows as the books have counted, and each can be read. This takes a look at all of them, and is done
   where they were all read anew.

What is found to be flawed is made again from intake, where that still begins at its beginning. A judge is a pure
function of its intake partition, so that gives the same state (R3), and what had been said before is still true.
"""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from cutover_app.core.books import BOOKS_KEY, Books
from cutover_app.core.cache import Store, scan_all
from cutover_app.core.rows import BOOKS_TABLE, FAMILIES_TABLE, PENDING_TABLE, SETTLED_TABLE, TABLES
from cutover_app.core.state import (
    ROW_VERSION,
    BucketRow,
    FamilyRow,
    KeyRow,
    OrderRow,
    PendingRow,
    RowError,
    decode_row,
    settled_kind,
)


class Found(NamedTuple):
    """What is known of an intake partition besides its rows."""

    committed: int
    """Intake offset up to which it had been judged by what the group has committed; 0 where nothing is."""
    begins: Mapping[str, int] = {}
    """Per table: where its changelog begins."""
    whole: bool = True
    """Whether the rows are to be looked at one by one."""


def flaw(store: Store, found: Found) -> str:
    """Say in what way these rows are not what checkpoints wrote; empty where they are.

    Raises `RowError` where a newer program wrote them: it knows better.
    """
    data = store.get(BOOKS_TABLE, BOOKS_KEY)
    if data is None:
        return _without_books(store, found)
    if data[:1] != ROW_VERSION:
        return _of_other_version(data[:1])
    try:
        books = decode_row(Books, data)
        return _cut(books, found) or (_counted(store, books) if found.whole else "")
    except RowError as error:
        return str(error)


def _without_books(store: Store, found: Found) -> str:
    for table in TABLES:
        if store.scan(table, b"", 1):
            return f"table {table} has rows, and there are no books"
    if found.committed:
        return f"its changelogs are empty, though intake has been judged up to offset {found.committed}"
    return ""


def _of_other_version(version: bytes) -> str:
    line = f"its rows are of version {version.hex()}, this program writes version {ROW_VERSION.hex()}"
    if version > ROW_VERSION:
        raise RowError(f"{line}: a newer program has taken over; all workers of a run must be of one version")
    return line


def _cut(books: Books, found: Found) -> str:
    for table, begin in found.begins.items():
        if begin > books.begins.get(table, 0):
            return f"the changelog of table {table} begins at offset {begin}: what was below it is gone"
    if max(books.at, books.again_to) + 1 < found.committed:
        return f"its books end at intake offset {books.at}, though it has been judged up to {found.committed}"
    return ""


def _counted(store: Store, books: Books) -> str:
    payloads = _read_all(store, PENDING_TABLE)
    settled = _read_all(store, SETTLED_TABLE)
    _read_all(store, FAMILIES_TABLE)
    first, following = books.buckets
    for name, there, expected in (
        ("payloads", payloads[PendingRow], books.payloads),
        ("keys", settled[KeyRow] + settled[OrderRow], books.keys),
        ("buckets", settled[BucketRow], following - first),
    ):
        if there != expected:
            return f"there are {there} rows of {name}, and {expected} in its books"
    return ""


def _read_all(store: Store, table: str) -> Counter[type]:
    """Read every row of a table and count them by kind. Raises `RowError`."""
    alike = {PENDING_TABLE: PendingRow, FAMILIES_TABLE: FamilyRow}.get(table)
    counts: Counter[type] = Counter()
    for key, data in scan_all(store, table):
        kind: type | None = alike or settled_kind(key)
        if kind is not None:
            decode_row(kind, data)
            counts[kind] += 1
    return counts
