"""Whether a value is encrypted, told from the value alone (`sealed:` of a contract).

A ciphertext looks like random bytes, and so do few other things. A value is taken for sealed when it is a known
envelope whose structure holds, or a base64 text (either alphabet, padded or not, also as `label:`-prefixed parts) of
at least `SEALED_BYTES_MIN` bytes that nothing but chance explains:

    Let n be the number of bytes. Random bytes have the probability 2^-8n, their base64 characters 2^-6 each.
    A *model* is any way to give every text a probability: words run together, names, slugs, base32; printable ASCII,
    UTF-8, EUC-KR; bytes that repeat (each byte x with the probability (seen(x) + a) / (i + 256 a), a = 1/16,
    after i bytes: the entropy of the value, measured while reading it).
    The value is NOT sealed if some model gives it 2^GAIN_BITS times the probability that chance gives it.

Whatever the model, chance gives it an expected ratio of at most 1; so, by Markov's inequality, a model that must win by
b bits refuses a random ciphertext of any length with a probability of at most 2^-b. Nine models have to win by 38 bits
(3.6e-12 each), that of names by 35 (2.9e-11), and file formats are recognised by more than 40 fixed or checked bits:
6.3e-11 per value, all together, at most. This side is proven, whatever the models are.

The other is not: which plain data the models know was chosen with samples at hand, and the 35 bits of names because
some names of 42 to 44 letters win by less than 38. Names or words run together, in 38 letters or more and in a language
whose letters follow on each other in other ways, may be taken for a ciphertext; so may an identifier of that length.

What nobody can tell from a ciphertext: random tokens, and base64 of a digest or HMAC of 28 bytes or more. A digest of
the very plaintext is recognised where the plaintext is known (`needles.py`). Hexadecimal text is a digest more often
than a ciphertext, and of the same lengths: `any` refuses it, whatever its length, and `hex` accepts it.

Ciphers without a nonce beside their blocks (ECB, or CBC with a fixed one) make 16 bytes of a short text, and so is a
UUID in base64. Only `block` accepts them: base64 or hexadecimal text of whole blocks of 8 bytes, two at least, whose
bytes are not all letters, digits and blanks, which 16 random ones are once in 5e9.
"""

import base64
import binascii
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate, pairwise
from typing import Any, Final

from cutover_app.core.file_formats import file_kind
from cutover_app.core.limits import SEALED_BYTES_LOOKED_AT, SEALED_BYTES_MIN

ANY: Final = "any"
HEX: Final = "hex"
BLOCK: Final = "block"
FORMS: Final = (ANY, HEX, BLOCK)

GAIN_BITS: Final = 38.0
"""By so many bits a model must beat chance."""
NAMES_GAIN_BITS: Final = 35.0
"""The same for names run together, which need not be long."""

BLOCK_BYTES: Final = 8
"""The smallest block of a cipher in use; most have 16."""

_LETTERS_AND_DIGITS: Final = re.compile(rb"[A-Za-z0-9 ]*")
_ALPHA: Final = 1 / 16
_PARTS_MAX: Final = 4
_PART_CHARS_MIN: Final = 16

_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]+|[A-Za-z0-9_-]+)={0,2}")
_HEX: Final = re.compile(r"(?:0x|\\x)?([0-9a-f]+|[0-9A-F]+)")
_HEX_LIKE: Final = re.compile(r"[0-9A-Fa-f_-]+")
_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_WRAPPED: Final = re.compile(r"ENC\((?P<jasypt>[^()]*)\)|\{[A-Za-z0-9_.-]{1,32}\}(?P<braces>.*)", re.DOTALL)
_ARMOUR: Final = re.compile(
    r"\s*-----BEGIN (PGP MESSAGE|AGE ENCRYPTED FILE|PKCS7|CMS)-----\r?\n(?:[A-Za-z]+: [^\r\n]*\r?\n)*\r?\n?"
    r"(?P<body>[A-Za-z0-9+/=\r\n]+?)(?:\r?\n=[A-Za-z0-9+/]{4})?\r?\n-----END \1-----\s*"
)


