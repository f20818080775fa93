"""Compiles a contract, once, into the three functions that stage one and the judge call per record.

    rebuild   a legacy record  -> the entries that stand for what the rebuilt producer should publish
    observe   a rebuilt record -> the one entry that stands for what it did publish
    diff      two entries      -> what is wrong

Each record is decoded once. What a contract does not ask for costs nothing: without rules the
canonical form of a rebuilt record is its payload, and without holes or tolerances nothing travels
beside it. Nothing in here depends on the clock, the environment's order or an earlier record; what
is remembered between records are results of pure functions.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from struct import Struct
from typing import Any, Final, Protocol

import xxhash

from cutover_app.codec.json_codec import (
    JsonReader,
    UndecodableError,
)
from cutover_app.contract.diff import differ
from cutover_app.contract.errors import ImpureHookError
from cutover_app.contract.hook import HookError, call_hook, load_hook
from cutover_app.contract.keys import KeyMissingError, KeyReader, key_shower
from cutover_app.contract.mapping import FieldRule, repeats_values, targets_of
from cutover_app.contract.models import Contract
from cutover_app.contract.places import hidden_targets, made_paths, sealed_paths
from cutover_app.contract.rebuild import Compiler
from cutover_app.contract.sizes import within_limits
from cutover_app.core import limits
from cutover_app.core.canonical import Value, canonical, digest, reader, unsorted_json
from cutover_app.core.compare import Show
from cutover_app.core.frames import MESSAGE, REBUILD_FAILED, SEALED_BESIDE, UNDECODABLE, UNKEYED, Entry
from cutover_app.core.needles import Piece
from cutover_app.core.paths import ITEMS, Path, Wildcard, parse_path
from cutover_app.core.rules import (
    Hole,
    Ignore,
    Known,
    Lifted,
    Pattern,
    Rules,
    Sealed,
    Sensitive,
    Tolerance,
    Unordered,
    build_rules,
    lift,
    project,
    seal,
    take_holes,
)
from cutover_app.core.sealed import around, dropped, plaintexts, uncovered
from cutover_app.core.verdicts import Finding

SECRET_ENV: Final = "CUTOVER_HMAC_KEY"  # noqa: S105 - a name, not a key
"""Names the environment variable that keys the HMAC of masked values."""

RULES_VERSION: Final = 2
"""Raised when the meaning of a contract changes, so that two versions do not judge one run."""

REPEAT_EVERY: Final = 10_000
"""One record in so many is rebuilt twice."""

LOG_APPEND_TIME: Final = 1
"""Kafka's mark of a timestamp that the broker gave."""

Message = dict[str, Value]

_RAW: Final = Struct("<qiii")
_LENGTH: Final = Struct("<i")
_PLACE: Final = Struct("<qi")


class Record(Protocol):
    """A source record; aiokafka's fits."""

    offset: int
    timestamp: int | None
    timestamp_type: int | None
    key: bytes | None
    value: bytes | None
    headers: Any


@dataclass(frozen=True, slots=True, repr=False)
class Compiled:
    """A contract in the form in which it is used."""

    name: str
    rules: str
    """Hash of all that changes verdicts; intake and rows carry it (R3)."""
    tolerant: bool
    """Equal digests are not enough for a match: values under a tolerance travel beside them."""
    rebuild: Callable[[Record], list[Entry]]
    observe: Callable[[Record], Entry]
    diff: Callable[[Entry, Entry], tuple[Finding, ...]]
    shown_key: Callable[[bytes], list[Any]]

    def __repr__(self) -> str:
        """Return name and hash."""
        return f"<Compiled {self.name} {self.rules[:19]}>"


