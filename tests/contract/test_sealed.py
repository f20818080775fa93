"""Sealed paths through a compiled contract: what matches, and what is said of a plaintext wherever it is."""

import base64
import hashlib
import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutover_app.contract.compile import Compiled
from cutover_app.core.verdicts import Finding
from tests.contract.helpers import HEAD, compiled, record, with_hook
from tests.core.ciphertexts import ciphertext

REST = """rebuild:
  id: no
  phone: {from: tel, replace: {"-": ""}, sealed: any}
  shop: shop
  lines: {each: items, fields: {sku: sku, secret: {from: s, sealed: any}}}
compare:
  ignore: [{path: $.trace, reason: new}]
  unordered: [{path: $.lines, by: sku}]
"""
MADE = compiled(REST)
TEL = "010-8765-4321"
PLAIN = "01087654321"
LEGACY = {"no": 7, "tel": TEL, "shop": "Seoul", "items": [{"sku": "B", "s": "card 4929-1538-2206"}, {"sku": "A"}]}


def sealed(seed: int = 1) -> str:
    return ciphertext(random.Random(seed))


def rebuilt(**changed: Any) -> dict[str, Any]:
    fine = {"id": 7, "phone": sealed(1), "shop": "Seoul", "lines": [{"sku": "A"}, {"sku": "B", "secret": sealed(2)}]}
    return {name: each for name, each in (fine | changed).items() if each is not ...}


def found(
    message: Any, legacy: Any = None, *, made: Compiled = MADE, same: bool | None = None, **around: Any
) -> list[Finding]:
    """Return what is wrong with a published message; `same`: whether the digests are equal."""
    (expected,) = made.rebuild(record(LEGACY if legacy is None else legacy))
    actual = made.observe(record(message, **around))
    if same is not None:
        assert (expected.digest == actual.digest) is same
    return list(made.diff(expected, actual))


def places(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(each.kind, each.path) for each in findings]


def test_a_sealed_message_matches() -> None:
    """Encrypted values, an unordered list with one of them, other sealed values each time: nothing to say."""
    assert found(rebuilt(), same=True) == []
    assert found(rebuilt(phone=sealed(3), trace={"id": "a" * 32, "at": 1_760_000_000_000}), same=True) == []


def test_nothing_sealed_is_in_the_payload() -> None:
    """The payload holds `true` in its place on both sides; the digests are equal."""
    (expected,) = MADE.rebuild(record(LEGACY))
    actual = MADE.observe(record(rebuilt()))
    assert expected.payload == actual.payload
    assert json.loads(expected.payload)["phone"] is True
    assert TEL not in repr(expected)


@pytest.mark.parametrize(
    "value",
    [PLAIN, TEL, base64.b64encode(PLAIN.encode()).decode(), PLAIN[::-1], 1087654321, True, "", [], {"a": PLAIN}],
)
def test_a_value_that_is_not_sealed(value: Any) -> None:
    """The plaintext, an encoding of it, or anything else that is no ciphertext: one finding, the value masked."""
    (finding,) = found(rebuilt(phone=value), same=True)
    assert (finding.kind, finding.path) == ("unsealed", "$.phone")
    assert PLAIN not in repr(finding)
    assert TEL not in repr(finding)
    assert finding.note


def test_in_lists_and_lists_without_order() -> None:
    """Items are checked one by one; a position that sorting changed is not shown."""
    assert places(found(rebuilt(lines=[{"sku": "B", "secret": "x"}, {"sku": "A"}]), same=True)) == [
        ("unsealed", "$.lines[*].secret")
    ]
    leak = [{"sku": "B", "secret": sealed(2) + "card 4929-1538-2206"}, {"sku": "A"}]
    (finding,) = found(rebuilt(lines=leak), same=True)
    assert finding.note == "the plaintext occurs here"


def test_null_absent_and_empty() -> None:
    """Null stays null; a value that is absent or null on one side is an ordinary difference; empty may stay empty."""
    nothing = LEGACY | {"tel": None}
    assert found(rebuilt(phone=None), nothing, same=True) == []
    assert places(found(rebuilt(), nothing)) == [("wrong_value", "$.phone")]
    assert places(found(rebuilt(phone=None))) == [("wrong_value", "$.phone")]
    assert places(found(rebuilt(phone=...))) == [("missing_field", "$.phone")]
    without = {name: each for name, each in LEGACY.items() if name != "tel"}
    assert found(rebuilt(phone=...), without, same=True) == []
    assert places(found(rebuilt(), without)) == [("unexpected_field", "$.phone")]
    empty = LEGACY | {"tel": ""}
    assert found(rebuilt(phone=""), empty, same=True) == []
    assert found(rebuilt(), empty, same=True) == []
    assert places(found(rebuilt(phone=""), same=True)) == [("unsealed", "$.phone")]


