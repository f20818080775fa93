"""Match keys as people type them.

A key is JSON: `1001` is a number, `"1001"` a text, `["1001", 2]` a key of two values in the order of `match.key`. What
is no JSON is a text, so that `o-1001` needs no quotes; only what begins like a list, a text or an object and is none is
refused, as it has been mistyped.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from cutover_app.core.canonical import Value, canonical, reader
from cutover_app.core.limits import KEY_BYTES_MAX

_SCALARS: Final = (str, bool, int, Decimal)
_OPENING: Final = ("[", "{", '"')

_read = reader(strict=False)


class KeyTextError(ValueError):
    """What was typed is no key of this contract; says what was expected."""


def parse_key(text: str, paths: Sequence[str], option: str = "KEY") -> bytes:
    """Return the canonical form of a typed key whose values stand at `paths`; raises `KeyTextError`."""
    value = _value(text, option)
    parts = value if isinstance(value, list) else [value]
    if len(parts) != len(paths):
        names = ", ".join(paths)
        raise KeyTextError(f"{option}: expected {_wanted(len(paths))} ({names}), found {_wanted(len(parts))}")
    for part in parts:
        if type(part) not in _SCALARS:
            raise KeyTextError(f"{option}: expected texts, numbers, true or false, found {_kind(part)}")
    key = canonical(parts)  # integral numbers have been read as such, as they are off messages
    if len(key) > KEY_BYTES_MAX:
        raise KeyTextError(f"{option}: {len(key):,} bytes, and no key has more than {KEY_BYTES_MAX:,}")
    return key


def other_reading(text: str) -> str | None:
    """Return the same value as the other type that it may have been meant as: a number for a text, and back."""
    try:
        value = _value(text, "")
    except KeyTextError:
        return None
    if type(value) is int:
        return f'"{text.strip()}"'
    if type(value) is str and value.isascii() and value.isdigit() and str(int(value)) == value:
        return value
    return None


def _value(text: str, option: str) -> Value:
    try:
        return _read(text.encode())
    except (ValueError, RecursionError, msgspec.MsgspecError):
        if text.strip().startswith(_OPENING) or not text or not _is_utf8(text):
            raise KeyTextError(f"{option}: {text!r} is neither JSON nor a plain word") from None
        return text


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeError:
        return False
    return True


def _wanted(count: int) -> str:
    return "one value" if count == 1 else f"a list of {count}"


def _kind(part: Any) -> str:
    return "null" if part is None else "a list" if isinstance(part, list) else "an object"
