"""What Kafka holds about a run, read with plain consumers: the harness believes no worker's word.

Everything is read committed, from the beginning to where a partition ended when the reading began.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition

from cutover_app.contract.models import Contract
from cutover_app.core.books import BOOKS_KEY, Books
from cutover_app.core.closing import NEVER
from cutover_app.core.frames import LEGACY, REBUILT, SIDES, Frame, Source, decode_frame, is_stray
from cutover_app.core.rows import BOOKS_TABLE, FAMILIES_TABLE
from cutover_app.core.standing import standing_from, topic_id
from cutover_app.core.state import PENDING, ROW_VERSION, TALLIES, FamilyRow, decode_row
from cutover_app.core.verdicts import Verdict, decode_verdict
from cutover_app.kafka.cluster import LATEST, Cluster
from cutover_app.kafka.clusters import direct_broker
from cutover_app.kafka.settings import Broker
from cutover_app.kafka.topics import app_id_of, changelog_of, intake_of
from cutover_app.lab.errors import LabError
from cutover_app.lab.oracle import compact

_Row = TypeVar("_Row")

POLL_MS: Final = 200
RECORDS_MAX: Final = 5_000
FETCH_BYTES: Final = 4 * 1024 * 1024
READ_TIMEOUT_S: Final = 120.0
"""Twice as long as a transaction stays open that a killed worker has left: nothing behind it can be read before."""
SETTLE_POLL_S: Final = 0.25


def _consumer(bootstrap: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_wait_ms=POLL_MS,
    )


async def ends_of(bootstrap: str, *topics: str) -> dict[TopicPartition, int]:
    """Return the end of every partition of these topics."""
    async with Cluster(Broker.parse(bootstrap)) as cluster:
        found = await cluster.topics(topics)
        if absent := set(topics) - set(found):
            raise LabError(f"no topic {', '.join(sorted(absent))}")
        ends = [(topic.name, await cluster.offsets(topic, LATEST)) for topic in found.values()]
    return {TopicPartition(name, number): end for name, each in ends for number, end in sorted(each.items())}


async def read_topic(bootstrap: str, topic: str) -> AsyncIterator[list[Any]]:
    """Yield all records of a topic, in runs of one partition, none of them empty."""
    ends = await ends_of(bootstrap, topic)
    async with _consumer(bootstrap) as consumer:
        consumer.assign(list(ends))
        await consumer.seek_to_beginning(*ends)
        left = set(ends)
        deadline = time.monotonic() + READ_TIMEOUT_S
        while True:
            # Positions move past control records too, of which there is no record to see.
            left = {place for place in left if await consumer.position(place) < ends[place]}
            if not left:
                return
            for place, records in (await consumer.getmany(timeout_ms=POLL_MS, max_records=RECORDS_MAX)).items():
                if wanted := [record for record in records if record.offset < ends[place]]:
                    yield wanted
                deadline = time.monotonic() + READ_TIMEOUT_S
            if time.monotonic() > deadline:
                raise LabError(f"topic {topic}: {sorted(left)} could not be read to the end")


async def read_verdicts(bootstrap: str, contract: Contract) -> dict[str, Verdict]:
    """Return the newest revision of every verdict of a run."""
    found: list[Verdict] = []
    async for records in read_topic(bootstrap, contract.verdicts.topic):
        found += [decode_verdict(record.value) for record in records if record.value is not None]
    return compact(verdict for verdict in found if verdict.run == contract.run)


async def read_intake(bootstrap: str, contract: Contract) -> AsyncIterator[list[tuple[int, int, int, Frame]]]:
    """Yield (intake partition, offset, append time, frame) of everything in intake."""
    intake = intake_of(contract)
    async with Cluster(Broker.parse(bootstrap)) as cluster:
        incarnation = (await cluster.topics([intake]))[intake].id
    async for records in read_topic(bootstrap, intake):
        found = [each for each in records if not is_stray(each.key, incarnation)]
        yield [(each.partition, each.offset, each.timestamp, decode_frame(each.value)) for each in found]


@dataclass(frozen=True)
class Totals:
    """The books of all intake partitions, added up; pairs are (legacy, rebuilt)."""

    partitions: int
    accepted: tuple[int, int]
    tallies: tuple[tuple[int, ...], tuple[int, ...]]
    redelivered: tuple[int, int]
    lag_ms: tuple[int | None, int | None]
    """How far the frontier that the worst partition has is behind its judge time; None without a frontier."""
    balance: tuple[str, ...]

    @property
    def pending(self) -> int:
        """Records that are not judged yet, both sides."""
        return sum(tallies[PENDING] for tallies in self.tallies)

    def lines(self) -> list[str]:
        """Say it in a line per side."""
        return [
            f"{name}: {accepted} accepted = "
            + " + ".join(f"{count} {tally}" for count, tally in zip(tallies, TALLIES, strict=True))
            + f"; {redelivered} redelivered"
            for name, accepted, tallies, redelivered in zip(
                SIDES, self.accepted, self.tallies, self.redelivered, strict=True
            )
        ]


def total(books: Iterable[Books]) -> Totals:
    """Add up the books of all intake partitions."""
    rows = list(books)
    both = (LEGACY, REBUILT)
    sums = [[sum(row.ledgers[side].tallies[place] for row in rows) for place in range(len(TALLIES))] for side in both]
    return Totals(
        partitions=len(rows),
        accepted=_pair(sum(row.ledgers[side].accepted for row in rows) for side in both),
        tallies=(tuple(sums[LEGACY]), tuple(sums[REBUILT])),
        redelivered=_pair(sum(row.ledgers[side].redelivered for row in rows) for side in both),
        lag_ms=(_lag(rows, LEGACY), _lag(rows, REBUILT)),
        balance=tuple(line for row in rows for line in row.balance()),
    )


def _pair(values: Iterable[int]) -> tuple[int, int]:
    legacy, rebuilt = values
    return legacy, rebuilt


def _lag(rows: list[Books], side: int) -> int | None:
    lags = [row.clock.now - row.frontiers[side].closed for row in rows if row.frontiers[side].closed != NEVER]
    return max(lags) if rows and len(lags) == len(rows) else None


@dataclass
class Watch:
    """Follows the books and the families of a run while it goes on."""

    bootstrap: str
    contract: Contract
    books: dict[int, Books] = field(default_factory=dict)
    books_ms: dict[int, int] = field(default_factory=dict)
    """When each books row was committed."""
    families: dict[tuple[int, str, str], FamilyRow] = field(default_factory=dict)
    accepted_ms: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Per intake partition: (records accepted on both sides, when a row said so for the first time)."""
    _growth: list[tuple[int, int]] = field(default_factory=list)
    """(when, how many more records were accepted), each time that a partition's books say so."""
    _consumer: Any = None

    async def start(self) -> None:
        """Connect; the topics of the run must be there."""
        topics = [changelog_of(self.contract, table) for table in (BOOKS_TABLE, FAMILIES_TABLE)]
        places = list(await ends_of(self.bootstrap, *topics))
        self._consumer = _consumer(self.bootstrap)
        await self._consumer.start()
        self._consumer.assign(places)
        await self._consumer.seek_to_beginning(*places)

    async def stop(self) -> None:
        """Disconnect."""
        if self._consumer is not None:
            await self._consumer.stop()

    async def look(self, *, wait_ms: int = POLL_MS) -> None:
        """Take in what is new."""
        while True:
            found = await self._consumer.getmany(timeout_ms=wait_ms, max_records=RECORDS_MAX)
            for place, records in found.items():
                for record in records:
                    self._take(place.topic, record)
            if not found or wait_ms == 0:
                return
            wait_ms = 0

    def _take(self, topic: str, record: Any) -> None:
        if record.value is None:
            return
        if topic == changelog_of(self.contract, FAMILIES_TABLE):
            family = _read(FamilyRow, record.value)
            self.families[record.partition, family.kind, family.path] = family
        elif record.key == BOOKS_KEY:
            books = self.books[record.partition] = _read(Books, record.value)
            self.books_ms[record.partition] = record.timestamp
            accepted = sum(ledger.accepted for ledger in books.ledgers)
            before = self.accepted_ms.get(record.partition, (-1, 0))[0]
            if before != accepted:
                self.accepted_ms[record.partition] = accepted, record.timestamp
                self._growth.append((record.timestamp, accepted - max(before, 0)))

    @property
    def progress(self) -> list[tuple[float, int]]:
        """(when, records accepted on both sides by then), in the order of time, which partitions are not read in.

        In seconds since the epoch.
        """
        growth = sorted(self._growth)
        return list(zip([at / 1000 for at, _ in growth], accumulate(more for _, more in growth), strict=True))

    @property
    def totals(self) -> Totals:
        """The books as they are known now."""
        return total(self.books.values())

    def findings(self) -> Counter[str]:
        """Return how many verdicts have a finding of each kind now."""
        found: Counter[str] = Counter()
        for (_, kind, _), family in self.families.items():
            found[kind] += family.open
        return found


