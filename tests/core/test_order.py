"""Late, and out of order: what is wrong with a pair although its messages agree; and what a mirror must prove."""

from typing import Any

import pytest

from cutover_app.core.decide import UNPROVEN_NOTE
from cutover_app.core.frames import LEGACY, REBUILT, Edge, Entry
from cutover_app.core.ordering import overtaken
from cutover_app.core.state import CROWDED, Passage, order_row_key
from tests.core.history import GRACE_MS, Log, entry, source


def p(legacy: int, rebuilt: int, lane: tuple[int, int] = (0, 1)) -> Passage:
    """A pair of these offsets; its position is its legacy offset, times ten for another lane."""
    return Passage(b"k", legacy if lane == (0, 1) else legacy * 10, lane, legacy, rebuilt)


def o(offset: int, text: str, order: str = "c1", **changed: Any) -> Entry:
    """An entry with an order key of its own."""
    return entry(offset, text, order=order.encode(), **changed)


def findings(log: Log) -> dict[str, list[str]]:
    """Finding kinds of the newest problem verdicts, by anchor."""
    outcomes = log.outcomes()
    said = {}
    for verdict in log.verdicts.values():
        position = verdict.legacy or verdict.rebuilt
        assert position
        name = f"{'L' if verdict.legacy else 'R'}{position.offset}"
        if outcomes[name] not in ("match", "resolved"):
            said[name] = [each.kind for each in verdict.findings]
    return said


# -- the pure rule -----------------------------------------------------------------------------------------------------


def test_nothing_is_overtaken_where_order_was_kept() -> None:
    """Gaps, and lanes that differ, are no disorder."""
    assert set() == overtaken([p(1, 5), p(2, 9), p(7, 10), p(8, 1, (0, 2))])


def test_the_overtaken_pair_is_blamed() -> None:
    """The pair with the lower legacy offset and the higher rebuilt one, once for all that overtook it."""
    assert {1} == overtaken([p(1, 9), p(2, 3), p(3, 4)])
    assert {1, 2} == overtaken([p(1, 9), p(2, 8), p(3, 4)])


def test_messages_of_one_legacy_record_have_no_order_among_them() -> None:
    """A higher index is not a higher offset."""
    assert set() == overtaken([p(1, 9), p(1, 3)])


# -- within one match key ----------------------------------------------------------------------------------------------


def test_two_messages_of_a_key_in_the_wrong_order() -> None:
    """Both pairs agree; the overtaken one is a mismatch with that finding."""
    log = Log()
    log.legacy(entry(0, "a=1"), entry(1, "a=2"))
    log.rebuilt(entry(0, "a=2"), entry(1, "a=1"))

    assert {"L0": ["out_of_order"]} == findings(log)
    assert [] == log.judge.balance()


def test_the_right_order_is_silent() -> None:
    """Nothing is said about several messages in their order."""
    log = Log()
    log.legacy(entry(0, "a=1"), entry(1, "a=2"))
    log.rebuilt(entry(0, "a=1"), entry(1, "a=2"))

    assert {} == log.outcomes()


def test_partitions_apart_have_no_order_and_that_is_noted() -> None:
    """Across partitions nothing is known about order: not a finding, but counted."""
    log = Log()
    log.legacy(entry(0, "a=1"), partition=0)
    log.legacy(entry(5, "a=2"), partition=1)
    log.rebuilt(entry(0, "a=2"), entry(1, "a=1"))

    assert {} == log.outcomes()
    assert 1 == log.judge.books.spread


def test_a_crowded_key_is_not_judged_for_order() -> None:
    """Beyond the limit order is not judged, what was said of it is taken back, and the key is counted."""
    log = Log(ordered_max=4)
    log.legacy(entry(0, "a=1"), entry(1, "a=2"))
    log.rebuilt(entry(0, "a=2"), entry(1, "a=1"))

    assert {"L0": ["out_of_order"]} == findings(log)

    log.legacy(entry(2, "a=3"))
    log.rebuilt(entry(2, "a=3"))

    assert {"L0": "resolved"} == log.outcomes()
    assert 1 == log.judge.books.crowded


# -- across match keys -------------------------------------------------------------------------------------------------


def test_order_holds_across_the_match_keys_of_an_order_key() -> None:
    """A message of another match key overtook: the finding is on the pair that was overtaken."""
    log = Log(order_apart=True)
    log.legacy(o(0, "a=1"), o(1, "b=1"))
    log.rebuilt(o(0, "b=1"), o(1, "a=1"))

    assert {"L0": ["out_of_order"]} == findings(log)
    assert [["a"]] == [verdict.key for verdict in log.history]


def test_other_order_keys_may_overtake() -> None:
    """Order is asked for within an order key only."""
    log = Log(order_apart=True)
    log.legacy(o(0, "a=1"), o(1, "b=1", "c2"))
    log.rebuilt(o(0, "b=1", "c2"), o(1, "a=1"))

    assert {} == log.outcomes()


