"""Committed rows in plain dictionaries: the judge's store where nothing needs to outlive the process."""

from bisect import bisect_left
from collections.abc import Sequence

from cutover_app.core.rows import TABLES, Changes


class MemoryStore:
    """A `Store`. Keys are sorted when somebody scans, not when rows are written."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[bytes, bytes]] = {name: {} for name in TABLES}
        self._sorted: dict[str, list[bytes]] = {}

    def __repr__(self) -> str:
        """Return how many rows each table has."""
        return f"<MemoryStore {', '.join(f'{len(rows)} {name}' for name, rows in self._rows.items())}>"

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return one row."""
        return self._rows[table].get(key)

    def get_many(self, table: str, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return rows in the order of `keys`."""
        rows = self._rows[table]
        return [rows.get(key) for key in keys]

    def scan(self, table: str, start: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        """Return up to `limit` rows with keys from `start` on, ascending."""
        rows = self._rows[table]
        keys = self._sorted.get(table)
        if keys is None:
            keys = self._sorted[table] = sorted(rows)
        first = bisect_left(keys, start)
        return [(key, rows[key]) for key in keys[first : first + limit]]

    def commit(self, changes: Changes) -> None:
        """Write the rows of a checkpoint."""
        for table, changed in changes.items():
            rows = self._rows[table]
            for key, row in changed.items():
                if row is None:
                    rows.pop(key, None)
                else:
                    rows[key] = row
            if changed:
                self._sorted.pop(table, None)
