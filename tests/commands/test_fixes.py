"""Marks of what is fixed: which family is meant, what is older than a fix, and what the report makes of it."""

import io
import json
from typing import Any

import pytest

from cutover_app.commands.fixed import lines_of
from cutover_app.commands.fixes import (
    FixError,
    Mark,
    choose_family,
    encode_mark,
    is_past,
    mark_key,
    parse_time,
    read_mark,
)
from cutover_app.commands.fold import Ages, time_of
from cutover_app.commands.render import print_report
from cutover_app.commands.summary import summarise
from cutover_app.core.state import FamilyRow
from cutover_app.core.verdicts import Finding, Position
from tests.commands.test_summary import books, evidence, fold, verdict

TOTAL = ("wrong_value", "$.total")
NOTE = ("wrong_value", "$.note")
MISSING = ("missing", "")
KNOWN = [TOTAL, NOTE, MISSING, ("missing_field", "$.note")]

NOW = 1_760_000_000_000


def mark(from_ms: int = 100, **more: Any) -> Mark:
    return Mark(from_ms=from_ms, at=from_ms, **more)


def at(number: int, legacy_ms: int, rebuilt_ms: int | None = None, *families: tuple[str, str], **more: Any) -> Any:
    """Return a verdict about records of these times."""
    findings = tuple(Finding(*family) for family in families or (TOTAL,))
    rebuilt = {} if rebuilt_ms is None else {"rebuilt": Position("orders.v2", 0, number, rebuilt_ms)}
    return verdict(number, legacy=Position("shop.orders", 0, number, legacy_ms), findings=findings, **rebuilt, **more)


def seen(*verdicts: Any, marks: dict[Any, Mark], read_since: int | None = 5) -> Any:
    rows = [FamilyRow(*TOTAL, 9, len(verdicts), 5, 500, [])]
    return summarise(evidence(books(), said=fold(*verdicts), families=rows, marks=marks, read_since=read_since))


@pytest.mark.parametrize(
    ("words", "family"),
    [
        (["wrong_value", "$.total"], TOTAL),
        (["wrong_value $.total"], TOTAL),
        (["wrong_value", "$.t"], TOTAL),
        (["$.total"], TOTAL),
        (["missing"], MISSING),
        (["missing_"], ("missing_field", "$.note")),
        (["miss"], "several families: `missing`, `missing_field $.note`"),
        (["wrong_value"], "several families: `wrong_value $.note`, `wrong_value $.total`"),
        (["$.note"], "several families"),
        (["nothing"], "no family 'nothing' in this run; there are: `missing`, `missing_field $.note`, `wrong_value"),
    ],
)
def test_which_family_is_meant(words: list[str], family: Any) -> None:
    """A whole family is itself, whatever else begins like it; a beginning counts if it is one family's."""
    if isinstance(family, str):
        with pytest.raises(FixError, match=family.replace("$", r"\$").replace("`", "`")):
            choose_family(words, KNOWN)
    else:
        assert choose_family(words, KNOWN) == family


def test_without_families_there_are_none() -> None:
    """A run that has found nothing says so."""
    with pytest.raises(FixError, match="there are: none"):
        choose_family(["missing"], [])


def test_a_mark_survives() -> None:
    """What is written is read; a tombstone takes it back; anything else is an error, not a mark."""
    written = mark(5, reason="release 7")

    assert read_mark(mark_key(TOTAL), encode_mark(written)) == (TOTAL, written)
    assert json.loads(encode_mark(written)) == {"v": 1, "from_ms": 5, "at": 5, "reason": "release 7"}
    assert read_mark(mark_key(MISSING), None) == (MISSING, None)
    for key, value in ((b"x", b"{}"), (mark_key(TOTAL), b"{}"), (mark_key(TOTAL), b'{"v":2,"from_ms":1,"at":1}')):
        with pytest.raises(ValueError, match=r"."):
            read_mark(key, value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-10-09T08:53:20Z", NOW),
        ("2025-10-09 08:53:20Z", NOW),
        ("2025-10-09T17:53:20+09:00", NOW),
        ("2025-10-09T08:53:20", "with its zone"),
        ("yesterday", "with its zone"),
        ("2025-10-09T08:53:21Z", "has not come yet"),
    ],
)
def test_times(text: str, expected: Any) -> None:
    """A time needs its zone, and none lies ahead: until then problems would be called old."""
    if isinstance(expected, str):
        with pytest.raises(FixError, match=expected):
            parse_time(text, NOW)
    else:
        assert parse_time(text, NOW) == expected


