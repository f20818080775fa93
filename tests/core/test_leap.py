"""A frontier that stood still and leaps: what is due then is closed in parts, and means the same (R1)."""

import pytest

from cutover_app.core.frames import LEGACY, REBUILT, Edge
from cutover_app.core.limits import RING_MAX
from cutover_app.core.rows import Rows
from cutover_app.core.state import other
from cutover_app.core.steps import step
from tests.core.history import GRACE_MS, REMEMBER_MS, Log, entry, source

MANY = 7
SECONDS = (GRACE_MS + REMEMBER_MS) // 1000 + MANY


def stand_still(log: Log, seconds: int, *, proven: bool) -> None:
    """Rebuilt goes on, at first with a message each second; of legacy nobody knows anything, or has proven it."""
    last: dict[int, int | None] = {LEGACY: None, REBUILT: None}
    for second in range(seconds):
        last[LEGACY] = log.barrier(LEGACY, None if proven else last[LEGACY], 1_000, proven=proven)
        last[REBUILT] = log.barrier(REBUILT, last[REBUILT])
        if second < MANY:
            log.rebuilt(entry(second, f"{second}=x"))
        elif second == MANY:
            log.checkpoint()


def test_a_barrier_closes_no_more_than_it_may() -> None:
    """The next ones close the rest, oldest first, and nothing is left."""
    log = Log(close_max=2)
    stand_still(log, SECONDS, proven=True)
    first = log.barrier(LEGACY)
    assert log.outcomes() == {}

    known, closing = [], []
    for _ in range(5):
        log.barrier(LEGACY, first)
        known.append(sorted(log.outcomes()))
        closing.append(log.judge.books.is_closing(REBUILT, GRACE_MS))
    assert known == [[f"R{n}" for n in range(min(MANY, 2 * parts))] for parts in range(1, 6)]
    assert closing == [True, True, True, False, False]
    assert log.judge.balance() == []


def test_what_agrees_does_not_delay_what_does_not() -> None:
    """A backlog of pairs is passed in one go: what is missing behind it is said at once."""
    log = Log(close_max=1)
    many = 50
    for place in range(many):
        log.legacy(entry(place, f"{place}=x"))
        log.rebuilt(entry(place, f"{place}=x"))
        log.barrier(LEGACY, after_ms=1_000)
        log.barrier(REBUILT)
    log.legacy(entry(many, "lost=x"))
    stand_still(log, SECONDS, proven=True)
    first = log.barrier(REBUILT)
    log.barrier(REBUILT, first)

    assert log.outcomes()[f"L{many}"] == "missing"


def test_however_long_it_stood_still_it_is_closed_in_steps() -> None:
    """Far more barriers than the ring remembers."""
    log = Log(close_max=10)
    for second in range(3 * RING_MAX):
        log.legacy(entry(second, f"{second}=x"))
        log.barrier(LEGACY, after_ms=1_000)
    first = log.barrier(REBUILT)
    known = []
    for _ in range(3):
        log.barrier(REBUILT, first)
        known.append(len(log.outcomes()))
    assert known == [10, 20, 30]


def test_what_is_remembered_does_not_depend_on_which_payload_is_kept() -> None:
    """Of two equal messages that differ under a tolerance one keeps its payload: which one is a matter of the cut."""
    found = []
    for cut in (False, True):
        log = Log(close_max=1, tolerant=True, problems_ms=REMEMBER_MS)
        log.legacy(entry(0, "a=x", beside=b"1"))
        if cut:
            log.checkpoint()
        log.rebuilt(entry(0, "a=x", beside=b"1"))
        if cut:
            log.checkpoint()
        log.rebuilt(entry(1, "a=x", beside=b"2"), *(entry(2 + n, f"{n}=x") for n in range(MANY)))
        log.pass_time(SECONDS)
        log.rebuilt(entry(99, "a=x", beside=b"1"))
        log.pass_time(SECONDS)
        log.checkpoint()
        found.append(log.outcomes())
    assert found[0] == found[1]


def test_what_is_closed_when_does_not_depend_on_what_was_decided_when() -> None:
    """Of a backlog most has its partner: whether a checkpoint has seen that already or not, the same is closed."""
    logs = [Log(close_max=2), Log(close_max=2)]
    for log, cut in zip(logs, (False, True), strict=True):
        stand_still(log, MANY, proven=True)
        log.legacy(*(entry(n, f"{n}=x") for n in range(MANY - 1)))
        if cut:
            log.checkpoint()
        last = None
        for _ in range(SECONDS):
            last = log.barrier(LEGACY, last, 1_000)
            log.barrier(REBUILT)
    uncut, cut = ([(v.at, v.outcome, v.rebuilt) for v in (log.settle(), log.history)[1]] for log in logs)
    assert uncut == cut
    assert [outcome for _, outcome, _ in cut] == ["unknown"]


