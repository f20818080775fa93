"""The proof on two real brokers: when a copy is vouched for, and when that is proven."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from cutover_app.core.sampling import Sampling
from cutover_app.core.standing import Uncopied
from cutover_app.kafka.legacy_log import LegacyTopic
from cutover_app.kafka.mirror import MirrorSampler
from cutover_app.kafka.mirror_offsets import MirrorOffsets
from cutover_app.kafka.samplers import EndSampler
from cutover_app.kafka.settings import Broker
from cutover_app.lab.cluster import Cluster
from cutover_app.lab.topics import create_topics
from tests.mirrored.fake_mirror import FakeMirror, key_of

PATIENCE_S = 60.0
_numbers = count(1)


class Sender:
    """What a worker does around a sampler: barriers that count up, and positions that keep up with the copy."""

    def __init__(self, sampler: MirrorSampler, sampling: Sampling, work: str, topic: str) -> None:
        self.sampler = sampler
        self.sampling = sampling
        self.barrier = 0
        self._work = work
        self._topic = topic

    def vouched(self, partition: int = 0) -> int:
        """Return the newest barrier for which a partition of the copy is complete; 0 if there is none."""
        return dict(self.sampling.vouches()).get(partition, (0,))[0]

    async def beat(self) -> None:
        """One barrier, after which the worker has read all of the copy."""
        self.barrier += 1
        began = time.monotonic()
        await self.sampler.after([self.barrier])
        assert time.monotonic() - began < 5.0
        await asyncio.sleep(0.1)
        sample = await self._ends.sample(self._topic)
        for partition, end in sample.ends.items():
            self.sampling.progress(partition, end)

    async def until(self, true: Callable[[], bool]) -> None:
        """Beat until something is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < deadline, (self.sampling, self.sampler.reason, self.sampler.trouble)
            await self.beat()

    async def level(self) -> None:
        """Beat until a barrier from now on is vouched for."""
        goal = self.barrier + 1
        await self.until(lambda: self.vouched() >= goal)

    async def beats(self, number: int) -> None:
        """Beat that often."""
        for _ in range(number):
            await self.beat()

    async def __aenter__(self) -> "Sender":
        self._ends = EndSampler(Broker.parse(self._work))
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._ends.close()
        await self.sampler.close()


class Setting:
    """Topics of one test on both clusters."""

    def __init__(self, legacy: Cluster, work: Cluster, partitions: int = 1) -> None:
        number = next(_numbers)
        self.legacy, self.work, self.partitions = legacy.bootstrap, work.bootstrap, partitions
        self.topic = f"orders-{number}.replica"  # which no real mirror copies
        self.offsets = f"mm2-offsets.test-{number}.internal"

    async def create(self, *, copy_partitions: int | None = None) -> None:
        """Create the topic, its copy, and the topic of positions."""
        await create_topics(self.legacy, {self.topic: self.partitions})
        await create_topics(self.work, {self.topic: copy_partitions or self.partitions})
        await create_topics(self.work, {self.offsets: 3}, configs={"cleanup.policy": "compact"})

    def mirror(self) -> FakeMirror:
        """Return the mirror; it begins when it is entered."""
        return FakeMirror(self.legacy, self.work, self.topic, self.offsets, partitions=self.partitions)

    def sender(self, **options: Any) -> Sender:
        """Return a sender whose sampler asks both clusters."""
        sampling = Sampling()
        sampling.assign(dict.fromkeys(range(self.partitions), 0))
        work, legacy = Broker.parse(self.work, request_timeout=5.0), Broker.parse(self.legacy, request_timeout=5.0)
        offsets, isolation = options.pop("offsets", self.offsets), options.pop("isolation", "read_uncommitted")
        sampler = MirrorSampler(
            sampling,
            topic=self.topic,
            copy=(EndSampler(work), EndSampler(work)),
            legacy=LegacyTopic(options.pop("legacy", legacy), self.topic, isolation=isolation),
            offsets=MirrorOffsets(work, source=self.topic, copy=self.topic, topic=offsets),
            partitions=lambda: range(self.partitions),
            **options,
        )
        return Sender(sampler, sampling, self.work, self.topic)

    async def publish(self, number: int, partition: int = 0) -> None:
        """Publish legacy records."""
        async with AIOKafkaProducer(bootstrap_servers=self.legacy) as producer:
            for each in range(number):
                await producer.send_and_wait(self.topic, b"%d" % each, partition=partition)

    async def tell(self, offset: int | None, partition: int = 0, *, cluster: str = "legacy", topic: str = "") -> None:
        """Write an offset record."""
        async with AIOKafkaProducer(bootstrap_servers=self.work) as producer:
            value = None if offset is None else json.dumps({"offset": offset}).encode()
            await producer.send_and_wait(topic or self.offsets, value, key=key_of(self.topic, partition, cluster))


