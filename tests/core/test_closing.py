"""Judge time, the ring and the frontier (R1)."""

from cutover_app.core.closing import NEVER, Clock, Frontier, Ring
from cutover_app.core.limits import RING_MAX


def run(times: list[int]) -> list[int]:
    clock = Clock()
    return [clock.advance(1_000_000 + each, 1_000) for each in times]


def test_judge_time_follows_append_time() -> None:
    """Steps of ordinary size count in full."""
    assert [0, 500, 2_500, 2_500] == run([0, 500, 2_500, 2_500])


def test_an_outage_counts_for_two_intervals() -> None:
    """However long the log was silent, judge time moves by two intervals at most, so grace survives it."""
    assert [0, 2_000, 2_100] == run([0, 3_600_000, 3_600_100])


def test_a_swinging_clock_gains_nothing() -> None:
    """Two brokers whose clocks differ by an hour, taking turns, do not drive judge time."""
    swinging = [0, 3_600_000] * 50

    assert 2_000 == run(swinging)[-1]


def test_a_small_swing_gains_nothing() -> None:
    """Steps back are subtracted before the highest value is taken, small ones too."""
    assert 1_500 == run([0, 1_500, 0, 1_500, 0, 1_500])[-1]


def test_a_step_back_delays_and_never_rewinds() -> None:
    """After a step back judge time stands still until the clock has made up for it."""
    assert [0, 1_000, 1_000, 1_000, 1_500] == run([0, 1_000, 0, 1_000, 1_500])


def test_judge_time_begins_at_the_first_record_whatever_its_time() -> None:
    """The epoch itself is a time like any other."""
    clock = Clock()

    assert [0, 500] == [clock.advance(0, 1_000), clock.advance(500, 1_000)]


def test_the_ring_knows_the_judge_time_of_a_barrier() -> None:
    """Each barrier is worth the judge time at which it was appended."""
    ring = Ring()
    ring.add(10, 100)
    ring.add(20, 200)

    assert (100, 200) == (ring.time_of(10), ring.time_of(20))


def test_an_unknown_barrier_is_worth_the_one_before() -> None:
    """Of an offset between two barriers the earlier counts, and before all of them nothing does."""
    ring = Ring()
    ring.add(10, 100)
    ring.add(20, 200)

    assert (100, NEVER) == (ring.time_of(19), ring.time_of(9))


def test_a_full_ring_thins_its_older_half_and_errs_early() -> None:
    """Whatever the ring has dropped, it never answers with a later time than the true one."""
    ring = Ring()
    for number in range(5 * RING_MAX):
        ring.add(number, number * 1_000)

    assert len(ring.offsets) <= RING_MAX
    assert all(ring.time_of(number) <= number * 1_000 for number in range(5 * RING_MAX))
    assert (5 * RING_MAX - 1) * 1_000 == ring.time_of(5 * RING_MAX - 1)
    assert 0 == ring.time_of(0)


