"""Compiles a rebuild mapping into plain closures, once, when the contract is loaded.

A closure reads one value: `(item, message) -> value`, where `item` is the legacy message itself, or
the list item inside `each`. It returns `ABSENT` where there is nothing to write, and a `Hole` where
there is something that cannot be written; a hole travels in the place of the value, so that the
healthy path pays nothing for it.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from cutover_app.contract.casts import CastError, make_cast, text_of
from cutover_app.contract.mapping import Condition, FieldRule
from cutover_app.contract.secret_values import Budget, Build, Message, Read, sealed_whole, secret, unless
from cutover_app.core.canonical import Value, canonical, reader
from cutover_app.core.compare import cut, json_type
from cutover_app.core.paths import ITEMS, Path, parse_path
from cutover_app.core.rules import ABSENT, Hole, Rules, is_hidden, texts_in, value_at

Test = Callable[[Value, Message], bool]
Step = Callable[[Value], Value]

UNMAPPED = "unmapped_value"
VIOLATION = "schema_violation"


class UnmappedError(CastError):
    """A value that a table does not have."""


class Compiler:
    """Makes closures of rules. `rules` tells which targets must not be shown, and `hidden` adds to them."""

    def __init__(
        self,
        lookups: Mapping[str, Mapping[Any, Any]],
        rules: Rules,
        *,
        strict: bool,
        hidden: frozenset[Path] = frozenset(),
    ) -> None:
        self.lookups = lookups
        self.rules = rules
        self.strict = strict
        self._read = reader(strict=strict)
        self._hidden = hidden
        self.budget = Budget()
        """Of secrets; whoever builds a message begins it."""

    def constant(self, value: Any) -> Value:
        """Return a value of the contract as the JSON reader would have read it."""
        return self._read(canonical(value))

    def fields(self, fields: Mapping[str, FieldRule], base: Path) -> Build:
        """Return what builds an object of these targets; `base` is where it stands."""
        return self._object([(parse_path(text), rule) for text, rule in fields.items()], base)

    def _object(self, entries: list[tuple[Path, FieldRule]], base: Path) -> Build:
        groups: dict[str, list[tuple[Path, FieldRule]]] = {}
        for path, rule in entries:
            groups.setdefault(str(path[0]), []).append((path[1:], rule))
        builder = _Builder()
        for name, group in groups.items():
            rest, rule = group[0]
            path = (*base, name)
            if rest:
                build = self._object(group, path)
                builder.nested(name, sealed_whole(build) if self._is_sealed(path) else build)
            elif self._is_secret(path):
                builder.made(name, self.value(rule, path))
            elif (source := _renamed(rule)) is not None:
                builder.renamed(name, source)
            elif rule.model_fields_set == {"const"}:
                builder.constant(name, self.constant(rule.const))
            elif (stepped := self._one_step(rule, path)) is not None:
                builder.stepped(name, *stepped)
            else:
                builder.made(name, self.value(rule, path))
        return builder.build()

    def value(self, rule: FieldRule, path: Path) -> Read:
        """Return what reads the value of one rule; `path` is its target."""
        read = self._plain(rule, path)
        if not self._is_secret(path):
            return read
        if rule.each is not None:
            return sealed_whole(read)
        return secret(read, self._sources(rule, path), self.budget, is_said=self._said_by(rule))

    def _said_by(self, rule: FieldRule) -> Callable[[Value], bool]:
        """Return what tells of a value whether it is one that a rule itself says."""
        table = self._table(rule)
        if table and rule.unmapped != "keep":
            return lambda _value: True
        said = [*table.values()] + [rule.otherwise] * rule.has_otherwise
        known = {canonical(self._cast(self.constant(each), rule)) for each in said}
        known |= {canonical(self.constant(rule.default))} if rule.has_default else set()
        return lambda value: bool(known) and canonical(value) in known

    def _cast(self, value: Value, rule: FieldRule) -> Value:
        if rule.as_ is None:
            return value
        with suppress(CastError):
            return make_cast(rule, strict=self.strict)(value)
        return value

    def _plain(self, rule: FieldRule, path: Path) -> Read:
        """Return what reads the value of one rule, whether it is to be sealed or not."""
        read = self._source(rule, path)
        steps = self._steps(rule)
        if steps:
            # Null goes past the steps for texts, to the table that has an entry for it.
            of_null = steps[len(_text_steps(rule)) :] if self._is_nullable(rule) else []
            is_shared = ITEMS in path and rule.is_of_message
            made = _with_steps(read_path(".") if is_shared else read, steps, of_null, hidden=self._hides(path))
            read = _once(read, made) if is_shared else made
        if rule.has_default:
            read = _with_default(read, self.constant(rule.default))
        if rule.when is not None:
            read = _when(read, self.condition(rule.when))
        return read

    def _one_step(self, rule: FieldRule, path: Path) -> tuple[str, Step, bool] | None:
        """Return (source, step, hidden) where a rule takes a field of the same object through one step, and no more."""
        source = _own_name(rule)
        if source is None or rule.has_default or rule.when is not None or self._is_nullable(rule):
            return None
        steps = self._steps(rule)
        return (source, steps[0], self._hides(path)) if len(steps) == 1 else None

    def _is_nullable(self, rule: FieldRule) -> bool:
        return any(key is None for key in self._table(rule))

    def _hides(self, path: Path) -> bool:
        return path in self._hidden or is_hidden(self.rules, path)

    def _is_sealed(self, path: Path) -> bool:
        return self._is_secret(path) and not self._is_secret(path[:-1])

    def _is_secret(self, path: Path) -> bool:
        """Tell whether a target is sealed, or a part of one that is."""
        rules = self.rules
        for step in path:
            rules = rules.of(step) if isinstance(step, str) else rules.of_items()
            if rules.sealed is not None:
                return True
        return False

    def _sources(self, rule: FieldRule, path: Path) -> list[Read]:
        """Return what reads the legacy values that a value is made of, and the parts of a text as they are in it."""
        if rule.concat is not None:
            read = [unless(self._plain(part, path), self._said_by(part)) for part in rule.concat if part.const is None]
            return [*read, *(source for part in rule.concat for source in self._sources(part, path))]
        return [read_path(rule.from_)] if rule.from_ is not None else []

    def _source(self, rule: FieldRule, path: Path) -> Read:
        if rule.each is not None:
            return self._each(rule, path)
        if rule.concat is not None:
            return _concat([self._plain(part, path) for part in rule.concat], rule.sep)
        if rule.from_ is not None:
            return read_path(rule.from_)
        constant = self.constant(rule.const)
        return lambda _item, _message: constant

    def _each(self, rule: FieldRule, path: Path) -> Read:
        source = read_path(rule.each or ".")
        where = self.condition(rule.where) if rule.where is not None else None
        inner = (*path, ITEMS)
        sealed = self._is_secret(inner)
        if rule.fields is not None:
            build = self.fields(rule.fields, inner)
            make = _objects(sealed_whole(build) if self._is_sealed(inner) else build, sealed=sealed)
        elif rule.item is not None:
            make = _values(self.value(rule.item, inner))
        else:
            raise AssertionError("`each` has fields or item")

        def read(item: Value, message: Message) -> Value:
            items = source(item, message)
            if type(items) is not list:
                if items is ABSENT or items is None:
                    return items
                note = f"expected a list, found {_a(json_type(items))}"
                return Hole(VIOLATION, note, texts_in(items) if sealed else ())
            if where is not None:
                items = [each for each in items if where(each, message)]
            return make(items, message)

        return read

    def _table(self, rule: FieldRule) -> Mapping[Any, Any]:
        if rule.map is not None:
            return rule.map
        return self.lookups[rule.lookup] if rule.lookup is not None else {}

    def _steps(self, rule: FieldRule) -> list[Step]:
        steps = _text_steps(rule)
        if table := self._table(rule):
            steps.append(self._mapped(rule, table))
        if rule.as_ is not None:
            steps.append(make_cast(rule, strict=self.strict))
        return steps

    def _mapped(self, rule: FieldRule, table: Mapping[Any, Any]) -> Step:
        known = {_scalar_key(self.constant(key)): self.constant(to) for key, to in table.items()}
        texts = {key[1]: to for key, to in known.items() if key[0] is str}
        otherwise = self.constant(rule.otherwise) if rule.has_otherwise else ABSENT
        unmapped = rule.unmapped

        def step(value: Value) -> Value:
            if type(value) is str:
                found = texts.get(value, ABSENT)
            elif type(value) in {dict, list}:
                found = ABSENT
            else:
                found = known.get(_scalar_key(value), ABSENT)
            if found is not ABSENT:
                return found
            if otherwise is not ABSENT:
                return otherwise
            if unmapped == "hole":
                raise UnmappedError("has no entry in the table")
            return value if unmapped == "keep" else None

        return step

    def condition(self, condition: Condition) -> Test:
        """Return what tests an item."""
        if condition.all is not None:
            every = [self.condition(each) for each in condition.all]
            return lambda item, message: all(test(item, message) for test in every)
        if condition.any is not None:
            some = [self.condition(each) for each in condition.any]
            return lambda item, message: any(test(item, message) for test in some)
        read = read_path(condition.path or ".")
        given = condition.model_fields_set
        if "present" in given:
            present = condition.present
            return lambda item, message: (read(item, message) not in (ABSENT, None)) is present
        if given & {"equals", "not_equals"}:
            negated = "not_equals" in given
            values = [condition.not_equals if negated else condition.equals]
        else:
            negated = "not_in" in given
            values = list((condition.not_in if negated else condition.in_) or ())
        wanted = {canonical(self.constant(value)) for value in values}

        def test(item: Value, message: Message) -> bool:
            value = read(item, message)
            return (value is not ABSENT and canonical(value) in wanted) is not negated

        return test


def _renamed(rule: FieldRule) -> str | None:
    """Return the source of a rule that only renames a field of the same object."""
    return _own_name(rule) if rule.model_fields_set == {"from_"} else None


def _own_name(rule: FieldRule) -> str | None:
    """Return the name where the source of a rule is one field of the same object."""
    if rule.from_ is None or rule.is_of_message:
        return None
    path = parse_path(rule.from_)
    return path[0] if len(path) == 1 and isinstance(path[0], str) else None


class _Builder:
    """Writes the function that builds an object out for its fields: a third of a loop's price.

    Nothing of a contract gets into its text: names, values and closures are arguments, numbered.
    """

    def __init__(self) -> None:
        self._known: dict[str, Any] = {"ABSENT": ABSENT, "CastError": CastError, "hole": _hole}
        self._renamed: list[tuple[str, str]] = []
        self._whole: list[str] = []
        self._lines: list[str] = []

    def _argument(self, value: Any) -> str:
        name = f"a{len(self._known)}"
        self._known[name] = value
        return name

    def renamed(self, name: str, source: str) -> None:
        """Have a field that is one of the item."""
        self._renamed.append((name, source))
        self._whole.append(f"{self._argument(name)}: item[{self._argument(source)}]")

    def constant(self, name: str, value: Value) -> None:
        """Have a field that is always the same."""
        self._lines.append(f"built[{self._argument(name)}] = {self._argument(value)}")

    def stepped(self, name: str, source: str, step: Step, hidden: bool) -> None:
        """Have a field that is one of the item, taken through a step; null stays null."""
        name, source, step_, hidden_ = map(self._argument, (name, source, step, hidden))
        self._lines += [
            f"value = item.get({source}, ABSENT)",
            f"if value is None: built[{name}] = None",
            "elif value is not ABSENT:",
            f"  try: built[{name}] = {step_}(value)",
            f"  except CastError as error: built[{name}] = hole(error, value, hidden={hidden_})",
        ]

    def nested(self, name: str, build: Build) -> None:
        """Have an object, unless it would be empty."""
        self._lines += [
            f"value = {self._argument(build)}(item, message)",
            f"if value: built[{self._argument(name)}] = value",
        ]

    def made(self, name: str, read: Read) -> None:
        """Have whatever a closure reads."""
        self._lines += [
            f"value = {self._argument(read)}(item, message)",
            f"if value is not ABSENT: built[{self._argument(name)}] = value",
        ]

    def build(self) -> Build:
        """Return the function."""
        renamed = tuple(self._renamed)
        some = self._argument(lambda item: _renamed_fields(renamed, item))
        lines = [f"def build(item, message, {', '.join(f'{name}={name}' for name in self._known)}):"]
        lines += [
            "  try:",
            f"    built = {{{', '.join(self._whole)}}}",
            "  except KeyError:",
            f"    built = {some}(item)",
        ]
        lines += [f"  {line}" for line in self._lines]
        exec("\n".join([*lines, "  return built"]), self._known)  # noqa: S102 - the text is made of numbers only
        build: Build = self._known["build"]
        return build


def _renamed_fields(plain: tuple[tuple[str, str], ...], item: Message) -> Message:
    return {name: item[source] for name, source in plain if source in item}


def _objects(build: Build, *, sealed: bool) -> Callable[[list[Value], Message], list[Value]]:
    """Return what builds an object of each item."""

    def make(items: list[Value], message: Message) -> list[Value]:
        return [build(each, message) if type(each) is dict else _no_object(each, sealed=sealed) for each in items]

    return make


def _no_object(item: Value, *, sealed: bool) -> Value:
    if item is None:
        return None
    note = f"expected an object, found {_a(json_type(item))}"
    return Hole(VIOLATION, note, texts_in(item) if sealed else ())


def _values(one: Read) -> Callable[[list[Value], Message], list[Value]]:
    """Return what reads a value of each item; an item without one is left out."""

    def make(items: list[Value], message: Message) -> list[Value]:
        return [value for value in [one(each, message) for each in items] if value is not ABSENT]

    return make


def read_path(text: str) -> Read:
    """Return what reads the value at a path; the closures that a message needs most are the shortest."""
    path = parse_path(text)
    if text.startswith("$"):
        return lambda _item, message: value_at(message, path)
    if not path:
        return lambda item, _message: item
    if len(path) == 1:
        name = path[0]

        def read(item: Value, _message: Message) -> Value:
            return item.get(name, ABSENT) if type(item) is dict else value_at(item, path)

        return read
    return lambda item, _message: value_at(item, path)


def _with_default(read: Read, default: Value) -> Read:
    def defaulted(item: Value, message: Message) -> Value:
        value = read(item, message)
        return default if value is ABSENT else value

    return defaulted


def _with_steps(read: Read, steps: list[Step], of_null: list[Step], *, hidden: bool) -> Read:
    """Take a value through `steps`, a null through `of_null`; a null that a step makes stays."""

    def stepped(item: Value, message: Message) -> Value:
        value = original = read(item, message)
        if value is ABSENT or type(value) is Hole:
            return value
        try:
            for step in of_null if value is None else steps:
                value = step(value)
                if value is None:
                    return None
        except CastError as error:
            return _hole(error, original, hidden=hidden)
        return value

    return stepped


def _once(read: Read, made_of: Read) -> Read:
    """Make something of a value that all items share once: it may be large, and they may be many."""
    last: tuple[Value, Value] = ABSENT, ABSENT

    def made(item: Value, message: Message) -> Value:
        nonlocal last
        original = read(item, message)
        if original is not last[0]:
            last = original, made_of(original, message)
        return last[1]

    return made


def _hole(error: CastError, value: Value, *, hidden: bool) -> Hole:
    # Nobody knows what else an object or list holds.
    hidden = hidden or type(value) in {dict, list}
    shown = f"({json_type(value)}, not shown)" if hidden else cut(canonical(value).decode())
    if isinstance(error, UnmappedError):
        return Hole(UNMAPPED, f"legacy value {shown} {error}")
    return Hole(VIOLATION, f"legacy value {shown}: {error}")


def _when(read: Read, test: Test) -> Read:
    def guarded(item: Value, message: Message) -> Value:
        return read(item, message) if test(item, message) else ABSENT

    return guarded


def _concat(parts: list[Read], sep: str) -> Read:
    def read(item: Value, message: Message) -> Value:
        texts = []
        for part in parts:
            value = part(item, message)
            if value is ABSENT or value is None or type(value) is Hole:
                return value
            try:
                texts.append(text_of(value))
            except CastError as error:
                return Hole(VIOLATION, f"a part of concat: {error}")
        return sep.join(texts)

    return read


def _text_steps(rule: FieldRule) -> list[Step]:
    steps: list[Step] = []
    if rule.trim:
        steps.append(_on_text(str.strip))
    if rule.replace:
        steps.append(_on_text(_replacing(rule.replace)))
    if rule.upper or rule.lower:
        steps.append(_on_text(str.upper if rule.upper else str.lower))
    return steps


def _on_text(change: Callable[[str], str]) -> Step:
    def step(value: Value) -> Value:
        if type(value) is not str:
            raise CastError("expected a string")
        return change(value)

    return step


def _replacing(table: Mapping[str, str]) -> Callable[[str], str]:
    def change(text: str) -> str:
        for old, new in table.items():
            text = text.replace(old, new)
        return text

    return change


def _scalar_key(value: Value) -> tuple[type, Value]:
    """Return a key that keeps true apart from 1."""
    return type(value), value


def _a(name: str) -> str:
    return "null" if name == "null" else f"an {name}" if name[0] in "ao" else f"a {name}"
