"""What was said about a key: revisions of verdicts, found in the verdicts topic.

A partition of it is read from its beginning, and only what is about the key is decoded and kept.
"""

import re
from collections import deque
from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec

from cutover_app.commands.places import KEY_BEGINS, FoundRow
from cutover_app.contract.models import Contract
from cutover_app.core.books import Books
from cutover_app.core.compare import Masked
from cutover_app.core.frames import LEGACY, REBUILT
from cutover_app.core.rows import SETTLED_TABLE
from cutover_app.core.state import KeyRow, decode_row
from cutover_app.core.verdicts import Position, Verdict, decode_verdict
from cutover_app.kafka.reading import PartitionReader
from cutover_app.kafka.topics import changelog_of

REVISIONS_MAX: Final = 1_000
"""Revisions about one key that are told, the newest ones."""

_ID: Final = re.compile("[0-9a-f]{32}")


def is_verdict_id(text: str) -> bool:
    """Tell whether a text may be the id of a verdict."""
    return _ID.fullmatch(text) is not None


def told_apart(shown: Sequence[Any]) -> bool:
    """Tell whether a key as it is shown is that of one key only: a masked value without HMAC may be any."""
    return all(part.hmac if isinstance(part, Masked) else True for part in shown)


async def find_revisions(
    reader: PartitionReader,
    contract: Contract,
    partition: int,
    *,
    ids: Collection[str] = (),
    shown: Sequence[Any] | None = None,
) -> list[Verdict]:
    """Return the revisions of these ids, or of the key that is shown like this, oldest first."""
    found: deque[Verdict] = deque(maxlen=REVISIONS_MAX)
    wanted = frozenset(each.encode() for each in ids)
    needle = None if shown is None else b'"key":' + msgspec.json.encode(shown)

    def take(record: Any) -> None:
        if record.value is None:  # a verdict that was deleted, of a run that was reset
            gone = (record.key or b"").decode("utf-8", "replace")
            if any(each.id == gone for each in found):
                kept = [each for each in found if each.id != gone]
                found.clear()
                found.extend(kept)
            return
        if not (record.key in wanted or (needle is not None and needle in record.value)):
            return
        verdict = _verdict(contract, record.value)
        if verdict is not None:
            found.append(verdict)

    await reader.forward(contract.verdicts.topic, partition, take)
    return list(found)


async def find_verdict(reader: PartitionReader, contract: Contract, verdict_id: str) -> list[Verdict]:
    """Return all revisions of one verdict, oldest first; it is looked for in one partition after the other."""
    for partition in range(contract.intake.partitions):
        found = await find_revisions(reader, contract, partition, ids=[verdict_id])
        if found:
            return found
    return []


async def find_row_of(
    reader: PartitionReader, contract: Contract, partition: int, books: Books, verdict: Verdict
) -> FoundRow | None:
    """Return the key row that has the records of a verdict: the key itself may be hidden in the verdict."""
    wanted = {_place(books, side, position) for side, position in _positions(verdict)}
    found: list[FoundRow] = []
    seen: set[bytes] = set()

    def enough(record: Any) -> bool:
        if not (record.key or b"").startswith(KEY_BEGINS) or record.key in seen:
            return False
        seen.add(record.key)
        if record.value is not None:
            row = decode_row(KeyRow, record.value)
            if any((s, r.source, r.offset, r.index) in wanted for s in (LEGACY, REBUILT) for r in row.of(s)):
                found.append(FoundRow(partition, record.key, row))
        return bool(found)

    await reader.newest_first(changelog_of(contract, SETTLED_TABLE), partition, enough)
    return found[0] if found else None


def _positions(verdict: Verdict) -> list[tuple[int, Position]]:
    both = ((LEGACY, verdict.legacy), (REBUILT, verdict.rebuilt))
    return [(side, position) for side, position in both if isinstance(position, Position)]


def _place(books: Books, side: int, position: Position) -> tuple[int, int, int, int]:
    """Return a record's place as rows have it; one whose source is not in the books is in no row."""
    for number, source in enumerate(books.sources):
        place = (source.side, source.topic, source.partition, source.incarnation)
        if place == (side, position.topic, position.partition, position.incarnation):
            return side, number, position.offset, position.index
    return side, -1, position.offset, position.index


def _verdict(contract: Contract, data: bytes) -> Verdict | None:
    try:
        verdict = decode_verdict(data)
    except ValueError:
        return None
    return verdict if (verdict.contract, verdict.run) == (contract.contract, contract.run) else None
