"""What is too much, too deep or too alike: memory, hostile input, colliding digests, one key, only mismatches."""

import asyncio
import time

from aiokafka import AIOKafkaProducer

from cutover_app.core.frames import LEGACY, REBUILT
from cutover_app.core.limits import KEY_RECORDS_MAX
from cutover_app.lab.run import JUDGED, Stage
from tests.faults.ground import RATE, RSS_MAX, Ground
from tests.faults.row import Seen, row
from tests.integration.helpers import Sent, send
from tests.integration.life import living

UNPAIRED = 300_000
COPIES = 100_000
STORM = 60_000


@row(37, f"{UNPAIRED} messages wait for partners under a long grace", "memory stays below 500 MB, nothing is dropped")
async def waiting(ground: Ground, seen: Seen) -> None:
    """The legacy side is read to its end before the rebuilt side has anything."""
    peaks: list[int] = []

    async def measure(stage: Stage) -> None:
        peaks.append(max(worker.usage().peak_rss_bytes for worker in stage.fleet.running))

    plan = ground.plan(
        UNPAIRED / RATE,
        rate=None,
        loading="legacy-first",
        workers=1,
        timing={"grace": "10m", "remember": "1h", "barrier": "500ms"},
        rates={},
    )
    await ground.play(seen, plan, (JUDGED, measure))
    seen.expect(max(peaks) < RSS_MAX, f"peak {max(peaks) / 2**20:.0f} MB")


@row(38, "depth 100,000; a million digits; 15 MB of zeros in 15 KB; 50,000 fields", "undecodable, or judged")
async def hostile(ground: Ground, seen: Seen) -> None:
    """None of it may stop a worker, or hold it for long."""
    deep = b'{"id":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    number = b'{"id":2,"x":' + b"9" * 1_000_000 + b"}"
    bomb = b'{"id":3,"x":"' + b"0" * 15_000_000 + b'"}'
    fields = b'{"id":4,' + b",".join(b'"f%d":0' % n for n in range(50_000)) + b"}"
    twice = b'{"id":5,' + b",".join(b'"f":%d' % n for n in range(50_000)) + b"}"
    exponent = b'{"id":6,"x":1e999999999}'
    async with living(ground.cluster, ground.folder, f"row{ground.number}", (1, 1)) as life:
        worker = await life.start()
        before = worker.usage()
        now_ms = int(time.time() * 1000)
        for side, field in ((LEGACY, b"no"), (REBUILT, b"id")):
            values = [each.replace(b'"id"', b'"%s"' % field) for each in (deep, number, bomb, fields, twice, exponent)]
            wanted = [Sent(value, codec="gzip", timestamp=now_ms) for value in values]
            await send(life.bootstrap, life.topics[side], wanted)
        await life.both(range(100, 150), without={120}, when=lambda _n, _side: now_ms)
        await life.quiet()
        spent = worker.usage().cpu_seconds - before.cpu_seconds
        found = await life.examine()
    seen.wrong += found.wrong
    seen.expect(found.outcomes.get("missing", 0) >= 1, str(dict(found.outcomes)))
    seen.expect(spent < 30, f"{spent:.0f} CPU seconds")


@row(41, f"{COPIES} copies of one message; {STORM} pairs, each of them wrong", "bounded, exact counts")
async def alike(ground: Ground, seen: Seen) -> None:
    """One key takes what a whole topic does; a storm of mismatches is no more than slow."""
    async with living(ground.cluster, ground.folder, f"copies{ground.number}", (1, 1)) as life:
        worker = await life.start()
        now_ms = int(time.time() * 1000)
        await life.publish(LEGACY, [1], when=lambda _n, _side: now_ms)
        began = time.monotonic()
        await _copies(life.bootstrap, life.topics[REBUILT], b'{"id":1}', COPIES, now_ms)
        await life.quiet()
        took = time.monotonic() - began
        peak = worker.usage().peak_rss_bytes
        found = await life.examine()
    seen.wrong += found.wrong
    counted = {"duplicate": KEY_RECORDS_MAX - 2, "indeterminate": COPIES - KEY_RECORDS_MAX + 1}
    seen.expect(found.outcomes == counted, f"{dict(found.outcomes)} in {took:.0f} s")
    seen.expect(peak < RSS_MAX, f"peak {peak / 2**20:.0f} MB")
    played = await ground.play(seen, ground.plan(STORM / RATE, rate=None, workers=1, rates={"wrong_value": 1.0}))
    seen.expect(played.found.outcomes.get("mismatch") == STORM, f"{dict(played.found.outcomes)}")


async def _copies(bootstrap: str, topic: str, value: bytes, count: int, now_ms: int) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        sent = [await producer.send(topic, value, partition=0, timestamp_ms=now_ms) for _ in range(count)]
        await asyncio.gather(*sent)
