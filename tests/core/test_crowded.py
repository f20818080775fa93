"""A key with more records than are paired: bounded, counted, and nothing said that nobody knows (R12)."""

import pytest

from cutover_app.core.decide import CROWDED_NOTE
from cutover_app.core.frames import LEGACY, REBUILT
from cutover_app.core.limits import CROWDED_MAX
from cutover_app.core.state import PAIRED, PENDING, UNDETERMINED
from tests.core.history import GRACE_MS, REMEMBER_MS, Log, entry

SECONDS = GRACE_MS // 1000 + 4


def test_what_comes_beyond_the_limit_is_indeterminate() -> None:
    """Neither side's further records are called missing or unknown; each has a verdict that says why."""
    log = Log(records_max=4)
    log.legacy(*(entry(n, f"a={n}") for n in range(3)))
    log.rebuilt(*(entry(n, f"a={n}") for n in range(3)))
    log.pass_time(SECONDS)
    log.checkpoint()

    assert log.outcomes() == dict.fromkeys(("L1", "L2", "R1", "R2"), "indeterminate")
    assert {each.findings[0].note for each in log.verdicts.values()} == {CROWDED_NOTE}
    assert log.judge.balance() == []


def test_what_was_said_before_the_limit_is_taken_back() -> None:
    """A message that was missing may be one of those that are not paired any more; a duplicate stays one."""
    log = Log(records_max=4)
    log.legacy(entry(0, "a=x"), entry(1, "a=y"))
    log.rebuilt(entry(0, "a=x"), entry(1, "a=x"))
    log.pass_time(SECONDS)
    assert log.outcomes() == {"L1": "missing", "R1": "duplicate"}

    log.rebuilt(entry(2, "a=y"))

    assert log.outcomes() == {"L1": "indeterminate", "R1": "duplicate", "R2": "indeterminate"}


def test_an_unequal_pair_of_such_a_key_is_indeterminate() -> None:
    """The right partner may be one of those that are not paired any more."""
    log = Log(records_max=2)
    log.legacy(entry(0, "a=x"))
    log.rebuilt(entry(0, "a=y"), entry(1, "a=x"))
    log.pass_time(SECONDS)

    assert log.outcomes() == {"L0": "indeterminate", "R1": "indeterminate"}


def test_the_limit_is_of_one_key() -> None:
    """Other keys are judged as ever, and the books balance."""
    log = Log(records_max=2)
    log.legacy(*(entry(n, text) for n, text in enumerate(("a=x", "a=y", "b=x", "a=z"))))
    log.rebuilt(entry(0, "b=x"), entry(1, "a=x"))
    log.pass_time(SECONDS)
    log.checkpoint()

    assert log.outcomes() == dict.fromkeys(("L0", "L1", "L3", "R1"), "indeterminate")
    assert log.judge.balance() == []
    legacy, rebuilt = (log.judge.books.ledgers[side].tallies for side in (LEGACY, REBUILT))
    assert (legacy[PAIRED], legacy[UNDETERMINED], rebuilt[PAIRED], rebuilt[UNDETERMINED]) == (1, 3, 1, 1)


def test_a_key_is_crowded_only_while_it_is_remembered() -> None:
    """Records of a key that has been forgotten are paired again."""
    log = Log(records_max=2)
    log.legacy(entry(0, "a=x"))
    log.rebuilt(entry(0, "a=x"))
    log.pass_time(REMEMBER_MS // 1000 + SECONDS)
    log.legacy(entry(1, "a=y"))
    log.rebuilt(entry(1, "a=z"))
    log.pass_time(SECONDS)
    log.checkpoint()

    assert log.outcomes() == {"L1": "mismatch"}


def test_what_may_be_the_partner_of_a_legacy_record_that_was_not_kept_is_no_duplicate() -> None:
    """Three equal messages on both sides, one read ahead of the other: each was published exactly once."""
    log = Log(records_max=4)
    log.legacy(entry(0, "a=x"))
    log.rebuilt(*(entry(n, "a=x") for n in range(3)))
    log.legacy(entry(1, "a=x"), entry(2, "a=x"))
    log.pass_time(SECONDS)
    log.checkpoint()

    assert log.outcomes() == dict.fromkeys(("L1", "L2", "R1", "R2"), "indeterminate")
    assert log.judge.balance() == []


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("order", [b"", b"o"])
def test_a_crowded_key_is_remembered_while_records_of_it_come(order: bytes, cut: bool) -> None:
    """Whatever its order key, and whether a checkpoint came in between: what is not kept keeps the key."""
    log = Log(records_max=2, order_apart=bool(order))
    log.legacy(entry(0, "a=x", order=order))
    log.rebuilt(entry(0, "a=x", order=order))
    for second in range(1, REMEMBER_MS // 1000 + SECONDS):
        log.legacy(entry(second, "a=y", order=order))
        log.pass_time(1)
        if cut:
            log.checkpoint()
    log.rebuilt(entry(1, "a=y", order=order))
    log.pass_time(SECONDS)
    log.checkpoint()

    assert set(log.outcomes().values()) == {"indeterminate"}
    assert log.judge.books.forgotten == 0


@pytest.mark.parametrize("step", [1, 7, 500])
def test_many_records_are_decided_at_barriers_and_checkpoints(step: int) -> None:
    """However the log is cut into chunks, the outcomes are the same, and a checkpoint leaves nothing undecided."""
    count = CROWDED_MAX + 20
    log = Log()
    log.legacy(entry(0, "a=x"), entry(1, "a=y"))
    for start in range(0, count, 100):
        log.rebuilt(*(entry(start + n, "a=x") for n in range(100)))
        if start // 100 % step == 0:
            log.settle()
    log.rebuilt(entry(count + 100, "a=y"))
    log.settle()
    log.checkpoint()

    assert log.judge.books.ledgers[LEGACY].tallies[PENDING] == 0
    log.pass_time(SECONDS)
    log.checkpoint()
    assert set(log.outcomes().values()) == {"duplicate"}
    assert log.judge.balance() == []