@pytest.mark.parametrize(
    ("around", "path"),
    [
        ({"key": PLAIN.encode()}, "$key"),
        ({"key": json.dumps({"tel": TEL}).encode()}, "$key"),
        ({"headers": (("x-tel", PLAIN.encode()),)}, "$headers.x-tel"),
        ({"headers": (("a", b"1"), (f"tel-{PLAIN}", b""))}, "$headers"),
        ({"headers": ((f"tel-{PLAIN}", PLAIN.encode()),)}, "$headers.*"),
        ({"headers": (("x", base64.b64encode(b"??" + PLAIN.encode() + b"!")),)}, "$headers.x"),
        ({"headers": (("x", PLAIN.encode().hex().upper().encode()),)}, "$headers.x"),
    ],
)
def test_around_the_value(around: dict[str, Any], path: str) -> None:
    """Key, names and values of headers are searched; a name that holds the plaintext is not shown."""
    findings = found(rebuilt(), same=True, **around)
    assert ("unsealed", path) in places(findings)
    assert PLAIN not in repr(findings)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"trace": {"a": [{"b": f"tel={PLAIN}"}]}}, [("unsealed", "$.trace.a[0].b")]),
        ({"trace": {PLAIN: 1}}, [("unsealed", "$.trace")]),
        ({"trace": {PLAIN: TEL}}, [("unsealed", "$.trace"), ("unsealed", "$.*")]),
        ({"shop": f"Seoul {TEL}"}, [("unsealed", "$.shop"), ("wrong_value", "$.shop")]),
        ({"more": {"x": [TEL]}}, [("unsealed", "$.more.*[0]"), ("unexpected_field", "$.more")]),
        ({PLAIN: 1}, [("unsealed", "$.*"), ("unexpected_field", "$.*")]),
        ({"phone": f"{sealed(1)}.{PLAIN}"}, [("unsealed", "$.phone")]),
    ],
)
def test_within_the_value(changed: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """Ignored, unexpected and differing fields are searched, names included."""
    findings = found(rebuilt(**changed))
    assert places(findings) == expected
    assert all(PLAIN not in repr(each) for each in findings if each.path != "$.shop")


def test_a_field_as_expected_may_hold_the_plaintext() -> None:
    """The contract says that it is published in clear there, and the digest vouches for it; so does the match key."""
    legacy = LEGACY | {"shop": f"shop of {TEL}"}
    assert found(rebuilt(shop=f"shop of {TEL}"), legacy, same=True) == []
    keyed = compiled(
        "rebuild: {id: no, phone: {from: tel, sealed: any}}\ncompare: {ignore: [{path: $.t, reason: x}]}\n"
    )
    order = {"no": f"order-{PLAIN}", "tel": PLAIN}
    message = {"id": f"order-{PLAIN}", "phone": sealed(), "t": f"v2/order-{PLAIN}"}
    assert found(message, order, made=keyed, same=True, key=f"order-{PLAIN}".encode()) == []
    assert places(found(message, order, made=keyed, key=f"order-{PLAIN} {PLAIN}".encode())) == [("unsealed", "$key")]


def test_constants_of_the_contract_are_no_secrets() -> None:
    """A default and a value out of a table are known anyway; the legacy value before it is searched."""
    rest = """rebuild:
  id: no
  kind: {from: k, map: {GOLD-4711-88213: CONTINENTAL_CUSTOMER}, default: UNKNOWN_CUSTOMER_KIND, sealed: any}
compare: {ignore: [{path: $.t, reason: x}]}
"""
    made = compiled(rest)
    legacy = {"no": 1, "k": "GOLD-4711-88213"}
    assert found({"id": 1, "kind": sealed(), "t": "CONTINENTAL_CUSTOMER"}, legacy, made=made) == []
    assert found({"id": 1, "kind": sealed(), "t": "UNKNOWN_CUSTOMER_KIND"}, {"no": 1}, made=made) == []
    assert places(found({"id": 1, "kind": sealed(), "t": "GOLD-4711-88213"}, legacy, made=made)) == [
        ("unsealed", "$.t")
    ]
    assert places(found({"id": 1, "kind": "CONTINENTAL_CUSTOMER"}, legacy, made=made)) == [("unsealed", "$.kind")]


@pytest.mark.parametrize("name", ["md5", "sha1", "sha256", "sha512", "sha3_256", "blake2b"])
def test_a_digest_is_no_encryption(name: str) -> None:
    """A digest of the value, in base64, is told although it looks as random as a ciphertext."""
    value = base64.b64encode(hashlib.new(name, PLAIN.encode()).digest()).decode()
    (finding,) = found(rebuilt(phone=value))
    assert finding.kind == "unsealed"
    assert name in finding.note or "too few" in finding.note


def test_hexadecimal_form() -> None:
    """`sealed: hex` takes what `any` refuses, a digest of the value apart; the note of `any` names it."""
    value = random.Random(5).randbytes(32).hex()
    (finding,) = found(rebuilt(phone=value))
    assert "`sealed: hex`" in finding.note
    made = compiled("rebuild: {id: no, phone: {from: tel, sealed: hex}}\n")
    assert found({"id": 7, "phone": value}, made=made) == []
    assert "sha256" in found({"id": 7, "phone": hashlib.sha256(TEL.encode()).hexdigest()}, made=made)[0].note


def test_a_hook_names_its_sealed_paths(tmp_path: Path) -> None:
    """With a Python rebuild, paths are listed; lists and whole objects may be sealed."""
    hook = "def rebuild(r):\n    return {'id': r['no'], 'who': {'n': r['n'], 't': r['t']}, 'l': [{'s': r['t']}]}\n"
    made = with_hook(tmp_path, "hook_sealed", hook, "sealed: [$.who, {path: '$.l[*].s', form: hex}]\n")
    legacy = {"no": 1, "n": "Kim Chulsoo", "t": TEL}
    fine = {"id": 1, "who": sealed(), "l": [{"s": random.Random(6).randbytes(40).hex()}]}
    assert found(fine, legacy, made=made, same=True) == []
    assert places(found(fine, legacy, made=made, key=f"k {TEL}".encode())) == [("unsealed", "$key")]
    clear = fine | {"who": {"n": "Kim Chulsoo", "t": TEL}, "l": [{"s": TEL}]}
    assert places(found(clear, legacy, made=made, same=True)) == [("unsealed", "$.l[0].s"), ("unsealed", "$.who")]


def test_with_a_tolerance_and_a_hole() -> None:
    """What else travels beside a payload still does: a value off, a hole, and a leak are all found."""
    rest = """rebuild: {id: no, phone: {from: tel, sealed: any}, total: total, st: {from: st, map: {P: PAID}}}
compare: {tolerance: [{path: $.total, abs: 0.01}]}
"""
    made = compiled(rest)
    legacy = {"no": 1, "tel": TEL, "total": 10, "st": "P"}
    fine = {"id": 1, "phone": sealed(), "total": 10.01, "st": "PAID"}
    assert found(fine, legacy, made=made, same=True) == []
    assert places(found(fine | {"total": 11, "phone": TEL}, legacy, made=made, same=True)) == [
        ("unsealed", "$.phone"),
        ("wrong_value", "$.total"),
    ]
    holed = found(fine | {"total": 11, "phone": TEL}, legacy | {"st": "?"}, made=made, same=False)
    assert places(holed) == [("unsealed", "$.phone"), ("unmapped_value", "$.st"), ("wrong_value", "$.total")]


def test_unexpected_fields_that_are_not_compared_are_searched() -> None:
    """`unexpected: ignore` hides a field from the comparison, and not from the search."""
    made = compiled("rebuild: {id: no, phone: {from: tel, sealed: any}}\ncompare: {unexpected: ignore}\n")
    message = {"id": 1, "phone": sealed(), "debug": {"tel": TEL}}
    assert places(found(message, {"no": 1, "tel": TEL}, made=made, same=True)) == [("unsealed", "$.debug.tel")]


def test_short_values_are_not_searched_elsewhere() -> None:
    """Four digits stand in every timestamp: no finding; in the sealed value itself they are seen by its form."""
    made = compiled("rebuild: {id: no, pin: {from: pin, sealed: any}}\ncompare: {ignore: [{path: $.t, reason: x}]}\n")
    message = {"id": 1, "pin": sealed(), "t": "1234 at 17:12:34"}
    assert found(message, {"no": 1, "pin": "1234"}, made=made, key=b"1234") == []
    assert places(found(message | {"pin": "1234"}, {"no": 1, "pin": "1234"}, made=made)) == [("unsealed", "$.pin")]


# -- properties ---------------------------------------------------------------------------------------------------

FORMS = {
    "plain": lambda text: text,
    "reversed": lambda text: text[::-1],
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "shifted": lambda text: base64.b64encode(b"??" + text.encode() + b"?").decode(),
    "url": lambda text: base64.urlsafe_b64encode(b"?" + text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
    "escaped": json.dumps,
    "percent": lambda text: "".join(
        f"%{byte:02X}" if byte > 0x7F or byte in b' %"\\{}' else chr(byte) for byte in text.encode()
    ),
}
SAYING = st.text(
    "abcdefghijklmnopqrstuvwxyzABCDEF0123456789 -가나다라마바사아자차카타파하", min_size=30, max_size=60
).map(lambda text: f"{text.strip()}#48291")


def _plant(place: str, text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what of the message and of the record holds a text."""
    match place:
        case "key":
            return {}, {"key": f"a/{text}/b".encode()}
        case "header":
            return {}, {"headers": (("h", f"x={text};".encode()),)}
        case "header name":
            return {}, {"headers": ((text, b""),)}
        case "sealed":
            return {"phone": f"{sealed(1)} {text}"}, {}
        case "field":
            return {"shop": text}, {}
        case "name":
            return {f"x {text}": 1}, {}
        case _:
            return {place: {"deep": ["", {"er": f"<{text}>"}]}}, {}


@settings(max_examples=300)
@given(
    text=SAYING,
    form=st.sampled_from(sorted(FORMS)),
    place=st.sampled_from(["key", "header", "header name", "sealed", "field", "name", "trace", "unexpected"]),
)
def test_a_plaintext_is_found_in_any_place_and_form(text: str, form: str, place: str) -> None:
    """Planted anywhere in the record, in any form, a plaintext that says enough is found; and it is not shown."""
    changed, around = _plant(place, FORMS[form](text))
    findings = found(rebuilt(**changed), LEGACY | {"tel": text}, **around)
    assert "unsealed" in {each.kind for each in findings}
    assert all(text not in repr(each) for each in findings if each.kind == "unsealed")


@settings(max_examples=300)
@given(
    seed=st.integers(0, 1 << 40),
    tel=st.one_of(
        st.text(max_size=20), st.from_regex(r"010-[0-9]{4}-[0-9]{4}", fullmatch=True), st.integers(0, 10**12)
    ),
    trace=st.recursive(
        st.one_of(
            st.uuids().map(str),
            st.integers(1_760_000_000_000, 1_770_000_000_000),
            st.binary(max_size=40).map(bytes.hex),
        ),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.uuids().map(str), inner, max_size=3),
    ),
    headers=st.lists(st.binary(max_size=40), max_size=3),
)
def test_messages_without_it_raise_nothing(seed: int, tel: Any, trace: Any, headers: list[bytes]) -> None:
    """Whatever is sealed, and whatever identifiers, times and random bytes are around it: no finding."""
    sealed_value = "" if tel == "" else ciphertext(random.Random(seed))
    around = {"headers": tuple((f"h{n}", each) for n, each in enumerate(headers)), "key": b"7"}
    assert (
        found(
            rebuilt(phone=sealed_value, trace=trace), LEGACY | {"tel": tel} if isinstance(tel, str) else None, **around
        )
        == []
    )


@pytest.mark.parametrize(
    "hide",
    [
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: text.encode().hex(),
        lambda text: text[::-1],
    ],
    ids=["base64", "hex", "reversed"],
)
def test_what_says_that_a_plaintext_is_there_does_not_show_it(hide: Any) -> None:
    """The value differs, too, and would be shown beside the finding that masks it."""
    said = found(rebuilt(shop=hide(PLAIN)))
    assert places(said) == [("unsealed", "$.shop"), ("wrong_value", "$.shop")]
    assert hide(PLAIN) not in json.dumps([str(each) for each in said])


@pytest.mark.parametrize("tel", [TEL, "x" * 300, "42"])
def test_a_note_about_a_value_that_cannot_be_written_quotes_no_plaintext(tel: str) -> None:
    """Another legacy field holds the same, and has no place in the new format."""
    made = compiled("rebuild: {id: no, phone: {from: tel, sealed: any}, shop: {from: shop, as: boolean}}")
    said = found(rebuilt(lines=...), LEGACY | {"tel": tel, "shop": tel}, made=made)
    assert [each.path for each in said] == ["$.shop"]
    assert tel[:10] not in said[0].note


def test_a_list_that_cannot_be_written_whole_is_not_encrypted_either() -> None:
    """A value out of no table inside a list that is sealed is a finding, not the end of every worker."""
    made = compiled("rebuild: {id: no, lines: {each: items, fields: {s: {from: sku, map: {A: a}}}}}\nsealed: [$.lines]")
    said = found({"id": 7, "lines": sealed()}, made=made)
    assert places(said) == [("unmapped_value", "$.lines")]


def test_a_key_that_is_a_plaintext_elsewhere_is_not_shown() -> None:
    """The same legacy value is encrypted in another field."""
    head = HEAD + "match: {key: [tel]}\n"
    made = compiled("rebuild: {tel: tel, phone: {from: tel, sealed: any}}", head=head)
    (entry,) = made.rebuild(record(LEGACY))
    assert TEL not in str(made.shown_key(entry.key))


def test_a_whole_of_several_targets_is_sealed_like_one() -> None:
    """Dotted targets, or the items of a list: what cannot be written is a finding there, and nobody ends of it."""
    dotted = compiled("rebuild: {id: no, a.b: {from: x, map: {A: a}}, a.c: y}\nsealed: [$.a]\n")
    items = compiled("rebuild: {id: no, l: {each: items, fields: {s: {from: x, map: {A: a}}}}}\nsealed: ['$.l[*]']\n")
    assert places(found({"id": 1, "a": sealed()}, {"no": 1, "x": "Q", "y": "z"}, made=dotted)) == [
        ("unmapped_value", "$.a")
    ]
    assert places(found({"id": 1, "l": [sealed()]}, {"no": 1, "items": [{"x": "Q"}]}, made=items)) == [
        ("unmapped_value", "$.l[0]")
    ]
    assert not found({"id": 1, "a": sealed()}, {"no": 1, "x": "A", "y": "z"}, made=dotted, same=True)
    assert not found({"id": 1, "l": [sealed()]}, {"no": 1, "items": [{"x": "A"}]}, made=items, same=True)


@pytest.mark.parametrize(
    ("rebuild", "rule", "legacy"),
    [
        ("a.s: {from: st, map: {P: PAYMENT COMPLETED}}, a.p: {from: tel, replace: {'-': ''}}", "$.a", {}),
        ("a.s: {const: PAYMENT COMPLETED}, a.p: {from: tel, replace: {'-': ''}}", "$.a", {}),
        ("a: {each: l, fields: {s: {from: st, map: {P: PAYMENT COMPLETED}}, p: {from: tel, trim: true}}}", "$.a", {}),
        (
            "a: {each: l, fields: {s: {from: st, map: {P: PAYMENT COMPLETED}}, p: {from: tel, trim: true}}}",
            "$.a[*]",
            {},
        ),
        ("a: {concat: [{from: st, map: {P: PAYMENT COMPLETED}}, {from: tel, replace: {'-': ''}}]}", "$.a", {}),
    ],
    ids=["dotted", "constant", "list", "items", "concat"],
)
def test_of_a_sealed_whole_each_part_is_a_secret(rebuild: str, rule: str, legacy: dict[str, Any]) -> None:
    """The legacy spelling of a part counts; what the contract itself says does not."""
    made = compiled(f"rebuild: {{id: no, {rebuild}}}\nsealed: ['{rule}']\n")
    legacy = {"no": 1, "st": "P", "tel": TEL, "l": [{"st": "P", "tel": TEL}]}
    message = {"id": 1, "a": [sealed()] if rule.endswith("]") else sealed()}
    assert not found(message, legacy, made=made, same=True)
    assert not found(message, legacy, made=made, headers=(("h", b"PAYMENT COMPLETED"),))
    said = found(message, legacy, made=made, headers=(("h", f"tel={TEL}".encode()),))
    assert places(said) == [("unsealed", "$headers.h")]


def test_a_text_of_several_parts_is_sealed_as_one() -> None:
    """`sealed` beside `concat`, with a step after it: the whole in clear is found, its ciphertext is fine."""
    made = compiled("rebuild: {id: no, n: {concat: [first, last], sep: ' ', upper: true, sealed: any}}\n")
    legacy = {"no": 1, "first": "Margarethe", "last": "Obermueller-Hoffmann 1972"}
    assert not found({"id": 1, "n": sealed()}, legacy, made=made, same=True)
    assert places(found({"id": 1, "n": "MARGARETHE OBERMUELLER-HOFFMANN 1972"}, legacy, made=made)) == [
        ("unsealed", "$.n")
    ]
    around = (("h", b"Obermueller-Hoffmann 1972"),)
    assert places(found({"id": 1, "n": sealed()}, legacy, made=made, headers=around)) == [("unsealed", "$headers.h")]


@pytest.mark.parametrize("value", ['a"bcdefgh secret', "Main Street 5\n12345 Berlin", "C:\\users\\secretname", 123])
@pytest.mark.parametrize("rule", ["as: boolean", "map: {1: a}"])
def test_no_note_quotes_a_plaintext_in_another_spelling(value: Any, rule: str) -> None:
    """As JSON writes it, or as a short number."""
    made = compiled(f"rebuild: {{id: no, phone: {{from: tel, sealed: any}}, shop: {{from: shop, {rule}}}}}\n")
    (said,) = found({"id": 1, "phone": sealed()}, {"no": 1, "tel": value, "shop": value}, made=made)
    assert said.note == "legacy value (not shown)"


def test_where_a_path_is_not_shown_its_value_is_not_either() -> None:
    """An item is named after a plaintext, and its value is another spelling of it."""
    text = "+82 10 1234 5678 Kim"
    code = base64.b64encode(text.encode()).decode()
    made = compiled(
        "rebuild: {id: no, phone: {from: tel, sealed: any}, l: {each: l, fields: {n: n, k: k}}}\n"
        "compare: {unordered: [{path: $.l, by: k}]}\n"
    )
    legacy = {"no": 1, "tel": text, "l": [{"k": text[::-1], "n": "one"}]}
    said = found({"id": 1, "phone": sealed(), "l": [{"k": text[::-1], "n": code}]}, legacy, made=made)
    assert places(said) == [("unsealed", "$.*"), ("wrong_value", "$.*")]
    assert code not in repr(said)


def test_what_is_masked_is_the_value_of_that_finding() -> None:
    """Items of a list without order have one path: whoever lacks a value gets none of another."""
    text = "+82 10 1234 5678 Kim"
    code = base64.b64encode(text.encode()).decode()
    made = compiled(
        "rebuild: {id: no, phone: {from: tel, sealed: any}, l: {each: l, item: .}}\n"
        "compare: {unordered: [{path: $.l}]}\n"
    )
    legacy = {"no": 1, "tel": text, "l": ["one", "two", "four"]}
    said = found({"id": 1, "phone": sealed(), "l": ["three", code]}, legacy, made=made)
    lengths = [(each.kind, getattr(each.actual, "len", None)) for each in said]
    assert sorted(lengths, key=str) == sorted(
        [("unsealed", 28), ("wrong_value", 28), ("wrong_value", 5), ("missing_field", None)], key=str
    )


def test_a_value_that_a_table_lets_through_is_a_secret() -> None:
    """`unmapped: keep`: what is not out of the table is what must not be published."""
    made = compiled(
        "rebuild: {id: no, p: {from: tel, replace: {'-': ''}, map: {X: NONE}, unmapped: keep, sealed: any}}\n"
    )
    around = (("h", PLAIN.encode()),)
    assert places(found({"id": 1, "p": sealed()}, {"no": 1, "tel": TEL}, made=made, headers=around)) == [
        ("unsealed", "$headers.h")
    ]
    said = (("h", b"NONE of the above, and more than that"),)
    assert not found({"id": 1, "p": sealed()}, {"no": 1, "tel": "X"}, made=made, headers=said)


def test_a_digest_of_what_the_contract_says_is_no_encryption_either() -> None:
    """Whoever knows the table knows the value."""
    made = compiled("rebuild: {id: no, p: {from: t, map: {G: GOLD}, sealed: hex}}\n")
    code = hashlib.sha256(b"GOLD").hexdigest()
    assert places(found({"id": 1, "p": code}, {"no": 1, "t": "G"}, made=made)) == [("unsealed", "$.p")]


@pytest.mark.parametrize(
    ("rebuild", "path"),
    [
        ("p: {from: tel, as: integer, sealed: any}", "$.p"),
        ("p.a: {from: tel, replace: {'-': ''}}, p.b: {from: kind, map: {A: a}}", "$.p"),
    ],
    ids=["a value", "a whole"],
)
def test_what_cannot_be_written_is_looked_for_all_the_same(rebuild: str, path: str) -> None:
    """A value that has no form in the new spec is a secret still, wherever else it is published."""
    made = compiled(f"rebuild: {{id: no, {rebuild}, shop: shop}}\n" + ("sealed: [$.p]\n" if "p.a" in rebuild else ""))
    legacy = {"no": 1, "tel": TEL, "kind": "?", "shop": "S"}
    said = found({"id": 1, "p": sealed(), "shop": f"call {TEL}"}, legacy, made=made)
    assert ("unsealed", "$.shop") in places(said)
    assert path in [each.path for each in said]
    assert TEL not in repr(said)


def test_a_default_of_a_sealed_text_is_no_secret() -> None:
    """A part is absent, so the contract's own text stands there."""
    made = compiled("rebuild: {id: no, n: {concat: [a, b], sep: ' ', default: NOT ON RECORD, sealed: any}}\n")
    around = (("h", b"NOT ON RECORD"),)
    assert not found({"id": 1, "n": sealed()}, {"no": 1, "a": "x"}, made=made, headers=around)


def test_a_changed_part_of_a_sealed_text_is_a_secret() -> None:
    """The part as it is in the text, and as it was in the legacy message."""
    made = compiled(
        "rebuild: {id: no, n: {concat: [{from: tel, replace: {'-': ''}}, {from: name}], sep: ' ', sealed: any}}\n"
    )
    for each in (PLAIN, TEL):
        around = (("h", each.encode()),)
        said = found({"id": 1, "n": sealed()}, {"no": 1, "tel": TEL, "name": "Kim"}, made=made, headers=around)
        assert places(said) == [("unsealed", "$headers.h")]


def test_what_all_sealed_items_share_does_not_fill_memory() -> None:
    """A few kilobytes would come to gigabytes of secrets: that is said of the message, and nobody ends of it."""
    made = compiled("rebuild: {id: no, l: {each: items, fields: {h: $.h}}}\nsealed: ['$.l[*]']\n")
    began = time.monotonic()
    (large,) = made.rebuild(record({"no": 1, "h": list(range(10_000, 14_000)), "items": [{}] * 4000}))
    assert large.payload.startswith(b"oversized: more than ")
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("value", ['a"b', "no", "has", "2"])
def test_short_plaintexts_are_told_from_what_a_note_says_itself(value: str) -> None:
    """A note that quotes one is not shown; one that has it among its own words is."""
    made = compiled("rebuild: {id: no, p: {from: tel, sealed: any}, k: {from: kind, map: {1: a}}}\n")
    (said,) = found({"id": 1, "p": sealed()}, {"no": 1, "tel": value, "kind": value}, made=made)
    assert said.note == "legacy value (not shown)"
    (said,) = found({"id": 1, "p": sealed()}, {"no": 1, "tel": value, "kind": "else"}, made=made)
    assert said.note == 'legacy value "else" has no entry in the table'


@pytest.mark.parametrize(
    ("rebuild", "legacy", "said"),
    [
        ("n: {concat: [a, {from: b, default: unknown branch 4711}], sealed: any}", {"a": "x"}, "unknown branch 4711"),
        ("n: {from: t, map: {A: '49301538220'}, unmapped: keep, as: integer, sealed: any}", {"t": "A"}, "49301538220"),
    ],
    ids=["a default of a part", "a value out of a table that is cast"],
)
def test_what_the_contract_says_is_no_secret_in_any_form(rebuild: str, legacy: dict[str, Any], said: str) -> None:
    """It stands in clear elsewhere, and that says nothing about the message."""
    made = compiled(f"rebuild: {{id: no, {rebuild}}}\n")
    assert not found({"id": 1, "n": sealed()}, {"no": 1} | legacy, made=made, headers=(("h", said.encode()),))


def test_every_part_that_cannot_be_written_is_looked_for() -> None:
    """Two of them in one whole, a list that is none, an item that is no object."""
    other = "4929-1538-2206"
    made = compiled("rebuild: {id: no, p.a: {from: a, as: integer}, p.b: {from: b, as: integer}}\nsealed: [$.p]\n")
    for text in (TEL, other):
        around = (("h", text.encode()),)
        said = found({"id": 1, "p": sealed()}, {"no": 1, "a": TEL, "b": other}, made=made, headers=around)
        assert ("unsealed", "$headers.h") in places(said)
    made = compiled("rebuild: {id: no, l: {each: l, fields: {a: a}}}\nsealed: [$.l]\n")
    for lines in (TEL, [TEL]):
        said = found({"id": 1, "l": sealed()}, {"no": 1, "l": lines}, made=made, headers=(("h", TEL.encode()),))
        assert ("unsealed", "$headers.h") in places(said)


def test_a_list_that_says_the_same_very_often_is_not_too_long() -> None:
    """What counts is what would have to be looked for."""
    made = compiled("rebuild: {id: no, l: {from: l, sealed: any}}\n")
    (large,) = made.rebuild(record({"no": 1, "l": [number % 10 for number in range(300_000)]}))
    (larger,) = made.rebuild(record({"no": 1, "l": [number % 10 for number in range(900_000)]}))
    assert (large.kind, larger.kind) == (0, 0)


def test_very_many_sealed_values_are_looked_through_once() -> None:
    """Each ciphertext of the length of a digest may be one of any plaintext."""
    made = compiled("rebuild: {id: no, s: s}\nsealed: ['s[*]']\n")
    legacy = {"no": 1, "s": [f"account {number:08d}" for number in range(1000)]}
    rng = random.Random(1)
    began = time.monotonic()
    assert not found(
        {"id": 1, "s": [base64.b64encode(rng.randbytes(32)).decode() for _ in range(1000)]}, legacy, made=made
    )
    assert time.monotonic() - began < 4


def test_a_strict_number_is_found_without_its_point_too() -> None:
    """12345678901.0 is another number than 12345678901 there, and the same plaintext."""
    made = compiled("rebuild: {id: no, p: {from: p, sealed: any}}\ncompare: {numbers: strict}\n")
    legacy, around = b'{"no":1,"p":12345678901.0}', (("h", b"12345678901"),)
    (expected,) = made.rebuild(record(legacy))
    said = made.diff(expected, made.observe(record({"id": 1, "p": sealed()}, headers=around)))
    assert places(list(said)) == [("unsealed", "$headers.h")]


@pytest.mark.parametrize("text", ['Kim "MJ" Minsu Park', "C:\\users\\minsu.park", "x" * 100 + "y" * 100])
def test_no_path_shows_a_plaintext_in_another_spelling(text: str) -> None:
    """Names in paths are quoted, and cut."""
    made = compiled(
        "rebuild: {id: no, phone: {from: tel, sealed: any}}\ncompare: {ignore: [{path: $.meta, reason: new}]}\n"
    )
    said = found({"id": 1, "phone": sealed(), "meta": {text: text}}, {"no": 1, "tel": text}, made=made)
    assert places(said) == [("unsealed", "$.meta"), ("unsealed", "$.*")]  # its name, and its value
    made = compiled("rebuild: {id: no, m: m}\nsealed: ['m.*']\n")
    said = found({"id": 1, "m": {text: "plain text of some length"}}, {"no": 1, "m": {"a": text}}, made=made)
    assert text[:40] not in repr(said)


def test_a_text_within_a_text_is_searched_too() -> None:
    """A sealed text of several parts, one of which has parts of its own."""
    made = compiled("rebuild: {id: no, n: {concat: [{concat: [a, b]}, c], sep: ' ', sealed: any}}\n")
    legacy = {"no": 1, "a": "010", "b": "87654321", "c": "x"}
    around = (("h", b"01087654321"),)
    assert places(found({"id": 1, "n": sealed()}, legacy, made=made, headers=around)) == [("unsealed", "$headers.h")]
