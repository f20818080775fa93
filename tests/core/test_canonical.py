"""The canonical form: what is equal, what is not, and what is refused."""

import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover_app.core.canonical import (
    NESTING_MAX,
    NUMBER_CHARS_MAX,
    NUMBER_DIGITS_MAX,
    canonical,
    exact_number,
    quotes,
    reader,
    same_strings,
    strict_number,
    too_deep,
    unsorted_json,
)

read = reader()
strict = reader(strict=True)

numbers = st.integers() | st.decimals(allow_nan=False, allow_infinity=False).filter(
    lambda number: number == 0 or -4000 < number.adjusted() < 4000
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["", '"', "\\", '\\"', "\n", "\x00", "é", "e\u0301", "😀", " ", "1", "null"]
)
values = st.recursive(
    st.none() | st.booleans() | numbers.filter(lambda number: abs(Decimal(number).adjusted()) < 400) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def spelled(number: int | Decimal, how: int) -> str:
    """Write a number in one of several ways."""
    exact = Decimal(number)
    sign, digits, exponent = exact.as_tuple()
    assert isinstance(exponent, int)
    whole = ("-" if sign else "") + "".join(map(str, digits))
    if not number:
        return ("0", "-0", "-0.00", "0e7")[how % 4]
    match how % 4:
        case 0:
            return f"{whole}e{exponent}"
        case 1:
            return f"{whole}0E{exponent - 1:+d}"
        case 2:
            return f"{whole}.000e{exponent}"
        case _:
            return format(exact, "f") if abs(exponent) < 50 else f"{whole}e{exponent}"


def written(value: object, draw: int) -> str:
    """Write a JSON value in one of many spellings, decided by `draw`."""
    space = ["", " ", "\n\t"][draw % 3]
    if isinstance(value, dict):
        items = list(value.items())
        if draw % 2:
            items.reverse()
        inner = ",".join(f"{space}{written(name, draw + 1)}{space}:{written(each, draw + 2)}" for name, each in items)
        return "{" + inner + space + "}"
    if isinstance(value, list):
        return "[" + ",".join(space + written(each, draw + 3) for each in value) + space + "]"
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int | Decimal):
        return spelled(value, draw)
    return json.dumps(value, ensure_ascii=bool(draw % 2))


def model(value: object) -> object:
    """Say what a JSON value is in terms that compare as JSON does: typed, numbers by value."""
    if isinstance(value, bool) or value is None:
        return ("word", str(value))
    if isinstance(value, int | Decimal):
        sign, digits, exponent = Decimal(value).as_tuple()
        assert isinstance(exponent, int)
        number = int("".join(map(str, digits))) * (-1 if sign else 1)
        while number and number % 10 == 0:
            number, exponent = number // 10, exponent + 1
        return ("number", number, exponent if number else 0)
    if isinstance(value, str):
        return ("text", value)
    if isinstance(value, list):
        return ("list", tuple(map(model, value)))
    assert isinstance(value, dict)
    return ("object", frozenset((name, model(each)) for name, each in value.items()))


@given(values, values, st.integers(0, 11), st.integers(0, 11))
def test_encoding_is_injective(one: object, two: object, first: int, second: int) -> None:
    """Two messages, however they are spelled, have equal canonical bytes exactly when equal."""
    left = canonical(read(written(one, first).encode()))
    right = canonical(read(written(two, second).encode()))
    assert (left == right) == (model(one) == model(two))


@given(values, st.integers(0, 11), st.integers(0, 11))
def test_spelling_does_not_matter(value: object, first: int, second: int) -> None:
    """Order of fields, white space, escapes and ways to write a number leave no trace."""
    left = canonical(read(written(value, first).encode()))
    assert left == canonical(read(written(value, second).encode()))


@given(values, st.integers(0, 11))
def test_canonical_bytes_are_stable(value: object, draw: int) -> None:
    """Reading canonical bytes and writing them again gives the same bytes, strict or not."""
    for each in (read, strict):
        data = canonical(each(written(value, draw).encode()))
        assert canonical(each(data)) == data


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("1", "1.0"),
        ("1", "1e0"),
        ("100", "1E2"),
        ("12.5", "12.50"),
        ("0", "-0.0"),
        ("0", "-0"),
        ("0", "0e400"),
        ("0.00", "0"),
        ("1" + "0" * 400, "1e400"),
        ("0.0000001", "1e-7"),
        ('"\\u00e9"', '"é"'),
        ('"\\/"', '"/"'),
        ('{"a":1,"b":2}', '{ "b" : 2.0, "a" : 1 }'),
    ],
)
def test_the_same(one: str, two: str) -> None:
    """Two spellings of one value have one canonical form."""
    assert canonical(read(one.encode())) == canonical(read(two.encode()))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("18446744073709551616", "18446744073709551617"),
        ("12345678.12345678901", "12345678.12345678902"),
        ("12.5", '"12.5"'),
        ("1", '"1"'),
        ("1", "true"),
        ("0", "false"),
        ("null", "{}"),
        ('{"a":null}', "{}"),
        ("[]", "{}"),
        ("[1,2]", "[2,1]"),
        ('"é"', '"e\\u0301"'),
        ("0." + "1" * 60, "0." + "1" * 59 + "2"),
    ],
)
def test_not_the_same(one: str, two: str) -> None:
    """Values that a hasty reader confuses have different canonical forms."""
    assert canonical(read(one.encode())) != canonical(read(two.encode()))


