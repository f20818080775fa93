"""The needle search: does the plaintext of a sealed value occur where it must not (rule R10)?

Searched are the text itself, reversed, and the characters that it becomes inside of base64 (at all three alignments, in
both alphabets) and of hexadecimal text (both cases); in what stands there, and in what that means where it is
percent-encoded or JSON-escaped. A needle is found by chance, too,
so what is searched for depends on how much it says. In 30 million messages a day (2^25), with some 4,000
positions each (2^12) and about 16 forms (2^4), chance gets 2^41 trials a day:

- NEEDLE_BITS_ANYWHERE = 56: 2^-15 coincidences a day, one in 90 years. Such a needle counts wherever it stands.
  Encoded forms have 6 bits per character of base64 and 4 of hexadecimal text, so they count from 8 and 7 bytes on.
- NEEDLE_BITS_TOKEN = 24, eight different digits: too few for identifiers and random text, where letters and digits
  stand on both sides. Such a needle counts where none does: as a value, a word, a number of its own. Only a number of
  the same length that stands for something else can be taken for it.
- NEEDLE_NUMBER_DIGITS = 11, a phone's: letters may stand beside such a number, digits may not. In random hexadecimal
  text it stands by chance once in 2^44, and there are some 2^31 trials of that kind a day; in base64 and in words it
  is rarer still.
- Below: not searched. Four digits of a PIN stand in every timestamp. That the sealed value itself is no encoding of
  it is told by its form, which needs no needle (`sealing.py`).

What a text says is estimated low: a digit 3.3 bits, a Latin letter 2, another letter (a syllable of Hangul) 5,
anything else 1; a character that occurred before at most log2 of how many different ones there are; a date 16 at
most. A defect of a producer shows in many messages, and values that say enough are among them.

An occurrence inside of the text of a match key, of which the plaintext is a part, is what the digest vouches for.
"""

import hashlib
import json
import math
import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from cutover_app.core.limits import (
    NEEDLE_BITS_ANYWHERE,
    NEEDLE_BITS_TOKEN,
    NEEDLE_CHARS_MAX,
    NEEDLE_NUMBER_DIGITS,
)

Piece = tuple[str, bytes]
"""A place as findings show it, and what stands there."""

_DATE: Final = re.compile(r"(?:19|20)[0-9]{2}([-./]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12][0-9]|3[01])")
_DATE_BITS: Final = 16.0
_DIGITS: Final = frozenset("0123456789")


class Needle(NamedTuple):
    """One form of a plaintext."""

    form: str
    data: bytes
    anywhere: bool
    """False: counts only where no letter or digit stands beside it."""
    number: bool = False
    """True: a long number, which counts where no digit stands beside it."""


def bits_of(text: str) -> float:
    """Return how much a text says, at the least."""
    if _DATE.fullmatch(text):
        return _DATE_BITS
    seen: set[str] = set()
    again = math.log2(len(set(text))) if text else 0.0
    bits = 0.0
    for char in text:
        says = 3.32 if char in _DIGITS else (2.0 if char.isascii() else 5.0) if char.isalpha() else 1.0
        bits += min(says, again) if char in seen else says
        seen.add(char)
    return bits


@lru_cache(maxsize=4096)
def needles_of(text: str) -> tuple[Needle, ...]:
    """Return what is searched for a plaintext; nothing where it says too little."""
    text = text[:NEEDLE_CHARS_MAX]
    bits = bits_of(text)
    data = text.encode("utf-8", "surrogatepass")
    found: dict[bytes, Needle] = {}
    if bits >= NEEDLE_BITS_TOKEN:
        for form, spelled in _spellings(text):
            needle = spelled.encode("utf-8", "surrogatepass")
            found.setdefault(needle, Needle(form, needle, bits >= NEEDLE_BITS_ANYWHERE, _is_number(text)))
        for form, encoded, per_char in _encodings(data):
            if len(encoded) * per_char >= NEEDLE_BITS_ANYWHERE:
                found.setdefault(encoded, Needle(form, encoded, True))
    return tuple(found.values())


def _is_number(text: str) -> bool:
    digits = sum(char in _DIGITS for char in text)
    return digits >= NEEDLE_NUMBER_DIGITS and all(char in _DIGITS or char in " +-./()" for char in text)


