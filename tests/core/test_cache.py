"""Rows in memory between two checkpoints (`core/cache.py`)."""

from cutover_app.core.cache import RowCache
from cutover_app.core.memory import MemoryStore
from cutover_app.core.rows import SETTLED_TABLE
from cutover_app.core.state import KeyRow, encode_row

KEY = b"k"


def caches(store: MemoryStore) -> RowCache[KeyRow]:
    """Return a cache over a store."""
    return RowCache(store, SETTLED_TABLE, KeyRow)


def row(last_ms: int) -> KeyRow:
    """Return a key row that says when it was touched last."""
    return KeyRow([], [], [], last_ms, b"")


def test_a_packed_row_is_written_as_it_was_when_it_was_packed() -> None:
    """To give up a row's memory changes nothing about the next checkpoint, told before or after."""
    for told_first in (True, False):
        rows = caches(MemoryStore())
        rows.add(KEY, row(7))
        if told_first:
            rows.changed((KEY,))
        rows.pack(KEY)
        if not told_first:
            rows.changed((KEY,))

        assert rows.changes() == {KEY: encode_row(row(7))}


def test_a_packed_row_is_found_and_can_be_changed() -> None:
    """Whoever needs it gets it back, newer than the store's, and what is changed then is what is written."""
    store = MemoryStore()
    store.commit({SETTLED_TABLE: {KEY: encode_row(row(1))}})
    rows = caches(store)
    for stamp in (2, 3):
        found = rows.load(KEY)
        assert found is not None
        assert found.last_ms == stamp - 1
        found.last_ms = stamp
        rows.changed((KEY,))
        rows.pack(KEY)

    rows.prefetch((KEY,))
    found = rows.find(KEY)
    assert found is not None
    found.last_ms = 4
    assert rows.changes() == {KEY: encode_row(row(4))}


def test_a_packed_row_is_no_more_once_it_is_dropped_or_committed() -> None:
    """A row that is dropped is deleted at the next checkpoint; one that is committed is read from the store."""
    store = MemoryStore()
    rows = caches(store)
    for key in (KEY, b"other"):
        rows.add(key, row(1))
        rows.changed((key,))
        rows.pack(key)
    rows.drop(KEY)
    changes = rows.changes()
    assert changes == {KEY: None, b"other": encode_row(row(1))}

    store.commit({SETTLED_TABLE: {KEY: None, b"other": encode_row(row(5))}})
    rows.committed()
    assert rows.load(KEY) is None
    again = rows.load(b"other")
    assert again is not None
    assert again.last_ms == 5


def test_a_row_that_nobody_holds_is_not_packed() -> None:
    """To pack the row of a key that is not in memory says so, and changes nothing."""
    rows = caches(MemoryStore())
    assert rows.pack(KEY) is None
    assert rows.changes() == {}
