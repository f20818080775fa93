"""One row per intake partition: where its judge is, what it has counted, and whether that balances."""

from typing import Final

from cutover_app.core.books import BOOKS_KEY, Books, Ledger
from cutover_app.core.closing import NEVER
from cutover_app.core.frames import SIDES
from cutover_app.core.rows import BOOKS_TABLE
from cutover_app.core.state import TALLIES, decode_row, encode_row
from tables.showing import ShowKey, Shown, hidden_key

__all__ = ["BOOKS_KEY", "HELP", "NAME", "Books", "decode", "describe", "encode"]

NAME: Final = BOOKS_TABLE
HELP: Final = "Per intake partition: the position, counters that must balance, frontiers, and lost ranges."


def encode(row: Books) -> bytes:
    """Return the bytes of a row."""
    return encode_row(row)


def decode(data: bytes) -> Books:
    """Read a row; raises `RowError`."""
    return decode_row(Books, data)


def describe(key: bytes, value: bytes, show_key: ShowKey = hidden_key) -> Shown:  # noqa: ARG001 - all tables alike
    """Return what people may see of a row, which is everything that they can use."""
    row = decode(value)
    return {
        "intake_partition": row.partition,
        "at": row.at,
        "rules": row.rules,
        "judge_ms": row.clock.now,
        "frontier_ms": {
            side: None if frontier.closed == NEVER else frontier.closed
            for side, frontier in zip(SIDES, row.frontiers, strict=True)
        },
        "sides": {side: _describe(ledger) for side, ledger in zip(SIDES, row.ledgers, strict=True)},
        "lost_ranges": len(row.edges),
        "balance": row.balance(),
    }


def _describe(ledger: Ledger) -> Shown:
    return {
        "accepted": ledger.accepted,
        **dict(zip(TALLIES, ledger.tallies, strict=True)),
        "redelivered": ledger.redelivered,
    }
