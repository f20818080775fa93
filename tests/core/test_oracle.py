"""The oracle, by hand: small literal logs, each with what the rules say about it."""

import pytest

from cutover_app.core.frames import (
    LEGACY,
    MESSAGE,
    REBUILT,
    UNDECODABLE,
    Barrier,
    Edge,
    Entry,
    Records,
    Source,
)
from cutover_app.core.limits import CLOSEST_MAX
from cutover_app.core.verdicts import Finding, Position, Verdict
from cutover_app.lab.oracle import Terms, accepted_from, compact, differences, oracle

L0, L1 = (Source(LEGACY, "l", "i", number) for number in (0, 1))
R0, R1 = (Source(REBUILT, "r", "i", number) for number in (0, 1))


def diff(expected, actual):
    """One finding per letter that differs."""
    letters = zip(expected.payload.decode(), actual.payload.decode(), strict=True)
    return tuple(Finding("wrong_value", f"$.{n}", a, b) for n, (a, b) in enumerate(letters) if a != b)


TERMS = Terms("c", unique=False, edge_ms=10, diff=diff)


def entry(offset, payload, *, key="k", index=0, raw="", timestamp=1000, kind=MESSAGE):
    """Return an entry whose digest is its payload."""
    data = payload.encode()
    return Entry(offset, index, timestamp, kind, key.encode(), data, (raw or f"{offset}").encode(), data, b"")


def judge(legacy, rebuilt, edges=()):
    """Return (side, partition, offset, outcome, number of findings) of everything that is wrong."""
    said = oracle(legacy, rebuilt, edges, TERMS)
    places = [(truth.legacy or truth.rebuilt, truth) for truth in said.values()]
    return sorted(
        (place.source.side, place.source.partition, place.offset, truth.outcome, len(truth.findings))
        for place, truth in places
    )


def test_equal_pair():
    """An equal pair is nothing to speak of, whatever its key's other side order."""
    assert [] == judge([(L0, entry(1, "aa"))], [(R0, entry(9, "aa"))])


def test_mismatch():
    """An unequal pair is a mismatch, anchored at the legacy record, with the findings of the comparison."""
    assert [(LEGACY, 0, 1, "mismatch", 2)] == judge([(L0, entry(1, "aa"))], [(R0, entry(9, "bb"))])


def test_missing_and_unknown():
    """Records of different keys are never partners."""
    said = judge([(L0, entry(1, "aa", key="x"))], [(R0, entry(9, "aa", key="y"))])

    assert [(LEGACY, 0, 1, "missing", 1), (REBUILT, 0, 9, "unknown", 1)] == said


def test_equal_digests_in_order():
    """Of equal digests the first belong together, so the last is alone, whatever came in first."""
    legacy = [(L1, entry(0, "aa")), (L0, entry(7, "aa"))]

    assert [(LEGACY, 1, 0, "missing", 1)] == judge(legacy, [(R0, entry(3, "aa"))])


def test_closest_first():
    """Unequal records are paired by the fewest differences, not by order."""
    legacy = [(L0, entry(1, "aaaa")), (L0, entry(2, "bbbb"))]
    rebuilt = [(R0, entry(1, "bbbx")), (R0, entry(2, "aaax"))]

    assert [(LEGACY, 0, 1, "mismatch", 2), (LEGACY, 0, 2, "mismatch", 1)] == judge(legacy, rebuilt)


def test_too_many_to_compare():
    """Above the limit leftovers are paired by order."""
    count = CLOSEST_MAX // 2 + 1
    letters = [chr(ord("a") + number) for number in range(count)]
    legacy = [(L0, entry(n, each + "1")) for n, each in enumerate(letters)]
    rebuilt = [(R0, entry(n, each + "2")) for n, each in enumerate(reversed(letters))]

    said = judge(legacy, rebuilt)

    middle = count // 2
    assert [2 if n != middle else 1 for n in range(count)] == [each[4] for each in said]


def test_published_again():
    """A second copy of a paired message is a duplicate, and is not taken for another message's wrong value."""
    legacy = [(L0, entry(1, "aa")), (L0, entry(2, "bb"))]
    rebuilt = [(R0, entry(1, "aa")), (R0, entry(2, "aa"))]

    assert [(LEGACY, 0, 2, "missing", 1), (REBUILT, 0, 2, "duplicate", 1)] == judge(legacy, rebuilt)


def test_sent_again_by_the_transport():
    """A legacy record that is another's bytes again is a duplicate, its partner being taken."""
    legacy = [(L0, entry(1, "aa", raw="same")), (L0, entry(5, "aa", raw="same"))]

    assert [(LEGACY, 0, 5, "duplicate", 1)] == judge(legacy, [(R0, entry(1, "aa"))])


def test_same_bytes_other_index():
    """Two messages of one legacy record share its bytes and are no copies of each other."""
    legacy = [(L0, entry(1, "aa", raw="same")), (L0, entry(1, "aa", index=1, raw="same"))]

    assert [(LEGACY, 0, 1, "missing", 1)] == judge(legacy, [(R0, entry(1, "aa"))])


@pytest.mark.parametrize(("timestamp", "outcome"), [(989, "missing"), (990, "indeterminate"), (1030, "indeterminate")])
def test_lonely_near_an_edge(timestamp, outcome):
    """A record without partner near a lost range of the other side is indeterminate, just outside it is not."""
    edge = Edge(R0, 0, 5, 1000, 1020, "retention")

    said = judge([(L0, entry(1, "aa", timestamp=timestamp))], [], [edge])

    assert [(LEGACY, 0, 1, outcome, 1)] == said


