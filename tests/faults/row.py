"""What a row is, and which there are."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.faults.ground import Ground


@dataclass
class Seen:
    """What came of a row."""

    observed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """A line for everything that is not as it must be."""

    def note(self, text: str) -> None:
        """Add to what was observed."""
        self.observed.append(text)

    def expect(self, holds: bool, text: str) -> None:
        """Note what must hold; what does not is wrong."""
        (self.observed if holds else self.wrong).append(text if holds else f"not so: {text}")


@dataclass(frozen=True)
class Row:
    """One fault."""

    number: int
    injected: str
    expected: str
    play: "Callable[[Ground, Seen], Awaitable[None]]"
    daily: bool
    """Whether it is short and telling enough for every day."""
    by_hand: bool
    """Whether it is so long that it is played only when asked for by number."""


ROWS: Final[dict[int, Row]] = {}


def row(
    number: int, injected: str, expected: str, *, daily: bool = False, by_hand: bool = False
) -> "Callable[[Callable[[Ground, Seen], Awaitable[None]]], Callable[[Ground, Seen], Awaitable[None]]]":
    """Add a row."""

    def add(play: "Callable[[Ground, Seen], Awaitable[None]]") -> "Callable[[Ground, Seen], Awaitable[None]]":
        assert number not in ROWS, number
        ROWS[number] = Row(number, injected, expected, play, daily, by_hand)
        return play

    return add


def select(text: str) -> list[Row]:
    """Return the rows that `1,2,30-33` names, for nothing all that are not by hand. Raises `ValueError` for others."""
    wanted = list(_numbers(text)) if text else sorted(number for number, each in ROWS.items() if not each.by_hand)
    if foreign := [number for number in wanted if number not in ROWS]:
        raise ValueError(f"no such row: {', '.join(map(str, foreign))}; there are {', '.join(map(str, sorted(ROWS)))}")
    return [ROWS[number] for number in wanted]


def _numbers(text: str) -> Iterable[int]:
    for part in text.replace(" ", ",").split(","):
        if part:
            first, _, last = part.partition("-")
            yield from range(int(first), int(last or first) + 1)
