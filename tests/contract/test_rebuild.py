"""Rebuild mappings: what each rule makes of a legacy message, and what it leaves a hole for."""

import time
from typing import Any

import pytest

from cutover_app.core.frames import MESSAGE, REBUILD_FAILED
from tests.contract.helpers import compiled, holes, rebuilt, record, shown


def made(rule: str, legacy: dict[str, Any]) -> Any:
    """Return what a rule for the field `x` makes; "absent" where it makes nothing."""
    text = f"rebuild:\n  id: id\n  x: {rule}\n"
    return rebuilt(text, {"id": 1, **legacy}).get("x", "absent")


def hole(rule: str, legacy: dict[str, Any]) -> tuple[str, str]:
    """Return kind and note of the one hole that a rule for the field `x` leaves."""
    text = f"rebuild:\n  id: id\n  x: {rule}\n"
    ((path, kind, note),) = holes(text, {"id": 1, **legacy})
    assert path[0] == "x"
    return kind, note


@pytest.mark.parametrize(
    ("rule", "legacy", "expected"),
    [
        ("a", {"a": 1}, 1),
        ("a", {}, "absent"),
        ("a", {"a": None}, None),
        ("a.b", {"a": {"b": 2}}, 2),
        ("a.b", {"a": {}}, "absent"),
        ("a.b", {"a": 1}, "absent"),
        ("a.b", {"a": None}, "absent"),
        ("a[1].b", {"a": [{}, {"b": 3}]}, 3),
        ("a[1].b", {"a": [{}]}, "absent"),
        ("'[0]'", {"a": 1}, "absent"),
        ("'$[\"a.b\"]'", {"a.b": 4}, 4),
        ("'\"a b\".c'", {"a b": {"c": 5}}, 5),
        ("{from: a}", {"a": {"deep": [1]}}, {"deep": [1]}),
        ("{const: 7}", {}, 7),
        ("{const: null}", {}, None),
        ("{const: 1.50}", {}, 1.5),
        ("{const: {k: [1, null]}}", {}, {"k": [1, None]}),
        ("{from: a, default: 9}", {}, 9),
        ("{from: a, default: null}", {}, None),
        ("{from: a, default: 9}", {"a": None}, None),
        ("{from: a, map: {P: PAID}, default: NONE}", {}, "NONE"),
        ("{from: a, map: {P: PAID}}", {"a": "P"}, "PAID"),
        ("{from: a, map: {P: PAID}}", {"a": None}, None),
        ("{from: a, map: {~: none}}", {"a": None}, "none"),
        ("{from: a, map: {1: one, '1': text, false: x}}", {"a": 1}, "one"),
        ("{from: a, map: {1: one, '1': text}}", {"a": "1"}, "text"),
        ("{from: a, map: {1: one}}", {"a": 1.0}, "one"),
        ("{from: a, map: {Y: true, N: false}}", {"a": "N"}, False),
        ("{from: a, map: {P: null}}", {"a": "P"}, None),
        ("{from: a, trim: true, upper: true, map: {null: NONE}}", {"a": None}, "NONE"),
        ("{from: a, replace: {x: y}, map: {null: '7'}, as: integer}", {"a": None}, 7),
        ("{from: a, trim: true, map: {null: null, A: b}, as: string}", {"a": None}, None),
        ("{from: a, map: {P: PAID}, unmapped: keep}", {"a": "X"}, "X"),
        ("{from: a, map: {P: PAID}, unmapped: 'null'}", {"a": "X"}, None),
        ("{from: a, map: {P: PAID}, otherwise: OTHER}", {"a": "X"}, "OTHER"),
        ("{from: a, trim: true, lower: true, map: {p: PAID}}", {"a": " P "}, "PAID"),
        ("{from: a, replace: {'-': '', ' ': '_'}}", {"a": "1-2 3"}, "12_3"),
        ("{from: a, upper: true}", {"a": "ß"}, "SS"),
        ("{concat: [a, {const: '/'}, b]}", {"a": "x", "b": 5}, "x/5"),
        ("{concat: [a, b], sep: '-'}", {"a": "x", "b": True}, "x-true"),
        ("{concat: [a, b]}", {"a": "x"}, "absent"),
        ("{concat: [a, b]}", {"a": "x", "b": None}, None),
        ("{concat: [a, {from: b, default: ''}], upper: true}", {"a": "x"}, "X"),
        ("{from: a, when: {path: b, equals: 1}}", {"a": 5, "b": 1.0}, 5),
        ("{from: a, when: {path: b, equals: 1}}", {"a": 5, "b": True}, "absent"),
        ("{from: a, when: {path: b, equals: null}}", {"a": 5}, "absent"),
        ("{from: a, when: {path: b, not_equals: 1}}", {"a": 5}, 5),
        ("{from: a, when: {path: b, in: [x, y]}}", {"a": 5, "b": "y"}, 5),
        ("{from: a, when: {path: b, in: [x, y]}}", {"a": 5, "b": ["y"]}, "absent"),
        ("{from: a, when: {path: b, not_in: [x]}}", {"a": 5, "b": "x"}, "absent"),
        ("{from: a, when: {path: b, present: true}}", {"a": 5, "b": None}, "absent"),
        ("{from: a, when: {path: b, present: false}}", {"a": 5, "b": None}, 5),
        ("{from: a, default: 1, when: {path: b, present: true}}", {}, "absent"),
        (
            "{from: a, when: {all: [{path: a, equals: 5}, {any: [{path: b, equals: 1}]}]}}",
            {"a": 5, "b": 1},
            5,
        ),
    ],
)
def test_values(rule: str, legacy: dict[str, Any], expected: Any) -> None:
    """Each kind of rule makes what the reference says."""
    result = made(rule, legacy)
    assert (type(result), result) == (type(expected), expected)


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        ("as: string", 5, "5"),
        ("as: string", 12.50, "12.5"),
        ("as: string", 1e-7, "0.0000001"),
        ("as: string", True, "true"),
        ("as: string", "x", "x"),
        ("as: string, scale: 2", 12.5, "12.50"),
        ("as: string, scale: 2", "7", "7.00"),
        ("as: string, scale: 1, rounding: half_up", 0.25, "0.3"),
        ("as: string, scale: 1, rounding: half_even", 0.25, "0.2"),
        ("as: string, scale: 1, rounding: down", -0.29, "-0.2"),
        ("as: string, scale: 0, rounding: down", -0.2, "0"),
        ("as: integer", "0042", 42),
        ("as: integer", "-1", -1),
        ("as: integer", "+7", 7),
        ("as: integer", "12.0", 12),
        ("as: integer", 18446744073709551617, 18446744073709551617),
        ("as: integer, rounding: half_up", 2.5, 3),
        ("as: decimal", "59.80", 59.8),
        ("as: decimal", "1e3", 1000),
        ("as: decimal, scale: 1, rounding: half_up", "0.05", 0.1),
        ("as: boolean", "Y", True),
        ("as: boolean", "false", False),
        ("as: boolean", 0, False),
        ("as: boolean", True, True),
    ],
)
def test_casts(rule: str, value: Any, expected: Any) -> None:
    """Each cast takes what can be taken exactly."""
    result = made(f"{{from: a, {rule}}}", {"a": value})
    assert (type(result), result) == (type(expected), expected)
    assert made(f"{{from: a, {rule}}}", {"a": None}) is None
    assert made(f"{{from: a, {rule}}}", {}) == "absent"


