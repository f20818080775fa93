"""What the shop's producers publish on a real broker is the scenario, all of it, in order."""

import asyncio
import json
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from cutover_app.lab.cluster import QUICK_JVM, Cluster
from cutover_app.lab.errors import LabError
from cutover_app.lab.faults import KINDS
from cutover_app.lab.files import Played, Record, play
from cutover_app.lab.lane import CODECS, Codec, Side
from cutover_app.lab.ledger import Entry, read_ledger
from cutover_app.lab.scenario import Scenario
from cutover_app.lab.shop import Delivery, Loading, command, main, parse, publish
from cutover_app.lab.topics import create_topics_now

FAULTY = Scenario(count=3000, rates=dict.fromkeys(KINDS, 0.01), per_key=2)


def read(bootstrap: str, topic: str) -> list[Record]:
    """Read a topic from its beginning to its end."""

    async def run() -> list[Record]:
        async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
            partitions = [TopicPartition(topic, each) for each in await _partitions(consumer, topic)]
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            records: list[Record] = []
            while any([await consumer.position(each) < ends[each] for each in partitions]):
                fetched = await consumer.getmany(timeout_ms=500)
                records += [
                    Record(topic, one.partition, one.offset, one.timestamp, one.key, one.value)
                    for run in fetched.values()
                    for one in run
                ]
            return records

    return asyncio.run(asyncio.wait_for(run(), 60))


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[int]:
    await consumer._client.force_metadata_update()
    await consumer._client.add_topic(topic)
    return sorted(consumer.partitions_for_topic(topic) or ())


def per_partition(records: list[Record]) -> dict[int, list[tuple[int, int, bytes | None, bytes | None]]]:
    grouped: dict[int, list[tuple[int, int, bytes | None, bytes | None]]] = defaultdict(list)
    for record in records:
        grouped[record.partition].append((record.offset, record.timestamp, record.key, record.value))
    return {partition: sorted(rows) for partition, rows in grouped.items()}


def played_to(
    kafka: Cluster, topics: tuple[str, str], loading: Loading = "both", codecs: tuple[Codec, Codec] = ("zstd", "none")
) -> list[Entry]:
    """Publish FAULTY and return the ledger."""
    ledger: list[Entry] = []
    delivery = Delivery(
        bootstrap=kafka.bootstrap,
        legacy=Side(topic=topics[0], codec=codecs[0]),
        rebuilt=Side(topic=topics[1], codec=codecs[1], partitioner="crc32"),
        loading=loading,
    )
    done = asyncio.run(publish(FAULTY, delivery, ledger.append))
    assert done.planted == {kind: sum(entry.kind == kind for entry in ledger) for kind in done.planted}
    return ledger


def assert_published(kafka: Cluster, topics: tuple[str, str], ledger: list[Entry]) -> None:
    expected: Played = play(FAULTY, topics=topics, partitions=(3, 5))
    assert per_partition(read(kafka.bootstrap, topics[0])) == per_partition(expected.legacy)
    assert per_partition(read(kafka.bootstrap, topics[1])) == per_partition(expected.rebuilt)
    assert sorted(ledger, key=repr) == sorted(expected.ledger, key=repr)


@pytest.mark.parametrize("codec", CODECS)
def test_a_scenario_is_published_as_it_is(kafka: Cluster, topic: Callable[..., str], codec: Codec) -> None:
    """With every codec, the topics hold what the scenario makes in memory, positions included."""
    topics = topic("legacy", partitions=3), topic("rebuilt", partitions=5)

    ledger = played_to(kafka, topics, codecs=(codec, codec))

    assert_published(kafka, topics, ledger)


@pytest.mark.parametrize("loading", ["legacy-first", "rebuilt-first"])
def test_one_side_can_be_loaded_first(kafka: Cluster, topic: Callable[..., str], loading: Loading) -> None:
    """If one side is loaded before the other, each topic and the ledger are the same as ever."""
    topics = topic("legacy", partitions=3), topic("rebuilt", partitions=5)

    ledger = played_to(kafka, topics, loading)

    assert_published(kafka, topics, ledger)


def test_one_side_alone_and_the_other_later(kafka: Cluster, topic: Callable[..., str]) -> None:
    """If the sides are published by two calls, together they are the whole scenario."""
    topics = topic("legacy", partitions=3), topic("rebuilt", partitions=5)

    nothing = played_to(kafka, topics, "legacy-only")
    assert read(kafka.bootstrap, topics[1]) == []
    ledger = played_to(kafka, topics, "rebuilt-only")

    assert nothing == []
    assert_published(kafka, topics, ledger)


