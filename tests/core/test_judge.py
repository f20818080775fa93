"""The judge on tiny literal logs. `a=1` is the message `1` with the match key `a`."""

import pytest

from cutover_app.core.frames import LEGACY, REBUILT, UNDECODABLE, UNKEYED, Edge, Entry, FrameError, Records
from cutover_app.core.judge import Judge
from cutover_app.core.limits import TURN_KEYS
from cutover_app.core.memory import MemoryStore
from cutover_app.core.state import PENDING
from cutover_app.core.verdicts import Finding, decode_verdict, encode_verdict
from tests.core.history import REMEMBER_MS, RULES, Log, entry, letters_apart, passed, source


def test_a_pair_that_agrees_is_not_published() -> None:
    """Matches are silent unless the contract asks for them."""
    log = Log()
    log.legacy(entry(0, "a=1"))
    log.rebuilt(entry(0, "a=1"))
    log.pass_time(10)

    assert {} == log.outcomes()
    assert [] == log.judge.balance()


def test_matches_are_published_when_asked_for() -> None:
    """With `verdicts.matches` every pair has its verdict."""
    log = Log(matches=True)
    log.legacy(entry(0, "a=1"))
    log.rebuilt(entry(0, "a=1"))

    assert {"L0": "match"} == log.outcomes()


def test_missing_is_said_after_grace_and_not_before() -> None:
    """An expected message without partner is missing once the rebuilt side is complete beyond its grace."""
    log = Log()
    log.legacy(entry(0, "a=1"))
    log.pass_time(4)

    assert {} == log.outcomes()

    log.pass_time(3)

    assert {"L0": "missing"} == log.outcomes()
    assert [] == log.judge.balance()


def test_a_barrier_that_closes_a_backlog_lets_others_have_their_turn() -> None:
    """It yields after every so many keys; taken at one go or in pieces, the log gives the same verdicts."""
    log = Log()
    log.legacy(*(entry(number, f"{number}=1") for number in range(3 * TURN_KEYS)))
    log.rebuilt(*(entry(number, f"{number}=2") for number in range(2 * TURN_KEYS)))
    log.pass_time(7)
    judge = Judge(log.terms, 0, MemoryStore())
    pieces = [sum(1 for _ in judge.applying(at, now, frame)) for at, (now, frame) in enumerate(log.frames)]

    assert 6 == max(pieces)  # three turns to close, three to decide
    assert log.settle() == judge.take_verdicts()
    assert {"mismatch", "missing"} == set(log.outcomes().values())


def test_time_alone_closes_nothing() -> None:
    """Barriers that vouch for nothing close nothing, however long they come."""
    log = Log()
    log.legacy(entry(0, "a=1"))
    for _ in range(100):
        log.barrier(REBUILT, None, 1_000)
        log.barrier(LEGACY, None, 0)

    assert {} == log.outcomes()
    assert 1 == log.judge.books.pending(LEGACY)


def test_only_the_other_sides_frontier_closes() -> None:
    """An expected message is not missing because the legacy side is complete."""
    log = Log()
    log.legacy(entry(0, "a=1"))
    last = None
    for _ in range(20):
        last = log.barrier(LEGACY, last, 1_000)

    assert {} == log.outcomes()


def test_unknown() -> None:
    """A published message that nothing accounts for is unknown."""
    log = Log()
    log.rebuilt(entry(0, "a=1"))
    log.pass_time(10)

    assert {"R0": "unknown"} == log.outcomes()


def test_a_wrong_value_is_a_mismatch_under_the_legacy_record() -> None:
    """An unequal pair is one verdict with both positions, its findings, and the delay."""
    log = Log()
    log.legacy(entry(0, "a=11"))
    log.rebuilt(entry(5, "a=12"))
    log.pass_time(10)
    log.settle()
    (verdict,) = log.verdicts.values()

    assert "mismatch" == verdict.outcome
    assert ["$[1]"] == [finding.path for finding in verdict.findings]
    assert (0, 5, 5) == (verdict.legacy.offset, verdict.rebuilt.offset, verdict.delay_ms)  # type: ignore[union-attr]


def test_a_unique_key_is_judged_at_once() -> None:
    """With unique match keys nobody waits for a better partner."""
    log = Log(unique=True)
    log.legacy(entry(0, "a=11"))
    log.rebuilt(entry(5, "a=12"))

    assert {"L0": "mismatch"} == log.outcomes()


