"""The rebuild mapping: which field of the new format is made how.

A *target* is a path in the new format, of field names only. Its rule names one source (`from`,
`const`, `each` or `concat`), and then, in this order: `trim`, `replace`, `upper` or `lower`, `map`
or `lookup`, `as`. `default` is the value where the source is absent, and goes through none of them.
A text instead of a rule is short for `from`.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    field_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from cutover_app.contract.errors import SettingError
from cutover_app.core.paths import Path, parse_path, render_path

TEMPORAL = frozenset({"datetime", "date", "time", "epoch_s", "epoch_ms"})
INPUTS = frozenset({"iso", "epoch_s", "epoch_ms"})
OUTPUTS = frozenset({"iso", "iso_utc", "iso_local", "epoch_s", "epoch_ms"})

Cast = Literal[
    "string",
    "integer",
    "decimal",
    "boolean",
    "datetime",
    "date",
    "time",
    "epoch_s",
    "epoch_ms",
]


def _check_path(text: str) -> str:
    parse_path(text)
    return text


PathText = Annotated[str, AfterValidator(_check_path)]
"""A path as written; `core/paths.py` says how."""


def _check_source(text: str) -> str:
    steps = parse_path(text)
    if not all(isinstance(step, str | int) for step in steps):
        raise ValueError("expected a path to one value, found a wildcard; lists are read by `each`")
    return text


Source = Annotated[str, AfterValidator(_check_source)]
"""A path in the legacy message: inside `each` in the item, with a leading `$` in the message."""


def _check_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"no such time zone: {name!r}; expected one like Asia/Seoul") from None
    return name


Zone = Annotated[str, AfterValidator(_check_zone)]


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(each) for key, each in value.items())
    return all(map(_is_json, value)) if isinstance(value, list) else True


class Model(BaseModel):
    """Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


SealedForm = Literal["any", "hex", "block"]
"""A known envelope or base64, hexadecimal text, or the blocks of a cipher alone (`core/sealing.py`)."""


class Condition(Model):
    """A test of a legacy message (inside `each`: of the item). Exactly one test."""

    path: Source | None = None
    equals: Any = None
    not_equals: Any = None
    in_: list[Any] | None = Field(default=None, alias="in")
    not_in: list[Any] | None = None
    present: bool | None = None
    all: "list[Condition] | None" = Field(default=None, min_length=1)
    any: "list[Condition] | None" = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_test(self) -> "Condition":
        tests = self.model_fields_set - {"path"}
        if len(tests) != 1:
            raise ValueError("expected exactly one of equals, not_equals, in, not_in, present, all, any")
        if any(getattr(self, name) is None for name in ("in_", "not_in", "present", "all", "any") if name in tests):
            raise ValueError("expected a value (null only with equals and not_equals)")
        if ("path" in self.model_fields_set) == bool(tests & {"all", "any"}):
            raise ValueError("expected a path with the test (and none with all or any)")
        return self


