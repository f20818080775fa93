"""Which lines are records, and of what."""

import json
from pathlib import Path

import pytest

from cutover_app.commands.files import LineFile, parse_line
from tests.commands.helpers import envelope


def line(value: object) -> bytes:
    return json.dumps(value).encode()


def test_a_line_of_kcat_is_the_record_that_it_describes() -> None:
    """An envelope gives topic, position, timestamp, key, headers and the value's own bytes."""
    record = parse_line(
        line(envelope("t", 3, 17, '{"a": "é"}', key="k", headers=["h", "1", "n", None])), "file.json", 1
    )
    assert (record.topic, record.partition, record.offset, record.timestamp) == ("t", 3, 17, 1_760_000_000_000)
    assert (record.key, record.value) == (b"k", '{"a": "é"}'.encode())
    assert record.headers == (("h", b"1"), ("n", None))


@pytest.mark.parametrize(("payload", "value"), [(None, None), ("", b"")])
def test_an_envelope_can_say_tombstone_and_empty(payload: str | None, value: bytes | None) -> None:
    """A payload of null is a tombstone, an empty one an empty value."""
    assert parse_line(line(envelope("t", 0, 0, payload)), "f", 1).value == value


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1},
        {"topic": "t", "partition": 0, "offset": 1},
        {"topic": "t", "partition": "0", "offset": 1, "payload": "x"},
        {"topic": "t", "partition": 0, "offset": 1, "payload": {"a": 1}},
        {"topic": "t", "partition": 0, "offset": -1, "payload": "x"},
        {"inside": envelope("t", 0, 0, "x")},
        [envelope("t", 0, 0, "x")],
        "text",
    ],
)
def test_any_other_line_is_a_value(value: object) -> None:
    """What is not wholly an envelope is a message, at its line number, without key or timestamp."""
    record = parse_line(line(value), "orders.ndjson", 12)
    assert record.value == line(value)
    assert (record.topic, record.partition, record.offset) == ("orders.ndjson", 0, 12)
    assert (record.key, record.timestamp, record.headers) == (None, None, ())


@pytest.mark.parametrize("data", [b"no JSON", b"\xff\xfe", b'{"topic":"t","partition":0,"offset":1,"payload":"\xff"}'])
def test_damaged_lines_are_values_too(data: bytes) -> None:
    """A line that is no JSON or no text is kept byte for byte, for the judge to say so."""
    assert parse_line(data, "f", 1).value == data


def test_the_mark_of_an_editor_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    """A byte order mark at the beginning of a file is dropped; anywhere else it is what the producer wrote."""
    path = tmp_path / "orders.ndjson"
    path.write_bytes(b'\xef\xbb\xbf{"a":1}\n\xef\xbb\xbf{"a":2}\n')
    (records,) = LineFile(str(path)).chunks()
    assert [record.value for record in records] == [b'{"a":1}', b'\xef\xbb\xbf{"a":2}']


def test_blank_lines_are_skipped_and_counted(tmp_path: Path) -> None:
    """Lines of white space are no records but keep their numbers; either kind of line end will do."""
    path = tmp_path / "orders.ndjson"
    path.write_bytes(b'{"a":1}\r\n\n  \t\n{"a":2}')
    file = LineFile(str(path))
    records = [record for chunk in file.chunks() for record in chunk]
    assert [(record.offset, record.value) for record in records] == [(1, b'{"a":1}'), (4, b'{"a":2}')]
    assert (file.lines, file.blank) == (4, 2)
    assert records[0].topic == "orders.ndjson"