def why_unsealed(value: Any, form: str = ANY) -> str:
    """Return why a value is not taken for encrypted, in words without the value; "" where it is."""
    if type(value) is not str:
        return "expected an encrypted text, found another type"
    if form == HEX:
        return _why_not_hex(value)
    if form == BLOCK:
        return _why_not_blocks(value)
    if _is_envelope(value):
        return ""
    text = _unwrapped(value)
    if _HEX.fullmatch(text) and len(text) >= 2 * SEALED_BYTES_MIN:
        return "hexadecimal text, as a digest is; where it is a ciphertext: `sealed: hex`"
    data = _joined(text)
    if data is None:
        return "not an encrypted text of a known form (an envelope, or base64)"
    return _why_not_random(data)


def _why_not_hex(value: str) -> str:
    data = from_hex(value)
    if data is None:
        return "not hexadecimal text; where it is base64 or an envelope: `sealed: any`"
    return _why_not_random(data)


def _why_not_blocks(value: str) -> str:
    data = from_hex(value) or decoded(value)
    if data is None:
        return "not hexadecimal or base64 text"
    if len(data) % BLOCK_BYTES or len(data) < 2 * BLOCK_BYTES:
        return f"{len(data)} bytes; expected two or more whole blocks of {BLOCK_BYTES}"
    if _LETTERS_AND_DIGITS.fullmatch(data):
        return "encoded, not encrypted: its bytes are letters and digits"
    return "" if len(data) < SEALED_BYTES_MIN else _why_not_random(data)


def from_hex(text: str) -> bytes | None:
    """Return the bytes of a hexadecimal text, or of a few with colons between; None where it is none."""
    found = [_HEX.fullmatch(part) for part in text.split(":")]
    if len(found) > _PARTS_MAX or not all(each and len(each[1]) % 2 == 0 for each in found):
        return None
    return bytes.fromhex("".join(each[1] for each in found if each))


def _why_not_random(data: bytes) -> str:
    if len(data) < SEALED_BYTES_MIN:
        return (
            f"{len(data)} bytes, too few to be told from an encoded identifier; expected {SEALED_BYTES_MIN} or more; "
            "where it is the blocks of a cipher alone: `sealed: block`"
        )
    if kind := file_kind(data):
        return f"an encoded {kind} file"
    return "encoded, not encrypted: its bytes are those of text or repeat" if is_plain(data) else ""


def _unwrapped(value: str) -> str:
    wrapped = _WRAPPED.fullmatch(value)
    text = (wrapped["jasypt"] or wrapped["braces"] or "") if wrapped else value
    return text.replace("\r", "").replace("\n", "")


def _joined(text: str) -> bytes | None:
    """Return the bytes of a base64 text, or of several behind labels: `key-1:nonce:tag:text`."""
    parts = text.split(":")
    if len(parts) == 1:
        return decoded(text)
    if len(parts) > _PARTS_MAX:
        return None
    found = b""
    for part in parts:
        data = decoded(part) if len(part) >= _PART_CHARS_MIN else None
        if data is None and not (_LABEL.fullmatch(part) or decoded(part) is not None):
            return None
        found += data or b""
    return found or None


def decoded(text: str) -> bytes | None:
    """Return the bytes of a base64 text of either alphabet, as an encoder writes it; None where it is none.

    Hexadecimal text, identifiers and words run together are none either, though their characters are.
    """
    data = from_base64(text)
    if data is None:
        return None
    looked_at = _standard(text)[:SEALED_BYTES_LOOKED_AT]
    pairs = [*map("".join, pairwise(looked_at))]  # made once: it costs more than looking them up
    if any(model(pairs) >= bits for model, bits in _PAIR_MODELS) or any(only(looked_at) >= GAIN_BITS for only in _ONLY):
        return None
    return data


def from_base64(text: str) -> bytes | None:
    """Return the bytes of a base64 text of either alphabet, unless it might be hexadecimal; None where it is none."""
    if not _BASE64.fullmatch(text) or _HEX_LIKE.fullmatch(text):
        return None
    if text.endswith("=") and len(text) % 4:
        return None
    standard = _standard(text)
    try:
        data = binascii.a2b_base64(standard + "=" * (-len(standard) % 4))
    except binascii.Error:
        return None
    if binascii.b2a_base64(data, newline=False).rstrip(b"=").decode() != standard:
        return None
    return data


def _standard(text: str) -> str:
    """Return a base64 text in the standard alphabet and without padding."""
    return text.rstrip("=").replace("-", "+").replace("_", "/")


# --------------------------------------------------------------------------------------------------
# Models of plain data: by how many bits they beat chance


