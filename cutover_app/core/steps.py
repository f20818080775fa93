"""How much of a backlog a barrier closes (R1): a step, which has to fit into one transaction.

A step takes from a queue what is due, oldest first, and ends with the judge time of the last record of which closing
may say something, once so many of them have been taken. It is a function of the log where every key has been decided
before: how many payloads are still kept is not, so nothing here asks for that.
"""

from bisect import bisect_left
from collections.abc import Generator
from functools import lru_cache
from operator import attrgetter
from typing import Final

from cutover_app.core.frames import REBUILT
from cutover_app.core.rows import UNPROVEN, Rows
from cutover_app.core.state import PENDING, UNDETERMINED, Rec
from cutover_app.core.verdicts import INDETERMINATE

KEYS_KNOWN: Final = 32
"""Keys of which the verdicts have been looked through: one of very many records comes again and again."""


def step(rows: Rows, queue: int, limit_ms: int, most: int) -> Generator[tuple[bytes, Rec | None], None, int]:
    """Yield the keys and records that are due by `limit_ms`, at most some `most` undecided ones; return up to when.

    A record is None where its key is forgotten.
    """
    side = REBUILT if queue == UNPROVEN else queue

    @lru_cache(maxsize=KEYS_KNOWN)
    def given_up(key: bytes) -> frozenset[tuple[int, int, int]]:
        row = rows.keys.load(key)
        said = row.published if row is not None else ()
        return frozenset((p.source, p.offset, p.index) for p in said if p.side == side and p.outcome == INDETERMINATE)

    def is_undecided(key: bytes, record: Rec) -> bool:
        if record.tally != UNDETERMINED or side != REBUILT:
            return record.tally == PENDING
        # Given up while its mirror was not proven; a pair near a lost range counts as undetermined, too.
        return (record.source, record.offset, record.index) in given_up(key)

    while (head := rows.next_due(queue, limit_ms)) is not None:
        row = rows.keys.load(head.key)
        record = _at(row.of(side), head.position) if row is not None else None
        if record is not None and is_undecided(head.key, record):
            most -= 1
            if not most:
                limit_ms = head.judge_ms
        yield head.key, record
    return limit_ms


def _at(records: list[Rec], position: int) -> Rec | None:
    """Return the record at an intake position; records of a side stand in the order in which they arrived."""
    place = bisect_left(records, position, key=_position)
    return records[place] if place < len(records) and records[place].position == position else None


_position: Final = attrgetter("position")
