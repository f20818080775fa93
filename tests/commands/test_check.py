"""`cutover check`: what it finds in two files, what it prints, and how it ends."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.commands.helpers import Runner, envelope, legacy, rebuilt, write_contract, write_lines


@pytest.fixture
def files(tmp_path: Path) -> Any:
    """Return a function that writes both files and the contract, and returns the arguments of `check`."""

    def write(expected: list[Any], actual: list[Any], **settings: str) -> list[object]:
        return [
            "check",
            "--contract",
            write_contract(tmp_path, **settings),
            "--legacy",
            write_lines(tmp_path / "legacy.ndjson", *expected),
            "--rebuilt",
            write_lines(tmp_path / "rebuilt.ndjson", *actual),
        ]

    return write


def families(report: dict[str, Any]) -> dict[tuple[str, str], int]:
    return {(each["kind"], each["path"]): each["open"] for each in report["families"]}


def test_equal_files_are_fine(cutover: Runner, files: Any) -> None:
    """Messages that agree, in whatever order, with an ignored field: exit 0, and it says how many pairs."""
    result = cutover(*files([legacy(1), legacy(2)], [rebuilt(2, trace="t"), rebuilt(1)]))
    assert result.code == 0
    assert "FINE: 2 pairs agree" in result.out
    assert not result.err


def test_every_kind_is_found(cutover: Runner, files: Any) -> None:
    """Each planted fault is found with its kind and path, nothing else is, and the books balance: exit 1."""
    absent = rebuilt(3)
    del absent["total"]
    expected = [legacy(n) for n in range(1, 8)] + [legacy(8, st="?"), legacy(9), legacy(10), {"no": "key"}, "no JSON"]
    actual = [
        rebuilt(1),
        rebuilt(2, total=12.49),
        absent,
        rebuilt(4, extra=1),
        rebuilt(5, status=5),
        rebuilt(6),
        rebuilt(6),
        rebuilt(8),
        rebuilt(9, order_id="x"),
        rebuilt(10, phone="010-9999"),
    ]
    result = cutover(*files(expected, actual), "--output", "json")
    report = result.json()
    assert cutover("--json", *files(expected, actual)).json() == report, "Faust's own option means the same"
    assert result.code == report["exit"] == 1
    assert report["conclusion"] == "problems"
    assert families(report) == {
        ("wrong_value", "$.total"): 1,
        ("missing_field", "$.total"): 1,
        ("unexpected_field", "$.extra"): 1,
        ("wrong_type", "$.status"): 1,
        ("duplicate", ""): 1,
        ("missing", ""): 2,
        ("unmapped_value", "$.status"): 1,
        ("unknown", ""): 1,
        ("wrong_value", "$.phone"): 1,
        ("unkeyed", ""): 1,
        ("undecodable", ""): 1,
    }
    assert report["balanced"]
    assert report["outcomes"] == {"mismatch": 6, "missing": 2, "unknown": 1, "duplicate": 1, "undecodable": 2}
    assert report["explained"] == 1
    assert [side["accepted"] for side in report["sides"]] == [12, 10]


def test_sensitive_values_are_not_printed(cutover: Runner, files: Any) -> None:
    """A value at a sensitive path and one of an unexpected field are in no form of the output."""
    arguments = files([legacy(1, tel="SECRET-A")], [rebuilt(1, phone="SECRET-B", extra="SECRET-C")])
    for more in ([], ["--output", "json"], ["--verdicts"]):
        result = cutover(*arguments, *more)
        assert result.code == 1
        assert "SECRET" not in result.out + result.err


def test_no_pair_is_cannot_tell(cutover: Runner, files: Any) -> None:
    """Two empty files, one empty file, and files that do not fit together: exit 3 each, never 0."""
    for expected, actual in (([], []), ([legacy(1)], []), ([], [rebuilt(1)]), ([legacy(1)], [rebuilt(2)])):
        result = cutover(*files(expected, actual))
        assert result.code == 3
        assert "CANNOT TELL: not a single pair" in result.out


def test_envelopes_keep_their_positions(cutover: Runner, files: Any) -> None:
    """Records as kcat writes them are shown at their own topic, partition and offset."""
    result = cutover(
        *files(
            [envelope("shop.orders", 2, 40, legacy(1)), envelope("shop.orders", 0, 7, legacy(2))],
            [envelope("orders.v2", 1, 99, rebuilt(1, total=1)), envelope("orders.v2", 1, 105, rebuilt(2))],
        ),
        "--output",
        "json",
    )
    [family] = result.json()["families"]
    [sample] = family["samples"]
    assert (sample["legacy"], sample["rebuilt"]) == ("shop.orders/2@40", "orders.v2/1@99")
    assert family["first_ms"] == 1_760_000_000_000
    legacy_side, rebuilt_side = result.json()["sides"]
    assert (legacy_side["partitions"], legacy_side["vouched"]) == (3, 3)
    assert (rebuilt_side["source_records"], rebuilt_side["gaps"]) == (2, 5)


def test_a_dump_that_goes_back_is_doubted(cutover: Runner, files: Any) -> None:
    """Records that go back in offset are not judged, and nobody is told that all is fine."""
    again = [envelope("t", 0, 5, legacy(1)), envelope("t", 0, 4, legacy(2))]
    result = cutover(*files(again, [rebuilt(1)]))
    assert result.code == 3
    assert "1 legacy records go back in offset" in result.out


def test_records_of_one_key_are_paired_as_the_worker_pairs_them(cutover: Runner, files: Any) -> None:
    """Several messages of one key, in another order on the other side: equal ones meet, and order is judged."""
    expected = [legacy(1, amount=amount) for amount in ("1", "2", "3")]
    actual = [rebuilt(1, total=total) for total in (3, 9, 1)]
    result = cutover(*files(expected, actual), "--output", "json")
    disorder, family = sorted(result.json()["families"], key=lambda each: each["kind"])
    assert (disorder["kind"], disorder["open"]) == ("out_of_order", 2)
    assert (family["kind"], family["path"], family["open"]) == ("wrong_value", "$.total", 1)
    sample = family["samples"][0]
    assert (sample["expected"], sample["actual"]) == (2, 9)


def test_verdicts_are_lines_of_json(cutover: Runner, files: Any) -> None:
    """--verdicts prints one line per verdict, by position, and moves the report to standard error."""
    result = cutover(*files([legacy(1), legacy(2), legacy(3)], [rebuilt(1, total=1), rebuilt(3)]), "--verdicts")
    verdicts = [json.loads(line) for line in result.out.splitlines()]
    assert [(each["outcome"], each["key"]) for each in verdicts] == [("mismatch", ["o1"]), ("missing", ["o2"])]
    assert verdicts[0]["v"] == 1
    assert "PROBLEMS: 2 open problems" in result.err


def test_standard_input_is_a_file(cutover: Runner, files: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`-` reads standard input, for one of the sides."""
    arguments = files([legacy(1)], [])
    arguments[-1] = "-"
    lines = io.TextIOWrapper(io.BytesIO(json.dumps(rebuilt(1)).encode()))
    monkeypatch.setattr(sys, "stdin", lines)
    assert cutover(*arguments).code == 0
    assert cutover("check", "--legacy", "-", "--rebuilt", "-").code == 2