def is_plain(data: bytes) -> bool:
    """Tell whether a model of plain data explains these bytes far better than chance."""
    looked_at = data[:SEALED_BYTES_LOOKED_AT]
    return any(model(looked_at) >= GAIN_BITS for model in _BYTE_MODELS)


_VOWELS: Final = "aeiouy"
_COMMON: Final = dict(zip("etaoinsrhldcumfpgwybvkjxqz", (
    12.0, 9.1, 8.2, 7.5, 7.3, 7.0, 6.3, 6.0, 5.9, 4.3, 4.0, 2.8, 2.8, 2.6, 2.3, 2.0, 2.0, 2.0, 2.0, 1.5, 1.3, 1.3,
    0.5, 0.5, 0.4, 0.4,
), strict=True))  # fmt: skip
"""How often letters occur in English, per cent."""

_PAIRS: Final = frozenset(
    one + other
    for one, others in {
        "a": "eiou", "b": "lr", "c": "hklr", "d": "r", "e": "aeiou", "f": "lr", "g": "hlr", "i": "aeou", "k": "hw",
        "l": "dlmsty", "m": "bmp", "n": "cdghnsty", "o": "aeiou", "p": "hlpr", "r": "dkmnrsty", "s": "hkmnpstw",
        "t": "hrst", "u": "aeiouy", "w": "h", "y": "aeiou",
    }.items()
    for other in others
)  # fmt: skip
"""Letters that stand beside each other in names and words of many languages, consonants or vowels both."""
_PAIRED: Final = 6.0
"""How much more often the second one follows than it would alone."""

_KINDS: Final = "vcVCds"
"""Vowel, consonant, the same in capitals, digit, symbol."""
_Next = Mapping[str, tuple[float, ...]]
_IDENTIFIER: Final[_Next] = {
    "v": (0.17, 0.66, 0.01, 0.10, 0.03, 0.03),
    "c": (0.52, 0.30, 0.03, 0.09, 0.03, 0.03),
    "V": (0.10, 0.56, 0.05, 0.23, 0.03, 0.03),
    "C": (0.42, 0.18, 0.17, 0.17, 0.03, 0.03),
    "d": (0.05, 0.10, 0.05, 0.10, 0.60, 0.10),
    "s": (0.19, 0.35, 0.06, 0.15, 0.15, 0.10),
}
_NAMES: Final[_Next] = {
    "v": (0.200, 0.640, 0.010, 0.146, 0.001, 0.003),
    "c": (0.550, 0.286, 0.030, 0.130, 0.001, 0.003),
    "V": (0.120, 0.836, 0.020, 0.020, 0.001, 0.003),
    "C": (0.700, 0.256, 0.020, 0.020, 0.001, 0.003),
    "d": (0.150, 0.250, 0.100, 0.250, 0.150, 0.100),
    "s": (0.150, 0.250, 0.150, 0.350, 0.050, 0.050),
}
_CONSTANT: Final[_Next] = {
    "v": (0.001, 0.001, 0.180, 0.688, 0.030, 0.100),
    "c": (0.001, 0.001, 0.528, 0.340, 0.030, 0.100),
    "V": (0.001, 0.001, 0.180, 0.688, 0.030, 0.100),
    "C": (0.001, 0.001, 0.528, 0.340, 0.030, 0.100),
    "d": (0.001, 0.001, 0.099, 0.199, 0.600, 0.100),
    "s": (0.001, 0.001, 0.248, 0.600, 0.100, 0.050),
}
"""How often one kind follows on another: identifiers and paths, names run together, CONSTANTS_LIKE_THIS."""


def _kind(char: str) -> str:
    if char.isdigit():
        return "d"
    if not char.isalpha():
        return "s"
    kind = "v" if char.lower() in _VOWELS else "c"
    return kind.upper() if char.isupper() else kind


_CHARACTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def _words(following: _Next) -> Callable[[Iterable[str]], float]:
    """Return the model of a text, by its pairs, in which kinds of characters follow on each other like that."""
    gains: dict[str, float] = {}
    for before in _CHARACTERS:
        for kind, share in zip(_KINDS, following[_kind(before)], strict=True):
            members = [each for each in _CHARACTERS if _kind(each) == kind]
            weights = [
                _COMMON.get(each.lower(), 1.0) * (_PAIRED if (before + each).lower() in _PAIRS else 1.0)
                for each in members
            ]
            for each, weight in zip(members, weights, strict=True):
                gains[before + each] = 6 + math.log2(share * weight / sum(weights))

    return lambda pairs: sum(map(gains.__getitem__, pairs))


