"""Match keys as people type them, held against the keys that messages have."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover_app.commands.keys import KeyTextError, other_reading, parse_key
from cutover_app.core.canonical import canonical

SCALARS = st.one_of(st.text(max_size=40), st.integers(), st.booleans())
WORDS = st.from_regex(r"[A-Za-z][A-Za-z0-9:/._-]{0,30}", fullmatch=True).filter(
    lambda word: word not in {"true", "false", "null", "NaN", "Infinity"}
)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("1001", b"[1001]"),
        ('"1001"', b'["1001"]'),
        ("o-1001", b'["o-1001"]'),
        ("1001x", b'["1001x"]'),
        ("주문", '["주문"]'.encode()),
        ("1.0", b"[1]"),
        ("1e3", b"[1000]"),
        ("12.50", b"[12.5]"),
        ("true", b"[true]"),
        ("18446744073709551616", b"[18446744073709551616]"),
        ("['1']x", None),
        ('["a"', None),
        ("{}", None),
        ("null", None),
        ("", None),
        ('["a", "b"]', None),
        ("[[1]]", None),
    ],
)
def test_one_value(text: str, key: bytes | None) -> None:
    """What is JSON is read as JSON, a plain word as a text, and what can be neither is refused."""
    if key is None:
        with pytest.raises(KeyTextError, match="KEY"):
            parse_key(text, ["order_id"])
    else:
        assert parse_key(text, ["order_id"]) == key


def test_several_values() -> None:
    """A key of several values is a list of as many, in their order."""
    assert parse_key('["1001", 2]', ["order_id", "revision"]) == b'["1001",2]'
    with pytest.raises(KeyTextError, match=r"a list of 2 \(order_id, revision\), found one value"):
        parse_key("1001", ["order_id", "revision"])


def test_too_long() -> None:
    """No message has a key beyond the limit, so none is looked for."""
    with pytest.raises(KeyTextError, match="no key has more than 1,024"):
        parse_key("x" * 2000, ["order_id"])


@given(st.lists(SCALARS, min_size=1, max_size=4))
def test_json_is_read_as_messages_are(parts: list[object]) -> None:
    """Any JSON spelling of a key gives the bytes that a message with these values has."""
    paths = [f"p{number}" for number in range(len(parts))]
    for text in (json.dumps(parts), json.dumps(parts, ensure_ascii=False, indent=1)):
        assert parse_key(text, paths) == canonical(parts)


@given(st.one_of(st.integers(), st.booleans(), st.decimals(allow_nan=False, allow_infinity=False, places=3)))
def test_scalars_need_no_list(value: object) -> None:
    """A single value needs no brackets."""
    text = json.dumps(value) if not isinstance(value, Decimal) else f"{value:f}"
    assert parse_key(text, ["p"]) == parse_key(f"[{text}]", ["p"])


@given(WORDS)
def test_words_need_no_quotes(word: str) -> None:
    """A plain word is the text that it is."""
    assert parse_key(word, ["p"]) == canonical([word])


@given(st.text(max_size=60))
def test_nothing_that_is_typed_ends_in_a_traceback(text: str) -> None:
    """Whatever is typed is a key or one line that says why not."""
    said = key = ""
    try:
        key = parse_key(text, ["p"]).decode()
    except KeyTextError as error:
        said = str(error)

    assert key.startswith("[") != said.startswith("KEY: ")
    assert said.isprintable()


def test_the_other_reading() -> None:
    """A number may have been meant as a text and a text as a number; a word may not."""
    assert other_reading("1001") == '"1001"'
    assert other_reading('"1001"') == "1001"
    assert other_reading("o1") is None
    assert other_reading('"007"') is None
