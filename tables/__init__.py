"""The tables of the judge: what a row of each is, how it is encoded, and how it is shown to people.

One module per table, all of one shape: `NAME` and `HELP`, which `faust tables` prints; `encode` and `decode` with the
version byte in front of every row; `describe`, which shows a row without showing what a message contains.
"""

from typing import Final

from tables import books, families, pending, settled

__all__ = ["TABLES", "books", "families", "pending", "settled"]

TABLES: Final = tuple((module.NAME, module.HELP) for module in (pending, settled, books, families))
"""(name, help text) of every table, in the order in which they are listed."""
