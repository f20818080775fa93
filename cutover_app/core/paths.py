"""Paths into a message: how they are written in a contract, and how a finding shows them.

A path is a sequence of steps from the message, `$`, down. A step is a field name (`str`), a place
in a list (`int`), or one of two wildcards: `ITEMS`, every item of a list, and `FIELDS`, every field
of an object. Written:

    $.customer.name     a field of a field; the leading `$.` may be left out
    lines[0].price      the first item of a list
    $.lines[*].note     every item of a list
    $.prices.*          every field of an object
    $["odd.name"].x     a name with any of . [ ] " ' * $ or white space; 'odd.name'.x works too
    .  or  $            the message itself

Reading undoes rendering, so a path in a verdict can be copied into a contract.
"""

import enum
import json
import re
from typing import Final


class Wildcard(enum.Enum):
    """A step that stands for many."""

    FIELDS = ".*"
    ITEMS = "[*]"


FIELDS: Final = Wildcard.FIELDS
ITEMS: Final = Wildcard.ITEMS

Step = str | int | Wildcard
Path = tuple[Step, ...]

NAME_CHARS_MAX: Final = 128
"""Characters of one field name as shown in a path; in a message, it may have any length."""

_PLAIN: Final = re.compile(r"""[^\s.\[\]"'*$]+""")
_QUOTED: Final = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*\'""")
_INDEX: Final = re.compile(r"\d{1,9}")


class PathError(ValueError):
    """A path that cannot be read; says where and why."""


def parse_path(text: str) -> Path:
    """Return the steps of a written path; raises `PathError`."""
    if text in {".", "$"}:
        return ()
    if not text:
        raise PathError("an empty path; the message itself is written `.`")
    steps: list[Step] = []
    position = 1 if text.startswith("$") else 0
    while position < len(text):
        step, position = _step(text, position, first=position == 0)
        steps.append(step)
    return tuple(steps)


def _step(text: str, position: int, *, first: bool) -> tuple[Step, int]:
    if text[position] == "[":
        return _bracket(text, position + 1)
    if not first:
        if text[position] != ".":
            raise _error(text, position, "a `.` or a `[`")
        position += 1
    if text.startswith("*", position):
        return FIELDS, position + 1
    quoted = _QUOTED.match(text, position)
    if quoted:
        return _unquote(quoted[0]), quoted.end()
    plain = _PLAIN.match(text, position)
    if plain:
        return plain[0], plain.end()
    raise _error(text, position, "a field name (in quotes if it has odd characters)")


def _bracket(text: str, position: int) -> tuple[Step, int]:
    step: Step
    if text.startswith("*", position):
        step, end = ITEMS, position + 1
    elif quoted := _QUOTED.match(text, position):
        step, end = _unquote(quoted[0]), quoted.end()
    elif index := _INDEX.match(text, position):
        step, end = int(index[0]), index.end()
    else:
        raise _error(text, position, "a number, `*` or a quoted name")
    if not text.startswith("]", end):
        raise _error(text, end, "a `]`")
    return step, end + 1


def _unquote(text: str) -> str:
    if text[0] == "'":
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    try:
        return str(json.loads(text))
    except ValueError:
        raise PathError(f"bad escape in the quoted name {text}") from None


def _error(text: str, position: int, wanted: str) -> PathError:
    found = repr(text[position]) if position < len(text) else "the end"
    return PathError(f"expected {wanted} at character {position + 1} of {text!r}, found {found}")


def render_step(step: Step) -> str:
    """Return one step as it is appended to a path that begins with `$`."""
    if isinstance(step, str):
        if _PLAIN.fullmatch(step) and len(step) <= NAME_CHARS_MAX:
            return "." + step
        shown = step if len(step) <= NAME_CHARS_MAX else step[:NAME_CHARS_MAX] + "…"
        return f"[{json.dumps(shown, ensure_ascii=False)}]"
    if isinstance(step, Wildcard):
        return str(step.value)
    return f"[{step}]"


def render_path(path: Path) -> str:
    """Return the path in the form that findings show."""
    return "$" + "".join(map(render_step, path))
