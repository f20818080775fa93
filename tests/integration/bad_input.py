"""Records that are bad input in some way, on either side, and what must be said of each.

Each row of `CASES` says what the two producers published about one order, and which verdicts that must lead to; nothing
else may be said.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cutover_app.core.verdicts import Verdict
from tests.integration.helpers import SHORT, Judged, Position, Sent, named

_CONTRACT: Mapping[str, Any] = {
    "contract": "bad-input",
    "broker": "kafka://localhost:9092",
    "match": {"key": ["id"]},
    "timing": SHORT,
    "rebuild": {
        "id": "no",
        "number": "num",
        "amount": {"from": "amt", "as": "decimal"},
        "status": {"from": "st", "map": {"P": "PAID"}},
        "text": "txt",
    },
    "sensitive": ["$.text"],
    "limits": {"record": "3MiB"},
    "intake": {"partitions": 3},
}
PARTITIONS = (2, 1)
"""Of the legacy and of the rebuilt topic."""
LONELY = ("missing", "legacy", "missing", "", "")
"""What becomes of the message whose partner cannot be read."""


class _Nothing:
    """No record at all, which is not the same as a tombstone."""


NOTHING = _Nothing()
Value = bytes | None | _Nothing
Wanted = tuple[str, str, str, str, str]
"""Outcome, side of the record, kind of finding, path, and a part of the reason."""


@dataclass(frozen=True)
class Case:
    """What was published about one order, and what must be said."""

    legacy: Value
    rebuilt: Value
    wanted: tuple[Wanted, ...] = ()
    key: bytes | None = b"k"
    codec: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)


def old(number: str, *more: str) -> bytes:
    return b"{%s}" % ",".join([f'"no":"{number}"', *more]).encode()


def new(number: str, *more: str) -> bytes:
    return b"{%s}" % ",".join([f'"id":"{number}"', *more]).encode()


def unreadable(reason: str) -> tuple[Wanted, ...]:
    return (("undecodable", "rebuilt", "undecodable", "", reason), LONELY)


def legacy_unreadable(reason: str) -> tuple[Wanted, ...]:
    return (("undecodable", "legacy", "undecodable", "", reason), ("unknown", "rebuilt", "unknown", "", ""))


def deep(levels: int) -> str:
    return '"num":' + "[" * levels + "]" * levels


def long(size: int, letter: str = "x") -> str:
    return f'"txt":"{letter * size}"', f'"text":"{letter * size}"'


TWO_MB, FOUR_MB = long(2_000_000), long(4_000_000)
CASES: dict[str, Case] = {
    "nothing wrong": Case(old("1"), new("1")),
    "not JSON": Case(old("2"), b"<order id='2'/>", unreadable("not JSON")),
    "not JSON, legacy": Case(b"ordId=3", new("3"), legacy_unreadable("not JSON")),
    "not an object": Case(old("4"), b'["4"]', unreadable("not a JSON object: array")),
    "not an object, legacy": Case(b'"5"', new("5"), legacy_unreadable("not a JSON object: string")),
    "duplicate keys": Case(old("6"), b'{"id":"6","id":"6"}', unreadable("twice")),
    "duplicate keys, legacy": Case(b'{"no":"7","num":1,"num":2}', new("7", '"number":2'), legacy_unreadable("twice")),
    "duplicate keys below": Case(old("8", '"num":{"a":1}'), new("8", '"number":{"a":1,"a":1}'), unreadable("twice")),
    "NaN": Case(old("9"), new("9", '"number":NaN'), unreadable("not JSON")),
    "Infinity, legacy": Case(old("10", '"num":Infinity'), new("10"), legacy_unreadable("not JSON")),
    "integers beyond double precision": Case(
        old("11", '"num":18446744073709551616'),
        new("11", '"number":18446744073709551617'),
        (("mismatch", "legacy", "wrong_value", "$.number", ""),),
    ),
    "equal integers beyond double precision": Case(
        old("12", '"num":18446744073709551616'), new("12", '"number":18446744073709551616')
    ),
    "decimals beyond double precision": Case(
        old("13", '"num":12345678.12345678901'),
        new("13", '"number":12345678.12345678902'),
        (("mismatch", "legacy", "wrong_value", "$.number", ""),),
    ),
    "decimals cast from text beyond double precision": Case(
        old("14", '"amt":"12345678.12345678901"'),
        new("14", '"amount":12345678.12345678902'),
        (("mismatch", "legacy", "wrong_value", "$.amount", ""),),
    ),
    "one number in two spellings": Case(old("15", '"num":1.50'), new("15", '"number":15e-1')),
    "lone surrogate": Case(old("16"), new("16", r'"text":"\ud800"'), unreadable("not JSON")),
    "lone surrogate, legacy": Case(old("17", r'"txt":"\udc00"'), new("17"), legacy_unreadable("not JSON")),
    "empty value": Case(old("18"), b"", unreadable("empty value")),
    "empty value, legacy": Case(b"", new("19"), legacy_unreadable("empty value")),
    "tombstone": Case(old("20"), None, unreadable("tombstone")),
    "tombstone, legacy": Case(None, new("21"), legacy_unreadable("tombstone")),
    "null Kafka key": Case(old("22"), new("22"), key=None),
    "match key absent": Case(old("23"), b'{"number":1}', (("undecodable", "rebuilt", "unkeyed", "", "absent"), LONELY)),
    "match key absent, legacy": Case(
        b'{"num":1}',
        new("24"),
        (("undecodable", "legacy", "unkeyed", "", "absent"), ("unknown", "rebuilt", "unknown", "", "")),
    ),
    "match key null": Case(old("25"), b'{"id":null}', (("undecodable", "rebuilt", "unkeyed", "", "null"), LONELY)),
    "2 MB": Case(old("26", TWO_MB[0]), new("26", TWO_MB[1])),
    "2 MB, unequal": Case(
        old("27", TWO_MB[0]), new("27", long(2_000_000, "y")[1]), (("mismatch", "legacy", "wrong_value", "$.text", ""),)
    ),
    "2 MB, alone": Case(old("28", TWO_MB[0]), NOTHING, (LONELY,)),
    "beyond the limit": Case(old("29"), new("29", FOUR_MB[1]), unreadable("oversized")),
    "beyond the limit, legacy": Case(old("30", FOUR_MB[0]), new("30"), legacy_unreadable("oversized")),
    "depth 10,000": Case(old("31"), new("31", '"number":' + "[" * 10_000 + "]" * 10_000), unreadable("")),
    "depth 10,000, legacy": Case(old("32", deep(10_000)), new("32"), legacy_unreadable("")),
    "a value that a cast cannot take": Case(
        old("33", '"amt":"12,50"'),
        new("33", '"amount":12.5'),
        (("mismatch", "legacy", "schema_violation", "$.amount", ""),),
    ),
    "a value that the map does not have": Case(
        old("34", '"st":"Q"'), new("34", '"status":"PAID"'), (("mismatch", "legacy", "unmapped_value", "$.status", ""),)
    ),
    "gzip": Case(old("35", '"num":1'), new("35", '"number":1'), codec="gzip"),
    "snappy": Case(old("36", '"num":1'), new("36", '"number":1'), codec="snappy"),
    "lz4": Case(old("37", '"num":1'), new("37", '"number":1'), codec="lz4"),
    "zstd": Case(old("38", '"num":1'), new("38", '"number":1'), codec="zstd"),
    "not UTF-8": Case(old("39"), b'{"id":"39","text":"\xff"}', unreadable("")),
    "two values": Case(old("40"), new("40") * 2, unreadable("not JSON")),
    "control character in a key": Case(old("41\\u0000"), new("41\\u0000")),
    "escapes spell the same": Case(old("42", '"txt":"\\u00e9"'), new("42", '"text":"é"')),
    "NaN, legacy": Case(old("43", '"num":NaN'), new("43"), legacy_unreadable("not JSON")),
    "not UTF-8, legacy": Case(b'{"no":"44","txt":"\xff"}', new("44"), legacy_unreadable("")),
    "two values, legacy": Case(old("45") * 2, new("45"), legacy_unreadable("not JSON")),
    "duplicate keys below, legacy": Case(
        old("46", '"num":{"a":1,"a":1}'), new("46", '"number":{"a":1}'), legacy_unreadable("twice")
    ),
    "match key null, legacy": Case(
        b'{"no":null}',
        new("47"),
        (("undecodable", "legacy", "unkeyed", "", "null"), ("unknown", "rebuilt", "unknown", "", "")),
    ),
}


def settings(run: str) -> dict[str, Any]:
    """Return the contract of a run."""
    return named(_CONTRACT, run)


def records() -> tuple[list[Sent], list[Sent]]:
    """Return what both producers publish, all of it at one moment: how long it takes to publish makes nothing late."""
    now = int(time.time() * 1000)
    legacy, rebuilt = (
        [
            Sent(value, case.key, number % partitions, case.codec, timestamp=now)
            for number, case in enumerate(CASES.values())
            if not isinstance(value := getattr(case, side), _Nothing)
        ]
        for side, partitions in zip(("legacy", "rebuilt"), PARTITIONS, strict=True)
    )
    return legacy, rebuilt


def assert_said(judged: Judged, name: str) -> None:
    """Of the records of a case exactly what is wanted must have been said."""
    places = _places(judged, name)
    mine = [each for each in judged.problems if _anchor(each)[1] in places]
    said = {
        (each.outcome, _anchor(each)[0], each.findings[0].kind, each.findings[0].path): each.findings[0].note
        for each in mine
    }

    wanted = CASES[name].wanted
    assert {each[:4] for each in wanted} == set(said)
    assert len(wanted) == len(mine)
    for outcome, side, kind, path, reason in wanted:
        assert reason in said[outcome, side, kind, path]


def _places(judged: Judged, name: str) -> set[Position]:
    """Return where the records of a case are."""
    found = set()
    for side, places in (("legacy", judged.legacy), ("rebuilt", judged.rebuilt)):
        there = [key for key, case in CASES.items() if not isinstance(getattr(case, side), _Nothing)]
        if name in there:
            found.add(places[there.index(name)])
    return found


def _anchor(verdict: Verdict) -> tuple[str, Position]:
    side, position = ("legacy", verdict.legacy) if verdict.legacy else ("rebuilt", verdict.rebuilt)
    assert position
    return side, (position.topic, position.partition, position.offset)
