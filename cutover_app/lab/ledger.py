"""The ledger: what was planted, and whether a run found it, all of it, and nothing else.

An entry says which verdicts its fault must lead to. Usually that is one; a rebuilt record that
cannot be read leads to two, its own and one about the legacy record that lost its partner. A fault
is *found* when each of these verdicts is there, on the right key (or position), with the right
outcome and each finding at the right path. Whatever no entry explains is *false*: a verdict with a
problem outcome, or a further finding in a verdict that is otherwise expected.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from cutover_app.core.verdicts import FINE, generic_path

FindingAt: TypeAlias = tuple[str, str]
"""Kind, and path without list positions (empty where a kind has none)."""


class Due(msgspec.Struct, frozen=True, omit_defaults=True):
    """A verdict to which a fault must lead."""

    outcome: str
    findings: tuple[FindingAt, ...]
    note: str = ""
    """What one of the findings must say besides."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One planted fault."""

    kind: str
    side: str
    key: tuple[Any, ...]
    """The match key in the new format, or as much of its beginning as tells planted faults apart."""
    verdicts: tuple[Due, ...]
    path: str = ""
    note: str = ""
    partition: int = -1
    """Where the rebuilt record stands (the last, if there are two). A verdict about a record that
    cannot be read has no key to go by."""
    offset: int = -1
    legacy: bool = False
    """Whether it is a legacy record that stands there. It is known by that alone: its key may have another entry."""
    anything: bool = False
    """Whether any verdict about the key is accepted."""

    def located(self, partition: int, offset: int) -> "Entry":
        """Return the entry with the position of its record."""
        return msgspec.structs.replace(self, partition=partition, offset=offset)


class Row(msgspec.Struct, frozen=True):
    """One line of the final table."""

    kind: str
    planted: int
    found: int
    false: int


class Judgement(msgspec.Struct, frozen=True):
    """A ledger compared with the verdicts of a run."""

    rows: tuple[Row, ...]
    not_found: tuple[Entry, ...]
    false: tuple[Mapping[str, Any], ...]

    @property
    def perfect(self) -> bool:
        """Whether everything planted was found, and nothing else."""
        return not self.not_found and not self.false


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Entry)


def encode_entry(entry: Entry) -> bytes:
    """Return one line of a ledger file, without its end."""
    return _encoder.encode(entry)


def read_ledger(path: Path) -> Iterator[Entry]:
    """Read a ledger file."""
    with path.open("rb") as lines:
        yield from map(_decoder.decode, lines)


def judge_ledger(entries: Iterable[Entry], verdicts: Iterable[Mapping[str, Any]]) -> Judgement:
    """Compare what was planted with the newest verdict of each id (decoded JSON)."""
    planted = list(entries)
    places: dict[Any, int] = {}
    for number, entry in enumerate(planted):
        if not entry.legacy:
            places[_key_of(entry.key)] = number
        if entry.offset >= 0:
            places["legacy" if entry.legacy else "rebuilt", entry.partition, entry.offset] = number
    due: list[list[Due]] = [list(entry.verdicts) for entry in planted]
    false: list[Mapping[str, Any]] = []
    for verdict in verdicts:
        if verdict["outcome"] in FINE:
            continue
        number = next((places[place] for place in _places(verdict) if place in places), -1)
        if number < 0 or not (planted[number].anything or _settle(due[number], verdict)):
            false.append(verdict)
    missed = tuple(entry for entry, left in zip(planted, due, strict=True) if left)
    return Judgement(_rows(planted, missed, false), missed, tuple(false))


def _settle(due: list[Due], verdict: Mapping[str, Any]) -> bool:
    """Take off `due` what the verdict fulfils; False if it says anything beyond that."""
    said = {(one["kind"], generic_path(one.get("path", ""))) for one in verdict["findings"]}
    notes = " ".join(one.get("note", "") for one in verdict["findings"])
    for one in due:
        if one.outcome == verdict["outcome"] and said.issuperset(one.findings) and one.note in notes:
            due.remove(one)
            return said == set(one.findings)
    return False


def _places(verdict: Mapping[str, Any]) -> Iterator[Any]:
    """Yield what an entry may be known by: a position, the only thing an unreadable record has, or the key."""
    outcome = verdict["outcome"]
    if outcome == "undecodable" or (outcome == "duplicate" and "rebuilt" not in verdict):
        for side in ("legacy", "rebuilt"):
            if position := verdict.get(side):
                yield side, position["partition"], position["offset"]
    if outcome != "undecodable":
        key = verdict.get("key", ())
        for length in range(len(key), 0, -1):
            yield _key_of(key[:length])


def _key_of(values: Iterable[Any]) -> bytes:
    return msgspec.json.encode(list(values))


def _rows(planted: Iterable[Entry], missed: Iterable[Entry], false: Iterable[Mapping[str, Any]]) -> tuple[Row, ...]:
    all_of = Counter(entry.kind for entry in planted)
    lost = Counter(entry.kind for entry in missed)
    wrong = Counter(
        verdict["findings"][0]["kind"] if verdict.get("findings") else verdict["outcome"] for verdict in false
    )
    kinds = [*all_of, *(kind for kind in wrong if kind not in all_of)]
    return tuple(Row(kind, all_of[kind], all_of[kind] - lost[kind], wrong[kind]) for kind in kinds)
