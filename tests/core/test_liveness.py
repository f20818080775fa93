"""A worker that gets nowhere ends, and no other does."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover_app.core.liveness import DEAD_LOOKS_MAX, LOOKS_MAX, REBALANCE_LOOKS_MAX, Liveness, Look


def look(**seen: Any) -> Look:
    """A look at a worker at work."""
    return Look(**{"tenure": 1, "works": True} | seen)


STUCK = [
    (look(idle_agents=["judge"]), DEAD_LOOKS_MAX, "L1", "agent judge has ended"),
    (look(unread={"shop.orders/2": 17}), LOOKS_MAX, "L2", "shop.orders/2 is not read on from offset 17"),
    (look(uncommitted={"shop.orders/2": 5}), LOOKS_MAX, "L3", "positions are not committed"),
    (look(works=False, recovers=True, to_recover=9), LOOKS_MAX, "L4", "9 changelog offsets to go"),
    (look(works=False, rebalances=True), REBALANCE_LOOKS_MAX, "L5", "does not hand out its partitions"),
    (look(unassigned=["shop.orders"]), REBALANCE_LOOKS_MAX, "L5", "does not hand out the partitions of shop.orders"),
    (look(silent={"shop.orders": 3}), LOOKS_MAX, "L6", "no barrier of shop.orders goes out"),
]


def lines(looks: list[Look]) -> list[str]:
    """What is said of a row of looks, but for the looks of which nothing is."""
    liveness = Liveness()
    return [line for each in looks if (line := liveness.look(each))]


@pytest.mark.parametrize(("seen", "most", "rule", "said"), STUCK, ids=[rule for _, _, rule, _ in STUCK])
def test_what_does_not_move_is_said_in_a_line(seen: Look, most: int, rule: str, said: str) -> None:
    """Not before the limit; then at every look, with the rule."""
    assert lines([look(), *[seen] * most]) == []
    (line,) = lines([look(), *[seen] * (most + 1)])
    assert line.startswith(f"stuck ({rule}): ")
    assert said in line


@pytest.mark.parametrize(("seen", "most", "rule", "said"), STUCK, ids=[rule for _, _, rule, _ in STUCK])
@pytest.mark.parametrize(
    "between",
    [
        Look(tenure=1, answered=False),
        Look(tenure=None),
        look(),
    ],
    ids=["an outage", "a rebalance", "it moved"],
)
def test_an_interruption_begins_the_count_anew(seen: Look, most: int, rule: str, said: str, between: Look) -> None:
    """What stands still during an outage, a rebalance, or after it moved, has not been stuck so long."""
    assert lines([look(), *[seen] * most, between, *[seen] * most]) == [], (rule, said)


def test_a_barrier_that_is_late_is_none_that_does_not_go_out() -> None:
    """A slow cluster has barriers late at every look; they go out all the same."""
    assert lines([look(silent={"shop.orders": number // 10}) for number in range(10 * LOOKS_MAX)]) == []


def test_another_assignment_is_another_count() -> None:
    """The same partition at the same offset under another generation may have just been opened."""
    stuck = [look(tenure=n // LOOKS_MAX, unread={"t/0": 5}) for n in range(5 * LOOKS_MAX)]
    assert lines(stuck) == []


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 3)), max_size=400))
def test_whatever_moves_is_never_stuck(history: list[tuple[bool, int, int]]) -> None:
    """A worker whose partitions each move at least once in `LOOKS_MAX` looks is left alone, whatever else happens."""
    positions = {"a/0": 0, "b/0": 0}
    looks = []
    for number, (answered, first, second) in enumerate(history):
        positions["a/0"] += first or (number % LOOKS_MAX == 0)
        positions["b/0"] += second or (number % LOOKS_MAX == 7)
        looks.append(look(answered=answered, unread=dict(positions), uncommitted={"a/0": positions["a/0"]}))
    assert lines(looks) == []


def test_a_spare_worker_and_one_between_two_assignments_do_nothing_rightly() -> None:
    """Neither works nor recovers, so nothing must move."""
    idle = Look(tenure=None, idle_agents=["judge"], unread={"t/0": 1}, uncommitted={"t/0": 1}, to_recover=4)
    assert lines([idle] * (3 * LOOKS_MAX)) == []
