"""What a mirror does to headers, as seen in records of both clusters.

MirrorMaker 2 on a plain Connect cluster passes headers through Connect's default converter, which takes bytes for a
value and writes their Base64 text; filters and transforms may drop them. That is the mirror's doing, never a finding
about a producer: the rebuilt producer does not go through it.
"""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

Headers = Sequence[tuple[str, bytes | None]]

BASE64 = "writes the values of headers as Base64 text"
DROPPED = "drops headers"
CHANGED = "changes headers"


class Record(Protocol):
    """What is read of a record."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Damage(NamedTuple):
    """What was done to the headers of one record: how, and where it is on either cluster."""

    how: str
    partition: int
    original: int
    copy: int


def damage(originals: Iterable[Record], copies: Iterable[Record]) -> Damage | None:
    """Return the first copy that has other headers than any original of its content; None if there is none.

    Original and copy are in one partition and have the same timestamp, key and value.
    """
    known: dict[Any, list[Record]] = {}
    for record in originals:
        known.setdefault(_content(record), []).append(record)
    for copy in copies:
        twins = known.get(_content(copy), [])
        hows = [changed(twin.headers, copy.headers) for twin in twins]
        if hows and all(hows):
            return Damage(hows[0], copy.partition, twins[0].offset, copy.offset)
    return None


def changed(original: Headers, copy: Headers) -> str:
    """Return what became of the headers of a record; empty where nothing did."""
    before, after = list(original), list(copy)
    if before == after:
        return ""
    if after == [(name, _as_text(value)) for name, value in before]:
        return BASE64
    if len(after) < len(before) and all(each in before for each in after):
        return DROPPED
    return CHANGED


def _as_text(value: bytes | None) -> bytes | None:
    return None if value is None else b64encode(value)


def _content(record: Record) -> Any:
    return record.partition, record.timestamp, record.key, record.value
