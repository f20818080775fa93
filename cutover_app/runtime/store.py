"""The rows of one table partition on disk: a RocksDB with small caches, shared by all partitions.

RocksDB's defaults would let every one of some fifty small databases take 2 GiB of cache and
200 MiB of write buffers. Here one cache and one write buffer budget serve the whole process.

Rows come in the order of their keys, which says nothing about time: whatever is merged with what
there is already is written again, all of it. So files are merged by size and not by level, and many
at a time: twenty million rows are rewritten half as often, and cost a worker little more than two.

A database is a copy of its changelog and never worth saving. One that cannot be opened is wiped and
read anew; one that turns out to be damaged later ends the worker, and is wiped when the next one
starts. A full disk is nobody's damage: it ends the worker before it writes anything anywhere.
"""

import functools
import logging
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    DBCompactionStyle,
    Options,
    Rdict,
    WriteBatch,
    WriteBufferManager,
)

from cutover_app.runtime.datadir import CONDEMNED, PRIVATE, wipe
from cutover_app.runtime.fatal import FatalError

log = logging.getLogger(__name__)

CACHE_BYTES = 64 * 1024 * 1024
WRITE_BUFFERS_BYTES = 96 * 1024 * 1024
WRITE_BUFFER_BYTES = 8 * 1024 * 1024
BLOOM_BITS = 10

ARENA_BYTES: Final = 64 * 1024
"""What a write buffer takes of the budget at first, used or not; the default of 1 MiB is all of it for fifty."""
RUNS_MAX: Final = 8
"""Files, one over the other, from which on they are merged; each is asked for a key that is in none."""
FILE_BYTES: Final = 16 * 1024 * 1024
"""A file's filter must fit into a shard of the cache, which is 1 MiB."""
OPEN_FILES_MAX = 64

#: A directory that nobody wrote for this long is wiped: its changelog may have dropped tombstones
#: of rows that it still holds. Half of what the changelog topics keep them (kafka/admin.py).
STALE_SECONDS = 12 * 3600

#: Where Faust's own RocksDB store keeps it, so that its tools find it.
OFFSET_KEY = b"__faust\0offset__"
CHANGELOG_KEY = b"__faust\0changelog__"
WHOLE_KEY = b"__cutover\0whole__"
_META = frozenset({OFFSET_KEY, CHANGELOG_KEY, WHOLE_KEY})

FREE_BYTES_MIN: Final = 64 * 1024 * 1024
"""With less room than this on its disk a worker writes nothing: a checkpoint of all partitions takes less."""


@functools.cache
def _shared() -> tuple[Any, Any]:
    return Cache(CACHE_BYTES), WriteBufferManager(WRITE_BUFFERS_BYTES, False)


def _options() -> Options:
    cache, buffers = _shared()
    blocks = BlockBasedOptions()
    blocks.set_block_cache(cache)
    blocks.set_bloom_filter(BLOOM_BITS, False)
    blocks.set_cache_index_and_filter_blocks(True)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(blocks)
    options.set_write_buffer_manager(buffers)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_arena_block_size(ARENA_BYTES)
    options.set_compaction_style(DBCompactionStyle.universal())
    options.set_level_zero_file_num_compaction_trigger(RUNS_MAX)
    options.set_target_file_size_base(FILE_BYTES)
    options.set_max_open_files(OPEN_FILES_MAX)
    options.set_keep_log_file_num(2)
    return options


class DamageError(Exception):
    """A database that cannot be opened."""


# As RocksDB says it.
_LOCKED: Final = "/LOCK: "
_IO: Final = "IO error: "
_LOST: Final = "IO error: No such file or directory"


def _is_of_the_disk(error: Exception) -> bool:
    """Tell whether the disk refuses, or a permission is wanting: to wipe would help nobody."""
    return str(error).startswith(_IO) and not str(error).startswith(_LOST)


def open_store(directory: Path, *, changelog_id: str = "") -> "PartitionStore":
    """Open or create; a directory that another process has open is a fatal error at once.

    Rows of another changelog topic, even of the same name, are wiped; so are damaged ones, and those too old to go on.
    """
    directory.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE)
    check_room(directory.parent)
    if os.path.lexists(directory) and not directory.is_dir():
        return _open_anew(directory, changelog_id, "no directory")
    if _age_seconds(directory) > STALE_SECONDS:
        return _open_anew(directory, changelog_id, "too old")
    try:
        store = PartitionStore(directory)
    except DamageError as error:
        return _open_anew(directory, changelog_id, f"damaged ({error})")
    if store.changelog_id() not in (None, changelog_id):
        store.close()
        return _open_anew(directory, changelog_id, "of another run")
    store.set_changelog_id(changelog_id)
    return store


