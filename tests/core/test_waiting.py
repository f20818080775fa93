"""Why something waits: one row per rule, and which rule comes first."""

from typing import Any

import pytest

from cutover_app.core.waiting import RECOVERING, Look, SideLook, reasons, seconds


def side(name: str = "rebuilt", topic: str = "orders.v2", **seen: Any) -> SideLook:
    return SideLook(side=name, topic=topic, **seen)


def look(*sides: SideLook, **seen: Any) -> Look:
    fields: dict[str, Any] = {"members": 2, "group_state": "Stable", "sides": sides, "grace_ms": 4000}
    return Look(**fields | seen)


LAG = side(unread={0: 5, 1: 1200})
HELD = side(held={0: 0, 1: 7})
SILENT = side(unread={2: 0}, unvouched=[2])
PENDING = side("legacy", "shop.orders", pending=12)

TABLE: list[tuple[str, Look, str, bool, str]] = [
    ("W1", look(members=0, group_state="Empty"), "no_worker", True, "no worker of this run is there: start one"),
    (
        "W2",
        look(group_state="PreparingRebalance"),
        "rebalancing",
        True,
        "the workers of this run are sharing out the partitions (group state PreparingRebalance)",
    ),
    (
        "W12",
        look(quarantined={2: "KeyError at pairing.py:60 behind intake offset 81,254", 5: "the same"}, unsaved=[2]),
        "quarantined",
        True,
        "intake partition 2 is quarantined: KeyError at pairing.py:60 behind intake offset 81,254, and 1 more",
    ),
    (
        "W3",
        look(unsaved=[3], saved_ms=45_000),
        "recovering",
        True,
        f"{RECOVERING}, or cannot be committed: no checkpoint for 45 s of intake partition 3",
    ),
    (
        "W3",
        look(unsaved=[0, 1, 2, 3, 4]),
        "recovering",
        True,
        f"{RECOVERING}, or cannot be committed: no checkpoint ever of intake partitions 0, 1, 2 and 2 more",
    ),
    (
        "W4",
        look(side(unassigned=[1])),
        "unassigned",
        True,
        "no worker has rebuilt partition orders.v2/1: nobody reads it, nobody vouches for it",
    ),
    ("W5", look(LAG), "lag", False, "rebuilt lags by 1,205 records; most in orders.v2/1"),
    (
        "W6",
        look(HELD),
        "open_transaction",
        True,
        "an open transaction holds the end of rebuilt partition orders.v2/1: its producer must commit or abort it",
    ),
    ("W7", look(mirror="the mirror is behind by 9 records"), "mirror", True, "the mirror is behind by 9 records"),
    (
        "W8",
        look(SILENT),
        "not_vouched",
        True,
        "nobody vouches for rebuilt partition orders.v2/2, read to the end",
    ),
    ("W9", look(unjudged=5_000), "judge_lag", False, "the judge lags by 5,000 intake records"),
    (
        "W10",
        look(PENDING),
        "grace",
        False,
        "12 legacy messages are pending: their grace of 4 s has not passed yet",
    ),
    (
        "W13",
        look(side(pending=12, is_closing=True)),
        "backlog",
        False,
        "a backlog of rebuilt messages is due, and is being closed, oldest first",
    ),
    ("W11", look(side(unread={0: 0}), unjudged=20), "nothing", False, "nothing waits"),
]


@pytest.mark.parametrize(("rule", "seen", "name", "stands", "text"), TABLE, ids=[f"{r[0]} {r[2]}" for r in TABLE])
def test_each_rule(rule: str, seen: Look, name: str, stands: bool, text: str) -> None:
    """Each rule, alone, is the reason, in its words; and it alone says whether anything stands still."""
    [reason] = reasons(seen)

    assert (reason.rule, reason.name, reason.stands, reason.text) == (rule, name, stands, text)


def test_the_first_rule_is_the_reason_and_the_rest_is_told() -> None:
    """With everything wrong at once, rules come in the order of their numbers."""
    both = side(unread={1: 5}, held={0: 3}, unvouched=[2], unassigned=[4], pending=1)
    found = reasons(look(both, unsaved=[0], saved_ms=60_000, mirror="behind", unjudged=9_999))

    assert [reason.rule for reason in found] == ["W3", "W4", "W5", "W6", "W7", "W8", "W9", "W10"]


def test_a_partition_with_a_backlog_is_not_blamed_for_being_silent() -> None:
    """What lags, is held by a transaction or has no worker cannot be vouched for: only the cause is told."""
    for seen in ({"unread": {2: 9}}, {"held": {2: 9}}, {"unassigned": [2]}):
        [reason] = reasons(look(side(unvouched=[2], **seen)))

        assert reason.rule in {"W4", "W5", "W6"}


def test_what_has_only_just_come_is_no_lag() -> None:
    """On live traffic some records are always on their way: a side that was complete a moment ago does not lag."""
    fresh = side(unread={0: 900}, is_fresh=True)

    assert reasons(look(fresh))[0].name == "nothing"
    assert reasons(look(fresh, PENDING))[0].name == "grace"


def test_without_workers_only_what_is_known_is_told() -> None:
    """Nobody recovers, vouches or reads where nobody is; what lags and what pends is told all the same."""
    found = reasons(look(SILENT, LAG, PENDING, members=0, group_state="Empty", unsaved=[0]))

    assert [reason.rule for reason in found] == ["W1", "W5", "W14"]


def test_barriers_alone_are_no_lag() -> None:
    """Every worker sends barriers for both sides at each interval; those of some seconds are always on their way."""
    assert reasons(look(members=10, unjudged=600))[0].name == "nothing"
    assert reasons(look(members=1, unjudged=600))[0].name == "judge_lag"


def test_durations() -> None:
    """Whole seconds have no decimals."""
    assert [seconds(each) for each in (4000, 500, 1_234_500)] == ["4 s", "0.5 s", "1,234.5 s"]
