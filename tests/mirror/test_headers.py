"""What a mirror does to headers, from records alone."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from cutover_app.mirror.headers import BASE64, CHANGED, DROPPED, Damage, changed, damage


@dataclass
class Record:
    offset: int
    headers: Sequence[tuple[str, bytes | None]] = (("trace", b"abc"),)
    value: bytes | None = b"1"
    key: bytes | None = b"k"
    timestamp: int = 1
    partition: int = 0


TRACE, SPAN = ("trace", b"abc"), ("span", b"\x00\x01")


@pytest.mark.parametrize(
    ("after", "how"),
    [
        ((TRACE, SPAN), ""),
        ((("trace", b64encode(b"abc")), ("span", b64encode(b"\x00\x01"))), BASE64),
        ((TRACE,), DROPPED),
        ((), DROPPED),
        ((SPAN, TRACE), CHANGED),
        ((TRACE, SPAN, ("more", b"")), CHANGED),
    ],
)
def test_what_became_of_headers(after: Sequence[tuple[str, bytes | None]], how: str) -> None:
    """Equal, Base64 text of every value, some gone, anything else."""
    assert changed((TRACE, SPAN), after) == how


def test_a_header_without_value_has_no_text() -> None:
    """Null stays null, whatever happens to the others."""
    assert changed((("none", None),), (("none", None),)) == ""
    assert changed((("none", None), TRACE), (("none", None), ("trace", b64encode(b"abc")))) == BASE64


def test_the_first_damaged_copy_is_an_example() -> None:
    """Both positions are named; what has no twin in the sample says nothing."""
    originals = [Record(10, value=b"1"), Record(11, value=b"2")]
    copies = [Record(3, (), b"other"), Record(4, (("trace", b"abc"),), b"1"), Record(5, (), b"2")]

    assert damage(originals, copies) == Damage(DROPPED, 0, 11, 5)


def test_twins_that_differ_in_headers_alone_are_no_damage() -> None:
    """A copy is damaged only if no original of its content has its headers."""
    originals = [Record(10, (("n", b"1"),)), Record(11, (("n", b"2"),))]

    assert damage(originals, [Record(0, (("n", b"1"),)), Record(1, (("n", b"2"),))]) is None
    assert damage(originals, [Record(0, (), partition=1)]) is None
