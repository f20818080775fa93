"""Compare rules, and the projection of a message under them (rule R10).

*Rules* are a tree that is walked along with a message: which paths are ignored, which lists have no
order, which numbers have a tolerance, which values must not be shown.

*Projection* happens once per record, before the digest: ignored paths are taken out, a list without
order is sorted, a value under a tolerance is lifted out and travels beside the payload. So does a
*hole*, a place of an expected message that could not be rebuilt, and a *sealed* value, which leaves
`true` behind (null stays null). Equal digests then mean that two messages are equal under the rules,
but for what travels beside them.

Nothing in here changes the message that it is given: parts of it may occur in it twice.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import Final

import msgspec

from cutover_app.core.canonical import Value, canonical
from cutover_app.core.paths import FIELDS, ITEMS, Path, Step, Wildcard

ABSENT: Final = object()
"""In place of a value: there is no such field."""

_EXACT: Final = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far off a number may be: `abs`, or `rel` of the larger of the two; either is enough."""

    abs: Decimal | None = None
    rel: Decimal | None = None

    def allows(self, one: Value, other: Value) -> bool:
        """Tell whether both are numbers, and near enough; exact, and the same both ways round."""
        if type(one) not in {int, Decimal} or type(other) not in {int, Decimal}:
            return False
        left, right = Decimal(one), Decimal(other)
        off = _EXACT.abs(_EXACT.subtract(left, right))
        if self.abs is not None and off <= self.abs:
            return True
        larger = max(_EXACT.abs(left), _EXACT.abs(right))
        return self.rel is not None and off <= _EXACT.multiply(larger, self.rel)


@dataclass(frozen=True, slots=True)
class Unordered:
    """The order of a list means nothing; `by` are paths within an item that tell items apart."""

    by: tuple[Path, ...] = ()


class Ignore:
    """The path and what is below it are not compared."""