def compile_contract(contract: Contract, environ: Mapping[str, str] = os.environ) -> Compiled:
    """Compile a contract; raises `ContractError` where its Python function cannot be had."""
    strict = contract.compare.numbers == "strict"
    rules = rules_of(contract)
    show = show_of(environ)
    entries = _Entries(contract, rules)
    make, source = _maker(contract, rules)
    return Compiled(
        name=contract.contract,
        rules=rules_hash(contract, source),
        tolerant=rules.tolerant,
        rebuild=_rebuilder(contract, entries, make),
        observe=_observer(entries),
        diff=differ(rules, show, strict=strict),
        shown_key=key_shower(contract, rules, show),
    )


def show_of(environ: Mapping[str, str] = os.environ) -> Show:
    """Return how values are shown, and masked ones masked."""
    return Show(environ.get(SECRET_ENV, "").encode())


def rules_hash(contract: Contract, source: bytes = b"") -> str:
    """Return the hash of what changes verdicts: the contract without what only says where or why."""
    kept = contract.model_dump(mode="python", by_alias=True, exclude_unset=False)
    for name in ("broker", "security", "internal"):
        kept.pop(name)
    # Another address, or way in, of the same cluster says nothing new; another cluster has topics of other ids.
    for place in (kept["legacy"], kept["legacy"]["mirror"]):
        if isinstance(place, dict):
            place.pop("security")
            place["broker"] = place["broker"] is not None
    kept["verdicts"].pop("replication")
    for each in kept["compare"]["ignore"]:
        each.pop("reason")
        each.pop("until")
    # `const: null` and no const differ; a dump with defaults alone would not tell.
    given = contract.model_dump(mode="python", by_alias=True, exclude_unset=True)
    kept["given"] = {"rebuild": given["rebuild"], "when": given["legacy"].get("when")}
    said = json.dumps(_orderly(kept), ensure_ascii=False)
    code = hashlib.sha256(f"{RULES_VERSION}\n{said}\n".encode() + source)
    return f"sha256:{code.hexdigest()}"


def _orderly(value: Any) -> Any:
    """Return a value whose JSON is one for one, whatever the order of keys and their types."""
    if isinstance(value, dict):
        items = ((repr(key), _orderly(each)) for key, each in value.items())
        return ["dict", *sorted(items, key=lambda item: item[0])]
    if isinstance(value, list | tuple):
        return ["list", *map(_orderly, value)]
    return ["decimal", str(value)] if isinstance(value, Decimal) else value


# --------------------------------------------------------------------------------------------------
# Rules


def rules_of(contract: Contract) -> Rules:
    """Return the compare rules of a contract, among them what must not be shown."""
    return build_rules(list(_patterns(contract)))


def _patterns(contract: Contract) -> Iterable[Pattern]:
    compare = contract.compare
    for ignore in compare.ignore:
        yield parse_path(ignore.path), Ignore()
    for near in compare.tolerance:
        yield parse_path(near.path), Tolerance(_decimal(near.abs), _decimal(near.rel))
    for unordered in compare.unordered:
        yield parse_path(unordered.path), Unordered(unordered.by_paths)
    for sensitive in contract.sensitive:
        yield parse_path(sensitive), Sensitive()
    for path, form in sealed_paths(contract).items():
        yield path, Sealed(form)
    # What the contract names can be named: a finding below a sensitive path shows no other names.
    hidden = [parse_path(each) for each in contract.sensitive] + list(sealed_paths(contract))
    for path in made_paths(contract):
        if any(_within(path, above) for above in hidden):
            yield path, Sensitive()
    if compare.unexpected == "ignore" and isinstance(contract.rebuild, dict):
        yield from _known(contract.rebuild, ())


def _may_touch(contract: Contract) -> bool:
    """Tell whether a rule may change what is rebuilt: a mapping says beforehand what it makes."""
    if not isinstance(contract.rebuild, dict):
        return True
    compare = contract.compare
    texts = [each.path for each in compare.ignore]
    texts += [each.path for each in compare.tolerance]
    texts += [each.path for each in compare.unordered]
    paths = [*map(parse_path, texts), *sealed_paths(contract)]
    targets = targets_of(contract.rebuild)
    return any(_meet(path, target) for path in paths for target in targets)


