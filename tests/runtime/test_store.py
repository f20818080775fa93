"""The rows of a partition on disk: ordered, atomic with their changelog offset, and never someone else's."""

import os
import shutil
from pathlib import Path

import pytest
from rocksdict import Options, Rdict

from cutover_app.runtime import store as module
from cutover_app.runtime.datadir import renew
from cutover_app.runtime.fatal import FatalError
from cutover_app.runtime.store import PartitionStore, check_room, open_store


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


def filled(directory: Path) -> None:
    """Write rows enough for many blocks, and close."""
    store = open_store(directory)
    for number in range(20):
        store.write([(b"k%06d" % (number * 1000 + each), os.urandom(64)) for each in range(1000)], number)
    store._db.flush()
    store.close()


def flip(directory: Path, pattern: str, place: float) -> None:
    """Flip some bytes of the newest file of that name."""
    file = max(directory.glob(pattern))
    data = bytearray(file.read_bytes())
    at = int(len(data) * place)
    data[at : at + 16] = bytes(each ^ 0xFF for each in data[at : at + 16])
    file.write_bytes(data)


@pytest.mark.parametrize(("pattern", "place"), [("*.sst", 0.9999), ("MANIFEST-*", 0.5), ("CURRENT", 0.2)])
def test_a_damaged_database_is_wiped(
    tmp_path: Path, pattern: str, place: float, caplog: pytest.LogCaptureFixture
) -> None:
    """It is empty, so that its changelog is read anew, and the log says so in one line."""
    directory = tmp_path / "t-0.db"
    filled(directory)
    flip(directory, pattern, place)
    store = open_store(directory)
    assert (store.offset(), store.scan(b"", limit=9)) == (None, [])
    said = [each.getMessage() for each in caplog.records if each.name == module.__name__]
    assert [f"{directory} is damaged" in line for line in said] == [True]
    store.close()


@pytest.mark.parametrize("pattern", ["*.sst", "MANIFEST-*", "CURRENT"])
def test_a_database_that_has_lost_a_file_is_wiped(tmp_path: Path, pattern: str) -> None:
    """What is left is no copy of anything."""
    directory = tmp_path / "t-0.db"
    filled(directory)
    for file in directory.glob(pattern):
        file.unlink()
    store = open_store(directory)
    assert store.offset() is None
    store.close()


def test_what_is_no_database_gives_way_to_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file, a link to nothing or to itself in its place goes, in one line; what a link leads to stays as it is."""
    (tmp_path / "file-0.db").write_text("")
    (tmp_path / "loop-0.db").symlink_to("loop-0.db")
    (tmp_path / "gone-0.db").symlink_to("gone")
    (tmp_path / "link-0.db").symlink_to("kept")
    (tmp_path / "kept").write_text("kept")
    for directory in sorted(tmp_path.glob("*.db")):
        store = open_store(directory)
        store.write([(b"a", b"1")], 7)
        store.close()
        assert directory.is_dir()
        assert f"{directory} is no directory; it is wiped" in caplog.messages[-1]
    assert (len(caplog.messages), (tmp_path / "kept").read_text()) == (4, "kept")


@pytest.mark.parametrize("read", ["get", "multi_get", "scan"])
def test_damage_that_is_met_later_ends_the_worker(tmp_path: Path, read: str) -> None:
    """No rows are left out in silence, not even by a scan, and the next start reads the changelog anew."""
    directory = tmp_path / "t-0.db"
    filled(directory)
    flip(directory, "*.sst", 0.5)
    store = open_store(directory)
    keys = [b"k%06d" % number for number in range(20_000)]
    reads = {
        "get": lambda: [store.get(key) for key in keys],
        "multi_get": lambda: store.multi_get(keys),
        "scan": lambda: store.scan(b"", limit=len(keys) + 1),
    }
    with pytest.raises(FatalError, match=r"is damaged: Corruption.*the next start reads it anew"):
        reads[read]()
    store.close()
    renew(tmp_path)
    again = open_store(directory)
    assert again.offset() is None
    again.write([(b"k", b"v")], 1)
    again.close()
    renew(tmp_path)
    once_more = open_store(directory)
    assert once_more.offset() == 1
    once_more.close()


def test_a_full_disk_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is opened, and nothing is wiped; the line says how much room is needed."""
    filled(tmp_path / "t-0.db")
    monkeypatch.setattr(module, "FREE_BYTES_MIN", 1 << 62)
    with pytest.raises(FatalError, match=r"the disk of .* is full: .* make room there"):
        open_store(tmp_path / "t-0.db")
    monkeypatch.undo()
    store = open_store(tmp_path / "t-0.db")
    assert store.offset() == 19
    store.close()


def test_rows_that_were_looked_at_stay_so(tmp_path: Path) -> None:
    """Until they are read anew."""
    store = open_store(tmp_path / "t-0.db", changelog_id="one")
    assert not store.is_whole()
    store.set_whole()
    store.close()
    again = open_store(tmp_path / "t-0.db", changelog_id="one")
    assert again.is_whole()
    again.condemn()
    again.close()
    renew(tmp_path)
    anew = open_store(tmp_path / "t-0.db", changelog_id="one")
    assert not anew.is_whole()
    anew.close()


def test_idle_databases_leave_the_write_buffers_alone(tmp_path: Path) -> None:
    """Fifty databases with a few rows each take little of the budget, which is there for those that are written to."""
    budget = module._shared()[1]
    before = budget.get_usage()
    stores = [open_store(tmp_path / f"t-{number}.db") for number in range(48)]
    for store in stores:
        store.write([(b"%d" % number, bytes(500)) for number in range(20)], 7)
    assert budget.get_usage() - before < module.WRITE_BUFFERS_BYTES / 8
    for store in stores:
        store.close()


def test_a_database_that_was_merged_by_level_is_read(tmp_path: Path) -> None:
    """What RocksDB's defaults have written, in several levels, needs no wiping."""
    rows = [(f"{number:06}".encode(), bytes(100)) for number in range(20_000)]
    old = Rdict(str(tmp_path / "t-0.db"), Options(raw_mode=True))
    for half in (rows[::2], rows[1::2]):
        for key, value in half:
            old[key] = value
        old.flush()
    old.compact_range(None, None)
    old.close()
    store = PartitionStore(tmp_path / "t-0.db")
    assert store.scan(b"", limit=len(rows) + 1) == rows
    store.close()


def test_a_datadir_that_is_gone_is_one_line(tmp_path: Path) -> None:
    """Somebody deleted it while the worker used it: that says what to do, and nothing is harmed."""
    store = PartitionStore(tmp_path / "tables" / "t-0.db")
    shutil.rmtree(tmp_path / "tables")
    with pytest.raises(FatalError, match="was the datadir deleted while this worker used it"):
        check_room(tmp_path / "tables")
    store.condemn()
