"""Payloads of the records that have no equal partner: what waits, and what was found to be a problem.

A key is (side, intake position), so that the rows of a side, in order, are the queue of what is to be closed.
"""

import json
from typing import Final

from cutover_app.core.frames import SIDES
from cutover_app.core.rows import PENDING_TABLE
from cutover_app.core.state import PendingRow, decode_row, encode_row, position_of
from tables.showing import ShowKey, Shown, hidden_key

__all__ = ["HELP", "NAME", "PendingRow", "decode", "describe", "encode"]

NAME: Final = PENDING_TABLE
HELP: Final = "Messages without an equal partner: waiting for it, or kept because they are a problem."

_PLACE_BITS: Final = position_of(1).bit_length() - 1
"""Low bits of an intake position: the place of an entry in its frame."""


def encode(row: PendingRow) -> bytes:
    """Return the bytes of a row."""
    return encode_row(row)


def decode(data: bytes) -> PendingRow:
    """Read a row; raises `RowError`."""
    return decode_row(PendingRow, data)


def describe(key: bytes, value: bytes, show_key: ShowKey = hidden_key) -> Shown:
    """Return what people may see of a row: of the message, its size."""
    row = decode(value)
    position = int.from_bytes(key[1:], "big")
    return {
        "side": SIDES[key[0]],
        "key": show_key(_match_key(row.key)),
        "intake_offset": position >> _PLACE_BITS,
        "judge_ms": row.judge_ms,
        "bytes": len(row.payload),
    }


def _match_key(key: bytes) -> bytes:
    """Return the match key in the key of a row: the last of one or two JSON arrays, the first being the order key."""
    text = key.decode()
    _order, end = _json.raw_decode(text)
    return text[end:].encode() or key


_json: Final = json.JSONDecoder()
