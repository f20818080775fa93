"""What is known about each match key, for as long as it is remembered.

Two kinds of row: of a match key, all of its records and what has been published about them; and buckets of keys, under
keys that start with a zero byte, which are the queue of what is to be forgotten.
"""

from typing import Any, Final

from cutover_app.core.rows import SETTLED_TABLE
from cutover_app.core.state import OPEN, TALLIES, BucketRow, KeyRow, Rec, decode_row, encode_row
from tables.showing import ShowKey, Shown, hidden_key

__all__ = ["HELP", "NAME", "BucketRow", "KeyRow", "decode", "describe", "encode"]

NAME: Final = SETTLED_TABLE
HELP: Final = "Match keys with their records and verdicts, remembered to tell duplicates from unknowns and to revise."

_BUCKET: Final = b"\x00"


def encode(row: KeyRow | BucketRow) -> bytes:
    """Return the bytes of a row."""
    return encode_row(row)


def decode(key: bytes, data: bytes) -> KeyRow | BucketRow:
    """Read the row of this key; raises `RowError`."""
    return decode_row(BucketRow, data) if key.startswith(_BUCKET) else decode_row(KeyRow, data)


def describe(key: bytes, value: bytes, show_key: ShowKey = hidden_key) -> Shown:
    """Return what people may see of a row: positions, tallies and outcomes; of messages, nothing."""
    row = decode(key, value)
    if isinstance(row, BucketRow):
        return {"bucket": int.from_bytes(key[1:], "big"), "judge_ms": row.judge_ms, "keys": len(row.keys)}
    return {
        "key": show_key(key),
        "expected": [_describe(record) for record in row.expected],
        "actual": [_describe(record) for record in row.actual],
        "published": [{"outcome": said.outcome, "rev": said.rev, "findings": said.families} for said in row.published],
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
