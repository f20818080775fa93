"""A real MirrorMaker 2 as a process of the lab, from a legacy cluster to the work cluster.

    with Cluster("legacy", version=LEGACY_VERSION) as legacy, Cluster("work") as work:
        mirror = Mirror(legacy, work)
        mirror.start()                           # returns when it really copies
        asyncio.run(mirror.caught_up("orders"))  # all that the topic holds now is copied
        mirror.pause(), mirror.resume()
        mirror.kill(), mirror.start()            # sends again what it had not noted as sent

It runs as its users run it (dedicated mode, topic names kept), with two differences: intervals are a second instead
of a minute or ten, and nothing is replicated. It copies one direction only and emits no heartbeats, because each
direction and each connector costs seconds at the start. One task: what holds for one topic holds for all.

It ends with the work cluster, however that ends.
"""

import asyncio
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeAlias

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from cutover_app.kafka.cluster import LATEST
from cutover_app.kafka.cluster import Cluster as Asked
from cutover_app.kafka.settings import Broker
from cutover_app.lab.cluster import QUICK_JVM, Cluster, java_command
from cutover_app.lab.errors import LabError
from cutover_app.lab.jars import LEGACY_VERSION
from cutover_app.lab.program import Program
from cutover_app.lab.topics import create_topics

WORK_ALIAS: Final = "work"
START_TIMEOUT_S: Final = 120.0
POLL_S: Final = 0.1

Names: TypeAlias = Literal["identity", "default"]
Headers: TypeAlias = Literal["kept", "damaged"]

_MAIN: Final = "org.apache.kafka.connect.mirror.MirrorMaker"
_JVM: Final = (
    "-Xms128m",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-Xshare:auto",
    "-Djava.awt.headless=true",
    *QUICK_JVM,
)
_POLICY: Final = "org.apache.kafka.connect.mirror.IdentityReplicationPolicy"
_TEXT_HEADERS: Final = "org.apache.kafka.connect.storage.SimpleHeaderConverter"
_PLAIN_READING: Final[Mapping[str, Any]] = {"enable_auto_commit": False, "auto_offset_reset": "earliest"}
_BYTES_MAX: Final = str(16 * 1024 * 1024)


def mirror_settings(
    legacy: str, work: str, *, alias: str, names: Names, headers: Headers, flush_ms: int
) -> dict[str, str]:
    """Return the settings of a MirrorMaker 2 between two addresses."""
    values = {
        "clusters": f"{alias}, {WORK_ALIAS}",
        f"{alias}.bootstrap.servers": legacy,
        f"{WORK_ALIAS}.bootstrap.servers": work,
        f"{alias}->{WORK_ALIAS}.enabled": "true",
        f"{WORK_ALIAS}->{alias}.enabled": "false",
        # Heartbeats would start a Connect worker for the other direction too.
        "emit.heartbeats.enabled": "false",
        "topics": ".*",
        "groups": ".*",
        "tasks.max": "1",
        "replication.factor": "1",
        "offset-syncs.topic.replication.factor": "1",
        "checkpoints.topic.replication.factor": "1",
        "heartbeats.topic.replication.factor": "1",  # created all the same
        "config.storage.replication.factor": "1",
        "offset.storage.replication.factor": "1",
        "status.storage.replication.factor": "1",
        # 25 by default, and as many files to create at the start.
        "offset.storage.partitions": "3",
        "status.storage.partitions": "1",
        "refresh.topics.interval.seconds": "1",
        "refresh.groups.interval.seconds": "1",
        "emit.checkpoints.interval.seconds": "1",
        "sync.group.offsets.enabled": "true",
        "sync.group.offsets.interval.seconds": "1",
        "sync.topic.configs.interval.seconds": "2",
        "sync.topic.acls.enabled": "false",
        # A task that is not through in time is cut off, and sends again what it could not note.
        "task.shutdown.graceful.timeout.ms": "15000",
        # These it takes for a cluster only; without that prefix they are ignored in silence.
        f"{WORK_ALIAS}.offset.flush.interval.ms": str(flush_ms),
        f"{WORK_ALIAS}.scheduled.rebalance.max.delay.ms": "0",
        f"{WORK_ALIAS}.producer.max.request.size": _BYTES_MAX,
    }
    if names == "identity":
        values["replication.policy.class"] = _POLICY
    if headers == "damaged":
        # What a plain Connect cluster does by default: it takes bytes for a value and writes its Base64 text.
        values["header.converter"] = _TEXT_HEADERS
    return values


