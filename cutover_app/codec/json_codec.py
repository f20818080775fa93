"""JSON records: exact, or refused with a reason (rules R10 and R11).

A reason names what is wrong and where, never what a message says.
"""

from typing import Final

import msgspec

from cutover_app.core.canonical import (
    NESTING_MAX,
    Value,
    numbers_of,
    reader,
    same_strings,
    too_deep,
)

Message = dict[str, Value]

_TYPES: Final = {list: "array", str: "string", bool: "boolean", type(None): "null"}


class UndecodableError(ValueError):
    """A record that is not one message; its text is the reason."""


class JsonReader:
    """Reads records of at most `limit` bytes.

    Reading alone cannot see fields that occur twice: whoever has written the message again, which
    needs to be done once anyway, passes both to `refuse_repeated` before the next record is read.
    """

    def __init__(self, limit: int, *, strict: bool) -> None:
        self.limit = limit
        self._read = reader(strict=strict)
        self._numbers = numbers_of(strict=strict)

    def read(self, value: bytes | None) -> Message:
        """Return the message in a record; raises `UndecodableError`."""
        if not value:
            raise UndecodableError("tombstone" if value is None else "empty value")
        if len(value) > self.limit:
            raise UndecodableError(f"oversized: {len(value)} bytes, limit {self.limit}")
        self._numbers.grown = False
        try:
            message = self._read(value)
        except (ValueError, RecursionError, msgspec.MsgspecError) as error:
            raise UndecodableError(_reason(error)) from None
        if type(message) is not dict:
            name = _TYPES.get(type(message), "number")
            raise UndecodableError(f"not a JSON object: {name}")
        if too_deep(value, message):
            raise UndecodableError(_reason(RecursionError()))
        return message

    def is_shortest(self, value: bytes, length: int) -> bool:
        """Tell whether the record read last is as short as its message, written in `length` bytes.

        Then no field occurs twice in it: a field that was dropped would have made it longer.
        """
        return len(value) == length and not self._numbers.grown

    def refuse_repeated(self, value: bytes, written: bytes) -> None:
        """Refuse a record in which a field occurs twice; `written` is its message, written again."""
        if not self.is_shortest(value, len(written)) and not same_strings(value, written):
            raise UndecodableError("a field occurs twice in one object")


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