@pytest.mark.parametrize(
    ("rule", "value", "note"),
    [
        ("as: string", [1], "legacy value (array, not shown): expected a string, number or boolean"),
        ("as: integer", "x", 'legacy value "x": expected a number'),
        ("as: integer", 1.5, "legacy value 1.5: expected an integer"),
        ("as: integer", True, "legacy value true: expected a number"),
        ("as: integer", "١٢", 'legacy value "١٢": expected a number'),
        ("as: integer", " 1", 'legacy value " 1": expected a number'),
        ("as: integer", "1_0", 'legacy value "1_0": expected a number'),
        ("as: integer", "1e9999", 'legacy value "1e9999": expected fewer digits'),
        ("as: decimal", "NaN", 'legacy value "NaN": expected a number'),
        ("as: decimal, scale: 1", 1.25, "legacy value 1.25: expected at most 1 decimals"),
        ("as: boolean", "maybe", 'legacy value "maybe": expected true or false'),
        ("as: boolean", 2, "legacy value 2: expected true or false"),
        ("as: date", "2026-02-30", 'legacy value "2026-02-30": expected a time of ISO 8601'),
        ("as: datetime", "2026-01-31", 'legacy value "2026-01-31": expected an offset'),
        ("as: epoch_ms", {}, "legacy value (object, not shown): expected a string or a number"),
        ("trim: true", 5, "legacy value 5: expected a string"),
    ],
)
def test_failed_casts_leave_a_hole(rule: str, value: Any, note: str) -> None:
    """A value that cannot take the form is a schema_violation that says what was expected."""
    kind, said = hole(f"{{from: a, {rule}}}", {"a": value})
    assert kind == "schema_violation"
    assert said.startswith(note)


