"""How a fleet stands, from literal books and facts."""

import io
import json
from dataclasses import replace
from typing import Any

from rich.console import Console

from cutover_app.commands.standing import Facts, SideFacts, Worker, rate_of, status_of
from cutover_app.commands.status import status_json, status_table
from cutover_app.core.closing import NEVER
from cutover_app.core.frames import LEGACY, REBUILT
from cutover_app.core.state import PENDING
from tests.commands.test_summary import books, evidence, fold, leapt, unbalanced, verdict

NOW = 1_760_000_000_000
WORKER = Worker("faust-1", "10.0.0.1", [0], [0], [0])


def source(topic: str, **seen: Any) -> SideFacts:
    fields: dict[str, Any] = {"topic": topic, "unread": {0: 0}, "held": {0: 0}, "assigned": frozenset({0})}
    return SideFacts(**fields | seen)


def facts(**seen: Any) -> Facts:
    fields: dict[str, Any] = {
        "now_ms": NOW,
        "group_state": "Stable",
        "workers": [WORKER],
        "checkpoints": {0: NOW - 2_000},
        "unjudged": {0: 3},
        "sides": (source("shop.orders"), source("orders.v2")),
        "interval_ms": 1000,
        "grace_ms": 4000,
    }
    return Facts(**fields | seen)


def waiting(seen: Facts, given: Any = None) -> tuple[str, list[str]]:
    made = status_of(given or evidence(books()), seen)
    return made.waiting.name, [each.name for each in made.also]


def drawn(made: Any) -> str:
    stream = io.StringIO()
    Console(file=stream, width=140, markup=False, highlight=False).print(status_table(made))
    return stream.getvalue()


def test_a_fleet_at_work() -> None:
    """Nothing waits, the report is fine: exit 0."""
    made = status_of(evidence(books()), facts())

    assert (made.conclusion, made.waiting.name, status_json(made)["exit"]) == ("fine", "nothing", 0)
    assert (made.sides[LEGACY].frontier_lag_ms, made.sides[LEGACY].vouched) == (2_000, 1)


def test_a_fleet_that_stands_still_cannot_tell() -> None:
    """What was fine so far is not if nobody goes on: exit 3, for that reason; open problems stay problems."""
    idle = facts(workers=[], group_state="Empty")
    made = status_of(evidence(books()), idle)

    assert (made.conclusion, made.reasons) == ("cannot tell", ["no worker of this run is there: start one"])
    assert status_of(evidence(books(), said=fold(verdict(1))), idle).conclusion == "problems"


def test_where_the_reasons_come_from() -> None:
    """Each fact leads to its reason."""
    old = {0: NOW - 60_000}
    held = (source("shop.orders"), source("orders.v2", held={0: 7}))
    unread = (source("shop.orders", unread={0: 9}), source("orders.v2"))
    alone = (source("shop.orders", assigned=frozenset()), source("orders.v2"))
    direct = (source("shop.orders", assigned=None), source("orders.v2"))

    assert waiting(facts(checkpoints=old)) == ("recovering", [])
    assert waiting(facts(checkpoints={})) == ("recovering", [])
    assert waiting(facts(group_state="CompletingRebalance")) == ("rebalancing", [])
    assert waiting(facts(sides=held)) == ("open_transaction", [])
    assert waiting(facts(sides=alone)) == ("unassigned", [])
    assert waiting(facts(sides=direct)) == ("nothing", [])
    assert waiting(facts(sides=unread)) == ("nothing", [])  # its frontier is fresh: it has only just come
    assert waiting(facts(sides=unread), evidence(books(frontiers=False))) == ("lag", ["not_vouched"])
    assert waiting(facts(sides=unread, workers=[])) == ("no_worker", ["lag"])


def test_a_stale_vouch_is_told() -> None:
    """A partition that was read to its end, and of which nothing has been heard for many intervals."""
    row = books()
    row.clock.now = 100_000

    assert waiting(facts(), evidence(row)) == ("not_vouched", [])


def test_what_goes_on_in_one_partition_hides_nothing_that_stands_in_another() -> None:
    """A few unread records are why something waits; an open transaction elsewhere is why nobody can tell."""
    row = books()
    row.clock.now = row.frontiers[REBUILT].closed + 16_000
    sides = (
        source("shop.orders"),
        source("orders.v2", unread={0: 0, 1: 12}, held={0: 7, 1: 0}, assigned=frozenset({0, 1})),
    )
    made = status_of(evidence(row), facts(sides=sides))

    assert (made.waiting.name, made.conclusion) == ("lag", "cannot tell")
    assert made.reasons[0].startswith("an open transaction")


