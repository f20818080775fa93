"""Verdicts: what is published about one record or one pair, and the small algebra of outcomes.

An *outcome* says what became of the record that anchors the verdict; *findings* say what is wrong, one kind and path
each. Values in here have already been masked and cut for showing (R13): nothing downstream may add one.

The identity of a verdict is its anchor (R5): the legacy record of a pair, of something missing and of a repeated legacy
record; the rebuilt record of anything else. So a fact keeps its id for life, whatever is found out about it later, and
a replay writes the same ids. Revisions of an id are ordered by `at` within a run.
"""

from hashlib import blake2b
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from cutover_app.core.frames import Origin

VERSION: Final = 1

MATCH: Final = "match"
RESOLVED: Final = "resolved"
MISMATCH: Final = "mismatch"
MISSING: Final = "missing"
UNKNOWN: Final = "unknown"
DUPLICATE: Final = "duplicate"
UNDECODABLE: Final = "undecodable"
INDETERMINATE: Final = "indeterminate"

LATE: Final = "late"
OUT_OF_ORDER: Final = "out_of_order"
"""Findings that the judge itself makes, beside those that are named like an outcome."""

OUTCOMES: Final = (MATCH, RESOLVED, MISMATCH, MISSING, UNKNOWN, DUPLICATE, UNDECODABLE, INDETERMINATE)
FINE: Final = frozenset({MATCH, RESOLVED})
"""Outcomes that are not a problem."""

FINDING_KINDS: Final = {
    "missing_field": "a field that the rebuilt message should have and has not",
    "unexpected_field": "a field of the rebuilt message that nothing accounts for",
    "wrong_value": "a field with another value than expected",
    "wrong_type": "a field whose value has another type than expected",
    "unsealed": "a value that should be encrypted and is not",
    "unmapped_value": "a legacy value that the new spec does not handle",
    "schema_violation": "a legacy value that cannot take the form that the new spec asks for",
    "rebuild_failed": "a legacy record from which no expected message could be made",
    "missing": "an expected message that was not published in time",
    "unknown": "a published message that no legacy record accounts for",
    "duplicate": "a message that was published again",
    "out_of_order": "a message that overtook another of the same order key",
    "late": "a message that was published later than allowed",
    "undecodable": "a record that could not be read",
    "unkeyed": "a record without a usable match key",
}
"""Every kind of finding, with what it means; the help text of report and documentation."""


class Finding(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One thing wrong. `expected` and `actual` are for showing: masked and cut where they must be."""

    kind: str
    path: str = ""
    expected: Any = UNSET
    actual: Any = UNSET
    note: str = ""


class Position(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A source record as a verdict shows it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    index: int = 0
    incarnation: str = ""


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """The value of a record of the verdicts topic; its Kafka key is `id`."""

    id: str
    rev: int
    at: tuple[int, int]
    """Intake partition, and the offset of the last intake record applied when this was decided."""
    run: str
    contract: str
    rules: str
    outcome: str
    key: list[Any]
    findings: tuple[Finding, ...] = ()
    legacy: Position | UnsetType = UNSET
    rebuilt: Position | UnsetType = UNSET
    delay_ms: int | UnsetType = UNSET
    pair: str | UnsetType = UNSET
    """Of a resolved verdict about a rebuilt record: the id of the verdict of the pair that it belongs to."""
    undecodable: tuple[Position, ...] = ()
    """Unreadable records of the other side near this one, any of which may be its partner (R11)."""


class _Versioned(msgspec.Struct):
    v: int


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Verdict)
_version = msgspec.json.Decoder(_Versioned)


def verdict_id(contract: str, origin: Origin) -> str:
    """Return the id of the verdict anchored at `origin`: 32 hexadecimal digits, the same in every run."""
    source = origin.source
    named = (contract, source.side, source.topic, source.incarnation, source.partition, origin.offset, origin.index)
    return blake2b(msgspec.json.encode(named), digest_size=16).hexdigest()


def encode_verdict(verdict: Verdict) -> bytes:
    """Return the JSON of a verdict, its version first."""
    return b'{"v":%d,' % VERSION + _encoder.encode(verdict)[1:]


def decode_verdict(data: bytes) -> Verdict:
    """Read a verdict; raises ValueError where it is none, or one of another version."""
    version = _version.decode(data).v
    if version != VERSION:
        raise ValueError(f"a verdict of version {version}; this program reads version {VERSION}")
    return _decoder.decode(data)


FamilyName = tuple[str, str]
"""Kind and path without positions: what findings with one cause have in common."""

OTHER_PATHS: Final = "(other paths)"
"""Where a path of a family would stand: all of its kind beyond the limit of families."""


def family_of(finding: Finding) -> FamilyName:
    """Return the family of a finding."""
    path = finding.path
    if "[" not in path:
        return finding.kind, path
    return finding.kind, generic_path(path)


def generic_path(path: str) -> str:
    """Replace every list position or selector of `path` by `[*]`: `$.lines[0].price` becomes `$.lines[*].price`."""
    parts: list[str] = []
    rest = path
    while True:
        head, bracket, tail = rest.partition("[")
        parts.append(head)
        if not bracket:
            return "".join(parts)
        end = _selector_end(tail)
        selector = tail[:end]
        is_name = selector.startswith(('"', "'"))
        parts.append(f"[{selector}]" if is_name else "[*]")
        rest = tail[end + 1 :]


def _selector_end(text: str) -> int:
    """Return where the bracket that `text` follows is closed, brackets inside quotes apart."""
    quoted = False
    position = 0
    while position < len(text):
        char = text[position]
        if quoted and char == "\\":
            position += 1
        elif char == '"':
            quoted = not quoted
        elif char == "]" and not quoted:
            return position
        position += 1
    return len(text)