def test_a_pair_that_differs_is_compared_once() -> None:
    """To close it changes nothing, and reads nothing; what comes after all is judged all the same."""
    compared = []

    def differ(expected: Entry, actual: Entry) -> tuple[Finding, ...]:
        compared.append((expected.offset, actual.offset))
        return letters_apart(expected, actual)

    log = Log(unique=True, diff=differ)
    log.legacy(entry(0, "a=11"))
    log.rebuilt(entry(0, "a=12"))

    assert {"L0": "mismatch"} == log.outcomes()

    log.pass_time(10)

    assert {"L0": "mismatch"} == log.outcomes()
    assert [(0, 0)] == compared
    assert [] == log.judge.balance()

    log.rebuilt(entry(1, "a=11"))
    log.pass_time(10)

    assert {"L0": "resolved", "R0": "unknown"} == log.outcomes()


def test_a_better_partner_dissolves_a_pair() -> None:
    """When an equal message turns up the mismatch is resolved, and the former partner is judged for itself."""
    log = Log(unique=True)
    log.legacy(entry(0, "a=11"))
    log.rebuilt(entry(0, "a=12"))
    log.settle()
    log.rebuilt(entry(1, "a=11"))
    log.settle()
    log.pass_time(10)

    assert {"L0": "resolved", "R0": "unknown"} == log.outcomes()
    assert [] == log.judge.balance()


def test_what_arrives_late_revises_the_verdict() -> None:
    """Missing becomes resolved under the same id, with a higher revision."""
    log = Log()
    log.legacy(entry(0, "a=1"))
    log.pass_time(10)
    log.rebuilt(entry(0, "a=1"))
    log.settle()

    assert [("missing", 1), ("resolved", 2)] == [(v.outcome, v.rev) for v in log.history]
    assert 1 == len({v.id for v in log.history})
    assert [] == log.judge.balance()


def test_a_late_wrong_value_is_a_mismatch() -> None:
    """A partner that arrives after the close is compared all the same."""
    log = Log()
    log.legacy(entry(0, "a=1"))
    log.pass_time(10)
    log.rebuilt(entry(0, "a=2"))
    log.pass_time(10)

    assert {"L0": "mismatch"} == log.outcomes()


def test_an_unknown_that_finds_its_partner_is_resolved_and_names_the_pair() -> None:
    """The rebuilt record's own verdict ends, whatever the outcome of the pair is."""
    log = Log()
    log.rebuilt(entry(0, "a=2"))
    log.pass_time(10)
    log.settle()
    (unknown,) = log.history
    log.legacy(entry(0, "a=1"))
    log.pass_time(10)
    log.settle()
    newest = log.verdicts[unknown.id]
    pair = next(v for v in log.verdicts.values() if v.id != unknown.id)

    assert ("resolved", pair.id) == (newest.outcome, newest.pair)
    assert "mismatch" == pair.outcome


def test_duplicate() -> None:
    """The same content at a new offset is another publication."""
    log = Log()
    log.legacy(entry(0, "a=1"))
    log.rebuilt(entry(0, "a=1"), entry(1, "a=1"))
    log.pass_time(10)

    assert {"R1": "duplicate"} == log.outcomes()


def test_redelivery_is_not_duplication() -> None:
    """What stands at or below the mark of its source is dropped and counted, nothing else."""
    log = Log()
    log.legacy(entry(0, "a=1"), entry(1, "b=1"))
    log.legacy(entry(0, "a=1"), entry(1, "b=1"), sender="zombie")
    log.rebuilt(entry(0, "a=1"))
    log.rebuilt(entry(0, "a=1"), entry(1, "b=1"))
    log.sent[LEGACY] -= 2
    log.pass_time(10)

    assert {} == log.outcomes()
    assert (2, 1) == tuple(ledger.redelivered for ledger in log.judge.books.ledgers)
    assert [] == log.judge.balance()


def test_marks_know_the_index() -> None:
    """A frame that was cut inside a record's outputs is continued, not taken for redelivery."""
    log = Log()
    log.legacy(entry(0, "a=1"))
    log.legacy(entry(0, "b=1", index=1), entry(0, "c=1", index=2))

    assert 3 == log.judge.books.ledgers[LEGACY].accepted