class Quiet:
    """Knows when a run has come to its end: everything published is in intake, and all of intake is judged."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._contract = watch.contract
        self._goal: dict[int, int] | None = None

    async def reached(self) -> bool:
        """Look again. Nothing may be published to the sources any more."""
        if self._goal is None:
            if not await self._all_forwarded():
                return False
            ends = await ends_of(self._watch.bootstrap, intake_of(self._contract))
            self._goal = {place.partition: end for place, end in ends.items()}
        await self._watch.look(wait_ms=0)
        books = self._watch.books
        applied = all(number in books and books[number].at + 1 >= end for number, end in self._goal.items())
        return applied and self._watch.totals.pending == 0

    async def _all_forwarded(self) -> bool:
        """Compare what the group has committed with the ends of the sources."""
        bootstrap, contract = self._watch.bootstrap, self._contract
        homes = legacy_home(contract, bootstrap), bootstrap
        for side, name in ((LEGACY, contract.legacy.topic), (REBUILT, contract.rebuilt.topic)):
            async with Cluster(Broker.parse(homes[side])) as cluster:
                topic = (await cluster.topics([name]))[name]
                commits = await cluster.commits(app_id_of(contract), name)
                ends = await cluster.offsets(topic, LATEST)
            for number, end in ends.items():
                standing = standing_from(Source(side, name, topic.id, number), *commits.get(number, (-1, "")))
                if standing.position < end or topic_id(standing.source.incarnation) != topic.id:
                    return False
        return True


def legacy_home(contract: Contract, bootstrap: str) -> str:
    """Return the address of the cluster on which the legacy topic is read; `bootstrap` is the work cluster."""
    broker = direct_broker(contract)
    return bootstrap if broker is None else ",".join(broker.servers)


async def wait_quiet(watch: Watch, *, timeout: float, check: Callable[[], None]) -> None:  # noqa: ASYNC109
    """Wait until a run is at its end; `check` raises when waiting has no sense any more."""
    quiet = Quiet(watch)
    deadline = time.monotonic() + timeout
    while not await quiet.reached():
        check()
        if time.monotonic() > deadline:
            raise LabError(f"not at its end after {timeout:g} s: {'; '.join(watch.totals.lines())}")
        await asyncio.sleep(SETTLE_POLL_S)


async def is_working(watch: Watch) -> bool:
    """Tell whether workers have opened their partitions: the first barriers are in intake."""
    return sum((await ends_of(watch.bootstrap, intake_of(watch.contract))).values()) > 0


async def wait_working(watch: Watch, *, timeout: float, check: Callable[[], None]) -> None:  # noqa: ASYNC109
    """Wait for that."""
    deadline = time.monotonic() + timeout
    while not await is_working(watch):
        check()
        if time.monotonic() > deadline:
            raise LabError(f"no worker is at work after {timeout:g} s")
        await asyncio.sleep(SETTLE_POLL_S)


def _read(kind: type[_Row], value: bytes) -> _Row:
    """Read a row, whichever version wrote it: workers of a run may be of several, and this only looks on."""
    return decode_row(kind, ROW_VERSION + value[1:])
