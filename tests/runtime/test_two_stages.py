"""The Faust edge on a real Kafka: nothing lost, nothing counted twice, whatever happens to workers."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from cutover_app.kafka.cluster import LATEST
from cutover_app.kafka.cluster import Cluster as Questions
from cutover_app.kafka.settings import Broker
from cutover_app.lab.cluster import Cluster
from tests.runtime.tiny_fleet import APP, PARTITIONS_OF, ROOT, Fleet

FATAL = 4


@pytest.fixture
def fleet(kafka: Cluster, tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(kafka.bootstrap, tmp_path) as running:
        yield running


def positions(fleet: Fleet, name: str) -> tuple[dict[int, int], dict[int, int]]:
    """Where a source topic ends, and where the group stands."""

    async def ask() -> tuple[dict[int, int], dict[int, int]]:
        async with Questions(Broker.parse(fleet.bootstrap)) as cluster:
            topic = fleet.topic(name)
            ends = await cluster.offsets((await cluster.topics([topic]))[topic], LATEST)
            return ends, await cluster.committed(f"tiny-{fleet.run}", topic)

    return asyncio.run(ask())


def test_everything_is_counted_once_and_a_stop_is_quick(fleet: Fleet) -> None:
    """All records of both sources arrive once; SIGTERM commits everything and ends with 0 within 10 s."""
    fleet.load(20_000)
    fleet.start("one")
    assert fleet.settle() == fleet.expected
    began = time.monotonic()
    assert fleet.stop("one") == 0
    assert time.monotonic() - began < 10
    assert fleet.redelivered() == 0
    for name in PARTITIONS_OF:
        ends, committed = positions(fleet, name)
        assert committed == ends
    assert "Traceback" not in fleet.said("one")


def test_a_kill_under_load_loses_nothing(fleet: Fleet) -> None:
    """One of two workers is killed under load and comes back with an empty state directory."""
    fleet.start("one")
    fleet.start("two")
    fleet.ready("one")
    fleet.ready("two")
    loading = threading.Thread(target=lambda: asyncio.run(fleet.produce(60_000, pause=0.01)))
    loading.start()
    time.sleep(4)
    fleet.kill("one", wipe=True)
    fleet.start("one")
    loading.join()
    assert fleet.settle(60) == fleet.expected
    assert fleet.stop("one") == fleet.stop("two") == 0


def test_workers_join_and_leave_under_load(fleet: Fleet) -> None:
    """Planned changes of the fleet hand partitions over without redelivering anything."""
    fleet.start("one")
    fleet.ready("one")
    loading = threading.Thread(target=lambda: asyncio.run(fleet.produce(40_000, pause=0.01)))
    loading.start()
    fleet.start("two")
    fleet.ready("two")
    time.sleep(2)
    assert fleet.stop("one") == 0
    loading.join()
    assert fleet.settle() == fleet.expected
    assert fleet.redelivered() == 0


def test_aborted_transactions_at_the_tail(fleet: Fleet, kafka: Cluster) -> None:
    """Control records and aborted batches end a source and a changelog: both are read to their end."""
    fleet.load(2_000)

    async def abort(topics: list[tuple[str, int]], name: str) -> None:
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=name) as producer:
            await producer.begin_transaction()
            for topic, partition in topics:
                await producer.send_and_wait(topic, b"999999 junk", key=b"junk", partition=partition)
            await producer.abort_transaction()

    sources = [(fleet.topic(name), number) for name, count in PARTITIONS_OF.items() for number in range(count)]
    asyncio.run(abort(sources, f"source-{fleet.run}"))
    fleet.start("one")
    assert fleet.settle() == fleet.expected
    assert fleet.stop("one") == 0
    for name in PARTITIONS_OF:
        ends, committed = positions(fleet, name)
        assert committed == ends, "an aborted tail was not passed"
    changelogs = [(fleet.topic("totals-changelog"), number) for number in range(fleet.partitions)]
    asyncio.run(abort(changelogs, f"changelog-{fleet.run}"))
    fleet.load(1_000)
    fleet.start("two")  # an empty state directory: recovers across the aborted tail
    assert fleet.settle() == fleet.expected


def test_compressed_sources(fleet: Fleet) -> None:
    """Sources may be compressed with any codec that Kafka knows, in any mixture."""
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        fleet.load(2_000, codec=codec)
    fleet.start("one")
    assert fleet.settle() == fleet.expected


def test_an_agent_that_raises_ends_the_process(fleet: Fleet) -> None:
    """One line, exit code 4, and the record that broke the agent is not committed."""

    async def poison() -> None:
        async with AIOKafkaProducer(bootstrap_servers=fleet.bootstrap) as producer:
            await producer.send_and_wait(fleet.topic("a"), b"poison", key=b"k", partition=1)

    asyncio.run(poison())
    worker = fleet.start("one")
    assert worker.wait(30) == FATAL
    assert "cutover: fatal: ValueError: poison" in fleet.said("one")
    assert positions(fleet, "a")[1][1] == 0


def test_a_state_directory_in_use(fleet: Fleet) -> None:
    """A second worker on the same state directory says so and ends; the first goes on."""
    fleet.start("one")
    fleet.ready("one")
    assert fleet.start("two", datadir="one").wait(40) == FATAL
    assert "in use by another process" in fleet.said("two")
    fleet.load(1_000)
    assert fleet.settle() == fleet.expected


def test_a_missing_source_topic(kafka: Cluster, tmp_path: Path) -> None:
    """Starting without a source topic is one line and exit code 4, and nothing is created."""
    fleet = Fleet(kafka.bootstrap, tmp_path)
    assert fleet.start("one").wait(30) == FATAL
    assert f"cutover: fatal: topic {fleet.topic('a')} does not exist" in fleet.said("one")
    assert "Traceback" not in fleet.said("one")


def test_no_broker(tmp_path: Path) -> None:
    """Nobody listens there: one line, exit code 4, no traceback."""
    fleet = Fleet("127.0.0.1:1", tmp_path)
    assert fleet.start("one").wait(30) == FATAL
    assert "cutover: fatal: no Kafka broker answers at 127.0.0.1:1" in fleet.said("one")
    assert "Traceback" not in fleet.said("one")


def test_stock_commands_still_work(tmp_path: Path) -> None:
    """`tables` and `agents` list ours, with their help texts."""
    fleet = Fleet("127.0.0.1:1", tmp_path)
    listed = {command: _stock(fleet, command) for command in ("tables", "agents")}
    assert "Sum and count per key." in listed["tables"]
    assert "judge" in listed["agents"]


def _stock(fleet: Fleet, command: str) -> str:
    environment = {"TINY_RUN": fleet.run, "TINY_BROKER": fleet.bootstrap, "TINY_DATADIR": str(fleet.directory)}
    done = subprocess.run(
        [sys.executable, str(APP), command],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout
