"""A compiled contract: records in, entries out, and what two entries differ in."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cutover_app.contract.compile import compile_contract, rules_hash
from cutover_app.contract.errors import ContractError, ImpureHookError
from cutover_app.contract.load import load_contract, parse_contract
from cutover_app.core import limits
from cutover_app.core.canonical import canonical, digest, reader
from cutover_app.core.compare import Masked
from cutover_app.core.frames import MESSAGE, REBUILD_FAILED, UNDECODABLE, UNKEYED, Entry
from tests.contract.helpers import HEAD, MATCH, compiled, contract, record, shown, with_hook

PLAIN = "rebuild: {id: id, a: a, l: l}\n"


def differing(rest: str, legacy: Any, rebuilt: Any) -> list[tuple[str, str]]:
    """Return kind and path of what is wrong with a pair."""
    made = compiled(rest)
    (expected,) = made.rebuild(record(legacy))
    return [(e.kind, e.path) for e in made.diff(expected, made.observe(record(rebuilt)))]


def test_a_pair_that_matches() -> None:
    """Both sides of a correct migration have equal keys and digests, and nothing differs."""
    made = compiled(PLAIN)
    legacy = record(b'{"a": 1.50, "id": 7, "x": 0}', offset=5)
    (expected,) = made.rebuild(legacy)
    actual = made.observe(record(b'{"id":7.0,"a":15e-1}', offset=9))
    assert (expected.key, expected.digest) == (actual.key, actual.digest)
    assert expected.payload == actual.payload == b'{"a":1.5,"id":7}'
    assert expected.digest == digest(expected.payload)
    assert made.diff(expected, actual) == ()
    assert (expected.offset, expected.index, expected.kind) == (5, 0, MESSAGE)
    assert (len(expected.raw), actual.raw, actual.offset) == (16, b"", 9)
    assert expected.beside == actual.beside == b""


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "tombstone"),
        (b"", "empty value"),
        (b"  ", "not JSON: Input data was truncated"),
        (b"secret", "not JSON: invalid character (byte 0)"),
        (b'{"id":1} x', "not JSON: trailing characters (byte 10)"),
        (b'{"id":NaN}', "not JSON: invalid character (byte 6)"),
        (b'{"id":Infinity}', "not JSON: invalid character (byte 6)"),
        (b'{"id":"\\ud800"}', "not JSON: "),
        (b'{"id":"\xff"}', "not UTF-8"),
        (b'{"id":"\xed\xa0\x80"}', "not UTF-8"),
        (b'\xef\xbb\xbf{"id":1}', "not JSON: invalid character (byte 0)"),
        (b"[1]", "not a JSON object: array"),
        (b'"x"', "not a JSON object: string"),
        (b"12", "not a JSON object: number"),
        (b"1.5", "not a JSON object: number"),
        (b"true", "not a JSON object: boolean"),
        (b"null", "not a JSON object: null"),
        (b'{"id":1,"a":2,"a":2}', "a field occurs twice in one object"),
        (b'{"id":1,"l":[{"a":1,"\\u0061":2}]}', "a field occurs twice in one object"),
        (b'{"id":1,"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "nested deeper than 200 levels"),
        (b'{"id":1,"a":' + b"[" * 200 + b"]" * 200 + b"}", "nested deeper than 200 levels"),
        (b'{"id":1,"a":1e-9999}', "not exact: an exponent beyond 4300 digits"),
        (b'{"id":1,"a":' + b"1" * 4301 + b"}", "not exact: Integer value out of range"),
        (b'{"id":1,"a":"' + b"x" * 2_000_000 + b'"}', "oversized: 2000015 bytes, limit 1048576"),
    ],
)
def test_bad_records_are_undecodable_on_both_sides(value: bytes | None, reason: str) -> None:
    """What cannot be read exactly is one entry with the reason, on whichever side it is."""
    made = compiled(PLAIN + "limits: {record: 1MiB}\n")
    (expected,) = made.rebuild(record(value))
    actual = made.observe(record(value))
    for entry in (expected, actual):
        assert entry.kind == UNDECODABLE
        assert entry.payload.decode().startswith(reason)
        assert (entry.key, entry.digest, entry.beside) == (b"", b"", b"")
        assert b"secret" not in entry.payload
    assert len(expected.raw) == 16


def test_numbers_that_would_fill_memory_are_undecodable() -> None:
    """Few bytes with large exponents stand for many digits: beyond the limit they are refused before they are made."""
    made = compiled(PLAIN)
    value = b'{"id":1,"a":[%b]}' % b",".join([b"1e4299"] * 4500)
    for entry in (*made.rebuild(record(value)), made.observe(record(value))):
        assert entry.kind == UNDECODABLE
        assert entry.payload == b"not exact: numbers of more than %d digits, written out" % (4300 + 64 * len(value))


@pytest.mark.parametrize("number", [b"1.7976931348623157E+308", b"-1e308", b"1e-308"])
def test_whatever_a_float_holds_is_read(number: bytes) -> None:
    """A message full of the largest numbers there usually are is a message, and each is counted for itself."""
    made = compiled(PLAIN)
    full = record(b'{"id":1,"a":[%b]}' % b",".join([number] * 200))
    assert [made.observe(full).kind for _ in range(3)] == [MESSAGE] * 3


def test_casts_that_would_fill_memory_leave_holes() -> None:
    """Texts that become numbers, and numbers that become texts, are counted like the numbers of the record."""
    for cast, value in (("decimal", b'"1e4299"'), ("string", b"1e-4299")):
        made = compiled(f"rebuild: {{id: id, l: {{each: l, item: {{from: ., as: {cast}}}}}}}\n")
        (entry,) = made.rebuild(record(b'{"id":1,"l":[%b]}' % b",".join([value] * 300)))
        assert entry.kind == MESSAGE
        assert entry.payload.count(b"0" * 4299 if cast == "decimal" else b"0" * 4298) in range(30, 50)
        assert b"expected fewer digits" in entry.beside


@pytest.mark.parametrize("rest", ["", "compare: {tolerance: [{path: $.b, abs: 1}]}\n"])
def test_a_rebuild_larger_than_an_entry_has_failed(tmp_path: Path, rest: str) -> None:
    """What a mapping or a function blows up beyond what can be forwarded is a verdict, not the end of a worker."""
    legacy = record({"id": 1, "a": "x" * 6_000_000})
    body = "def rebuild(r):\n    return [{'id': 1, 'b': r['a'] * 3}, {'id': 2}]\n"
    mapped = compiled(f"rebuild: {{id: id, a: a, b: a, c: a}}\n{rest}").rebuild(legacy)
    for entry in (*mapped, with_hook(tmp_path, f"hook_large{len(rest)}", body, rest).rebuild(legacy)[0]):
        assert entry.kind == REBUILD_FAILED
        assert re.fullmatch(rb"oversized: 180000\d\d bytes in canonical form, limit 15728640", entry.payload)


def test_a_record_larger_than_an_entry_is_undecodable() -> None:
    """What travels beside a sealed message, paths included, is bounded before it is made."""
    rest = "rebuild: {id: id, p: {from: p, sealed: any}}\ncompare: {ignore: [{path: $.x, reason: new}]}\n"
    deep: Any = [1] * 1500
    for _ in range(100):
        deep = {"n" * 128: deep}
    entry = compiled(rest).observe(record({"id": 1, "p": None, "x": deep}))
    assert entry.kind == UNDECODABLE
    assert entry.payload.startswith(b"oversized: ")


def test_the_last_digit_counts() -> None:
    """Integers and decimals that a float cannot tell apart are different values."""
    for one, two in (
        (b"18446744073709551616", b"18446744073709551617"),
        (b"12345678.12345678901", b"12345678.12345678902"),
    ):
        made = compiled(PLAIN)
        (expected,) = made.rebuild(record(b'{"id":1,"a":%b}' % one))
        actual = made.observe(record(b'{"id":1,"a":%b}' % two))
        assert expected.digest != actual.digest
        (finding,) = made.diff(expected, actual)
        assert (finding.expected, finding.actual) == (one.decode(), two.decode())


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({}, "key $.id is absent"),
        ({"id": None}, "key $.id is null"),
        ({"id": {}}, "key $.id is object"),
        ({"id": [1]}, "key $.id is array"),
        ({"id": "x" * 2000}, "key of 2004 bytes, limit 1024"),
    ],
)
def test_unkeyed(message: Any, reason: str) -> None:
    """Without a scalar at every key path, or with a key too long, a record is unkeyed."""
    made = compiled(PLAIN)
    (expected,) = made.rebuild(record(message))
    for entry in (expected, made.observe(record(message))):
        assert (entry.kind, entry.payload.decode(), entry.key) == (UNKEYED, reason, b"")


def test_keys_are_values_of_the_new_format() -> None:
    """Nested and several key paths, numbers in one spelling however strict the comparison is."""
    rest = "rebuild: {id: a, c.n: b}\ncompare: {numbers: strict}\n"
    made = compiled(rest, head=HEAD + "match: {key: [c.n, $.id]}\n")
    (expected,) = made.rebuild(record(b'{"a": "x", "b": 1.0}'))
    actual = made.observe(record(b'{"id": "x", "c": {"n": 1}}'))
    assert expected.key == actual.key == b'[1,"x"]'
    assert [e.kind for e in made.diff(expected, actual)] == ["wrong_value"]


def test_longest_key() -> None:
    """The limit on keys is in bytes of the canonical form."""
    made = compiled(PLAIN)
    most = "x" * (limits.KEY_BYTES_MAX - 4)
    assert made.observe(record({"id": most})).kind == MESSAGE
    assert made.observe(record({"id": most + "x"})).kind == UNKEYED


def test_a_hole_at_the_key_fails_the_rebuild() -> None:
    """A key that cannot be rebuilt leaves nothing to pair; the reason has no value in it."""
    made = compiled("rebuild: {id: {from: id, as: integer}}\n")
    (entry,) = made.rebuild(record({"id": "canary"}))
    assert (entry.kind, entry.payload) == (REBUILD_FAILED, b"key $.id: schema_violation")


def test_expected_with_a_hole() -> None:
    """It has a key, a digest that equals nothing, and one finding at the hole."""
    made = compiled("rebuild: {id: id, a: {from: a, map: {P: PAID}}}\n")
    (first,) = made.rebuild(record({"id": 1, "a": "X"}, offset=1))
    (second,) = made.rebuild(record({"id": 1, "a": "X"}, offset=2))
    actual = made.observe(record({"id": 1, "a": "X"}))
    lacking = made.observe(record({"id": 1}))
    assert len({first.digest, second.digest, actual.digest, lacking.digest}) == 4
    (finding,) = made.diff(first, actual)
    assert (finding.kind, finding.path, finding.actual) == ("unmapped_value", "$.a", "X")
    assert '"X"' in finding.note
    assert [e.kind for e in made.diff(first, lacking)] == ["unmapped_value"]


def test_findings_of_the_whole_way() -> None:
    """Each kind of field-level defect is found at its path."""
    rest = "rebuild: {id: id, a: a, l: {each: l, fields: {s: s, p: p}}}\n"
    legacy = {"id": 1, "a": "x", "l": [{"s": "A", "p": 1}, {"s": "B", "p": 2}]}
    wrong = {"id": 1, "b": 1, "l": [{"s": "A", "p": "1"}, {"s": "C", "p": 2}]}
    assert differing(rest, legacy, wrong) == [
        ("missing_field", "$.a"),
        ("unexpected_field", "$.b"),
        ("wrong_type", "$.l[0].p"),
        ("wrong_value", "$.l[1].s"),
    ]


def test_ignore_tolerance_unordered_together() -> None:
    """Rules apply to both sides before the digest; what has a tolerance travels beside it."""
    rest = (
        PLAIN
        + """compare:
  ignore: [{path: '$.l[*].t', reason: new}]
  tolerance: [{path: $.a, abs: 0.01}, {path: '$.l[*].p', rel: 0.1}]
  unordered: [{path: $.l, by: s}]
