"""Topics are declared as they must be, or nothing happens; and questions to the cluster are answered afresh."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from cutover_app.kafka.admin import (
    TopicSpec,
    TopicState,
    compacted_topic,
    delete,
    intake_topic,
    look,
    plan,
    prepare,
)
from cutover_app.kafka.cluster import EARLIEST, LATEST, Topic
from cutover_app.kafka.cluster import Cluster as Questions
from cutover_app.kafka.errors import KafkaUnavailable, TopicsUnfit
from cutover_app.kafka.samplers import EndSampler
from cutover_app.kafka.settings import Broker
from cutover_app.lab.cluster import Cluster

INTAKE = intake_topic("i", 3, replication=2, min_insync=1, retention_ms=1000)


def state(spec: TopicSpec, *, partitions: int = 3, replication: int = 2, **changed: str) -> dict[str, TopicState]:
    configs = {**spec.configs, **{name.replace("_", "."): value for name, value in changed.items()}}
    return {spec.name: TopicState(Topic(spec.name, "id", dict.fromkeys(range(partitions), 1), replication), configs)}


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (state(INTAKE), None),
        (state(INTAKE, partitions=4), "has 4 partitions, expected 3"),
        (state(INTAKE, replication=1), "has replication 1, expected 2"),
        (state(INTAKE, message_timestamp_type="CreateTime"), "message.timestamp.type=CreateTime"),
        (state(INTAKE, cleanup_policy="compact,delete"), "cleanup.policy=compact,delete"),
        (state(INTAKE, max_message_bytes="1000"), "max.message.bytes=1000"),
        (state(INTAKE, max_message_bytes="99999999"), None),
    ],
)
def test_a_plan_names_what_is_wrong(found: dict[str, TopicState], problem: str | None) -> None:
    """Each difference that matters is one problem; a larger limit is none."""
    problems = plan([INTAKE], found).problems
    assert (problems == ()) if problem is None else (problem in problems[0] and len(problems) == 1)


def test_a_plan_creates_only_ours() -> None:
    """A source topic is never created, it must be there."""
    source = TopicSpec("source", ours=False)
    todo = plan([INTAKE, source], {})
    assert todo.create == (INTAKE,)
    assert todo.problems == ("topic source does not exist",)


@pytest.mark.parametrize("text", ["kafka://a:1,b", "a:1;kafka://b:9092", " a:1 , b:9092"])
def test_broker_addresses(text: str) -> None:
    """Addresses are read in the spellings that people use."""
    assert Broker.parse(text).servers == ("a:1", "b:9092")


@pytest.mark.parametrize("text", ["", "kafka://", " , "])
def test_no_broker_address(text: str) -> None:
    """Nothing to connect to is an error at once."""
    with pytest.raises(ValueError, match="broker address"):
        Broker.parse(text)


def ask(kafka: Cluster, question: Callable[[Questions], Any]) -> Any:
    async def run() -> Any:
        async with Questions(Broker.parse(kafka.bootstrap)) as cluster:
            return await question(cluster)

    return asyncio.run(run())


def test_topics_are_declared_once(kafka: Cluster) -> None:
    """Declaring creates what is missing, finds it as it should be the second time, and deleting removes it."""
    specs = [
        intake_topic("declared-intake", 3, replication=1, min_insync=1, retention_ms=3_600_000),
        compacted_topic("declared-rows", 2, replication=1, min_insync=1),
    ]

    async def run(cluster: Questions) -> None:
        with pytest.raises(TopicsUnfit, match="no-such-topic does not exist"):
            await prepare(cluster, [*specs, TopicSpec("no-such-topic", ours=False)])
        assert await look(cluster, specs) == {}, "something was created although something else was in the way"
        ids = await prepare(cluster, specs)
        assert await prepare(cluster, specs) == ids
        assert len(set(ids.values())) == 2
        await delete(cluster, [*ids, "no-such-topic"])

    ask(kafka, run)


def test_ends_are_high_watermarks(kafka: Cluster, topic: Callable[..., str]) -> None:
    """Records of an open transaction count: a last stable offset would vouch too early (R1.2)."""
    name = topic("source", partitions=2)

    async def run() -> None:
        sampler = EndSampler(Broker.parse(kafka.bootstrap))
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=name) as producer:
            await producer.begin_transaction()
            await producer.send_and_wait(name, b"x", partition=1)
            sample = await sampler.sample(name)
            await producer.abort_transaction()
        await sampler.close()
        assert (sample.partitions, sample.ends) == (2, {0: 0, 1: 1})
        assert sample.topic_id

    asyncio.run(run())


def test_offsets_by_time(kafka: Cluster, topic: Callable[..., str]) -> None:
    """Earliest, latest, and the first record at or after a time; no record, no entry."""
    name = topic("source", partitions=2)

    async def run(cluster: Questions) -> tuple[Any, ...]:
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
            for number in range(3):
                await producer.send_and_wait(name, b"x", partition=0, timestamp_ms=1000 + number)
        found = (await cluster.topics([name]))[name]
        return tuple([await cluster.offsets(found, at) for at in (EARLIEST, LATEST, 1001, 9999)])

    assert ask(kafka, run) == ({0: 0, 1: 0}, {0: 3, 1: 0}, {0: 1}, {})


def test_nobody_answers() -> None:
    """A cluster that is not there is one clear error."""

    async def run() -> None:
        async with Questions(Broker.parse("127.0.0.1:1", request_timeout=2.0)):
            pass

    with pytest.raises(KafkaUnavailable, match=r"no Kafka broker answers at 127\.0\.0\.1:1"):
        asyncio.run(run())