def test_unmapped_values_leave_a_hole() -> None:
    """A value that the table does not have is named in the finding."""
    rule = "{from: a, map: {P: PAID, 1: ONE}}"
    assert hole(rule, {"a": "X"}) == ("unmapped_value", 'legacy value "X" has no entry in the table')
    assert hole(rule, {"a": True})[0] == "unmapped_value"
    assert hole(rule, {"a": [1]})[0] == "unmapped_value"


def test_holes_do_not_show_sensitive_values() -> None:
    """Where the target is sensitive, the legacy value is not shown either."""
    rest = "rebuild: {id: id, c.x: {from: a, map: {P: Q}}}\nsensitive: [$.c]\n"
    ((_, kind, note),) = holes(rest, {"id": 1, "a": "canary"})
    assert kind == "unmapped_value"
    assert "canary" not in note


SEOUL = "zone: Asia/Seoul"
BERLIN = "zone: Europe/Berlin"
DIGITS = 'format: "%Y%m%d%H%M%S"'


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        (f"as: datetime, {DIGITS}, {SEOUL}", "20260131120000", "2026-01-31T12:00:00+09:00"),
        (f"as: datetime, {DIGITS}, {SEOUL}", 20260131120000, "2026-01-31T12:00:00+09:00"),
        (f"as: datetime, {DIGITS}, {SEOUL}, to: UTC", "20260131120000", "2026-01-31T03:00:00+00:00"),
        (
            f"as: datetime, {DIGITS}, {SEOUL}, output: iso_utc",
            "20260131120000",
            "2026-01-31T03:00:00Z",
        ),
        (f"as: datetime, {DIGITS}, output: iso_local", "20260131120000", "2026-01-31T12:00:00"),
        (f"as: datetime, {DIGITS}, {SEOUL}, fraction: 3", "20260131120000", "2026-01-31T12:00:00.000+09:00"),
        # The clock goes forward: 02:30 does not exist, and is the instant that 03:30 is.
        (f"as: datetime, {DIGITS}, {BERLIN}", "20260329023000", "2026-03-29T03:30:00+02:00"),
        # The clock goes back: 02:30 occurs twice, and the first is meant.
        (f"as: datetime, {DIGITS}, {BERLIN}", "20261025023000", "2026-10-25T02:30:00+02:00"),
        (f"as: datetime, {BERLIN}", "2026-07-01T10:00:00", "2026-07-01T10:00:00+02:00"),
        (f"as: datetime, {BERLIN}", "2026-07-01T10:00:00Z", "2026-07-01T10:00:00+00:00"),
        ("as: datetime, to: Asia/Seoul", "2026-07-01T10:00:00.5Z", "2026-07-01T19:00:00.500+09:00"),
        ("as: datetime, output: iso_utc", "2026-07-01T10:00:00.123456+01:00", "2026-07-01T09:00:00.123456Z"),
        ("as: datetime, format: epoch_ms, output: iso_utc", 1760000000042, "2025-10-09T08:53:20.042Z"),
        ("as: datetime, format: epoch_s, to: Asia/Seoul", "1760000000", "2025-10-09T17:53:20+09:00"),
        ("as: datetime, format: '%d.%m.%Y %H:%M', zone: UTC", "31.01.2026 12:30", "2026-01-31T12:30:00+00:00"),
        ("as: datetime, format: '%d %b %Y', zone: UTC", "31 Jan 2026", "2026-01-31T00:00:00+00:00"),
        (f"as: datetime, {DIGITS}, {SEOUL}, output: '%d/%m/%Y %H:%M'", "20260131120000", "31/01/2026 12:00"),
        ("as: date", "2026-01-31", "2026-01-31"),
        ("as: date, format: '%Y%m%d'", "20260131", "2026-01-31"),
        (f"as: date, {DIGITS}, {SEOUL}, to: UTC", "20260131083000", "2026-01-30"),
        ("as: time", "2026-01-31T12:30:00", "12:30:00"),
        (f"as: epoch_ms, {DIGITS}, {SEOUL}", "20260131120000", 1769828400000),
        ("as: epoch_s, format: epoch_ms", 1760000000999, 1760000000),
        ("as: epoch_ms", "1970-01-01T00:00:01+00:00", 1000),
    ],
)
def test_dates_and_times(rule: str, value: Any, expected: Any) -> None:
    """Texts and numbers become times in the zone and form that are asked for."""
    assert made(f"{{from: a, {rule}}}", {"a": value}) == expected


