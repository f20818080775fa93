"""Rows of one kind between two checkpoints: read through, written back.

Two generations are kept: rows touched since the last checkpoint, and rows touched before it. So memory is bounded by
what passes in two checkpoints, and a row that is needed again soon is not read again. Rows that somebody goes through
by the thousand are packed: as bytes they take a fifth of the memory, and none after the next checkpoint.

Invariants: a row in memory is newer than the row of the same key in the store; what was dropped is in neither. A key
is in memory once: hot, cold or packed.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Generic, Protocol, TypeVar

from cutover_app.core.state import decode_row, encode_row

Row = TypeVar("Row")

SCAN_ROWS: Final = 256
"""Rows that are read in one go where many are read."""


class Store(Protocol):
    """Committed rows of one intake partition."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return one row."""

    def get_many(self, table: str, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return rows in the order of `keys`."""

    def scan(self, table: str, start: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        """Return up to `limit` rows with keys from `start` on, ascending."""


def scan_all(store: Store, table: str, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
    """Yield the rows of a table with keys from `start` on, ascending."""
    while found := store.scan(table, start, SCAN_ROWS):
        yield from found
        start = found[-1][0] + b"\x00"


class RowCache(Generic[Row]):
    """The rows of one kind in one table."""

    def __init__(self, store: Store, table: str, kind: type[Row]) -> None:
        self._store = store
        self._table = table
        self._kind = kind
        self._hot: dict[bytes, Row] = {}
        self._cold: dict[bytes, Row] = {}
        self._packed: dict[bytes, bytes] = {}
        self._dirty: set[bytes] = set()
        self._dropped: set[bytes] = set()
        self.grown = 0
        """By how many rows there are more than when this was made."""

    def __repr__(self) -> str:
        """Return how many rows are in memory."""
        counts = f"{len(self._hot)} hot, {len(self._cold)} cold, {len(self._packed)} packed"
        return f"<RowCache of {self._kind.__name__}: {counts}>"

    def prefetch(self, keys: Iterable[bytes]) -> None:
        """Read the rows of these keys in one go."""
        hot, cold, dropped, packed = self._hot, self._cold, self._dropped, self._packed
        wanted = list({k for k in keys if k not in hot and k not in cold and k not in dropped and k not in packed})
        for key, data in zip(wanted, self._store.get_many(self._table, wanted), strict=True) if wanted else ():
            if data is not None:
                cold[key] = decode_row(self._kind, data)

    def find(self, key: bytes) -> Row | None:
        """Return the row of a key that has been prefetched or is in memory; None where there is none."""
        row = self._hot.get(key)
        if row is None:
            row = self._cold.pop(key, None)
            if row is None and key in self._packed:
                row = decode_row(self._kind, self._packed.pop(key))
            if row is not None:
                self._hot[key] = row
        return row

    def load(self, key: bytes) -> Row | None:
        """Return the row of a key, from the store if need be."""
        row = self.find(key)
        if row is None:
            self.prefetch((key,))
            row = self.find(key)
        return row

    def add(self, key: bytes, row: Row) -> Row:
        """Take in a new row; `changed` has still to be told."""
        self._hot[key] = row
        self._dropped.discard(key)
        self.grown += 1
        return row

    def changed(self, keys: Iterable[bytes]) -> None:
        """Note that the rows of these keys differ from the store's."""
        self._dirty.update(keys)

    def drop(self, key: bytes) -> None:
        """Forget a row."""
        self._hot.pop(key, None)
        self._cold.pop(key, None)
        self._packed.pop(key, None)
        self._dirty.discard(key)
        self._dropped.add(key)
        self.grown -= 1

    def pack(self, key: bytes) -> Row | None:
        """Keep the row of a key as bytes until somebody needs it, and return it; nobody may change it any more."""
        row = self._hot.pop(key, None)
        if row is not None:
            self._packed[key] = encode_row(row)
        return row

    def changes(self) -> dict[bytes, bytes | None]:
        """Return what differs from the store: encoded rows, None for what was dropped."""
        hot, packed = self._hot, self._packed
        changed: dict[bytes, bytes | None] = {}
        for key in sorted(self._dirty):
            row = hot.get(key)
            if row is not None:
                changed[key] = encode_row(row)
            elif key in packed:
                changed[key] = packed[key]
        changed.update(dict.fromkeys(self._dropped))
        return changed

    def committed(self) -> None:
        """Note that the last changes are in the store."""
        self._cold, self._hot = self._hot, {}
        self._packed.clear()
        self._dirty.clear()
        self._dropped.clear()
