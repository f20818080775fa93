"""`as:` of a rebuild rule: one legacy value to one value of the new format, or a reason why not.

A cast is a function of the value alone, made once per field. It never sees null. Reasons name what
was expected and never the value: the caller knows whether that may be shown.

Dates and times: the text is read by `format` (ISO 8601 where there is none), placed in `zone` where
it has no offset of its own, moved to the zone `to` (where there is none: left in its own), and
written by `output`. A local time that a zone skips is the instant that Java gives too, one that
occurs twice is the first.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import (
    MAX_EMAX,
    MAX_PREC,
    MIN_EMIN,
    ROUND_DOWN,
    ROUND_HALF_EVEN,
    ROUND_HALF_UP,
    Context,
    Decimal,
)
from typing import Final
from zoneinfo import ZoneInfo

from cutover_app.contract.mapping import FieldRule
from cutover_app.core.canonical import BadNumberError, Value, is_too_long, numbers_of, plain_text

Cast = Callable[[Value], Value]


class CastError(ValueError):
    """A value that cannot take the form; the text says what was expected."""


_REMEMBERED_MAX: Final = 1 << 15
_REMEMBERED_CHARS: Final = 64
_INTEGER: Final = re.compile(r"\+?[0-9]{1,4300}|-[0-9]{1,4299}")
_DECIMAL: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_ROUNDING: Final = {
    "half_up": ROUND_HALF_UP,
    "half_even": ROUND_HALF_EVEN,
    "down": ROUND_DOWN,
}
_numbers: Final = numbers_of()
_EXACT: Final = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
_BOOLEANS: Final = {
    **dict.fromkeys(("true", "t", "yes", "y", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0"), False),
}


class _Remembered(dict[Value, Value]):
    """Results by value. Times recur within a second, and making one costs twenty look-ups."""

    def __init__(self, cast: Cast) -> None:
        super().__init__()
        self.cast = cast

    def __missing__(self, value: Value) -> Value:
        result = self.cast(value)
        if type(value) is not str or len(value) <= _REMEMBERED_CHARS:
            if len(self) >= _REMEMBERED_MAX:
                self.clear()
            self[value] = result
        return result


def make_cast(rule: FieldRule, *, strict: bool) -> Cast:
    """Return the function for `as:` of a rule."""
    match rule.as_:
        case "string":
            return _string(rule.scale, rule.rounding)
        case "integer":
            return _integer(rule.rounding)
        case "decimal":
            return _decimal(rule.scale, rule.rounding, strict=strict)
        case "boolean":
            return _boolean
        case _:
            return _temporal(rule)


def text_of(value: Value) -> str:
    """Return a scalar as text: a number in its shortest plain spelling."""
    if type(value) is str:
        return value
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is int:
        return str(value)
    if type(value) is Decimal:
        try:
            return plain_text(value)
        except BadNumberError:
            raise CastError("expected fewer digits") from None
    raise CastError("expected a string, number or boolean")


def _string(scale: int | None, rounding: str | None) -> Cast:
    if scale is None:
        return text_of

    def cast(value: Value) -> Value:
        return format(_scaled(_number(value), scale, rounding), "f")

    return cast


def _number(value: Value) -> Decimal:
    if type(value) is int or type(value) is Decimal:
        return Decimal(value)
    if type(value) is str and _DECIMAL.fullmatch(value):
        try:
            return Decimal(_numbers[value])
        except ValueError:
            raise CastError("expected fewer digits") from None
    raise CastError("expected a number")


def _scaled(number: Decimal, scale: int, rounding: str | None) -> Decimal:
    step = Decimal(1).scaleb(-scale)
    result = number.quantize(step, _ROUNDING.get(rounding or "", ROUND_DOWN), _EXACT)
    if is_too_long(result):  # rounding up may add a digit
        raise CastError("expected fewer digits")
    if rounding is None and result != number:
        raise CastError(f"expected at most {scale} decimals (or a `rounding`)")
    return result or abs(result)


def _integer(rounding: str | None) -> Cast:
    def cast(value: Value) -> Value:
        if type(value) is int:
            return value
        if type(value) is str and _INTEGER.fullmatch(value):
            return int(value)
        number = _number(value)
        if rounding is None and number != number.to_integral_value():
            raise CastError("expected an integer (or a `rounding`)")
        return int(_scaled(number, 0, rounding))

    return cast


def _decimal(scale: int | None, rounding: str | None, *, strict: bool) -> Cast:
    numbers = numbers_of(strict=strict)

    def cast(value: Value) -> Value:
        if scale is None and type(value) is str and _DECIMAL.fullmatch(value):
            try:
                return numbers[value]
            except ValueError:
                raise CastError("expected fewer digits") from None
        number = _number(value)
        if scale is not None:
            number = _scaled(number, scale, rounding)
        return numbers[str(number)]

    return cast


def _boolean(value: Value) -> Value:
    if type(value) is bool:
        return value
    text = str(value).lower() if type(value) in {str, int} else ""
    if text not in _BOOLEANS:
        raise CastError("expected true or false, t or f, yes or no, y or n, 1 or 0")
    return _BOOLEANS[text]


def _temporal(rule: FieldRule) -> Cast:
    read = _reader(rule.format or "iso")
    zone = ZoneInfo(rule.zone) if rule.zone else None
    to = ZoneInfo(rule.to) if rule.to else None
    write = _writer(rule)

    def convert(value: Value) -> Value:
        try:
            when = read(value)
            if when.tzinfo is None and zone is not None:
                when = _in_zone(when, zone)
            if to is not None:
                if when.tzinfo is None:
                    raise CastError("expected an offset (or a `zone`)")
                when = when.astimezone(to)
            return write(when)
        except (OverflowError, OSError):
            raise CastError("expected a time in the years 1 to 9999") from None

    remembered = _Remembered(convert)

    def cast(value: Value) -> Value:
        kind = type(value)
        if kind is str or kind is int:
            return remembered[value]
        if kind is Decimal:
            return convert(value)
        raise CastError("expected a string or a number")

    return cast


def _in_zone(when: datetime, zone: ZoneInfo) -> datetime:
    when = when.replace(tzinfo=zone)
    if when.utcoffset() == when.replace(fold=1).utcoffset():
        return when
    # The clock is changed around here. The way through UTC moves a time that the zone skips to one
    # that exists, and leaves one that occurs twice the first.
    return when.astimezone(UTC).astimezone(zone)


_ISO_FRACTION: Final = re.compile(r"[.,]\d{6}(\d+)")


def _iso(value: Value) -> datetime:
    if type(value) is not str:
        raise CastError("expected a text of ISO 8601 (or another `format`)")
    finer = _ISO_FRACTION.search(value)
    if finer and finer[1].strip("0"):
        raise CastError("expected at most 6 decimals of a second")
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise CastError("expected a time of ISO 8601 (or another `format`)") from None


def _epoch(unit: int) -> Callable[[Value], datetime]:
    start = datetime(1970, 1, 1, tzinfo=UTC)

    def read(value: Value) -> datetime:
        micros = _EXACT.multiply(_number(value), unit)
        if micros != micros.to_integral_value():
            raise CastError("expected at most microseconds")
        return start + timedelta(microseconds=int(micros))

    return read


_WIDTHS: Final = {"Y": 4, "m": 2, "d": 2, "H": 2, "M": 2, "S": 2}


def _reader(text: str) -> Callable[[Value], datetime]:
    """Return the function for `format`."""
    if text == "iso":
        return _iso
    if text in {"epoch_s", "epoch_ms"}:
        return _epoch(1_000_000 if text == "epoch_s" else 1000)
    return _fixed(text) or _free(text)


def _fixed(text: str) -> Callable[[Value], datetime] | None:
    """Return a strict reader for a format that is only digits of fixed width, else None."""
    parts = re.split(r"%(.)", text)
    directives = parts[1::2]
    if set(directives) - set(_WIDTHS) or len(directives) < 3:
        return None
    pattern = re.escape(parts[0])
    for name, literal in zip(directives, parts[2::2], strict=True):
        pattern += f"(?P<{name}>[0-9]{{{_WIDTHS[name]}}})" + re.escape(literal)
    match = re.compile(pattern).fullmatch
    order = "YmdHMS"[: len(directives)]
    if set(order) != set(directives):
        return None

    def read(value: Value) -> datetime:
        found = match(value if type(value) is str else str(value))
        if found is None:
            raise CastError(f"expected a text of the form {text}")
        try:
            return datetime(*map(int, found.group(*order)))  # type: ignore[arg-type] # noqa: DTZ001
        except ValueError:
            raise CastError(f"expected a time that exists, of the form {text}") from None

    return read


def _free(text: str) -> Callable[[Value], datetime]:
    def read(value: Value) -> datetime:
        try:
            return datetime.strptime(str(value), text)  # noqa: DTZ007 - the zone is given apart
        except ValueError:
            raise CastError(f"expected a text of the form {text}") from None

    return read


def _writer(rule: FieldRule) -> Callable[[datetime], Value]:
    """Return the function for `as` and `output`."""
    output = rule.as_ if rule.as_ in {"epoch_s", "epoch_ms"} else rule.output or "iso"
    fraction = rule.fraction
    if output and "%" in output:
        return lambda when: when.strftime(_padded(output, when))
    if rule.as_ == "date":
        return lambda when: when.date().isoformat()
    if rule.as_ == "time":
        return lambda when: when.time().isoformat("seconds") + _fraction(when, fraction)
    if output in {"epoch_s", "epoch_ms"}:
        unit = timedelta(seconds=1) if output == "epoch_s" else timedelta(milliseconds=1)
        start = datetime(1970, 1, 1, tzinfo=UTC)
        return lambda when: (_placed(when) - start) // unit
    return _iso_writer(output, fraction)


def _padded(output: str, when: datetime) -> str:
    """Return a form with its years written out: some systems write years before 1000 without zeros."""
    if when.year >= 1000 and "%G" not in output:
        return output
    years = {"Y": f"{when.year:04d}", "F": f"{when.year:04d}-%m-%d", "G": f"{when.isocalendar().year:04d}"}
    return re.sub(r"%(.)", lambda found: years.get(found[1], found[0]), output)


def _iso_writer(output: str | None, fraction: int | None) -> Callable[[datetime], Value]:
    def write(when: datetime) -> Value:
        if output == "iso_local":
            return _seconds(when) + _fraction(when, fraction)
        if output == "iso_utc":
            when = _placed(when).astimezone(UTC)
            return _seconds(when) + _fraction(when, fraction) + "Z"
        text = _placed(when).isoformat("T", "seconds")
        if when.microsecond or fraction:
            return text[:19] + _fraction(when, fraction) + text[19:]
        return text

    return write


def _placed(when: datetime) -> datetime:
    if when.tzinfo is None:
        raise CastError("expected an offset (or a `zone`)")
    return when


def _seconds(when: datetime) -> str:
    return when.replace(tzinfo=None).isoformat("T", "seconds")


def _fraction(when: datetime, digits: int | None) -> str:
    """Return the decimals of the second: as many as asked for, else 0, 3 or 6 as needed."""
    if digits is None:
        digits = 0 if not when.microsecond else 3 if when.microsecond % 1000 == 0 else 6
    return f".{when.microsecond:06d}"[: digits + 1] if digits else ""
