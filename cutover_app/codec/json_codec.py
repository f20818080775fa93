"""JSON records: exact, or refused with a reason (rules R10 and R11).

A reason names what is wrong and where, never what a message says.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from cutover_app.core.canonical import (
    NESTING_MAX,
    Value,
    quotes,
    reader,
    too_deep,
    unsorted_json,
)

Message = dict[str, Value]

_TYPES: Final = {list: "array", str: "string", bool: "boolean", type(None): "null"}


class UndecodableError(ValueError):
    """A record that is not one message; its text is the reason."""


def json_reader(limit: int, *, strict: bool) -> Callable[[bytes | None], Message]:
    """Return the reader of records of at most `limit` bytes.

    It cannot see fields that occur twice: whoever has written the message again, which needs to be
    done once anyway, passes both to `refuse_repeated`.
    """
    read = reader(strict=strict)

    def decode(value: bytes | None) -> Message:
        if not value:
            raise UndecodableError("tombstone" if value is None else "empty value")
        if len(value) > limit:
            raise UndecodableError(f"oversized: {len(value)} bytes, limit {limit}")
        try:
            message = read(value)
        except (ValueError, RecursionError, msgspec.MsgspecError) as error:
            raise UndecodableError(_reason(error)) from None
        if type(message) is not dict:
            name = _TYPES.get(type(message), "number")
            raise UndecodableError(f"not a JSON object: {name}")
        if too_deep(value, message):
            raise UndecodableError(_reason(RecursionError()))
        return message

    return decode


def refuse_repeated(value: bytes, written: bytes) -> None:
    """Refuse a record in which a field occurs twice; `written` is its message, written again."""
    if quotes(value) != quotes(written):
        raise UndecodableError("a field occurs twice in one object")


def refuse_repeated_in(value: bytes, message: Message) -> None:
    """Do the same for a message that has not been written yet."""
    written = unsorted_json(message)
    if written != value:  # most producers write as compactly as we do
        refuse_repeated(value, written)


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"nested deeper than {NESTING_MAX} levels"
    if isinstance(error, UnicodeError):
        return "not UTF-8"
    if isinstance(error, msgspec.ValidationError):
        # Ours, about a number (`BadNumberError`), with a place that the reader adds.
        return f"not exact: {str(error).partition(' - at ')[0]}"
    # The texts of the JSON reader say what and where ("invalid character (byte 17)"), no contents.
    return f"not JSON: {str(error).removeprefix('JSON is malformed: ')}"
