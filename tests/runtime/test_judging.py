"""When a partition is committed."""

import pytest

from cutover_app.runtime.judging import (
    CHECKPOINT_SECONDS,
    CHECKPOINT_SECONDS_MAX,
    CHECKPOINTS_PER_SECOND,
    checkpoint_age,
)


@pytest.mark.parametrize("partitions", [1, 12, 16, 24, 64, 512])
def test_many_partitions_are_committed_less_often(partitions: int) -> None:
    """A worker commits so many partitions a second at most, unless verdicts would wait too long for that."""
    age = checkpoint_age(partitions)
    assert CHECKPOINT_SECONDS <= age <= CHECKPOINT_SECONDS_MAX
    assert partitions / age <= CHECKPOINTS_PER_SECOND or age == CHECKPOINT_SECONDS_MAX
    assert age == CHECKPOINT_SECONDS or partitions > CHECKPOINT_SECONDS * CHECKPOINTS_PER_SECOND
