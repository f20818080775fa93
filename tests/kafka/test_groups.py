"""Questions about a group, put to a broker that is not ready for them yet."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    LeaderNotAvailableError,
    for_code,
)
from aiokafka.protocol.admin import DescribeGroupsRequest

from cutover_app.kafka.cluster import Cluster
from cutover_app.kafka.errors import KafkaUnavailable
from cutover_app.kafka.groups import Group, delete_group, describe_group
from cutover_app.kafka.settings import Broker


class Answering(Cluster):
    """A cluster whose coordinator answers with these codes, one after the other."""

    def __init__(self, *codes: int, mute: int = 0) -> None:
        super().__init__(Broker.parse("localhost:1"))
        self.codes = list(codes)
        self.mute = mute

    async def connect(self) -> Any:
        """Return a client that knows the coordinator."""

        async def lookup(_kind: Any, _group: str) -> int:
            self.mute -= 1
            if self.mute >= 0:  # it happens to be the one that does not answer
                await asyncio.sleep(30)
            return 1

        def brokers() -> list[int]:
            return [1, 2, 3]

        known = SimpleNamespace(brokers=brokers)
        return SimpleNamespace(coordinator_lookup=lookup, cluster=known, force_metadata_update=lambda: None)

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


def test_one_mute_broker_does_not_hold_a_question_for_a_coordinator_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any broker is asked who coordinates a group: another one answers."""
    monkeypatch.setattr("cutover_app.kafka.cluster.MUTE_SECONDS", 0.01)
    began = time.monotonic()
    assert asyncio.run(describe_group(Answering(0, mute=3), "g")) == Group("Empty", ())
    assert time.monotonic() - began < 5


def test_a_group_that_nobody_coordinates_is_one_line() -> None:
    """It names the group, what brokers say, and the setting that is usually behind it."""
    cluster = Answering(*[GroupCoordinatorNotAvailableError.errno] * 9)
    request = DescribeGroupsRequest(["g"], False)
    with pytest.raises(KafkaUnavailable) as caught:
        asyncio.run(cluster.ask_coordinator("g", request, _refuse, patience=0.15))
    assert "localhost:1 coordinates consumer group g: GroupCoordinatorNotAvailableError for 0.15 s" in str(caught.value)
    assert "offsets.topic.replication.factor" in str(caught.value)


def _refuse(answer: Any) -> None:
    raise for_code(answer.groups[0][0])


def test_a_refusal_is_raised_at_once() -> None:
    """What another try will not mend is not tried again."""
    cluster = Answering(GroupAuthorizationFailedError.errno, 0)
    with pytest.raises(GroupAuthorizationFailedError):
        asyncio.run(describe_group(cluster, "g"))
    assert cluster.codes == [0]


def test_a_partition_without_a_leader_is_asked_for_again() -> None:
    """A broker says so by a node that is none: nobody is unreachable, and nobody was refused."""
    with pytest.raises(LeaderNotAvailableError):
        asyncio.run(Knowing().ask(DescribeGroupsRequest(["g"], False), -1))


class Knowing(Cluster):
    """A cluster that is connected to."""

    def __init__(self) -> None:
        super().__init__(Broker.parse("localhost:1"))

    async def connect(self) -> Any:
        """Return a client that nobody may use."""
        return SimpleNamespace()