"""
    )
    made = compiled(rest)
    assert made.tolerant
    (expected,) = made.rebuild(record({"id": 1, "a": 59.8, "l": [{"s": "B", "p": 100}, {"s": "A", "p": 1, "t": 1}]}))
    fine = made.observe(record({"id": 1, "a": 59.79, "l": [{"s": "A", "p": 1}, {"s": "B", "p": 110, "t": 2}]}))
    assert expected.payload == fine.payload == b'{"id":1,"l":[{"s":"A"},{"s":"B"}]}'
    assert expected.digest == fine.digest
    assert made.diff(expected, fine) == ()
    off = made.observe(record({"id": 1, "a": 59.7, "l": [{"s": "A"}, {"s": "B", "p": 112}]}))
    assert off.digest == expected.digest
    assert [(e.kind, e.path) for e in made.diff(expected, off)] == [
        ("wrong_value", "$.a"),
        ("missing_field", '$.l[s="A"].p'),
        ("wrong_value", '$.l[s="B"].p'),
    ]


def test_holes_in_lists_without_order_keep_their_item() -> None:
    """A hole is found at the item that it belongs to, though sorting moved the item."""
    rest = """rebuild: {id: id, l: {each: l, fields: {s: s, p: {from: p, as: integer}}}}
compare: {unordered: [{path: $.l, by: s}], tolerance: [{path: '$.l[*].p', abs: 1}]}
"""
    legacy = {"id": 1, "l": [{"s": "B", "p": "x"}, {"s": "A", "p": "1"}]}
    right = {"id": 1, "l": [{"s": "A", "p": 2}, {"s": "B", "p": 7}]}
    assert differing(rest, legacy, right) == [("schema_violation", '$.l[s="B"].p')]


def test_unexpected_ignore_is_for_fields_that_no_rule_makes() -> None:
    """Fields nobody can make are left out at every level; one that should be absent is not."""
    rest = """rebuild: {id: id, c.n: n, l: {each: l, fields: {s: s}}, o: o}
compare: {unexpected: ignore}
"""
    legacy = {"id": 1, "n": 1, "l": [{"s": 1}], "o": {"k": 1}}
    right = {"id": 1, "c": {"n": 1, "u": 1}, "l": [{"s": 1, "u": 1}], "o": {"k": 1}, "u": 1}
    assert differing(rest, legacy, right) == []
    assert differing(rest, {"id": 1}, {"id": 1, "c": {"n": 1}, "u": 1}) == [("unexpected_field", "$.c")]
    assert differing(rest, {"id": 1, "o": {}}, {"id": 1, "o": {"u": 1}}) == [("unexpected_field", "$.o.u")]


def test_strict_numbers() -> None:
    """Under strict numbers 1 and 1.0 are different values of one type, shown as they are."""
    rest = PLAIN + "compare: {numbers: strict}\n"
    made = compiled(rest)
    (expected,) = made.rebuild(record(b'{"id":1,"a":1}'))
    actual = made.observe(record(b'{"id":1,"a":1.0}'))
    (finding,) = made.diff(expected, actual)
    assert (finding.kind, finding.expected, finding.actual) == ("wrong_value", 1, "1.0")


def test_only_records_that_are_wanted() -> None:
    """Legacy records for which `when` does not hold make no entry."""
    head = HEAD.replace("{topic: shop.orders}", "{topic: t, when: {path: k, equals: order}}")
    made = compiled(PLAIN, head=head + MATCH)
    assert made.rebuild(record({"id": 1, "k": "x"})) == []
    assert len(made.rebuild(record({"id": 1, "k": "order"}))) == 1
    assert made.rebuild(record(None))[0].kind == UNDECODABLE


def test_keys_are_shown_unless_sensitive() -> None:
    """A key at a sensitive path is masked wherever it is shown."""
    head = HEAD + "match: {key: [id, phone]}\n"
    rest = "rebuild: {id: id, phone: tel}\nsensitive: [$.phone]\n"
    made = compiled(rest, head=head, env={"CUTOVER_HMAC_KEY": "k"})
    (entry,) = made.rebuild(record({"id": 1, "tel": "010"}))
    plain, masked = made.shown_key(entry.key)
    assert plain == 1
    assert isinstance(masked, Masked)
    assert (masked.masked, masked.len, len(masked.hmac)) == ("string", 3, 16)
    assert made.shown_key(b"") == []


@pytest.mark.parametrize(
    "change",
    [
        {"key": None},
        {"key": b""},
        {"timestamp": 1},
        {"headers": (("h", b""),)},
        {"headers": (("h", None),)},
        {"headers": (("", b"h"),)},
        {"value": b'{"id": 1 }'},
    ],
)
def test_raw_digest_covers_all_that_a_copy_would_have(change: dict[str, Any]) -> None:
    """Key, value, headers and timestamp are in it, the offset is not."""
    made = compiled(PLAIN)
    value = change.pop("value", b'{"id": 1}')

    def raw(value: bytes, **more: Any) -> bytes:
        return made.rebuild(record(value, **more))[0].raw

    assert raw(b'{"id": 1}', offset=1) == raw(b'{"id": 1}', offset=2)
    assert raw(value, **change) != raw(b'{"id": 1}')


def test_rules_hash_follows_what_changes_verdicts() -> None:
    """Each change of meaning gives another hash; what only says where or why does not."""
    text = HEAD + MATCH + "rebuild: {id: id, a: {from: a}}\n"
    same = [
        text.replace("localhost", "elsewhere"),
        text + "# a remark\n",
        text + "verdicts: {replication: 3}\ninternal: {replication: 3}\n",
        text + "timing: {grace: 30s}\n",
    ]
    other = [
        text.replace("a: {from: a}", "a: {from: b}"),
        text.replace("a: {from: a}", "a: {from: a, default: null}"),
        text.replace("a: {from: a}", "a: {const: null}"),
        text.replace("a: {from: a}", "a: {from: a, map: {1: x}}"),
        text.replace("a: {from: a}", "a: {from: a, map: {'1': x}}"),
        text + "timing: {grace: 31s}\n",
        text + "sensitive: [a]\n",
        text + "compare: {ignore: [{path: a, reason: x}]}\n",
        text + "run: r2\n",
        text + "intake: {partitions: 6}\n",
    ]

    def code(each: str) -> str:
        return rules_hash(parse_contract(each, "f", {}))

    assert {code(each) for each in same} == {code(text)}
    assert len({code(each) for each in (text, *other)}) == len(other) + 1
    assert code(text).startswith("sha256:")
    ignoring = text + "compare: {ignore: [{path: a, reason: REASON, until: 2027-01-31}]}\n"
    assert code(ignoring) == code(ignoring.replace("REASON", "other").replace("2027", "2028"))


# --------------------------------------------------------------------------------------------------
# Python


HOOK = """
def rebuild(record):
    if record.get("skip"):
        return None
    record["items"].append("spoilt")
    return [{"id": record["id"], "n": n, "total": record["total"]} for n in range(record["n"])]
"""


def test_a_hook_makes_none_one_or_several(tmp_path: Path) -> None:
    """Each message of a hook is an entry with its index; the function may spoil what it gets."""
    made = with_hook(tmp_path, "hook_several", HOOK)
    legacy = {"id": 1, "n": 3, "total": 1.10, "items": []}
    entries = made.rebuild(record(legacy, offset=0))
    assert [(e.index, e.kind) for e in entries] == [(0, MESSAGE), (1, MESSAGE), (2, MESSAGE)]
    assert entries[1].payload == b'{"id":1,"n":1,"total":1.1}'
    assert len({e.raw for e in entries}) == 1
    assert made.rebuild(record({"skip": True})) == []
    assert made.rebuild(record({**legacy, "n": 0})) == []


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("raises", "raise KeyError(record['id'])", "the function raised KeyError"),
        ("exits", "raise SystemExit(1)", "the function raised SystemExit"),
        ("closes", "raise GeneratorExit", "the function raised GeneratorExit"),
        ("text", "return 'x'", "the function returned str"),
        ("number", "return [1]", "the function returned int"),
        ("set", "return {'id': 1, 'a': {'b': {1}}}", "the function returned a set at $.*.*"),
        ("nan", "return {'id': float('nan')}", "the function returned a number that is not finite"),
        ("keys", "return {1: 2}", "the function returned a field name of type int"),
        ("surrogate", "return {'id': '\\ud800'}", "the function returned what JSON cannot say"),
        ("deep", "d = []\n    for _ in range(500): d = [d]\n    return {'id': d}", "the function"),
        ("cycle", "record['id'] = record\n    return record", "the function returned more than"),
        ("huge", "return {'id': 10 ** 5000}", "the function returned what JSON cannot say"),
        ("many", "return [{}] * 5000", "the function made 5000 messages, limit 1000"),
        ("date", "import datetime\n    return {'id': datetime.date.min}", "the function returned a date"),
    ],
)
def test_a_hook_that_fails_is_a_verdict(tmp_path: Path, name: str, body: str, reason: str) -> None:
    """Whatever a hook does with a record, the result is an entry with a reason free of values."""
    made = with_hook(tmp_path, f"hook_{name}", f"def rebuild(record):\n    {body}\n")
    (entry,) = made.rebuild(record({"id": "canary"}))
    assert entry.kind == REBUILD_FAILED
    assert entry.payload.decode().startswith(reason)
    assert b"canary" not in entry.payload


def test_one_bad_message_of_several(tmp_path: Path) -> None:
    """A message that is none does not take the others of its record with it."""
    body = "def rebuild(record):\n    return [{'id': 1}, {'id': {2}}, {}, {'id': 4}]\n"
    entries = with_hook(tmp_path, "hook_mixed", body).rebuild(record({}))
    assert [e.kind for e in entries] == [MESSAGE, REBUILD_FAILED, UNKEYED, MESSAGE]
    assert [e.index for e in entries] == [0, 1, 2, 3]


def test_numbers_of_a_hook_are_canonical(tmp_path: Path) -> None:
    """Floats, Decimals, tuples and enumerations come out as if a record had had them."""
    body = """
import decimal, enum
class Status(str, enum.Enum):
    PAID = "paid"
def rebuild(record):
    assert isinstance(record["total"], decimal.Decimal)
    return {"id": 1.0, "a": decimal.Decimal("1.500"), "b": (0.1, -0.0), "c": Status.PAID,
            "d": record["total"] * 2, "e": decimal.Decimal("1E+3")}
"""
    (entry,) = with_hook(tmp_path, "hook_numbers", body).rebuild(record({"total": 10.05}))
    assert entry.payload == b'{"a":1.5,"b":[0.1,0],"c":"paid","d":20.1,"e":1000,"id":1}'


def test_an_impure_hook_stops_the_worker(tmp_path: Path) -> None:
    """Two results of one record are noticed in one record of 10,000, and are the end."""
    body = "import itertools\nn = itertools.count()\ndef rebuild(r):\n    return {'id': next(n)}\n"
    made = with_hook(tmp_path, "hook_impure", body)
    made.rebuild(record({}, offset=1))
    with pytest.raises(ImpureHookError, match=r"at offset 20000 of shop\.orders twice"):
        made.rebuild(record({}, offset=20_000))


def test_the_hook_is_part_of_the_rules(tmp_path: Path) -> None:
    """Another source of the module is another set of rules."""
    body = "def rebuild(r):\n    return r\n"
    one = with_hook(tmp_path, "hook_hash_one", body)
    two = with_hook(tmp_path, "hook_hash_two", body + "# changed\n")
    text = (tmp_path / "cutover.yaml").read_text(encoding="utf-8")
    again = compile_contract(load_contract(tmp_path / "cutover.yaml", {}), {})
    assert two.rules == again.rules != one.rules
    assert "hook_hash_two" in text


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("hook_absent", None, "module hook_absent cannot be imported: ModuleNotFoundError"),
        ("hook_broken", "1 / 0\n", "module hook_broken cannot be imported: ZeroDivisionError"),
        ("hook_syntax", "def :\n", "module hook_syntax cannot be imported: SyntaxError"),
        ("hook_nothing", "x = 1\n", "no function rebuild in module hook_nothing"),
        ("hook_value", "rebuild = 5\n", "no function rebuild in module hook_value"),
        ("hook_two", "def rebuild(a, b): ...\n", "hook_two:rebuild cannot be called with one argument"),
        ("hook_async", "async def rebuild(r): ...\n", "hook_async:rebuild is async"),
        ("hook_yields", "def rebuild(r):\n    yield r\n", "hook_yields:rebuild is async or a gen"),
    ],
)
def test_hooks_that_cannot_be_had(tmp_path: Path, name: str, source: str | None, said: str) -> None:
    """A function that is not there or cannot work is an error of the contract, in one line."""
    if source is not None:
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
    file = tmp_path / "cutover.yaml"
    file.write_text(f'{HEAD}{MATCH}rebuild: {{python: "{name}:rebuild"}}\n', encoding="utf-8")
    made = load_contract(file, {})
    with pytest.raises(ContractError) as caught:
        compile_contract(made, {})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


PAYMENTS = """
contract: payments
broker: kafka://localhost:9092
legacy: {topic: core.bookings}
rebuilt: {topic: payments.v3}
match: {key: [account.iban, entry_no]}
rebuild: {python: "payments_rules:rebuild"}
compare:
  unordered:
    - {path: $.charges, by: [kind, currency]}
    - {path: '$.charges[*].taxes'}
  tolerance: [{path: '$.charges[*].amount', abs: 0.005}]
  ignore: [{path: '$.meta.*', reason: 'tracing'}]
