"""Marks: which families people have said to be fixed, and since when.

After a producer's fix, what it published before is still wrong, and still counted: evidence is never deleted. A mark
says from when on a family is to be seen again before it counts as open. Marks are rows of a compacted topic of the run,
so they are the same from anywhere: the key is (kind, path), the value says since when, when that was said, and perhaps
why. A tombstone takes a mark back.

The time that counts is that of the source records, of a pair the later one's: a record without a timestamp is never
older than a fix.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from cutover_app.core.state import family_key
from cutover_app.core.verdicts import FamilyName

VERSION: Final = 1

REASON_CHARS_MAX: Final = 500
"""Characters of the reason that is kept with a mark."""


class FixError(ValueError):
    """A family or a time that is none; says what was expected."""


class Mark(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A family that was fixed. Times in milliseconds since the epoch."""

    from_ms: int
    """Records from this time on count."""
    at: int
    """When this was said."""
    reason: str = ""
    v: int = VERSION


_decoder = msgspec.json.Decoder(Mark)


def mark_key(family: FamilyName) -> bytes:
    """Return the key of a family's mark."""
    return family_key(*family)


def encode_mark(mark: Mark) -> bytes:
    """Return the JSON of a mark."""
    return b'{"v":%d,' % VERSION + msgspec.json.encode(mark)[1:]


def read_mark(key: bytes | None, value: bytes | None) -> tuple[FamilyName, Mark | None]:
    """Return the family of a record of the topic of marks, and its mark, None where it was taken back.

    Raises ValueError for a record that is none of this version: a mark that is misread would hide problems.
    """
    kind, separator, path = (key or b"").decode().partition("\x00")
    if not separator:
        raise ValueError("no family in the key")
    if value is None:
        return (kind, path), None
    mark = _decoder.decode(value)
    if mark.v != VERSION:
        raise ValueError(f"a mark of version {mark.v}; this program reads version {VERSION}")
    return (kind, path), mark


def is_past(families: Iterable[FamilyName], time_ms: int, marks: Mapping[FamilyName, Mark]) -> bool:
    """Tell whether a verdict is older than the fixes of all of its families. One without a family never is."""
    found = [marks.get(family) for family in families]
    return bool(found) and time_ms >= 0 and all(mark is not None and time_ms < mark.from_ms for mark in found)


def choose_family(words: Iterable[str], known: Iterable[FamilyName]) -> FamilyName:
    """Return the family that these words name: kind and path, or any unambiguous beginning of them, or of a path.

    Raises `FixError` with what there is.
    """
    text = " ".join(" ".join(words).split())
    families = sorted(set(known))
    exact = [each for each in families if shown_family(each) == text]
    if exact:
        return exact[0]
    begun = [each for each in families if shown_family(each).startswith(text)]
    begun = (
        begun
        or [each for each in families if each[1] == text]
        or [each for each in families if each[1].startswith(text)]
    )
    if len(begun) == 1:
        return begun[0]
    there = ", ".join(f"`{shown_family(each)}`" for each in begun or families) or "none"
    if begun:
        raise FixError(f"{text!r} is the beginning of several families: {there}")
    raise FixError(f"no family {text!r} in this run; there are: {there}")


def shown_family(family: FamilyName) -> str:
    """Return a family as people type it."""
    return " ".join(part for part in family if part)


def parse_time(text: str, now_ms: int) -> int:
    """Return milliseconds since the epoch of an ISO time with a zone; raises `FixError`. No time lies ahead."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise FixError(f"--from: expected a time with its zone, like 2026-11-24T16:30:00Z, found {text!r}")
    from_ms = int(moment.timestamp() * 1000)
    if from_ms > now_ms:
        raise FixError(f"--from: {text} has not come yet: what is wrong until then would go unseen")
    return from_ms


def show_time(at_ms: int | None) -> str:
    """Return a time as every command shows it; empty for none."""
    if at_ms is None:
        return ""
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return str(at_ms)
