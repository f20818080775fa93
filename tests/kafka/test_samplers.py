"""Whom one asks which topic it is that was read: the leader, whoever that is by now."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import pytest
from aiokafka.errors import LeaderNotAvailableError, NodeNotReadyError, UnknownTopicOrPartitionError

from cutover_app.kafka.cluster import Cluster, Topic
from cutover_app.kafka.samplers import EndSampler, Identity, Sample
from cutover_app.kafka.settings import Broker


class Nodes:
    """Brokers, each with the leaders of the topic as it knows them; None where it knows no such topic."""

    def __init__(self, **known: dict[int, int] | None) -> None:
        self.known = {int(name.removeprefix("node")): leaders for name, leaders in known.items()}
        self.ids = dict.fromkeys(self.known, "id-1")
        self.asked: list[int | None] = []

    async def topics(self, names: list[str], node: int | None = None) -> dict[str, Topic]:
        """Answer as one of those that are there would."""
        self.asked.append(node)
        who = min(self.known) if node is None else node
        if who not in self.known:
            raise NodeNotReadyError
        leaders = self.known[who]
        return {} if leaders is None else {names[0]: Topic(names[0], self.ids[who], leaders)}

    async def close(self) -> None:
        """Disconnect from nothing."""


def asking(nodes: Nodes) -> Identity:
    identity = Identity(Broker.parse("kafka://127.0.0.1:1"), "orders")
    identity._cluster = nodes  # type: ignore[assignment]
    return identity


def ask(identity: Identity, partition: int = 0) -> Any:
    return asyncio.run(identity.at(partition, time.monotonic()))


def test_the_leader_is_asked_and_nobody_else() -> None:
    """Another broker may still have the former topic of the name; it only says who leads."""
    nodes = Nodes(node1={0: 2}, node2={0: 2})
    nodes.ids[2] = "id-2"
    identity = asking(nodes)

    assert ask(identity) == "id-2"
    assert ask(identity) == "id-2"
    assert nodes.asked == [None, 2, 2]


def test_one_answer_serves_what_was_fetched_before_the_question() -> None:
    """A backlog costs no question per chunk."""
    nodes, fetched = Nodes(node1={0: 1}), time.monotonic()
    identity = asking(nodes)
    for _chunk in range(3):
        assert asyncio.run(identity.at(0, fetched)) == "id-1"

    assert nodes.asked == [None, 1]


def test_a_leader_that_is_gone_for_good_is_asked_once() -> None:
    """Whoever is left says who leads now."""
    nodes = Nodes(node1={0: 2}, node2={0: 2})
    identity = asking(nodes)
    ask(identity)
    del nodes.known[2]
    nodes.known[1] = {0: 1}
    with pytest.raises(NodeNotReadyError):
        ask(identity)

    assert ask(identity) == "id-1"
    assert nodes.asked == [None, 2, 2, None, 1]


def test_a_partition_without_a_leader_is_asked_about_again() -> None:
    """That none is there for a moment is no reason to ask nobody for ever."""
    nodes = Nodes(node1={0: -1})
    identity = asking(nodes)
    with pytest.raises(LeaderNotAvailableError):
        ask(identity)
    nodes.known[1] = {0: 1}

    assert ask(identity) == "id-1"


@pytest.mark.parametrize(("leaders", "found"), [(None, None), ({0: 1}, "id-1")], ids=["topic", "partition"])
def test_what_is_not_there_any_more_has_no_leader_to_wait_for(
    leaders: dict[int, int] | None, found: str | None
) -> None:
    """Whoever asks finds that it is not what it was."""
    assert ask(asking(Nodes(node1=leaders)), partition=7) == found


@pytest.mark.parametrize(("known", "sampled"), [("id-1", True), ("id-2", False), ("", False)])
def test_ends_of_another_topic_of_the_name_are_no_sample(known: str, sampled: bool) -> None:
    """Any broker says which topic there is, and may not have heard yet of what the leader answers for."""

    class Behind(Cluster):
        """A cluster whose leader, broker 1, may know another topic than the others."""

        async def topics(self, names: Iterable[str], *, node: int | None = None) -> dict[str, Topic]:
            """As a broker knows it."""
            found = known if node == 1 else "id-1"
            return {name: Topic(name, found, {0: 1}) for name in names if found}

        async def offsets(self, _topic: Topic, _at: int, *, stable: bool = False) -> dict[int, int]:
            """As the leader knows them."""
            return {0: 10}

    sampler = EndSampler(Broker.parse("kafka://127.0.0.1:1"))
    sampler._cluster = Behind(Broker.parse("kafka://127.0.0.1:1"))
    if sampled:
        assert asyncio.run(sampler.sample("orders")) == Sample(1, {0: 10}, "id-1")
        return
    with pytest.raises(UnknownTopicOrPartitionError):
        asyncio.run(sampler.sample("orders"))
