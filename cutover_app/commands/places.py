"""Where in the topics of a run the rows of a key are.

Everything about a key is in the intake partition of its order key, and so are its rows in the changelogs and its
verdicts. Where the contract orders by something else than the match key, the match key alone does not say where: then
the order key does, or all partitions are read.
"""

from dataclasses import dataclass
from typing import Any, Final

from cutover_app.commands.keys import parse_key
from cutover_app.contract.models import Contract
from cutover_app.core.books import BOOKS_KEY, Books
from cutover_app.core.forwarding import place_of
from cutover_app.core.rows import BOOKS_TABLE, SETTLED_TABLE
from cutover_app.core.state import KeyRow, decode_row
from cutover_app.kafka.reading import PartitionReader
from cutover_app.kafka.topics import changelog_of

KEY_BEGINS: Final = b"["
"""How the key of a key row begins: order and match keys are JSON lists. Rows of other kinds begin otherwise."""


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """A match key, and the intake partitions in which it may be."""

    key: bytes
    order: bytes | None
    """The order key, where the contract has one apart and it was named."""
    partitions: tuple[int, ...]
    is_exact: bool
    """Whether there is one place, and one row."""

    @property
    def note(self) -> str:
        """Say what looking for it costs, where that is more than one partition; else nothing."""
        if self.is_exact:
            return ""
        count = len(self.partitions)
        return f"order.by is not match.key: all {count} intake partitions are read; --order K2 names the one"

    def is_row(self, row_key: bytes) -> bool:
        """Tell whether a row of the settled table may be of this key: it is behind its order key if it has one."""
        if self.order is not None:
            return row_key == self.order + self.key
        if self.is_exact:
            return row_key == self.key
        return row_key.startswith(KEY_BEGINS) and row_key.endswith(self.key)


def place_key(contract: Contract, key: str, order: str | None) -> KeyPlace:
    """Return where a typed key is; raises `KeyTextError`."""
    partitions = contract.intake.partitions
    match = parse_key(key, contract.match.key)
    if not contract.order_apart:
        return KeyPlace(match, None, (place_of(match, partitions),), is_exact=True)
    if order is None or contract.order is None:
        return KeyPlace(match, None, tuple(range(partitions)), is_exact=False)
    by = parse_key(order, contract.order.by, "--order")
    return KeyPlace(match, by, (place_of(by, partitions),), is_exact=True)


@dataclass(frozen=True, slots=True)
class FoundRow:
    """A key row, where it was found."""

    partition: int
    key: bytes
    row: KeyRow


async def find_rows(reader: PartitionReader, contract: Contract, place: KeyPlace) -> list[FoundRow]:
    """Return the rows of a key, newest first read; where the place is exact, no further than the newest row."""
    found: list[FoundRow] = []
    for partition in place.partitions:
        seen: set[bytes] = set()

        def enough(record: Any, partition: int = partition, seen: set[bytes] = seen) -> bool:
            key = record.key or b""
            if not place.is_row(key) or key in seen:
                return False
            seen.add(key)
            if record.value is not None:
                row = decode_row(KeyRow, record.value)
                if key == row.order + place.key:
                    found.append(FoundRow(partition, key, row))
            return place.is_exact

        await reader.newest_first(changelog_of(contract, SETTLED_TABLE), partition, enough)
    return found


async def newest_books(reader: PartitionReader, contract: Contract, partition: int) -> Books | None:
    """Return the books of an intake partition; None before its first checkpoint, and while they are made again."""
    found: list[Books | None] = []

    def enough(record: Any) -> bool:
        if record.key == BOOKS_KEY:
            found.append(None if record.value is None else decode_row(Books, record.value))
        return bool(found)

    await reader.newest_first(changelog_of(contract, BOOKS_TABLE), partition, enough)
    return found[0] if found else None
