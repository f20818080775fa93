"""The lab's MirrorMaker 2 is a real one: what it keeps, what it sends again, what it damages."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any, Final

import pytest
from aiokafka import AIOKafkaProducer

from cutover_app.kafka.admin import TopicSpec, TopicState, look
from cutover_app.kafka.cluster import Cluster as Questions
from cutover_app.kafka.settings import Broker
from cutover_app.lab.evidence import read_topic
from cutover_app.lab.mirror import Lag, Mirror
from cutover_app.lab.topics import create_topics_now

RECORDS: Final = 4_000
DEADLINE_S: Final = 60.0
PAUSED_S: Final = 3.0
"""Longer than a mirror that runs takes to copy a record."""

_numbers = count(1)


@pytest.fixture
def topic(mirror: Mirror) -> str:
    """A topic of its own on the legacy cluster."""
    name = f"mirrored-{next(_numbers)}"
    create_topics_now(mirror.legacy.bootstrap, {name: 3}, configs={"retention.ms": "9999999999999"})
    return name


def publish(bootstrap: str, topic: str, records: list[dict[str, Any]]) -> None:
    async def run() -> None:
        async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
            for sent in [await producer.send(topic, **record) for record in records]:
                await sent

    asyncio.run(run())


def once_each(records: list[Any]) -> list[tuple[Any, ...]]:
    """Return what records say, repetitions left out: a mirror that notices a new topic may send something again."""
    return list(dict.fromkeys(map(content, records)))


def held(bootstrap: str, topic: str) -> list[Any]:
    async def run() -> list[Any]:
        return [record async for records in read_topic(bootstrap, topic) for record in records]

    return sorted(asyncio.run(run()), key=lambda record: (record.partition, record.offset))


def content(record: Any) -> tuple[Any, ...]:
    return record.partition, record.key, record.value, record.headers, record.timestamp


def lines(numbers: range) -> list[dict[str, Any]]:
    return [{"value": b"%d" % number, "key": b"k", "partition": number % 3} for number in numbers]


def test_a_copy_is_exact(mirror: Mirror, topic: str) -> None:
    """A copy keeps partition, order, key, value, headers and timestamp, tombstones and old timestamps included."""
    records = [
        {
            "value": b"one",
            "key": b"k",
            "partition": 0,
            "timestamp_ms": 1000,
            "headers": [("h", b"\xff\x00"), ("h", b"")],
        },
        {"value": None, "key": b"k", "partition": 2, "timestamp_ms": 2000},
        {"value": b"", "key": None, "partition": 2, "timestamp_ms": 1500},
        {"value": b"two" * 100_000, "key": b"\x00", "partition": 2, "timestamp_ms": 4_000_000_000_000},
    ]
    publish(mirror.legacy.bootstrap, topic, records)
    asyncio.run(mirror.caught_up(topic))

    original, copy = (held(each.bootstrap, topic) for each in (mirror.legacy, mirror.work))

    assert len(original) == len(records)
    assert once_each(copy) == [content(record) for record in original]


def test_settings_of_a_topic_go_with_it(mirror: Mirror, topic: str) -> None:
    """The copy has the number of partitions and the retention of the topic."""
    publish(mirror.legacy.bootstrap, topic, lines(range(1)))
    asyncio.run(mirror.caught_up(topic))

    async def state() -> TopicState:
        async with Questions(Broker.parse(mirror.work.bootstrap)) as cluster:
            return (await look(cluster, [TopicSpec(topic)]))[topic]

    there = asyncio.run(state())

    assert there.topic.partitions == 3
    assert there.configs["retention.ms"] == "9999999999999"


def test_a_halted_mirror_copies_nothing(mirror: Mirror, topic: str) -> None:
    """If it is halted, then its lag is all that is published, until it is let go on."""
    publish(mirror.legacy.bootstrap, topic, lines(range(3)))
    asyncio.run(mirror.caught_up(topic))

    mirror.pause()
    try:
        publish(mirror.legacy.bootstrap, topic, lines(range(3, 10)))
        time.sleep(PAUSED_S)
        behind = asyncio.run(lag(mirror, topic))
        copied = len(once_each(held(mirror.work.bootstrap, topic)))
    finally:
        mirror.resume()
    asyncio.run(mirror.caught_up(topic))

    assert (behind, copied) == (7, 3)
    assert len(once_each(held(mirror.work.bootstrap, topic))) == 10


async def lag(mirror: Mirror, topic: str) -> int:
    async with Lag(mirror) as each:
        return await each.records(topic)


@pytest.fixture(scope="module")
def plain(mirror: Mirror) -> Iterator[Mirror]:
    """Another mirror, as a plain Connect cluster would run it, that never notes its position unless it is stopped."""
    settings = {"topics": "lab.probe.plain, plainly"}
    plain = Mirror(
        mirror.legacy,
        mirror.work,
        alias="plain",
        names="default",
        headers="damaged",
        flush_ms=3_600_000,
        settings=settings,
    )
    create_topics_now(mirror.legacy.bootstrap, {"plainly": 3})
    plain.start()
    yield plain
    plain.kill()


@pytest.mark.long
def test_default_names_and_damaged_headers(plain: Mirror) -> None:
    """With default names a copy has the alias before its name; a plain Connect writes headers as Base64 text."""
    record = {"value": b"v", "key": b"k", "partition": 1, "headers": [("h", b"\xff\x00"), ("phone", b"010-1234-5678")]}
    publish(plain.legacy.bootstrap, "plainly", [record])

    (copy,) = until(plain, 1)

    assert copy.topic == "plain.plainly"
    assert copy.headers == (("h", b"/wA="), ("phone", b"MDEwLTEyMzQtNTY3OA=="))
    assert (copy.partition, copy.key, copy.value) == (1, b"k", b"v")


@pytest.mark.long
def test_a_killed_mirror_sends_again_what_it_had_not_noted(plain: Mirror) -> None:
    """If it is killed, then what it had not noted is there twice, byte for byte; a stop in good order notes it."""
    before = held(plain.work.bootstrap, "plain.plainly")
    had = len(before)
    plain.stop()
    plain.start()
    publish(plain.legacy.bootstrap, "plainly", lines(range(RECORDS)))
    once = until(plain, had + RECORDS)

    plain.kill()
    plain.start()
    twice = until(plain, had + 2 * RECORDS)

    assert len(once) == had + RECORDS, "a stop in good order sends nothing again"
    assert len(twice) == had + 2 * RECORDS
    sent_again = Counter(map(content, twice)) - Counter(map(content, once))
    assert sent_again == Counter(map(content, once)) - Counter(map(content, before))


def until(mirror: Mirror, count: int) -> list[Any]:
    """Wait until the copy of `plainly` has so many records, or more."""
    deadline = time.monotonic() + DEADLINE_S
    while len(found := held(mirror.work.bootstrap, mirror.copy_of("plainly"))) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} copies"
        time.sleep(0.2)
    return found
