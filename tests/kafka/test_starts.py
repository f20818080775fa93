"""Where a run reads from is decided once, and held against the topic as it is whenever a partition is taken over."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from cutover_app.core.frames import LEGACY, Edge, Source
from cutover_app.core.standing import CREATED_ANEW, FAR_PAST, START, TRUNCATED, UNKNOWN_END, Standing, note_of
from cutover_app.kafka.cluster import Cluster as Questions
from cutover_app.kafka.errors import TopicsUnfit
from cutover_app.kafka.settings import Broker
from cutover_app.kafka.starts import Resolved, Starts
from cutover_app.lab.cluster import Cluster
from cutover_app.lab.topics import add_partitions, create_anew, delete_records

GROUP = "group-of-starts"


class Desk:
    """A topic, and what the run whose group this is makes of it."""

    def __init__(self, kafka: Cluster, topic: str) -> None:
        self.bootstrap, self.topic = kafka.bootstrap, topic
        self.starts = Starts(
            Broker.parse(kafka.bootstrap), group=f"{GROUP}-{topic}", side=LEGACY, topic=topic, books="no-such-changelog"
        )

    async def publish(self, times: Sequence[int], partition: int = 0) -> None:
        """Publish a record at each of these times."""
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap) as producer:
            for at_ms in times:
                await producer.send_and_wait(self.topic, b"x", partition=partition, timestamp_ms=at_ms)

    async def commit(self, position: int, standing: Standing) -> None:
        """Commit a position as a worker would."""
        async with Questions(Broker.parse(self.bootstrap)) as cluster:
            await cluster.commit(f"{GROUP}-{self.topic}", self.topic, {0: (position, note_of(standing))})

    def source(self, found: Resolved, partition: int = 0, incarnation: str = "") -> Source:
        """A partition of the topic, as it is unless another incarnation is named."""
        return Source(LEGACY, self.topic, incarnation or found.topic_id, partition)


@pytest.fixture
def play(kafka: Cluster, topic: Callable[..., str]) -> Callable[..., Any]:
    """Return a function that plays a scene on a topic of its own."""

    def run(scene: Callable[[Desk], Coroutine[Any, Any, None]], partitions: int = 1) -> None:
        asyncio.run(scene(Desk(kafka, topic("starts", partitions=partitions))))

    return run


def test_the_first_decision_stands(play: Callable[..., Any]) -> None:
    """Whatever is published, asked for or deleted later, a run stays where it began, with the edge that this left."""

    async def scene(desk: Desk) -> None:
        await desk.publish([1_000, 3_000, 2_000])
        assert await desk.starts.begin("latest") == {0: 3, 1: 0}
        await desk.publish([4_000, 5_000])
        assert await desk.starts.begin("earliest") == {}
        await delete_records(desk.bootstrap, desk.topic, {0: 4})
        found = await desk.starts.resolve([0, 1])
        # The youngest record before the start is not the last one.
        edge = Edge(desk.source(found), 0, 3, FAR_PAST, 3_000, START)
        assert found.standings == {
            0: Standing(desk.source(found), 3, FAR_PAST, (edge,)),
            1: Standing(desk.source(found, 1), 0),
        }

    play(scene, partitions=2)


def test_a_time_and_an_earliest_that_is_gone(play: Callable[..., Any]) -> None:
    """A time is the first record that is not older; where records were deleted, the first that is there bounds them."""

    async def scene(desk: Desk) -> None:
        await desk.publish([1_000, 2_000, 9_000, 3_000])
        await desk.publish([1_000, 2_000, 7_000], partition=1)
        await desk.publish([1_000], partition=2)
        await delete_records(desk.bootstrap, desk.topic, {1: 2})
        assert await desk.starts.begin("1970-01-01T00:00:03Z") == {0: 2, 1: 2, 2: 1}
        found = await desk.starts.resolve([0, 1, 2])
        assert [each.edges[0].to_ms for each in found.standings.values()] == [2_999, 7_000, 2_999]
        assert await desk.starts.first_ms(1) == 7_000

    play(scene, partitions=3)


def test_a_start_that_has_not_come_yet_is_refused(play: Callable[..., Any]) -> None:
    """It would mean the end, without a word; but where a run has begun, nothing is asked any more."""

    async def scene(desk: Desk) -> None:
        with pytest.raises(TopicsUnfit, match="start: 2099-01-01 has not come yet"):
            await desk.starts.begin("2099-01-01")
        assert await desk.starts.begin("latest") == {0: 0}
        assert await desk.starts.begin("2099-01-01") == {}

    play(scene)


def test_a_partition_that_comes_later_is_read_from_its_beginning(play: Callable[..., Any]) -> None:
    """Whatever `start` says, and whether or not a worker was there when it came."""

    async def scene(desk: Desk) -> None:
        await desk.starts.begin("latest")
        await add_partitions(desk.bootstrap, desk.topic, 2)
        await desk.publish([1_000, 2_000], partition=1)
        assert await desk.starts.begin("latest") == {}
        found = await desk.starts.resolve([0, 1])
        assert found.standings[1] == Standing(desk.source(found, 1), 0)

    play(scene)


def test_a_commit_of_another_topic_is_no_position(play: Callable[..., Any]) -> None:
    """If the id is another one, the new topic is read from its beginning although the old position lies within it."""

    async def scene(desk: Desk) -> None:
        await create_anew(desk.bootstrap, desk.topic, 1)
        await desk.publish([5_000] * 9)
        old = Source(LEGACY, desk.topic, "of-the-old-one", 0)
        await desk.commit(4, Standing(old, 4, 700))
        found = await desk.starts.resolve([0])
        standing = found.standings[0]
        (edge,) = standing.edges
        assert (standing.source, standing.position) == (desk.source(found), 0)
        assert (edge.source, edge.start, edge.end, edge.from_ms, edge.reason) == (
            old,
            4,
            UNKNOWN_END,
            700,
            CREATED_ANEW,
        )

    play(scene)


def test_a_position_beyond_the_end_is_another_incarnation(play: Callable[..., Any]) -> None:
    """A log that was cut below the position is read on at its end, as another incarnation, with an edge."""

    async def scene(desk: Desk) -> None:
        await desk.publish([5_000] * 3)
        await desk.starts.begin("earliest")
        found = await desk.starts.resolve([0])
        await desk.commit(8, Standing(desk.source(found), 8, 4_000))
        found = await desk.starts.resolve([0])
        cut = desk.source(found, incarnation=f"{found.topic_id}+1")
        standing = found.standings[0]
        (edge,) = standing.edges
        assert (standing.source, standing.position) == (cut, 3)
        assert (edge.source, edge.start, edge.end, edge.from_ms, edge.reason) == (cut, 0, 3, 4_000, TRUNCATED)

    play(scene)
