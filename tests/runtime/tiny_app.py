"""A two-stage app of the smallest kind: copy two topics into intake, and add up values by key.

Run as a worker process by the tests: `python tiny_app.py worker`, configured by the environment.
Every stage is what the real app does, with the judgement left out: frames, marks (R4), a books row,
a checkpoint per intake partition, barriers.
"""

import os
import sys
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
from faust.types import TP

from cutover_app.core.sampling import Sampling
from cutover_app.kafka.admin import TopicSpec, compacted_topic, intake_topic, prepare
from cutover_app.kafka.cluster import Cluster
from cutover_app.kafka.samplers import EndSampler
from cutover_app.kafka.settings import Broker
from cutover_app.kafka.starts import Starts
from cutover_app.runtime.app import CutoverApp, settings
from cutover_app.runtime.barriers import Barriers, TopicSampler
from cutover_app.runtime.checkpoint import Checkpointer
from cutover_app.runtime.partitions import Partitions
from cutover_app.runtime.stage import SourceStage

RUN = os.environ["TINY_RUN"]
SOURCES = ("a", "b")
PARTITIONS = int(os.environ.get("TINY_PARTITIONS", "4"))
CHECKPOINT_SECONDS = float(os.environ.get("TINY_CHECKPOINT", "0.5"))
EMPTY = bool(os.environ.get("TINY_EMPTY"))
POISON = b"poison"

broker = Broker.parse(os.environ["TINY_BROKER"], request_timeout=10.0)
app = CutoverApp(f"tiny-{RUN}", **settings(broker, datadir=Path(os.environ["TINY_DATADIR"])))
INTAKE = f"tiny-{RUN}-intake"
VERDICTS = f"tiny-{RUN}-verdicts"

totals = app.batch_table("totals", help="Sum and count per key.", partitions=PARTITIONS)
books = app.batch_table("books", help="Position and marks.", partitions=PARTITIONS)
tables = [totals, books]

encode = msgspec.msgpack.encode
decode = msgspec.msgpack.decode


class State:
    """One intake partition."""

    def __init__(self, partition: int, row: bytes | None) -> None:
        self.partition = partition
        self.at, marks, self.redelivered = decode(row) if row else (-1, [], 0)
        self.marks = {(topic, number): offset for topic, number, offset in marks}
        self.dirty: dict[bytes, bytes] = {}
        self.next_checkpoint = time.monotonic() + CHECKPOINT_SECONDS

    def apply(self, offset: int, frame: list) -> None:
        """Take one intake record in, once (R4)."""
        self.at = offset
        if frame[0] == "barrier":
            return
        _kind, topic, number, entries = frame
        mark = self.marks.get((topic, number), -1)
        fresh = [entry for entry in entries if entry[0] > mark]
        self.redelivered += len(entries) - len(fresh)
        if not fresh:
            return
        self.marks[topic, number] = fresh[-1][0]
        unknown = list({key for _at, key, _value in fresh if key not in self.dirty})
        rows = dict(zip(unknown, totals.multi_get(self.partition, unknown), strict=True))
        for _at, key, value in fresh:
            row = self.dirty.get(key) or rows[key]
            total, count = decode(row) if row else (0, 0)
            self.dirty[key] = encode([total + value, count + 1])

    def row(self) -> bytes:
        """Return the books row."""
        marks = [[*where, offset] for where, offset in self.marks.items()]
        return encode([self.at, marks, self.redelivered])


class Judge:
    """Owner of the states."""

    def __init__(self) -> None:
        self.states: dict[int, State] = {}

    async def look(self, partitions: Iterable[int]) -> None:
        """Believe them."""

    async def open(self, partition: int, _ours: Callable[[], bool]) -> int:
        """Continue after the books row."""
        state = self.states[partition] = State(partition, books.get(partition, b"books"))
        return state.at + 1

    async def checkpoint(self, state: State) -> None:
        """Write what changed."""
        rows = {"totals": list(state.dirty.items()), "books": [(b"books", state.row())]}
        state.dirty = {}
        verdicts = [(b"%d" % state.partition, b"%d" % state.at)]
        await checkpointer.commit(state.partition, rows, verdicts)
        app.chunk_consumer.set_committable(intake_tp(state.partition), state.at + 1)
        state.next_checkpoint = time.monotonic() + CHECKPOINT_SECONDS

    async def close(self, partition: int) -> None:
        """Checkpoint and forget."""
        if partition in self.states:
            await self.checkpoint(self.states.pop(partition))


