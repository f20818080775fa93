"""A key with more records than are paired: bounded, counted, and nothing said that nobody knows (R12)."""

import pytest

from cutover_app.core.decide import CROWDED_NOTE
from cutover_app.core.frames import LEGACY, REBUILT, Entry
from cutover_app.core.limits import CROWDED_MAX, FAMILIES_MAX, RECORD_BYTES, ROW_BYTES_MAX, ROW_FAMILIES_MAX
from cutover_app.core.rows import SETTLED_TABLE
from cutover_app.core.state import PAIRED, PENDING, UNDETERMINED
from cutover_app.core.verdicts import OTHER_PATHS, Finding
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


def test_what_travels_beside_its_records_counts_too() -> None:
    """A row that no record of a changelog could hold is not grown: few records with much beside them are crowded."""
    half = b"x" * (ROW_BYTES_MAX // 2 - RECORD_BYTES)
    log = Log()
    log.legacy(entry(0, "a=x", beside=half), entry(1, "b=x", beside=half), entry(2, "a=y"))
    log.rebuilt(entry(0, "a=x", beside=half), entry(1, "a=y", beside=b"x"), entry(2, "b=x", beside=half))
    log.pass_time(SECONDS)
    changes = log.judge.checkpoint()

    assert log.outcomes() == {"L2": "indeterminate", "R1": "indeterminate"}
    assert log.judge.balance() == []
    assert max(len(row or b"") for row in changes[SETTLED_TABLE].values()) < ROW_BYTES_MAX + 1_000


def test_a_row_says_once_what_its_verdicts_have_in_common() -> None:
    """Thousands of messages of one key that are wrong in the same fifty ways fit into its row."""
    paths = tuple(Finding("wrong_value", f"$.{'field' * 20}{number}") for number in range(50))
    log = Log(diff=lambda *_: paths)
    for place in range(400):
        log.legacy(entry(place, f"a={place}"))
        log.rebuilt(entry(place, f"a=not {place}"))
    log.pass_time(SECONDS)
    changes = log.judge.checkpoint()

    assert set(log.outcomes().values()) == {"mismatch"}
    assert max(len(row or b"") for row in changes[SETTLED_TABLE].values()) < 800 * RECORD_BYTES
    log.crash()
    log.rebuilt(entry(400, "a=399"))
    log.checkpoint()
    assert {row.open for row in log.judge._rows.families() if row.path} == {399}


def _named_by_data(expected: Entry, _: Entry) -> tuple[Finding, ...]:
    """A finding under a name of its own, and one more where the message is far from it."""
    name = expected.payload.decode()
    far = (Finding("wrong_value", "$.far"),) if name.startswith("far") else ()
    return Finding("wrong_value", f"$.{name}"), *far


def test_families_beyond_the_limit_are_one_of_their_kind() -> None:
    """Names that come from data do not fill the memory; every finding is counted, and uncounted when it goes."""
    log = Log(diff=_named_by_data)
    most = FAMILIES_MAX + 5
    log.legacy(*(entry(place, f"{place}=far{place}") for place in range(most)))
    log.rebuilt(*(entry(place, f"{place}=x") for place in range(most)))
    log.pass_time(SECONDS)
    log.checkpoint()
    log.crash()
    others = ("wrong_value", OTHER_PATHS)
    named = {("wrong_value", f"$.far{place}"): 1 for place in range(FAMILIES_MAX - 1)}
    assert _open_families(log) == named | {("wrong_value", "$.far"): most, others: 6}

    log.legacy(*(entry(most + place, f"{place}=near{place}") for place in (0, most - 1)))
    log.pass_time(SECONDS)
    log.checkpoint()
    del named["wrong_value", "$.far0"]
    still = {("wrong_value", "$.far"): most - 2, others: 6 - 1 + 2, ("missing", ""): 2}
    assert _open_families(log) == named | still


def test_families_of_one_key_have_a_limit_of_their_own() -> None:
    """Names of its families stand in its row, which has to fit into a record; other keys still name theirs."""
    log = Log(diff=_named_by_data)
    most = ROW_FAMILIES_MAX + 20
    log.legacy(*(entry(place, f"a={place}") for place in range(most)), entry(most, f"b={most}"))
    log.rebuilt(*(entry(place, f"a=not {place}") for place in range(most)), entry(most, "b=x"))
    log.pass_time(SECONDS)
    log.checkpoint()

    found = _open_families(log)
    assert (sum(found.values()), found["wrong_value", OTHER_PATHS], found["wrong_value", f"$.{most}"]) == (
        most + 1,
        20,
        1,
    )


def _open_families(log: Log) -> dict[tuple[str, str], int]:
    return {(row.kind, row.path): row.open for row in log.judge._rows.families() if row.open}


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
