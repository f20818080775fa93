"""Where the paths of rules lead: what a mapping can make, and which paths are sealed.

A rule whose path is misspelt would be off in silence: nothing sealed, nothing masked. So where a mapping says
beforehand what it makes, a path of `sensitive`, `sealed`, `tolerance` or `unordered` must lead to some of it.
`ignore` may name fields that only the rebuilt producer has.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from cutover_app.contract.errors import SettingError
from cutover_app.contract.mapping import FieldRule, Place, targets_of
from cutover_app.core.paths import FIELDS, ITEMS, Path, Step, Wildcard, parse_path, render_path
from cutover_app.core.rules import Rules, is_hidden

if TYPE_CHECKING:
    from cutover_app.contract.models import Contract


def sealed_paths(contract: "Contract") -> dict[Path, str]:
    """Return the sealed paths of a contract, with the form that each has to have."""
    found = {path: form for path, form, _ in _sealed(contract)}
    return dict(sorted(found.items(), key=lambda item: render_path(item[0])))


def made_paths(contract: "Contract") -> list[Path]:
    """Return the path of every field that a mapping makes, objects and lists included; [] for a Python function."""
    if not isinstance(contract.rebuild, dict):
        return []
    return list(dict.fromkeys(path for path, _ in _made(contract.rebuild, ())))


def _sealed(contract: "Contract") -> Iterator[tuple[Path, str, Place]]:
    for index, each in enumerate(contract.sealed):
        yield parse_path(each.path), each.form, ("sealed", index)
    if isinstance(contract.rebuild, dict):
        for path, rule, place in _rules(contract.rebuild, (), ("rebuild",)):
            if rule.sealed is not None:
                yield path, rule.sealed, (*place, "sealed")


def _rules(fields: Mapping[str, FieldRule], base: Path, place: Place) -> Iterator[tuple[Path, FieldRule, Place]]:
    """Yield every rule that makes a value at a path of its own, with the way to it in the file."""
    for text, rule in fields.items():
        yield from _with_items(rule, (*base, *parse_path(text)), (*place, text))


def _with_items(rule: FieldRule, path: Path, place: Place) -> Iterator[tuple[Path, FieldRule, Place]]:
    yield path, rule, place
    if rule.fields is not None:
        yield from _rules(rule.fields, (*path, ITEMS), (*place, "fields"))
    if rule.item is not None:
        yield from _with_items(rule.item, (*path, ITEMS), (*place, "item"))


def _made(fields: Mapping[str, FieldRule], base: Path) -> Iterator[tuple[Path, bool]]:
    """Yield the path of everything that is made, and whether anything may be below it that no rule names."""
    for path, rule in targets_of(fields).items():
        for depth in range(1, len(path)):
            yield (*base, *path[:depth]), False
        yield from _made_by(rule, (*base, *path))


def _made_by(rule: FieldRule, path: Path) -> Iterator[tuple[Path, bool]]:
    whole = rule.each is None
    has_table = rule.map is not None or rule.lookup is not None
    is_text = rule.concat is not None or rule.trim or rule.upper or rule.lower or rule.replace
    composed = rule.has_default and isinstance(rule.default, dict | list)
    scalar = (rule.as_ is not None or (is_text and not has_table)) and not composed
    yield path, whole and not scalar
    if not whole:
        yield (*path, ITEMS), composed
    if rule.fields is not None:
        yield from _made(rule.fields, (*path, ITEMS))
    if rule.item is not None:
        yield from _made_by(rule.item, (*path, ITEMS))


def hidden_targets(fields: Mapping[str, FieldRule], rules: Rules) -> frozenset[Path]:
    """Return the targets made of a legacy value of which a hidden target is made, too: notes must not show it."""
    made = list(_sources(fields, (), ()))
    hidden = [source for target, source in made if is_hidden(rules, target)]
    return frozenset(target for target, source in made if any(_overlap(source, each) for each in hidden))


def _sources(fields: Mapping[str, FieldRule], base: Path, within: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each target with each place of the legacy message that it is made of."""
    for path, rule in targets_of(fields).items():
        yield from _sources_of(rule, (*base, *path), within)


