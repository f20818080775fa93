"""What every command has in common with the shell: exit codes, where lines go, and the form of the output.

Results go to standard output, everything else to standard error; one line for an error, never a traceback for one that
is expected in kind.
"""

import sys
from typing import Any, Final, NoReturn

import click
import msgspec
from faust.cli.base import option
from rich.console import Console
from rich.table import Table

from cutover_app.core.verdicts import Position

FINE: Final = 0
"""Evidence, and no problem in it."""
PROBLEMS: Final = 1
"""Open problems were found."""
USAGE: Final = 2
"""The command line or the contract is wrong."""
CANNOT_TELL: Final = 3
"""No evidence, or not enough."""
FAILED: Final = 4
"""The operation failed: no broker, no permission, a file that cannot be read."""

TABLE: Final = "table"
JSON: Final = "json"

WIDTH_WITHOUT_TERMINAL: Final = 140
"""Columns of a table that is written to a file or a log."""


def fail(code: int, line: object) -> NoReturn:
    """End the command with one line on standard error."""
    print(f"cutover: {line}", file=sys.stderr, flush=True)
    raise SystemExit(code)


def output_option() -> Any:
    """Return the option that every command with a result has."""
    return option("--output", type=click.Choice([TABLE, JSON]), default=TABLE, help="Form of the result.")


def console(stream: Any = None) -> Console:
    """Return where tables are drawn. What messages contain is never taken for markup."""
    file = stream if stream is not None else sys.stdout
    width = None if file.isatty() else WIDTH_WITHOUT_TERMINAL
    return Console(file=file, width=width, markup=False, highlight=False, emoji=False, soft_wrap=False)


def table(title: str, *columns: str | tuple[str, str]) -> Table:
    """Return an empty table; a column is its name, or its name and "right"."""
    made = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        name, side = column if isinstance(column, tuple) else (column, "left")
        made.add_column(name, justify="right" if side == "right" else "left", overflow="fold")
    return made


def plain(text: str) -> str:
    """Return text that cannot move the cursor: whatever is not printable becomes an escape."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def shown(value: Any) -> str:
    """Return a value of a verdict as a cell shows it."""
    return "" if value is msgspec.UNSET else plain(msgspec.json.encode(value).decode())


def shown_place(topic: str, partition: int, offset: int, index: int = 0) -> str:
    """Return a place as verdicts and reports write it."""
    return f"{topic}/{partition}@{offset}{f'.{index}' if index else ''}"


def shown_position(position: Position | msgspec.UnsetType) -> str:
    """Return the place of a position of a verdict; nothing where it has none."""
    if isinstance(position, msgspec.UnsetType):
        return ""
    return shown_place(position.topic, position.partition, position.offset, position.index)


def write_json(value: Any, stream: Any = None) -> None:
    """Write one JSON document: in UTF-8, as JSON is, whatever the terminal's encoding."""
    _write(msgspec.json.format(msgspec.json.encode(value), indent=2), stream)


def write_json_line(value: Any, stream: Any = None) -> None:
    """Write one JSON document in one line, at once: somebody follows."""
    _write(msgspec.json.encode(value), stream)
    (stream if stream is not None else sys.stdout).flush()


def _write(encoded: bytes, stream: Any) -> None:
    file = stream if stream is not None else sys.stdout
    document = encoded + b"\n"
    if (buffer := getattr(file, "buffer", None)) is None:
        file.write(document.decode())
        return
    file.flush()
    buffer.write(document)
