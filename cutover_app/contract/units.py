"""Durations and sizes as people write them."""

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_MS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
DURATION_MAX: Final = 3650 * _MS["d"]
_BYTES: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_WRITTEN: Final = re.compile(r"(\d{1,12})\s*([A-Za-z]+)")


def _amount(value: Any, units: dict[str, int], example: str) -> int:
    """Return how many of the smallest unit `value` is; a value that is a number already stays."""
    if type(value) is int and value >= 0:
        return value
    written = _WRITTEN.fullmatch(value) if isinstance(value, str) else None
    if written is None or written[2] not in units:
        raise ValueError(f"expected a number and a unit ({', '.join(units)}) such as {example}")
    return int(written[1]) * units[written[2]]


def parse_duration(value: Any) -> int:
    """Return milliseconds; `500ms`, `30s`, `5m`, `6h`, `2d`."""
    if type(value) is int and value:
        raise ValueError("expected a unit (ms, s, m, h, d) such as 30s")
    duration = _amount(value, _MS, "30s")
    if duration > DURATION_MAX:
        raise ValueError(f"expected at most {show_duration(DURATION_MAX)}")
    return duration


def parse_size(value: Any) -> int:
    """Return bytes; `512KiB`, `8MiB`, or a plain number of bytes."""
    return _amount(value, _BYTES, "8MiB")


def show_duration(ms: int) -> str:
    """Return a duration in the largest unit that divides it."""
    return next(f"{ms // size}{unit}" for unit, size in reversed(_MS.items()) if ms % size == 0)


def show_size(size: int) -> str:
    """Return a size in the largest unit that divides it."""
    units = reversed(_BYTES.items())
    return next(f"{size // each}{unit}" for unit, each in units if size % each == 0)


Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    PlainSerializer(show_duration),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]+ ?(ms|s|m|h|d)$", "examples": ["30s"]}),
]
"""Milliseconds."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(show_size),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["8MiB"]}),
]
"""Bytes."""