def test_disorder_is_found_after_a_crash_and_across_checkpoints() -> None:
    """Passages outlive the judge that saw them."""
    log = Log(order_apart=True)
    log.legacy(o(0, "a=1"), o(1, "b=1"))
    log.rebuilt(o(0, "b=1"))
    log.checkpoint()
    log.crash()
    log.rebuilt(o(1, "a=1"))
    log.checkpoint()

    assert {"L0": ["out_of_order"]} == findings(log)


def test_a_message_under_another_order_key_is_another_message() -> None:
    """Whether two records meet does not depend on how many intake partitions there are."""
    log = Log(order_apart=True, unique=True)
    log.legacy(o(0, "a=1", "c1"))
    log.rebuilt(o(0, "a=1", "c2"))
    log.pass_time(10)

    assert {"L0": "missing", "R0": "unknown"} == log.outcomes()


def test_match_keys_of_an_order_key_are_forgotten_together() -> None:
    """A key that has long been fine stays as long as another of its order key is remembered."""
    log = Log(order_apart=True)
    gone: list[bytes] = []
    log.judge.tell_forgotten(gone.append)
    log.legacy(o(0, "a=1"))
    log.rebuilt(o(0, "a=1"))
    log.checkpoint()
    log.pass_time(15)
    log.legacy(o(1, "b=1"))
    log.rebuilt(o(1, "b=1"))
    log.checkpoint()
    log.pass_time(15)

    assert [] == gone

    log.checkpoint()
    log.pass_time(25)

    assert [b"c1a", b"c1b", order_row_key(b"c1")] == gone
    log.checkpoint()
    assert {} == {key: row for key, row in log.store._rows["settled"].items() if not key.startswith(b"\x00")}


def test_match_keys_of_a_crowded_order_key_are_forgotten_one_by_one() -> None:
    """An order key that never rests keeps nothing but what is remembered of it, in its own row too."""
    log = Log(order_apart=True, ordered_max=4)
    for number in range(40):
        log.legacy(o(number, f"k{number}=1"))
        log.rebuilt(o(number, f"k{number}=1"))
        log.checkpoint()
        log.pass_time(4)

    row = log.judge._ordering.row(b"c1")
    assert row is not None
    assert (row.keys, row.noted & CROWDED) == ([], CROWDED)
    assert 40 - 10 < log.judge.books.forgotten < 40
    assert {} == log.outcomes()
    for _ in range(3):
        log.pass_time(30)
        log.checkpoint()
    assert {} == {key: row for key, row in log.store._rows["settled"].items() if not key.startswith(b"\x00")}


@pytest.mark.parametrize("deleted", [True, False])
def test_what_stands_for_itself_does_so_when_its_order_key_comes_anew(deleted: bool) -> None:
    """A match key that outlives its crowded order key, by a problem, is not of the new one, deleted or only over."""
    log = Log(order_apart=True, ordered_max=2)
    if not deleted:
        log.judge._forgetting.delete_due = lambda: iter(())  # type: ignore[method-assign]
    log.legacy(o(0, "a=1"), o(1, "b=1"), o(2, "d=1"))
    log.rebuilt(o(0, "a=2"), o(1, "b=1"), o(2, "d=1"))
    for _ in range(4):
        log.checkpoint()
        log.pass_time(10)
    assert (log.judge._ordering.row(b"c1") is None) == deleted
    log.legacy(o(3, "a=3"))

    row = log.judge._ordering.row(b"c1")
    assert row is not None
    assert (row.keys, row.records) == ([], 1)


def test_what_has_been_forgotten_does_not_count_again_when_its_order_key_comes_anew() -> None:
    """A match key that was forgotten by itself is not brought back, with or without a checkpoint that deletes it."""
    said = []
    for cut in (False, True):
        log = Log(order_apart=True, ordered_max=2)
        log.legacy(o(0, "a=1"), o(1, "b=1"))
        log.rebuilt(o(0, "a=1"), o(1, "b=1"))
        for _ in range(4):
            if cut:
                log.checkpoint()
            log.pass_time(10)
        log.legacy(o(2, "b=1"))
        log.rebuilt(o(2, "a=1"))
        log.pass_time(10)
        log.checkpoint()
        said.append(log.outcomes())

    assert [{"L2": "missing", "R2": "unknown"}] * 2 == said


def test_near_a_lost_range_order_is_not_judged() -> None:
    """With a partner that nobody can read any more a pair might stand elsewhere."""
    log = Log(order_apart=True)
    log.legacy(o(0, "a=1"), o(1, "b=1"))
    log.rebuilt(o(0, "b=1"), o(1, "a=1"))

    assert {"L0": ["out_of_order"]} == findings(log)
    log.checkpoint()
    log.edge(Edge(source(LEGACY), 2, 9, 1_000, 1_010, "retention"))

    assert {"L0": "resolved"} == log.outcomes()


# -- late --------------------------------------------------------------------------------------------------------------


