"""A checkpoint is all or nothing, and only the newest owner of a partition can make one."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from cutover_app.kafka.settings import Broker
from cutover_app.lab.cluster import Cluster
from cutover_app.runtime.checkpoint import Checkpointer
from cutover_app.runtime.fatal import FatalError


class Table:
    """As much of a table as a checkpoint sees."""

    def __init__(self, topic: str) -> None:
        self.name = self.changelog_name = topic
        self.written: list[tuple[int, Any, int]] = []

    def check_room(self) -> None:
        """There is always room."""

    def write_batch(self, partition: int, rows: Any, changelog_offset: int) -> None:
        """Remember."""
        self.written.append((partition, rows, changelog_offset))


def checkpointer(kafka: Cluster, tables: list[Table], verdicts: str) -> Checkpointer:
    return Checkpointer(Broker.parse(kafka.bootstrap), app_id=f"app-{verdicts}", tables=tables, verdicts=verdicts)  # type: ignore[arg-type]


async def committed(kafka: Cluster, topic: str) -> list[tuple[bytes, bytes | None, int]]:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, isolation_level="read_committed")
    async with consumer:
        tp = TopicPartition(topic, 0)
        consumer.assign([tp])
        await consumer.seek_to_beginning(tp)
        end, found = (await consumer.end_offsets([tp]))[tp], []
        while await consumer.position(tp) < end:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += [(record.key, record.value, record.offset) for record in records]
    return found


def test_no_topic_is_lost_from_sight_while_it_is_not_written_to(kafka: Cluster, topic: Callable[..., str]) -> None:
    """Aiokafka follows all topics, until it has to ask for one by name: then only those that were asked for."""
    table, verdicts = Table(topic("changelog")), topic("verdicts")

    async def run() -> list[Any]:
        point = checkpointer(kafka, [table], verdicts)
        await point.open(0)
        client = point._producers[0].client
        client.add_topic(table.name)
        await client.force_metadata_update()
        found = [client.cluster.partitions_for_topic(name) for name in (table.name, verdicts)]
        await point.close_all()
        return found

    assert asyncio.run(run()) == [{0}, {0}]


def test_rows_and_verdicts_are_committed_together(kafka: Cluster, topic: Callable[..., str]) -> None:
    """Rows reach the table after the commit, with the offset of the last one; large batches are cut."""
    table, verdicts = Table(topic("changelog")), topic("verdicts")
    rows = [(b"%d" % number, b"x" * 200) for number in range(10_000)]

    async def run() -> None:
        point = checkpointer(kafka, [table], verdicts)
        await point.open(0)
        await point.commit(0, {table.name: rows}, [(b"id", b"verdict")])
        await point.commit(0, {table.name: [(b"1", None)]})
        await point.commit(0, {table.name: []})
        await point.close_all()

    asyncio.run(run())
    found = asyncio.run(committed(kafka, table.name))
    assert [(key, value) for key, value, _offset in found] == [*rows, (b"1", None)]
    assert [offset for _partition, _rows, offset in table.written] == [found[-2][2], found[-1][2]]
    assert [key for key, _value, _offset in asyncio.run(committed(kafka, verdicts))] == [b"id"]


def test_a_new_owner_fences_the_former_one(kafka: Cluster, topic: Callable[..., str]) -> None:
    """After another worker has opened a partition, the former owner's checkpoint fails and leaves no trace."""
    table, verdicts = Table(topic("changelog")), topic("verdicts")

    async def run() -> None:
        old, new = (checkpointer(kafka, [table], verdicts) for _ in range(2))
        await old.open(0)
        await old.commit(0, {table.name: [(b"k", b"old")]})
        await new.open(0)
        with pytest.raises(FatalError, match="taken over by another worker"):
            await old.commit(0, {table.name: [(b"k", b"zombie")]})
        await new.commit(0, {table.name: [(b"k", b"new")]})
        await new.close_all()

    asyncio.run(run())
    assert [value for _key, value, _offset in asyncio.run(committed(kafka, table.name))] == [b"old", b"new"]
    assert len(table.written) == 2


def test_what_a_former_owner_left_open_is_aborted(kafka: Cluster, topic: Callable[..., str]) -> None:
    """Opening a partition ends the transaction of the former owner, so that its changelogs have a stable end."""
    table, verdicts = Table(topic("changelog")), topic("verdicts")

    async def run() -> None:
        old, new = (checkpointer(kafka, [table], verdicts) for _ in range(2))
        await old.open(0)
        producer = old._producers[0]
        await producer.begin_transaction()
        await producer.send_and_wait(table.name, b"torn", key=b"k", partition=0)
        await new.open(0)
        assert await asyncio.wait_for(committed(kafka, table.name), 20) == []
        await new.close_all()

    asyncio.run(run())