def _open_anew(directory: Path, changelog_id: str, why: str) -> "PartitionStore":
    log.warning("%s is %s; it is wiped, and read anew from its changelog", directory, why)
    wipe(directory)
    store = PartitionStore(directory)
    store.set_changelog_id(changelog_id)
    return store


def check_room(directory: Path) -> None:
    """Raise `FatalError` where the disk is about to be full, or the directory is gone."""
    try:
        free = shutil.disk_usage(directory).free
    except OSError as error:
        raise FatalError(
            f"{directory} is not there any more ({error.strerror}): was the datadir deleted while this worker used it? "
            "start it again: nothing is lost, its state is read anew"
        ) from error
    if free < FREE_BYTES_MIN:
        raise FatalError(
            f"the disk of {directory} is full: {free / 2**20:.0f} MB are free, {FREE_BYTES_MIN / 2**20:.0f} MB are the "
            "least; make room there, or name another datadir, and start again: nothing is lost"
        )


def _age_seconds(directory: Path) -> float:
    written = [file.stat().st_mtime for file in directory.glob("*")]
    return time.time() - max(written) if written else 0.0


class PartitionStore:
    """Ordered bytes, and the changelog offset that they stand for.

    A database that turns out to be damaged raises `FatalError`, and is marked to be wiped; one that is found so at once
    raises `DamageError`.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        try:
            self._db: Any = Rdict(str(directory), _options(), access_type=AccessType.read_write())
        except Exception as error:
            if _LOCKED in str(error):
                raise FatalError(f"{directory} is in use by another process") from error
            if _is_of_the_disk(error):
                raise FatalError(f"{directory} cannot be opened: {error}") from error
            raise DamageError(str(error)) from error

    def _failed(self, error: Exception) -> FatalError:
        """Return what to raise when reading or writing failed; damage is marked."""
        if _is_of_the_disk(error):
            return FatalError(f"{self.directory} cannot be read or written: {error}")
        self.condemn()
        return FatalError(f"{self.directory} is damaged: {error}; the next start reads it anew")

    def condemn(self) -> None:
        """Have these rows, and all others beside them, wiped when a worker starts here next (`renew`)."""
        with suppress(FileNotFoundError):  # then they are gone as it is
            (self.directory.parent / CONDEMNED).touch()

    def offset(self) -> int | None:
        """Changelog offset of the last write; None where nothing was ever written."""
        value = self.get(OFFSET_KEY)
        return None if value is None else int(value)

    def changelog_id(self) -> str | None:
        """Id of the changelog topic that the rows come from; None in a new database."""
        value = self.get(CHANGELOG_KEY)
        return None if value is None else value.decode()

    def set_changelog_id(self, changelog_id: str) -> None:
        """Remember it."""
        self._put(CHANGELOG_KEY, changelog_id.encode())

    def get(self, key: bytes) -> bytes | None:
        """One row."""
        try:
            value: bytes | None = self._db.get(key)
        except Exception as error:
            raise self._failed(error) from error
        return value

    def multi_get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Rows in the order of the keys."""
        try:
            found: list[bytes | None] = self._db.get(list(keys)) if keys else []
        except Exception as error:
            raise self._failed(error) from error
        return found

    def scan(self, start: bytes, *, limit: int, end: bytes | None = None) -> list[tuple[bytes, bytes]]:
        """Rows from `start` on, before `end`."""
        rows: list[tuple[bytes, bytes]] = []
        last = start
        try:
            for key, value in self._db.items(from_key=start):
                if len(rows) >= limit or (end is not None and key >= end):
                    return rows
                last = key
                if key not in _META:
                    rows.append((key, value))
            self._check_end(last)
        except Exception as error:
            raise self._failed(error) from error
        return rows

    def _check_end(self, last: bytes) -> None:
        """Raise where rows end for another reason than that there are no more: an iteration ends without a word."""
        rest = self._db.iter()
        rest.seek(last)
        while rest.valid():
            rest.next()
        rest.status()

    def is_whole(self) -> bool:
        """Tell whether these rows have been looked at since they were read anew (`core/integrity.py`)."""
        return self.get(WHOLE_KEY) is not None

    def set_whole(self) -> None:
        """Remember it."""
        self._put(WHOLE_KEY, b"")

    def _put(self, key: bytes, value: bytes) -> None:
        try:
            self._db.put(key, value)
        except Exception as error:
            raise self._failed(error) from error

    def write(self, rows: Iterable[tuple[bytes, bytes | None]], changelog_offset: int) -> None:
        """All rows and the offset, or nothing."""
        batch = WriteBatch(raw_mode=True)
        put, delete = batch.put, batch.delete
        for key, value in rows:
            if value is None:
                delete(key)
            else:
                put(key, value)
        put(OFFSET_KEY, str(changelog_offset).encode())
        try:
            self._db.write(batch)
        except Exception as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Let go of the lock at once; what was not flushed is in RocksDB's own log."""
        self._db.close()
