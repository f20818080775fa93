"""The values at sealed paths of a rebuilt message: what the new producer encrypts, and what must not be read anywhere.

A `Secret` takes the place of such a value, with the texts that must not be in the published record: those of the value,
and of the legacy values of which it was made. What the contract itself says (a constant, a default, a value out of a
table) is no secret. A whole of several targets, or of items, has the secrets of its parts.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from cutover_app.core.canonical import Value
from cutover_app.core.limits import ENTRY_BYTES_MAX
from cutover_app.core.rules import ABSENT, Hole, Secret, texts_in

Message = dict[str, Value]
Read = Callable[[Value, Message], Value]
"""Reads one value of (item, message); the item is the message itself outside of `each`."""
Build = Callable[[Message, Message], Value]

_OVERHEAD: Final = 8
"""What a text counts besides its characters: very many short ones take memory, too."""


class OversizedError(ValueError):
    """The secrets of one message are longer than an entry may be."""


class Budget:
    """How much the secrets of the message that is being made may come to: all its items may share what is large."""

    def __init__(self, limit: int = ENTRY_BYTES_MAX) -> None:
        self._limit = limit
        self._left = limit

    def begin(self) -> None:
        """Begin another message."""
        self._left = self._limit

    def spend(self, texts: Iterable[str]) -> None:
        """Count texts; raises `OversizedError`."""
        self._left -= sum(len(each) + _OVERHEAD for each in texts)
        if self._left < 0:
            raise OversizedError


def secret(read: Read, sources: Sequence[Read], budget: Budget, *, is_said: Callable[[Value], bool]) -> Read:
    """Return what reads a value that is encrypted; `is_said` tells of a value whether the contract says it."""

    def sealed(item: Value, message: Message) -> Value:
        value = read(item, message)
        if value is ABSENT or value is None:
            return value
        legacy = [each for source in sources if (each := source(item, message)) is not ABSENT]
        texts = texts_in(legacy)
        if texts and type(value) is not Hole and not is_said(value):
            texts = (*texts_in(value), *texts)
        texts = tuple(dict.fromkeys(texts))
        budget.spend(texts)
        return Hole(value.kind, value.note, texts) if type(value) is Hole else Secret(value, texts)

    return sealed


def unless(read: Read, is_said: Callable[[Value], bool]) -> Read:
    """Return what reads a value, but for one that the contract itself says."""

    def legacy(item: Value, message: Message) -> Value:
        value = read(item, message)
        return ABSENT if value is ABSENT or value is None or type(value) is Hole or is_said(value) else value

    return legacy


def sealed_whole(build: Build) -> Build:
    """Return what builds a value of several parts, of which each is a secret, and that is encrypted as a whole."""

    def sealed(item: Message, message: Message) -> Value:
        texts: dict[str, None] = {}
        value = _whole(build(item, message), texts)
        if type(value) is Hole:
            return Hole(value.kind, value.note, tuple(texts))
        return value if value is ABSENT or value is None or value == {} else Secret(value, tuple(texts))

    return sealed


def _whole(value: Value, texts: dict[str, None]) -> Value:
    """Return a value without the secrets in it, adding their texts; a hole in it stands for the whole.

    What cannot be written whole cannot be encrypted.
    """
    if type(value) is Secret:
        texts.update(dict.fromkeys(value.texts))
        return value.value
    if type(value) is Hole:
        texts.update(dict.fromkeys(value.texts))
    if type(value) is dict:
        fields = {name: _whole(each, texts) for name, each in value.items()}
        return next((each for each in fields.values() if type(each) is Hole), fields)
    if type(value) is list:
        items = [_whole(each, texts) for each in value]
        return next((each for each in items if type(each) is Hole), items)
    return value