def test_marks_are_kept_per_source_partition() -> None:
    """The same offset of another partition is another record."""
    log = Log()
    log.legacy(entry(7, "a=1"))
    log.legacy(entry(3, "b=1"), partition=1)

    assert 2 == log.judge.books.ledgers[LEGACY].accepted


def test_an_unreadable_record_is_a_verdict_at_once() -> None:
    """It names side, position and reason, and is part of the books."""
    log = Log()
    log.rebuilt(entry(4, "", kind=UNDECODABLE, payload=b"not JSON"))
    log.settle()
    (verdict,) = log.history

    assert "undecodable" == verdict.outcome
    assert ("undecodable", "not JSON") == (verdict.findings[0].kind, verdict.findings[0].note)
    assert 4 == verdict.rebuilt.offset  # type: ignore[union-attr]
    log.pass_time(2)
    assert [] == log.judge.balance()


def test_an_unreadable_record_explains_a_lonely_partner() -> None:
    """What is missing lists the unreadable records of the other side near it."""
    log = Log()
    log.legacy(entry(0, "a=1"))
    log.rebuilt(entry(4, "", kind=UNKEYED, payload=b"no order_id"), entry(9, "", kind=UNKEYED, timestamp=99_000))
    log.pass_time(10)
    log.settle()
    missing = next(v for v in log.verdicts.values() if v.outcome == "missing")

    assert [4] == [position.offset for position in missing.undecodable]


def test_away_from_home_an_unreadable_record_is_only_a_notice() -> None:
    """Every intake partition hears of it, one counts it."""
    log = Log(partitions=2)
    log.rebuilt(entry(4, "", kind=UNDECODABLE), partition=1)
    log.settle()

    assert [] == log.history
    assert (0, 1) == (log.judge.books.ledgers[REBUILT].accepted, log.judge.books.ledgers[REBUILT].notices)


def test_a_crash_changes_nothing() -> None:
    """A judge that starts from the last checkpoint and reads the log again ends where the first one did."""
    log = Log()
    log.legacy(entry(0, "a=1"), entry(1, "b=1"), entry(2, "c=1"))
    log.rebuilt(entry(0, "a=1"))
    log.checkpoint()
    log.rebuilt(entry(1, "b=2"))
    log.pass_time(10)
    log.crash()
    log.pass_time(1)

    assert {"L1": "mismatch", "L2": "missing"} == log.outcomes()
    assert [] == log.judge.balance()
    assert [0, 0] == [log.judge.books.pending(side) for side in (LEGACY, REBUILT)]


def test_a_pair_that_meets_within_a_checkpoint_costs_one_row() -> None:
    """Its payloads are never written."""
    log = Log()
    log.legacy(entry(0, "a=1"))
    log.rebuilt(entry(0, "a=1"))
    changes = log.checkpoint()

    assert {} == changes["pending"]
    assert [b"a"] == [key for key in changes["settled"] if not key.startswith(b"\x00")]


def test_pending_records_keep_their_payload_across_checkpoints() -> None:
    """A partner that comes after the payload left memory is compared with it."""
    log = Log()
    log.legacy(entry(0, "a=11"), entry(1, "b=1"))
    log.checkpoint()
    log.rebuilt(entry(0, "a=12"), entry(1, "b=1"))
    log.checkpoint()
    log.pass_time(10)
    log.checkpoint()

    assert {"L0": "mismatch"} == log.outcomes()
    assert 2 == len(log.store.scan("pending", b"", 100))


def test_one_that_lost_its_equal_partner_gets_its_payload_back() -> None:
    """An equal message that comes earlier in order takes the partner; the one that is left is compared with another."""
    log = Log()
    log.legacy(entry(5, "a=11"), partition=1)
    log.rebuilt(entry(0, "a=11"))
    log.checkpoint()
    log.legacy(entry(0, "a=11"))
    log.rebuilt(entry(1, "a=12"))
    log.checkpoint()
    log.pass_time(10)
    log.settle()
    (verdict,) = log.verdicts.values()

    assert ("mismatch", 5, 1) == (verdict.outcome, verdict.legacy.offset, verdict.rebuilt.offset)  # type: ignore[union-attr]
    assert [] == log.judge.balance()


