"""Findings of the same kind and path, counted: the short answer to "what is wrong"."""

from typing import Final

from cutover_app.core.rows import FAMILIES_TABLE
from cutover_app.core.state import FamilyRow, decode_row, encode_row
from tables.showing import ShowKey, Shown, hidden_key

__all__ = ["HELP", "NAME", "FamilyRow", "decode", "describe", "encode"]

NAME: Final = FAMILIES_TABLE
HELP: Final = "Findings of the same kind and path: how many there were, how many are open, and samples."


def encode(row: FamilyRow) -> bytes:
    """Return the bytes of a row."""
    return encode_row(row)


def decode(data: bytes) -> FamilyRow:
    """Read a row; raises `RowError`."""
    return decode_row(FamilyRow, data)


def describe(key: bytes, value: bytes, show_key: ShowKey = hidden_key) -> Shown:  # noqa: ARG001 - all tables alike
    """Return what people may see of a row: kind, path, counts and verdict ids."""
    row = decode(value)
    return {
        "kind": row.kind,
        "path": row.path,
        "open": row.open,
        "total": row.total,
        "first_ms": row.first_ms,
        "last_ms": row.last_ms,
        "samples": row.samples,
    }
