r"""The canonical form of a message: one spelling for each value (rule R10).

Equal bytes mean equal messages.

The canonical form is JSON itself, written in one way: fields sorted, no white space, strings as
msgspec writes them, and each number in one spelling. JSON's grammar already keeps types apart ("1"
is not 1, null is not an absent field), so a writer that is a function of the value is injective.

Numbers are exact at any length: a number is an `int` or a `decimal.Decimal`, never a `float`.

    not strict (default)  1, 1.0 and 1e0 are one number, written 1; -0.0 is 0; 12.50 is 12.5
    strict                a number with a point or an exponent is another one than an integer:
                          1.0 is not 1, and is written 1.0; 12.50 is still 12.5, and -0.0 is 0.0

Invariants:

A. canonical(x) == canonical(y) exactly when x and y are the same JSON value.
B. Reading canonical bytes and writing them again gives the same bytes.
C. Of two values that were read, numbers are equal exactly when they have one Python type and
   compare equal.
D. Whatever cannot be told apart by the reader is refused: NaN, lone surrogates and bytes that are
   not UTF-8 by the JSON reader itself; fields that occur twice by `same_strings`; what nests too
   deep or has too long a number by the limits here.

`same_strings` deserves its proof. A JSON reader that meets a field twice keeps one and tells
nobody. But every string of the text, field names included, has exactly two quotes that are not
escaped, and every string that the reader kept has two in whatever is written from it. A field that
was dropped took at least its own name with it. So as many unescaped quotes in the text as in the
text written again means: nothing was dropped. A quote is escaped exactly when an odd number of
backslashes stands before it; backslashes occur in strings only, and there pair up from the left; so
once all pairs are gone, what `\"` counts are the escaped ones. An escape like `\u0022` has no quote
byte at all.

Where the text is as short as what is written from it, even the count is spared: every value is
written in its shortest form, numbers with an exponent apart, so a text that held a field more would
be longer.
"""

from collections.abc import Callable
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, InvalidOperation
from typing import Any, Final

import msgspec
import xxhash

from cutover_app.core.limits import ENTRY_BYTES_MAX

NUMBER_DIGITS_MAX: Final = 4300
"""Digits of a number before its point, a minus among them, and zeros after it; a number beyond is undecodable.
The JSON reader has the same limit for integers, and counts the minus too."""

NUMBER_CHARS_MAX: Final = 10_000
"""Characters of a number that has a point or an exponent."""

DIGITS_PER_BYTE_MAX: Final = 64
"""Digits, per byte of a message, that its numbers may have once they are written without an exponent (`1e308` and a
comma take 52 of each); besides, one of them may be as long as any. With more, few bytes would fill memory."""

NESTING_MAX: Final = 200
"""Levels of lists and objects in each other; a message with more is undecodable."""

_REMEMBERED_NUMBERS: Final = 1 << 17
_SHORT: Final = 32
_LONG: Final = NUMBER_CHARS_MAX - NUMBER_DIGITS_MAX - len("0.")
"""Characters from which on a number may have too many once it is written without its exponent."""

_EXACT: Final = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)

Value = Any
"""A JSON value: dict, list, str, bool, None, int, or a Decimal as `exact_number` makes it."""


class BadNumberError(ValueError):
    """A number beyond the limits."""


class _Exponents:
    """What the exponents of the message that was read last have come to; short numbers cannot come to much."""

    size = 0
    """Bytes of the message."""
    digits = 0

    def count(self, digits: int) -> None:
        """Count a number with so many digits; raises `BadNumberError` beyond the limit."""
        if digits > _SHORT:
            self.digits += digits
            limit = min(NUMBER_DIGITS_MAX + DIGITS_PER_BYTE_MAX * self.size, ENTRY_BYTES_MAX)
            if self.digits > limit:
                raise BadNumberError(f"numbers of more than {limit} digits, written out")


_EXPONENTS: Final = _Exponents()


def exact_number(text: str) -> int | Decimal:
    """Return the number that is written with a point or an exponent; integral ones as `int`."""
    if len(text) <= _SHORT and "." in text and "e" not in text and "E" not in text:
        # Without an exponent, the normal form is the text without the zeros at its end.
        short = text.rstrip("0")
        return int(short[:-1]) if short[-1] == "." else Decimal(short)
    number = _read(text)
    whole = number.to_integral_value()
    # `int` of the number itself takes six times as long where there are thousands of digits.
    return int(f"{whole:f}") if number == whole else _EXACT.normalize(number)


def strict_number(text: str) -> int | Decimal:
    """Return the same, but integral ones as a Decimal that is written with `.0`."""
    number = _read(text)
    whole = number.to_integral_value()
    return Decimal(f"{whole:f}.0") if number == whole else _EXACT.normalize(number)