def test_keys_are_forgotten_after_remember() -> None:
    """Once both frontiers have passed the last record by `remember`, a late copy is unknown, not a duplicate."""
    log = Log()
    forgotten: list[bytes] = []
    log.judge.tell_forgotten(forgotten.append)
    log.legacy(entry(0, "a=1"))
    log.rebuilt(entry(0, "a=1"))
    log.checkpoint()
    log.pass_time(30)
    log.rebuilt(entry(1, "a=1"))
    log.pass_time(10)

    assert [b"a"] == forgotten
    assert {"R1": "unknown"} == log.outcomes()
    assert [] == log.judge.balance()


def test_forgetting_does_not_depend_on_when_rows_are_deleted() -> None:
    """A key whose time has passed is forgotten although no checkpoint has queued its row for deletion."""
    log = Log()
    log.legacy(entry(0, "a=1"))
    log.rebuilt(entry(0, "a=1"))
    log.pass_time(30)
    log.rebuilt(entry(1, "a=1"))
    log.pass_time(10)

    assert {"R1": "unknown"} == log.outcomes()


def test_a_remembered_copy_is_a_duplicate() -> None:
    """Before that it is recognised."""
    log = Log()
    log.legacy(entry(0, "a=1"))
    log.rebuilt(entry(0, "a=1"))
    log.pass_time(12)
    log.rebuilt(entry(1, "a=1"))
    log.pass_time(10)

    assert {"R1": "duplicate"} == log.outcomes()


def test_problems_are_remembered_longer() -> None:
    """An unresolved problem can still be resolved after `remember`, and is forgotten after its own time."""
    log = Log()
    log.legacy(entry(0, "a=1"), entry(1, "b=1"))
    log.checkpoint()
    log.pass_time(40)
    log.rebuilt(entry(0, "a=1"))
    log.settle()

    assert {"L0": "resolved", "L1": "missing"} == log.outcomes()

    log.checkpoint()
    log.pass_time(70)
    log.checkpoint()
    log.pass_time(70)
    log.checkpoint()

    assert {} == {key: row for key, row in log.store.scan("settled", b"", 100) if not key.startswith(b"\x00")}
    assert [] == log.store.scan("pending", b"", 1)
    assert [] == log.judge.balance()


@pytest.mark.parametrize("seconds", [1, 5, 20])
def test_forgetting_keeps_up_with_checkpoints_however_seldom_barriers_come(seconds: int) -> None:
    """A checkpoint makes a bucket every two seconds; a barrier deletes as many as were made since the last one."""
    log = Log(interval_ms=seconds * 1000, grace_ms=4000, remember_ms=REMEMBER_MS)
    last: dict[int, int | None] = {LEGACY: None, REBUILT: None}
    kept = []
    for second in range(400):
        log.now += 1000
        log.legacy(entry(second, f"k{second}=1"))
        log.rebuilt(entry(second, f"k{second}=1"))
        if second % seconds == 0:
            for side in (LEGACY, REBUILT):
                last[side] = log.barrier(side, last[side])
        if second % 2:
            log.checkpoint()
            kept.append(log.judge.books.keys)

    assert max(kept) < REMEMBER_MS // 1000 + 5 * seconds + 10


def test_nothing_pending_is_forgotten() -> None:
    """A record that is not judged yet stays, however long it takes."""
    log = Log(grace_ms=100_000, remember_ms=100_000)
    log.legacy(entry(0, "a=1"))
    log.checkpoint()
    log.pass_time(90)

    assert 1 == log.judge.books.ledgers[LEGACY].tallies[PENDING]


def test_near_an_edge_of_the_other_side_nothing_is_missing() -> None:
    """What may have been in a lost range is indeterminate; what lies elsewhere is not."""
    log = Log(edge_ms=10)
    log.legacy(entry(0, "a=1", timestamp=5_000), entry(1, "b=1", timestamp=5_011))
    log.edge(Edge(source(REBUILT), 0, 100, 4_000, 5_000, "start"))
    log.pass_time(10)

    assert {"L0": "indeterminate", "L1": "missing"} == log.outcomes()
    assert [] == log.judge.balance()


def test_an_edge_that_becomes_known_late_revises() -> None:
    """Problems found before are judged again when a lost range is reported."""
    log = Log()
    log.legacy(entry(0, "a=1", timestamp=5_000))
    log.pass_time(10)
    log.checkpoint()
    log.edge(Edge(source(REBUILT), 0, 100, 4_000, 5_000, "retention"))
    log.settle()

    assert ["missing", "indeterminate"] == [v.outcome for v in log.history]