class Mirror(Program):
    """One MirrorMaker 2: start, pause, kill, start again, and how far it is.

    Args:
        legacy: The cluster that it reads.
        work: The cluster that it writes to.
        alias: What it calls the legacy cluster; two mirrors beside each other need two.
        names: Whether copies have the name of their topic, or the alias and a dot before it.
        headers: Whether it passes headers on as bytes, or rewrites them as a plain Connect cluster does.
        flush_ms: Milliseconds between two notes of its own position: what it sends again after a kill.
        version: A version for which pom.xml has a profile with MirrorMaker 2.
        settings: Lines of mm2.properties that are added, or replace those of `mirror_settings`.
    """

    def __init__(
        self,
        legacy: Cluster,
        work: Cluster,
        *,
        alias: str = "legacy",
        names: Names = "identity",
        headers: Headers = "kept",
        flush_ms: int = 1000,
        version: str = LEGACY_VERSION,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.legacy = legacy
        self.work = work
        self.alias = alias
        self.keeps_headers = headers == "kept"
        self._names = names
        self._version = version
        self._values = mirror_settings(
            legacy.bootstrap, work.bootstrap, alias=alias, names=names, headers=headers, flush_ms=flush_ms
        ) | dict(settings or {})
        self._directory = work.directory / f"mirror-{alias}"

    def __repr__(self) -> str:
        state = "running" if self.running else "stopped"
        return f"<Mirror {self.legacy.bootstrap} to {self.work.bootstrap} {state}>"

    @property
    def log(self) -> Path:
        """Its log."""
        return self._directory / "mirror.log"

    @property
    def _keeps(self) -> Cluster:
        return self.work

    @property
    def offsets_topic(self) -> str:
        """On the work cluster: how far it has come, in its own account (the offset storage of Connect)."""
        return f"mm2-offsets.{self.alias}.internal"

    @property
    def probe_topic(self) -> str:
        """On the legacy cluster: a record here, and its copy there, show that it copies."""
        return f"lab.probe.{self.alias}"

    def copy_of(self, topic: str) -> str:
        """Return what the copy of a legacy topic is called on the work cluster."""
        return topic if self._names == "identity" else f"{self.alias}.{topic}"

    def start(self) -> None:
        """Start it and wait until it copies; also after `kill` or `stop`."""
        if self.running:
            raise LabError(f"{self!r} is running")
        self._directory.mkdir(exist_ok=True)
        file = self._directory / "mm2.properties"
        file.write_text("".join(f"{key} = {value}\n" for key, value in self._values.items()))
        command = [*java_command(self._directory, self._version, _JVM), _MAIN, str(file)]
        self._run(command, self._directory)
        try:
            asyncio.run(self.copies())
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End it in good order: it notes its position, so nothing is sent again."""
        super().stop()

    def check(self) -> None:
        """Raise `LabError` if it has ended by itself."""
        if self._process is not None and not self.running:
            raise LabError(f"MirrorMaker 2 ended with exit code {self._process.returncode}:\n{self.log_tail()}")

    async def copies(self) -> None:
        """Wait until a record that is published now has a copy."""
        legacy, work = Broker.parse(self.legacy.bootstrap), Broker.parse(self.work.bootstrap)
        async with Asked(legacy) as asked:
            if not await asked.topics([self.probe_topic]):
                await create_topics(self.legacy.bootstrap, {self.probe_topic: 1})
        token = secrets.token_bytes(8)
        async with AIOKafkaProducer(**legacy.client("lab-probe")) as producer:
            await producer.send_and_wait(self.probe_topic, token, partition=0)
        patience = _Patience(self, "a record that was published has no copy")
        copy = self.copy_of(self.probe_topic)
        async with Asked(work) as asked:
            while not await asked.topics([copy]):
                await patience.wait()
        async with AIOKafkaConsumer(**work.client("lab-probe"), **_PLAIN_READING) as consumer:
            consumer.assign([TopicPartition(copy, 0)])
            while True:
                found = await consumer.getmany(timeout_ms=int(POLL_S * 1000))
                if any(record.value == token for records in found.values() for record in records):
                    return
                await patience.wait()

    async def has_copied(self, topic: str) -> None:
        """Wait until there is a copy of a legacy topic, with all its partitions."""
        patience = _Patience(self, f"there is no copy of {topic}")
        async with Asked(Broker.parse(self.work.bootstrap)) as asked:
            while not (await asked.topics([self.copy_of(topic)])):
                await patience.wait()

    async def caught_up(self, *topics: str) -> None:
        """Wait until it has noted as copied all that these legacy topics hold; nobody may publish meanwhile.

        (A topic whose last record is the marker of a transaction is never copied to its end.)
        """
        patience = _Patience(self, f"{', '.join(topics)} not copied to the end")
        async with Lag(self) as lag:
            while await lag.records(*topics):
                await patience.wait()


class _Patience:
    """Waits between two looks, until it takes too long or there is nothing to wait for any more."""

    def __init__(self, mirror: Mirror, otherwise: str) -> None:
        self._mirror = mirror
        self._otherwise = otherwise
        self._deadline = time.monotonic() + START_TIMEOUT_S

    async def wait(self) -> None:
        self._mirror.check()
        if time.monotonic() > self._deadline:
            said = self._mirror.log_tail()
            raise LabError(f"MirrorMaker 2: after {START_TIMEOUT_S:g} s {self._otherwise}:\n{said}")
        await asyncio.sleep(POLL_S)


class Lag:
    """Follows how far a mirror is behind, by its own notes (which are `flush_ms` old at worst)."""

    def __init__(self, mirror: Mirror) -> None:
        self.positions: dict[tuple[str, int], int] = {}
        """By legacy topic and partition: the offset of the last record that it has noted as copied."""
        self._topic = mirror.offsets_topic
        self._work = Broker.parse(mirror.work.bootstrap)
        self._legacy = Asked(Broker.parse(mirror.legacy.bootstrap))
        self._consumer: Any = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Connect; the mirror must have been started."""
        async with Asked(self._work) as asked:
            topic = (await asked.topics([self._topic]))[self._topic]
        self._consumer = AIOKafkaConsumer(**self._work.client("lab-mirror"), **_PLAIN_READING)
        await self._consumer.start()
        self._consumer.assign([TopicPartition(self._topic, number) for number in range(topic.partitions)])

    async def stop(self) -> None:
        """Disconnect."""
        if self._consumer is not None:
            await self._consumer.stop()
        await self._legacy.close()

    async def records(self, *topics: str) -> int:
        """Return how many records of these legacy topics it has not noted as copied."""
        while found := await self._consumer.getmany(timeout_ms=int(POLL_S * 1000)):
            for records in found.values():
                for record in records:
                    self.positions |= _noted(record.key, record.value)
        known = await self._legacy.topics(topics)
        if absent := set(topics) - set(known):
            raise LabError(f"no topic {', '.join(sorted(absent))} on the legacy cluster")
        behind = 0
        for topic in known.values():
            for number, end in (await self._legacy.offsets(topic, LATEST)).items():
                behind += max(0, end - 1 - self.positions.get((topic.name, number), -1))
        return behind


def _noted(key: bytes, value: bytes | None) -> dict[tuple[str, int], int]:
    """Read a record of the offsets topic; other connectors' records say nothing."""
    connector, place = msgspec.json.decode(key)
    if connector != "MirrorSourceConnector" or value is None:
        return {}
    noted: dict[str, Any] = msgspec.json.decode(value)
    return {(place["topic"], place["partition"]): noted["offset"]}