@asynccontextmanager
async def transactions(bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"tx-{next(_numbers)}")
    async with producer:
        yield producer


def test_a_stalled_mirror_is_waited_for(legacy: Cluster, kafka: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    """While legacy grows and the copy does not, no barrier from then on is vouched for, and the reason is said."""
    setting = Setting(legacy, kafka)

    async def run() -> None:
        await setting.create()
        await setting.publish(20)
        async with setting.mirror() as mirror, setting.sender(stalled_seconds=1.0) as sender:
            await sender.level()

            assert sender.sampler.reason == ""

            mirror.stall()
            before = sender.barrier
            await setting.publish(5)
            stalled = sender.barrier
            await sender.beats(5)
            await sender.until(lambda: sender.sampler.reason != "")

            assert sender.vouched() <= stalled
            assert sender.vouched() <= before + 1
            assert sender.sampler.reason == "the mirror is 5 records behind on partition 0"
            assert sender.sampler.proven
            assert sender.sampling.proven

            mirror.go()
            await sender.level()
            await sender.beat()

            assert sender.sampler.reason == ""

    with caplog.at_level("INFO"):
        asyncio.run(run())
    lines = [each.getMessage() for each in caplog.records if each.name == "cutover_app.kafka.mirror"]
    assert sum("5 records behind" in line for line in lines) == 1
    assert sum("keeps up" in line for line in lines) == 1


def test_what_is_never_copied_holds_nothing_up(legacy: Cluster, kafka: Cluster) -> None:
    """Control records at the tail; and aborted batches too, where the mirror reads committed records only."""
    setting = Setting(legacy, kafka)

    async def run() -> None:
        await setting.create()
        async with transactions(setting.legacy) as producer:
            async with producer.transaction():
                await producer.send_and_wait(setting.topic, b"kept", partition=0)
            async with setting.mirror(), setting.sender() as sender:
                await sender.level()
            await producer.begin_transaction()
            await producer.send_and_wait(setting.topic, b"aborted", partition=0)
            await producer.abort_transaction()
        await setting.tell(0)
        async with setting.sender() as strict, setting.sender(isolation="read_committed") as committed:
            await committed.level()
            await strict.beats(10)

            assert strict.vouched() == 0
            assert [each.records for each in strict.sampler.behind] == [2]

    asyncio.run(run())


def test_an_open_transaction_holds_a_committed_mirror_up(legacy: Cluster, kafka: Cluster) -> None:
    """Its records will be copied if it commits, and until then nobody knows; other partitions go on."""
    setting = Setting(legacy, kafka)

    async def run() -> None:
        await setting.create()
        await setting.tell(-1)
        async with transactions(setting.legacy) as producer, setting.sender(isolation="read_committed") as sender:
            await producer.begin_transaction()
            await producer.send_and_wait(setting.topic, b"open", partition=0)
            await sender.beats(10)

            assert sender.vouched() == 0

            await producer.abort_transaction()
            await sender.level()

    asyncio.run(run())


def test_an_unreadable_mirror_is_not_proven_and_then_again(legacy: Cluster, kafka: Cluster) -> None:
    """Without the topic of positions the copy alone is vouched for, unproven; when it is there, proven again."""
    setting = Setting(legacy, kafka)

    async def run() -> None:
        await create_topics(setting.legacy, {setting.topic: 1})
        await create_topics(setting.work, {setting.topic: 1})
        await setting.publish(3)
        async with setting.sender(unreadable_seconds=1.0) as sender:
            await sender.beat()
            await sender.until(lambda: sender.sampler.trouble != "")

            assert f"topic {setting.offsets} does not exist" in sender.sampler.trouble
            assert sender.vouched() == 0

            await sender.level()

            assert not sender.sampling.proven
            assert sender.sampler.reason.startswith(f"the mirror of {setting.topic} is not proven: topic")

            await create_topics(setting.work, {setting.offsets: 1}, configs={"cleanup.policy": "compact"})
            async with setting.mirror():
                await sender.until(lambda: sender.sampling.proven and sender.vouched() > 0)
                await sender.level()

            assert sender.sampling.proven
            assert sender.sampler.reason == ""

    asyncio.run(run())


def test_an_unreachable_legacy_cluster_never_holds_barriers_up(kafka: Cluster, legacy: Cluster) -> None:
    """Nobody answers there: each beat is as short as ever (`Sender.beat` asserts it), and what is said is unproven."""
    setting = Setting(legacy, kafka)

    async def run() -> None:
        await setting.create()
        nobody = Broker.parse("127.0.0.1:1", request_timeout=5.0)
        async with setting.sender(legacy=nobody, unreadable_seconds=1.0) as sender:
            await sender.level()

            assert not sender.sampling.proven
            assert "no Kafka broker answers at 127.0.0.1:1" in sender.sampler.reason

    asyncio.run(run())


def test_partitions_that_only_one_cluster_has(kafka: Cluster, legacy: Cluster) -> None:
    """The larger count is told; what only the copy has is complete, what it has not is not vouched for."""

    async def run() -> None:
        setting = Setting(legacy, kafka, partitions=2)
        await setting.create(copy_partitions=1)
        async with setting.sender() as sender:
            await sender.level()
            await sender.beats(3)

            assert sender.sampling.partitions == 2
            assert sender.vouched(1) == 0

        other = Setting(legacy, kafka, partitions=1)
        await other.create(copy_partitions=3)
        other.partitions = 3
        async with other.sender() as sender:
            await sender.until(lambda: sender.vouched(2) > 0)

            assert sender.sampling.partitions == 3

    asyncio.run(run())


def test_positions_are_found_and_ambiguity_is_said(kafka: Cluster, legacy: Cluster) -> None:
    """Without a name every mm2-offsets topic is looked through; two mirrors of one topic name cannot be told apart."""
    setting = Setting(legacy, kafka)
    other = f"mm2-offsets.other-{next(_numbers)}.internal"

    async def run() -> None:
        await setting.create()
        await setting.publish(2)
        async with setting.mirror(), setting.sender(offsets=None) as sender:
            await sender.level()
            await create_topics(setting.work, {other: 1})
            await setting.tell(1, cluster="another", topic=setting.offsets)
            await sender.until(lambda: sender.sampler.trouble != "")

            assert sender.sampler.trouble.startswith("several mirrors copy a topic of that name: MirrorSourceConnector")
            assert "legacy.mirror.offsets" in sender.sampler.trouble

            await setting.tell(None, cluster="another")
            await sender.level()

    asyncio.run(run())


def test_records_that_are_deleted_before_they_are_copied_are_told(kafka: Cluster, legacy: Cluster) -> None:
    """They are not waited for, and their range is said."""
    setting, gone = Setting(legacy, kafka), []

    async def run() -> None:
        await setting.create()
        await setting.publish(10)
        await setting.tell(3)
        admin = AIOKafkaAdminClient(bootstrap_servers=setting.legacy)
        await admin.start()
        await admin.delete_records({TopicPartition(setting.topic, 0): RecordsToDelete(before_offset=10)})
        await admin.close()

        def lost(partition: int, each: Uncopied) -> None:
            assert each.next_ms <= time.time() * 1000
            gone.append((partition, each.start, each.end))

        async with setting.sender(lost=lost) as sender:
            await sender.level()

    asyncio.run(run())
    assert gone == [(0, 4, 10)]


def test_the_copy_holds_what_was_vouched_for(kafka: Cluster, legacy: Cluster) -> None:
    """With both sides busy: whatever legacy had published when a barrier was sent is in the copy when it is proven."""
    setting = Setting(legacy, kafka, partitions=2)

    async def run() -> None:
        await setting.create()
        published: dict[int, int] = {}
        total = 0
        async with setting.mirror() as mirror, setting.sender() as sender:
            for step in range(40):
                published[sender.barrier + 1] = total
                await sender.beat()
                await setting.publish(3, partition=step % 2)
                total += 3
                if step in {8, 24}:
                    mirror.stall()
                if step in {16, 30}:
                    mirror.go()
                proven = min(sender.vouched(0), sender.vouched(1))

                assert await _held(setting) >= published.get(proven, 0)

            await sender.level()

    asyncio.run(run())


async def _held(setting: Setting) -> int:
    consumer = AIOKafkaConsumer(bootstrap_servers=setting.work)
    async with consumer:
        places = [TopicPartition(setting.topic, number) for number in range(setting.partitions)]
        consumer.assign(places)
        return sum((await consumer.end_offsets(places)).values())
