"""Truth tables of pairing (R6). E1 stands for the first expected record in order, A1 for the first actual."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover_app.core.frames import SEALED_BESIDE
from cutover_app.core.limits import CLOSEST_MAX
from cutover_app.core.pairing import Pairing, leftovers, pair
from cutover_app.core.state import OPEN, Rec, position_of


def rec(offset: int, digest: str, *, closed_at: int = 9, at: int | None = None, raw: str = "", index: int = 0) -> Rec:
    """A record; closed unless told otherwise."""
    place = position_of(offset if at is None else at, 1)
    raw_bytes = (raw or f"raw{offset}").encode()
    return Rec(0, offset, index, 0, place, 0, digest.encode(), raw_bytes, b"", closed_at)


def spread(expected: Rec, actual: Rec) -> int:
    """Distance between the numbers that two digests stand for."""
    return abs(int(expected.digest) - int(actual.digest))


def offsets(pairs: list[tuple[Rec, Rec]]) -> list[tuple[int, int]]:
    return [(e.offset, a.offset) for e, a in pairs]


def test_equal_digests_are_paired_in_order() -> None:
    """Equal messages pair first with first, second with second; who is left over comes last in order."""
    expected = [rec(1, "5"), rec(2, "5"), rec(3, "5")]
    actual = [rec(10, "5"), rec(11, "5")]

    pairing = pair(expected, actual, False, spread)

    assert [(1, 10), (2, 11)] == offsets(pairing.equal)
    assert [3] == [r.offset for r in pairing.expected]
    assert [] == pairing.actual


def test_equal_beats_order() -> None:
    """An equal partner wins over one that comes earlier."""
    pairing = pair([rec(1, "5"), rec(2, "6")], [rec(10, "6"), rec(11, "7")], False, spread)

    assert [(2, 10)] == offsets(pairing.equal)
    assert [(1, 11)] == offsets(pairing.unequal)


def test_the_closest_are_paired_first() -> None:
    """Among unequal records the closest find each other, whatever their order."""
    pairing = pair([rec(1, "10"), rec(2, "20")], [rec(10, "21"), rec(11, "12")], False, spread)

    assert [(2, 10), (1, 11)] == offsets(pairing.unequal)


def test_ties_go_by_order() -> None:
    """Where distances are equal, the order of expected decides, then that of actual."""
    pairing = pair([rec(1, "10"), rec(2, "10")], [rec(10, "11"), rec(11, "11")], False, spread)

    assert [(1, 10), (2, 11)] == offsets(pairing.unequal)


def test_too_many_leftovers_go_by_order_and_say_so() -> None:
    """Above the limit nobody looks for the closest: k-th with k-th."""
    half = CLOSEST_MAX // 2 + 1
    expected = [rec(i, str(1000 - i)) for i in range(half)]
    actual = [rec(100 + i, str(2000 + i)) for i in range(half)]

    pairing = pair(expected, actual, False, spread)

    assert pairing.by_order
    assert [(i, 100 + i) for i in range(half)] == offsets(pairing.unequal)


def test_at_the_limit_the_closest_are_still_found() -> None:
    """As many leftovers as the limit says are still paired closest first."""
    half = CLOSEST_MAX // 2
    expected = [rec(i, str(100 * i)) for i in range(half)]
    actual = [rec(1000 + i, str(100 * (half - 1 - i) + 1)) for i in range(half)]

    pairing = pair(expected, actual, False, spread)

    assert not pairing.by_order
    assert {(i, 1000 + half - 1 - i) for i in range(half)} == set(offsets(pairing.unequal))


def test_open_records_wait() -> None:
    """Unequal records are paired only once both are closed."""
    assert [] == pair([rec(1, "1", closed_at=OPEN)], [rec(10, "2")], False, spread).unequal
    assert [] == pair([rec(1, "1")], [rec(10, "2", closed_at=OPEN)], False, spread).unequal


def test_a_unique_key_does_not_wait() -> None:
    """Where a match key is unique, an unequal pair is judged at once."""
    pairing = pair([rec(1, "1", closed_at=OPEN)], [rec(10, "2", closed_at=OPEN)], True, spread)

    assert [(1, 10)] == offsets(pairing.unequal)


def test_a_repetition_is_no_partner() -> None:
    """A second copy of a paired actual is not offered to another expected message: that one is missing."""
    pairing = pair([rec(1, "5"), rec(2, "9")], [rec(10, "5"), rec(11, "5")], False, spread)

    assert [(1, 10)] == offsets(pairing.equal)
    assert [] == pairing.unequal
    assert [(2, "missing")] == [(r.offset, o) for r, o in leftovers(pairing, 0, [rec(1, "5"), rec(2, "9")])]
    assert [(11, "duplicate")] == [(r.offset, o) for r, o in leftovers(pairing, 1, [])]


def test_a_resent_legacy_record_is_no_partner() -> None:
    """A legacy record whose bytes were paired before is a duplicate of the transport, not a reason to blame anyone."""
    expected = [rec(1, "5", raw="same"), rec(2, "5", raw="same")]
    pairing = pair(expected, [rec(10, "5"), rec(11, "9")], False, spread)

    assert [(2, "duplicate")] == [(r.offset, o) for r, o in leftovers(pairing, 0, expected)]
    assert [(11, "unknown")] == [(r.offset, o) for r, o in leftovers(pairing, 1, [])]


def test_the_outputs_of_one_legacy_record_are_not_each_others_repetition() -> None:
    """Several expected messages of one legacy record share its bytes and differ in their index."""
    expected = [rec(1, "5", raw="same", at=1), rec(1, "5", raw="same", index=1, at=2)]
    pairing = pair(expected, [rec(10, "5")], False, spread)

    assert [(1, "missing")] == [(r.index, o) for r, o in leftovers(pairing, 0, expected)]


def test_the_first_of_two_resent_records_without_partner_is_missing() -> None:
    """Of two legacy records with the same bytes and no partner, the first is missing and the second its duplicate."""
    expected = [rec(1, "5", raw="same"), rec(2, "5", raw="same")]
    pairing = pair(expected, [], False, spread)

    assert [(1, "missing"), (2, "duplicate")] == [(r.offset, o) for r, o in leftovers(pairing, 0, expected)]


def test_an_open_record_that_came_before_the_close_postpones_judgement() -> None:
    """A record that might still become the partner, because it came in time, is waited for."""
    expected = [rec(1, "1", closed_at=5)]
    came_before = pair(expected, [rec(10, "2", closed_at=OPEN, at=4)], False, spread)
    came_after = pair(expected, [rec(10, "2", closed_at=OPEN, at=6)], False, spread)

    assert [None] == [o for _, o in leftovers(came_before, 0, expected)]
    assert ["missing"] == [o for _, o in leftovers(came_after, 0, expected)]


def test_a_duplicate_does_not_wait() -> None:
    """What is known to be a copy needs no partner, so it need not wait for one."""
    pairing = pair([rec(1, "5"), rec(2, "7", closed_at=OPEN, at=0)], [rec(10, "5"), rec(11, "5")], False, spread)

    assert [(11, "duplicate")] == [(r.offset, o) for r, o in leftovers(pairing, 1, [])]


def test_open_leftovers_are_not_judged() -> None:
    """Before its close nothing is said about a record without partner, not even that it is a duplicate."""
    pairing = pair([rec(1, "5")], [rec(10, "5"), rec(11, "5", closed_at=OPEN)], False, spread)

    assert [None] == [o for _, o in leftovers(pairing, 1, [])]


records = st.lists(st.integers(0, 4), max_size=6)


@given(records, records, st.booleans(), st.randoms())
def test_arrival_order_plays_no_part(expected: list[int], actual: list[int], unique: bool, random: object) -> None:
    """However the same records arrived, the same pairs and leftovers come out."""

    def shuffled(digests: list[int], base: int) -> list[Rec]:
        places = list(range(len(digests)))
        random.shuffle(places)  # type: ignore[attr-defined]
        return [
            rec(base + i, str(d), at=base + place) for i, (d, place) in enumerate(zip(digests, places, strict=True))
        ]

    def outcome(pairing: Pairing) -> object:
        left = [[r.offset for r in side] for side in (pairing.expected, pairing.actual)]
        return offsets(pairing.equal), sorted(offsets(pairing.unequal)), left

    first = pair(shuffled(expected, 0), shuffled(actual, 100), unique, spread)
    second = pair(shuffled(expected, 0), shuffled(actual, 100), unique, spread)

    assert outcome(first) == outcome(second)


def near(offset: int, value: int, *, closed_at: int = 9) -> Rec:
    """A record whose digest leaves out a value under a tolerance of 1."""
    record = rec(offset, "same", closed_at=closed_at)
    record.beside = str(value).encode()
    return record


def far_apart(expected: Rec, actual: Rec) -> int:
    """One difference where the values are more than 1 apart."""
    return int(abs(int(expected.beside) - int(actual.beside)) > 1)


def test_messages_that_overtook_each_other_are_found_by_what_a_tolerance_covers() -> None:
    """Two messages that differ only under a tolerance, in another order: each finds its own, nothing is wrong."""
    pairing = pair([near(1, 10), near(2, 20)], [near(10, 21), near(11, 11)], False, far_apart)

    assert {(1, 11), (2, 10)} == set(offsets(pairing.equal))
    assert [] == pairing.unequal


def test_as_many_as_can_be_are_paired_under_a_tolerance() -> None:
    """A choice that leaves the other one without a partner is not made."""
    pairing = pair([near(1, 10), near(2, 11)], [near(10, 9), near(11, 10)], False, far_apart)

    assert [] == pairing.expected + pairing.actual
    assert {(1, 10), (2, 11)} == set(offsets(pairing.equal))


def test_the_right_one_is_missing_under_a_tolerance() -> None:
    """Where only the second message was published, the first is the one that is missing."""
    expected = [near(1, 10), near(2, 20)]
    pairing = pair(expected, [near(10, 20)], False, far_apart)

    assert [(2, 10)] == offsets(pairing.equal)
    assert [(1, "missing")] == [(r.offset, o) for r, o in leftovers(pairing, 0, expected)]


def test_a_copy_is_a_duplicate_under_a_tolerance() -> None:
    """Two equal copies and one other message: the second copy is the duplicate."""
    pairing = pair([near(1, 10), near(2, 20)], [near(10, 10), near(11, 10), near(12, 20)], False, far_apart)

    assert [(11, "duplicate")] == [(r.offset, o) for r, o in leftovers(pairing, 1, [])]


def test_beyond_the_tolerance_is_a_mismatch_once_closed() -> None:
    """Equal but for a value that is too far off: a pair of step 2."""
    waiting = pair([near(1, 10, closed_at=OPEN)], [near(10, 20, closed_at=OPEN)], False, far_apart)
    closed = pair([near(1, 10)], [near(10, 20)], False, far_apart)

    assert [] == waiting.equal + waiting.unequal
    assert [(1, 10)] == offsets(closed.unequal)


def test_under_a_tolerance_what_says_the_same_is_paired_however_many_there_are() -> None:
    """Beyond the limit too: first the equal ones, in order, then the k-th of what is left with the k-th."""
    count = CLOSEST_MAX
    expected = [near(i, 100 * i) for i in range(count)]
    backwards = [near(1000 + i, 100 * (count - 1 - i)) for i in range(count)]
    late = pair(expected, [*backwards[:-1], near(2000, 1)], False, far_apart)

    assert {(i, 1000 + count - 1 - i) for i in range(1, count)} | {(0, 2000)} == set(offsets(late.equal))
    assert [r.offset for r in pair(expected, backwards[1:], False, far_apart).expected] == [count - 1]


def test_at_the_limit_under_a_tolerance_each_still_finds_its_own() -> None:
    """Beyond it the k-th of what does not say the same is held against the k-th, and what does not fit is left."""
    half = CLOSEST_MAX // 2
    expected = [near(i, 100 * i) for i in range(half)]
    actual = [near(1000 + i, 100 * (half - 1 - i) + 1) for i in range(half)]
    at_limit = pair(expected, actual, False, far_apart)
    beyond = pair([*expected, near(half, 5)], [*actual[1:], actual[0], near(2000, 5)], False, far_apart)

    assert {(i, 1000 + half - 1 - i) for i in range(half)} == set(offsets(at_limit.equal))
    assert (half, 2000) in offsets(beyond.equal)
    assert len(beyond.equal) < half


def test_what_is_in_order_and_fits_stays_in_order_however_many_there_are() -> None:
    """Who rounds publishes values that other messages have, too: nothing is crossed, and nothing left over for that."""
    count = CLOSEST_MAX
    expected = [near(i, i) for i in range(count)]
    lower = [near(1000 + i, i - 1) for i in range(count)]
    pairing = pair(expected, lower, False, far_apart)

    assert [(i, 1000 + i) for i in range(count)] == offsets(pairing.equal)
    assert not pairing.by_order


def test_one_that_is_missing_among_very_many_shifts_nobody() -> None:
    """Each finds what says the same; who is left over is who is missing, or who was published twice."""
    count = CLOSEST_MAX + 8
    expected = [near(i, i) for i in range(count)]
    actual = [near(1000 + i, i) for i in range(count)]

    assert [r.offset for r in pair(expected, actual[1:], False, far_apart).expected] == [0]
    assert [r.offset for r in pair(expected, [near(999, 0), *actual], False, far_apart).actual] == [1000]


@pytest.mark.parametrize("gone", [0, CLOSEST_MAX - 5, CLOSEST_MAX - 1])
def test_nobody_is_crossed_among_very_many_because_one_has_still_to_come(gone: int) -> None:
    """Values that recur, some of them a little off: what says the same is another message, and all are in order."""
    values = [i % 3 for i in range(CLOSEST_MAX)]
    expected = [near(i, 10 + value) for i, value in enumerate(values)]
    actual = [near(1000 + i, 10 + value + (value == 1)) for i, value in enumerate(values)]
    del actual[gone]
    wide = pair(expected, actual, False, lambda e, a: int(abs(int(e.beside) - int(a.beside)) > 2))

    assert len(wide.equal) == CLOSEST_MAX - 1
    assert [a.offset for _, a in wide.equal] == sorted(a.offset for _, a in wide.equal)


@pytest.mark.parametrize("count", [4, CLOSEST_MAX])
def test_under_a_tolerance_it_plays_no_part_when_records_came_in(count: int) -> None:
    """Of two partitions the second may be read first: the order of a key is by partition and offset."""
    values = [i % 3 for i in range(count)]
    expected = [near(i, 10 + value) for i, value in enumerate(values)]
    actual = [near(1000 + i, 10 + value + (value == 1)) for i, value in enumerate(values[1:])]
    known = offsets(pair(expected, actual, False, far_apart).equal)
    for record in actual:
        record.position = position_of(5000 - record.offset, 1)

    assert offsets(pair(expected, actual, False, far_apart).equal) == known


def test_who_says_the_same_but_was_published_before_is_no_partner() -> None:
    """A rounding producer: the first one's actual says what the second one says, whose own has still to come."""
    first, second, actual = near(1, 10), near(2, 11), near(10, 11)
    first.timestamp, actual.timestamp, second.timestamp = 1_000, 1_300, 31_000
    assert [(1, 10)] == offsets(pair([first, second], [actual], False, far_apart).equal)

    for second.timestamp in (1_200, 1_300):  # written before it, or with it: it may well be its own
        assert [(2, 10)] == offsets(pair([first, second], [actual], False, far_apart).equal)


