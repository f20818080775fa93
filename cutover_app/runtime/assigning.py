"""Faust's assignor, told of nothing that is not there.

It is sticky: it begins with what each member had. Partitions that have gone since - their topic was deleted, or created
anew with fewer - stay in that, and take the places of those that are there: then it fails with an assertion, again and
again, or assigns what nobody can read. Whether it does depends on the order of a set, so on the process.
"""

from collections.abc import Mapping
from typing import Any

from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from faust.assignor.client_assignment import ClientAssignment, ClientMetadata
from faust.assignor.partition_assignor import PartitionAssignor

Partitions = Mapping[str, list[int]]
"""Partition numbers, by topic."""


class Assignor(PartitionAssignor):
    """The stock assignor, beginning with what is left of what each member had."""

    def _perform_assignment(self, cluster: Any, member_metadata: Mapping[str, Any]) -> Any:
        left = {member: _of_what_is_there(cluster, each) for member, each in member_metadata.items()}
        return super()._perform_assignment(cluster, left)


def _of_what_is_there(cluster: Any, metadata: Any) -> Any:
    known = ClientMetadata.loads(metadata.user_data)
    had = known.assignment
    known.assignment = ClientAssignment(actives=_left(cluster, had.actives), standbys=_left(cluster, had.standbys))
    return ConsumerProtocolMemberMetadata(metadata.version, metadata.subscription, known.dumps())


def _left(cluster: Any, had: Partitions) -> dict[str, list[int]]:
    there = {topic: cluster.partitions_for_topic(topic) or () for topic in had}
    return {topic: [number for number in numbers if number in there[topic]] for topic, numbers in had.items()}
