"""What two messages differ in (rule R10), and how a value is shown (rule R13).

Both messages are projections under the same rules (`core/rules.py`), with what travels beside them
put back in its place.

Invariants:

A. `differences` of two messages is empty exactly when they are equal under the rules.
B. The two ways round it finds the same paths; `missing_field` and `unexpected_field` change places.
C. A hole is one finding at its path, whatever the other side has there.
D. No value leaves this module unmasked at a sensitive path, above one, below one, or in a field
   that nobody expected; nor the name of a field below a sensitive path, unless the contract names it;
   nor, wherever it may have got to, a value that one of the two has at a sensitive path.
E. Two values at a sealed path do not differ here, whatever they are: `core/sealed.py` looks at them.

A list without order is matched item by item: by the fields that identify an item where the contract
names them, and shown as `$.lines[sku="A1"]`; else by whole value. Of items that match nothing, the
first of one side is compared with the first of the other in sorted order, and shown as `[*]`.
"""

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import UNSET

from cutover_app.core import limits
from cutover_app.core.canonical import Value, canonical
from cutover_app.core.paths import FIELDS, Path, render_step
from cutover_app.core.rules import (
    ABSENT,
    Hole,
    Rules,
    bare_of,
    canonical_with_holes,
    hidden_texts,
    identity,
    is_hidden,
    lift,
    take_holes,
    texts_in,
    value_at,
)
from cutover_app.core.verdicts import Finding

NATIVE_INT_MAX: Final = 1 << 53
"""Integers up to here are shown as numbers; readers of a verdict may keep no more digits."""

NOTED_CHARS: Final = 32
"""Of a long hidden text, so much of its beginning is looked for in notes, which are cut."""
QUOTED: Final = "legacy value"
"""What a note says before it quotes a value."""
HIDDEN_NOTE: Final = f"{QUOTED} (not shown)"
HIDDEN_CHARS_MIN: Final = 4
"""Characters of a sensitive value that hides what contains it; a shorter one hides only its like."""

MATCHED_MAX: Final = 32
"""Items of a list without order, alike but for a tolerance, that are matched optimally."""