@pytest.mark.parametrize("early", [False, True])
def test_who_says_the_same_is_its_partner_though_another_one_is_missing(early: bool) -> None:
    """The second is missing, the third says what the last actual says; what both ways share does not decide."""
    expected, actual = [near(1, 10), near(2, 11), near(3, 12)], [near(10, 9), near(11, 12)]
    expected[0].timestamp = int(early)

    assert {(1, 10), (3, 11)} == set(offsets(pair(expected, actual, False, far_apart).equal))


def test_between_partitions_nobody_overtakes_anybody() -> None:
    """A key that lies in two partitions has no order between them: who says the same is the partner."""
    expected = [near(1, 10), near(3, 12), near(2, 11), near(4, 13)]
    actual = [near(10, 10), near(11, 11), near(12, 12), near(13, 13)]
    for record in (expected[2], expected[3]):
        record.source = 1

    assert {(1, 10), (2, 11), (3, 12), (4, 13)} == set(offsets(pair(expected, actual, False, far_apart).equal))


def test_who_does_not_find_its_own_among_very_many_is_told_why() -> None:
    """Beyond the limit not every way to pair has been tried, and that is said beside what is left."""
    count = CLOSEST_MAX
    expected = [near(i, 100 * i) for i in range(count)]
    backwards = [near(1000 + i, 100 * (count - 1 - i) + 1) for i in range(count)]

    waiting = [[near(each.offset, int(each.beside), closed_at=OPEN) for each in side] for side in (expected, backwards)]

    assert pair(expected, backwards, False, far_apart).by_order
    assert pair(*waiting, False, far_apart).by_order  # also while nothing is left over yet
    assert not pair(expected[:4], backwards[:4], False, far_apart).by_order
    assert not pair(*(side[: CLOSEST_MAX // 2] for side in waiting), False, far_apart).by_order
    assert not pair(expected, [near(2000, 0)], False, far_apart).by_order


def test_of_several_ways_to_pair_all_the_earliest_records_come_first() -> None:
    """Where any would fit, the first finds the first; where that one is needed by another, the next."""
    free = pair([near(1, 10), near(2, 11)], [near(10, 10), near(11, 11)], False, far_apart)
    needed = pair([near(1, 10), near(2, 12), near(3, 14)], [near(10, 11), near(11, 13), near(12, 9)], False, far_apart)

    assert [(1, 10), (2, 11)] == offsets(free.equal)
    assert [(1, 12), (2, 10), (3, 11)] == offsets(needed.equal)


def test_who_can_pair_with_nobody_does_not_keep_others_from_it() -> None:
    """Its turn passes."""
    pairing = pair([near(1, 500), near(2, 10)], [near(10, 10)], False, far_apart)

    assert [(2, 10)] == offsets(pairing.equal)
    assert [1] == [r.offset for r in pairing.expected]


def sealed(offset: int, value: int, *leak: str) -> Rec:
    """An actual record with a sealed value: beside its digest there is what else could give the plaintext away."""
    record = near(offset, value)
    record.beside += SEALED_BESIDE + "".join(leak).encode()
    return record


def leaks(expected: Rec, actual: Rec) -> int:
    """One difference where a value is too far off, and one where the plaintext is found."""
    value, _, rest = actual.beside.partition(SEALED_BESIDE)
    return int(abs(int(expected.beside) - int(value)) > 1) + (b"leak" in rest)


def test_what_leaks_nothing_is_paired_first() -> None:
    """A copy that gives a plaintext away is a partner all the same, after one that does not."""
    both = pair([near(1, 10)], [sealed(10, 10, "leak"), sealed(11, 10)], False, leaks)
    only = pair([near(1, 10)], [sealed(10, 10, "leak")], False, leaks)

    assert [(1, 11)] == offsets(both.equal)
    assert [10] == [r.offset for r in both.actual]
    assert [(1, 10)] == offsets(only.equal)


def test_a_leak_does_not_make_another_value_equal() -> None:
    """Where the value is beyond the tolerance too it is a pair of step 2, as it would be without the leak."""
    pairing = pair([near(1, 10)], [sealed(10, 50, "leak")], False, leaks)

    assert [] == pairing.equal
    assert [(1, 10)] == offsets(pairing.unequal)


def test_leaking_messages_are_paired_by_their_value_in_order() -> None:
    """Each with one of its own value, first with first; who is paired already is left alone."""
    expected = [near(1, 10), near(2, 20), near(3, 10), near(4, 30)]
    actual = [sealed(10, 20, "leak"), sealed(11, 10, "leak"), sealed(12, 10, "leak"), sealed(13, 30)]
    pairing = pair(expected, actual, False, leaks)

    assert {(4, 13), (1, 11), (2, 10), (3, 12)} == set(offsets(pairing.equal))


def test_copies_of_a_sealed_message_are_duplicates_whatever_their_ciphertext() -> None:
    """What is sealed differs from copy to copy; what a tolerance covers does not."""
    pairing = pair([near(1, 10), near(2, 90)], [sealed(10, 10), sealed(11, 10, "other"), sealed(12, 50)], False, leaks)

    assert [(1, 10)] == offsets(pairing.equal)
    assert [(2, 12)] == offsets(pairing.unequal)
    assert [(11, "duplicate")] == [(r.offset, o) for r, o in leftovers(pairing, 1, [])]


def test_many_leftovers_of_one_side_are_no_pairs_by_order() -> None:
    """Where there is nothing to choose, nothing was chosen by order."""
    many = [rec(i, str(i)) for i in range(2 * CLOSEST_MAX)]

    assert not pair(many, [], False, spread).by_order
    assert not pair([], many, False, spread).by_order


def test_a_pair_of_step_2_has_its_copies_too() -> None:
    """A copy of an actual with a wrong value, and a legacy record sent again, are duplicates."""
    expected = [rec(1, "5", raw="same"), rec(2, "5", raw="same", closed_at=9)]
    actual = [rec(10, "6"), rec(11, "6")]
    pairing = Pairing(unequal=[(expected[0], actual[0])], expected=expected[1:], actual=actual[1:])

    assert [(2, "duplicate")] == [(r.offset, o) for r, o in leftovers(pairing, 0, expected)]
    assert [(11, "duplicate")] == [(r.offset, o) for r, o in leftovers(pairing, 1, [])]


def test_what_was_in_intake_when_it_was_closed_is_waited_for() -> None:
    """Up to the very barrier that closed it, and not the records behind that."""
    expected = [rec(1, "1", closed_at=5)]
    last = Rec(0, 10, 0, 0, position_of(5) - 1, 0, b"2", b"raw", b"", OPEN)
    behind = Rec(0, 10, 0, 0, position_of(5), 0, b"2", b"raw", b"", OPEN)

    assert [None] == [o for _, o in leftovers(pair(expected, [last], False, spread), 0, expected)]
    assert ["missing"] == [o for _, o in leftovers(pair(expected, [behind], False, spread), 0, expected)]


def test_by_order_the_shorter_side_decides_how_many() -> None:
    """Who has no counterpart is left, under a tolerance and without."""
    many, few = CLOSEST_MAX, CLOSEST_MAX // 2
    unequal = pair([rec(i, "1") for i in range(many)], [rec(100 + i, "2") for i in range(few)], False, spread)
    alike = pair([near(i, i % 2) for i in range(many)], [near(100 + i, i % 2) for i in range(few)], False, far_apart)

    assert [(i, 100 + i) for i in range(few)] == offsets(unequal.unequal) == offsets(alike.equal)
    assert list(range(few, many)) == [r.offset for r in unequal.expected] == [r.offset for r in alike.expected]


def test_one_that_leaks_is_found_beside_others() -> None:
    """Whatever those have beside them."""
    pairing = pair([near(1, 10), near(2, 50)], [sealed(10, 10, "leak"), near(11, 50)], False, leaks)

    assert {(2, 11), (1, 10)} == set(offsets(pairing.equal))


def test_the_first_open_record_is_what_is_waited_for() -> None:
    """Others that came later change nothing about it."""
    expected = [rec(1, "1", closed_at=5)]
    actual = [rec(10, "2", closed_at=OPEN, at=4), rec(11, "3", closed_at=OPEN, at=8)]

    assert [None] == [o for _, o in leftovers(pair(expected, actual, False, spread), 0, expected)]


def test_a_copy_of_a_paired_record_is_a_duplicate_wherever_it_stands() -> None:
    """Also where it comes first in order."""
    expected = [rec(1, "5", raw="same"), rec(2, "5", raw="same"), rec(3, "5", raw="same", index=1)]
    pairing = Pairing(unequal=[(expected[1], rec(10, "6"))], expected=[expected[0], expected[2]])

    assert [(1, "duplicate"), (3, "missing")] == [(r.offset, o) for r, o in leftovers(pairing, 0, expected)]