def test_strict_tells_integers_from_decimals() -> None:
    """Under strict numbers 1 is not 1.0, but 1.0 is 1.00 and 10e-1."""
    assert canonical(strict(b"1")) == b"1"
    assert {canonical(strict(each)) for each in (b"1.0", b"1.00", b"10e-1")} == {b"1.0"}
    assert canonical(strict(b"-0.0")) == b"0.0"
    assert canonical(strict(b"1e3")) == b"1000.0"
    assert canonical(strict(b"12.50")) == b"12.5"


@given(numbers.map(Decimal), st.integers(0, 3))
def test_numbers_are_exact(number: Decimal, how: int) -> None:
    """Both ways of reading keep the value, and integral ones are `int` unless strict."""
    text = spelled(number, how)
    assert exact_number(text) == number
    assert strict_number(text) == number
    assert isinstance(exact_number(text), int) == (number == number.to_integral_value())
    assert isinstance(strict_number(text), Decimal)


@pytest.mark.parametrize(
    "text",
    [
        "1e4300",
        "1e-4301",
        "1e99999999999999999999",
        "1e999999999",
        "0." + "1" * NUMBER_CHARS_MAX,
        "1." + "1" * (NUMBER_CHARS_MAX - 5) + "e-6",
        "1." + "1" * (NUMBER_CHARS_MAX - NUMBER_DIGITS_MAX + 1) + "e-4299",
    ],
)
def test_numbers_have_a_limit(text: str) -> None:
    """A number beyond the limits is refused, quickly, and not rounded."""
    with pytest.raises(msgspec.ValidationError):
        read(text.encode())


def test_the_largest_numbers() -> None:
    """The limit on digits holds for integers and for exponents alike."""
    digits = b"9" * NUMBER_DIGITS_MAX
    assert canonical(read(digits)) == digits
    assert canonical(read(b"1e4299")) == b"1" + b"0" * 4299
    with pytest.raises(msgspec.ValidationError):
        read(digits + b"9")


def test_remembered_numbers_are_bounded() -> None:
    """What is remembered of numbers never changes a result, and is given up when it is full."""
    for index in range(70_000):
        assert read(f"[{index}.25]".encode()) == [Decimal(f"{index}.25")]


def pairs_repeat(raw: str) -> bool:
    """Say the slow way whether an object of `raw` has a field twice."""
    repeated = []

    def check(pairs: list[tuple[str, object]]) -> dict[str, object]:
        names = [name for name, _ in pairs]
        repeated.append(len(set(names)) < len(names))
        return dict(pairs)

    json.loads(raw, object_pairs_hook=check)
    return any(repeated)


names = st.sampled_from(["a", "b", "\\u0061", '\\"', "\\\\", '\\\\\\"', "\\u0022", "\\u005c", "", "é", "\\u00e9"])


@st.composite
def raw_objects(draw: st.DrawFn, depth: int = 2) -> str:
    """Draw the text of an object whose fields may repeat, with escapes and white space."""
    parts = []
    for _ in range(draw(st.integers(0, 4))):
        space = draw(st.sampled_from(["", " ", "\n", "\t "]))
        if depth and draw(st.booleans()):
            value = draw(raw_objects(depth=depth - 1))
            if draw(st.booleans()):
                value = f"[{value},{draw(raw_objects(depth=depth - 1))}]"
        else:
            value = draw(st.sampled_from(["1", "null", "[]", '"x:\\""', '"\\\\"', '"\\":"', '"é"']))
        parts.append(f'{space}"{draw(names)}"{space}:{space}{value}')
    return "{" + ",".join(parts) + "}"


@given(raw_objects())
def test_repeated_fields_are_always_seen(raw: str) -> None:
    """Counting quotes finds exactly the texts in which a full parser finds a field twice."""
    message = read(raw.encode())
    for written_again in (canonical(message), unsorted_json(message)):
        assert same_strings(raw.encode(), written_again) is not pairs_repeat(raw)


@given(values, st.integers(0, 11))
def test_no_message_repeats_by_accident(value: object, draw: int) -> None:
    """A message without repeated fields is never taken for one with them."""
    raw = written(value, draw).encode()
    assert same_strings(raw, canonical(read(raw)))


def test_quotes_counts_only_ends_of_strings() -> None:
    """Escaped quotes, backslash pairs before a quote, and escapes of a quote by number."""
    assert quotes(rb'"a"') == 2
    assert quotes(rb'"\""') == 2
    assert quotes(rb'"\\"') == 2
    assert quotes(rb'"\\\""') == 2
    assert quotes(rb'"\\\\","\u0022"') == 4


def test_depth_is_judged_exactly() -> None:
    """The limit itself is allowed, one more is not; wide messages are not deep ones."""
    for levels, deep in ((NESTING_MAX, False), (NESTING_MAX + 1, True)):
        raw = b"[" * levels + b"]" * levels
        assert too_deep(raw, read(raw)) is deep
        raw = b'{"a":' * levels + b"1" + b"}" * levels
        assert too_deep(raw, read(raw)) is deep
    wide = b"[" + b",".join([b"[]"] * 5000) + b"]"
    assert not too_deep(wide, read(wide))


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("form", ["1e{}", "1.0e{}", "9.5e{}"])
def test_what_is_read_can_be_read_again(sign: str, form: str) -> None:
    """The JSON reader counts a minus as a digit: a number that it could not read back is refused at once."""
    for exponent in range(4296, 4302):
        try:
            value = read((sign + form.format(exponent)).encode())
        except msgspec.ValidationError:
            assert exponent > 4299 - len(sign)
        else:
            assert read(canonical(value)) == value


def test_zeros_at_the_end_of_a_number_do_not_make_it_long() -> None:
    """Its value is what counts: written, they are gone."""
    assert read(b"1." + b"0" * 5700 + b"e-4299") == Decimal("1e-4299")