def _spellings(text: str) -> Iterable[tuple[str, str]]:
    yield "", text
    yield "reversed", text[::-1]


def _encodings(data: bytes) -> Iterable[tuple[str, bytes, int]]:
    """Yield the characters that are sure to occur wherever `data` was encoded with whatever around it."""
    for before in range(3):
        text = b64encode(b"\0" * before + data)
        # The first characters hold bits of what stands before, the last one bits of what comes after.
        inner = text[-(-8 * before // 6) : 8 * (before + len(data)) // 6]
        yield "as base64", inner, 6
        yield "as base64", inner.replace(b"+", b"-").replace(b"/", b"_"), 6
    yield "as hexadecimal text", data.hex().encode(), 4
    yield "as hexadecimal text", data.hex().upper().encode(), 4


def find(texts: Iterable[str], pieces: Sequence[Piece], vouched: Sequence[bytes] = ()) -> dict[int, str]:
    """Return in which of the pieces a plaintext occurs, by their number, and in what form ("" for as it is)."""
    needles = [needle for text in texts for needle in needles_of(text)]
    if not needles:
        return {}
    read = [(number, form, data) for number, (_, piece) in enumerate(pieces) for form, data in _readings(piece)]
    whole = b"\n".join(data for _, _, data in read)
    found: dict[int, str] = {}
    for needle in needles:
        if needle.data in whole:
            for number, form, data in read:
                if number not in found and _occurs(needle, data, vouched):
                    found[number] = needle.form or form
    return found


_ESCAPES: Final = re.compile(rb"(?:\\u[0-9a-fA-F]{4})+|\\[\"\\/bfnrt]")


def _readings(data: bytes) -> Iterable[tuple[str, bytes]]:
    """Yield what stands there, and what it means where it is escaped."""
    yield "", data
    if b"%" in data:
        yield "percent-encoded", unquote_to_bytes(data)
    if b"+" in data:
        yield "percent-encoded", unquote_to_bytes(data.replace(b"+", b" "))
    if b"\\" in data:
        yield "JSON-escaped", _ESCAPES.sub(_unescaped, data)


def _unescaped(found: re.Match[bytes]) -> bytes:
    return str(json.loads(b'"' + found[0] + b'"')).encode("utf-8", "surrogatepass")


def _occurs(needle: Needle, data: bytes, vouched: Sequence[bytes]) -> bool:
    if needle.data not in data:
        return False
    for each in vouched:
        if needle.data in each:
            data = data.replace(each, b"\0")
    place = data.find(needle.data)
    while place >= 0:
        if needle.anywhere or _stands_alone(needle, data, place):
            return True
        place = data.find(needle.data, place + 1)
    return False


def _stands_alone(needle: Needle, data: bytes, place: int) -> bool:
    """Tell whether no letter or digit goes on where the needle begins or ends with one; of a number, no digit."""
    text, goes_on = needle.data, bytes.isdigit if needle.number else bytes.isalnum
    end = place + len(text)
    before, after = data[place - 1 : place] if place else b"", data[end : end + 1]
    return not (goes_on(text[:1]) and goes_on(before)) and not (goes_on(text[-1:]) and goes_on(after))


_DIGESTS: Final = {
    16: ("md5",),
    20: ("sha1",),
    28: ("sha224", "sha3_224"),
    32: ("sha256", "sha3_256", "blake2s"),
    48: ("sha384", "sha3_384"),
    64: ("sha512", "sha3_512", "blake2b"),
}


class Digests:
    """Tells digests of some texts; each kind is made once, when something has its length."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._made: dict[str, frozenset[bytes]] = {}

    def name_of(self, data: bytes) -> str:
        """Return the name of the digest that `data` is of one of the texts, or ""."""
        return next((name for name in _DIGESTS.get(len(data), ()) if data in self._all(name)), "")

    def _all(self, name: str) -> frozenset[bytes]:
        if name not in self._made:
            data = (text.encode("utf-8", "surrogatepass") for text in self._texts)
            self._made[name] = frozenset(hashlib.new(name, each, usedforsecurity=False).digest() for each in data)
        return self._made[name]