def test_a_partition_that_is_not_in_the_copy_is_told() -> None:
    """The original has grown, and nobody vouches for what the copy does not have."""
    row = books()
    row.ledgers[REBUILT].accepted += 1
    row.ledgers[REBUILT].tallies[PENDING] = 1
    row.frontiers[LEGACY].count("t", "", 2)
    row.clock.now += 100_000
    row.frontiers[REBUILT].vouch(0, row.clock.now)
    row.frontiers[REBUILT].advance()
    found = status_of(evidence(row), facts())

    assert found.conclusion == "cannot tell"
    assert "shop.orders/0, 1" in found.waiting.text
    assert "grace" not in " ".join(each.name for each in (found.waiting, *found.also))


def test_a_clock_that_is_far_ahead_says_nothing_of_a_checkpoint() -> None:
    """It would be young for as long as the clock was wrong."""
    assert waiting(facts(checkpoints={0: NOW + 20_000}))[0] == "nothing"
    assert waiting(facts(checkpoints={0: NOW + 3_600_000}))[0] == "recovering"


def test_a_quarantined_partition_is_told() -> None:
    """It stands still while all else is at work, and its books balance: nobody can tell, exit 3."""
    made = status_of(evidence(books(), quarantined={0: "KeyError at pairing.py:60"}), facts())

    assert (made.waiting.name, status_json(made)["exit"]) == ("quarantined", 3)


def test_an_unproven_mirror_is_told() -> None:
    """Where the books say that the mirror is not proven, that is the reason."""
    row = books()
    row.frontiers[LEGACY].vouch(0, 9_500, proven=False)
    row.frontiers[LEGACY].advance()

    assert waiting(facts(), evidence(row))[0] == "mirror"


def test_how_old_what_is_pending_can_be() -> None:
    """Whatever is older than what has been closed is not pending; where nothing could be closed yet nobody knows."""
    row = books()
    row.ledgers[LEGACY].accepted += 3
    row.ledgers[LEGACY].tallies[PENDING] = 3
    made = status_of(evidence(row), facts())

    assert (made.sides[LEGACY].pending, made.sides[LEGACY].oldest_ms) == (3, 6_000)
    assert made.sides[REBUILT].oldest_ms is None
    row.due_ms[LEGACY] = NEVER
    assert status_of(evidence(row), facts()).sides[LEGACY].oldest_ms is None


def test_a_backlog_that_is_being_closed() -> None:
    """Is why something waits, and nobody can tell: not a grace that has not passed."""
    made = status_of(evidence(leapt()), facts())

    assert (made.waiting.name, made.conclusion) == ("backlog", "cannot tell")


def test_books_that_do_not_balance() -> None:
    """Are shown where they are, and nobody can tell."""
    made = status_of(evidence(books(0), unbalanced(1)), facts(checkpoints={0: NOW, 1: NOW}))

    assert (made.conclusion, [each.balanced for each in made.intake]) == ("cannot tell", [True, False])
    assert "DO NOT balance" in drawn(made)


def test_rates() -> None:
    """What was accepted and said since the last look, per second."""
    before = status_of(evidence(books(pairs=5)), facts())
    after = status_of(evidence(books(pairs=25), said=fold(verdict(1), verdict(2))), facts())
    rate = rate_of(before, after, 4.0)

    assert (rate.legacy, rate.rebuilt, rate.verdicts) == (5.0, 5.0, 0.5)
    assert "per second: 5.0 legacy, 5.0 rebuilt, 0.5 verdicts" in drawn(replace(after, rate=rate))


def test_a_status_as_tables() -> None:
    """Workers, sides, intake, the one reason, and the conclusion as the last line."""
    row = books()
    row.ledgers[LEGACY].accepted += 1
    row.ledgers[LEGACY].tallies[PENDING] = 1
    lines = drawn(status_of(evidence(row, said=fold(verdict(1))), facts())).splitlines()
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]

    assert lines[0] == "contract orders, run r1; verdicts: 1 mismatch"
    assert ["faust-1", "10.0.0.1", "0", "0", "0"] in cells
    assert ["legacy", "shop.orders", "2.0 s", "1 of 1", "0", "0", "6", "1", "6.0 s"] in cells
    assert ["0", "9", "3", "1", "0", "2 s ago", "balance"] in cells
    assert lines[-2] == "WAITS BECAUSE (W10): 1 legacy messages are pending: their grace of 4 s has not passed yet"
    assert lines[-1] == "PROBLEMS: 1 open problems: 1 mismatch"


def test_names_of_the_fleet_cannot_steer_the_terminal() -> None:
    """A client id is what somebody else has chosen."""
    text = drawn(status_of(evidence(books()), facts(workers=[replace(WORKER, name="\x1b[31m[b]x")])))

    assert "\x1b" not in text
    assert "[b]x" in text


def test_a_status_as_json() -> None:
    """The JSON form is versioned, and has the reason for programs and for people."""
    document = json.loads(json.dumps(status_json(status_of(evidence(books()), facts()))))

    assert document["v"] == 1
    assert document["waiting"] == {"rule": "W11", "name": "nothing", "text": "nothing waits", "stands": False}
