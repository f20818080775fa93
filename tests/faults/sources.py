"""What happens to the source topics: compaction, partitions, transactions, a side that rests or lags, a mirror."""

import asyncio
import time

from aiokafka import AIOKafkaProducer

from cutover_app.core.frames import LEGACY, REBUILT
from cutover_app.core.verdicts import FINE
from cutover_app.kafka.settings import Broker
from cutover_app.kafka.topics import verify_topics
from cutover_app.lab.run import JUDGED, PUBLISHED, Stage
from cutover_app.lab.topics import create_topics
from tests.faults.ground import RATE, RSS_MAX, Ground, fails, mirror_of
from tests.faults.row import Seen, row
from tests.integration.life import Life, living

OPEN_SECONDS = 12.0
"""Three times the grace."""
IDLE_SECONDS = 60
WITHIN_SECONDS = 10.0
"""After its grace, a message must be judged within this."""
BACKLOG = 60_000


@row(13, "the rebuilt topic is compacted", "refused; a contract that says so is believed")
async def compacted(ground: Ground, seen: Seen) -> None:
    """What compaction removes before it is read would be called missing."""
    names = (f"row{ground.number}.legacy", f"row{ground.number}.rebuilt")
    life = Life(ground.cluster, ground.folder, f"row{ground.number}")
    await create_topics(ground.cluster.bootstrap, {names[LEGACY]: 1})
    await create_topics(ground.cluster.bootstrap, {names[REBUILT]: 1}, configs={"cleanup.policy": "compact"})
    (worker,) = life.fleet.start()
    await fails(life.fleet, seen, worker, "compacted")
    (ground.folder / "believed").mkdir()
    believed = {"rebuilt": {"topic": names[REBUILT], "compacted": True}}
    life = Life(ground.cluster, ground.folder / "believed", f"row{ground.number}", **believed)
    await verify_topics(life.subject.contract, Broker.parse(life.bootstrap))
    await life.watch.start()
    try:
        await life.both(range(50), without={7})
        await life.start()
        await life.quiet()
        found = await life.examine()
    finally:
        await life.watch.stop()
        await asyncio.to_thread(life.fleet.close)
    seen.wrong += found.wrong
    seen.expect(found.outcomes == {"missing": 1}, f"believed: {dict(found.outcomes)}")


@row(16, "2 and 7 partitions, CRC32 and murmur2", "pairs meet all the same", daily=True)
async def other_partitions(ground: Ground, seen: Seen) -> None:
    """The partitions of the two topics have nothing to do with each other."""
    await ground.play(seen, ground.plan(12, partitions=(2, 7), partitioners=("crc32", "murmur2")))


@row(17, "transactions on the rebuilt topic: aborted, open for three graces, a tail of markers", "no false missing")
async def transactions(ground: Ground, seen: Seen) -> None:
    """What is aborted was never there; what is open delays a close; markers alone do not hold an idle end."""

    async def disturb(stage: Stage) -> None:
        _legacy, topic = stage.plan.topics
        producer = AIOKafkaProducer(
            bootstrap_servers=stage.cluster.bootstrap, transactional_id=stage.plan.name, transaction_timeout_ms=60_000
        )
        async with producer:
            for wait_s in (0.0, OPEN_SECONDS):
                await producer.begin_transaction()
                for partition in range(stage.plan.partitions[REBUILT]):
                    await producer.send_and_wait(topic, b'{"order_id": "aborted"}', partition=partition)
                await asyncio.sleep(wait_s)
                await producer.abort_transaction()

    await ground.play(seen, ground.plan(40), (0.2, disturb), (PUBLISHED, disturb))


@row(19, f"rebuilt rests for {IDLE_SECONDS} s while legacy goes on", f"judged {WITHIN_SECONDS:g} s after grace")
async def idle(ground: Ground, seen: Seen) -> None:
    """An idle side lets entries close: by barriers, not by records."""
    async with living(ground.cluster, ground.folder, f"row{ground.number}", (1, 3)) as life:
        await life.start()
        now_ms = int(time.time() * 1000)
        await life.both(range(100), when=lambda n, side: now_ms + 5 * n + side)
        await life.quiet()
        for number in range(100, 100 + IDLE_SECONDS):
            await life.publish(LEGACY, [number], when=lambda _n, _side: int(time.time() * 1000))
            await asyncio.sleep(1)
        await life.quiet()
        found = await life.examine()
        delays = await life.delays_ms()
    seen.wrong += found.wrong
    seen.expect(found.outcomes == {"missing": IDLE_SECONDS}, str(dict(found.outcomes)))
    limit_ms = life.subject.contract.timing.grace + WITHIN_SECONDS * 1000
    seen.expect(max(delays) <= limit_ms, f"said at most {max(delays) / 1000:.1f} s after it was published")


@row(20, f"a backlog of {BACKLOG} pairs, one side published first, read from its beginning", "nothing taken back")
async def backlog(ground: Ground, seen: Seen) -> None:
    """All of it is there when the worker starts: nothing may be closed before it has been read."""
    peaks = []

    async def measure(stage: Stage) -> None:
        peaks.append(max(worker.usage().peak_rss_bytes for worker in stage.fleet.running))

    plan = ground.plan(BACKLOG / RATE, rate=None, loading="legacy-first", begin="after", workers=1)
    await ground.play(seen, plan, (JUDGED, measure))
    seen.expect(max(peaks) < RSS_MAX, f"peak {max(peaks) / 2**20:.0f} MB")


@row(24, "MirrorMaker 2 is killed and sends again what it had not noted", "duplicates, transport suspected, exact")
async def mirror_killed(ground: Ground, seen: Seen) -> None:
    """A real legacy cluster, a real mirror."""
    _legacy, mirror = await mirror_of(ground)
    played = await ground.play(seen, ground.plan(30, mirrored=True, kill_mirror_at=0.5), mirror=mirror)
    suspected = [
        each
        for each in played.found.verdicts.values()
        if each.outcome not in FINE and any("transport" in (finding.note or "") for finding in each.findings)
    ]
    seen.expect(bool(suspected), f"{len(suspected)} records sent again, each called so")