def test_late_is_a_matter_of_timestamps() -> None:
    """A pair whose timestamps are too far apart is a mismatch, however early it was read."""
    log = Log(late_ms=500)
    log.legacy(entry(0, "a=1", timestamp=1_000), entry(1, "b=1", timestamp=1_000))
    log.rebuilt(entry(0, "a=1", timestamp=1_501), entry(1, "b=1", timestamp=1_500))

    assert {"L0": ["late"]} == findings(log)
    assert "501 ms" in log.history[-1].findings[0].note


def test_late_beside_another_finding() -> None:
    """A pair may be wrong and late."""
    log = Log(late_ms=500, unique=True)
    log.legacy(entry(0, "a=1", timestamp=1_000))
    log.rebuilt(entry(0, "a=2", timestamp=9_000))

    assert {"L0": ["wrong_value", "late"]} == findings(log)


def test_clocks_of_different_kinds_are_not_compared() -> None:
    """A producer's time and a broker's time say nothing about each other."""
    log = Log(late_ms=500)
    log.legacy(entry(0, "a=1", timestamp=1_000), entry(1, "b=1", timestamp=-1))
    log.rebuilt(entry(0, "a=1", timestamp=9_000, appended=True), entry(1, "b=1", timestamp=9_000))

    assert {} == log.outcomes()


def test_late_after_having_been_missing() -> None:
    """A partner that comes after the close revises the verdict: what is left is that it is late."""
    log = Log(late_ms=500)
    log.legacy(entry(0, "a=1", timestamp=1_000))
    log.pass_time(8)

    assert {"L0": "missing"} == log.outcomes()

    log.rebuilt(entry(0, "a=1", timestamp=9_000))

    assert {"L0": ["late"]} == findings(log)


def test_late_near_a_lost_range_is_indeterminate() -> None:
    """Also when the range becomes known long after the verdict, whose messages nobody keeps."""
    log = Log(late_ms=500)
    log.legacy(entry(0, "a=1", timestamp=1_000))
    log.rebuilt(entry(0, "a=1", timestamp=9_000))
    log.checkpoint()
    log.crash()
    log.edge(Edge(source(REBUILT), 1, 2, 900, 1_100, "retention"))

    assert {"L0": "indeterminate"} == log.outcomes()


# -- a mirror that is not proven ---------------------------------------------------------------------------------------


def unproven(log: Log, seconds: int) -> None:
    """The rebuilt side beats as ever; the legacy side vouches for what the copy held, without proof."""
    last: dict[int, int | None] = {LEGACY: None, REBUILT: None}
    for _ in range(seconds):
        last[LEGACY] = log.barrier(LEGACY, last[LEGACY], 1_000, proven=False)
        last[REBUILT] = log.barrier(REBUILT, last[REBUILT])


def test_an_actual_is_not_unknown_while_the_mirror_is_not_proven() -> None:
    """It is indeterminate once its grace has passed, and says why."""
    log = Log()
    log.rebuilt(entry(0, "a=1"))
    unproven(log, 4)

    assert {} == log.outcomes()

    unproven(log, 4)

    assert {"R0": "indeterminate"} == log.outcomes()
    assert UNPROVEN_NOTE == log.history[-1].findings[0].note
    assert [] == log.judge.balance()


def test_the_proof_decides_when_it_comes() -> None:
    """What is still alone then is unknown; what has found its partner is resolved."""
    log = Log()
    log.rebuilt(entry(0, "a=1"), entry(1, "b=1"))
    unproven(log, 8)
    log.checkpoint()
    log.crash()
    log.legacy(entry(0, "a=1"))

    assert {"R0": "resolved", "R1": "indeterminate"} == log.outcomes()

    log.pass_time(8)

    assert {"R0": "resolved", "R1": "unknown"} == log.outcomes()


def test_without_proof_nothing_else_changes() -> None:
    """Missing is about the rebuilt side, which is not a copy."""
    log = Log()
    log.legacy(entry(0, "a=1"))
    unproven(log, 8)

    assert {"L0": "missing"} == log.outcomes()


def test_an_unproven_close_makes_no_partner() -> None:
    """A legacy record that the mirror still holds back may be the partner: no mismatch with another one."""
    log = Log()
    log.legacy(entry(0, "a=1"))
    log.rebuilt(entry(0, "a=2"))
    unproven(log, 8)

    assert {"R0": "indeterminate"} == log.outcomes()

    log.legacy(entry(1, "a=2"))
    log.pass_time(8)

    assert {"L0": "missing", "R0": "resolved"} == log.outcomes()


def test_records_that_arrive_while_unproven_have_their_own_grace() -> None:
    """Each is given up when its own time has come, in memory or on disk."""
    log = Log()
    log.rebuilt(entry(0, "a=1"))
    unproven(log, 3)
    log.rebuilt(entry(1, "b=1"))
    log.checkpoint()
    unproven(log, 4)

    assert {"R0": "indeterminate"} == log.outcomes()

    unproven(log, 3)

    assert {"R0": "indeterminate", "R1": "indeterminate"} == log.outcomes()
    assert GRACE_MS < log.judge.books.frontiers[LEGACY].claimed