def test_an_edge_of_its_own_side_excuses_nothing() -> None:
    """A lost range of the legacy topic does not make a legacy record's missing partner indeterminate."""
    log = Log()
    log.legacy(entry(0, "a=1", timestamp=5_000))
    log.edge(Edge(source(LEGACY), 0, 100, 4_000, 6_000, "start"))
    log.pass_time(10)

    assert {"L0": "missing"} == log.outcomes()


def test_an_unequal_pair_near_an_edge_is_indeterminate_and_a_duplicate_stays_one() -> None:
    """Its true partner may have been lost; that there are two copies is certain."""
    log = Log()
    log.legacy(entry(0, "a=11", timestamp=5_000), entry(1, "b=1", timestamp=5_000))
    log.rebuilt(entry(0, "a=12"), entry(1, "b=1"), entry(2, "b=1"))
    log.edge(Edge(source(REBUILT), 0, 100, 4_000, 6_000, "start"))
    log.pass_time(10)

    assert {"L0": "indeterminate", "R2": "duplicate"} == log.outcomes()
    assert [] == log.judge.balance()


def test_a_hole_in_the_log_is_noticed() -> None:
    """A sender says how many entries it sent; a difference is an imbalance."""
    log = Log()
    log.legacy(entry(0, "a=1"))
    log.barrier(LEGACY, sent=2)

    assert 1 == len(log.judge.balance())
    assert "put 2 entries" in log.judge.balance()[0]


def test_a_sender_accounts_for_every_offset() -> None:
    """Offsets passed are records, filtered or gaps; anything else is an imbalance."""
    log = Log()
    log.barrier(LEGACY, passed=[passed(LEGACY, 0, 10, 7, 2, 1)])

    assert [] == log.judge.balance()

    log.barrier(LEGACY, passed=[passed(LEGACY, 10, 20, 7, 2, 0)])

    assert 1 == len(log.judge.balance())


def test_other_rules_stop_the_judge() -> None:
    """A record made under another contract is not judged under this one."""
    log = Log()
    with pytest.raises(FrameError, match="a changed contract is a new run"):
        log.append(Records("sha256:other", "l", source(LEGACY), [entry(0, "a=1")]))


def test_state_of_other_rules_stops_the_judge() -> None:
    """Nor does a judge start from another contract's state."""
    log = Log()
    log.checkpoint()
    with pytest.raises(FrameError, match="a changed contract is a new run"):
        Judge(Log(rules="sha256:new").terms, 0, log.store)


def test_the_log_is_applied_in_order() -> None:
    """An offset that was applied before is refused: replaying it would count twice."""
    log = Log()
    log.legacy(entry(0, "a=1"))
    with pytest.raises(ValueError, match="after 0"):
        log.judge.apply(0, 0, Records(RULES, "l", source(LEGACY), []))


def test_families_count_what_is_open() -> None:
    """A family knows how many verdicts ever had its finding, and how many have it now."""
    log = Log()
    log.legacy(entry(0, "a=1"), entry(1, "b=1"))
    log.pass_time(10)
    log.rebuilt(entry(0, "a=1"))
    log.checkpoint()
    log.crash()
    (family,) = log.judge._rows.families()

    assert ("missing", 2, 1) == (family.kind, family.total, family.open)


def test_a_verdict_says_once_what_it_says() -> None:
    """Deciding a key again without news publishes nothing."""
    log = Log(unique=True)
    log.legacy(entry(0, "a=11"))
    log.rebuilt(entry(0, "a=12"))
    log.settle()
    log.pass_time(10)
    log.settle()

    assert 1 == len(log.history)


def test_verdicts_survive_their_encoding() -> None:
    """What is read is what was written."""
    log = Log(diff=letters_apart, unique=True)
    log.legacy(entry(0, "a=11"))
    log.rebuilt(entry(0, "a=12"))
    log.settle()
    (verdict,) = log.history

    assert verdict == decode_verdict(encode_verdict(verdict))
    assert encode_verdict(verdict).startswith(b'{"v":1,"id":"')


def test_an_operator_sees_where_a_judge_is() -> None:
    """Its repr says partition, position and what is pending."""
    log = Log()
    log.legacy(entry(0, "a=1"))

    assert "<Judge of intake 0 at 0, 1 legacy + 0 rebuilt pending>" == repr(log.judge)
