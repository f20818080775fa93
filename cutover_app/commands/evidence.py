"""What Kafka holds about a run: read from there alone, so from anywhere, and whether or not a worker runs."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from cutover_app.commands.elsewhere import home_of_legacy
from cutover_app.commands.fixes import Mark, read_mark
from cutover_app.commands.fold import VerdictFold
from cutover_app.commands.summary import Evidence
from cutover_app.contract.models import Contract
from cutover_app.core.books import BOOKS_KEY, Books
from cutover_app.core.foreign import foreign
from cutover_app.core.frames import REBUILT
from cutover_app.core.rows import BOOKS_TABLE, FAMILIES_TABLE
from cutover_app.core.state import FamilyRow, decode_row
from cutover_app.core.verdicts import FamilyName, decode_verdict
from cutover_app.core.waiting import CHECKPOINT_MS, MIRROR_MS, VOUCH_INTERVALS
from cutover_app.kafka.cluster import EARLIEST, LATEST, YOUNGEST, Cluster, Topic
from cutover_app.kafka.clusters import ASK_SECONDS, work_broker
from cutover_app.kafka.reading import TopicReader, topic_reader
from cutover_app.kafka.settings import Broker
from cutover_app.kafka.topics import app_id_of, changelog_of, fixes_of, intake_of

HELD_SECONDS: Final = 1.0
"""A transaction that is open for longer holds the end of its partition."""


def broker_of(contract: Contract) -> Broker:
    """Return the contract's cluster as commands reach it."""
    return work_broker(contract, request_timeout=ASK_SECONDS)


class _Reader:
    """Takes records of the verdicts topic and of two changelogs, and keeps what is true now."""

    def __init__(self, contract: Contract) -> None:
        self.verdicts = VerdictFold(contract.contract, contract.run)
        self.books: dict[int, Books] = {}
        self.checkpoints: dict[int, int] = {}
        self.families: dict[tuple[int, bytes], FamilyRow] = {}
        self.marks: dict[FamilyName, Mark] = {}
        self.strange = 0
        self.strange_marks = 0
        self._take = {
            contract.verdicts.topic: self._verdict,
            changelog_of(contract, BOOKS_TABLE): self._books_row,
            changelog_of(contract, FAMILIES_TABLE): self._family_row,
            fixes_of(contract): self._mark,
        }

    @property
    def topics(self) -> list[str]:
        """Return the topics to read."""
        return list(self._take)

    @property
    def needed(self) -> list[str]:
        """Return those without which nobody knows what a run with state has found."""
        return list(self._take)[:-1]

    def take(self, record: Any) -> None:
        """Take in one record of any of them."""
        self._take[record.topic](record)

    def _verdict(self, record: Any) -> None:
        if record.value is None:
            self.verdicts.remove((record.key or b"").decode("utf-8", "replace"))
            return
        try:
            verdict = decode_verdict(record.value)
        except ValueError:
            self.strange += 1
            return
        self.verdicts.add(verdict)

    def _books_row(self, record: Any) -> None:
        if record.key != BOOKS_KEY:
            return
        if record.value is None:  # they were not to be trusted, and are being made again
            self.books.pop(record.partition, None)
            self.checkpoints.pop(record.partition, None)
        else:
            self.books[record.partition] = decode_row(Books, record.value)
            self.checkpoints[record.partition] = record.timestamp

    def _family_row(self, record: Any) -> None:
        place = (record.partition, record.key)
        if record.value is None:
            self.families.pop(place, None)
        else:
            self.families[place] = decode_row(FamilyRow, record.value)

    def _mark(self, record: Any) -> None:
        try:
            family, mark = read_mark(record.key, record.value)
        except ValueError:
            self.strange_marks += 1
            return
        if mark is None:
            self.marks.pop(family, None)
        else:
            self.marks[family] = mark


@dataclass(frozen=True, slots=True)
class Behind:
    """How far the workers are behind a source topic, by partition."""

    unread: Mapping[int, int]
    """Offsets that can be read and are not committed."""
    held: Mapping[int, int]
    """Offsets beyond the last stable one, which an open transaction holds back."""

    @property
    def total(self) -> int:
        """Return all offsets that are not committed."""
        return sum(self.unread.values()) + sum(self.held.values())


