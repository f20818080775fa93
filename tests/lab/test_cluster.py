"""A lab's broker is real, survives what fault tests do to it, and leaves nothing behind."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from cutover_app.lab.cluster import QUICK_JVM, Cluster
from cutover_app.lab.errors import LabError
from cutover_app.lab.jars import KAFKA_VERSION, LEGACY_VERSION, java, lab_directory
from cutover_app.lab.topics import create_topics_now

GONE_S = 30.0


def send(bootstrap: str, topic: str, *values: bytes) -> None:
    async def run() -> None:
        async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
            for value in values:
                await producer.send_and_wait(topic, value)

    asyncio.run(run())


def received(bootstrap: str, topic: str, count: int) -> list[bytes]:
    async def run() -> list[bytes]:
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
        async with consumer:
            return [(await consumer.getone()).value for _ in range(count)]

    return asyncio.run(asyncio.wait_for(run(), 30))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A process that nobody has waited for yet is dead all the same.
    return ") Z " not in Path(f"/proc/{pid}/stat").read_text()


def wait_until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + GONE_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


@pytest.fixture(scope="module", params=[KAFKA_VERSION, LEGACY_VERSION])
def own(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A broker that this module may kill, of each version."""
    with Cluster("own", version=request.param, jvm=QUICK_JVM) as cluster:
        create_topics_now(cluster.bootstrap, {"kept": 1})
        yield cluster


@pytest.mark.kafka
def test_records_survive_sigkill(own: Cluster) -> None:
    """If a broker is killed and restarted, then it has the same address and the same records."""
    send(own.bootstrap, "kept", b"one", b"two")
    address = own.bootstrap

    own.kill()
    assert not own.running
    own.restart()

    assert address == own.bootstrap
    assert received(own.bootstrap, "kept", 2) == [b"one", b"two"]


@pytest.mark.kafka
def test_spawned_processes_end_with_the_cluster(own: Cluster, tmp_path: Path) -> None:
    """If a process was started through the cluster, its output is in the log that was given."""
    with (tmp_path / "out").open("wb") as log:
        process = own.spawn([sys.executable, "-c", "print('here')"], log=log)

    assert process.wait(10) == 0
    assert (tmp_path / "out").read_text().strip() == "here"


CHILD = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what runs in its background without it
from cutover_app.lab.cluster import Cluster, QUICK_JVM
with Cluster("child", jvm=QUICK_JVM) as cluster:
    helper = cluster.spawn(["sleep", "600"])
    print(cluster.pid, helper.pid, cluster.directory, flush=True)
    {then}
"""


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("then", "signum"),
    [
        ("time.sleep(600)", signal.SIGKILL),
        ("time.sleep(600)", signal.SIGTERM),
        ("time.sleep(600)", signal.SIGINT),
        ("raise RuntimeError('a bug')", None),
    ],
    ids=["SIGKILL", "SIGTERM", "Ctrl-C", "exception"],
)
def test_nothing_is_left_behind(then: str, signum: signal.Signals | None) -> None:
    """However the owner of a cluster ends, its broker, helpers and directory are gone."""
    owner = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(then=then)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert owner.stdout is not None
    broker, helper, directory = owner.stdout.readline().split()
    if signum is not None:
        assert alive(int(broker))
        # To the whole group, as a terminal does it.
        os.killpg(owner.pid, signum)
    owner.wait(GONE_S)

    assert wait_until(lambda: not Path(directory).exists())
    assert wait_until(lambda: not alive(int(broker)))
    assert wait_until(lambda: not alive(int(helper)))


@pytest.mark.kafka
def test_a_broker_that_cannot_start_says_why() -> None:
    """If a setting is wrong, the error has the end of the broker's log, and nothing is left."""
    cluster = Cluster("broken", settings={"num.io.threads": "none"})

    with pytest.raises(LabError, match=r"broken[\s\S]*num\.io\.threads"):
        cluster.start()

    assert not cluster.running
    assert not cluster.directory.exists()


def test_missing_java_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """If there is no Java, the error says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)

    with pytest.raises(LabError, match=r"^java was not found: install a Java runtime.*17[^\n]*$"):
        java()


def test_old_java_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """If Java is too old for Kafka, the error names the version that was found."""
    fake = tmp_path / "java"
    fake.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("JAVA_HOME", raising=False)

    with pytest.raises(LabError, match="is version 11: install"):
        java()


def test_the_lab_directory_can_be_moved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """If CUTOVER_LAB is set, jars are kept there."""
    monkeypatch.setenv("CUTOVER_LAB", str(tmp_path))

    assert tmp_path == lab_directory()


def test_two_clusters_never_share_a_port() -> None:
    """Ports are chosen where no outgoing connection of another process can take them."""
    from cutover_app.lab.cluster import free_ports  # noqa: PLC0415

    ports = free_ports(20)

    assert len(set(ports)) == 20
    for port in ports:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
