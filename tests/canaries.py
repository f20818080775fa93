"""Sensitive values planted everywhere in the messages of one contract, and a search for them.

Each value is a canary: a text that occurs nowhere else. None may be in anything that is shown. The values of fields
that the contract does not call sensitive are no canaries: they are there to be shown.
"""

import base64
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.core.ciphertexts import ciphertext

MAPPING: dict[str, Any] = {
    "order_id": "id",
    "customer.name": {"from": "nm", "trim": True},
    "customer.phone": {"from": "tel", "replace": {"-": ""}, "sealed": "any"},
    "customer.prefs": "prefs",
    "customer.age": {"from": "age", "as": "integer"},
    "total": {"from": "amt", "as": "decimal"},
    "region": {"from": "$.tel", "map": {"02": "SEOUL"}, "unmapped": "null"},
    "area": {"from": "tel", "when": {"path": "strict", "equals": True}, "as": "integer"},
    "lines": {"each": "items", "fields": {"sku": "sku", "secret": {"from": "s", "sealed": "any"}}},
}
SENSITIVE = ["$.customer.name", "$.customer.prefs", "$.customer.age"]
COMPARE = {
    "ignore": [{"path": "$.trace", "reason": "new"}],
    "unordered": [{"path": "$.lines", "by": "sku"}],
}
HOOK = '''
"""The same rebuild in Python; it fails in every way that may quote a value."""


def rebuild(order):
    fault = order.get("fault")
    if fault == "raise":
        raise ValueError(f"cannot rebuild {order['nm']}, {order['tel']}")
    if fault == "key":
        return order["prefs"]["missing " + order["nm"]]
    if fault == "return":
        return order["nm"]
    if fault == "name":
        return {"order_id": order["id"], order["nm"]: {1: 2}}
    if fault == "odd":
        return {"order_id": order["id"], order["nm"]: object()}
    return {
        "order_id": order["id"],
        "customer": {
            "name": order.get("nm"), "phone": order.get("tel"), "prefs": order.get("prefs"), "age": order.get("age"),
        },
        "total": order.get("amt"),
        "region": None,
        "lines": [{"sku": each["sku"], "secret": each["s"]} for each in order.get("items", [])],
    }
'''
"""What a mapping cannot do: fail with a value in the text of the failure."""
HOOK_SEALED = ["$.customer.phone", "$.lines[*].secret"]


def canary(where: str) -> str:
    """Return the canary of a place; the same each time."""
    return f"CANARY-{where}-{random.Random(where).randrange(10**12):012d}"


@dataclass(frozen=True)
class Published:
    """A record: value, key and headers."""

    value: bytes
    key: bytes = b"k"
    headers: tuple[tuple[str, bytes], ...] = ()


def legacy(number: int, **changed: Any) -> dict[str, Any]:
    """Return a legacy order whose sensitive values are canaries."""
    order = {
        "id": f"o{number}",
        "nm": canary(f"name{number}"),
        "tel": canary(f"tel{number}"),
        "prefs": {"theme": canary(f"prefs{number}")},
        "age": 20 + number,
        "amt": "12.50",
        "items": [{"sku": "A", "s": canary(f"line{number}")}],
    }
    return {name: each for name, each in (order | changed).items() if each is not ...}


def rebuilt(number: int, customer: dict[str, Any] | None = None, **changed: Any) -> dict[str, Any]:
    """Return the message that is right for it."""
    rng = random.Random(number)
    who = {
        "name": canary(f"name{number}"),
        "phone": ciphertext(rng),
        "prefs": {"theme": canary(f"prefs{number}")},
        "age": 20 + number,
    } | (customer or {})
    message = {
        "order_id": f"o{number}",
        "customer": {name: each for name, each in who.items() if each is not ...},
        "total": 12.5,
        "region": None,
        "lines": [{"sku": "A", "secret": ciphertext(rng)}],
    }
    return {name: each for name, each in (message | changed).items() if each is not ...}


def _tel(number: int) -> str:
    return canary(f"tel{number}")


