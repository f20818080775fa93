"""The store in memory does what the judge asks of a store."""

from cutover_app.core.memory import MemoryStore
from cutover_app.core.rows import PENDING_TABLE, SETTLED_TABLE


def test_rows_are_found_until_they_are_deleted() -> None:
    """A committed row is read back; None deletes it; other tables are not touched."""
    store = MemoryStore()
    store.commit({PENDING_TABLE: {b"b": b"1", b"a": b"2"}})
    assert store.get(PENDING_TABLE, b"a") == b"2"
    assert store.get(SETTLED_TABLE, b"a") is None
    store.commit({PENDING_TABLE: {b"a": None, b"x": None}})
    assert store.get_many(PENDING_TABLE, [b"a", b"b"]) == [None, b"1"]


def test_scans_ascend_and_see_every_commit() -> None:
    """A scan yields rows by key from its start on, at most as many as asked for, newest content included."""
    store = MemoryStore()
    store.commit({PENDING_TABLE: {bytes((n,)): b"old" for n in (5, 1, 3)}})
    assert [key for key, _ in store.scan(PENDING_TABLE, b"\x02", 10)] == [b"\x03", b"\x05"]
    store.commit({PENDING_TABLE: {b"\x02": b"new", b"\x05": None}})
    assert store.scan(PENDING_TABLE, b"", 2) == [(b"\x01", b"old"), (b"\x02", b"new")]
