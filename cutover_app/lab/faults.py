"""The faults that a scenario plants, and the verdicts to which each must lead.

A fault changes what the rebuilt producer publishes for one legacy message (or, for
`unmapped_value`, what the legacy producer published in the first place). Which path is hit and how
follows from a number that the scenario draws, so that a seed plants the same faults every time.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from cutover_app.lab.ledger import Due, Entry
from cutover_app.lab.sealing import LEAKS, Leaked

Message: TypeAlias = dict[str, Any]

KINDS: Final = (
    "missing_field",
    "unexpected_field",
    "wrong_value",
    "wrong_type",
    "unmapped_value",
    "missing",
    "unknown",
    "duplicate",
    "undecodable",
)
"""What any contract finds."""
DEFAULT_RATES: Final[Mapping[str, float]] = dict.fromkeys(KINDS, 0.0004)
"""Faults per message, by kind."""
ALL_KINDS: Final = (*KINDS, "unsealed", "out_of_order", "late")
"""Also what only a contract finds that asks for encryption, for order, or for a time to publish in."""
ALL_RATES: Final[Mapping[str, float]] = dict.fromkeys(ALL_KINDS, 0.0004)

UNMAPPED_STATUS: Final = "X"
"""A legacy status of which the contract's map knows nothing."""


def _line(message: Message, draw: int) -> Message:
    lines: list[Message] = message["lines"]
    return lines[draw % len(lines)]


def _drop_phone(message: Message, _draw: int) -> None:
    del message["customer"]["phone"]


def _drop_created(message: Message, _draw: int) -> None:
    del message["created_at"]


def _drop_price(message: Message, draw: int) -> None:
    del _line(message, draw)["unit_price"]


def _add_debug(message: Message, draw: int) -> None:
    message["debug"] = {"node": draw % 7}


def _add_grade(message: Message, _draw: int) -> None:
    message["customer"]["grade_code"] = "G1"


def _add_discount(message: Message, draw: int) -> None:
    _line(message, draw)["discount"] = 0


def _total_off(message: Message, _draw: int) -> None:
    message["total"] = round(message["total"] + 0.01, 2)


def _zone_lost(message: Message, _draw: int) -> None:
    message["created_at"] = message["created_at"].replace("+09:00", "+00:00")


def _quantity_off(message: Message, draw: int) -> None:
    _line(message, draw)["quantity"] += 1


def _name_cut(message: Message, _draw: int) -> None:
    message["customer"]["name"] = message["customer"]["name"][:-1]


def _status_held(message: Message, _draw: int) -> None:
    message["status"] = "ON_HOLD"


def _phone_null(message: Message, _draw: int) -> None:
    message["customer"]["phone"] = None


def _total_text(message: Message, _draw: int) -> None:
    message["total"] = str(message["total"])


def _quantity_text(message: Message, draw: int) -> None:
    line = _line(message, draw)
    line["quantity"] = str(line["quantity"])


def _version_flag(message: Message, _draw: int) -> None:
    message["schema_version"] = True


_CHANGES: Final[Mapping[str, tuple[tuple[str, Callable[[Message, int], None]], ...]]] = {
    "missing_field": (
        ("$.customer.phone", _drop_phone),
        ("$.created_at", _drop_created),
        ("$.lines[*].unit_price", _drop_price),
    ),
    "unexpected_field": (
        ("$.debug", _add_debug),
        ("$.customer.grade_code", _add_grade),
        ("$.lines[*].discount", _add_discount),
    ),
    "wrong_value": (
        ("$.total", _total_off),
        ("$.created_at", _zone_lost),
        ("$.lines[*].quantity", _quantity_off),
        ("$.customer.name", _name_cut),
        ("$.status", _status_held),
        ("$.customer.phone", _phone_null),
    ),
    "wrong_type": (
        ("$.total", _total_text),
        ("$.lines[*].quantity", _quantity_text),
        ("$.schema_version", _version_flag),
    ),
}

_DAMAGES: Final[Mapping[str, Callable[[bytes], bytes | None]]] = {
    "cut off": lambda value: value.partition(b'"lines"')[0],
    "not JSON": lambda value: b"<order>" + value[1:-1] + b"</order>",
    "not an object": lambda value: b"[" + value + b"]",
    "two values": lambda value: value + value,
    "a key twice": lambda value: b'{"status":"PAID",' + value[1:],
    "NaN": lambda value: b'{"weight":NaN,' + value[1:],
    "lone surrogate": lambda value: b'{"tag":"\\ud800",' + value[1:],
    "empty": lambda _value: b"",
    "tombstone": lambda _value: None,
    "not UTF-8": lambda value: b'{"tag":"\xff\xfe",' + value[1:],
}
_TEXT_DAMAGES: Final = tuple(name for name in _DAMAGES if name != "not UTF-8")


def encode(message: Message) -> bytes:
    """Write JSON as the rebuilt producer does."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def change(kind: str, value: bytes, draw: int, key: str, *, sealed: bool) -> tuple[bytes, Entry]:
    """Change a field of a rebuilt message; return the message and its ledger entry."""
    # Where the phone is encrypted, its value is nobody's business any more.
    changes = [each for each in _CHANGES[kind] if not (sealed and each[1] is _phone_null)]
    path, apply = changes[draw % len(changes)]
    message = json.loads(value)
    apply(message, draw >> 8)
    return encode(message), Entry(kind, "rebuilt", (key,), (Due("mismatch", ((kind, path),)),), path=path)


def unmapped(value: bytes, key: str) -> tuple[bytes, Entry]:
    """Publish what a rebuilt producer does with a status that nobody told it about."""
    message = json.loads(value)
    message["status"] = "UNKNOWN"
    path = "$.status"
    due = Due("mismatch", (("unmapped_value", path),))
    return encode(message), Entry("unmapped_value", "legacy", (key,), (due,), path=path)


def damage(value: bytes, draw: int, key: str, *, text_only: bool) -> tuple[bytes | None, Entry]:
    """Make a rebuilt record unreadable; the entry still lacks the position of that record."""
    names = _TEXT_DAMAGES if text_only else tuple(_DAMAGES)
    name = names[draw % len(names)]
    due = (Due("undecodable", (("undecodable", ""),)), Due("missing", (("missing", ""),)))
    return _DAMAGES[name](value), Entry("undecodable", "rebuilt", (key,), due, note=name)


def leak(value: bytes, draw: int, key: str, phone: str) -> tuple[bytes, Leaked, Entry]:
    """Let the phone get out; return the message, what else is published, and the ledger entry."""
    way = LEAKS[draw % len(LEAKS)]
    message = json.loads(value)
    leaked = way.apply(message, phone)
    due = Due("mismatch", (("unsealed", way.place), *way.also))
    return encode(message), leaked, Entry("unsealed", "rebuilt", (key,), (due,), path=way.place, note=way.name)


def timed(kind: str, key: str, revision: int) -> Entry:
    """Return the entry of a message that is published too late, or after one that came after it."""
    return Entry(kind, "rebuilt", (key,), (Due("mismatch", ((kind, ""),)),), note=f"revision {revision}")


def lonely(kind: str, key: str) -> Entry:
    """Return the entry of a message that is missing, unknown or a duplicate."""
    side = "legacy" if kind == "missing" else "rebuilt"
    return Entry(kind, side, (key,), (Due(kind, ((kind, ""),)),))