def test_edge_of_the_own_side():
    """A lost range of a record's own side explains nothing about it."""
    said = judge([(L0, entry(1, "aa"))], [], [Edge(L0, 0, 1, 0, 2000, "start")])

    assert [(LEGACY, 0, 1, "missing", 1)] == said


def test_unequal_pair_of_a_key_near_an_edge():
    """An unequal pair is indeterminate if any record of its key is near a lost range of the other side."""
    legacy = [(L0, entry(1, "aa", timestamp=5000)), (L0, entry(2, "cc"))]
    rebuilt = [(R0, entry(1, "ab", timestamp=5000)), (R0, entry(2, "cc"))]

    said = judge(legacy, rebuilt, [Edge(R0, 0, 1, 1000, 1000, "retention")])

    assert [(LEGACY, 0, 1, "indeterminate", 1)] == said


def test_duplicate_near_an_edge():
    """A duplicate stays a duplicate: both copies were seen."""
    rebuilt = [(R0, entry(1, "aa")), (R1, entry(2, "aa"))]

    said = judge([(L0, entry(1, "aa"))], rebuilt, [Edge(L0, 5, 9, 1000, 1000, "retention")])

    assert [(REBUILT, 1, 2, "duplicate", 1)] == said


def test_rejected():
    """A record without a message in it is a verdict of its own, and nobody's partner."""
    said = oracle([(L0, entry(1, "cut off", key="", kind=UNDECODABLE))], [], [], TERMS)

    (truth,) = said.values()
    assert ("undecodable", (Finding("undecodable", note="cut off"),)) == (truth.outcome, truth.findings)


def records(source, *entries):
    """Return a frame."""
    return Records("rules", "s", source, list(entries))


def test_redelivery_is_not_accepted():
    """What is at or below the mark of its source is dropped; another index, or another source, is not."""
    log = [
        records(L0, entry(3, "aa"), entry(3, "ab", index=1)),
        records(L0, entry(2, "zz"), entry(3, "ab", index=1), entry(4, "ac")),
        records(L1, entry(3, "ad")),
    ]

    accepted = accepted_from(enumerate(log), 0, 1)

    assert [b"aa", b"ab", b"ac", b"ad"] == [each.payload for _, each in accepted.legacy]
    assert 2 == accepted.redelivered


def test_rejected_at_home_only():
    """A rejected record is in every intake partition and accepted in the one that its source partition names."""
    log = [records(R1, entry(0, "cut off", key="", kind=UNDECODABLE))]

    at_home = [len(accepted_from(enumerate(log), number, 2).rebuilt) for number in (0, 1)]

    assert [0, 1] == at_home


def test_edges_come_from_barriers():
    """An edge that is told twice is one edge."""
    edge = Edge(L0, 0, 4, 0, 10, "start")
    barrier = Barrier("rules", "s", LEGACY, "l", "i", 1, [], 0, [], [edge])

    assert [edge] == accepted_from(enumerate([barrier, barrier]), 0, 1).edges


def verdict(truth_id, outcome, offset, *, at=1, findings=()):
    """Return a verdict about a legacy record."""
    return Verdict(
        truth_id,
        1,
        (0, at),
        "r1",
        "c",
        "rules",
        outcome,
        ["k"],
        findings,
        legacy=Position("l", 0, offset, 1000, 0, "i"),
    )


def compared(*verdicts, without_keys=()):
    """Hold verdicts against one record that is missing."""
    truth = oracle([(L0, entry(1, "aa"))], [], [], TERMS)
    return differences(compact(verdicts), truth, shown_key=lambda key: [key.decode()], without_keys=without_keys)


def missing_id():
    """Return the id of the verdict that is due."""
    return next(iter(oracle([(L0, entry(1, "aa"))], [], [], TERMS)))


def test_agreement():
    """The newest revision counts; what is fine is left out."""
    right = verdict(missing_id(), "missing", 1, at=9, findings=(Finding("missing"),))

    assert [] == compared(right, verdict(missing_id(), "duplicate", 1, at=3), verdict("x", "match", 2))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([], "said nothing, should be missing"),
        ([("missing", 1, ())], "found {}, should be"),
        ([("duplicate", 1, (Finding("missing"),))], "said duplicate, should be missing"),
        ([("resolved", 1, ())], "said resolved, should be missing"),
        ([("missing", 8, (Finding("missing"),))], "the legacy record is said to be"),
    ],
)
def test_disagreement(said, expected):
    """A verdict that is absent, other, about other findings or about another place is a difference, in one line."""
    (line,) = compared(*(verdict(missing_id(), outcome, at, findings=found) for outcome, at, found in said))

    assert expected in line


def test_false_alarm_is_a_difference():
    """A verdict about which the oracle has nothing to say is a difference."""
    right = verdict(missing_id(), "missing", 1, findings=(Finding("missing"),))

    (line,) = compared(right, verdict("x", "mismatch", 2))

    assert "said mismatch, nothing is wrong with it" in line


def test_forgotten_keys_are_left_out():
    """Verdicts and truths about a key that is left out are no differences."""
    assert [] == compared(without_keys={b"k"})