def test_rate_and_delay_are_kept(kafka: Cluster, topic: Callable[..., str]) -> None:
    """At a rate, publishing takes its time, and a side that is held back is published in full."""
    topics = topic("legacy", partitions=3), topic("rebuilt", partitions=5)
    delivery = Delivery(
        bootstrap=kafka.bootstrap,
        legacy=Side(topic=topics[0]),
        rebuilt=Side(topic=topics[1], delay_s=1.0),
        rate=1000,
    )

    done = asyncio.run(publish(Scenario(count=1500, rates={}), delivery, lambda _entry: None))

    assert 2.4 < done.seconds < 8
    assert (done.legacy, done.rebuilt) == (1500, 1500)
    assert len(read(kafka.bootstrap, topics[1])) == 1500


@pytest.mark.kafka
def test_a_killed_broker_costs_no_record() -> None:
    """If the broker is killed and restarted while publishing, nothing is lost and nothing is there twice."""
    with Cluster("killed", jvm=QUICK_JVM) as cluster:
        create_topics_now(cluster.bootstrap, {"shop.orders": 3, "orders.v2": 5})
        delivery = Delivery(bootstrap=cluster.bootstrap, rate=2000)
        # Of today: to a broker that starts again, producers of old records are strangers.
        scenario = replace(FAULTY, count=6000, start_ms=int(time.time() * 1000) - 5000)
        ledger = cluster.directory / "ledger"
        said = cluster.directory / "shop.out"
        with said.open("wb") as log:
            shop = cluster.spawn(command(scenario, delivery, ledger), log=log)
        time.sleep(2)
        cluster.kill()
        cluster.restart()

        assert shop.wait(60) == 0, said.read_text()
        assert per_partition(read(cluster.bootstrap, "shop.orders")) == per_partition(play(scenario).legacy)
        assert per_partition(read(cluster.bootstrap, "orders.v2")) == per_partition(play(scenario).rebuilt)


def test_a_process_of_its_own(kafka: Cluster, tmp_path: Path) -> None:
    """Run as a command, it creates topics, writes the ledger and says what it did."""
    words = command(replace(FAULTY, per_key=1), Delivery(bootstrap=kafka.bootstrap), tmp_path / "ledger")

    done = subprocess.run([*words, "--create"], capture_output=True, text=True, check=False, timeout=60)

    assert done.stderr == ""
    said: dict[str, Any] = json.loads(done.stdout)
    ledger = list(read_ledger(tmp_path / "ledger"))
    assert said["legacy"] == len(read(kafka.bootstrap, "shop.orders"))
    assert said["rebuilt"] == len(read(kafka.bootstrap, "orders.v2"))
    assert sum(said["planted"].values()) == len(ledger) > 0


def test_a_command_line_says_everything(tmp_path: Path) -> None:
    """A scenario and a delivery survive the way through a command line."""
    scenario = Scenario(count=7, seed=3, rates={"missing": 0.25}, per_key=2, size=300, start_ms=99, pace=12.5)
    scenario = replace(scenario, sealed="gcm", headers=True, late_ms=77)
    delivery = Delivery(
        bootstrap="there:1",
        legacy=Side(topic="a", partitioner="own", codec="gzip", delay_s=1.5),
        rebuilt=Side(topic="b", partitioner="crc32", codec="none"),
        loading="rebuilt-first",
        rate=10.0,
        legacy_bootstrap="elsewhere:2",
        gate=tmp_path / "gate",
    )

    read_scenario, read_delivery, _ = parse(command(scenario, delivery, tmp_path)[3:])

    assert read_delivery == delivery
    assert {kind: rate for kind, rate in read_scenario.rates.items() if rate} == scenario.rates
    assert replace(read_scenario, rates=scenario.rates) == scenario


def test_a_missing_topic_is_one_line(kafka: Cluster) -> None:
    """If a topic does not exist, the error names it."""
    delivery = Delivery(bootstrap=kafka.bootstrap, legacy=Side(topic="nowhere"))

    with pytest.raises((LabError, KafkaError), match="nowhere"):
        asyncio.run(publish(FAULTY, delivery, lambda _entry: None))


def test_a_missing_broker_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """If there is no broker, the command ends with code 4 and no traceback."""
    monkeypatch.setattr("sys.argv", ["shop", "--broker", "127.0.0.1:1", "--ledger", str(tmp_path / "ledger")])

    assert main() == 4
    assert "127.0.0.1:1" in capsys.readouterr().err.splitlines()[-1]