@pytest.mark.parametrize(
    "value",
    ["2026013112000", "20260131120060", "20260231120000", "2026013112000x", " 0260131120000", ""],
)
def test_formats_of_digits_are_exact(value: str) -> None:
    """A format of digits takes as many digits as it says, of a time that exists, and nothing else."""
    kind, _ = hole(f"{{from: a, as: datetime, {DIGITS}, {SEOUL}}}", {"a": value})
    assert kind == "schema_violation"


def test_finer_than_microseconds_is_not_cut_in_silence() -> None:
    """Digits of a second that cannot be kept leave a hole, unless they are zeros."""
    rule = "{from: a, as: datetime, to: UTC}"
    assert made(rule, {"a": "2026-01-31T12:00:00.123000000Z"}) == "2026-01-31T12:00:00.123+00:00"
    assert hole(rule, {"a": "2026-01-31T12:00:00.123456789Z"})[0] == "schema_violation"


EACH = """rebuild:
  id: id
  lines:
    each: items
    fields: {sku: s, price.net: {from: p, as: decimal}, order: $.id}
"""


def test_each_makes_an_object_of_every_item() -> None:
    """Paths inside `each` start at the item, with `$` at the message; null items stay null."""
    legacy = {"id": 7, "items": [{"s": "A", "p": "1.50"}, None, {"s": "B"}]}
    assert rebuilt(EACH, legacy)["lines"] == [
        {"sku": "A", "price": {"net": 1.5}, "order": 7},
        None,
        {"sku": "B", "order": 7},
    ]


def test_each_of_what_is_no_list() -> None:
    """Absent stays absent, null stays null; anything else, and an item that is no object, is a hole."""
    assert "lines" not in rebuilt(EACH, {"id": 1})
    assert rebuilt(EACH, {"id": 1, "items": None})["lines"] is None
    assert rebuilt(EACH, {"id": 1, "items": []})["lines"] == []
    assert holes(EACH, {"id": 1, "items": {}}) == [[["lines"], "schema_violation", "expected a list, found an object"]]
    assert holes(EACH, {"id": 1, "items": [{}, 5]})[0][0] == ["lines", 1]
    assert holes(EACH, {"id": 1, "items": [{}, {"p": "x"}]})[0][0] == ["lines", 1, "price", "net"]


