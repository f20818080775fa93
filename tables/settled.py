"""What is known about each match key, for as long as it is remembered.

Four kinds of row: of a match key, all of its records and what has been published about them; of an order key, where
that is another one, its match keys and pairs; marks of keys with a pair that is late or out of order; and buckets of
keys, which are the queue of what is to be forgotten.
"""

from typing import Any, Final

from cutover_app.core.rows import SETTLED_TABLE
from cutover_app.core.state import (
    MARK_PREFIX,
    OPEN,
    ORDER_PREFIX,
    TALLIES,
    BucketRow,
    KeyRow,
    OrderRow,
    Rec,
    decode_row,
    encode_row,
    settled_kind,
)
from tables.showing import ShowKey, Shown, hidden_key

__all__ = ["HELP", "NAME", "BucketRow", "KeyRow", "OrderRow", "decode", "describe", "encode"]

NAME: Final = SETTLED_TABLE
HELP: Final = "Match keys with their records and verdicts, remembered to tell duplicates from unknowns and to revise."


def encode(row: KeyRow | OrderRow | BucketRow) -> bytes:
    """Return the bytes of a row."""
    return encode_row(row)


def decode(key: bytes, data: bytes) -> KeyRow | OrderRow | BucketRow:
    """Read the row of this key; raises `RowError`."""
    return decode_row(settled_kind(key) or KeyRow, data)


def describe(key: bytes, value: bytes, show_key: ShowKey = hidden_key) -> Shown:
    """Return what people may see of a row: positions, tallies and outcomes; of messages, nothing."""
    if key.startswith(MARK_PREFIX):
        return {"late_or_out_of_order": hidden_key(key.removeprefix(MARK_PREFIX))}
    row = decode(key, value)
    if isinstance(row, BucketRow):
        return {"bucket": int.from_bytes(key[1:], "big"), "judge_ms": row.judge_ms, "keys": len(row.keys)}
    if isinstance(row, OrderRow):
        return {
            "order_key": hidden_key(key.removeprefix(ORDER_PREFIX)),
            "keys": len(row.keys),
            "records": row.records,
            "pairs": len(row.passages),
            "out_of_order": sum(each.overtaken for each in row.passages),
            "last_judge_ms": row.last_ms,
        }
    return {
        "key": show_key(key[len(row.order) :]),
        "expected": [_describe(record) for record in row.expected],
        "actual": [_describe(record) for record in row.actual],
        "published": [
            {"outcome": said.outcome, "rev": said.rev, "findings": [row.families[place] for place in said.families]}
            for said in row.published
        ],
        "last_judge_ms": row.last_ms,
    }


def _describe(record: Rec) -> dict[str, Any]:
    return {
        "source": record.source,
        "offset": record.offset,
        "index": record.index,
        "timestamp": record.timestamp,
        "tally": TALLIES[record.tally],
        "closed": record.closed_at != OPEN,
    }