def test_a_full_ring_keeps_its_newer_half_whole() -> None:
    """It holds exactly so many; one more, and of the older half every other one goes."""
    ring = Ring()
    for number in range(RING_MAX):
        ring.add(number, number)

    assert list(range(RING_MAX)) == ring.offsets

    ring.add(RING_MAX, RING_MAX)

    assert [*range(0, RING_MAX // 2, 2), *range(RING_MAX // 2, RING_MAX + 1)] == ring.offsets == ring.times


def test_a_frontier_needs_every_partition() -> None:
    """While one partition has not been vouched for there is no frontier."""
    frontier = Frontier()
    frontier.count("t", "", 2)
    frontier.vouch(0, 500)

    assert NEVER == frontier.value()

    frontier.vouch(1, 300)

    assert 300 == frontier.value()


def test_a_partition_without_number_does_not_stand_in_for_another() -> None:
    """Two vouches do not make a frontier unless they are for partitions 0 and 1."""
    frontier = Frontier()
    frontier.count("t", "", 2)
    frontier.vouch(0, 500)
    frontier.vouch(5, 500)

    assert NEVER == frontier.value()


def test_the_largest_count_counts() -> None:
    """A barrier that has not heard of a new partition yet does not bring the frontier back."""
    frontier = Frontier()
    frontier.count("t", "", 2)
    frontier.count("t", "", 1)
    frontier.vouch(0, 500)

    assert NEVER == frontier.value()


def test_growth_takes_the_frontier_back_and_leaves_closed_what_is_closed() -> None:
    """When a partition is added the frontier falls back, but no close is undone."""
    frontier = Frontier()
    frontier.count("t", "", 1)
    frontier.vouch(0, 500)

    assert 500 == frontier.advance()

    frontier.count("t", "", 2)

    assert NEVER == frontier.value()
    assert 500 == frontier.advance()


def test_an_older_vouch_does_not_lower_the_frontier() -> None:
    """The highest vouch so far counts, whoever sent it."""
    frontier = Frontier()
    frontier.count("t", "", 1)
    frontier.vouch(0, 500)
    frontier.vouch(0, 400)

    assert 500 == frontier.value()


def test_another_incarnation_starts_afresh() -> None:
    """What was vouched for a topic says nothing about its successor of the same name."""
    frontier = Frontier()
    frontier.count("t", "a", 1)
    frontier.vouch(0, 500)
    frontier.count("t", "b", 1)

    assert NEVER == frontier.value()


def test_without_a_count_there_is_no_frontier() -> None:
    """A vouch alone does not say how many partitions there are."""
    frontier = Frontier()
    frontier.vouch(0, 500)
    frontier.vouch(0, 600, proven=False)

    assert (NEVER, NEVER, NEVER) == (frontier.value(), frontier.advance(), frontier.claimed)


def mirrored() -> Frontier:
    """Return the frontier of a copy with two partitions, proven up to 500."""
    frontier = Frontier()
    frontier.count("t", "", 2)
    frontier.vouch(0, 500)
    frontier.vouch(1, 500)
    frontier.advance()
    return frontier


def test_what_is_not_proven_closes_nothing_and_is_known() -> None:
    """It is claimed as soon as it is so of every partition, by whichever of the two vouches is ahead."""
    frontier = mirrored()
    frontier.vouch(0, 900, proven=False)

    assert (500, 500, True) == (frontier.advance(), frontier.claimed, frontier.is_proven)

    frontier.vouch(1, 700, proven=False)

    assert (500, 700, False) == (frontier.advance(), frontier.claimed, frontier.is_proven)

    frontier.vouch(1, 800)

    assert (500, 800, False) == (frontier.advance(), frontier.claimed, frontier.is_proven)
    assert {0: 900} == frontier.unproven


def test_a_proof_that_catches_up_settles_what_was_claimed() -> None:
    """As far as it goes, and not a moment later."""
    frontier = mirrored()
    frontier.vouch(0, 900, proven=False)
    frontier.vouch(1, 700, proven=False)
    frontier.advance()
    frontier.vouch(0, 700)
    frontier.vouch(1, 700)

    assert (700, 700, True) == (frontier.advance(), frontier.claimed, frontier.is_proven)
    assert {0: 900} == frontier.unproven

    frontier.vouch(0, 900)

    assert (700, {}) == (frontier.advance(), frontier.unproven)


def test_a_claim_is_never_taken_back() -> None:
    """When the topic grows, what was claimed stays so, as what is closed does."""
    frontier = mirrored()
    frontier.vouch(0, 900, proven=False)
    frontier.vouch(1, 700, proven=False)
    frontier.advance()
    frontier.count("t", "", 3)

    assert (500, 700) == (frontier.advance(), frontier.claimed)


def test_another_incarnation_of_a_copy_has_proven_and_claimed_nothing() -> None:
    """Its partitions are counted anew too."""
    frontier = mirrored()
    frontier.vouch(0, 900, proven=False)
    frontier.count("t", "b", 1)

    assert ({}, {}, 1) == (frontier.vouched, frontier.unproven, frontier.partitions)