def orders() -> Iterator[tuple[Published | None, Published | None, str]]:
    """Yield both records of each order, and the kind of finding that there must be; "" for none."""
    yield _pair(legacy(1), rebuilt(1), "")
    other = canary("other")
    sensitive = [
        {"name": other}, {"name": ...}, {"name": {other: other}}, {"name": [other]}, {"age": other}, {"age": ...},
        {"prefs": {"theme": other}}, {"prefs": {other: 1}}, {"prefs": {"theme": {other: other}}}, {"prefs": [other]},
        {"prefs": None},
    ]  # fmt: skip
    for number, each in enumerate(sensitive, 10):
        yield _pair(legacy(number), rebuilt(number, each), "")
    leaks = [
        _tel, lambda n: _tel(n).replace("-", ""), lambda n: base64.b64encode(_tel(n).encode()).decode(),
        lambda n: _tel(n)[::-1], lambda n: {"x": _tel(n)}, lambda n: _tel(n).encode().hex(),
    ]  # fmt: skip
    for number, make in enumerate(leaks, 30):
        yield _pair(legacy(number), rebuilt(number, {"phone": make(number)}), "unsealed")
    for number, place in enumerate(("trace", "more", "shop"), 40):
        yield _pair(legacy(number), rebuilt(number, **{place: {"a": [_tel(number)], _tel(number): 1}}), "unsealed")
    yield _pair(legacy(45), rebuilt(45, **{f"x {_tel(45)}": _tel(45)}), "unsealed")
    yield _pair(legacy(46), rebuilt(46, lines=[{"sku": "A", "secret": canary("line46")}]), "unsealed")
    yield _pair(legacy(47), rebuilt(47, total=_tel(47)), "unsealed")
    yield _pair(legacy(48), rebuilt(48, total=f"for {canary('name48')}"), "wrong_type")
    yield _pair(legacy(49), rebuilt(49, lines=[{"sku": canary("name49")}]), "missing_field")
    around = [
        {"key": _tel(50).encode()}, {"headers": (("tel", _tel(51).encode()),)},
        {"headers": ((f"h-{_tel(52)}", b"1"), (f"h-{_tel(52)}", _tel(52).encode()))},
    ]  # fmt: skip
    for number, each in enumerate(around, 50):
        yield _pair(legacy(number), rebuilt(number), "unsealed", **each)
    yield _pair(legacy(60), rebuilt(60, extra={other: other}), "unexpected_field")
    yield _pair(legacy(61), rebuilt(61, total={other: other}), "wrong_type")
    yield _pair(legacy(62), rebuilt(62, region={other: other}), "wrong_value")
    yield _pair(legacy(63, items=[]), rebuilt(63, lines=[{other: other}]), "unexpected_field")
    yield _pair(legacy(64), None, "missing")
    yield _pair(None, rebuilt(65), "unknown")
    yield _pair(legacy(66, id=...), rebuilt(66, order_id={other: other}), "unkeyed")
    for number, text in enumerate(
        (b'{"nm": "%s', b'{"%s": 1, "%s": 2, "%s": 1}', b"%s", b'["%s"]', b'"%s"', b'{"x": %s}'), 70
    ):
        bad = text.replace(b"%s", canary(f"bad{number}").encode())
        yield Published(bad, canary("key").encode()), Published(bad), "undecodable"


def mapped() -> Iterator[tuple[Published | None, Published | None, str]]:
    """Yield what only a mapping does: holes, whose notes quote legacy values."""
    yield _pair(legacy(80, age=canary("age80")), rebuilt(80), "schema_violation")
    yield _pair(legacy(81, strict=True), rebuilt(81, area=1), "schema_violation")
    yield _pair(legacy(82, nm=[canary("name82")]), rebuilt(82), "schema_violation")
    yield _pair(legacy(83, tel={"a": canary("tel83")}), rebuilt(83, {"phone": canary("tel83")}), "schema_violation")
    yield _pair(legacy(84, items=canary("items84")), rebuilt(84), "schema_violation")
    yield _pair(legacy(85, amt={"a": canary("amt85")}), rebuilt(85), "schema_violation")


def hooked() -> Iterator[tuple[Published | None, Published | None, str]]:
    """Yield what only a hook does: exceptions and results that quote values."""
    for number, fault in enumerate(("raise", "key", "return", "name", "odd"), 90):
        yield _pair(legacy(number, fault=fault), None, "rebuild_failed")


def _pair(expected: Any, actual: Any, kind: str, **around: Any) -> tuple[Published | None, Published | None, str]:
    return (
        None if expected is None else Published(json.dumps(expected).encode()),
        None if actual is None else Published(json.dumps(actual).encode(), **around),
        kind,
    )


def seen(output: bytes | str) -> list[str]:
    """Return what is to be seen of any canary in some output: as it is, in base64, in hexadecimal text, reversed."""
    data = output.encode() if isinstance(output, str) else output
    found = []
    for word in (b"CANARY-", b"CANARY"):
        shifted = [base64.b64encode(b"?" * before + word)[-(-8 * before // 6) :][:7] for before in range(3)]
        for form in (word, word.lower(), word[::-1], word.hex().encode(), word.hex().upper().encode(), *shifted):
            if form in data:
                at = data.index(form)
                found.append(data[max(0, at - 60) : at + 60].decode(errors="replace"))
    return found