class Sensitive:
    """The value at the path, and what is below it, is never shown."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """The value is encrypted in the rebuilt message, in one of the forms of `core/sealing.py`; never shown."""

    form: str


@dataclass(frozen=True, slots=True)
class Known:
    """Other fields of the object are ignored (`compare.unexpected: ignore`)."""

    names: frozenset[str]


Rule = Tolerance | Unordered | Ignore | Sensitive | Sealed | Known
Pattern = tuple[Path, Rule]


@dataclass(slots=True, repr=False, eq=False)
class Rules:
    """The rules at one place of a message, and the way to those below it."""

    named: dict[str, "Rules"] = field(default_factory=dict)
    other: "Rules | None" = None
    items: "Rules | None" = None
    ignored: bool = False
    sensitive: bool = False
    covers: bool = False
    """Something here or below is sensitive."""
    known: frozenset[str] | None = None
    tolerance: Tolerance | None = None
    unordered: Unordered | None = None
    reshapes: bool = False
    """Something here or below is ignored, sorted, or lifted out: a projection is needed."""
    tolerant: bool = False
    """Something here or below has a tolerance."""
    sealed: Sealed | None = None
    seals: bool = False
    """Something here or below is sealed."""

    def __repr__(self) -> str:
        """Return how many fields have rules of their own."""
        return f"<Rules for {sorted(self.named)}>"

    def of(self, name: str) -> "Rules":
        """Return the rules of the field `name`."""
        return self.named.get(name) or self.other or NO_RULES

    def of_items(self) -> "Rules":
        """Return the rules of the items of this list."""
        return self.items or NO_RULES


NO_RULES: Final = Rules()


def build_rules(patterns: Sequence[Pattern]) -> Rules:
    """Return the tree for these rules; a name that a wildcard covers too gets the rules of both.

    Of several rules for one value the one with the fewest wildcards is meant: it comes last.
    """
    return _tree(sorted(patterns, key=lambda each: -sum(isinstance(step, Wildcard) for step in each[0])))


def _tree(patterns: Sequence[Pattern]) -> Rules:
    if not patterns:
        return NO_RULES
    rules = Rules()
    below = [(path, rule) for path, rule in patterns if path]
    for rule in (rule for path, rule in patterns if not path):
        _apply(rules, rule)

    def following(*steps: Step) -> Rules:
        return _tree([(path[1:], rule) for path, rule in below if path[0] in steps])

    names = {path[0] for path, _ in below if isinstance(path[0], str)}
    rules.named = {name: following(name, FIELDS) for name in sorted(names)}
    rules.other = following(FIELDS) if any(path[0] is FIELDS for path, _ in below) else None
    rules.items = following(ITEMS) if any(path[0] is ITEMS for path, _ in below) else None
    inner = [each for each in (*rules.named.values(), rules.other, rules.items) if each]
    rules.covers = rules.sensitive or any(each.covers for each in inner)
    rules.tolerant = rules.tolerance is not None or any(each.tolerant for each in inner)
    rules.seals = rules.sealed is not None or any(each.seals for each in inner)
    rules.reshapes = (
        rules.ignored
        or rules.tolerant
        or rules.seals
        or rules.unordered is not None
        or rules.known is not None
        or any(each.reshapes for each in inner)
    )
    return rules


def _apply(rules: Rules, rule: Rule) -> None:
    match rule:
        case Tolerance():
            rules.tolerance = rule
        case Unordered():
            rules.unordered = rule
        case Known():
            rules.known = rule.names
        case Ignore():
            rules.ignored = True
        case Sensitive():
            rules.sensitive = True
        case Sealed():
            rules.sealed, rules.sensitive = rule, True


# --------------------------------------------------------------------------------------------------
# Holes, and what else travels beside a payload


class Hole:
    """A place of an expected message that could not be rebuilt: kind of finding, and note.

    No dataclass: the JSON writer would write one, and must refuse a hole.
    """

    __slots__ = ("kind", "note", "texts")

    def __init__(self, kind: str, note: str, texts: tuple[str, ...] = ()) -> None:
        """`texts`: what must not be in the published record, where the place is sealed."""
        self.kind = kind
        self.note = note
        self.texts = texts

    def __repr__(self) -> str:
        """Return kind and note."""
        return f"<Hole {self.kind}: {self.note}>"


class Secret:
    """The value at a sealed path of an expected message, and the texts that must not be in the record."""

    __slots__ = ("texts", "value")

    def __init__(self, value: Value, texts: tuple[str, ...]) -> None:
        self.value = value
        self.texts = texts

    def __repr__(self) -> str:
        """Return nothing of it."""
        return "<Secret>"


Lifted = list[tuple[Path, Value]]
"""Values under a tolerance, or sealed ones, with their paths in the payload."""


def _hole_as_null(value: object) -> Value:
    if isinstance(value, Secret):
        return value.value
    if not isinstance(value, Hole):
        raise TypeError(f"not a JSON value: {type(value).__name__}")
    return None


canonical_with_holes: Final[Callable[[Value], bytes]] = msgspec.json.Encoder(
    order="sorted", decimal_format="number", enc_hook=_hole_as_null
).encode


def project(value: Value, rules: Rules) -> Value:
    """Return what is compared of `value`: no ignored path, no order without meaning."""
    if not rules.reshapes:
        return value
    if type(value) is dict:
        return _project_object(value, rules)
    if type(value) is list:
        return _project_list(value, rules)
    return value


def _project_object(value: dict[str, Value], rules: Rules) -> dict[str, Value]:
    if rules.known is not None and not value.keys() <= rules.known:
        kept = {name: each for name, each in value.items() if name in rules.known}
    else:
        kept = dict(value)
    names: Iterable[str] = rules.named if rules.other is None else list(kept)
    for name in names:
        inner = rules.of(name)
        if inner.reshapes and name in kept:
            if inner.ignored:
                del kept[name]
            else:
                kept[name] = project(kept[name], inner)
    return kept


def _project_list(value: list[Value], rules: Rules) -> list[Value]:
    inner = rules.of_items()
    if inner.ignored:
        return []
    items = [project(each, inner) for each in value] if inner.reshapes else value
    if rules.unordered is None:
        return items
    by = rules.unordered.by
    return sorted(items, key=lambda item: _rank(item, by, inner))


def _rank(item: Value, by: tuple[Path, ...], rules: Rules) -> tuple[bytes, bytes, bytes]:
    """Return what a list without order is sorted by; what is lifted out comes last."""
    whole = canonical_with_holes(item)
    bare = canonical_with_holes(bare_of(item, rules)) if rules.tolerant or rules.seals else whole
    return identity(item, by), bare, whole


def bare_of(item: Value, rules: Rules) -> Value:
    """Return an item without what is lifted out of it; one that is under a tolerance itself is lifted by its list."""
    return None if rules.tolerance is not None else seal(lift(item, rules, (), []), rules, (), [])


def identity(item: Value, by: tuple[Path, ...]) -> bytes:
    """Return the canonical form of the fields that tell items apart; absent is not null."""
    found = (value_at(item, path) for path in by)
    return canonical_with_holes([[] if each is ABSENT else [each] for each in found])


def value_at(value: Value, path: Path) -> Value:
    """Return the value at a path without wildcards, or `ABSENT`."""
    for step in path:
        if type(value) is dict:
            value = value.get(step, ABSENT)
        elif type(value) is list and type(step) is int and step < len(value):
            value = value[step]
        else:
            return ABSENT
    return value


def lift(value: Value, rules: Rules, path: Path, lifted: Lifted) -> Value:
    """Return `value` without what is under a tolerance, and append that to `lifted`, whatever the order of fields."""
    if not rules.tolerant:
        return value
    if type(value) is dict:
        kept = dict(value)
        for name in rules.named if rules.other is None else sorted(value):
            inner = rules.of(name)
            if name not in kept:
                continue
            if inner.tolerance is not None:
                lifted.append(((*path, name), kept.pop(name)))
            else:
                kept[name] = lift(kept[name], inner, (*path, name), lifted)
        return kept
    if type(value) is list:
        return _lift_items(value, rules.of_items(), path, lifted)
    return value


def _lift_items(value: list[Value], inner: Rules, path: Path, lifted: Lifted) -> list[Value]:
    # A lifted item leaves a null behind: the positions of the others stay.
    if inner.tolerance is not None:
        lifted.extend(((*path, index), each) for index, each in enumerate(value))
        return [None] * len(value)
    return [lift(each, inner, (*path, index), lifted) for index, each in enumerate(value)]


def seal(value: Value, rules: Rules, path: Path, sealed: Lifted) -> Value:
    """Return `value` with `true` in place of what is sealed, and append that to `sealed`; null stays."""
    if not rules.seals or value is None or type(value) is Hole:
        return value
    if rules.sealed is not None:
        if type(value) is Secret and value.value is None:
            return None
        sealed.append((path, value))
        return True
    if type(value) is dict:
        kept = dict(value)
        for name in rules.named if rules.other is None else value:
            if name in kept:
                kept[name] = seal(kept[name], rules.of(name), (*path, name), sealed)
        return kept
    if type(value) is list:
        inner = rules.of_items()
        return [seal(each, inner, (*path, index), sealed) for index, each in enumerate(value)]
    return value


def take_holes(value: Value, path: Path, holes: list[tuple[Path, Hole]]) -> Value:
    """Return `value` without its holes, and append them to `holes`; in a list, null stays."""
    if type(value) is dict:
        kept = {}
        for name, each in value.items():
            if type(each) is Hole:
                holes.append(((*path, name), each))
            else:
                kept[name] = take_holes(each, (*path, name), holes)
        return kept
    if type(value) is list:
        return [take_holes(each, (*path, index), holes) for index, each in enumerate(value)]
    if type(value) is Hole:
        holes.append((path, value))
        return None
    return value


def put_back(value: Value, path: Path, each: Value) -> Value:
    """Put `each` where `lift` or `take_holes` took it out of `value`; returns the whole."""
    if not path:
        return each
    inner = value
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = each
    return value


def is_hidden(rules: Rules, path: Path) -> bool:
    """Tell whether the value at a path must not be shown: for what is on its way, or below."""
    for step in path:
        if rules.sensitive:
            return True
        rules = rules.of(step) if isinstance(step, str) else rules.of_items()
    return rules.covers


def texts_in(value: Value) -> tuple[str, ...]:
    """Return the texts and numbers in a value, as texts."""
    if type(value) is dict or type(value) is list:
        inner = value.values() if type(value) is dict else value
        return tuple(text for each in inner for text in texts_in(each))
    if type(value) is str:
        return (value,) if value else ()
    if type(value) is Decimal and value == (whole := value.to_integral_value()):
        return (f"{whole:f}",)  # strict numbers have it with `.0`, and it may be published without
    return (
        () if value is None or value is ABSENT or type(value) in {bool, Hole, Secret} else (canonical(value).decode(),)
    )


def hidden_texts(value: Value, rules: Rules) -> tuple[str, ...]:
    """Return the texts and numbers at sensitive paths of a message."""
    if not rules.covers:
        return ()
    if rules.sensitive:
        return texts_in(value)
    if type(value) is dict:
        below = ((each, rules.of(name)) for name, each in value.items())
        return tuple(text for each, inner in below if inner.covers for text in hidden_texts(each, inner))
    if type(value) is list:
        inner = rules.of_items()
        return tuple(text for each in value for text in hidden_texts(each, inner))
    return ()
