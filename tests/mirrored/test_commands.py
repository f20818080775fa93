"""plan, report and reset where the legacy topic lives on another cluster."""

import asyncio
import json
import subprocess
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from cutover_app.kafka.cluster import Cluster as Connection
from cutover_app.kafka.settings import Broker
from cutover_app.kafka.topics import app_id_of
from cutover_app.lab.cluster import Cluster
from cutover_app.lab.fleet import run_command
from cutover_app.lab.topics import create_topics_now
from tests.mirrored.fake_mirror import FakeMirror
from tests.mirrored.shop import PARTITIONS, Run, Shop

_numbers = count(1)


@pytest.fixture
def direct(kafka: Cluster, legacy: Cluster, tmp_path: Path) -> Shop:
    """A legacy topic that is read directly, under the name that the rebuilt topic has here."""
    topic = f"command{next(_numbers)}.replica"
    return Shop(kafka, legacy, f"command{next(_numbers)}", tmp_path, topic, None, topic)


def command(shop: Shop, contract: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run_command(words, contract, shop.work.bootstrap)


def test_a_direct_topic_is_asked_for_where_it_is(direct: Shop, legacy: Cluster) -> None:
    """Plan finds it absent there and then shows it; report counts what is unread there; reset takes the group there."""
    contract = direct.contract({"broker": f"kafka://{legacy.bootstrap}"})
    create_topics_now(direct.work.bootstrap, {direct.rebuilt: PARTITIONS[1]})
    absent = command(direct, contract, "plan")

    assert absent.returncode == 1
    assert f"topic {direct.legacy_topic} does not exist on the legacy cluster" in " ".join(absent.stdout.split())

    create_topics_now(legacy.bootstrap, {direct.legacy_topic: PARTITIONS[0]})
    asyncio.run(publish(legacy.bootstrap, direct.legacy_topic, 7))
    applied = json.loads(command(direct, contract, "plan", "--apply", "--output", "json").stdout)

    assert [(line["name"], line["role"], line["partitions"]) for line in applied["topics"][:2]] == [
        (direct.legacy_topic, "legacy", PARTITIONS[0]),
        (direct.rebuilt, "rebuilt", PARTITIONS[1]),
    ]

    group = app_id_of(Run(direct, contract).subject.contract)
    asyncio.run(commit(legacy.bootstrap, group, direct.legacy_topic, 4))
    report = json.loads(command(direct, contract, "report", "--output", "json").stdout)

    assert [side["unread"] for side in report["sides"]] == [3, 0]

    reset = command(direct, contract, "reset", "--yes", "--verdicts")

    assert reset.returncode == 0, reset.stderr
    assert f"consumer group {group} on the legacy cluster" in reset.stdout
    assert asyncio.run(committed(legacy.bootstrap, group, direct.legacy_topic)) == {}


def test_a_legacy_cluster_that_nobody_reaches_is_in_the_way(direct: Shop) -> None:
    """Plan says so in one line, without a traceback; so does report."""
    contract = direct.contract({"broker": "kafka://127.0.0.1:1"})
    create_topics_now(direct.work.bootstrap, {direct.rebuilt: PARTITIONS[1]})
    plan, report = command(direct, contract, "plan"), command(direct, contract, "report")

    assert plan.returncode == 1
    assert "the legacy cluster cannot be asked: no Kafka broker answers at 127.0.0.1:1" in " ".join(plan.stdout.split())
    assert report.returncode == 4
    assert report.stderr.startswith("cutover: no Kafka broker answers at 127.0.0.1:1: see `legacy.broker`")
    assert "Traceback" not in plan.stderr + report.stderr


def test_the_work_cluster_is_no_legacy_cluster(direct: Shop) -> None:
    """If `legacy.broker` is the work cluster, by any name, plan and a worker say so before anything is made."""
    port = direct.work.bootstrap.rpartition(":")[2]
    contract = direct.contract({"broker": f"kafka://localhost:{port}"})
    create_topics_now(direct.work.bootstrap, {direct.rebuilt: PARTITIONS[1]})
    plan, worker = command(direct, contract, "plan", "--apply"), command(direct, contract, "worker", "--without-web")
    line = "legacy.broker is the work cluster: leave it out"

    assert (plan.returncode, worker.returncode) == (1, 4)
    assert f"problem: {line}" in plan.stdout
    assert f"cutover: fatal: {line}" in worker.stderr


def test_plan_warns_of_a_mirror(kafka: Cluster, legacy: Cluster, tmp_path: Path) -> None:
    """What keeps a copy from being proven, and what the mirror does to headers, with an example of it."""
    name = f"command{next(_numbers)}"
    topic = f"{name}.replica"
    shop = Shop(kafka, legacy, name, tmp_path, topic, topic, f"{name}.rebuilt")
    offsets = f"mm2-offsets.{name}.internal"
    mirrored = {"broker": f"kafka://{legacy.bootstrap}", "offsets": offsets}
    contract = shop.contract({"mirror": mirrored})
    asyncio.run(shop.create())
    unproven = " ".join(command(shop, contract, "plan").stdout.split())

    assert f"warning: the mirror cannot be proven: topic {offsets} does not exist" in unproven

    async def mirror() -> None:
        fake = FakeMirror(legacy.bootstrap, kafka.bootstrap, topic, offsets, partitions=PARTITIONS[0])
        fake.base64 = True
        async with fake:
            await publish(legacy.bootstrap, topic, 3)
            await fake.until(4)
            await fake.until_told()

    create_topics_now(kafka.bootstrap, {offsets: 1}, configs={"cleanup.policy": "compact"})
    asyncio.run(publish(legacy.bootstrap, topic, 1))
    silent = " ".join(command(shop, contract, "plan").stdout.split())
    assert f"warning: no mirror has told yet that it has copied anything of {topic}: is it running" in silent
    asyncio.run(mirror())
    done = command(shop, contract, "plan")
    text = " ".join(done.stdout.split())

    assert done.returncode == 0
    assert "cannot be proven" not in text
    assert "no mirror has told" not in text
    assert f"warning: the mirror writes the values of headers as Base64 text: partition 0 of {topic}, offset 0" in text


async def publish(bootstrap: str, topic: str, number: int) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        for each in range(number):
            await producer.send_and_wait(topic, b"%d" % each, partition=0, headers=[("trace", b"abc")])


async def commit(bootstrap: str, group: str, topic: str, offset: int) -> Any:
    async with Connection(Broker.parse(bootstrap)) as cluster:
        return await cluster.commit(group, topic, {0: (offset, "")})


async def committed(bootstrap: str, group: str, topic: str) -> dict[int, int]:
    async with Connection(Broker.parse(bootstrap)) as cluster:
        return await cluster.committed(group, topic)
