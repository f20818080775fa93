"""How a report looks: as tables for people, as JSON for programs. Renderers decide nothing."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cutover_app.commands.fixes import show_time, shown_family
from cutover_app.commands.output import CANNOT_TELL, FINE, JSON, PROBLEMS, console, plain, shown, table, write_json
from cutover_app.commands.summary import (
    CONCLUSION_CANNOT_TELL,
    CONCLUSION_FINE,
    CONCLUSION_PROBLEMS,
    Family,
    Report,
    Sample,
    Side,
)

VERSION: Final = 1
"""Version of the JSON form."""

EXIT_CODES: Final = {
    CONCLUSION_FINE: FINE,
    CONCLUSION_PROBLEMS: PROBLEMS,
    CONCLUSION_CANNOT_TELL: CANNOT_TELL,
}

STYLES: Final = {
    CONCLUSION_FINE: "bold green",
    CONCLUSION_PROBLEMS: "bold red",
    CONCLUSION_CANNOT_TELL: "bold yellow",
}

_CELL_CHARS_MAX: Final = 60

FAMILIES_SHOWN: Final = 50
"""Families in the tables, those with most open findings first."""


def exit_code(report: Report) -> int:
    """Return the exit code of a conclusion."""
    return EXIT_CODES[report.conclusion]


def print_report(report: Report, form: str, stream: Any = None) -> None:
    """Write a report in the form that was asked for."""
    if form == JSON:
        write_json(report_json(report), stream)
    else:
        console(stream).print(report_table(report))


def report_json(report: Report) -> dict[str, Any]:
    """Return the JSON form of a report, its version first."""
    built: dict[str, Any] = msgspec.to_builtins(report)
    return {"v": VERSION, "exit": exit_code(report), **built}


def report_table(report: Report) -> RenderableType:
    """Return a report as tables, the conclusion last: that is where a terminal ends."""
    parts: list[RenderableType] = [_title(report)]
    if report.families:
        parts += _families(report)
        parts += [_fixed(family) for family in report.families if family.fixed_ms is not None]
        parts += _samples(report)
    parts += [_books(report), *_ranges(report), *_lines(report)]
    return Group(*parts)


def _title(report: Report) -> Text:
    outcomes = ", ".join(f"{count:,} {name}" for name, count in report.outcomes.items()) or "none"
    judged = "" if report.judged_ms is None else f", judged up to {show_time(report.judged_ms)}"
    explained = f" ({report.explained:,} of them near an unreadable record)" if report.explained else ""
    explained += f" ({report.past:,} of them of before a fix)" if report.past else ""
    return Text(
        f"contract {plain(report.contract)}, run {plain(report.run)}{judged}: {report.pairs:,} pairs; "
        f"verdicts: {outcomes}{explained}"
    )


# -- families --------------------------------------------------------------------------------------------------------

_FAMILY_COLUMNS: Final[tuple[tuple[str, str, Callable[[Family], str]], ...]] = (
    ("open", "right", lambda family: f"{family.open:,}"),
    ("total", "right", lambda family: f"{family.total:,}"),
    ("kind", "left", lambda family: family.kind),
    ("path", "left", lambda family: plain(family.path)),
    ("first seen", "left", lambda family: show_time(family.first_ms)),
    ("last seen", "left", lambda family: show_time(family.last_ms)),
)


def _families(report: Report) -> list[RenderableType]:
    drawn = table("Families of findings", *((name, side) for name, side, _ in _FAMILY_COLUMNS))
    for family in report.families[:FAMILIES_SHOWN]:
        drawn.add_row(*(show(family) for _, _, show in _FAMILY_COLUMNS))
    more = len(report.families) - FAMILIES_SHOWN
    return [drawn, Text(f"and {more:,} families more: `--output json` shows all")] if more > 0 else [drawn]


def _fixed(family: Family) -> Text:
    """Say what a mark means, in a line of its own: it is longer than a cell."""
    reason = f" ({plain(family.reason)})" if family.reason else ""
    again = f"; OPEN AGAIN: {family.open:,} since" if family.open else ""
    name = plain(shown_family((family.kind, family.path)))
    return Text(
        f"{name}: fixed since {show_time(family.fixed_ms)}, {family.before:,} before{again}{reason}",
        style="red" if again else "green",
    )


def _samples(report: Report) -> list[Table]:
    rows = [(family, sample) for family in report.families[:FAMILIES_SHOWN] for sample in family.samples]
    if not rows:
        return []
    drawn = table("Samples", "kind", "path", "key", "expected", "actual", "legacy", "rebuilt")
    for family, sample in rows:
        drawn.add_row(family.kind, *map(_cut, _sample_cells(sample)))
    return [drawn]


def _sample_cells(sample: Sample) -> tuple[str, ...]:
    actual = shown(sample.actual)
    return (
        plain(sample.path),
        shown(sample.key) if sample.key else "",
        shown(sample.expected),
        " ".join(part for part in (actual, f"({plain(sample.note)})" if sample.note else "") if part),
        plain(sample.legacy),
        plain(sample.rebuilt),
    )


# -- books -----------------------------------------------------------------------------------------------------------

_BOOK_ROWS: Final[tuple[tuple[str, Callable[[Side], str]], ...]] = (
    ("accepted", lambda side: f"{side.accepted:,}"),
    ("= paired", lambda side: f"{side.paired:,}"),
    ("+ missing / unknown", lambda side: f"{side.alone:,}"),
    ("+ duplicate", lambda side: f"{side.duplicate:,}"),
    ("+ rejected", lambda side: f"{side.rejected:,}"),
    ("+ indeterminate", lambda side: f"{side.indeterminate:,}"),
    ("+ pending", lambda side: f"{side.pending:,}"),
    ("redelivered (apart)", lambda side: f"{side.redelivered:,}"),
    ("source records read", lambda side: f"{side.source_records:,}"),
    ("filtered by the contract", lambda side: f"{side.filtered:,}"),
    ("not read yet", lambda side: "" if side.unread is None else f"{side.unread:,}"),
    ("partitions vouched for", lambda side: f"{side.vouched} of {side.partitions}"),
    ("frontier behind by", lambda side: show_lag(side.frontier_lag_ms)),
)


def _books(report: Report) -> Table:
    balance = "they balance" if report.balanced else "they DO NOT balance"
    drawn = table(f"Books ({balance if report.sides[0].accepted or report.imbalances else 'empty'})", "", "", "")
    for column, header in zip(drawn.columns, ("", *(side.side for side in report.sides)), strict=True):
        column.header = header
        column.justify = "right" if header else "left"
    for name, show in _BOOK_ROWS:
        drawn.add_row(name, *(show(side) for side in report.sides))
    return drawn


def _ranges(report: Report) -> list[RenderableType]:
    """What could not be read, and why; nothing where there is nothing of the kind."""
    if not report.ranges:
        return []
    drawn = table("Ranges that could not be read", "side", "partition", "offsets", "written from", "to", "reason")
    for each in report.ranges:
        end = "its end" if each.end is None else f"{each.end:,}"
        drawn.add_row(
            each.side,
            plain(f"{each.topic}/{each.partition}"),
            f"{each.start:,} to {end}",
            "unknown" if each.from_ms is None else show_time(each.from_ms),
            show_time(each.to_ms),
            plain(each.reason),
        )
    more = report.lost_ranges - len(report.ranges)
    return [drawn, Text(f"and {more:,} older ones")] if more else [drawn]


def _lines(report: Report) -> list[Text]:
    lines = [Text(f"imbalance: {plain(line)}", style="red") for line in report.imbalances]
    lines += [Text(f"note: {plain(note)}") for note in report.notes]
    first, *rest = report.reasons
    lines.append(Text(f"{report.conclusion.upper()}: {plain(first)}", style=STYLES[report.conclusion]))
    return lines + [Text(f"    and: {plain(reason)}") for reason in rest]


# -- cells -----------------------------------------------------------------------------------------------------------


def show_lag(lag_ms: int | None) -> str:
    """Return how far a frontier is behind."""
    return "no frontier" if lag_ms is None else f"{lag_ms / 1000:,.1f} s"


def _cut(text: str) -> str:
    return text if len(text) <= _CELL_CHARS_MAX else text[: _CELL_CHARS_MAX - 1] + "…"
