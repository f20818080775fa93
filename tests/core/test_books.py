"""The books of an intake partition: what they count, what they keep, and when they do not balance (R2)."""

import msgspec
import pytest

from cutover_app.core.books import Books, Ledger, Sender
from cutover_app.core.frames import LEGACY, REBUILT, Barrier, Edge, Passed
from cutover_app.core.limits import EDGES_MAX, IMBALANCES_MAX, REJECTS_MAX, SENDERS_MAX
from cutover_app.core.state import ALONE, PAIRED, PENDING, TALLIES, decode_row, encode_row
from cutover_app.core.verdicts import Position
from tests.core.history import RULES, source


def books(at: int = 7) -> Books:
    """Return the books of intake partition 3 after some records."""
    made = Books(RULES, 3)
    made.at = at
    return made


def barrier(sender: str = "s", sent: int = 0, *passed: Passed) -> Barrier:
    """Return a barrier of the legacy side."""
    return Barrier(RULES, sender, LEGACY, "shop.orders", "", 1, [], sent, list(passed), [])


def test_new_books_are_empty_and_balance() -> None:
    """Nothing has been read, counted or forgotten, and reading them back gives the same."""
    new = Books(RULES, 3)
    assert new.at == -1
    assert new.balance() == []
    assert [new.pending(LEGACY), new.pending(REBUILT)] == [0, 0]
    assert new.closed_to == [-1, -1, -1]
    assert new.buckets == (0, 0)
    counters = (new.senders_dropped, new.forgotten, new.crowded, new.spread, new.imbalanced, new.payloads, new.keys)
    assert counters == (0, 0, 0, 0, 0, 0, 0)
    assert new.again_to == -1
    assert new.forgotten_ms < -(1 << 61)
    assert new.ledgers == (Ledger(0, 0, 0, [0] * len(TALLIES), 0, 0, 0, 0), Ledger())
    assert decode_row(Books, encode_row(new)) == new


def test_rows_are_arrays() -> None:
    """A name of a field costs as much in every row as its value, and is not what a row is read by."""
    made = books()
    made.arrived("s", 1)
    row = msgspec.msgpack.decode(encode_row(made)[1:])
    assert row[:3] == [RULES, 3, 7]
    assert [1, 7, True] in [each.get("s") for each in row if isinstance(each, dict)]
    assert [[0, 0, 0, [0] * len(TALLIES), 0, 0, 0, 0]] * 2 in row


def test_two_books_share_nothing() -> None:
    """What one of them counts is not in the other."""
    one, other = Books(RULES, 0), Books(RULES, 1)
    one.ledgers[LEGACY].tallies[PENDING] += 1
    one.closed_to[0] = 5
    one.source_index(source(LEGACY))
    one.add_reject(LEGACY, position(1))
    assert other == Books(RULES, 1)


def test_sources_have_places_in_the_order_in_which_they_came() -> None:
    """A known one keeps its place; a new one has seen nothing."""
    made = books()
    assert [made.source_index(source(LEGACY, number)) for number in (4, 2, 4)] == [0, 1, 0]
    assert made.marks == [(-1, -1), (-1, -1)]
    assert made.seen_ms == [0, 0]


def test_a_mark_never_goes_back() -> None:
    """The time of the last entry belongs to the mark."""
    made = books()
    place = made.source_index(source(LEGACY))
    made.reach(place, (5, 1), 500)
    made.reach(place, (5, 0), 400)
    made.reach(place, (5, 1), 300)
    assert (made.marks, made.seen_ms) == ([(5, 1)], [500])
    made.reach(place, (6, 0), 200)
    assert (made.marks, made.seen_ms) == ([(6, 0)], [200])


def test_what_a_sender_says_is_held_against_what_arrived() -> None:
    """Since its last barrier; a difference in either direction is a hole."""
    made = books()
    made.arrived("s", 2)
    made.arrived("s", 3)
    made.settle_sender(barrier("s", 5))
    made.settle_sender(barrier("s", 0))
    assert made.balance() == []
    made.arrived("s", 1)
    made.settle_sender(barrier("s", 2))
    made.settle_sender(barrier("s", 0))
    assert made.balance() == [
        "sender s put 2 entries into intake partition 3 before offset 7, 1 arrived",
    ]
    assert made.imbalanced == 1


def test_a_sender_that_nobody_knows_must_have_sent_nothing() -> None:
    """Its first barrier comes after its first entries; unless it was forgotten, because there were too many."""
    made = books()
    made.settle_sender(barrier("new", 4))
    assert len(made.balance()) == 1
    forgetful = books()
    for number in range(SENDERS_MAX + 1):
        forgetful.at = number
        forgetful.arrived(f"s{number}", 1)
    assert len(forgetful.senders) == SENDERS_MAX
    assert "s0" not in forgetful.senders
    assert forgetful.senders_dropped == 1
    forgetful.settle_sender(barrier("s0", 1))
    assert forgetful.balance() == []
    forgetful.settle_sender(barrier(f"s{SENDERS_MAX}", 9))
    assert len(forgetful.balance()) == 1


def test_a_sender_that_was_forgotten_is_believed_once() -> None:
    """What came before it was forgotten is counted nowhere; from its next barrier on, all is."""
    made = books()
    made.arrived("halted", 1)
    for number in range(SENDERS_MAX + 1):
        made.at += 1
        made.arrived(f"s{number}", 1)
    made.at += 1
    made.arrived("halted", 2)
    made.settle_sender(barrier("halted", 3))
    assert made.balance() == []
    made.arrived("halted", 1)
    made.settle_sender(barrier("halted", 2))
    assert len(made.balance()) == 1