def _within(path: Path, above: Path) -> bool:
    """Tell whether a path lies below a pattern."""
    return len(path) > len(above) and _meet(above, path)


def _meet(pattern: Path, target: Path) -> bool:
    """Tell whether one of the two may lie within the other."""
    steps = zip(pattern, target, strict=False)
    return all(isinstance(step, Wildcard) or step == name for step, name in steps)


def _only_ignored(contract: Contract) -> tuple[str, ...] | None:
    """Return the fields to ignore where nothing but whole fields of the message is; None otherwise."""
    compare = contract.compare
    paths = [parse_path(each.path) for each in compare.ignore]
    plain = all(len(path) == 1 and isinstance(path[0], str) for path in paths)
    if compare.tolerance or compare.unordered or compare.unexpected == "ignore" or sealed_paths(contract) or not plain:
        return None
    return tuple(str(path[0]) for path in paths)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _known(fields: Mapping[str, FieldRule], base: Path) -> Iterable[Pattern]:
    """Yield, for each object that a mapping builds, the fields that it can have."""
    names: dict[Path, set[str]] = {base: set()}
    for text, rule in fields.items():
        path = parse_path(text)
        for depth, step in enumerate(path):
            names.setdefault((*base, *path[:depth]), set()).add(str(step))
        yield from _known_items(rule, (*base, *path))
    for place, known in names.items():
        yield place, Known(frozenset(known))


def _known_items(rule: FieldRule, path: Path) -> Iterable[Pattern]:
    """Yield the same for what an item is made of; the items of a default may have other fields."""
    default = rule.default if isinstance(rule.default, list) else []
    values = [each for item in default if isinstance(item, dict) for each in item.values()]
    if any(isinstance(each, list | dict) for each in values):
        return
    if rule.fields is not None:
        more = {name for each in default if isinstance(each, dict) for name in each}
        for place, known in _known(rule.fields, (*path, ITEMS)):
            yield place, Known(known.names | more) if place == (*path, ITEMS) and isinstance(known, Known) else known
    if rule.item is not None and not any(isinstance(each, list | dict) for each in default):
        yield from _known_items(rule.item, (*path, ITEMS))


# --------------------------------------------------------------------------------------------------
# Entries


