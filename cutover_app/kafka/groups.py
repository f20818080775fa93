"""Questions about a consumer group, and its end."""

import asyncio
from typing import Any, Final

from aiokafka.client import CoordinationType
from aiokafka.errors import GroupIdNotFound, KafkaError, NoError, for_code
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int16, Int32, Schema, String

from cutover_app.kafka.cluster import Cluster

COORDINATOR_SECONDS: Final = 15.0
"""A cluster that never had a group makes the topic of all groups first."""


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


async def members_of(cluster: Cluster, group: str) -> list[str]:
    """Return the hosts of a group's members; none where there is no such group."""
    answer = await cluster.ask(DescribeGroupsRequest([group], False), await _coordinator(cluster, group))
    hosts: list[str] = []
    for code, _name, _state, _type, _protocol, members, *_more in answer.groups:
        error = for_code(code)
        if error not in (NoError, GroupIdNotFound):
            raise error(group)
        hosts += [f"{client} at {host.lstrip('/')}" for _member, client, host, *_rest in members]
    return hosts


async def delete_group(cluster: Cluster, group: str) -> bool:
    """Delete a group without members; False where there was none."""
    answer = await cluster.ask(DeleteGroupsRequest([group]), await _coordinator(cluster, group))
    for name, code in answer.results:
        error = for_code(code)
        if error is GroupIdNotFound:
            return False
        if error is not NoError:
            raise error(name)
    return True


async def _coordinator(cluster: Cluster, group: str) -> int:
    client = await cluster.connect()
    async with asyncio.timeout(COORDINATOR_SECONDS):
        while True:
            try:
                return int(await client.coordinator_lookup(CoordinationType.GROUP, group))
            except KafkaError as error:
                if not error.retriable:
                    raise
            await asyncio.sleep(0.1)
