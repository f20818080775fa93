"""A rebuild written in Python: found, called, and its result taken for what it is worth.

The function gets a message of its own, which it may change: a dict whose numbers are `int` or
`decimal.Decimal`. It returns a dict, a list of dicts, or None where nothing is to be published.
Whatever else it does, raising included, is a verdict about the record and never the end of a worker.
It must be pure: the same record, the same result.
"""

import importlib
import inspect
import math
import sys
import traceback
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from cutover_app.contract.errors import ContractError, Problem
from cutover_app.core.canonical import NESTING_MAX, Value, canonical

Message = dict[str, Value]
Hook = Callable[[Message], list[Message]]

MESSAGES_MAX = 1000
"""Messages that one record may be rebuilt to."""
_RAISED: Final = (Exception, SystemExit, GeneratorExit)
"""What a hook may raise (rule R11: it may do what it wants). An interruption is somebody's at the keyboard."""


class HookError(ValueError):
    """What a hook did with a record; the text has no value of it."""


def load_hook(spec: str, folder: Path, file: str, line: int) -> tuple[Callable[[Message], Any], bytes]:
    """Return the function `module:function` and the source of its module; raises `ContractError`."""
    name, _, attribute = spec.partition(":")
    place = str(folder.resolve())
    if place not in sys.path:
        sys.path.insert(0, place)

    def wrong(text: str) -> ContractError:
        return ContractError(Problem(file, line, "rebuild.python", text))

    try:
        module = importlib.import_module(name)
    except _RAISED as error:
        text = f"module {name} cannot be imported: {type(error).__name__}: {error}"
        raise wrong(text.splitlines()[0]) from None
    function = getattr(module, attribute, None)
    if not callable(function):
        raise wrong(f"no function {attribute} in module {name}")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise wrong(f"{spec} is async or a generator; expected a plain function that returns")
    if not _takes_one(function):
        raise wrong(f"{spec} cannot be called with one argument, the legacy message")
    try:
        source = Path(inspect.getfile(module)).read_bytes()
    except (OSError, TypeError):
        raise wrong(f"module {name} has no source file, so a change of it would not be seen") from None
    return function, source


def _takes_one(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind({})
    except TypeError:
        return False
    except ValueError:  # written in C, and does not say what it takes
        return True
    return True


def call_hook(
    function: Callable[[Message], Any], read: Callable[[bytes], Value], message: Message
) -> list[Message | HookError]:
    """Return the messages that a hook makes of one, each as if it had been read from a record."""
    try:
        made = function(message)
    except _RAISED as error:
        # Only where, and what kind: the text of an exception may quote a value.
        return [HookError(f"the function raised {type(error).__name__}{_where(function, error)}")]
    if made is None:
        return []
    if not isinstance(made, list | tuple):
        made = [made]
    try:
        if len(made) > MESSAGES_MAX:
            return [HookError(f"the function made {len(made)} messages, limit {MESSAGES_MAX}")]
        return [_taken(each, read) for each in made]
    except _RAISED as error:  # what it made is of classes of its own
        return [HookError(f"what the function made raised {type(error).__name__}")]


def _where(function: Callable[[Message], Any], error: BaseException) -> str:
    """Return the line of the function's own module in which an exception came up, or ""."""
    file = getattr(getattr(function, "__code__", None), "co_filename", None)
    frames = traceback.extract_tb(error.__traceback__)
    lines = [each.lineno for each in frames if each.filename == file]
    return f" at line {lines[-1]} of {Path(file).name}" if file and lines else ""


def _taken(made: Any, read: Callable[[bytes], Value]) -> Message | HookError:
    if not isinstance(made, dict):
        name = type(made).__name__
        return HookError(f"the function returned {name}; expected a dict, a list of dicts or None")
    try:
        message: Message = read(canonical(_plain(made, "$", 0)))
    except HookError as error:
        return error
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        name = type(error).__name__
        return HookError(f"the function returned what JSON cannot say ({name})")
    return message


def _plain(value: Any, path: str, depth: int) -> Value:
    """Return a copy made of JSON values only."""
    kind = type(value)
    if value is None or kind is bool or kind is str or kind is int:
        return value
    if depth > NESTING_MAX:
        raise HookError(f"the function returned more than {NESTING_MAX} levels")
    if isinstance(value, dict):
        return _plain_object(value, path, depth)
    if isinstance(value, list | tuple):
        return [_plain(each, f"{path}[*]", depth + 1) for each in value]
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, Decimal) and value.is_finite():
        return value  # one such as 1E+3 is written as it is, and read like any other
    if isinstance(value, float) and math.isfinite(value):
        return Decimal(repr(float(value)))
    raise HookError(f"the function returned {_kind_of(value)} at {path}")


def _plain_object(value: dict[Any, Any], path: str, depth: int) -> Value:
    copy = {}
    for name, each in value.items():
        if not isinstance(name, str):
            raise HookError(f"the function returned a field name of type {type(name).__name__}")
        copy[str.__str__(name)] = _plain(each, f"{path}.*", depth + 1)
    return copy


def _kind_of(value: Any) -> str:
    if isinstance(value, float | Decimal):
        return "a number that is not finite"
    return f"a {type(value).__name__}"
