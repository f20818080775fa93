"""What Kafka holds about a run: read from there alone, so from anywhere, and whether or not a worker runs."""

from typing import Any, Final

from cutover_app.commands.elsewhere import home_of_legacy
from cutover_app.commands.fold import VerdictFold
from cutover_app.commands.summary import Evidence
from cutover_app.contract.models import Contract
from cutover_app.core.books import BOOKS_KEY, Books
from cutover_app.core.frames import LEGACY, REBUILT
from cutover_app.core.rows import BOOKS_TABLE, FAMILIES_TABLE
from cutover_app.core.state import FamilyRow, decode_row
from cutover_app.core.verdicts import decode_verdict
from cutover_app.kafka.cluster import EARLIEST, LATEST, Cluster, Topic
from cutover_app.kafka.clusters import work_broker
from cutover_app.kafka.reading import read_topics
from cutover_app.kafka.settings import Broker
from cutover_app.kafka.topics import app_id_of, changelog_of, intake_of

REQUEST_SECONDS: Final = 10.0
"""A command asks people to wait for a broker no longer than this."""


def broker_of(contract: Contract) -> Broker:
    """Return the contract's cluster as commands reach it."""
    return work_broker(contract, request_timeout=REQUEST_SECONDS)


class _Reader:
    """Takes records of the verdicts topic and of two changelogs, and keeps what is true now."""

    def __init__(self, contract: Contract) -> None:
        self.verdicts = VerdictFold(contract.contract, contract.run)
        self.books: dict[int, Books] = {}
        self.families: dict[tuple[int, bytes], FamilyRow] = {}
        self.strange = 0
        self._take = {
            contract.verdicts.topic: self._verdict,
            changelog_of(contract, BOOKS_TABLE): self._books_row,
            changelog_of(contract, FAMILIES_TABLE): self._family_row,
        }

    @property
    def topics(self) -> list[str]:
        """Return the topics to read."""
        return list(self._take)

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
        if record.key == BOOKS_KEY and record.value is not None:
            self.books[record.partition] = decode_row(Books, record.value)

    def _family_row(self, record: Any) -> None:
        place = (record.partition, record.key)
        if record.value is None:
            self.families.pop(place, None)
        else:
            self.families[place] = decode_row(FamilyRow, record.value)


async def gather(contract: Contract, rules: str = "") -> Evidence:
    """Read the evidence of a contract's run; raises `KafkaUnavailable`, and `RowError` for rows of another version.

    `rules` is the hash of the contract in hand; empty where it is not known.
    """
    broker = broker_of(contract)
    reader = _Reader(contract)
    intake = intake_of(contract)
    async with Cluster(broker) as cluster:
        topics = await cluster.topics([*reader.topics, contract.rebuilt.topic, intake])
        await read_topics(broker, [topics[name] for name in reader.topics if name in topics], reader.take)
        unread = [None, await _unread(cluster, contract, topics.get(contract.rebuilt.topic))]
        absent = [] if contract.rebuilt.topic in topics else [contract.rebuilt.topic]
        async with home_of_legacy(contract, cluster) as home:
            legacy = (await home.topics([contract.legacy.topic])).get(contract.legacy.topic)
            unread[LEGACY] = await _unread(home, contract, legacy)
        if legacy is None:
            absent.insert(0, contract.legacy.topic)
        unjudged = await _unjudged(cluster, topics.get(intake), reader.books)
    return Evidence(
        contract=contract.contract,
        run=contract.run,
        partitions=contract.intake.partitions,
        books=reader.books,
        families=list(reader.families.values()),
        verdicts=reader.verdicts,
        unread=(unread[LEGACY], unread[REBUILT]),
        unjudged=unjudged,
        doubts=_doubts(contract, rules, reader, absent),
    )


async def _unread(cluster: Cluster, contract: Contract, topic: Topic | None) -> int | None:
    """Count the offsets of a source that the workers have not committed."""
    if topic is None:
        return None
    committed = await cluster.committed(app_id_of(contract), topic.name)
    starts = await cluster.offsets(topic, EARLIEST)
    ends = await cluster.offsets(topic, LATEST)
    return sum(max(0, end - committed.get(number, starts.get(number, 0))) for number, end in ends.items())


async def _unjudged(cluster: Cluster, intake: Topic | None, books: dict[int, Books]) -> int:
    if intake is None:
        return 0
    starts = await cluster.offsets(intake, EARLIEST)
    ends = await cluster.offsets(intake, LATEST)
    judged = {number: each.at + 1 for number, each in books.items()}
    return sum(max(0, end - judged.get(number, starts.get(number, 0))) for number, end in ends.items())


def _doubts(contract: Contract, rules: str, reader: _Reader, absent: list[str]) -> list[str]:
    doubts = [f"topic {name} does not exist" for name in absent]
    if reader.strange:
        doubts.append(
            f"{reader.strange:,} records of {contract.verdicts.topic} are no verdicts of the version that this reads"
        )
    judged = {each.rules for each in reader.books.values()}
    if len(judged) > 1:
        doubts.append(f"intake partitions were judged under {len(judged)} different contracts: name another `run`")
    elif judged and rules and judged != {rules}:
        doubts.append("this run was judged under another contract than this one: a changed contract needs a new `run`")
    return doubts
