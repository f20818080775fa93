"""Questions about a consumer group, and its end."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import GroupIdNotFound, NoError, for_code
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int16, Int32, Schema, String

from cutover_app.kafka.cluster import Cluster

COORDINATOR_SECONDS: Final = 15.0
"""A cluster that never had a group makes the topic of all groups first, and one that has started loads it."""


class DeleteGroupsResponseV0(Response):  # type: ignore[misc] # aiokafka is not typed
    """One error code per group."""

    API_KEY = 42
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("results", Array(("group_id", String("utf-8")), ("error_code", Int16))),
    )


class DeleteGroupsRequestV0(RequestStruct):  # type: ignore[misc] # aiokafka is not typed
    """Names of groups."""

    API_KEY = 42
    API_VERSION = 0
    RESPONSE_TYPE = DeleteGroupsResponseV0
    SCHEMA = Schema(("groups_names", Array(String("utf-8"))))


class DeleteGroupsRequest(Request[DeleteGroupsRequestV0]):  # type: ignore[misc] # aiokafka is not typed
    """Deletes groups that have no members, offsets and all."""

    API_KEY = 42

    def __init__(self, groups: list[str]) -> None:
        self._groups = groups

    def build(self, request_struct_class: type[DeleteGroupsRequestV0]) -> Any:
        """Return the request of that version."""
        return request_struct_class(self._groups)


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a group, which is a worker: where it is and what it has."""

    client: str
    host: str
    assigned: Mapping[str, tuple[int, ...]]
    """Topic -> partitions; empty while the group is rebalancing."""

    def __str__(self) -> str:
        """Return how people name it."""
        return f"{self.client} at {self.host}"


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group; `state` as Kafka names it, Dead where there is no such group."""

    state: str
    members: tuple[Member, ...]


async def describe_group(cluster: Cluster, group: str) -> Group:
    """Return the state of a group and its members."""

    def read(answer: Any) -> Group:
        found, members = "Dead", []
        for code, _name, state, _type, _protocol, rows, *_more in answer.groups:
            error = for_code(code)
            if error not in (NoError, GroupIdNotFound):
                raise error(group)
            found = state or found
            members += [
                Member(client, host.lstrip("/"), _assigned(assignment))
                for _member, client, host, _metadata, assignment in rows
            ]
        return Group(found, tuple(members))

    request = DescribeGroupsRequest([group], False)
    return await cluster.ask_coordinator(group, request, read, patience=COORDINATOR_SECONDS)


def _assigned(data: bytes | None) -> dict[str, tuple[int, ...]]:
    if not data:
        return {}
    decoded = ConsumerProtocolMemberAssignment.decode(data)
    return {topic: tuple(sorted(partitions)) for topic, partitions in decoded.assignment}


async def members_of(cluster: Cluster, group: str) -> list[str]:
    """Return the hosts of a group's members; none where there is no such group."""
    return [str(member) for member in (await describe_group(cluster, group)).members]


async def delete_group(cluster: Cluster, group: str) -> bool:
    """Delete a group without members; False where there was none."""

    def read(answer: Any) -> bool:
        for name, code in answer.results:
            error = for_code(code)
            if error is GroupIdNotFound:
                return False
            if error is not NoError:
                raise error(name)
        return True

    return await cluster.ask_coordinator(group, DeleteGroupsRequest([group]), read, patience=COORDINATOR_SECONDS)