def test_each_nests() -> None:
    """Lists in lists, filtered by item."""
    text = """rebuild:
  id: id
  orders:
    each: o
    where: {path: kind, not_equals: test}
    fields:
      tags: {each: t, item: {from: ., upper: true}}
      parts: {each: p, fields: {n: n, of: $.id}}
"""
    legacy = {
        "id": 1,
        "o": [{"kind": "test", "t": []}, {"t": ["a", "b"], "p": [{"n": 1}, {"n": 2}]}],
    }
    assert rebuilt(text, legacy)["orders"] == [{"tags": ["A", "B"], "parts": [{"n": 1, "of": 1}, {"n": 2, "of": 1}]}]


def test_lookups_are_shared_tables() -> None:
    """A table of the contract is used by several rules, each with its own key."""
    text = """lookups: {country: {KR: Korea, JP: Japan}}
rebuild: {id: id, a: {from: x, lookup: country}, b: {from: y.z, lookup: country, otherwise: '?'}}
"""
    assert rebuilt(text, {"id": 1, "x": "KR", "y": {"z": "XX"}}) == {"id": 1, "a": "Korea", "b": "?"}


def test_nested_targets_appear_with_their_fields() -> None:
    """An object of targets is there when at least one of its fields is."""
    text = "rebuild: {id: id, c.name: n, c.home.city: city, '\"odd.name\"': o}\n"
    assert rebuilt(text, {"id": 1}) == {"id": 1}
    assert rebuilt(text, {"id": 1, "city": None, "o": 2}) == {
        "id": 1,
        "c": {"home": {"city": None}},
        "odd.name": 2,
    }


def test_two_targets_may_share_a_source() -> None:
    """Rules for one target do not reach the other, though both are made of one legacy value."""
    made_by = compiled(
        """rebuild: {id: id, a: items, b: items}
compare: {ignore: [{path: '$.a[*].x', reason: new}], unordered: [{path: $.a}]}
"""
    )
    (entry,) = made_by.rebuild(record({"id": 1, "items": [{"x": 2, "y": 2}, {"x": 1, "y": 1}]}))
    assert shown(entry) == {
        "id": 1,
        "a": [{"y": 1}, {"y": 2}],
        "b": [{"x": 2, "y": 2}, {"x": 1, "y": 1}],
    }


@pytest.mark.parametrize("rule", ["as: decimal, scale: 0", "as: integer", "as: string, scale: 0"])
def test_a_number_that_rounding_makes_too_long_is_a_finding(rule: str) -> None:
    """One digit more than a number may have: no worker may end of it."""
    kind, note = hole(f"{{from: a, {rule}, rounding: half_up}}", {"a": "9" * 4300 + ".5"})
    assert (kind, note.endswith(": expected fewer digits")) == ("schema_violation", True)


def test_a_year_has_four_digits_wherever_it_is_written() -> None:
    """The usual date for "none" is in the year 1, and systems differ in how they write that."""
    rule = '{from: a, as: datetime, format: "%Y%m%d", output: "%%Y-%Y-%m-%d"}'
    assert made(rule, {"a": "00010101"}) == "%Y-0001-01-01"


def test_a_text_that_is_in_every_item_does_not_fill_memory() -> None:
    """A legacy record within its limit may come to gigabytes: that is said of it before it is written."""
    made = compiled("rebuild: {id: id, lines: {each: items, fields: {memo: $.memo}}}\n")
    (fine,) = made.rebuild(record({"id": 1, "memo": "x" * 1000, "items": [{}] * 100}))
    assert fine.kind == MESSAGE
    (large,) = made.rebuild(record({"id": 1, "memo": "x" * 1_000_000, "items": [{}] * 3_000}))
    assert large.kind == REBUILD_FAILED
    assert large.payload.startswith(b"oversized: more than ")