class Observer:
    """Looks at what Kafka holds about a run; at each further look reads only what has come since."""

    def __init__(self, contract: Contract, rules: str, homes: tuple[Cluster, Cluster], reader: TopicReader) -> None:
        self._contract = contract
        self._rules = rules
        self._homes = homes
        """The clusters on which the source topics are read; the second is the work cluster."""
        self._cluster = homes[REBUILT]
        self._topics = reader
        self._reader = _Reader(contract)
        self.sources = (contract.legacy.topic, contract.rebuilt.topic)
        self.behind: tuple[Behind | None, Behind | None] = (None, None)
        self.unjudged: dict[int, int] = {}
        """Intake records that no checkpoint covers, by intake partition."""

    @property
    def checkpoints(self) -> Mapping[int, int]:
        """Return when each intake partition was committed last, in milliseconds since the epoch."""
        return self._reader.checkpoints

    async def look(self) -> Evidence:
        """Return the evidence; raises `KafkaUnavailable`, and `RowError` for rows of another version."""
        contract, cluster, reader = self._contract, self._cluster, self._reader
        intake, now_ms = intake_of(contract), int(time.time() * 1000)
        topics = await cluster.topics([*reader.topics, self.sources[REBUILT], intake])
        sources = [(await home.topics([name])).get(name) for home, name in zip(self._homes, self.sources, strict=True)]
        # Before the books are read, which may take a while: what has come since then is nobody's lag.
        newest, ends = await self._ends_of(topics.get(intake))
        await self._topics.catch_up([topics[name] for name in reader.topics if name in topics], reader.take)
        legacy, rebuilt = [await self._behind(home, topic) for home, topic in zip(self._homes, sources, strict=True)]
        self.behind = legacy, rebuilt
        starts, later = await self._extent(topics.get(intake))
        self.unjudged = self._unjudged(starts, ends)
        commits = await cluster.commits(app_id_of(contract), intake)
        return Evidence(
            contract=contract.contract,
            run=contract.run,
            partitions=contract.intake.partitions,
            grace_ms=contract.timing.grace,
            books=dict(reader.books),
            families=list(reader.families.values()),
            verdicts=reader.verdicts,
            unread=(legacy.total if legacy else None, rebuilt.total if rebuilt else None),
            unjudged=sum(self.unjudged.values()),
            intake=newest,
            intake_ranges={number: (starts.get(number, 0), end) for number, end in later.items()},
            stale_ms=_stale_ms(contract),
            now_ms=now_ms,
            quarantined={number: note for number, (_position, note) in commits.items() if note},
            doubts=_doubts(
                contract,
                self._rules,
                reader,
                [
                    *(name for name, topic in zip(self.sources, sources, strict=True) if topic is None),
                    *(name for name in reader.needed if reader.books and name not in topics),
                ],
            ),
            marks=dict(reader.marks),
            read_since=await self._read_since(topics.get(self.sources[REBUILT])),
        )

    async def _behind(self, cluster: Cluster, topic: Topic | None) -> Behind | None:
        """Compare what the workers have committed of a source with where it ends."""
        if topic is None:
            return None
        committed = await cluster.committed(app_id_of(self._contract), topic.name)
        starts = await cluster.offsets(topic, EARLIEST)
        stable = await cluster.offsets(topic, LATEST, stable=True)
        ends = await cluster.offsets(topic, LATEST)
        at = {number: committed.get(number, starts.get(number, 0)) for number in ends}
        if any(stable.get(number, end) < end for number, end in ends.items()):
            # A producer with transactions always has one open; only one that stays open holds anybody back.
            await asyncio.sleep(HELD_SECONDS)
            later = await cluster.offsets(topic, LATEST, stable=True)
            stable = {
                number: end if later.get(number) != stable.get(number) else stable[number]
                for number, end in ends.items()
            }
        return Behind(
            unread={number: max(0, stable.get(number, end) - at[number]) for number, end in ends.items()},
            held={number: max(0, end - max(at[number], stable.get(number, end))) for number, end in ends.items()},
        )

    async def _ends_of(self, topic: Topic | None) -> tuple[dict[int, tuple[int, int]], dict[int, int]]:
        if topic is None:
            return {}, {}
        return await self._cluster.points(topic, YOUNGEST), await self._cluster.offsets(topic, LATEST)

    async def _extent(self, topic: Topic | None) -> tuple[dict[int, int], dict[int, int]]:
        if topic is None:
            return {}, {}
        return await self._cluster.offsets(topic, EARLIEST), await self._cluster.offsets(topic, LATEST)

    def _unjudged(self, starts: Mapping[int, int], ends: Mapping[int, int]) -> dict[int, int]:
        judged = {number: each.at + 1 for number, each in self._reader.books.items()}
        return {number: max(0, end - judged.get(number, starts.get(number, 0))) for number, end in ends.items()}

    async def _read_since(self, rebuilt: Topic | None) -> int | None:
        """Count the records of the rebuilt topic that were read and are not older than the newest mark."""
        marks = self._reader.marks.values()
        if not marks or rebuilt is None:
            return None
        first = await self._cluster.offsets(rebuilt, max(mark.from_ms for mark in marks))
        committed = await self._cluster.committed(app_id_of(self._contract), rebuilt.name)
        return sum(max(0, committed.get(number, 0) - offset) for number, offset in first.items())


@asynccontextmanager
async def observer(contract: Contract, rules: str = "") -> AsyncIterator[Observer]:
    """Connect an observer. `rules` is the hash of the contract in hand; empty where it is not known."""
    broker = broker_of(contract)
    async with (
        Cluster(broker) as cluster,
        home_of_legacy(contract, cluster) as home,
        topic_reader(broker) as reader,
    ):
        yield Observer(contract, rules, (home, cluster), reader)


async def gather(contract: Contract, rules: str = "") -> Evidence:
    """Look once."""
    async with observer(contract, rules) as looking:
        return await looking.look()


def _stale_ms(contract: Contract) -> tuple[int, int]:
    """Return how far each frontier may be behind; within a grace nothing is due, so nobody waits for it."""
    usual = max(VOUCH_INTERVALS * contract.timing.barrier, CHECKPOINT_MS, contract.timing.grace)
    return (usual if contract.legacy.mirror is None else max(usual, MIRROR_MS)), usual


def _doubts(contract: Contract, rules: str, reader: _Reader, absent: list[str]) -> list[str]:
    doubts = [f"topic {name} does not exist" for name in absent]
    if reader.strange:
        doubts.append(
            f"{reader.strange:,} records of {contract.verdicts.topic} are no verdicts of the version that this reads"
        )
    if reader.strange_marks:
        doubts.append(f"{reader.strange_marks:,} records of {fixes_of(contract)} are no marks that this reads")
    if line := foreign((each.rules for each in reader.books.values()), rules):
        doubts.append(line)
    return doubts
