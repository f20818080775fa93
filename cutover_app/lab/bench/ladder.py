"""A worker taken apart: one process that does as much of the work as a rung says, with the product's own parts.

    python -m cutover_app.lab.bench.ladder RUNG        contract and broker by CUTOVER_CONTRACT and CUTOVER_BROKER

    consume      fetch both topics in chunks
    decode       read each record as exact JSON
    rebuild      make the expected and the actual messages: canonical form, digest, key
    intake       lay them out, and have intake acknowledge them
    pairing      read them back, and judge them, with rows in memory
    checkpoint   the same with rows, changelogs and verdicts in transactions and in RocksDB

Each does all that the one above it does. What a worker does beyond the last one - Faust, barriers, closing, offsets -
is the difference to the real worker. It prints one line of JSON.
"""

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.types import TP

from cutover_app.codec.json_codec import JsonReader, UndecodableError
from cutover_app.contract.compile import Compiled, compile_contract
from cutover_app.contract.load import contract_path, load_contract
from cutover_app.contract.models import Contract
from cutover_app.contract.terms import judge_terms
from cutover_app.core.forwarding import frames, lay_out
from cutover_app.core.frames import LEGACY, REBUILT, SIDES, Source, decode_frame
from cutover_app.core.judge import Judge
from cutover_app.core.memory import MemoryStore
from cutover_app.core.rows import TABLES, Changes
from cutover_app.core.verdicts import encode_verdict
from cutover_app.kafka.admin import MESSAGE_BYTES_MAX
from cutover_app.kafka.cluster import LATEST, Cluster
from cutover_app.kafka.clusters import work_broker
from cutover_app.kafka.settings import Broker
from cutover_app.lab.bench.figures import Meter
from cutover_app.lab.topics import create_topics
from cutover_app.runtime.app import spare_the_collector
from cutover_app.runtime.checkpoint import Checkpointer
from cutover_app.runtime.chunks import Chunk
from cutover_app.runtime.consuming import (
    FETCH_BYTES_MAX,
    FETCH_BYTES_MIN,
    FETCH_PARTITION_BYTES,
    FETCH_WAIT_MS,
    POLL_SECONDS,
    fetch_chunks,
)
from cutover_app.runtime.forwarding import Reader, reader_of
from cutover_app.runtime.intake import IntakeSender
from cutover_app.runtime.judging import CHECKPOINT_ENTRIES, PartitionRows
from cutover_app.runtime.store import PartitionStore

if TYPE_CHECKING:
    from cutover_app.runtime.table import BatchTable

RUNGS: Final = ("consume", "decode", "rebuild", "intake", "pairing", "checkpoint")


class Topics:
    """Reads topics from their beginning to an end that may still be unknown."""

    def __init__(self, broker: Broker, names: Iterable[str]) -> None:
        self._broker = broker
        self._names = tuple(names)
        self._left: dict[TP, int] = {}
        self._consumer: Any = None

    async def start(self) -> None:
        """Connect."""
        self._consumer = AIOKafkaConsumer(
            **self._broker.client("bench"),
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            fetch_min_bytes=FETCH_BYTES_MIN,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            fetch_max_bytes=FETCH_BYTES_MAX,
            max_partition_fetch_bytes=FETCH_PARTITION_BYTES,
        )
        await self._consumer.start()
        self._consumer.assign([TopicPartition(*tp) for tp in await self.ends()])

    async def stop(self) -> None:
        """Disconnect."""
        await self._consumer.stop()

    async def ends(self) -> dict[TP, int]:
        """Ask where the topics end now."""
        async with Cluster(self._broker) as cluster:
            found = await cluster.topics(self._names)
            ends = [(topic.name, await cluster.offsets(topic, LATEST)) for topic in found.values()]
        return {TP(name, number): end for name, each in ends for number, end in each.items()}

    async def chunks(self, complete: Callable[[], bool]) -> AsyncIterator[Chunk]:
        """Yield what there is; when it is `complete`, up to where the topics end then, and no more."""
        at: dict[TP, int] = {}
        ends: dict[TP, int] | None = None
        while ends is None or any(at.get(tp, 0) < end for tp, end in ends.items()):
            if ends is None and complete():
                ends = await self.ends()
            found = await fetch_chunks(self._consumer, {TP(*tp) for tp in self._consumer.assignment()}, POLL_SECONDS)
            for chunks in found.values():
                for chunk in chunks:
                    at[chunk.tp] = chunk.end
                    yield chunk


