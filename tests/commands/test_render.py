"""What reports look like, and that nothing which a message contains can change that."""

import io
import json
from typing import Any

import msgspec

from cutover_app.commands.output import plain, shown, write_json
from cutover_app.commands.render import FAMILIES_SHOWN, exit_code, print_report, report_json
from cutover_app.commands.summary import Report, summarise
from cutover_app.core.frames import LEGACY, Edge, Source
from cutover_app.core.standing import FAR_PAST, UNKNOWN_END
from cutover_app.core.state import FamilyRow
from cutover_app.core.verdicts import Finding
from tests.commands.test_summary import books, evidence, fold, verdict

FAMILY = FamilyRow("wrong_value", "$.total", 7, 1, 1_760_000_000_000, 1_760_000_060_000, [])


def report(**finding: Any) -> Report:
    said = verdict(1, findings=(Finding("wrong_value", "$.total", **{"expected": "12.5", "actual": 12} | finding),))
    return summarise(evidence(books(), families=[FAMILY], said=fold(said)))


def text(made: Report, form: str = "table") -> str:
    stream = io.StringIO()
    print_report(made, form, stream)
    return stream.getvalue()


def test_a_report_as_tables() -> None:
    """Counts, families, samples, books, and the conclusion as the last line."""
    lines = text(report()).splitlines()
    assert lines[0] == "contract orders, run r1: 5 pairs; verdicts: 1 mismatch"
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert ["1", "7", "wrong_value", "$.total", "2025-10-09 08:53:20Z", "2025-10-09 08:54:20Z"] in cells
    assert ["wrong_value", "$.total", "[1]", '"12.5"', "12", "shop.orders/0@1", ""] in cells
    assert ["= paired", "5", "5"] in cells
    assert ["frontier behind by", "2.0 s", "2.0 s"] in cells
    assert lines[-1] == "PROBLEMS: 1 open problems: 1 mismatch"


def test_of_many_families_the_first_are_shown() -> None:
    """A wrong map brings a family per name: the tables show those with most open findings, and where the others are."""
    rows = [FamilyRow("wrong_value", f"$.{place}", 7, 1 + place, 5, 5, []) for place in range(FAMILIES_SHOWN + 20)]
    shown = text(summarise(evidence(books(), families=rows)))
    assert "$.69" in shown
    assert "$.19" not in shown
    assert "and 20 families more: `--output json` shows all" in shown


def test_a_report_as_json() -> None:
    """The JSON form is versioned, has the exit code, and every number that the tables have."""
    made = report()
    document = json.loads(text(made, "json"))
    assert document == json.loads(msgspec.json.encode(report_json(made)))
    assert (document["v"], document["exit"], document["conclusion"]) == (1, 1, "problems")
    assert document["families"][0]["samples"][0]["actual"] == 12
    assert [side["side"] for side in document["sides"]] == ["legacy", "rebuilt"]


def test_lost_ranges_are_listed() -> None:
    """What could not be read is shown with its bounds, and what is not known of them in words."""
    row, source = books(), Source(LEGACY, "t", "id", 0)
    row.edges.append(Edge(source, 0, 1200, FAR_PAST, 1_760_000_000_000, "start"))
    row.edges.append(Edge(source, 1200, UNKNOWN_END, 1_760_000_000_000, 1_760_000_060_000, "created anew"))
    made = summarise(evidence(row))
    lines = text(made).splitlines()
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert ["legacy", "t/0", "0 to 1,200", "unknown", "2025-10-09 08:53:20Z", "start"] in cells
    young = ["legacy", "t/0", "1,200 to its end", "2025-10-09 08:53:20Z", "2025-10-09 08:54:20Z", "created anew"]
    assert young in cells
    assert [each["end"] for each in json.loads(text(made, "json"))["ranges"]] == [None, 1200]


def test_absent_values_are_absent() -> None:
    """A value that a finding does not have is no cell text, and no field of the JSON form."""
    made = report(actual=msgspec.UNSET)
    assert "actual" not in report_json(made)["families"][0]["samples"][0]
    assert "UNSET" not in text(made)


def test_conclusions_have_exit_codes() -> None:
    """fine, problems and cannot tell are 0, 1 and 3."""
    assert exit_code(summarise(evidence(books()))) == 0
    assert exit_code(report()) == 1
    assert exit_code(summarise(evidence())) == 3


def test_content_cannot_steer_the_terminal() -> None:
    """Escape sequences and markup in a message are shown as they are written, and do nothing."""
    drawn = text(report(actual="\x1b[31m[bold]x[/bold]\u202e", note="\x07bell"))
    assert "\x1b" not in drawn
    assert "\x07" not in drawn
    assert "\u202e" not in drawn
    assert "[bold]x[/bold]" in drawn


def test_every_character_has_one_line() -> None:
    """What is not printable becomes an escape; other scripts stay readable."""
    assert plain("김\n\x00é") == "김\\n\\x00é"
    assert shown({"masked": "string", "len": 3}) == '{"masked":"string","len":3}'
    stream = io.StringIO()
    write_json({"a": "김"}, stream)
    assert json.loads(stream.getvalue()) == {"a": "김"}