class _Entries:
    """Makes entries of messages in the new format."""

    def __init__(self, contract: Contract, rules: Rules) -> None:
        self.rules = rules
        self.reader = JsonReader(contract.limits.record, strict=contract.compare.numbers == "strict")
        self.reshapes_expected = rules.reshapes and _may_touch(contract)
        self.only_ignored = _only_ignored(contract)
        """Fields that are taken out whole, where the contract asks for nothing else."""
        self.key = KeyReader(contract.key_paths())
        self.order = KeyReader(contract.order_paths()) if contract.order_apart else None

    def expected(self, message: Message, record: Record, index: int, raw: bytes) -> Entry:
        """Return the entry of a message that should have been published."""
        offset, timestamp, appended = record.offset, _timestamp(record), record.timestamp_type == LOG_APPEND_TIME
        try:
            key = self.key(message)
            order = b"" if self.order is None else self.order(message)
            if self.reshapes_expected:
                payload, beside = self._project(message)
            else:
                payload, beside = canonical(message), b""
            code = digest(payload)
        except KeyMissingError as error:
            return Entry(offset, index, timestamp, error.kind, b"", b"", raw, str(error).encode(), b"")
        except TypeError:
            # Only a hole is not a JSON value. A message with one equals nothing: no JSON begins so.
            payload, beside = self._project_holes(message)
            code = digest(b"hole" + raw + _PLACE.pack(offset, index) + payload + beside)
        if len(payload) + len(beside) > limits.ENTRY_BYTES_MAX:
            return _rejected(record, index, REBUILD_FAILED, raw, _oversized(len(payload) + len(beside)))
        return Entry(offset, index, timestamp, MESSAGE, key, code, raw, payload, beside, order, appended)

    def actual(self, message: Message, record: Record, value: bytes) -> Entry:
        """Return the entry of a message that was published; raises `UndecodableError`."""
        beside = b""
        if self.only_ignored is not None:
            ignored = {name: message.pop(name) for name in self.only_ignored if name in message}
            payload = canonical(message)
            self._refuse_repeated(value, message, payload, ignored)
            key = self.key(message)
        else:
            self.reader.refuse_repeated(value, canonical(message))
            key = self.key(message)
            payload, beside = self._project(message, record)
        if len(payload) + len(beside) > limits.ENTRY_BYTES_MAX:
            raise UndecodableError(_oversized(len(payload) + len(beside)))
        order = b"" if self.order is None else self.order(message)
        appended = record.timestamp_type == LOG_APPEND_TIME
        return Entry(
            record.offset,
            0,
            _timestamp(record),
            MESSAGE,
            key,
            digest(payload),
            b"",
            payload,
            beside,
            order,
            appended,
        )

    def _refuse_repeated(self, value: bytes, message: Message, payload: bytes, ignored: Message) -> None:
        """Refuse a record in which a field occurs twice, without writing it whole once more."""
        if not ignored:
            self.reader.refuse_repeated(value, payload)
        # Two objects become one: a pair of braces goes, a comma comes.
        elif not message or not self.reader.is_shortest(value, len(payload) + len(canonical(ignored)) - 1):
            self.reader.refuse_repeated(value, canonical(message | ignored))

    def _project(self, message: Message, published: Record | None = None) -> tuple[bytes, bytes]:
        """Return payload and what travels beside it; TypeError where there is a hole."""
        rules = self.rules
        if not rules.reshapes:
            return canonical(message), b""
        shown = project(message, rules)
        if not rules.tolerant and not rules.seals:
            return canonical(shown), b""
        lifted: Lifted = []
        sealed: Lifted = []
        payload = canonical(seal(lift(shown, rules, (), lifted), rules, (), sealed))
        beside = canonical({"tolerance": lifted}) if lifted else b""
        if published is not None and rules.seals:
            pieces = chain(around(published.key, published.headers), dropped(message, rules))
            beside += SEALED_BESIDE + uncovered(sealed, list(_bounded(pieces)))
        elif sealed:
            beside += SEALED_BESIDE + plaintexts(sealed)
        return payload, beside

    def _project_holes(self, message: Message) -> tuple[bytes, bytes]:
        """Do the same for a message with holes, which travel beside the payload too."""
        holes: list[tuple[Path, Hole]] = []
        lifted: Lifted = []
        shown = take_holes(project(message, self.rules), (), holes)
        sealed: Lifted = []
        payload = canonical(seal(lift(shown, self.rules, (), lifted), self.rules, (), sealed))
        beside: dict[str, Any] = {"holes": [[path, hole.kind, hole.note] for path, hole in holes]}
        if lifted:
            beside["tolerance"] = lifted
        more = [text for _, hole in holes for text in hole.texts]
        return payload, canonical(beside) + (SEALED_BESIDE + plaintexts(sealed, more) if sealed or more else b"")