class Masked(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A value that must not be shown: type, length, and a keyed HMAC where there is a key."""

    masked: str
    len: int
    hmac: str = ""


@dataclass(frozen=True, slots=True)
class Show:
    """How values are shown. `secret` keys the HMAC of masked ones: equal values can be seen."""

    secret: bytes = b""

    def value(self, value: Value, *, masked: bool) -> Any:
        """Return what a verdict says of a value."""
        if masked:
            return self.mask(value)
        if value is None or type(value) is bool:
            return value
        if type(value) is str:
            return cut(value)
        if type(value) is int and -NATIVE_INT_MAX <= value <= NATIVE_INT_MAX:
            return value
        return cut(canonical_with_holes(value).decode())

    def mask(self, value: Value) -> Masked:
        """Return type and length (characters, items or fields; of others, of their text)."""
        data = canonical_with_holes(value)
        size = len(value) if isinstance(value, str | list | dict) else len(data)
        code = hmac.digest(self.secret, data, "sha256").hex()[:16] if self.secret else ""
        return Masked(json_type(value), size, code)


def cut(text: str) -> str:
    """Return at most as many characters as a verdict shows of one value."""
    if len(text) <= limits.SHOWN_CHARS_MAX:
        return text
    return text[: limits.SHOWN_CHARS_MAX - 1] + "…"


_SCALARS: Final = frozenset({str, int, bool, type(None), Decimal})

_TYPES: Final[Mapping[type, str]] = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "number",
    Decimal: "number",
}


def json_type(value: Value) -> str:
    """Return the JSON name of the type of a value."""
    return _TYPES.get(type(value), "null")


# --------------------------------------------------------------------------------------------------
# Diff


Exposed = list[tuple[str, str, Value]]
"""What of an actual message is not as expected: its path in findings, the name of an unexpected field, its value."""


def differences(expected: Value, actual: Value, rules: Rules, show: Show) -> tuple[Finding, ...]:
    """Return what is wrong with `actual`, the most that a verdict may have; () where nothing is."""
    return at_most(all_differences(expected, actual, rules, show, []))


def all_differences(
    expected: Value, actual: Value, rules: Rules, show: Show, exposed: Exposed, *, secret: Iterable[str] = ()
) -> list[Finding]:
    """Return all that is wrong with `actual`, and append to `exposed` what of it is not as expected.

    What is in `secret` is shown nowhere, as little as the values at sensitive paths.
    """
    hidden = {*secret, *hidden_texts(expected, rules), *hidden_texts(actual, rules)}
    walk = _Walk(show, exposed, frozenset(hidden))
    walk.values(expected, actual, rules, "$", masked=False)
    return walk.findings


def at_most(found: list[Finding]) -> tuple[Finding, ...]:
    """Return the most findings that a verdict may have, each with the longest path that it may have."""
    most, longest = limits.FINDINGS_MAX, limits.PATH_CHARS_MAX
    listed = [
        each if len(each.path) <= longest else msgspec.structs.replace(each, path=each.path[:longest] + "…")
        for each in found[:most]
    ]
    if len(found) > most:
        listed.append(Finding(found[most].kind, "$", note=f"{len(found) - most} more findings are not listed"))
    return tuple(listed)


class _Walk:
    """One walk over two messages. Paths are text already: what differs is the exception."""

    def __init__(self, show: Show, exposed: Exposed, hidden: frozenset[str] = frozenset()) -> None:
        self.findings: list[Finding] = []
        self.exposed = exposed
        self._show = show
        self._hidden = hidden

    def show(self, value: Value, *, masked: bool) -> Any:
        """Return what is shown of a value."""
        return self._show.value(value, masked=masked or self._is_late() or any(map(self.is_hidden, texts_in(value))))

    def _is_late(self) -> bool:
        """Tell whether there are so many findings that the next will not be listed: what it holds is not looked at."""
        return len(self.findings) > limits.FINDINGS_MAX

    def is_hidden(self, text: str) -> bool:
        """Tell whether a text is, or contains, one that stands at a sensitive path."""
        for each in self._hidden:  # noqa: SIM110 - `any` costs twice as much, and every name of a wrong message is asked for
            if each == text or (len(each) >= HIDDEN_CHARS_MIN and each in text):
                return True
        return False

    def is_in_note(self, note: str) -> bool:
        """Tell whether a note quotes such a text as JSON, or the beginning of a long one."""
        return any(
            canonical(each[:NOTED_CHARS]).decode()[1:-1] in note
            if len(each) >= HIDDEN_CHARS_MIN
            else canonical(each).decode() in note or note.startswith((f"{QUOTED} {each}:", f"{QUOTED} {each} "))
            for each in self._hidden
            if each
        )

    def values(self, one: Value, two: Value, rules: Rules, path: str, *, masked: bool) -> None:
        masked = masked or rules.sensitive
        kind, other = type(one), type(two)
        if kind is Hole:
            self.hole(one, two, path, masked=masked or rules.covers)
        elif rules.sealed is not None and one is not None and two is not None:
            return
        elif kind is dict and other is dict:
            self.objects(one, two, rules, path, masked=masked)
        elif kind is list and other is list:
            if rules.unordered is None:
                self.lists(one, two, rules, path, masked=masked)
            else:
                self.unordered(one, two, rules, path, masked=masked)
        elif kind is other and one == two:
            return
        elif rules.tolerance is None or not rules.tolerance.allows(one, two):
            self.differ(one, two, path, masked=masked or rules.covers)

    def differ(self, one: Value, two: Value, path: str, *, masked: bool) -> None:
        comparable = one is None or two is None or json_type(one) == json_type(two)
        kind = "wrong_value" if comparable else "wrong_type"
        # Of an object or list where none belongs, nobody expected what is in it.
        shown = self.show(one, masked=masked), self.show(two, masked=masked or type(two) in {dict, list})
        self.exposed.append((path, "", two))
        # Two numbers and their texts look alike when shown.
        note = "" if comparable else f"expected {json_type(one)}, found {json_type(two)}"
        self.findings.append(Finding(kind, path, *shown, note=note))
        self.holes_in(one, path)

    def hole(self, hole: Hole, two: Value, path: str, *, masked: bool) -> None:
        shown: Any = UNSET
        if two is not ABSENT:
            shown = self.show(two, masked=masked or type(two) in {dict, list})
            self.exposed.append((path, "", two))
        note = HIDDEN_NOTE if self._is_late() or self.is_in_note(hole.note) else hole.note
        self.findings.append(Finding(hole.kind, path, UNSET, shown, note=note))

    def missing(self, value: Value, rules: Rules, path: str, *, masked: bool) -> None:
        masked = masked or rules.covers
        if type(value) is Hole:
            self.hole(value, ABSENT, path, masked=masked)
            return
        shown = self.show(value, masked=masked)
        self.findings.append(Finding("missing_field", path, expected=shown))
        self.holes_in(value, path)

    def unexpected(self, value: Value, path: str, name: str = "") -> None:
        # Nothing is known about such a field, so it may hold anything: never shown (R13).
        self.exposed.append((path, name, value))
        shown = self.show(value, masked=True)
        self.findings.append(Finding("unexpected_field", path, actual=shown))

    def holes_in(self, value: Value, path: str) -> None:
        """Report holes inside of something that has no counterpart: they stand on their own."""
        holes: list[tuple[Path, Hole]] = []
        take_holes(value, (), holes)
        for steps, hole in holes:
            self.hole(hole, ABSENT, path + "".join(map(render_step, steps)), masked=True)

    def objects(
        self,
        one: dict[str, Value],
        two: dict[str, Value],
        rules: Rules,
        path: str,
        *,
        masked: bool,
    ) -> None:
        for name in sorted(one.keys() | two.keys()):
            if name in one and name in two and _is_same_scalar(one[name], two[name]):
                continue  # most are the same, and need no path
            known = name in rules.named or not (masked or self.is_hidden(name))
            here = path + (render_step(name) if known else FIELDS.value)
            if name not in two:
                self.missing(one[name], rules.of(name), here, masked=masked)
            elif name not in one:
                self.unexpected(two[name], here, name)
            else:
                self.values(one[name], two[name], rules.of(name), here, masked=masked)

    def lists(self, one: list[Value], two: list[Value], rules: Rules, path: str, *, masked: bool) -> None:
        inner = rules.of_items()
        shorter = min(len(one), len(two))
        for index in range(shorter):
            if not _is_same_scalar(one[index], two[index]):
                self.values(one[index], two[index], inner, f"{path}[{index}]", masked=masked)
        for index in range(shorter, len(one)):
            self.missing(one[index], inner, f"{path}[{index}]", masked=masked)
        for index in range(shorter, len(two)):
            self.unexpected(two[index], f"{path}[{index}]")

    def unordered(self, one: list[Value], two: list[Value], rules: Rules, path: str, *, masked: bool) -> None:
        by = rules.unordered.by if rules.unordered else ()
        inner = rules.of_items()
        groups: dict[bytes, tuple[list[Value], list[Value]]] = {}
        for side, items in enumerate((one, two)):
            for item in items:
                groups.setdefault(identity(item, by), ([], []))[side].append(item)
        for _, group in sorted(groups.items()):
            here = path + self.selector((group[0] or group[1])[0], by, inner, masked=masked)
            ours, theirs = unmatched(*group, inner)
            for left, right in zip(ours, theirs, strict=False):
                self.values(left, right, inner, here, masked=masked)
            for left in ours[len(theirs) :]:
                self.missing(left, inner, here, masked=masked)
            for right in theirs[len(ours) :]:
                self.unexpected(right, here)

    def selector(self, item: Value, by: tuple[Path, ...], rules: Rules, *, masked: bool) -> str:
        """Return how an item is named: by what identifies it, unless that must not be shown."""
        if not by:
            return "[*]"
        parts = []
        for path in by:
            value = value_at(item, path)
            hidden = masked or is_hidden(rules, path) or type(value) in {dict, list, Hole}
            hidden = hidden or any(map(self.is_hidden, texts_in(value)))
            shown = "*" if hidden else _selected(value)
            parts.append("".join(map(render_step, path)).lstrip(".") + "=" + shown)
        return f"[{','.join(parts)}]"


def _is_same_scalar(one: Value, two: Value) -> bool:
    """Tell whether two values are one scalar, of which there is nothing to say under any rule."""
    kind = type(one)
    return kind is type(two) and kind in _SCALARS and bool(one == two)


def _selected(value: Value) -> str:
    if value is ABSENT:
        return "absent"
    return canonical_with_holes(cut(value) if type(value) is str else value).decode()


def unmatched(ours: list[Value], theirs: list[Value], rules: Rules) -> tuple[list[Value], list[Value]]:
    """Return the items of either list, in order, that have no equal in the other."""
    buckets: dict[bytes, tuple[list[int], list[int]]] = {}
    for side, items in enumerate((ours, theirs)):
        for index, item in enumerate(items):
            alike = bare_of(item, rules) if rules.tolerant or rules.seals else item
            key = canonical_with_holes(alike)
            buckets.setdefault(key, ([], []))[side].append(index)
    left: set[int] = set()
    right: set[int] = set()
    for lefts, rights in buckets.values():
        for i, j in _matching(ours, theirs, lefts, rights, rules):
            left.add(i)
            right.add(j)
    return (
        [item for index, item in enumerate(ours) if index not in left],
        [item for index, item in enumerate(theirs) if index not in right],
    )


def _equal(one: Value, two: Value, rules: Rules) -> bool:
    walk = _Walk(Show(), [])
    walk.values(one, two, rules, "$", masked=False)
    return not walk.findings


def _matching(
    ours: list[Value], theirs: list[Value], lefts: list[int], rights: list[int], rules: Rules
) -> list[tuple[int, int]]:
    """Return as many pairs of equal items as there can be; beyond a limit, by the order of what has a tolerance."""
    if not lefts or not rights:
        return []
    if not rules.tolerant:
        pairs = zip(lefts, rights, strict=False)
        return [(i, j) for i, j in pairs if _equal(ours[i], theirs[j], rules)]
    if max(len(lefts), len(rights)) > MATCHED_MAX:
        return _by_numbers(ours, theirs, lefts, rights, rules)
    equal = {i: [j for j in rights if _equal(ours[i], theirs[j], rules)] for i in lefts}
    partner: dict[int, int] = {}

    def place(i: int, tried: set[int]) -> bool:
        for j in equal[i]:
            if j not in tried:
                tried.add(j)
                if j not in partner or place(partner[j], tried):
                    partner[j] = i
                    return True
        return False

    for i in lefts:
        place(i, set())
    return [(i, j) for j, i in partner.items()]


def _by_numbers(
    ours: list[Value], theirs: list[Value], lefts: list[int], rights: list[int], rules: Rules
) -> list[tuple[int, int]]:
    """Pair items from the lowest number under a tolerance to the highest: as many as there can be, if each has one."""
    low = sorted((_numbers(ours[i], rules), i) for i in lefts)
    high = sorted((_numbers(theirs[j], rules), j) for j in rights)
    pairs: list[tuple[int, int]] = []
    here = there = 0
    while here < len(low) and there < len(high):
        (number, i), (opposite, j) = low[here], high[there]
        if _equal(ours[i], theirs[j], rules):
            pairs.append((i, j))
            here, there = here + 1, there + 1
        elif number < opposite:
            here += 1
        else:
            there += 1
    return pairs


def _numbers(item: Value, rules: Rules) -> list[tuple[bool, Any]]:
    """Return what is under a tolerance in an item, in an order of its own: numbers by their size."""
    lifted: list[tuple[Path, Value]] = []
    lift([item], Rules(items=rules, tolerant=True), (), lifted)
    return [(False, each) if json_type(each) == "number" else (True, canonical_with_holes(each)) for _, each in lifted]