@pytest.mark.parametrize(
    ("families", "time_ms", "past"),
    [
        ([TOTAL], 99, True),
        ([TOTAL], 100, False),
        ([TOTAL], -1, False),
        ([TOTAL, NOTE], 99, False),
        ([TOTAL, MISSING], 49, True),
        ([TOTAL, MISSING], 50, False),
        ([], 1, False),
    ],
)
def test_what_is_older_than_a_fix(families: list[Any], time_ms: int, past: bool) -> None:
    """All families must be fixed, and the records older than each mark; without a time nothing is."""
    assert is_past(families, time_ms, {TOTAL: mark(100), MISSING: mark(50)}) is past


def test_the_later_record_counts() -> None:
    """Of a pair the later time counts; a record without a time makes the whole without one."""
    assert time_of(at(1, 10, 30)) == 30
    assert time_of(at(1, 40, 30)) == 40
    assert time_of(at(1, 10)) == 10
    assert time_of(at(1, 10, -1)) == -1


def test_the_report_closes_what_is_fixed() -> None:
    """All of before: nothing is open, what there was is said, and it is fine if something was read since."""
    report = seen(at(1, 10, 20), at(2, 50), marks={TOTAL: mark()})

    assert (report.conclusion, report.past, report.outcomes) == ("fine", 2, {"mismatch": 2})
    assert "2 problems are older than the fixes" in report.reasons[0]
    [family] = report.families
    assert (family.open, family.before, family.fixed_ms) == (0, 2, 100)


@pytest.mark.parametrize("read_since", [0, None])
def test_c9_a_fix_that_nobody_has_seen_is_no_all_clear(read_since: int | None) -> None:
    """Before anything that was published since has been read, nobody can tell whether the fix is one."""
    report = seen(at(1, 10, 20), marks={TOTAL: mark(NOW)}, read_since=read_since)

    assert report.conclusion == "cannot tell"
    assert report.reasons[0].startswith(
        "nothing that the rebuilt producer published since the fix (2025-10-09 08:53:20Z)"
    )


def test_c9_what_has_been_read_since_a_fix_has_to_be_judged() -> None:
    """A record that was read may not have come to its judge: that one says of when the last is that it has seen."""
    assert seen(at(1, 10, 20), marks={TOTAL: mark(NOW)}).conclusion == "fine"
    report = seen(at(1, 10, 20), marks={TOTAL: mark(NOW + 1)})

    assert report.conclusion == "cannot tell"
    assert "has been judged: ask again" in report.reasons[0]


def test_the_report_opens_it_again() -> None:
    """One seen since is open, with the count since; so is one that has a family more."""
    report = seen(at(1, 10, 20), at(2, 10, 100), at(3, 1, 2, TOTAL, NOTE), marks={TOTAL: mark(reason="release 7")})

    assert report.conclusion == "problems"
    assert report.reasons[0] == "2 open problems: 2 mismatch"
    [family] = report.families
    assert (family.open, family.before, family.reason) == (1, 2, "release 7")
    stream = io.StringIO()
    print_report(report, "table", stream)
    line = "wrong_value $.total: fixed since 1970-01-01 00:00:00Z, 2 before; OPEN AGAIN: 1 since (release 7)"
    assert line in stream.getvalue().splitlines()


def test_no_fix_removes_a_doubt() -> None:
    """What is indeterminate stays so: the mark says something about the producer, nothing about the evidence."""
    report = seen(at(1, 10, 20, outcome="indeterminate"), marks={TOTAL: mark()})

    assert (report.conclusion, report.past) == ("cannot tell", 0)
    assert "1 records are indeterminate" in report.reasons[0]


def test_an_emptied_topic_is_no_fix() -> None:
    """Open findings without a verdict stay a contradiction, marked or not."""
    assert seen(marks={TOTAL: mark()}).conclusion == "fine"  # no open findings: the row says 0
    rows = [FamilyRow(*TOTAL, 9, 3, 5, 50, [])]
    report = summarise(evidence(books(), families=rows, marks={TOTAL: mark()}, read_since=5))
    assert report.conclusion == "cannot tell"


def test_without_marks_nothing_changes() -> None:
    """A report without marks has no word about fixes."""
    stream = io.StringIO()
    print_report(seen(at(1, 10, 20), marks={}, read_since=None), "table", stream)

    assert "fix" not in stream.getvalue()


def test_marks_as_lines() -> None:
    """What has been seen since stands first."""
    lines = lines_of({TOTAL: mark(), MISSING: mark(50)}, {TOTAL: Ages(3, 0), MISSING: Ages(1, 2)})

    assert [(line.kind, line.before, line.since) for line in lines] == [("missing", 1, 2), ("wrong_value", 3, 0)]
