"""Every partition that is there is handed out once, whatever each member had."""

from collections import Counter
from typing import Any

import faust
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from faust.assignor.client_assignment import ClientAssignment, ClientMetadata
from faust.assignor.partition_assignor import PartitionAssignor
from hypothesis import given
from hypothesis import strategies as st

from cutover_app.runtime.assigning import Assignor

TOPICS = ("legacy", "rebuilt", "intake")
URL = "http://here:6066"

counts = st.fixed_dictionaries({topic: st.integers(0, 4) for topic in TOPICS})
had = st.lists(
    st.fixed_dictionaries({topic: st.lists(st.integers(0, 5), unique=True) for topic in TOPICS}), min_size=1, max_size=4
)


class Topics:
    """A cluster's metadata."""

    def __init__(self, counts: dict[str, int]) -> None:
        self.counts = counts

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        """Return the numbers of a topic's partitions; None where there is no such topic."""
        return set(range(self.counts[topic])) or None


def hand_out(kind: type[PartitionAssignor], counts: dict[str, int], had: list[dict[str, list[int]]]) -> Counter[Any]:
    """Return how often each partition is assigned."""
    app = faust.App("assigning", broker="kafka://nowhere:1", store="memory://")
    members = {
        f"member-{number}": ConsumerProtocolMemberMetadata(
            4,
            list(TOPICS),
            ClientMetadata(
                assignment=ClientAssignment(actives=each, standbys={}),
                url=URL,
                changelog_distribution={},
                external_topic_distribution={},
                topic_groups={},
            ).dumps(),
        )
        for number, each in enumerate(had)
    }
    assigned = kind(app, replicas=0).assign(Topics(counts), members)
    return Counter((place.topic, place.partition) for each in assigned.values() for place in each.partitions())


@given(counts, had)
def test_every_partition_that_is_there_is_handed_out_once(
    counts: dict[str, int], had: list[dict[str, list[int]]]
) -> None:
    """And none that is not there."""
    there = {(topic, number) for topic, count in counts.items() for number in range(count)}
    assert hand_out(Assignor, counts, had) == Counter(there)
