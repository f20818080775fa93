"""A contract of the simulation's own: flat messages, a few fields, one of them under a tolerance if that is asked for.

The value of a legacy record is JSON: `{"n": nonce, "outs": [{"k": key, "hole": bool, fields...}, ...]}`; of a rebuilt
record `{"k": key, fields...}`. Where the order key is another one than the match key, it is the field "o". What is not
JSON is undecodable, an empty key is unkeyed, `{"fail": true}` cannot be rebuilt.
"""

import json
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from cutover_app.core.frames import (
    MESSAGE,
    REBUILD_FAILED,
    UNDECODABLE,
    UNKEYED,
    Entry,
)
from cutover_app.core.verdicts import Finding

TOLERATED = "t"
APPENDED = "appended"
"""Marks a message whose timestamp is the broker's."""
TOLERANCE = 5


def encode(value: Any) -> bytes:
    """Return canonical JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


@lru_cache(maxsize=4096)
def decode(data: bytes) -> Any:
    """Read JSON; the result is shared and must not be changed."""
    return json.loads(data)


def digest(*parts: bytes) -> bytes:
    """Return 16 bytes over the parts."""
    return blake2b(b"\0".join(parts), digest_size=16).digest()


def key_bytes(key: str) -> bytes:
    """Return a match key as intake carries it."""
    return encode([key])


def shown_key(key: bytes) -> list[Any]:
    """Return a match key as verdicts show it."""
    return decode(key) if key else []


def placed_by(entry: Entry) -> bytes:
    """Return what decides on the intake partition of a message."""
    return entry.order or entry.key


class Rules:
    """Rebuild, observe and compare."""

    def __init__(self, tolerant: bool, apart: bool) -> None:
        self.tolerant = tolerant
        self.apart = apart

    def rebuild(self, partition: int, offset: int, timestamp: int, value: bytes) -> list[Entry]:
        """Return the expected messages of a legacy record, or what is wrong with it."""
        raw = digest(value, str(timestamp).encode())
        try:
            message = decode(value)
        except ValueError:
            return [_rejected(offset, timestamp, UNDECODABLE, raw)]
        if message.get("fail"):
            return [_rejected(offset, timestamp, REBUILD_FAILED, raw)]
        if any(not out["k"] for out in message["outs"]):
            return [_rejected(offset, timestamp, UNKEYED, raw)]
        place = f"{partition}/{offset}"
        return [
            self._entry(offset, index, timestamp, out, raw, f"{place}/{index}")
            for index, out in enumerate(message["outs"])
        ]

    def observe(self, partition: int, offset: int, timestamp: int, value: bytes) -> Entry:
        """Return the actual message of a rebuilt record, or what is wrong with it."""
        try:
            message = decode(value)
        except ValueError:
            return _rejected(offset, timestamp, UNDECODABLE, b"")
        if not message["k"]:
            return _rejected(offset, timestamp, UNKEYED, b"")
        return self._entry(offset, 0, timestamp, message, b"", f"{partition}/{offset}")

    def _entry(self, offset: int, index: int, timestamp: int, out: dict[str, Any], raw: bytes, place: str) -> Entry:
        fields = {name: value for name, value in out.items() if name not in ("k", "o", "hole", APPENDED)}
        beside: dict[str, Any] = {}
        if self.tolerant and TOLERATED in fields:
            beside["tolerance"] = [[f"$.{TOLERATED}", fields.pop(TOLERATED)]]
        if out.get("hole"):
            fields.pop("a", None)
            beside["holes"] = [["$.a", "unmapped_value", "no such value"]]
        payload = encode(fields)
        made = digest(payload, place.encode(), b"hole") if out.get("hole") else digest(payload)
        packed = encode(beside) if beside else b""
        key, order = key_bytes(out["k"]), key_bytes(out["o"]) if self.apart else b""
        return Entry(offset, index, timestamp, MESSAGE, key, made, raw, payload, packed, order, APPENDED in out)

    def diff(self, expected: Entry, actual: Entry) -> tuple[Finding, ...]:
        """Return what differs, by path."""
        wanted, got = decode(expected.payload), decode(actual.payload)
        beside, beside_actual = decode(expected.beside or b"{}"), decode(actual.beside or b"{}")
        holes = {path: Finding(kind, path, note=note) for path, kind, note in beside.get("holes", ())}
        found = list(holes.values())
        for name in sorted(wanted.keys() | got.keys()):
            path = f"$.{name}"
            if path in holes or wanted.get(name) == got.get(name):
                continue
            if name not in got:
                found.append(Finding("missing_field", path, expected=wanted[name]))
            elif name not in wanted:
                found.append(Finding("unexpected_field", path, actual=got[name]))
            else:
                found.append(Finding("wrong_value", path, wanted[name], got[name]))
        other = dict(map(tuple, beside_actual.get("tolerance", ())))
        for path, value in beside.get("tolerance", ()):
            if abs(value - other.get(path, value)) > TOLERANCE:
                found.append(Finding("wrong_value", path, value, other[path]))
        return tuple(found)


def _rejected(offset: int, timestamp: int, kind: int, raw: bytes) -> Entry:
    return Entry(offset, 0, timestamp, kind, b"", b"", raw, b"reason %d" % kind, b"")