def _only(characters: str) -> Callable[[str], float]:
    """Return the model that a text is made of these characters alone, all alike."""
    allowed = frozenset(characters)
    each = 6 - math.log2(len(allowed))
    return lambda text: each * len(text) if allowed.issuperset(text) else -math.inf


_LOWER: Final = "abcdefghijklmnopqrstuvwxyz"
_DIGITS: Final = "0123456789"

_PAIR_MODELS: Final = (
    (_words(_IDENTIFIER), GAIN_BITS),
    (_words(_NAMES), NAMES_GAIN_BITS),
    (_words(_CONSTANT), GAIN_BITS),
)
_ONLY: Final = (
    _only(_LOWER + _DIGITS + "+"),  # slugs; `+` is the `-` of the other alphabet
    _only(_LOWER.upper() + "234567"),  # base32
)


_SEEN: Final = (0.0, *accumulate(math.log2(seen + _ALPHA) for seen in range(SEALED_BYTES_LOOKED_AT)))
"""What a byte that occurs so many times costs in all of its places, and the same of the places of all bytes."""
_PLACES: Final = (0.0, *accumulate(math.log2(place + 256 * _ALPHA) for place in range(SEALED_BYTES_LOOKED_AT)))


def _repeats(data: bytes) -> float:
    """Return the bits that bytes which occur again save: the entropy of the value, measured while reading it."""
    # Of the product over all places of (seen + a) / (place + 256 a) neither half depends on the order of the bytes.
    return 8 * len(data) + sum(map(_SEEN.__getitem__, Counter(data).values())) - _PLACES[len(data)]


def _table(*classes: tuple[bytes, float]) -> Callable[[bytes], float]:
    """Return the model in which each class of bytes has a share, and all others what is left."""
    rest = bytes(each for each in range(256) if not any(each in members for members, _ in classes))
    left = 1 - sum(share for _, share in classes)
    gains = [0.0] * 256
    for members, share in (*classes, (rest, left)):
        for each in members:
            gains[each] = 8 + math.log2(share / len(members))
    return lambda data: sum(map(gains.__getitem__, data))


_WORD_BYTES: Final = (_LOWER + _LOWER.upper() + _DIGITS + " ").encode()
_PRINTABLE: Final = bytes((*b"\t\n\r", *range(0x20, 0x7F)))
_OTHER_PRINTABLE: Final = bytes(each for each in _PRINTABLE if each not in _WORD_BYTES)


def _pieces(shares: Mapping[str, tuple[float, int]]) -> dict[str, float]:
    """Return the probability, in bits, of one character of each kind: its share, and how many there are."""
    return {kind: math.log2(share / count) for kind, (share, count) in shares.items()}


_UTF8: Final = _pieces({
    "ascii": (0.40, len(_PRINTABLE)),
    "two": (0.15, 1920),
    "hangul": (0.30, 11172),
    "three": (0.10, 61440),
    "four": (0.03, 1 << 20),
    "other": (0.02, 256),
})  # fmt: skip


class _Characters(dict[str, float]):
    """The probability, in bits, of a character of a text in UTF-8 that was read with `surrogateescape`."""

    def __missing__(self, char: str) -> float:
        code = ord(char)
        if 0xAC00 <= code < 0xAC00 + 11172:
            return _UTF8["hangul"]
        return _UTF8["two" if code < 0x800 else "three" if code < 0x10000 else "four"]


_OF_CHARACTER: Final = _Characters(
    {chr(code): _UTF8["ascii" if code in _PRINTABLE else "other"] for code in range(0x80)}
    | {chr(code): _UTF8["other"] for code in range(0xDC80, 0xDD00)}
)


def _utf8(data: bytes) -> float:
    """Text of any script in UTF-8; a byte that is none costs."""
    # A character that was cut off at the end is a few bytes that are none.
    return 8.0 * len(data) + sum(map(_OF_CHARACTER.__getitem__, data.decode("utf-8", "surrogateescape")))


_EUC_KR: Final = _pieces({"ascii": (0.48, len(_PRINTABLE)), "hangul": (0.50, 25 * 94), "other": (0.02, 256)})
_HANGUL_PAIR: Final = re.compile(rb"[\xb0-\xc8][\xa1-\xfe]")