def intake_tp(partition: int) -> TP:
    return TP(INTAKE, partition)


checkpointer = Checkpointer(broker, app_id=app.conf.id, tables=tables, verdicts=VERDICTS)
judge = Judge()


def wire_source(name: str) -> SourceStage:
    topic_name = f"tiny-{RUN}-{name}"
    stage = SourceStage(app, broker, topic=topic_name, intake=INTAKE, sampling=Sampling())
    topic = app.chunk_topic(topic_name)

    async def copy(stream) -> None:
        async for chunk in app.chunk_consumer.chunks(stream):
            if EMPTY:
                tally(chunk)
                stage._acked(chunk.tp, chunk.end)
                continue
            frames = defaultdict(list)
            for record in chunk.records:
                if record.value == POISON:
                    raise ValueError("poison")
                to = zlib.crc32(record.key) % PARTITIONS
                frames[to].append([record.offset, record.key, int(record.value.split()[0])])
            await stage.send(
                chunk.tp,
                chunk.end,
                [(to, encode(["records", name, chunk.tp.partition, part])) for to, part in frames.items()],
            )

    app.agent(topic, name=f"copy_{name}")(copy)

    def build() -> dict[int, bytes]:
        vouches = [[number, list(at)] for number, at in stage.sampling.vouches()]
        return {to: encode(["barrier", name, vouches]) for to in range(PARTITIONS)}

    app.beside(Barriers(stage, TopicSampler(stage, EndSampler(broker)), interval=0.5, build=build))
    return stage


seen = [0, 0.0, 0.0]


def tally(chunk) -> None:
    if not seen[0]:
        seen[1:] = [time.monotonic(), time.process_time()]
    seen[0] += len(chunk.records)
    target = int(os.environ.get("TINY_TARGET", "0"))
    if target and seen[0] >= target:
        wall, cpu = time.monotonic() - seen[1], time.process_time() - seen[2]
        print(f"TALLY {seen[0]} records {seen[0] / wall:.0f}/s cpu-us {cpu / seen[0] * 1e6:.2f}")
        sys.stdout.flush()
        os._exit(0)


stages = {f"tiny-{RUN}-{name}": wire_source(name) for name in SOURCES}


@app.agent(app.chunk_topic(INTAKE), name="judge")
async def judge_agent(stream) -> None:
    """Add up."""
    async for chunk in app.chunk_consumer.chunks(stream):
        state = judge.states[chunk.tp.partition]
        for record in chunk.records:
            state.apply(record.offset, decode(record.value))
        state.at = chunk.end - 1
        if time.monotonic() >= state.next_checkpoint:
            await judge.checkpoint(state)


SPECS = [
    TopicSpec(f"tiny-{RUN}-a", ours=False),
    TopicSpec(f"tiny-{RUN}-b", ours=False),
    intake_topic(INTAKE, PARTITIONS, replication=1, min_insync=1, retention_ms=3_600_000),
    *(
        compacted_topic(name, PARTITIONS, replication=1, min_insync=1)
        for name in (VERDICTS, totals.changelog_name, books.changelog_name)
    ),
]


async def declare_topics() -> dict[str, str]:
    async with Cluster(broker) as cluster:
        ids = await prepare(cluster, SPECS)
    for topic in stages:
        await Starts(broker, group=app.conf.id, side=0, topic=topic, books="").begin("earliest")
    return ids


app.prepare = declare_topics
app.partitions = Partitions(intake=INTAKE, tables=tables, checkpointer=checkpointer, judge=judge, stages=stages)

if __name__ == "__main__":
    app.main()
