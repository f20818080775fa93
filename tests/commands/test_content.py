"""What may be seen of a source record: only what the contract names and does not hide (R13)."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover_app.commands.content import Contents
from cutover_app.commands.files import SourceRecord
from cutover_app.contract.compile import compile_contract
from cutover_app.contract.load import parse_contract

CONTRACT = """\
contract: orders
broker: kafka://127.0.0.1:1
legacy: {topic: shop.orders, when: {path: internal, equals: 1}}
rebuilt: {topic: orders.v2}
match: {key: [order_id]}
rebuild:
  order_id: id
  customer.name: nm
  customer.full: {concat: [first, nm], sep: " "}
  status: {from: st, map: {P: PAID}}
  second: lines[1].sku
  address: addr
  lines: {each: items, fields: {sku: sku, secret: sec, again: $.id}}
sensitive: [$.customer.name, "$.lines[*].secret", $.address.street]
"""

SECRET = "s3cret"


def contents(text: str = CONTRACT, **files: str) -> Contents:
    contract = parse_contract(text, "contract.yaml", {})
    return Contents(contract, compile_contract(contract))


def record(message: Any, offset: int = 1) -> SourceRecord:
    value = message if isinstance(message, bytes) else json.dumps(message).encode()
    return SourceRecord("t", 0, offset, 5, 0, b"key", value, ())


LEGACY = {
    "id": "o1",
    "nm": SECRET,
    "first": "Kim",
    "st": "P",
    "internal": 1,
    "extra": {"deep": SECRET},
    "addr": {"street": SECRET, "city": "Seoul"},
    "items": [{"sku": "A", "sec": SECRET, "other": SECRET}],
    "lines": [{"sku": SECRET}, {"sku": SECRET}],
}


def builtins(value: Any) -> Any:
    """Return what JSON makes of it; secrets must not be in there."""
    import msgspec  # noqa: PLC0415 - here alone

    data = msgspec.json.encode(value)
    assert SECRET.encode() not in data
    return json.loads(data)


def hidden(value: Any) -> bool:
    return isinstance(value, dict) and "masked" in value


def test_a_legacy_message() -> None:
    """Fields that become visible fields are seen; those of hidden ones, of conditions, and unnamed ones are not."""
    seen = builtins(contents().legacy(record(LEGACY)))

    assert (seen["id"], seen["st"], seen["items"][0]["sku"]) == ("o1", "P", "A")
    assert (seen["first"], hidden(seen["nm"])) == (
        "Kim",
        True,
    )  # `nm` also becomes a visible field: hidden all the same
    assert hidden(seen["internal"])
    assert hidden(seen["extra"])
    assert hidden(seen["items"][0]["sec"])
    assert hidden(seen["items"][0]["other"])
    assert all(hidden(each) or hidden(each["sku"]) for each in seen["lines"])


def test_a_copied_object_hides_what_is_below() -> None:
    """Where a whole object is copied and a part of it is sensitive, the legacy object is hidden whole."""
    seen = builtins(contents().legacy(record(LEGACY)))

    assert hidden(seen["addr"])


def test_a_rebuilt_message() -> None:
    """Fields that the contract makes are seen unless they are sensitive; unexpected ones are not."""
    message = {
        "order_id": "o1",
        "customer": {"name": SECRET, "full": "x", "age": SECRET},
        "lines": [{"sku": "A", "secret": SECRET, "trace": SECRET}],
        "address": {"street": SECRET, "city": "Seoul"},
        "surprise": SECRET,
    }
    seen = builtins(contents().rebuilt(record(message)))

    assert seen["order_id"] == "o1"
    assert (hidden(seen["customer"]["name"]), seen["customer"]["full"], hidden(seen["customer"]["age"])) == (
        True,
        "x",
        True,
    )
    assert (seen["lines"][0]["sku"], hidden(seen["lines"][0]["secret"])) == ("A", True)
    assert hidden(seen["lines"][0]["trace"])
    assert (hidden(seen["address"]["street"]), seen["address"]["city"]) == (True, "Seoul")
    assert hidden(seen["surprise"])


def test_another_type_does_not_open_a_field() -> None:
    """Where an object with a sensitive field is a text, the text may be just that value."""
    seen = builtins(
        contents().rebuilt(record({"order_id": "o1", "customer": SECRET, "lines": SECRET, "address": SECRET}))
    )

    assert all(hidden(seen[name]) for name in ("customer", "lines", "address"))


def test_a_sensitive_object_is_hidden_whole() -> None:
    """Neither its values nor the names and number of its fields are seen."""
    seen = builtins(contents().rebuilt(record({"customer": {"name": {"s3cret": SECRET}}, "address": {"street": [1]}})))

    assert seen["customer"]["name"] == {"masked": "object", "len": 1}
    assert hidden(seen["address"]["street"])


def test_an_expected_message() -> None:
    """What a legacy record becomes is shown like a rebuilt one, and a hole is named."""
    made = contents()
    [expected] = made.expected(record(LEGACY | {"st": "?", "nm": "Kim", "lines": []}))
    seen = builtins(made.shown_expected(expected))

    assert (seen["order_id"], seen["status"], hidden(seen["customer"]["name"])) == ("o1", "<cannot be rebuilt>", True)


@pytest.mark.parametrize("tolerance", ["", "compare: {tolerance: [{path: $.total, abs: 1}]}\n"], ids=["", "tolerance"])
def test_an_expected_message_with_a_sealed_value(tolerance: str) -> None:
    """What is sealed travels beside the message, and is not seen; what a tolerance covers is."""
    text = CONTRACT.partition("rebuild:")[0] + "rebuild: {order_id: id, total: sum, card: {from: no, sealed: any}}\n"
    made = contents(text + tolerance)
    [expected] = made.expected(record({"id": "o1", "sum": 7, "no": SECRET, "internal": 1}))
    seen = builtins(made.shown_expected(expected))

    assert (seen["order_id"], seen["total"], hidden(seen["card"])) == ("o1", 7, True)


def test_what_is_no_message_says_why() -> None:
    """A record that cannot be read shows the reason, and nothing of it."""
    made = contents()

    assert builtins(made.legacy(record(b"s3cret{"))).keys() == {"undecodable"}
    assert "undecodable" in builtins(made.shown_expected(made.expected(record(b"s3cret{"))[0]))
    assert builtins(made.rebuilt(SourceRecord("t", 0, 1, 5, 0, None, None, ()))) == {"undecodable": "tombstone"}


def test_a_python_function_opens_nothing(tmp_path: Path) -> None:
    """Nobody knows what a function makes of which field: of legacy, names only; of rebuilt, what is expected."""
    (tmp_path / "shop_hook_content.py").write_text(
        "def rebuild(record):\n    return {'order_id': record['id'], 'n': 1}\n"
    )
    file = tmp_path / "contract.yaml"
    rebuild = CONTRACT[CONTRACT.index("rebuild:\n") : CONTRACT.index("sensitive:")]
    file.write_text(CONTRACT.replace(rebuild, 'rebuild: {python: "shop_hook_content:rebuild"}\n'))
    from cutover_app.contract.load import load_contract  # noqa: PLC0415 - for this test alone

    contract = load_contract(file, {})
    made = Contents(contract, compile_contract(contract))
    seen = builtins(made.legacy(record({"id": SECRET, "nm": SECRET})))
    assert list(seen) == ["id", "nm"]
    assert all(map(hidden, seen.values()))
    [expected] = made.expected(record({"id": "o1", "internal": 1}))
    seen = builtins(made.rebuilt(record({"order_id": "o1", "n": 2, "x": SECRET}), [expected]))
    assert (seen["order_id"], seen["n"], hidden(seen["x"])) == ("o1", 2, True)
    absent = Contents(contract, None)
    assert absent.expected(record({"id": "o1"})) == []


JSON = st.recursive(
    st.just(SECRET),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "full", "street", "sku", "secret", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON)
def test_sensitive_values_stay_hidden_whatever_their_form(value: Any) -> None:
    """Whatever stands at a sensitive path, at an unexpected one, or where they should be below, is never seen."""
    made = contents()
    builtins(made.legacy(record({"id": "o1", "nm": value, "internal": value, "x": value})))
    if not isinstance(value, dict | list):
        builtins(made.rebuilt(record({"customer": {"name": value, "age": value}, "x": value, "address": value})))
    builtins(made.rebuilt(record({"customer": {"name": value}, "x": value, "lines": [{"secret": value}]})))


@pytest.mark.parametrize("secret", ["", "k"])
def test_masks_have_an_hmac_where_there_is_a_key(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a key, equal hidden values can be seen to be equal."""
    monkeypatch.setenv("CUTOVER_HMAC_KEY", secret)
    seen = builtins(contents().legacy(record(LEGACY)))

    assert ("hmac" in seen["nm"]) is bool(secret)
