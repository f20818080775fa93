"""Rows of the fault matrix that are played every day; `make faults` plays all of them."""

import pytest

from tests.faults.__main__ import play
from tests.faults.row import ROWS

SEED = 1
DAILY = [number for number, each in sorted(ROWS.items()) if each.daily]


@pytest.mark.kafka
@pytest.mark.parametrize("number", DAILY)
def test_a_row_is_as_it_must_be(number: int) -> None:
    """Whatever it injects was reached, and everything came out as the oracle, the books and its own words say."""
    seen, _seconds = play(ROWS[number], SEED)

    assert seen.wrong == []
    assert seen.observed


def test_every_row_says_what_it_is() -> None:
    """Rows have a number of their own, and words for the table."""
    assert all(each.injected and each.expected and each.play.__doc__ for each in ROWS.values())
    assert DAILY
