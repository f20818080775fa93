"""The rows of one table partition on disk: a RocksDB with small caches, shared by all partitions.

RocksDB's defaults would let every one of some fifty small databases take 2 GiB of cache and
200 MiB of write buffers. Here one cache and one write buffer budget serve the whole process.
"""

import fcntl
import functools
import logging
import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    Options,
    Rdict,
    WriteBatch,
    WriteBufferManager,
)

from cutover_app.runtime.fatal import FatalError

log = logging.getLogger(__name__)

CACHE_BYTES = 64 * 1024 * 1024
WRITE_BUFFERS_BYTES = 96 * 1024 * 1024
WRITE_BUFFER_BYTES = 8 * 1024 * 1024
BLOOM_BITS = 10
OPEN_FILES_MAX = 64

#: A directory that nobody wrote for this long is wiped: its changelog may have dropped tombstones
#: of rows that it still holds. Half of what the changelog topics keep them (kafka/admin.py).
STALE_SECONDS = 12 * 3600

#: Where Faust's own RocksDB store keeps it, so that its tools find it.
OFFSET_KEY = b"__faust\0offset__"
CHANGELOG_KEY = b"__faust\0changelog__"
_META = frozenset({OFFSET_KEY, CHANGELOG_KEY})


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
    options.set_max_open_files(OPEN_FILES_MAX)
    options.set_keep_log_file_num(2)
    return options


def lock_directory(directory: Path) -> IO[str]:
    """Make a state directory ours, and nobody else's to read, before the fleet hears of this worker.

    The lock lasts as long as the returned file is open, and goes with the process.
    """
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)  # tables hold whole messages
    file = (directory / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FatalError(f"{directory} is in use by another process: give each worker a datadir of its own") from None
    return file


def open_store(directory: Path, *, changelog_id: str = "") -> "PartitionStore":
    """Open or create; a directory that another process has open is a fatal error at once.

    Rows of another changelog topic, even of the same name, are wiped; so are rows too old to continue.
    """
    directory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    too_old = _age_seconds(directory) > STALE_SECONDS
    store = _open(directory)
    stored = store.changelog_id()
    if too_old or stored not in (None, changelog_id):
        log.warning("%s is %s; rebuilding it", directory, "too old" if too_old else "of another run")
        store.close()
        shutil.rmtree(directory)
        store = _open(directory)
    store.set_changelog_id(changelog_id)
    return store


def _open(directory: Path) -> "PartitionStore":
    try:
        return PartitionStore(Rdict(str(directory), _options(), access_type=AccessType.read_write()))
    except Exception as error:
        if "lock" in str(error).lower():
            raise FatalError(f"{directory} is in use by another process") from error
        raise FatalError(f"{directory} cannot be opened: {error}") from error


def _age_seconds(directory: Path) -> float:
    written = [file.stat().st_mtime for file in directory.glob("*")]
    return time.time() - max(written) if written else 0.0


class PartitionStore:
    """Ordered bytes, and the changelog offset that they stand for."""

    def __init__(self, db: Any) -> None:
        self._db = db

    def offset(self) -> int | None:
        """Changelog offset of the last write; None where nothing was ever written."""
        value = self._db.get(OFFSET_KEY)
        return None if value is None else int(value)

    def changelog_id(self) -> str | None:
        """Id of the changelog topic that the rows come from; None in a new database."""
        value = self._db.get(CHANGELOG_KEY)
        return None if value is None else bytes(value).decode()

    def set_changelog_id(self, changelog_id: str) -> None:
        """Remember it."""
        self._db.put(CHANGELOG_KEY, changelog_id.encode())

    def get(self, key: bytes) -> bytes | None:
        """One row."""
        value: bytes | None = self._db.get(key)
        return value

    def multi_get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Rows in the order of the keys."""
        found: list[bytes | None] = self._db.get(list(keys)) if keys else []
        return found

    def scan(self, start: bytes, *, limit: int, end: bytes | None = None) -> list[tuple[bytes, bytes]]:
        """Rows from `start` on, before `end`."""
        rows: list[tuple[bytes, bytes]] = []
        found: Iterable[tuple[bytes, bytes]] = self._db.items(from_key=start)
        for key, value in found:
            if len(rows) >= limit or (end is not None and key >= end):
                break
            if key not in _META:
                rows.append((key, value))
        return rows

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
        self._db.write(batch)

    def close(self) -> None:
        """Let go of the lock at once; what was not flushed is in RocksDB's own log."""
        self._db.close()