def test_a_closed_standard_input_is_one_line(cutover: Runner, files: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a standard input, `-` is a file that cannot be read."""
    arguments = files([legacy(1)], [])
    arguments[-1] = "-"
    monkeypatch.setattr(sys, "stdin", None)
    result = cutover(*arguments)
    assert (result.code, result.err) == (4, "cutover: standard input: closed\n")


def test_what_cannot_be_used_is_one_line(cutover: Runner, files: Any, tmp_path: Path) -> None:
    """A missing file, a missing contract and a bad one are exit 2, without a traceback."""
    arguments = files([], [])
    for wrong in ({4: tmp_path / "none"}, {2: tmp_path / "none.yaml"}):
        result = cutover(*[wrong.get(place, each) for place, each in enumerate(arguments)])
        assert result.code == 2
        assert "none" in result.err
        assert "Traceback" not in result.err
    bad = tmp_path / "contract.yaml"
    bad.write_text(bad.read_text() + "misspelt: 1\n")
    result = cutover(*arguments)
    assert result.code == 2
    assert result.err.startswith("cutover: ")
    assert "misspelt" in result.err
    assert len(result.err.splitlines()) == 1


def test_large_files_are_read_in_chunks(cutover: Runner, files: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chunks in which files are read, and the checkpoints between them, change nothing."""
    numbers = range(300)
    arguments = files([legacy(n) for n in numbers], [rebuilt(n, total=n % 100) for n in reversed(numbers)])
    whole = cutover(*arguments, "--output", "json")
    monkeypatch.setattr("cutover_app.commands.files.CHUNK_BYTES", 700)
    monkeypatch.setattr("cutover_app.commands.offline.CHECKPOINT_ENTRIES", 50)
    monkeypatch.setattr("cutover_app.commands.offline.FRAME_ENTRIES", 3)
    pieces = cutover(*arguments, "--output", "json")
    assert whole.code == pieces.code == 1
    assert pieces.json() == whole.json()
