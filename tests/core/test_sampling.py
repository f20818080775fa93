"""What a sender may vouch for (R1.2)."""

from cutover_app.core.sampling import Sampling


def vouched(sampling: Sampling) -> dict[int, tuple[int, ...]]:
    return dict(sampling.vouches())


def test_nothing_is_vouched_for_before_a_sample() -> None:
    """A position alone proves nothing."""
    sampling = Sampling()
    sampling.assign({0: 100})

    assert {} == vouched(sampling)


def test_a_reached_sample_vouches_for_the_barrier_before_it() -> None:
    """The X of a vouch is the barrier that was acknowledged before the cluster was asked, in each intake partition."""
    sampling = Sampling()
    sampling.assign({0: 0})
    sampling.barrier_acked([7, 9])
    sampling.sampled({0: 50}, 1)
    sampling.barrier_acked([8, 11])
    sampling.progress(0, 49)

    assert {} == vouched(sampling)

    sampling.progress(0, 50)

    assert {0: (7, 9)} == vouched(sampling)


def test_an_idle_partition_is_vouched_for_by_each_sample() -> None:
    """A partition that is at its end keeps up with the barriers although no record comes."""
    sampling = Sampling()
    sampling.assign({0: 50})
    for offset in (7, 8, 9):
        sampling.barrier_acked([offset])
        sampling.sampled({0: 50}, 1)

    assert {0: (9,)} == vouched(sampling)


def test_a_sample_before_any_barrier_is_not_used() -> None:
    """Without a barrier before the question there is no X."""
    sampling = Sampling()
    sampling.assign({0: 50})
    sampling.sampled({0: 50}, 1)

    assert {} == vouched(sampling)
    assert 1 == sampling.partitions


def test_the_oldest_sample_is_reached_under_any_lag() -> None:
    """However fast the topic grows, the sample that was taken first stays a goal until it is reached."""
    sampling = Sampling()
    sampling.assign({0: 0})
    for step in range(1, 11):
        sampling.barrier_acked([step])
        sampling.sampled({0: 1_000 * step}, 1)
    sampling.progress(0, 1_000)

    assert {0: (1,)} == vouched(sampling)

    sampling.progress(0, 9_999)

    assert {0: (1,)} == vouched(sampling)

    sampling.progress(0, 10_000)

    assert {0: (10,)} == vouched(sampling)


def test_a_new_sample_after_the_newest_was_reached_is_a_new_goal() -> None:
    """After catching up the next sample counts again."""
    sampling = Sampling()
    sampling.assign({0: 10})
    sampling.barrier_acked([1])
    sampling.sampled({0: 10}, 1)
    sampling.barrier_acked([2])
    sampling.sampled({0: 20}, 1)

    assert {0: (1,)} == vouched(sampling)

    sampling.progress(0, 20)

    assert {0: (2,)} == vouched(sampling)


def test_a_partition_that_is_gone_is_not_vouched_for() -> None:
    """What another worker reads now, that worker vouches for; what comes back starts afresh."""
    sampling = Sampling()
    sampling.assign({0: 50, 1: 50})
    sampling.barrier_acked([1])
    sampling.sampled({0: 50, 1: 50}, 2)
    sampling.assign({1: 50})

    assert {1: (1,)} == vouched(sampling)

    sampling.assign({0: 40, 1: 50})

    assert {1: (1,)} == vouched(sampling)
    assert "2 of 2 partitions" in repr(sampling)


def test_positions_never_go_back() -> None:
    """A report that is older than the position known changes nothing."""
    sampling = Sampling()
    sampling.assign({0: 0})
    sampling.progress(0, 10)
    sampling.progress(0, 5)
    sampling.progress(3, 5)
    sampling.barrier_acked([1])
    sampling.sampled({0: 10, 3: 0}, 1)

    assert {0: (1,)} == vouched(sampling)


def test_what_is_vouched_for_by_a_copy_alone_is_not_proven() -> None:
    """One partition that only such ends vouch for makes all of it unproven, until it is proven again."""
    sampling = Sampling()
    sampling.assign({0: 50, 1: 50})
    sampling.sampled({0: 50, 1: 50}, 2, barrier=[1])

    assert sampling.proven

    sampling.sampled({1: 50}, 2, barrier=[2], proven=False)

    assert not sampling.proven
    assert {0: (1,), 1: (2,)} == vouched(sampling)

    sampling.sampled({1: 50}, 2, barrier=[3])

    assert sampling.proven
