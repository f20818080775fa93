"""The rows of a partition on disk: ordered, atomic with their changelog offset, and never someone else's."""

import os
from pathlib import Path

import pytest

from cutover_app.runtime import store as module
from cutover_app.runtime.fatal import FatalError
from cutover_app.runtime.store import lock_directory, open_store


def test_rows_are_read_in_order(tmp_path: Path) -> None:
    """A scan gives rows by key, from a start, before an end, up to a limit, and never the bookkeeping."""
    store = open_store(tmp_path / "t-0.db")
    store.write([(b"z", b"5"), (b"a", b"1"), (b"b", b"2"), (b"\x00", b"0")], 7)
    assert store.scan(b"", limit=9) == [(b"\x00", b"0"), (b"a", b"1"), (b"b", b"2"), (b"z", b"5")]
    assert store.scan(b"a", limit=1) == [(b"a", b"1")]
    assert store.scan(b"a", limit=9, end=b"b") == [(b"a", b"1")]
    assert store.multi_get([b"b", b"nobody", b"a"]) == [b"2", None, b"1"]
    assert store.multi_get([]) == []
    store.close()


def test_rows_and_offset_survive_together(tmp_path: Path) -> None:
    """What was written is there after a reopening, with the offset of the last write; None deletes."""
    store = open_store(tmp_path / "t-0.db")
    assert store.offset() is None
    store.write([(b"a", b"1"), (b"b", b"2")], 7)
    store.write([(b"a", None)], 9)
    store.close()
    again = open_store(tmp_path / "t-0.db")
    assert (again.offset(), again.get(b"a"), again.get(b"b")) == (9, None, b"2")
    again.close()


def test_an_open_store_is_locked(tmp_path: Path) -> None:
    """Whoever comes second fails, rather than share."""
    store = open_store(tmp_path / "t-0.db")
    with pytest.raises(FatalError, match="in use by another process"):
        open_store(tmp_path / "t-0.db")
    store.close()


def test_a_state_directory_has_one_worker(tmp_path: Path) -> None:
    """It is private, locked as long as its worker lives, and whoever comes second learns what to do."""
    held = lock_directory(tmp_path / "state")
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    with pytest.raises(FatalError, match="datadir of its own"):
        lock_directory(tmp_path / "state")
    held.close()
    lock_directory(tmp_path / "state").close()


def test_rows_of_another_changelog_are_wiped(tmp_path: Path) -> None:
    """A topic that was deleted and made again has nothing to do with the rows of the old one."""
    store = open_store(tmp_path / "t-0.db", changelog_id="one")
    store.write([(b"a", b"1")], 7)
    store.close()
    kept = open_store(tmp_path / "t-0.db", changelog_id="one")
    assert kept.get(b"a") == b"1"
    kept.close()
    other = open_store(tmp_path / "t-0.db", changelog_id="two")
    assert (other.offset(), other.get(b"a")) == (None, None)
    other.close()


def test_rows_too_old_to_continue_are_wiped(tmp_path: Path) -> None:
    """The changelog may have dropped the tombstones of rows that a long forgotten directory still holds."""
    store = open_store(tmp_path / "t-0.db")
    store.write([(b"a", b"1")], 7)
    store.close()
    for file in (tmp_path / "t-0.db").iterdir():
        stat = file.stat()
        os.utime(file, (stat.st_atime, stat.st_mtime - module.STALE_SECONDS - 60))
    again = open_store(tmp_path / "t-0.db")
    assert again.offset() is None
    again.close()


def test_the_state_directory_is_private(tmp_path: Path) -> None:
    """Tables hold whole messages: nobody else may look (R13)."""
    store = open_store(tmp_path / "state" / "tables" / "t-0.db")
    assert (tmp_path / "state" / "tables").stat().st_mode & 0o077 == 0
    store.close()