@pytest.mark.parametrize("rule", ["as: integer", "as: decimal", "as: decimal, scale: 0, rounding: half_up"])
@pytest.mark.parametrize("value", ["-" + "9" * 4300, "-1e4299"])
def test_a_number_that_could_not_be_read_again_is_a_finding(rule: str, value: str) -> None:
    """The judge reads what was rebuilt, and a minus counts as a digit there."""
    assert hole(f"{{from: a, {rule}}}", {"a": value})[0] == "schema_violation"


@pytest.mark.parametrize("form", ["%F", "%G-%m-%d"])
def test_other_forms_of_a_year_have_four_digits_too(form: str) -> None:
    """A whole date, and the year of the week."""
    rule = f'{{from: a, as: datetime, format: "%Y%m%d", output: "{form}"}}'
    assert made(rule, {"a": "00010102"}) == "0001-01-02"
    assert made(rule, {"a": "20260115"}) == "2026-01-15"


def test_what_is_not_compared_does_not_make_a_message_too_long() -> None:
    """Whatever every item shares counts as often as it is written, unless it is left out."""
    rest = "rebuild: {id: id, lines: {each: items, fields: {memo: $.memo, n: n}}}\n"
    legacy = {"id": 1, "memo": "x" * 20_000, "items": [{"n": 1}] * 1000}
    (whole,) = compiled(rest).rebuild(record(legacy))
    (less,) = compiled(rest + "compare: {ignore: [{path: '$.lines[*].memo', reason: r}]}\n").rebuild(record(legacy))
    assert (whole.kind, less.kind) == (REBUILD_FAILED, MESSAGE)


@pytest.mark.parametrize("shared", [10**4000, {"name" * 1000: 1}, [[]] * 3000], ids=["number", "name", "list"])
def test_whatever_all_items_share_is_counted_before_it_is_written(shared: Any) -> None:
    """Not only texts come to gigabytes."""
    made = compiled("rebuild: {id: id, lines: {each: items, fields: {h: $.h}}}\n")
    (large,) = made.rebuild(record({"id": 1, "h": shared, "items": [{}] * 6000}))
    assert large.payload.startswith(b"oversized: more than ")


def test_a_constant_with_a_point_stays_one_where_numbers_are_strict() -> None:
    """1.0 is not 1 there, so a contract has to be able to say it."""
    for number, payload in ((b"1.0", b"1.0"), (b"1", b"1"), (b"1.50", b"1.5")):
        rest = f"rebuild: {{id: id, x: {{const: {number.decode()}}}}}\n"
        (strict,) = compiled(rest + "compare: {numbers: strict}\n").rebuild(record({"id": 1}))
        (loose,) = compiled(rest).rebuild(record({"id": 1}))
        assert strict.payload == b'{"id":1,"x":' + payload + b"}"
        assert loose.payload == b'{"id":1,"x":' + payload.removesuffix(b".0") + b"}"


@pytest.mark.parametrize("rule", ["upper: true", "as: string", "as: date", "map: {A: b}"])
def test_what_all_items_share_is_made_once(rule: str) -> None:
    """A large value of the whole message in each of very many items: made anew, it would fill memory, or take long."""
    shared: Any = 10**4000 if rule == "as: string" else "x" * 100_000
    made = compiled(f"rebuild: {{id: id, l: {{each: l, fields: {{a: {{from: $.t, {rule}}}}}}}}}\n")
    began = time.monotonic()
    (entry,) = made.rebuild(record({"id": 1, "t": shared, "l": [{}] * 20_000}))
    assert time.monotonic() - began < 3
    assert entry.kind == (REBUILD_FAILED if "as: date" != rule and "map" not in rule else MESSAGE)
    (small,) = made.rebuild(record({"id": 1, "t": "A" if "map" in rule else "7", "l": [{}, {}]}))
    (other,) = made.rebuild(record({"id": 1, "t": "B" if "map" in rule else "8", "l": [{}, {}]}))
    assert (small.payload, small.beside) != (other.payload, other.beside)
