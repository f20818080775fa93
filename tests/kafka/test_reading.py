"""Topics read forwards in steps, and backwards in blocks, on a real broker: committed records, each once, in order."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from cutover_app.kafka import reading
from cutover_app.kafka.cluster import Cluster as Connection
from cutover_app.kafka.reading import newest_records, partition_reader, topic_reader
from cutover_app.kafka.settings import Broker
from cutover_app.lab.cluster import Cluster


async def fill(kafka: Cluster, topic: str, *runs: tuple[int, bool]) -> list[int]:
    """Write numbered records in transactions, (count, committed); return the numbers of the committed ones."""
    written: list[int] = []
    number = 0
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=f"fill-{topic}") as producer:
        for count, committed in runs:
            await producer.begin_transaction()
            numbers = range(number, number + count)
            for each in numbers:
                await producer.send(topic, f"{each}".encode(), key=b"k", partition=0)
            number += count
            if committed:
                await producer.commit_transaction()
                written += numbers
            else:
                await producer.flush()
                await producer.abort_transaction()
    return written


def test_a_partition_is_read_backwards(
    kafka: Cluster, topic: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newest first, every committed record once, over blocks, markers and aborted runs; and no further than wanted."""
    name, empty = topic("backwards"), topic("empty")
    monkeypatch.setattr(reading, "BLOCK_OFFSETS", 7)

    async def play() -> None:
        written = await fill(kafka, name, (40, True), (5, False), (1, True), (30, False), (90, True), (3, False))
        async with partition_reader(Broker.parse(kafka.bootstrap)) as reader:
            for block_bytes in (reading.BLOCK_BYTES, 20, 1):
                monkeypatch.setattr(reading, "BLOCK_BYTES", block_bytes)
                seen: list[int] = []

                def everything(record: Any, seen: list[int] = seen) -> bool:
                    seen.append(int(record.value))
                    return False

                assert not await reader.newest_first(name, 0, everything)
                assert seen == written[::-1]
            few: list[int] = []

            def three(record: Any) -> bool:
                few.append(int(record.value))
                return len(few) == 3

            assert await reader.newest_first(name, 0, three)
            assert few == written[-1:-4:-1]
            forward: list[int] = []
            await reader.forward(name, 0, lambda record: forward.append(int(record.value)))
            assert forward == written
            first = await reader.at(name, 0, 0)
            assert int(first.value) == 0
            assert await reader.at(name, 0, 41) is None  # of a transaction that was aborted
            assert await reader.at(name, 0, 10_000) is None
            assert not await reader.newest_first(empty, 0, three)

    asyncio.run(play())


def test_the_newest_record_of_each_partition(kafka: Cluster, topic: Callable[..., str]) -> None:
    """If it stands far before the end, behind what is not wanted and what was aborted, it is found all the same."""
    name, empty = topic("newest", partitions=2), topic("none")

    async def play() -> None:
        written = await fill(kafka, name, (20, True), (30, False), (3, True), (3, False))
        broker = Broker.parse(kafka.bootstrap)
        async with Connection(broker) as connection:
            topics = (await connection.topics([name, empty])).values()
        for wanted in (written[-1], 19, 7, 0):
            newest = await newest_records(broker, topics, lambda each, most=wanted: int(each.value) <= most)
            assert [int(each.value) for each in newest] == [wanted]
        assert await newest_records(broker, topics, lambda _each: False) == []
        assert await newest_records(broker, [], lambda _each: True) == []

    asyncio.run(play())


def test_a_reader_goes_on_where_it_stood(kafka: Cluster, topic: Callable[..., str]) -> None:
    """Each time only what has come since, and a topic that is named later is read from its beginning."""
    first, second = topic("steps", partitions=2), topic("later")

    async def play() -> None:
        broker = Broker.parse(kafka.bootstrap)
        seen: list[str] = []

        def take(record: Any) -> None:
            seen.append(record.value.decode())

        async with (
            AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer,
            Connection(broker) as connection,
            topic_reader(broker) as reader,
        ):
            topics = await connection.topics([first, second])
            await reader.catch_up([], take)
            for number, named in ((1, [first]), (2, [first]), (3, [first, second]), (4, [first, second])):
                for name in (first, second):
                    await producer.send_and_wait(name, f"{name[:5]} {number}".encode(), partition=0)
                await reader.catch_up([topics[each] for each in named], take)
                await reader.catch_up([topics[each] for each in named], take)
        assert sorted(seen) == [f"{name} {number}" for name in ("later", "steps") for number in (1, 2, 3, 4)]

    asyncio.run(play())
