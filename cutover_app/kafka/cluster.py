"""A connection to one cluster for questions and topic administration, independent of any group."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    LeaderNotAvailableError,
    NodeNotReadyError,
    NoError,
    UnknownMemberIdError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest

from cutover_app.kafka.errors import KafkaUnavailable, NoCoordinator
from cutover_app.kafka.protocol import ListOffsetsRequest, TopicMetadataRequest
from cutover_app.kafka.refusal import unavailable
from cutover_app.kafka.settings import Broker

RETRY_SECONDS = 0.1
MUTE_SECONDS = 1.5
"""How long one broker of several may take to answer before the next one is asked."""
PATIENCE_SECONDS = 45.0
"""How long brokers may be away before whoever cannot go on without an answer gives up."""
EARLIEST = -2
LATEST = -1
#: The record with the highest timestamp.
YOUNGEST = -3
#: A new leader does not know yet how far its log counts; aiokafka has no name for that.
OFFSET_NOT_AVAILABLE = 78

_Answer = TypeVar("_Answer")


_answered: Final[set[tuple[object, ...]]] = set()
"""The ways (`Broker.way`) in which this process has ever had an answer."""

_doors: Final[dict[tuple[object, ...], str]] = {}
"""By way: the address that has let us in last, unless it has kept us waiting since."""


def _in_order(broker: Broker) -> list[str]:
    """Return the addresses of a cluster, the one that has let us in last first."""
    servers, last = list(broker.servers), _doors.get(broker.way)
    random.shuffle(servers)
    return sorted(servers, key=lambda server: server != last)


async def answering(broker: Broker) -> Broker:
    """Return a cluster by an address that answers: clients that take several wait for a mute one as long as they can.

    Raises `KafkaUnavailable` or `AccessRefused`.
    """
    if len(broker.servers) == 1:
        return broker
    async with Cluster(broker, client_id="cutover-door"):
        return replace(broker, servers=(_doors[broker.way],))


@dataclass(frozen=True, slots=True)
class Topic:
    """What the cluster says about an existing topic."""

    name: str
    id: str
    leaders: Mapping[int, int] = field(repr=False)
    replication: int = 1

    @property
    def partitions(self) -> int:
        """How many there are."""
        return len(self.leaders)


class Cluster:
    """Connects on first use; every question is asked anew, nothing is cached."""

    def __init__(self, broker: Broker, *, client_id: str = "cutover") -> None:
        self._broker = broker
        self._client_id = client_id
        self._client: Any = None

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def servers(self) -> str:
        """The addresses, for messages."""
        return ", ".join(self._broker.servers)

    @property
    def who(self) -> str:
        """As whom we come, for messages."""
        return self._broker.who

    async def connect(self) -> Any:
        """The aiokafka client, connected; raises `KafkaUnavailable` or `AccessRefused`."""
        if self._client is None:
            self._client = await self._first_that_answers()
        return self._client

    async def _first_that_answers(self) -> Any:
        """Try one address after the other, at first none for long: one may be mute, and would use up all the time."""
        broker, servers = self._broker, _in_order(self._broker)
        seconds = MUTE_SECONDS if len(servers) > 1 else broker.request_timeout
        failed: Exception = NodeNotReadyError()
        try:
            async with asyncio.timeout(broker.request_timeout):
                while servers:
                    slow = []
                    for server in servers:
                        try:
                            return await self._enter(server, seconds)
                        except TimeoutError as error:
                            failed = error
                            slow.append(server)
                        except (KafkaError, OSError, ValueError) as error:
                            failed = error
                    servers, seconds = slow, 2 * seconds  # all of them may just be slow
        except TimeoutError as error:
            failed = error
        raise await unavailable(broker, failed, worked=broker.way in _answered) from failed

    async def _enter(self, server: str, seconds: float) -> Any:
        """Return a client that is connected by this address; who had to be waited for is not tried first again."""
        way = self._broker.way
        client = AIOKafkaClient(**replace(self._broker, servers=(server,)).client(self._client_id))
        try:
            await asyncio.wait_for(client.bootstrap(), seconds)
            if not client.cluster.brokers():
                raise NodeNotReadyError("no brokers in the answer")
        except BaseException:  # also where whoever asks could not wait
            _doors.pop(way, None)
            await client.close()
            raise
        _answered.add(way)
        _doors[way] = server
        return client

    async def close(self) -> None:
        """Disconnect; a later question connects again."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    async def ask(self, request: Any, node: int | None = None) -> Any:
        """Send a request to a node (any, when None)."""
        client = await self.connect()
        if node is None:
            return await self._ask_any(client, request)
        if node < 0:  # so a broker says of a partition without a leader
            raise LeaderNotAvailableError(f"no leader known on {', '.join(self._broker.servers)}")
        try:
            answer = await client.send(node, request)
        except (KafkaConnectionError, NodeNotReadyError) as error:
            known = client.cluster.broker_metadata(node)
            servers = [f"{known.host}:{known.port}"] if known else []
            worked = self._broker.way in _answered
            raise await unavailable(self._broker, error, servers=servers, worked=worked) from error
        _answered.add(self._broker.way)
        return answer

    async def _ask_any(self, client: Any, request: Any) -> Any:
        """Send a request to one node after the other, until one answers; the last one has all the time there is."""
        nodes = [each.nodeId for each in client.cluster.brokers()]
        random.shuffle(nodes)
        if not nodes:
            raise NodeNotReadyError("no brokers are known")
        for node in nodes[:-1]:
            with suppress(KafkaError, KafkaUnavailable, TimeoutError):
                return await asyncio.wait_for(self.ask(request, node), MUTE_SECONDS)
            client.force_metadata_update()  # who does not answer may be gone
        return await self.ask(request, nodes[-1])

    async def controller(self) -> int:
        """The node that creates and deletes topics."""
        answer = await self.ask(TopicMetadataRequest([]))
        return int(answer.controller_id)

    async def brokers(self) -> frozenset[tuple[str, int]]:
        """Return the addresses under which the cluster's brokers want to be reached."""
        answer = await self.ask(TopicMetadataRequest([]))
        return frozenset((host, port) for _node, host, port, *_rest in answer.brokers)

    async def names(self) -> list[str]:
        """Return the names of all topics that may be seen."""
        answer = await self.ask(TopicMetadataRequest(None))
        return sorted(name for _code, name, *_rest in answer.topics)

    async def topics(self, names: Iterable[str], *, node: int | None = None) -> dict[str, Topic]:
        """Those of the named topics that exist, as a node (any, when None) sees them."""
        answer = await self.ask(TopicMetadataRequest(sorted(names)), node)
        found = {}
        for code, name, topic_id, _internal, partitions, *_rest in answer.topics:
            if for_code(code) is UnknownTopicOrPartitionError:
                continue
            _check(code, name)
            leaders = {number: leader for _code, number, leader, *_rest in partitions}
            replication = min((len(row[4]) for row in partitions), default=0)
            found[name] = Topic(name, str(topic_id), leaders, replication)
        return found

    async def offsets(self, topic: Topic, at: int, *, stable: bool = False) -> dict[int, int]:
        """Per partition: EARLIEST, LATEST (the high watermark), or the first at a time in ms.

        With `stable`, LATEST is the last stable offset: where the oldest open transaction begins.
        A partition without a record at or after that time is left out. Errors, that of a leader
        that has moved among them, are raised: whoever asks knows whether to ask again.
        """
        points = await self.points(topic, at, stable=stable)
        return {partition: offset for partition, (offset, _time) in points.items()}

    async def points(self, topic: Topic, at: int, *, stable: bool = False) -> dict[int, tuple[int, int]]:
        """Per partition the same offset, and the timestamp of the record there; -1 for EARLIEST and LATEST."""
        by_leader: defaultdict[int, list[int]] = defaultdict(list)
        for partition, leader in topic.leaders.items():
            by_leader[leader].append(partition)
        answers = await asyncio.gather(
            *(
                self.ask(ListOffsetsRequest(topic.name, wanted, at, stable=stable), leader)
                for leader, wanted in by_leader.items()
            )
        )
        found = {}
        for answer in answers:
            for _name, partitions, _tags in answer.topics:
                for partition, code, timestamp, offset, *_rest in partitions:
                    if code == OFFSET_NOT_AVAILABLE:
                        raise LeaderNotAvailableError(f"{topic.name}[{partition}]")
                    _check(code, f"{topic.name}[{partition}]")
                    if offset >= 0:
                        found[partition] = offset, timestamp
        return found

    async def confirm(self, topic: Topic) -> None:
        """Raise where a leader has another topic under that name by now: offsets are asked for by name.

        Any broker says which topic there is, and may be the last one to hear of another. An id never comes back, so
        what leaders have after an answer they had when they gave it.
        """
        leaders = set(topic.leaders.values())
        answers = await asyncio.gather(*(self.topics([topic.name], node=leader) for leader in leaders))
        if any(topic.name not in found or found[topic.name].id != topic.id for found in answers):
            raise UnknownTopicOrPartitionError(topic.name)

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        """Positions that a group has committed; partitions without one are left out."""
        return {number: offset for number, (offset, _note) in (await self.commits(group, topic)).items()}

    async def commits(self, group: str, topic: str) -> dict[int, tuple[int, str]]:
        """The same, each with the text that was committed beside it."""

        def read(answer: Any) -> dict[int, tuple[int, str]]:
            _check(answer.error_code, group)
            return {
                partition: (offset, note or "")
                for name, partitions in answer.topics
                for partition, offset, note, code in partitions
                if name == topic and not code and offset >= 0
            }

        return await self.ask_coordinator(group, OffsetFetchRequest(group, None), read)

    async def commit(self, group: str, topic: str, commits: Mapping[int, tuple[int, str]]) -> bool:
        """Commit positions, each with its text, for a group without members; False where it has some."""
        rows = [(partition, offset, note) for partition, (offset, note) in sorted(commits.items())]
        request = OffsetCommitRequest(
            group,
            OffsetCommitRequest.DEFAULT_GENERATION_ID,
            "",
            OffsetCommitRequest.DEFAULT_RETENTION_TIME,
            [(topic, rows)],
        )

        def read(answer: Any) -> bool:
            for _name, partitions in answer.topics:
                for partition, code in partitions:
                    if for_code(code) is UnknownMemberIdError:
                        return False
                    _check(code, f"{topic}[{partition}]")
            return True

        return await self.ask_coordinator(group, request, read)

    async def ask_coordinator(
        self, group: str, request: Any, read: Callable[[Any], _Answer], *, patience: float | None = None
    ) -> _Answer:
        """Ask a group's coordinator, for as long as the broker is still making or loading the groups.

        `patience`: seconds; as long as any request may take, unless it is given. Then `NoCoordinator` is raised.
        """
        client = await self.connect()
        seconds, cause = patience or self._broker.request_timeout, "no answer"
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        node = await self._coordinator_of(client, group)
                        return read(await self.ask(request, node))
                    except KafkaError as error:
                        if not error.retriable:
                            raise
                        cause = type(error).__name__
                    await asyncio.sleep(RETRY_SECONDS)
        except TimeoutError:
            broker = self._broker
            raise NoCoordinator(broker.servers, group, f"{cause} for {seconds:g} s", broker.place) from None

    async def _coordinator_of(self, client: AIOKafkaClient, group: str) -> int:
        """Look a group's coordinator up; aiokafka asks any broker, and one of them may be mute."""
        seconds = MUTE_SECONDS
        while True:
            try:
                async with asyncio.timeout(seconds if len(client.cluster.brokers()) > 1 else None):
                    return int(await client.coordinator_lookup(CoordinationType.GROUP, group))
            except TimeoutError:
                seconds *= 2  # it may be slow
                client.force_metadata_update()


async def patiently(ask: Callable[[], Awaitable[_Answer]], wanted: Callable[[], bool] = lambda: True) -> _Answer:
    """Ask again while no broker answers: a cluster may be away for a moment just when partitions change hands.

    The last error is raised after `PATIENCE_SECONDS`, or when the answer is not wanted any more.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return await ask()
        except (KafkaUnavailable, KafkaError, TimeoutError) as error:
            away = not isinstance(error, KafkaError) or error.retriable
            if not away or not wanted() or time.monotonic() >= deadline:
                raise
        await asyncio.sleep(RETRY_SECONDS)


def _check(code: int, about: str) -> None:
    error = for_code(code)
    if error is not NoError:
        raise error(about)