def test_who_was_heard_of_longest_ago_is_forgotten_first() -> None:
    """To be heard of again keeps a sender."""
    made = books()
    for number in range(SENDERS_MAX):
        made.at = number
        made.arrived(f"s{number}", 1)
    made.at = SENDERS_MAX
    made.arrived("s0", 1)
    made.at += 1
    made.arrived("another", 1)
    assert "s1" not in made.senders
    assert made.senders["s0"] == Sender(2, SENDERS_MAX)
    assert made.senders["another"] == Sender(1, SENDERS_MAX + 1)


def test_what_was_passed_is_counted_by_kind() -> None:
    """Offsets are records, filtered or gaps; it is counted for the side of the barrier."""
    made = books()
    made.settle_sender(
        barrier("s", 0, Passed(source(LEGACY), 10, 20, 6, 3, 1), Passed(source(LEGACY), 20, 22, 2, 0, 0))
    )
    ledger = made.ledgers[LEGACY]
    assert (ledger.passed, ledger.records, ledger.filtered, ledger.gaps) == (12, 8, 3, 1)
    assert made.ledgers[REBUILT] == Ledger()
    assert made.balance() == []


def test_what_was_passed_as_nothing_is_an_imbalance() -> None:
    """Offsets that a sender does not account for are lost."""
    made = books()
    made.settle_sender(barrier("s", 0, Passed(source(LEGACY, 2), 10, 20, 6, 2, 1)))
    assert made.balance() == [
        "legacy shop.orders/2: offsets 10 to 20 were passed as 6 records, 2 filtered, 1 gaps",
    ]


def test_of_many_imbalances_the_first_are_kept_and_all_are_counted() -> None:
    """The evidence is bounded."""
    made = books()
    for number in range(IMBALANCES_MAX + 3):
        made.imbalance(f"line {number}")
    assert made.imbalances == [f"line {number}" for number in range(IMBALANCES_MAX)]
    assert made.imbalanced == IMBALANCES_MAX + 3


def edge(number: int) -> Edge:
    """Return a lost range."""
    return Edge(source(LEGACY), number, number + 1, 0, 0, "retention")


def test_an_edge_is_new_once() -> None:
    """Every sender tells it; it counts the first time."""
    made = books()
    assert made.add_edges([edge(1), edge(2)])
    assert not made.add_edges([edge(2), edge(1)])
    assert not made.add_edges([])
    assert made.add_edges([edge(1), edge(3)])
    assert made.edges == [edge(1), edge(2), edge(3)]


def test_too_many_edges_are_an_imbalance() -> None:
    """As many as there may be are kept; what is beyond is evidence that is missing."""
    made = books()
    made.add_edges([edge(number) for number in range(EDGES_MAX - 1)])
    assert made.add_edges([edge(EDGES_MAX)])
    assert (len(made.edges), made.balance()) == (EDGES_MAX, [])
    assert not made.add_edges([edge(EDGES_MAX + 1)])
    assert len(made.edges) == EDGES_MAX
    assert made.balance() == [f"more than {EDGES_MAX} lost ranges in intake partition 3"]


def position(offset: int) -> Position:
    """Return where a record is."""
    return Position("shop.orders", 0, offset, 0, 0, "")


def test_the_newest_rejects_are_remembered() -> None:
    """Of each side so many."""
    made = books()
    for offset in range(REJECTS_MAX + 2):
        made.add_reject(REBUILT, position(offset))
    assert made.rejects[LEGACY] == []
    assert [each.offset for each in made.rejects[REBUILT]] == list(range(2, REJECTS_MAX + 2))


def test_what_is_pending_is_a_tally() -> None:
    """Of the side that is asked for."""
    made = books()
    made.ledgers[REBUILT].tallies[PENDING] = 4
    assert (made.pending(LEGACY), made.pending(REBUILT)) == (0, 4)


@pytest.mark.parametrize("side", [LEGACY, REBUILT])
def test_what_is_not_accounted_for_is_an_imbalance(side: int) -> None:
    """Accepted is what the tallies add up to, and no tally is below zero."""
    made = books()
    made.ledgers[side].accepted = 2
    made.ledgers[side].tallies[ALONE] = 1
    (line,) = made.balance()
    assert line.startswith(
        f"{('legacy', 'rebuilt')[side]} in intake partition 3: 2 accepted, 1 accounted for (0 pending"
    )
    made.ledgers[side].tallies[PENDING] = 2
    made.ledgers[side].tallies[ALONE] = 0
    assert made.balance() == []
    made.ledgers[side].tallies[PENDING] = 3
    made.ledgers[side].tallies[ALONE] = -1
    (line,) = made.balance()
    assert "2 accepted, 2 accounted for (3 pending, 0 paired, -1 alone" in line


def test_both_sides_have_as_many_paired_records() -> None:
    """A pair has two."""
    made = books()
    for side, paired in ((LEGACY, 2), (REBUILT, 1)):
        made.ledgers[side].accepted = made.ledgers[side].tallies[PAIRED] = paired
    assert made.balance() == ["intake partition 3: the two sides disagree on how many records are paired"]
    made.ledgers[REBUILT].accepted = made.ledgers[REBUILT].tallies[PAIRED] = 2
    assert made.balance() == []


@pytest.mark.parametrize(("pending", "due_ms", "closing"), [(1, 5_999, True), (1, 6_000, False), (0, 5_999, False)])
def test_a_backlog_is_being_closed_while_something_is_due(pending: int, due_ms: int, closing: bool) -> None:
    """Records up to the other side's frontier less the grace are due; where steps have not come so far, some wait."""
    made = books()
    made.frontiers[REBUILT].closed = 10_000
    made.ledgers[LEGACY].tallies[PENDING] = pending
    made.due_ms[LEGACY] = due_ms
    assert made.is_closing(LEGACY, 4_000) is closing
