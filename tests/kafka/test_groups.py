"""Questions about a group, put to a broker that is not ready for them yet."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, GroupLoadInProgressError

from cutover_app.kafka.cluster import Cluster
from cutover_app.kafka.groups import Group, delete_group, describe_group
from cutover_app.kafka.settings import Broker


class Answering(Cluster):
    """A cluster whose coordinator answers with these codes, one after the other."""

    def __init__(self, *codes: int) -> None:
        super().__init__(Broker.parse("localhost:1"))
        self.codes = list(codes)

    async def connect(self) -> Any:
        """Return a client that knows the coordinator."""

        async def lookup(_kind: Any, _group: str) -> int:
            return 1

        return SimpleNamespace(coordinator_lookup=lookup)

    async def ask(self, request: Any, node: int | None = None) -> Any:
        """Return the next answer."""
        code = self.codes.pop(0)
        return SimpleNamespace(groups=[(code, "g", "Empty", "", "", [])], results=[("g", code)])


def test_a_coordinator_that_loads_its_groups_is_asked_again() -> None:
    """A broker that has just started says so for a moment; that is no refusal."""
    loading = GroupLoadInProgressError.errno
    cluster = Answering(loading, loading, 0)
    assert asyncio.run(describe_group(cluster, "g")) == Group("Empty", ())
    assert asyncio.run(delete_group(Answering(loading, 0), "g"))
    assert cluster.codes == []


def test_a_refusal_is_raised_at_once() -> None:
    """What another try will not mend is not tried again."""
    cluster = Answering(GroupAuthorizationFailedError.errno, 0)
    with pytest.raises(GroupAuthorizationFailedError):
        asyncio.run(describe_group(cluster, "g"))
    assert cluster.codes == [0]