def _sources_of(rule: FieldRule, path: Path, within: Path) -> Iterator[tuple[Path, Path]]:
    text = rule.from_ or rule.each
    source = () if text is None else parse_path(text) if text.startswith("$") else (*within, *parse_path(text))
    if rule.from_ is not None:
        yield path, source
    for part in rule.concat or ():
        yield from _sources_of(part, path, within)
    if rule.fields is not None:
        yield from _sources(rule.fields, (*path, ITEMS), (*source, ITEMS))
    if rule.item is not None:
        yield from _sources_of(rule.item, (*path, ITEMS), (*source, ITEMS))


def _overlap(one: Path, other: Path) -> bool:
    steps = zip(one, other, strict=False)
    return all(left == right or ITEMS in {left, right} for left, right in steps)


# --------------------------------------------------------------------------------------------------
# Checks


def check_places(contract: "Contract") -> None:
    """Refuse a path of a rule that can match nothing that a mapping makes; raises `SettingError`."""
    if not isinstance(contract.rebuild, dict):
        return
    made = dict[Path, bool]()
    for path, more in _made(contract.rebuild, ()):
        made[path] = made.get(path, False) or more
    for path, place in _asked(contract):
        if not any(_leads_to(path, each, more=more) for each, more in made.items()):
            near = ", ".join(sorted(render_path(each) for each in made)[:12])
            raise SettingError(
                f"nothing in rebuild makes {render_path(path)}, so this would be off; made: {near}", *place
            )


def _asked(contract: "Contract") -> Iterator[tuple[Path, Place]]:
    for index, text in enumerate(contract.sensitive):
        yield parse_path(text), ("sensitive", index)
    for path, _, place in _sealed(contract):
        yield path, place
    for index, near in enumerate(contract.compare.tolerance):
        yield parse_path(near.path), ("compare", "tolerance", index, "path")
    for index, unordered in enumerate(contract.compare.unordered):
        path = parse_path(unordered.path)
        yield path, ("compare", "unordered", index, "path")
        for by in unordered.by_paths:
            yield (*path, ITEMS, *by), ("compare", "unordered", index, "by")


def _leads_to(path: Path, made: Path, *, more: bool) -> bool:
    """Tell whether a path may match what is made at `made`, or, where a whole value is copied, below it."""
    if len(path) < len(made) or (len(path) > len(made) and not more):
        return False
    return all(_same(step, other) for step, other in zip(path, made, strict=False))


def _same(step: object, other: object) -> bool:
    if isinstance(step, Wildcard):
        return step is other if other is ITEMS else step is FIELDS
    return step == other


def check_sealed(contract: "Contract") -> None:
    """Refuse a sealed path that another rule looks at: its value is encrypted, so it cannot; raises `SettingError`."""
    keys = [("match.key", path) for path in contract.key_paths()]
    if contract.order is not None:
        keys += [("order.by", parse_path(each)) for each in contract.order.by]
    seen: set[Path] = set()
    for path, _, place in _sealed(contract):
        if not path:
            raise SettingError("expected a path below the message itself", *place)
        if path in seen:
            raise SettingError(f"{render_path(path)} is sealed already", *place)
        seen.add(path)
        for name, key in keys:
            if touch(path, key):
                raise SettingError(
                    f"a part of {name}, by whose value messages are paired: it cannot be encrypted", *place
                )
        for name, other in _looking(contract):
            if touch(path, other):
                raise SettingError(f"also under {name} ({render_path(other)}): expected one of the two", *place)
        if any(path != other and touch(path, other) for other in seen):
            raise SettingError("lies within another sealed path, or contains one", *place)


def _looking(contract: "Contract") -> Iterable[tuple[str, Path]]:
    compare = contract.compare
    for ignore in compare.ignore:
        yield "compare.ignore", parse_path(ignore.path)
    for near in compare.tolerance:
        yield "compare.tolerance", parse_path(near.path)
    for unordered in compare.unordered:
        # The list may hold sealed values; what is within one, and what items are told apart by, may not be sealed.
        path = parse_path(unordered.path)
        yield "compare.unordered", (*path, ITEMS, ITEMS)
        for by in unordered.by_paths:
            yield "compare.unordered.by", (*path, ITEMS, *by)


def touch(path: Path, other: Path) -> bool:
    """Tell whether one of the two may be the other, or lie within it."""
    steps = zip(path, other, strict=False)
    return all(one == two or _is_one_of(one, two) or _is_one_of(two, one) for one, two in steps)


def _is_one_of(step: Step, wildcard: Step) -> bool:
    return isinstance(step, str) if wildcard is FIELDS else isinstance(step, int) and wildcard is ITEMS
