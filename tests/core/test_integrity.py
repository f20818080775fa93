"""Rows that are not what checkpoints wrote are noticed, whatever is wrong with them."""

from collections.abc import Callable

import pytest

from cutover_app.core.books import BOOKS_KEY, Books
from cutover_app.core.integrity import Found, flaw
from cutover_app.core.judge import Judge
from cutover_app.core.memory import MemoryStore
from cutover_app.core.rows import BOOKS_TABLE, FAMILIES_TABLE, PENDING_TABLE, SETTLED_TABLE
from cutover_app.core.state import ROW_VERSION, RowError, bucket_key, decode_row, encode_row
from tests.core.history import Log, entry, terms


def lived(**changed: object) -> Log:
    """Return a log with pairs, a mismatch, something pending and something missing, and its rows as of a checkpoint."""
    log = Log(**changed)
    log.legacy(*(entry(n, f"k{n}=same") for n in range(5)))
    log.rebuilt(*(entry(n, f"k{n}=same") for n in range(3)), entry(3, "k3=other"))
    log.pass_time(10)
    log.legacy(entry(9, "late=x"))
    log.checkpoint()
    return log


def first_key(log: Log, table: str, kind: Callable[[bytes], bool] = lambda _key: True) -> bytes:
    """Return the first key of a table of that kind."""
    return next(key for key, _ in log.store.scan(table, b"", 1_000) if kind(key))


@pytest.mark.parametrize("order_apart", [False, True])
def test_what_a_checkpoint_wrote_has_no_flaw(order_apart: bool) -> None:
    """Neither at once, nor after everything has been forgotten."""
    log = lived(order_apart=order_apart)
    assert flaw(log.store, Found(len(log.frames))) == ""
    log.pass_time(200)
    log.checkpoint()
    assert flaw(log.store, Found(len(log.frames))) == ""


def test_nothing_at_all_is_fine_where_nothing_was_judged() -> None:
    """A new run has no rows; one that has judged does."""
    store = Log().store
    assert flaw(store, Found(0)) == ""
    assert "are empty, though intake has been judged up to offset 7" in flaw(store, Found(7))


@pytest.mark.parametrize(
    ("table", "kind", "said"),
    [
        (PENDING_TABLE, lambda _key: True, "rows of payloads"),
        (SETTLED_TABLE, lambda key: key.startswith(b"k"), "rows of keys"),
        (SETTLED_TABLE, lambda key: key == bucket_key(0), "rows of buckets"),
        (BOOKS_TABLE, lambda _key: True, "there are no books"),
    ],
    ids=["payload", "key", "bucket", "books"],
)
def test_a_row_that_is_gone_is_noticed(table: str, kind: Callable[[bytes], bool], said: str) -> None:
    """Of every kind that a verdict may depend on."""
    log = lived()
    log.store.commit({table: {first_key(log, table, kind): None}})
    assert said in flaw(log.store, Found(0))


@pytest.mark.parametrize("table", [PENDING_TABLE, SETTLED_TABLE, FAMILIES_TABLE])
def test_a_row_that_somebody_else_wrote_is_noticed(table: str) -> None:
    """One that cannot be read is damaged; one that can be is one too many."""
    log = lived()
    key = first_key(log, table)
    row = log.store.get(table, key)
    log.store.commit({table: {key: ROW_VERSION + b" not a row"}})
    assert "damaged" in flaw(log.store, Found(0))
    log.store.commit({table: {key: row}})
    assert flaw(log.store, Found(0)) == ""


def test_a_row_too_many_is_noticed() -> None:
    """A copy of another row under a key of its own."""
    log = lived()
    row = log.store.get(SETTLED_TABLE, b"k0")
    log.store.commit({SETTLED_TABLE: {b"foreign": row}})
    assert "there are 7 rows of keys, and 6 in its books" in flaw(log.store, Found(0))
    assert flaw(log.store, Found(0, whole=False)) == ""


def test_a_changelog_that_begins_later_is_noticed() -> None:
    """Unless it did so already when the books were opened."""
    log = lived()
    assert "table settled begins at offset 12" in flaw(log.store, Found(0, {"settled": 12}))
    log.judge.books.begins = {"settled": 12}
    log.checkpoint()
    assert flaw(log.store, Found(0, {"settled": 12})) == ""


def test_books_that_are_older_than_what_was_committed_are_noticed() -> None:
    """The end of the changelog has been cut off."""
    log = lived()
    judged = len(log.frames)
    assert flaw(log.store, Found(judged)) == ""
    assert f"books end at intake offset {judged - 1}" in flaw(log.store, Found(judged + 1))


def test_rows_of_another_version() -> None:
    """Older ones are made again; newer ones are left to the program that made them."""
    log = lived()
    books = log.store.get(BOOKS_TABLE, BOOKS_KEY)
    assert books is not None
    (ours,) = ROW_VERSION
    log.store.commit({BOOKS_TABLE: {BOOKS_KEY: bytes((ours - 1,)) + books[1:]}})
    assert f"version {ours - 1:02x}, this program writes version {ours:02x}" in flaw(log.store, Found(0))
    log.store.commit({BOOKS_TABLE: {BOOKS_KEY: bytes((ours + 1,)) + books[1:]}})
    with pytest.raises(RowError, match="a newer program has taken over"):
        flaw(log.store, Found(0))


def test_what_was_said_is_known_again() -> None:
    """A judge that begins again knows, where the one before it stood, what had been said, and takes it back later."""
    log = Log(unique=True)
    log.legacy(entry(0, "a=x"))
    log.rebuilt(entry(0, "a=y"))
    assert log.outcomes() == {"L0": "mismatch"}
    log.checkpoint()
    stood = len(log.frames) - 1
    log.rebuilt(entry(1, "a=x"))

    log.judge = Judge(terms(unique=True), 0, MemoryStore())
    log.judge.books.again_to = stood
    for offset, (now, frame) in enumerate(log.frames):
        log.judge.apply(offset, now, frame)
    said = [(each.outcome, each.at[1]) for each in log.settle()]
    assert said == [("mismatch", stood), ("resolved", stood + 1)]


def test_books_without_counts_are_those_of_before() -> None:
    """A row of books from before there were counts can be read, and is found to be flawed where there are rows."""
    log = lived()
    data = log.store.get(BOOKS_TABLE, BOOKS_KEY)
    assert data is not None
    books = decode_row(Books, data)
    books.payloads = books.keys = 0
    log.store.commit({BOOKS_TABLE: {BOOKS_KEY: encode_row(books)}})
    assert "rows of payloads, and 0 in its books" in flaw(log.store, Found(0))