def _read(text: str) -> Decimal:
    if len(text) > NUMBER_CHARS_MAX:
        raise BadNumberError(f"a number of {len(text)} characters, limit {NUMBER_CHARS_MAX}")
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise BadNumberError(f"an exponent beyond {NUMBER_DIGITS_MAX} digits") from None
    if not number.is_finite():
        raise BadNumberError("a number that is not finite")
    if not number:
        return Decimal(0)
    if is_too_long(number) or number.adjusted() < -NUMBER_DIGITS_MAX:
        raise BadNumberError(f"an exponent beyond {NUMBER_DIGITS_MAX} digits")
    # Written without its exponent it is read again, by whoever compares.
    if len(text) > _LONG and (written := len(format(_EXACT.normalize(number), "f"))) > NUMBER_CHARS_MAX:
        raise BadNumberError(f"a number of {written} characters without its exponent, limit {NUMBER_CHARS_MAX}")
    return number


def is_too_long(number: Decimal) -> bool:
    """Tell whether a number could not be read again once it is written, for the digits before its point."""
    return number.adjusted() >= NUMBER_DIGITS_MAX - number.is_signed()


def plain_text(number: Decimal) -> str:
    """Return a number of the message that was read last, without an exponent; raises `BadNumberError`."""
    text = str(number)
    if "E" not in text:
        return text
    _EXPONENTS.count(-number.adjusted())
    return format(number, "f")


class _Numbers(dict[str, int | Decimal]):
    """Numbers already read, by their text: prices recur, and a look-up costs a tenth. Raises `BadNumberError`."""

    grown = False
    """Whether a number came whose normal form may be longer than its text; whoever asks resets it."""

    def __init__(self, read: Callable[[str], int | Decimal]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, text: str) -> int | Decimal:
        number = self._read(text)
        if "e" in text or "E" in text:
            self.grown = True
            _EXPONENTS.count(number.bit_length() * 3 // 10 if isinstance(number, int) else number.adjusted())
        elif len(text) <= _SHORT:
            if len(self) >= _REMEMBERED_NUMBERS:
                self.clear()
            self[text] = number
        return number


_EXACT_NUMBERS: Final = _Numbers(exact_number)
_STRICT_NUMBERS: Final = _Numbers(strict_number)


def numbers_of(*, strict: bool = False) -> _Numbers:
    """Return the numbers that all readers of one kind share."""
    return _STRICT_NUMBERS if strict else _EXACT_NUMBERS


def reader(*, strict: bool = False) -> Callable[[bytes], Value]:
    """Return the JSON reader.

    It raises msgspec's errors (its ValidationError is about a number beyond the limits),
    UnicodeDecodeError and RecursionError.
    """
    decode = msgspec.json.Decoder(float_hook=numbers_of(strict=strict).__getitem__).decode

    def read(data: bytes) -> Value:
        _EXPONENTS.size, _EXPONENTS.digits = len(data), 0
        return decode(data)

    return read


canonical: Final[Callable[[Value], bytes]] = msgspec.json.Encoder(order="sorted", decimal_format="number").encode
"""Return the canonical bytes of a value; TypeError where it is not made of JSON values."""

unsorted_json: Final[Callable[[Value], bytes]] = msgspec.json.Encoder(decimal_format="number").encode
"""Return the same with the fields in the order they have: faster, and enough for `same_strings`."""


def digest(data: bytes) -> bytes:
    """Return the 16-byte digest of canonical bytes."""
    return xxhash.xxh3_128_digest(data)


def quotes(text: bytes) -> int:
    """Return how many quotes in a JSON text begin or end a string."""
    if b"\\" not in text:
        return text.count(b'"')
    text = text.replace(rb"\\", b"")
    return text.count(b'"') - text.count(rb"\"")


def same_strings(text: bytes, written: bytes) -> bool:
    """Tell whether no string, so no field, of `text` is lost in `written`, its value written."""
    return quotes(text) == quotes(written)


def too_deep(text: bytes, value: Value) -> bool:
    """Tell whether `value`, read from `text`, nests too deep. Nearly always two counts decide."""
    # `replace` looks for a byte in C and finds few; `count` would look at every one.
    length = len(text)
    if 2 * length - len(text.replace(b"{", b"")) - len(text.replace(b"[", b"")) <= NESTING_MAX:
        return False
    level = [value]
    for _ in range(NESTING_MAX):
        inner: list[Value] = []
        for each in level:
            if type(each) is dict:
                inner.extend(each.values())
            elif type(each) is list:
                inner.extend(each)
        level = [each for each in inner if type(each) in {dict, list}]
        if not level:
            return False
    return True