class Rows:
    """One table in RocksDB, as a checkpoint and a judge see it."""

    def __init__(self, folder: Path, name: str, changelog: str) -> None:
        self.name = name
        self.changelog_name = changelog
        self.reads = self.writes = 0
        self._folder = folder
        self._stores: dict[int, PartitionStore] = {}

    def partition(self, number: int) -> PartitionStore:
        """Return the database of a partition."""
        if number not in self._stores:
            self._stores[number] = PartitionStore(self._folder / f"{self.name}-{number}.db")
        return self._stores[number]

    def get(self, partition: int, key: bytes) -> bytes | None:
        """Return one row."""
        self.reads += 1
        return self.partition(partition).get(key)

    def multi_get(self, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return rows in the order of the keys."""
        self.reads += len(keys)
        return self.partition(partition).multi_get(keys)

    def scan(self, partition: int, start: bytes, *, limit: int) -> list[tuple[bytes, bytes]]:
        """Return up to `limit` rows with keys from `start` on, ascending."""
        return self.partition(partition).scan(start, limit=limit)

    def check_room(self) -> None:
        """Do nothing: the lab has room."""

    def write_batch(self, partition: int, rows: Sequence[tuple[bytes, bytes | None]], changelog_offset: int) -> None:
        """Apply the rows of a checkpoint."""
        self.writes += len(rows)
        self.partition(partition).write(rows, changelog_offset)


class Memory:
    """Where the rows of `pairing` go."""

    def __init__(self, partitions: int) -> None:
        self.stores = [MemoryStore() for _ in range(partitions)]

    async def keep(self, judge: Judge, changes: Changes) -> None:
        """Take in the rows of a checkpoint."""
        judge.take_verdicts()
        self.stores[judge.partition].commit(changes)

    def counts(self, messages: int) -> dict[str, float]:  # noqa: ARG002 - of a `Disk`
        """Return nothing: no row is durable."""
        return {}


class Disk:
    """Where those of `checkpoint` go."""

    def __init__(self, broker: Broker, name: str, partitions: int, folder: Path) -> None:
        self._tables = {table: Rows(folder, table, f"{name}-{table}") for table in TABLES}
        tables = cast("Sequence[BatchTable]", list(self._tables.values()))
        self._checkpointer = Checkpointer(broker, app_id=name, tables=tables, verdicts=f"{name}-verdicts")
        self._partitions = partitions
        self.stores = [PartitionRows(tables, number) for number in range(partitions)]
        self.topics = [*(rows.changelog_name for rows in self._tables.values()), f"{name}-verdicts"]

    async def start(self) -> None:
        """Open the transactional producers."""
        await self._checkpointer.open(*range(self._partitions))

    async def stop(self) -> None:
        """Close them."""
        await self._checkpointer.close_all()

    async def keep(self, judge: Judge, changes: Changes) -> None:
        """Commit a checkpoint."""
        rows = {table: list(changed.items()) for table, changed in changes.items()}
        verdicts = [(each.id.encode(), encode_verdict(each)) for each in judge.take_verdicts()]
        await self._checkpointer.commit(judge.partition, rows, verdicts)

    def counts(self, messages: int) -> dict[str, float]:
        """Return what was done per message."""
        tables = self._tables.values()
        return {
            "changelog rows": self._checkpointer.written["rows"] / messages,
            "RocksDB writes": sum(rows.writes for rows in tables) / messages,
            "RocksDB reads": sum(rows.reads for rows in tables) / messages,
        }


class Ladder:
    """Goes up to one rung."""

    def __init__(self, contract: Contract, compiled: Compiled, rung: str, goal: int) -> None:
        self._contract = contract
        self._compiled = compiled
        self._depth = RUNGS.index(rung)
        self._broker = work_broker(contract)
        self._name = f"bench-{rung}-{secrets.token_hex(4)}"
        self._partitions = contract.intake.partitions
        self._topics = contract.legacy.topic, contract.rebuilt.topic
        self._meter = Meter(goal)
        self._sender = IntakeSender(
            self._broker, name=self._name, topic=f"{self._name}-intake", on_acked=lambda _tp, _end: None
        )
        self._forwarded = False
        self._counts: dict[str, float] = {}

    def _has(self, rung: str) -> bool:
        return self._depth >= RUNGS.index(rung)

    async def climb(self) -> dict[str, Any]:
        """Do all of it; return the figures."""
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            sources = Topics(self._broker, self._topics)
            if self._has("intake"):
                await self._create(f"{self._name}-intake", **{"max.message.bytes": str(MESSAGE_BYTES_MAX)})
                await _open(stack, self._sender)
            if self._has("pairing"):
                group.create_task(self._judge(await self._keeper(stack)))
            await _open(stack, sources)
            spare_the_collector()
            await self._forward(sources)
        return self._meter.figures(self._counts)

    async def _create(self, *names: str, **configs: str) -> None:
        servers = ",".join(self._broker.servers)
        await create_topics(servers, dict.fromkeys(names, self._partitions), configs=configs)

    async def _keeper(self, stack: AsyncExitStack) -> Memory | Disk:
        if not self._has("checkpoint"):
            return Memory(self._partitions)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        disk = Disk(self._broker, self._name, self._partitions, folder)
        await self._create(*disk.topics, **{"cleanup.policy": "compact"})
        await _open(stack, disk)
        return disk

    async def _forward(self, sources: Topics) -> None:
        """Stage one, as far as the rung goes."""
        sides = {topic: side for side, topic in enumerate(self._topics)}
        readers = [reader_of(self._compiled, side) for side in (LEGACY, REBUILT)]
        decode = _decoder(self._contract)
        async for chunk in sources.chunks(lambda: True):
            side = sides[chunk.tp.topic]
            if self._has("rebuild"):
                await self._send(chunk, side, readers[side])
            elif self._has("decode"):
                decode(chunk.records)
            self._meter.add(len(chunk.records))
            await asyncio.sleep(0)
        await self._sender.flush()
        self._forwarded = True

    async def _send(self, chunk: Chunk, side: int, read: Reader) -> None:
        entries, _filtered = read(chunk.records)
        if not self._has("intake"):
            return
        source = Source(side, chunk.tp.topic, "bench", chunk.tp.partition)
        laid = lay_out(entries, self._partitions)
        sender, rules = self._sender.sender_id, self._compiled.rules
        outgoing = [(q, data) for q, each in laid.items() for data in frames(rules, sender, source, each)]
        await self._sender.send(chunk.tp, chunk.end, outgoing)

    async def _judge(self, keeper: Memory | Disk) -> None:
        """Stage two."""
        terms = judge_terms(self._contract, self._compiled)
        judges = [Judge(terms, number, keeper.stores[number]) for number in range(self._partitions)]
        due = [0] * self._partitions
        intake = Topics(self._broker, [f"{self._name}-intake"])
        await intake.start()
        async for chunk in intake.chunks(lambda: self._forwarded):
            judge = judges[chunk.tp.partition]
            before = judge.entries
            for record in chunk.records:
                judge.apply(record.offset, record.timestamp, decode_frame(record.value))
            judge.settle()
            due[judge.partition] += judge.entries - before
            if due[judge.partition] >= CHECKPOINT_ENTRIES / 2:
                due[judge.partition] = 0
                await _checkpoint(judge, keeper)
        for judge in judges:
            await _checkpoint(judge, keeper)
        await intake.stop()
        self._counts = keeper.counts(sum(judge.entries for judge in judges))


async def _checkpoint(judge: Judge, keeper: Memory | Disk) -> None:
    await keeper.keep(judge, judge.checkpoint())
    judge.committed()


async def _open(stack: AsyncExitStack, service: Any) -> None:
    stack.push_async_callback(service.stop)
    await service.start()


def _decoder(contract: Contract) -> Callable[[Sequence[Any]], None]:
    reader = JsonReader(contract.limits.record, strict=contract.compare.numbers == "strict")

    def decode(records: Sequence[Any]) -> None:
        for record in records:
            try:
                reader.read(record.value)
            except UndecodableError:
                continue

    return decode


def main() -> int:
    """Go up to one rung and print the figures as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rung", choices=RUNGS)
    parser.add_argument("--messages", type=int, required=True, help=f"in the topics of both sides, {SIDES}")
    options = parser.parse_args()
    contract = load_contract(contract_path())
    ladder = Ladder(contract, compile_contract(contract), options.rung, options.messages)
    print(json.dumps(asyncio.run(ladder.climb())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
