"""Drives workers of `tiny_app.py` as processes: load, kill, count, compare with what was sent."""

import asyncio
import itertools
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from cutover_app.lab.topics import create_topics

APP = Path(__file__).with_name("tiny_app.py")
ROOT = APP.parents[2]
PARTITIONS_OF = {"a": 3, "b": 5}
_runs = itertools.count(1)

Totals = dict[bytes, list[int]]


class Fleet:
    """One run: its topics, its workers, and what was sent so far."""

    def __init__(self, bootstrap: str, directory: Path, *, partitions: int = 4, **env: str) -> None:
        self.bootstrap = bootstrap
        self.directory = directory
        self.partitions = partitions
        self.run = f"{os.getpid()}-{next(_runs)}"
        self.env = env
        self.expected: Totals = {}
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self._random = random.Random(7)

    def __enter__(self) -> "Fleet":
        asyncio.run(create_topics(self.bootstrap, {self.topic(name): n for name, n in PARTITIONS_OF.items()}))
        return self

    def __exit__(self, *_error: object) -> None:
        for worker in self.workers.values():
            if worker.poll() is None:
                worker.kill()
            worker.wait()

    def topic(self, name: str) -> str:
        """The name of one of our topics."""
        return f"tiny-{self.run}-{name}"

    # -- workers

    def start(self, name: str, *, datadir: str | None = None) -> subprocess.Popen[bytes]:
        """Start a worker, with a state directory of its own."""
        environment = {
            **os.environ,
            "TINY_RUN": self.run,
            "TINY_BROKER": self.bootstrap,
            "TINY_PARTITIONS": str(self.partitions),
            "TINY_DATADIR": str(self.directory / (datadir or name)),
            "PYTHONPATH": str(ROOT),
            **self.env,
        }
        with self.log(name).open("wb") as log:
            self.workers[name] = subprocess.Popen(
                [sys.executable, str(APP), "worker", "-l", "info", "--without-web"],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self.workers[name]

    def log(self, name: str) -> Path:
        """The file that a worker writes to."""
        return self.directory / f"{name}.log"

    def said(self, name: str) -> str:
        """What a worker has said so far."""
        return self.log(name).read_text(errors="replace")

    def ready(self, name: str, seconds: float = 30.0) -> None:
        """Wait until a worker works."""
        until = time.monotonic() + seconds
        while "Worker ready" not in self.said(name):
            assert time.monotonic() < until, self.said(name)[-3000:]
            assert self.workers[name].poll() is None, self.said(name)[-3000:]
            time.sleep(0.1)

    def stop(self, name: str) -> int:
        """SIGTERM; returns the exit code."""
        self.workers[name].terminate()
        return self.workers[name].wait(15)

    def kill(self, name: str, *, wipe: bool = False) -> None:
        """SIGKILL, and perhaps lose its disk."""
        self.workers[name].kill()
        self.workers[name].wait()
        if wipe:
            shutil.rmtree(self.directory / name, ignore_errors=True)

    # -- load

    def records(self, count: int, keys: int) -> Iterator[tuple[bytes, bytes]]:
        """Random records, added to what is expected."""
        for _ in range(count):
            key, value = b"k%d" % self._random.randrange(keys), self._random.randrange(1000)
            total = self.expected.setdefault(key, [0, 0])
            total[0] += value
            total[1] += 1
            yield key, b"%d %s" % (value, b"x" * 50)

    def load(self, count: int, *, keys: int = 5000, codec: str | None = None) -> None:
        """Send and wait."""
        asyncio.run(self.produce(count, keys=keys, codec=codec))

    async def produce(self, count: int, *, keys: int = 5000, codec: str | None = None, pause: float = 0.0) -> None:
        """Send `count` records to each source, spread over its partitions; batches of a hundred."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, compression_type=codec)
        async with producer:
            for name, partitions in PARTITIONS_OF.items():
                for start in range(0, count, 100):
                    batch = producer.create_batch()
                    for key, value in self.records(min(100, count - start), keys):
                        batch.append(key=key, value=value, timestamp=None)
                    where = (start // 100) % partitions
                    done = await producer.send_batch(batch, self.topic(name), partition=where)
                    if pause:
                        await asyncio.sleep(pause)
                await done
            await producer.flush()

    # -- results

    def totals(self) -> Totals:
        """What was counted, by key."""
        rows = asyncio.run(self.rows("totals-changelog"))
        found = {}
        for (_partition, key), value in rows.items():
            assert key not in found, "a key lives in two partitions"
            found[key] = msgspec.msgpack.decode(value)
        return found

    async def rows(self, name: str) -> dict[tuple[int, bytes], bytes]:
        """The compacted, committed content of one of our topics."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
        )
        found: dict[tuple[int, bytes], bytes] = {}
        async with consumer:
            tps = [TopicPartition(self.topic(name), number) for number in range(self.partitions)]
            consumer.assign(tps)
            ends = await consumer.end_offsets(tps)
            while [tp for tp in tps if await consumer.position(tp) < ends[tp]]:
                for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                    found.update({(tp.partition, record.key): record.value for record in records})
        return found

    def settle(self, seconds: float = 40.0) -> Totals:
        """Wait until as much was counted as was sent, and return it."""
        wanted = sum(count for _total, count in self.expected.values())
        until = time.monotonic() + seconds
        while True:
            found = self.totals()
            if sum(count for _total, count in found.values()) >= wanted or time.monotonic() > until:
                return found
            time.sleep(0.3)

    def redelivered(self) -> int:
        """How many entries came again and were dropped."""
        rows = asyncio.run(self.rows("books-changelog"))
        return sum(msgspec.msgpack.decode(row)[2] for row in rows.values())