def _bounded(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Yield pieces as long as they fit into an entry: each has its path, and that may be longer than its value."""
    size = 0
    for place, data in pieces:
        size += len(place) + len(data)
        if size > limits.ENTRY_BYTES_MAX:
            raise UndecodableError(_oversized(size))
        yield place, data


def _oversized(size: int) -> str:
    return f"oversized: {size} bytes in canonical form, limit {limits.ENTRY_BYTES_MAX}"


def _timestamp(record: Record) -> int:
    return -1 if record.timestamp is None else record.timestamp


# --------------------------------------------------------------------------------------------------
# Rebuild


Maker = Callable[[Message], list[Message | HookError]]


def _maker(contract: Contract, rules: Rules) -> tuple[Maker, bytes]:
    """Return what makes messages of a legacy message, and the source that the rules hash covers."""
    strict = contract.compare.numbers == "strict"
    if isinstance(contract.rebuild, dict):
        hidden = hidden_targets(contract.rebuild, rules)
        compiler = Compiler(contract.lookups, rules, strict=strict, hidden=hidden)
        build = compiler.fields(contract.rebuild, ())
        repeats = repeats_values(contract.rebuild)
        if repeats or rules.seals:
            return lambda message: [within_limits(build, compiler.budget, message, rules, repeats=repeats)], b""
        return lambda message: [build(message, message)], b""
    file = contract.file
    function, source = load_hook(contract.rebuild.python, contract.folder, file, contract.rebuild_line)
    read = reader(strict=strict)
    return lambda message: call_hook(function, read, message), source


def raw_digest(record: Record) -> bytes:
    """Return the digest of key, value, headers and timestamp: equal for a record that was sent again."""
    key, value, headers = record.key, record.value, record.headers
    head = _RAW.pack(
        _timestamp(record),
        -1 if key is None else len(key),
        -1 if value is None else len(value),
        len(headers),
    )
    data = head + (key or b"") + (value or b"")
    for name, content in headers:
        for each in (name.encode("utf-8", "surrogatepass"), content):
            data += _LENGTH.pack(-1 if each is None else len(each)) + (each or b"")
    return xxhash.xxh3_128_digest(data)


def _rebuilder(contract: Contract, entries: _Entries, make: Maker) -> Callable[[Record], list[Entry]]:
    strict = contract.compare.numbers == "strict"
    reader = entries.reader
    when = contract.legacy.when
    wanted = None
    if when is not None:
        wanted = Compiler({}, entries.rules, strict=strict).condition(when)

    def once(record: Record) -> list[Entry]:
        raw = raw_digest(record)
        try:
            message = reader.read(record.value)
            reader.refuse_repeated(record.value or b"", unsorted_json(message))
        except UndecodableError as error:
            return [_rejected(record, 0, UNDECODABLE, raw, str(error))]
        if wanted is not None and not wanted(message, message):
            return []
        messages = make(message)
        if len(messages) == 1 and type(messages[0]) is dict:
            return [entries.expected(messages[0], record, 0, raw)]
        return [
            entries.expected(made, record, index, raw)
            if type(made) is dict
            else _rejected(record, index, REBUILD_FAILED, raw, str(made))
            for index, made in enumerate(messages)
        ]

    def rebuild(record: Record) -> list[Entry]:
        made = once(record)
        if record.offset % REPEAT_EVERY == 0 and once(record) != made:
            raise ImpureHookError(
                f"rebuilding the record at offset {record.offset} of {contract.legacy.topic} twice "
                "gave two results; verdicts would not repeat: make the rebuild function depend on "
                "its record alone"
            )
        return made

    return rebuild


def _rejected(record: Record, index: int, kind: int, raw: bytes, reason: str) -> Entry:
    text = reason[: limits.SHOWN_CHARS_MAX].encode("utf-8", "replace")
    return Entry(record.offset, index, _timestamp(record), kind, b"", b"", raw, text, b"")


# --------------------------------------------------------------------------------------------------
# Observe, diff, key


def _observer(entries: _Entries) -> Callable[[Record], Entry]:
    read = entries.reader.read

    def observe(record: Record) -> Entry:
        try:
            return entries.actual(read(record.value), record, record.value or b"")
        except UndecodableError as error:
            return _rejected(record, 0, UNDECODABLE, b"", str(error))
        except KeyMissingError as error:
            return _rejected(record, 0, UNKEYED, b"", str(error))

    return observe
