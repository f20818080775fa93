"""Reads YAML as a contract needs it: lines kept, nothing guessed.

Plain scalars are read by the rules of YAML 1.2, not 1.1: `no`, `on`, `12:30`, `0123` and
`2027-01-31` are texts, only `true` and `false` are booleans, and a number with a point is an exact
Decimal. A key that occurs twice is an error, and so is a tag that names anything else than JSON has.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from cutover_app.contract.errors import ContractError, Problem
from cutover_app.core.canonical import strict_number

Place = tuple[str | int, ...]
"""The keys and list positions that lead to a value."""

_NULL: Final = re.compile(r"~|null|Null|NULL|")
_BOOLEAN: Final = re.compile(r"true|True|TRUE|false|False|FALSE")
_INTEGER: Final = re.compile(r"\+?(?:0|[1-9][0-9]{0,4299})|-(?:0|[1-9][0-9]{0,4298})")
_DECIMAL: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")

MERGE: Final = "tag:yaml.org,2002:merge"

SURROGATE: Final = "half of a surrogate pair, which no message can have"

VALUES_MAX: Final = 1_000_000
"""Values of a file, with each alias taken for what it stands for; a few lines of aliases can mean billions."""

_TAGS: Final = {
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq", "timestamp", "value")
}


@dataclass(slots=True)
class YamlFile:
    """What a file says, and on which line."""

    name: str
    value: Any = None
    lines: dict[Place, int] = field(default_factory=dict)

    def line(self, place: Place) -> int:
        """Return the line of a place, or of the nearest one above it that is in the file."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 0)


def read_yaml(text: str, name: str) -> YamlFile:
    """Read a YAML text; `name` is what errors call it. Raises `ContractError`."""
    file = YamlFile(name)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = f"not YAML: {error.problem or error.context}"
        raise ContractError(Problem(name, mark.line + 1 if mark else 0, "", problem)) from None
    except yaml.YAMLError as error:
        raise ContractError(Problem(name, 0, "", f"not YAML: {error}".splitlines()[0])) from None
    except RecursionError:
        raise ContractError(Problem(name, 0, "", "nested too deep")) from None
    if node is None:
        raise ContractError(Problem(name, 0, "", "the file is empty"))
    problems: list[Problem] = []
    try:
        file.value = _Reader(file, problems).value(node, ())
    except RecursionError:
        raise ContractError(Problem(name, 0, "", "nested too deep")) from None
    if problems:
        raise ContractError(*problems)
    return file


class _Reader:
    def __init__(self, file: YamlFile, problems: list[Problem]) -> None:
        self.file = file
        self.problems = problems
        self.open: set[int] = set()
        self.values = 0

    def problem(self, node: yaml.Node, place: Place, text: str) -> None:
        line = node.start_mark.line + 1
        self.problems.append(Problem(self.file.name, line, dotted(place), text))

    def value(self, node: yaml.Node, place: Place) -> Any:
        self.file.lines.setdefault(place, node.start_mark.line + 1)
        if node.tag not in _TAGS:
            self.problem(node, place, f"expected a plain value, found the tag {node.tag}")
            return None
        self.values += 1
        if self.values > VALUES_MAX:
            raise ContractError(Problem(self.file.name, 0, dotted(place), f"more than {VALUES_MAX:,} values"))
        if isinstance(node, yaml.ScalarNode):
            if _has_surrogate(node):
                self.problem(node, place, SURROGATE)
            return _scalar(node)
        if id(node) in self.open:
            self.problem(node, place, "an anchor that contains itself")
            return None
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self.mapping(node, place)
            assert isinstance(node, yaml.SequenceNode)
            return [self.value(each, (*place, index)) for index, each in enumerate(node.value)]
        finally:
            self.open.discard(id(node))

    def mapping(self, node: yaml.MappingNode, place: Place) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.problem(key_node, place, "expected a text as key, found a list or mapping")
                continue
            if key_node.tag == MERGE or _has_surrogate(key_node):
                text = "`<<` merges nothing here: write the entries out" if key_node.tag == MERGE else SURROGATE
                self.problem(key_node, place, text)
                continue
            key = _scalar(key_node)
            here = (*place, key if type(key) is int else key_node.value)
            if key in found:
                self.problem(key_node, here, "this key occurs twice")
                continue
            self.file.lines[here] = key_node.start_mark.line + 1
            found[key] = self.value(value_node, here)
        return found


def _has_surrogate(node: yaml.ScalarNode) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in str(node.value))


def _scalar(node: yaml.ScalarNode) -> Any:
    text = str(node.value)
    if node.style is not None:
        return text
    if _NULL.fullmatch(text):
        return None
    if _BOOLEAN.fullmatch(text):
        return text.lower() == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        try:
            return strict_number(text)  # 1.0 is not 1 where numbers are strict
        except ValueError:
            return text
    return text


def dotted(place: Place) -> str:
    """Return a place as errors show it: `rebuild.lines.fields.sku`, `compare.ignore[0].path`."""
    shown = ""
    for step in place:
        if isinstance(step, int):
            shown += f"[{step}]"
        else:
            shown += f".{step}" if shown else step
    return shown