sensitive: [$.account]
"""

PAYMENTS_RULES = '''
from decimal import Decimal

def rebuild(record):
    """A booking becomes one payment per entry; a reversal becomes none."""
    if record["type"] == "REV":
        return None
    return [
        {
            "account": {"iban": record["acct"].replace(" ", "")},
            "entry_no": number,
            "amount": entry["amt"] * (-1 if entry["dc"] == "D" else 1),
            "charges": [
                {"kind": kind, "currency": "EUR", "amount": Decimal(value) / 3, "taxes": taxes}
                for kind, value, taxes in entry["chg"]
            ],
        }
        for number, entry in enumerate(record["entries"], 1)
    ]
'''


def test_a_contract_of_another_domain(tmp_path: Path) -> None:
    """Payments: nested lists, a hook that makes several messages, a key of two fields."""
    (tmp_path / "payments_rules.py").write_text(PAYMENTS_RULES, encoding="utf-8")
    file = tmp_path / "payments.yaml"
    file.write_text(PAYMENTS, encoding="utf-8")
    made = compile_contract(load_contract(file, {}), {})
    entry = {"amt": 10.5, "dc": "D", "chg": [["fee", 1, ["b", "a"]], ["fx", 2, []]]}
    legacy = {"type": "STD", "acct": "DE02 1203", "entries": [entry, {**entry, "dc": "C"}]}
    first, second = made.rebuild(record(legacy, offset=0))
    assert (first.key, second.key) == (b'["DE021203",1]', b'["DE021203",2]')
    assert made.rebuild(record({"type": "REV"})) == []

    right = {
        "account": {"iban": "DE021203"},
        "entry_no": 2,
        "amount": 10.50,
        "charges": [
            {"kind": "fx", "currency": "EUR", "amount": 0.67, "taxes": []},
            {"kind": "fee", "currency": "EUR", "amount": 0.33, "taxes": ["a", "b"]},
        ],
        "meta": {"trace": 1},
    }
    actual = made.observe(record({**right, "meta": {}}))
    assert second.key == actual.key
    # The hook knows of no `meta`: only what is in it is ignored.
    assert [(e.kind, e.path) for e in made.diff(second, actual)] == [("unexpected_field", "$.meta")]
    del right["meta"]
    actual = made.observe(record(right))
    assert second.digest == actual.digest
    assert made.diff(second, actual) == ()
    right["charges"][1]["taxes"] = ["a", "c"]  # type: ignore[index]
    right["charges"][0]["amount"] = 0.68  # type: ignore[index]
    wrong = made.observe(record(right))
    assert [(e.kind, e.path) for e in made.diff(second, wrong)] == [
        ("wrong_value", '$.charges[kind="fee",currency="EUR"].taxes[*]'),
        ("wrong_value", '$.charges[kind="fx",currency="EUR"].amount'),
    ]
    assert all(isinstance(part, Masked | int) for part in made.shown_key(wrong.key))


def test_entries_can_be_compared_after_a_round_trip() -> None:
    """A diff needs nothing of an entry but payload and what travels beside it."""
    rest = "rebuild: {id: id, a: a, b: {from: b, as: integer}}\n"
    made = compiled(rest + "compare: {tolerance: [{path: a, abs: 1}]}\n")
    (expected,) = made.rebuild(record({"id": 1, "a": 1, "b": "x"}))
    bare = Entry(0, 0, 0, 0, b"", b"", b"", expected.payload, expected.beside)
    actual = made.observe(record({"id": 1, "a": 5, "b": 2}))
    assert made.diff(bare, actual) == made.diff(expected, actual)
    assert json.loads(expected.beside).keys() == {"holes", "tolerance"}


def test_payload_is_canonical() -> None:
    """A payload read and written again is itself: equal digests are equal messages."""
    made = compiled(PLAIN)
    (entry,) = made.rebuild(record(b'{"l": {"z": 1e2, "a": [1.10]}, "id": "\\u00e9"}'))
    assert canonical(reader()(entry.payload)) == entry.payload
    assert shown(entry) == {"id": "é", "l": {"z": 100, "a": [1.1]}}


def test_contract_is_shown_by_name() -> None:
    """The representation says which contract under which rules."""
    made = compiled(PLAIN)
    assert repr(made) == f"<Compiled orders {made.rules[:19]}>"
    assert made.rules == rules_hash(contract(PLAIN))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("legacy: {topic: a, when: {path: x, equals: null}}", "legacy: {topic: a, when: {path: x, not_equals: null}}"),
        ("rebuild: {id: {from: a, replace: {a: b, b: c}}}", "rebuild: {id: {from: a, replace: {b: c, a: b}}}"),
        ("rebuild: {id: id, replace: {const: {a: 1.5}}}", "rebuild: {id: id, replace: {const: {a: 2.5}}}"),
        ("rebuild: {id: id, replace: {from: a, map: {1: x}}}", "rebuild: {id: id, replace: {from: a, map: {'1': x}}}"),
        ("rebuild: {id: id, x: {const: 1.5}}", "rebuild: {id: id, x: {const: decimal 1.5}}"),
        ("rebuild: {id: id, x: {const: {a: 1}}}", """rebuild: {id: id, x: {const: [dict, ["'a'", 1]]}}"""),
    ],
    ids=[
        "a test for null",
        "the order of replacements",
        "a field of that name",
        "a table of a field of that name",
        "a number and a text",
        "an object and a list",
    ],
)
def test_contracts_that_rebuild_otherwise_have_another_hash(one: str, other: str) -> None:
    """A worker would judge what another one made under rules that are not its own."""

    def hashed(said: str) -> str:
        name = said.partition(":")[0]
        kept = {
            "contract": "contract: orders",
            "broker": "broker: kafka://localhost:9092",
            "legacy": "legacy: {topic: a}",
            "rebuilt": "rebuilt: {topic: b}",
            "match": "match: {key: [id]}",
            "rebuild": "rebuild: {id: id}",
        } | {name: said}
        return rules_hash(parse_contract("\n".join(kept.values()), "f", {}))

    assert hashed(one) != hashed(other)


@pytest.mark.parametrize("test", ["present: null", "in: null", "not_in: null"])
def test_a_test_for_nothing_is_refused(test: str) -> None:
    """It would hold for nothing, or for everything, and nobody can have meant that."""
    with pytest.raises(ContractError, match="null only with equals and not_equals"):
        parse_contract(
            (HEAD + MATCH + PLAIN).replace("topic: shop.orders", f"topic: shop.orders, when: {{path: x, {test}}}"),
            "f",
            {},
        )


def test_what_tells_items_apart_has_no_tolerance() -> None:
    """Another value is another item: within the tolerance it would be missing, and an unexpected one be there."""
    said = "compare: {unordered: [{path: $.l, by: p}], tolerance: [{path: '$.l[*].p', abs: 1}]}\n"
    with pytest.raises(ContractError, match=r"a part of compare\.unordered\.by, whose value counts as it is"):
        parse_contract(HEAD + MATCH + PLAIN + said, "f", {})


def test_the_order_of_fields_means_nothing_under_a_tolerance_for_all_of_them() -> None:
    """What is lifted out of two equal messages is the same, or copies would not be known as such."""
    made = compiled("rebuild: {id: id, prices: prices}\ncompare: {tolerance: [{path: '$.prices.*', abs: 0.01}]}\n")
    one = made.observe(record({"id": 1, "prices": {"a": 1, "b": 2}}))
    other = made.observe(record({"id": 1, "prices": {"b": 2, "a": 1}}))
    assert (one.payload, one.beside) == (other.payload, other.beside)


def test_the_address_of_the_legacy_cluster_is_no_rule(tmp_path: Path) -> None:
    """Whoever reaches it by another address judges alike; whether there is one at all is a rule."""
    hashes = []
    for legacy in ("", ", broker: 'kafka://a:1'", ", broker: 'kafka://b:2'", ", mirror: {broker: 'kafka://a:1'}"):
        head = HEAD.replace("{topic: shop.orders}", f"{{topic: shop.orders{legacy}}}") + MATCH
        hashes.append(rules_hash(contract("rebuild: {id: id}\n", head=head)))
    assert hashes[1] == hashes[2]
    assert len(set(hashes)) == 3


def test_a_default_of_items_may_have_fields_of_its_own() -> None:
    """With `unexpected: ignore` too, which goes by what the mapping makes."""
    rest = "rebuild: {id: id, l: {each: l, fields: {a: a}, default: [{b: 1}]}}\ncompare: {unexpected: ignore}\n"
    made = compiled(rest)
    (expected,) = made.rebuild(record({"id": 1}))
    assert expected.digest == made.observe(record({"id": 1, "l": [{"b": 1}], "more": 2})).digest
    for lines in ([{"a": 1, "extra": 1}], [{"b": 1, "extra": 1}]):
        actual = made.observe(record({"id": 1, "l": lines}))
        bare = [{name: each for name, each in line.items() if name != "extra"} for line in lines]
        assert actual.digest == made.observe(record({"id": 1, "l": bare})).digest
    contract("rebuild: {id: id, l: {each: l, fields: {a: a}, default: [{b: 1}]}}\nsensitive: ['l[*].b']\n")
    deep = compiled(rest.replace("fields: {a: a}", "fields: {o.a: a}").replace("{b: 1}", "{o: {b: 1}}"))
    (expected,) = deep.rebuild(record({"id": 1}))
    assert expected.digest == deep.observe(record({"id": 1, "l": [{"o": {"b": 1}}], "more": 2})).digest
    contract("rebuild: {id: id, r: {from: g, upper: true, map: {G: {x: 1}}}}\nsensitive: [r.x]\n")


@pytest.mark.parametrize("part", ["{each: l, item: .}", "{const: [1]}", "{const: {a: 1}}"])
def test_a_part_of_a_text_is_no_list_and_no_object(part: str) -> None:
    """It would be a hole in every message."""
    with pytest.raises(ContractError, match="no list and no object is one"):
        contract(f"rebuild: {{id: id, x: {{concat: [{part}]}}}}\n")
