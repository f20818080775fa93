"""Sealed paths of a pair: what travels beside the payload, and what is wrong with it (rule R10).

A ciphertext differs each time, so a sealed value is not in the digest; `true` stands there instead. Beside an
expected message travel the plaintexts, beside an actual one its sealed values and all that the digest does not cover:
key, headers, ignored fields. Equal digests are then not enough. It is a match only if

1. each sealed value has the form of a ciphertext (`sealing.py`), and is no digest of a plaintext;
2. no plaintext occurs in a sealed value, in what the digest does not cover, or in a field that is not as expected
   (`needles.py`). A field that is as expected may contain it: the contract says so.

Null stays null, and an empty text has nothing to seal: it may stay empty. What is absent, or null on one side,
differs in the payload already. `beside` is the JSON of holes and tolerances, a zero byte (JSON has none), then this.
Two copies of one message have the same JSON there; what is after it differs with each encryption.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET

from cutover_app.core import sealing
from cutover_app.core.canonical import Value, canonical, reader
from cutover_app.core.compare import Exposed, Show
from cutover_app.core.frames import SEALED_BESIDE
from cutover_app.core.needles import Digests, Piece, find, needles_of
from cutover_app.core.paths import FIELDS, NAME_CHARS_MAX, Step, render_step
from cutover_app.core.rules import Lifted, Rules, Secret, texts_in
from cutover_app.core.verdicts import Finding

NAMED_CHARS_MIN: Final = 10
"""Characters of a plaintext that is looked for in paths as it is; a shorter one may be the name of a field."""

KEY_PLACE: Final = "$key"
HEADERS_PLACE: Final = "$headers"


class Plaintexts(msgspec.Struct, array_like=True, gc=False):
    """Beside an expected message: its sealed values as JSON of [[path, value], ...], and what must not be found."""

    values: bytes
    texts: list[str]


class Uncovered(msgspec.Struct, array_like=True, gc=False):
    """Beside an actual message: its sealed values likewise, and what its digest does not cover."""

    values: bytes
    pieces: list[Piece]


_encode = msgspec.msgpack.Encoder().encode
_plaintexts = msgspec.msgpack.Decoder(Plaintexts).decode
_uncovered = msgspec.msgpack.Decoder(Uncovered).decode
_read = reader()


def split(beside: bytes) -> tuple[bytes, bytes]:
    """Return the JSON of what travels beside a payload, and what is said about sealed values."""
    head, _, rest = beside.partition(SEALED_BESIDE)
    return head, rest


# --------------------------------------------------------------------------------------------------
# Expected


def plaintexts(sealed: Lifted, more: Iterable[str] = ()) -> bytes:
    """Return what travels beside an expected message of which this was taken; `more` must not be found either."""
    values, texts = [], dict.fromkeys(more)
    for path, each in sealed:
        secret = each if type(each) is Secret else Secret(each, texts_in(each))
        values.append((path, secret.value))
        texts.update(dict.fromkeys(secret.texts))
    return _encode(Plaintexts(canonical(values), list(texts)))


# --------------------------------------------------------------------------------------------------
# Actual


def uncovered(sealed: Lifted, pieces: list[Piece]) -> bytes:
    """Return what travels beside an actual message of which this was taken."""
    return _encode(Uncovered(canonical(sealed), pieces))


def around(key: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> Iterator[Piece]:
    """Yield the pieces of a record around its value."""
    if key:
        yield KEY_PLACE, key
    for name, content in headers:
        yield HEADERS_PLACE, name.encode("utf-8", "surrogatepass")
        if content:
            yield HEADERS_PLACE + render_step(name), content


def dropped(value: Value, rules: Rules, path: str = "$") -> Iterator[Piece]:
    """Yield the pieces of a message that a projection under these rules leaves out."""
    if not rules.reshapes:
        return
    if type(value) is dict:
        for name, each in value.items():
            inner, here = rules.of(name), path + render_step(name)
            if inner.ignored or (rules.known is not None and name not in rules.known):
                yield from leaves({name: each}, path, rules)
            else:
                yield from dropped(each, inner, here)
    elif type(value) is list:
        inner = rules.of_items()
        for index, each in enumerate(value):
            here = f"{path}[{index}]"
            yield from leaves(each, here, inner) if inner.ignored else dropped(each, inner, here)


def leaves(value: Value, path: str, rules: Rules, *, masked: bool = False) -> Iterator[Piece]:
    """Yield the texts and numbers in a value, and the names of its fields."""
    masked = masked or rules.sensitive
    if type(value) is dict:
        for name, each in value.items():
            yield path, name.encode("utf-8", "surrogatepass")
            known = not masked or name in rules.named
            here = path + (render_step(name) if known else FIELDS.value)
            yield from leaves(each, here, rules.of(name), masked=masked)
    elif type(value) is list:
        for index, each in enumerate(value):
            yield from leaves(each, f"{path}[{index}]", rules.of_items(), masked=masked)
    else:
        for text in texts_in(value):
            yield path, text.encode("utf-8", "surrogatepass")


# --------------------------------------------------------------------------------------------------
# Both


def unsealed(
    beside: tuple[bytes, bytes], key: Sequence[Value], exposed: Exposed, rules: Rules, show: Show
) -> list[Finding]:
    """Return what is wrong with the sealing of a pair.

    `beside` is what `plaintexts` returned of the expected message and `uncovered` of the actual one, `key` the match
    key, `exposed` what of the actual message is not as expected.
    """
    expected, actual = beside
    if not actual:
        return []
    plain = _plaintexts(expected) if expected else Plaintexts(b"[]", [])
    open_ = _uncovered(actual)
    values: list[tuple[list[Step], Value]] = _read(open_.values)
    search = _Search(plain, key, show)
    search.values([(_place(path, rules), _form(path, rules), value) for path, value in values])
    if plain.texts:
        search.pieces([*open_.pieces, *(piece for each in exposed for piece in _exposed(*each))])
    return list(search.findings.values())


def _exposed(path: str, name: str, value: Value) -> Iterator[Piece]:
    yield path, name.encode("utf-8", "surrogatepass")
    # Names below are not shown: nobody expected them.
    yield from leaves(value, path, _NAMELESS)


_NAMELESS: Final = Rules(sensitive=True)


def _place(path: Sequence[Step], rules: Rules) -> str:
    """Return a path in which positions of a list without order are not shown: sorting moved them."""
    shown = ""
    for step in path:
        shown += "[*]" if type(step) is int and rules.unordered is not None else render_step(step)
        rules = rules.of(step) if isinstance(step, str) else rules.of_items()
    return "$" + shown


def _form(path: Sequence[Step], rules: Rules) -> str:
    for step in path:
        rules = rules.of(step) if isinstance(step, str) else rules.of_items()
    return rules.sealed.form if rules.sealed is not None else sealing.ANY


class _Search:
    """Looks through one pair; at most one finding for each place."""

    def __init__(self, plain: Plaintexts, key: Sequence[Value], show: Show) -> None:
        self.findings: dict[str, Finding] = {}
        self._plain = plain
        self._values: list[Value] = [value for _, value in _read(plain.values)]
        # Those that the contract itself says among them: known or not, a digest is no encryption.
        self._digests = Digests([*plain.texts, *texts_in(self._values)])
        self._vouched = [text.encode("utf-8", "surrogatepass") for part in key for text in texts_in(part)]
        self._show = show

    def values(self, values: list[tuple[str, str, Value]]) -> None:
        """Look at the sealed values: their form, and whether they contain a plaintext."""
        empty = self._values.count("")
        for place, form, value in values:
            if value == "" and empty:
                empty -= 1
            elif note := sealing.why_unsealed(value, form) or self._why_digest(value, form):
                self._add(place, self._show.mask(value), note)
        pieces = [(place, value, piece) for place, _, value in values for piece in leaves(value, place, _NAMELESS)]
        for number, form in find(self._plain.texts, [piece for _, _, piece in pieces]).items():
            place, value, _ = pieces[number]
            self.findings.pop(place, None)
            self._add(place, self._show.mask(value), _note(form))

    def _why_digest(self, value: str, form: str) -> str:
        data = sealing.from_base64(value) if form == sealing.ANY else sealing.from_hex(value)
        name = self._digests.name_of(data) if data else ""
        return f"a digest of the value ({name}), which is no encryption" if name else ""

    def pieces(self, pieces: list[Piece]) -> None:
        """Look through what the digest does not cover."""
        for number, form in find(self._plain.texts, pieces, self._vouched).items():
            place, data = pieces[number]
            text = data.decode("utf-8", "replace")
            self._add(place, self._show.mask(text), _note(form))

    def _add(self, place: str, shown: Any, note: str) -> None:
        place = _without(place, self._plain.texts)
        self.findings.setdefault(place, Finding("unsealed", place, actual=shown, note=note))


def _note(form: str) -> str:
    return "the plaintext occurs here" + (f", {form}" if form else "")


def _without(path: str, texts: Iterable[str]) -> str:
    """Return a path, or as much of it as can be shown where a field or header is named after a plaintext."""
    data = path.encode("utf-8", "surrogatepass")
    quoted = (canonical(text[:NAME_CHARS_MAX]).decode()[1:-1] for text in texts if len(text) >= NAMED_CHARS_MIN)
    if not any(needle.data in data for text in texts for needle in needles_of(text)) and not any(
        each in path for each in quoted
    ):
        return path
    return (HEADERS_PLACE if path.startswith(HEADERS_PLACE) else "$") + FIELDS.value


def beside_unsealed(
    found: Iterable[Finding], exposed: Exposed, lacking: Iterable[Finding], texts: Sequence[str], show: Show
) -> Iterator[Finding]:
    """Yield findings as they may stand beside `lacking`, which says where the plaintexts `texts` occur.

    No path has a plaintext in it, and no value is shown where one occurs. Each finding that shows an actual value has
    its value in `exposed`, in the same order.
    """
    places = {each.path for each in lacking}
    values = (value for _, _, value in exposed)
    for each in found:
        path = _without(each.path, texts)
        shown = each.actual
        if shown is not UNSET:
            value = next(values)
            shown = show.mask(value) if path in places else shown
        yield msgspec.structs.replace(each, path=path, actual=shown)


def texts_beside(expected: bytes) -> list[str]:
    """Return the plaintexts in what `plaintexts` returned."""
    return _plaintexts(expected).texts if expected else []


def values_beside(read: Callable[[bytes], Value], rest: bytes) -> Lifted:
    """Return the sealed values in what `plaintexts` or `uncovered` returned, with numbers as `read` reads them."""
    return [(tuple(path), value) for path, value in read(msgspec.msgpack.decode(rest)[0])] if rest else []