class OrText:
    """In the JSON schema: this, or a text."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string"}, handler(schema)]}


def _from_text(value: Any) -> Any:
    return {"from": value} if isinstance(value, str) else value


class FieldRule(Model):
    """How one field of the new format is made."""

    from_: Source | None = Field(default=None, alias="from")
    const: Any = None
    each: Source | None = None
    concat: "list[FieldSpec] | None" = Field(default=None, min_length=1)

    fields: "Fields | None" = None
    item: "FieldSpec | None" = None
    where: Condition | None = None
    sep: str = ""

    when: Condition | None = None
    default: Any = None
    trim: bool = False
    replace: dict[str, str] | None = None
    upper: bool = False
    lower: bool = False
    map: dict[Any, Any] | None = Field(default=None, min_length=1)
    lookup: str | None = None
    unmapped: Literal["hole", "keep", "null"] = "hole"
    otherwise: Any = None
    as_: Cast | None = Field(default=None, alias="as")
    format: str | None = None
    zone: Zone | None = None
    to: Zone | None = None
    output: str | None = None
    fraction: Annotated[int, Field(ge=0, le=6)] | None = None
    scale: Annotated[int, Field(ge=0, le=100)] | None = None
    rounding: Literal["half_up", "half_even", "down"] | None = None
    sealed: SealedForm | None = None

    @property
    def has_default(self) -> bool:
        """Tell whether a value is given for a legacy field that is absent, null perhaps."""
        return "default" in self.model_fields_set

    @property
    def is_of_message(self) -> bool:
        """Tell whether the source is named from the message on, also inside `each`."""
        return self.from_ is not None and self.from_.startswith("$")

    @property
    def has_otherwise(self) -> bool:
        """Tell whether a value is given for what `map` or `lookup` does not have."""
        return "otherwise" in self.model_fields_set

    @model_validator(mode="after")
    def _one_source(self) -> "FieldRule":
        given = self.model_fields_set
        sources = given & {"from_", "const", "each", "concat"}
        if len(sources) != 1:
            raise ValueError("expected exactly one of from, const, each, concat")
        if any(each in given and getattr(self, each) is None for each in sources - {"const"}):
            raise ValueError("expected a source, found null; a null is made by `const: null`")
        if ("each" in sources) != (len(given & {"fields", "item"}) == 1):
            raise ValueError("`each` needs one of fields, item; and they need `each`")
        if "where" in given and "each" not in sources:
            raise ValueError("`where` chooses items, so it needs `each`; for a field it is `when`")
        if "sep" in given and "concat" not in sources:
            raise ValueError("`sep` needs `concat`")
        alone = given - {"when", "each", "fields", "item", "where", "default", "const"}
        if sources & {"each", "const"} and alone:
            raise ValueError(f"with {sources.pop()}, no use for: {_names(alone)}")
        if "const" in sources and "default" in given:
            raise ValueError("a const is never absent: no use for default")
        if any(part.sealed is not None for part in self.concat or ()):
            raise ValueError("parts are not sealed one by one: put `sealed` beside concat")
        if any(part.each is not None or isinstance(part.const, dict | list) for part in self.concat or ()):
            raise ValueError("expected parts that are texts, numbers or booleans: no list and no object is one")
        self._steps(given)
        return self

    @field_serializer("replace", when_used="unless-none")
    def _one_after_the_other(self, replace: dict[str, str]) -> list[tuple[str, str]]:
        """Keep the order, which counts here alone."""
        return list(replace.items())

    def _steps(self, given: set[str]) -> None:
        if "map" in given and "lookup" in given:
            raise ValueError("expected map or lookup, not both")
        if given & {"unmapped", "otherwise"} and not given & {"map", "lookup"}:
            raise ValueError("`unmapped` and `otherwise` need map or lookup")
        if {"unmapped", "otherwise"} <= given:
            raise ValueError("expected unmapped or otherwise, not both")
        if self.upper and self.lower:
            raise ValueError("expected upper or lower, not both")
        if self.map is not None:
            check_table(self.map)
        if not all(map(_is_json, (self.const, self.default, self.otherwise))):
            raise ValueError("expected texts as keys of a constant object")
        temporal = self.as_ in TEMPORAL
        timed = given & {"format", "zone", "to", "output", "fraction"}
        if timed and not temporal:
            raise ValueError(f"{_names(timed)} need `as:` one of {', '.join(sorted(TEMPORAL))}")
        if "scale" in given and self.as_ not in {"string", "decimal"}:
            raise ValueError("`scale` needs `as: string` or `as: decimal`")
        if "rounding" in given and "scale" not in given and self.as_ != "integer":
            raise ValueError("`rounding` needs `scale` or `as: integer`")
        if temporal:
            self._times()

    def _times(self) -> None:
        local = self.format is not None and self.format not in INPUTS
        if self.format is not None and local:
            _check_format(self.format)
            local = "%z" not in self.format
        placed = self.as_ in {"epoch_s", "epoch_ms"} or (
            self.as_ == "datetime" and self.output in {None, *OUTPUTS} - {"iso_local"}
        )
        if local and self.zone is None and (placed or self.to is not None):
            raise ValueError("expected zone: the format has no offset (%z), so in which zone?")
        if self.output is not None:
            if self.as_ in {"epoch_s", "epoch_ms"}:
                raise ValueError(f"`as: {self.as_}` is a number: no use for output")
            if self.as_ in {"date", "time"} and self.output in OUTPUTS - {"iso"}:
                raise ValueError(f"output: expected iso, or a format with % in it, for {self.as_}")
            if self.output not in OUTPUTS and not re.search("%[A-Za-z]", self.output):
                raise ValueError(f"output: expected one of {', '.join(sorted(OUTPUTS))}, or a format with % in it")


def _check_format(text: str) -> None:
    if "%" not in text:
        raise ValueError(f"format: expected one of {', '.join(sorted(INPUTS))}, or one with % in it like %Y%m%d")
    sample = datetime(2001, 12, 31, 23, 59, 58, tzinfo=UTC)
    try:
        datetime.strptime(sample.strftime(text), text)  # noqa: DTZ007 - only tried
    except ValueError as error:
        raise ValueError(f"format: {text!r} is not understood: {error}") from None


def check_table(table: Mapping[Any, Any]) -> None:
    """Refuse a table whose values are no JSON values."""
    if not all(map(_is_json, table.values())):
        raise ValueError("expected JSON values in the table")


def _names(names: set[str]) -> str:
    return ", ".join(sorted(name.rstrip("_") for name in names))


FieldSpec = Annotated[FieldRule, BeforeValidator(_from_text), OrText()]
Fields = Annotated[dict[str, FieldSpec], Field(min_length=1)]

Condition.model_rebuild()
FieldRule.model_rebuild()


def targets_of(fields: Mapping[str, FieldRule]) -> dict[Path, FieldRule]:
    """Return the rules by the path of their target."""
    return {parse_path(text): rule for text, rule in fields.items()}


def check_fields(fields: Mapping[str, FieldRule]) -> None:
    """Refuse a target that is no path, or is made twice, or lies within another one."""
    seen: dict[Path, str] = {}
    for text, rule in fields.items():
        path = parse_path(text)
        if not path or not all(isinstance(step, str) for step in path):
            raise SettingError("a target is made of field names: no position, no wildcard", text)
        if path in seen:
            raise SettingError(f"the same target as {seen[path]}: expected one rule for it", text)
        seen[path] = text
        for place, inner in inner_fields(rule):
            try:
                check_fields(inner)
            except SettingError as error:
                raise SettingError(str(error), text, *place, *error.place) from None
    for path, text in seen.items():
        for length in range(1, len(path)):
            if path[:length] in seen:
                outer = render_path(path[:length])
                raise SettingError(f"lies within the target {outer}, which is one value", text)


Place = tuple[str | int, ...]


def inner_fields(rule: FieldRule) -> Iterator[tuple[Place, Mapping[str, FieldRule]]]:
    """Yield the mappings inside of a rule, with the way to them."""
    if rule.fields is not None:
        yield ("fields",), rule.fields
    if rule.item is not None:
        for place, inner in inner_fields(rule.item):
            yield ("item", *place), inner
    for index, part in enumerate(rule.concat or ()):
        for place, inner in inner_fields(part):
            yield ("concat", index, *place), inner


def all_rules(fields: Mapping[str, FieldRule]) -> Iterator[tuple[Place, FieldRule]]:
    """Yield every rule of a mapping, inner ones too, with the way to it."""
    for text, rule in fields.items():
        for place, each in _inner_rules(rule):
            yield (text, *place), each


def repeats_values(fields: Mapping[str, FieldRule]) -> bool:
    """Tell whether a value of the whole message may be in each of many items."""
    return any(rule.is_of_message and ("fields" in place or "item" in place) for place, rule in all_rules(fields))


def _inner_rules(rule: FieldRule) -> Iterator[tuple[Place, FieldRule]]:
    yield (), rule
    for text, inner in (rule.fields or {}).items():
        for place, each in _inner_rules(inner):
            yield ("fields", text, *place), each
    if rule.item is not None:
        for place, each in _inner_rules(rule.item):
            yield ("item", *place), each
    for index, part in enumerate(rule.concat or ()):
        for place, each in _inner_rules(part):
            yield ("concat", index, *place), each