def test_what_is_given_up_when_does_not_depend_on_what_was_decided_when() -> None:
    """A key that is decided for another reason is given up no sooner than its turn has come."""
    for settled in (False, True):
        log = Log(close_max=2)
        stand_still(log, SECONDS, proven=True)
        first = log.barrier(LEGACY)
        log.rebuilt(entry(MANY, f"{MANY - 1}=y"))
        if settled:
            log.settle()
        log.barrier(LEGACY, first, proven=False)
        assert log.outcomes() == {f"R{n}": "indeterminate" for n in range(2)}


def test_what_was_given_up_is_remembered_until_it_is_closed() -> None:
    """Its verdict is a doubt until the mirror is proven: then its turn to be closed comes, however long that takes."""
    log = Log(close_max=1, problems_ms=REMEMBER_MS)
    stand_still(log, 2 * SECONDS, proven=False)
    assert log.outcomes() == {f"R{n}": "indeterminate" for n in range(MANY)}

    log.pass_time(2)
    assert 0 < list(log.outcomes().values()).count("unknown") < MANY
    log.pass_time(2 * MANY)
    assert log.outcomes() == {f"R{n}": "unknown" for n in range(MANY)}
    log.checkpoint()
    log.pass_time(SECONDS)
    assert log.judge.books.forgotten == MANY


def test_what_has_its_partner_delays_nothing_whatever_is_said_of_it() -> None:
    """A late one near a lost range is indeterminate, given up before or not; it is decided, and passed in one go."""
    log = Log(close_max=1, problems_ms=REMEMBER_MS, late_ms=10)
    log.edge(Edge(source(LEGACY), 2 * MANY, 3 * MANY, 0, 5_000, "retention"))
    stand_still(log, SECONDS, proven=False)
    log.legacy(*(entry(n, f"{n}=x", timestamp=n) for n in range(2 * MANY)))
    log.checkpoint()
    log.rebuilt(*(entry(n, f"{n}=x") for n in range(MANY, 2 * MANY)))
    pairs = dict.fromkeys([f"L{n}" for n in range(2 * MANY)], "indeterminate")
    assert log.outcomes() == pairs | dict.fromkeys([f"R{n}" for n in range(MANY)], "resolved")

    books = log.judge.books
    for side in (LEGACY, REBUILT):
        last = [log.barrier(side, after_ms=1_000) for _ in range(MANY)][-1]
        log.barrier(side, last)
        assert books.due_ms[other(side)] == books.frontiers[side].closed - GRACE_MS


def test_what_is_not_there_any_more_is_passed() -> None:
    """A key that is gone, or a record of it: nothing is closed there, but what is behind it."""
    log = Log()
    log.legacy(*(entry(n, f"{key}=x") for n, key in enumerate("abcd")))
    log.checkpoint()
    rows = Rows(log.store, log.judge.books)
    rows.keys.drop(b"a")
    emptied, moved = rows.keys.load(b"b"), rows.keys.load(b"c")
    assert emptied is not None
    assert moved is not None
    emptied.expected.clear()
    moved.expected[0].position += 1

    found = [(key, record is not None) for key, record in step(rows, LEGACY, log.now, 1)]
    assert found == [(b"a", False), (b"b", False), (b"c", False), (b"d", True)]


@pytest.mark.parametrize("cut", [False, True])
def test_what_has_had_its_turn_is_not_counted_again(cut: bool) -> None:
    """A closed record waits for its partner to be closed, in memory or committed by now: a step is as long."""
    log = Log(close_max=1)
    log.legacy(*(entry(n, f"{n}=x") for n in range(MANY)))
    log.rebuilt(*(entry(n, f"{n}=y") for n in range(MANY)))
    last = None
    for _ in range(MANY):
        last = log.barrier(REBUILT, last, 1_000)
    log.legacy(entry(MANY, "lost=x"))
    for _ in range(SECONDS):
        last = log.barrier(REBUILT, after_ms=1_000)
    if cut:
        log.checkpoint()
    log.barrier(REBUILT, last)
    assert log.outcomes() == {f"L{MANY}": "missing"}