def _euc_kr(data: bytes) -> float:
    """Korean text in EUC-KR or CP949."""
    rest, hangul = _HANGUL_PAIR.subn(b"", data)
    others = len(rest.translate(None, _PRINTABLE))
    return (
        8.0 * len(data)
        + hangul * _EUC_KR["hangul"]
        + (len(rest) - others) * _EUC_KR["ascii"]
        + others * _EUC_KR["other"]
    )


_BYTE_MODELS: Final[tuple[Callable[[bytes], float], ...]] = (
    _table((_PRINTABLE, 0.99)),
    _table((_WORD_BYTES, 0.85), (_OTHER_PRINTABLE, 0.14)),
    _utf8,
    _euc_kr,
    _repeats,
)

# --------------------------------------------------------------------------------------------------
# Envelopes


def _is_envelope(value: str) -> bool:
    return any(check(value) for check in _ENVELOPES)


def _bytes_of(text: str) -> bytes:
    """Return what a base64 text stands for; nothing where it is none."""
    bare = _standard(text.replace("\r", "").replace("\n", ""))
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _is_random(data: bytes, least: int = SEALED_BYTES_MIN) -> bool:
    return len(data) >= least and not is_plain(data)


def _openssl(value: str) -> bool:
    """`openssl enc`: Salted__, eight bytes of salt, whole blocks."""
    if not value.startswith("U2FsdGVkX1"):
        return False
    data = _bytes_of(value)
    return data.startswith(b"Salted__") and len(data) >= 24 and len(data) % 8 == 0 and _is_random(data[8:], 16)


def _fernet(value: str) -> bool:
    """Version 0x80, a time, 16 bytes of IV, whole blocks, 32 bytes of HMAC."""
    if not value.startswith("gAAAAA"):
        return False
    data = _bytes_of(value)
    return data[:1] == b"\x80" and len(data) >= 73 and (len(data) - 57) % 16 == 0 and _is_random(data[9:])


_AWS: Final = re.compile(
    rb"\x01\x80(?:\x00[\x14\x46\x78]|\x01[\x14\x46\x78]|\x02\x14|\x03[\x46\x78])|\x02[\x04\x05]\x78"
)


def _aws(value: str) -> bool:
    """A message of the AWS Encryption SDK, version 1 or 2: known algorithm, room for keys and a tag."""
    if not value.startswith(("AYAA", "AYAB", "AYAC", "AYAD", "AgR4", "AgV4")):
        return False
    data = _bytes_of(value)
    return bool(_AWS.match(data)) and len(data) >= 100 and _is_random(data[-64:])


def _vault(value: str) -> bool:
    """Vault's transit engine: vault:v1:, then nonce, text and tag."""
    found = re.fullmatch(r"vault:v[0-9]{1,6}:([A-Za-z0-9+/]+=*)", value)
    return bool(found) and _is_random(_bytes_of(found[1] if found else ""))


def _jwe(value: str) -> bool:
    """Five parts, a header that names the encryption, an initial vector, a text, a tag."""
    parts = value.split(".")
    if len(parts) != 5 or not all(re.fullmatch(r"[A-Za-z0-9_-]*", part) for part in parts):
        return False
    try:
        header = json.loads(_bytes_of(parts[0]))
    except (ValueError, RecursionError):
        return False
    _, key, vector, text, tag = map(_bytes_of, parts)
    known = isinstance(header, dict) and isinstance(header.get("enc"), str) and isinstance(header.get("alg"), str)
    return known and len(vector) >= 12 and len(tag) >= 16 and bool(text) and _is_random(key + vector + text + tag)


def _paseto(value: str) -> bool:
    """PASETO for local use is encrypted; for public use it is only signed."""
    found = re.fullmatch(r"v[1-4]\.local\.([A-Za-z0-9_-]+)(?:\.[A-Za-z0-9_-]+)?", value)
    return bool(found) and _is_random(_bytes_of(found[1] if found else ""))


def _armour(value: str) -> bool:
    """PGP, age or CMS between its BEGIN and END lines."""
    found = _ARMOUR.fullmatch(value)
    return bool(found) and _is_random(_bytes_of(found["body"] if found else ""))


_ENVELOPES: Final[Iterable[Callable[[str], bool]]] = (_openssl, _fernet, _aws, _vault, _jwe, _paseto, _armour)
