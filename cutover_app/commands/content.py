"""What a source record contains, as far as a contract lets it be shown (R13).

Shown is only what the contract names and does not hide. Of a rebuilt or an expected message: the fields that the
contract makes, unless they are sensitive or sealed. Of a legacy message: the fields from which such fields are made,
and none that a hidden field is made from, nor one that only a condition looks at. Everything else is type, length and
HMAC. Where a Python function rebuilds, nobody knows which legacy field becomes what, so no legacy value is shown.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cutover_app.codec.json_codec import JsonReader, UndecodableError
from cutover_app.contract.compile import Compiled, Record, rules_of, show_of
from cutover_app.contract.mapping import FieldRule
from cutover_app.contract.models import Contract
from cutover_app.core.canonical import Value, reader
from cutover_app.core.compare import Show
from cutover_app.core.frames import MESSAGE, REJECTED_AS, Entry
from cutover_app.core.paths import ITEMS, Path, parse_path
from cutover_app.core.rules import Rules, is_hidden, put_back
from cutover_app.core.sealed import split, values_beside

HOLE: Final = "<cannot be rebuilt>"


@dataclass(frozen=True, slots=True)
class Fields:
    """Which paths may be shown: at or below one of `shown`, and neither at, above nor below one of `hidden`."""

    shown: frozenset[Path]
    hidden: frozenset[Path] = frozenset()

    def shows(self, path: Path) -> bool:
        """Tell whether the value at `path` may be seen."""
        return any(_begins(path, each) for each in self.shown) and not any(
            _begins(path, each) or _begins(each, path) for each in self.hidden
        )

    def knows(self, path: Path) -> bool:
        """Tell whether something at, above or below `path` may be seen."""
        return any(_begins(path, each) or _begins(each, path) for each in self.shown)


def _begins(path: Path, with_path: Path) -> bool:
    return path[: len(with_path)] == with_path


class Contents:
    """Shows the records and expected messages of one contract."""

    def __init__(self, contract: Contract, compiled: Compiled | None) -> None:
        rules = rules_of(contract)
        self._show = show_of()
        self._read = JsonReader(contract.limits.record, strict=contract.compare.numbers == "strict").read
        self._read_payload = reader(strict=contract.compare.numbers == "strict")
        self._compiled = compiled
        self._rules = rules
        mapping = contract.rebuild if isinstance(contract.rebuild, dict) else None
        self._legacy = Fields(frozenset()) if mapping is None else legacy_fields(mapping, rules)
        self._made = None if mapping is None else Fields(frozenset(path for path, _, _ in _leaves(mapping)))
        self._key = Fields(frozenset(contract.key_paths()))

    def legacy(self, record: Record) -> Any:
        """Return a legacy message as it may be seen, or why it is none."""
        return self._message(record, lambda value: masked(value, self._legacy, None, self._show))

    def rebuilt(self, record: Record, expected: Iterable[Value] = ()) -> Any:
        """Return a rebuilt message as it may be seen; `expected` are the expected messages of its key, if known.

        Where a Python function rebuilds, their fields are the ones that the contract makes.
        """
        fields = self._made or Fields(frozenset(_paths(expected)) | self._key.shown)
        return self._message(record, lambda value: masked(value, fields, self._rules, self._show))

    def expected(self, record: Record) -> list[Value]:
        """Return the messages that a legacy record becomes, not masked; none where the function is not there."""
        if self._compiled is None:
            return []
        return [self._entry(entry) for entry in self._compiled.rebuild(record)]

    def shown_expected(self, value: Value) -> Any:
        """Return an expected message as it may be seen."""
        return masked(value, Fields(frozenset([()])), self._rules, self._show)

    def _entry(self, entry: Entry) -> Value:
        if entry.kind != MESSAGE:
            return {REJECTED_AS[entry.kind]: entry.payload.decode("utf-8", "replace")}
        value = self._read_payload(entry.payload)
        head, sealed = split(entry.beside)
        beside = self._read_payload(head) if head else {}
        for path, lifted in (*beside.get("tolerance", ()), *values_beside(self._read_payload, sealed)):
            value = put_back(value, path, lifted)
        for path, _kind, _note in beside.get("holes", ()):
            value = put_back(value, path, HOLE)
        return value

    def _message(self, record: Record, show: Callable[[Value], Any]) -> Any:
        try:
            return show(self._read(record.value))
        except UndecodableError as error:
            return {"undecodable": str(error)}


def masked(value: Value, fields: Fields, rules: Rules | None, show: Show) -> Any:
    """Return a message of which only such values are seen as may be."""

    def walk(value: Value, path: Path) -> Any:
        hidden = rules is not None and _is_hidden_here(rules, path)
        if hidden or (path and not fields.knows(path)):
            return show.mask(value)
        if isinstance(value, dict):
            return {name: walk(each, (*path, name)) for name, each in value.items()}
        if isinstance(value, list):
            return [walk(each, (*path, ITEMS)) for each in value]
        may = fields.shows(path) and not (rules is not None and is_hidden(rules, path))
        return show.value(value, masked=not may)

    return walk(value, ())


def _is_hidden_here(rules: Rules, path: Path) -> bool:
    """Tell whether all of what is at `path` is hidden; `is_hidden` says so too where only a part of it is."""
    for step in path:
        if rules.sensitive:
            return True
        rules = rules.of(step) if isinstance(step, str) else rules.of_items()
    return rules.sensitive


# -- fields ----------------------------------------------------------------------------------------------------------


def legacy_fields(mapping: Mapping[str, FieldRule], rules: Rules) -> Fields:
    """Return which legacy fields may be shown: those that only become fields that may be."""
    shown: set[Path] = set()
    hidden: set[Path] = set()
    for target, sources, rule in _leaves(mapping):
        if rule.sealed is None and not is_hidden(rules, target):
            # One with a place in a list matches nothing below: the other items are not named.
            shown.update(sources)
        else:
            hidden.update(tuple(ITEMS if isinstance(step, int) else step for step in path) for path in sources)
    return Fields(frozenset(shown), frozenset(hidden))


def _leaves(
    mapping: Mapping[str, FieldRule], target: Path = (), item: Path = ()
) -> Iterable[tuple[Path, list[Path], FieldRule]]:
    """Yield (target, legacy paths that it is made from, rule) of every value that a mapping makes."""
    for text, rule in mapping.items():
        yield from _leaf((*target, *parse_path(text)), item, rule)


def _leaf(target: Path, item: Path, rule: FieldRule) -> Iterable[tuple[Path, list[Path], FieldRule]]:
    if rule.each is not None:
        inner = (*_source(rule.each, item), ITEMS)
        if rule.fields is not None:
            yield from _leaves(rule.fields, (*target, ITEMS), inner)
        elif rule.item is not None:
            yield from _leaf((*target, ITEMS), inner, rule.item)
        return
    yield target, list(_sources(rule, item)), rule


def _sources(rule: FieldRule, item: Path) -> Iterable[Path]:
    if rule.from_ is not None:
        yield _source(rule.from_, item)
    for part in rule.concat or ():
        yield from _sources(part, item)


def _source(text: str, item: Path) -> Path:
    """Return a legacy path from the message down."""
    path = parse_path(text)
    return path if text.startswith("$") else (*item, *path)


def _paths(values: Iterable[Value]) -> Iterable[Path]:
    """Yield the paths of all values within messages."""

    def walk(value: Value, path: Path) -> Iterable[Path]:
        inner: Iterable[tuple[Path, Value]] = ()
        if isinstance(value, dict):
            inner = [((*path, name), each) for name, each in value.items()]
        elif isinstance(value, list):
            inner = [((*path, ITEMS), each) for each in value]
        else:
            yield path
        for place, each in inner:
            yield from walk(each, place)

    for value in values:
        yield from walk(value, ())
