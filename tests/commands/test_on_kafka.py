"""plan, report and reset against a real broker, with rows and verdicts as checkpoints write them."""

import asyncio
import json
from collections.abc import Callable, Iterable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from cutover_app.commands.files import SourceRecord
from cutover_app.commands.offline import Offline
from cutover_app.contract.compile import compile_contract
from cutover_app.contract.load import load_contract
from cutover_app.contract.models import Contract
from cutover_app.core.books import BOOKS_KEY, Books
from cutover_app.core.frames import LEGACY, REBUILT, Records, Source, encode_frame
from cutover_app.core.rows import BOOKS_TABLE, FAMILIES_TABLE, TABLES
from cutover_app.core.state import encode_row
from cutover_app.core.verdicts import decode_verdict, encode_verdict
from cutover_app.kafka.admin import TopicSpec, delete, look
from cutover_app.kafka.cluster import LATEST
from cutover_app.kafka.cluster import Cluster as Connection
from cutover_app.kafka.ruled import foreign_rules
from cutover_app.kafka.settings import Broker
from cutover_app.kafka.topics import app_id_of, changelog_of, fixes_of, intake_of
from cutover_app.lab.cluster import Cluster
from cutover_app.lab.fleet import run_command
from cutover_app.lab.topics import create_topics_now
from cutover_app.runtime.datadir import TABLES_PLACE, lock_directory
from tests.commands.helpers import Result, Runner, legacy, rebuilt, write_contract

_numbers = count(1)


class Run:
    """One contract with topics and a run of its own, and what a worker would have left in Kafka."""

    def __init__(self, kafka: Cluster, cutover: Runner, folder: Path, **settings: str) -> None:
        number = next(_numbers)
        names = {
            "run": f"run{number}",
            "broker": f"kafka://{kafka.bootstrap}",
            "legacy": f"shop.orders-{number}",
            "rebuilt": f"orders.v2-{number}",
            "verdicts": f"cutover.verdicts-{number}",
        }
        self.bootstrap = kafka.bootstrap
        self.file = write_contract(folder, **names | settings)
        self.contract: Contract = load_contract(self.file, {})
        self._cutover = cutover

    def __call__(self, command: str, *arguments: str) -> Result:
        """Run a command on this contract."""
        return self._cutover(command, *arguments, "--contract", self.file)

    def report(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return self("report", "--output", "json").json()

    def create_sources(self, **configs: str) -> None:
        """Create both source topics with these settings."""
        sources = {self.contract.legacy.topic: 2, self.contract.rebuilt.topic: 3}
        named = {name.replace("_", "."): value for name, value in configs.items()}
        create_topics_now(self.bootstrap, sources, configs=named)

    def topics(self) -> set[str]:
        """Return which topics of this run exist."""
        names = [*self.sources(), *self.created()]

        async def ask() -> set[str]:
            async with Connection(Broker.parse(self.bootstrap)) as connection:
                return set(await connection.topics(names))

        return asyncio.run(ask())

    def sources(self) -> list[str]:
        """Return the source topics."""
        return [self.contract.legacy.topic, self.contract.rebuilt.topic]

    def created(self) -> list[str]:
        """Return the topics that a run creates."""
        changelogs = [changelog_of(self.contract, table) for table in TABLES]
        return [intake_of(self.contract), *changelogs, fixes_of(self.contract), self.contract.verdicts.topic]

    async def checkpoint(self, expected: Iterable[Any], actual: Iterable[Any], *, commit: bool = True) -> Any:
        """Write what a checkpoint would hold after these messages; uncommitted, return the producer.

        Committed, it can be read when this returns: a commit is answered before its markers stand in the partitions, a
        new producer of the same name only after that.
        """
        run = Offline(self.contract, compile_contract(self.contract), keep=True)
        run.take(LEGACY, records(self.contract.legacy.topic, expected))
        run.take(REBUILT, records(self.contract.rebuilt.topic, actual))
        at = run.finish().books[0].at
        await self._fill_intake(at + 1)
        producer = self._producer()
        await producer.start()
        await producer.begin_transaction()
        for table in (BOOKS_TABLE, FAMILIES_TABLE):
            for key, row in run._store.scan(table, b"", 1000):
                await producer.send(changelog_of(self.contract, table), row, key=key, partition=0)
        for verdict in run.verdicts():
            key = decode_verdict(verdict).id.encode()
            await producer.send(self.contract.verdicts.topic, verdict, key=key, partition=0)
        if not commit:
            await producer.flush()
            return producer
        await producer.commit_transaction()
        await producer.stop()
        async with self._producer():
            return None

    async def _fill_intake(self, end: int) -> None:
        """Have as many records in intake as have been judged."""
        intake = intake_of(self.contract)
        async with Connection(Broker.parse(self.bootstrap)) as connection:
            found = await connection.offsets((await connection.topics([intake]))[intake], LATEST)
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap) as producer:
            for _ in range(found[0], end):
                await producer.send(intake, b"a frame", partition=0)
            await producer.flush()

    def _producer(self) -> Any:
        name = f"{app_id_of(self.contract)}-checkpoint-0"
        return AIOKafkaProducer(bootstrap_servers=self.bootstrap, transactional_id=name)


def records(topic: str, messages: Iterable[Any]) -> list[SourceRecord]:
    return [
        SourceRecord(topic, 0, number, 1_760_000_000_000, 0, None, json.dumps(each).encode(), ())
        for number, each in enumerate(messages)
    ]


@pytest.fixture
def new_run(kafka: Cluster, cutover: Runner, tmp_path: Path) -> Callable[..., Run]:
    """Return a function that makes a run of its own."""
    return lambda **settings: Run(kafka, cutover, tmp_path, **settings)


@pytest.fixture
def planned(new_run: Callable[..., Run]) -> Run:
    """Return a run whose topics exist."""
    run = new_run()
    run.create_sources()
    assert run("plan", "--apply").code == 0
    return run


@asynccontextmanager
async def member(run: Run) -> Any:
    """Be a worker of this run, as far as its group can tell."""
    consumer = AIOKafkaConsumer(
        run.contract.legacy.topic, bootstrap_servers=run.bootstrap, group_id=app_id_of(run.contract)
    )
    async with consumer:
        while not consumer.assignment():
            await consumer.getmany(timeout_ms=50)
        yield consumer


async def positions(run: Run) -> dict[int, int]:
    """Return where this run reads the rebuilt topic, which is decided before a worker joins the group."""
    async with Connection(Broker.parse(run.bootstrap)) as connection:
        return await connection.committed(app_id_of(run.contract), run.contract.rebuilt.topic)


# -- plan ------------------------------------------------------------------------------------------------------------


def test_plan_refuses_missing_sources(new_run: Callable[..., Run]) -> None:
    """Without the source topics plan says which are missing, exits with 1, and even --apply creates nothing."""
    run = new_run()
    result = run("plan", "--apply")
    assert result.code == 1
    assert f"problem: topic {run.contract.legacy.topic} does not exist" in result.out
    assert run.topics() == set()


def test_plan_creates_what_is_missing_and_nothing_twice(new_run: Callable[..., Run]) -> None:
    """Plan shows what would be created, --apply creates it as it must be, and a second one has nothing to do."""
    run = new_run(partitions="3")
    run.create_sources()
    shown = run("plan", "--output", "json").json()
    assert shown["create"] == run.created()
    assert run.topics() == set(run.sources())
    assert "CREATED 7 topics" in run("plan", "--apply").out
    assert run("plan", "--output", "json").json()["create"] == []

    async def ask() -> Any:
        async with Connection(Broker.parse(run.bootstrap)) as connection:
            return await look(connection, [TopicSpec(name) for name in run.created()])

    states = asyncio.run(ask())
    marks = states.pop(fixes_of(run.contract))
    assert (marks.topic.partitions, marks.configs["cleanup.policy"]) == (1, "compact")
    assert {state.topic.partitions for state in states.values()} == {3}
    intake = states[intake_of(run.contract)].configs
    assert (intake["message.timestamp.type"], intake["cleanup.policy"]) == ("LogAppendTime", "delete")
    assert states[run.contract.verdicts.topic].configs["cleanup.policy"] == "compact"


def test_plan_warns_of_what_people_must_know(new_run: Callable[..., Run]) -> None:
    """Short retention, an ignore whose date has passed, and that messages are held whole."""
    run = new_run()
    run.create_sources(retention_ms="60000")
    result = run("plan")
    assert result.code == 0
    text = " ".join(result.out.split())
    assert "keeps records for 1m, less than timing.remember (1h)" in text
    assert "compare.ignore $.trace: its date 2020-01-31 has passed" in text
    assert "hold whole messages" in text


def test_plan_stops_where_records_go_before_they_are_judged(new_run: Callable[..., Run]) -> None:
    """A retention below grace is a problem: exit 1."""
    run = new_run()
    run.create_sources(retention_ms="1000")
    result = run("plan")
    assert result.code == 1
    assert "less than timing.grace (4s)" in result.out


def test_plan_stops_where_records_may_be_compacted_away(new_run: Callable[..., Run]) -> None:
    """A compacted source topic is a problem, unless the contract says that it loses nothing."""
    run = new_run()
    run.create_sources(cleanup_policy="compact,delete")
    result = run("plan")
    assert result.code == 1
    text = " ".join(result.out.split())
    assert all(f"set {side}.compacted: true if it cannot" in text for side in ("legacy", "rebuilt"))
    names = (run.contract.legacy.topic, run.contract.rebuilt.topic)
    text = run.file.read_text()
    for name in names:
        text = text.replace(f"topic: {name}", f"topic: {name}, compacted: true")
    run.file.write_text(text)
    assert run("plan").code == 0


def test_plan_finds_an_unfit_topic(planned: Run, kafka: Cluster, cutover: Runner, tmp_path: Path) -> None:
    """An internal topic with another partition count than the contract's is a problem."""
    planned.file.write_text(planned.file.read_text().replace("partitions: 1", "partitions: 2"))
    result = planned("plan")
    assert result.code == 1
    assert "has 1 partitions, expected 2" in result.out


def test_plan_and_worker_refuse_a_run_of_another_contract(planned: Run, tmp_path: Path) -> None:
    """Whoever has other rules than the run's books is refused in one line, the worker before it joins the group."""
    asyncio.run(planned.checkpoint([legacy(1)], [rebuilt(1)]))
    assert planned("plan").code == 0
    planned.file.write_text(planned.file.read_text() + "limits: {record: 7MiB}\n")
    line = "judged under another contract than this one: a changed contract is a new run; set another `run`"
    plan = planned("plan")
    assert plan.code == 1
    assert line in " ".join(plan.out.split())
    worker = run_command(["worker", "--without-web"], planned.file, planned.bootstrap, cwd=tmp_path)
    assert worker.returncode == 4
    assert [each for each in worker.stderr.splitlines() if line in each and "fatal" in each]
    assert asyncio.run(positions(planned)) == {}


def test_rules_are_found_in_intake_too(planned: Run) -> None:
    """What waits in intake counts where there are no books yet; what is no frame, or of another version, says nothing.

    Nor does what was made for another intake. Of the books the newest row counts; a tombstone is none.
    """
    rules = compile_contract(planned.contract).rules
    books, intake = changelog_of(planned.contract, BOOKS_TABLE), intake_of(planned.contract)

    async def seen(topic: str, value: bytes | None, made_for: bytes | None = None) -> str:
        key = BOOKS_KEY if topic == books else made_for
        async with AIOKafkaProducer(bootstrap_servers=planned.bootstrap) as producer:
            await producer.send_and_wait(topic, value, key=key, partition=0)
        return await foreign_rules(planned.contract, Broker.parse(planned.bootstrap), rules)

    async def play() -> None:
        other = Records("sha256:other", "sender", Source(LEGACY, "t", "", 0), [])
        assert not await seen(intake, b"no frame")
        assert not await seen(intake, encode_frame(other), b"another topic of this name")
        assert "another contract" in await seen(intake, encode_frame(other))
        assert not await seen(intake, encode_frame(msgspec.structs.replace(other, rules=rules)))
        row = encode_row(Books("sha256:other", 0))
        assert "2 different contracts" in await seen(books, row)
        assert not await seen(books, b"\x01" + row[1:])
        assert "2 different contracts" in await seen(books, row)
        assert not await seen(books, None)

    asyncio.run(play())


# -- report ----------------------------------------------------------------------------------------------------------


def test_report_without_state_cannot_tell(new_run: Callable[..., Run], planned: Run) -> None:
    """Neither missing topics nor empty ones are a pass: exit 3."""
    assert new_run()("report").code == 3
    result = planned("report")
    assert result.code == 3
    assert "no state of this run" in result.out


def test_report_reads_what_checkpoints_wrote(planned: Run) -> None:
    """A run that found nothing is fine; one that found something has it, from verdicts, families and books."""
    asyncio.run(planned.checkpoint([legacy(1)], [rebuilt(1)]))
    report = planned.report()
    assert (report["exit"], report["pairs"]) == (0, 1)
    asyncio.run(planned.checkpoint([legacy(1), legacy(2)], [rebuilt(1, total=1), rebuilt(3)]))
    report = planned.report()
    assert report["exit"] == 1
    assert report["outcomes"] == {"mismatch": 1, "missing": 1, "unknown": 1}
    assert {each["kind"] for each in report["families"]} == {"wrong_value", "missing", "unknown"}
    assert report["balanced"]
    assert [side["unread"] for side in report["sides"]] == [0, 0]


def test_report_doubts_what_another_contract_has_judged(planned: Run) -> None:
    """What was found under other rules says nothing about the contract in hand, unless it is a problem."""
    asyncio.run(planned.checkpoint([legacy(1)], [rebuilt(1)]))
    planned.file.write_text(planned.file.read_text() + "limits: {record: 7MiB}\n")
    report = planned.report()
    assert (report["exit"], report["pairs"]) == (3, 1)
    assert "judged under another contract" in report["reasons"][0]


def test_report_leaves_open_transactions_alone(planned: Run) -> None:
    """A checkpoint that is not committed is not evidence, and does not keep the report waiting."""

    async def half() -> None:
        await planned.checkpoint([legacy(1)], [rebuilt(1)])
        open_one = await planned.checkpoint([legacy(1)], [rebuilt(1, total=1)], commit=False)
        try:
            result = await asyncio.to_thread(planned.report)
            assert (result["exit"], result["outcomes"]) == (0, {})
        finally:
            await open_one.abort_transaction()
            await open_one.stop()

    asyncio.run(half())


def test_report_counts_source_records_that_nobody_has_read(planned: Run) -> None:
    """What stands in the source topics and is not committed by the group is said as not read yet."""

    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=planned.bootstrap) as producer:
            for number in range(5):
                await producer.send_and_wait(planned.contract.legacy.topic, b"{}", partition=number % 2)

    asyncio.run(send())
    asyncio.run(planned.checkpoint([legacy(1)], [rebuilt(1)]))
    report = planned.report()
    assert report["sides"][LEGACY]["unread"] == 5
    assert report["conclusion"] == "fine"


def test_report_doubts_a_topic_with_foreign_records(planned: Run) -> None:
    """A record of the verdicts topic that is no verdict is counted, and makes the answer uncertain."""

    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=planned.bootstrap) as producer:
            await producer.send_and_wait(planned.contract.verdicts.topic, b'{"v":99}', key=b"x")

    asyncio.run(planned.checkpoint([legacy(1)], [rebuilt(1)]))
    asyncio.run(send())
    report = planned.report()
    assert report["exit"] == 3
    assert "1 records of" in report["reasons"][0]


def test_report_and_the_list_of_fixes_doubt_a_topic_that_is_gone(planned: Run) -> None:
    """Books that say what was found are there, and the topic that would show it is not: nobody knows what it said."""

    async def gone() -> None:
        async with Connection(Broker.parse(planned.bootstrap)) as connection:
            await delete(connection, [changelog_of(planned.contract, FAMILIES_TABLE)])

    asyncio.run(planned.checkpoint([legacy(1)], [rebuilt(1, total=1)]))
    assert planned("fixed", "wrong_value").code == 0
    assert planned("fixed").code == 3
    asyncio.run(gone())
    report = planned.report()
    assert report["exit"] == 3
    assert any("families-changelog does not exist" in each for each in report["reasons"])


def test_report_doubts_a_judge_that_stands_still(planned: Run) -> None:
    """What has come into intake and is not judged is seen, and so is why; the books, which balance, show neither."""
    group, intake = app_id_of(planned.contract), intake_of(planned.contract)

    async def quarantine(why: str) -> None:
        async with Connection(Broker.parse(planned.bootstrap)) as connection:
            assert await connection.commit(group, intake, {0: (1, why)})

    async def go_on() -> None:
        async with AIOKafkaProducer(bootstrap_servers=planned.bootstrap) as producer:
            for _ in range(20):
                await producer.send_and_wait(intake, b"a barrier", partition=0)

    asyncio.run(planned.checkpoint([legacy(1)], [rebuilt(1)]))
    asyncio.run(quarantine("KeyError at pairing.py:60"))
    report = planned.report()
    assert (report["exit"], report["balanced"]) == (3, True)
    assert "quarantined, nothing more of them is judged: KeyError at pairing.py:60" in report["reasons"][0]
    asyncio.run(quarantine(""))
    assert planned.report()["exit"] == 0
    asyncio.run(go_on())
    report = planned.report()
    assert report["exit"] == 3
    assert "judged more than 30 s behind their ends" in report["reasons"][0]


# -- reset -----------------------------------------------------------------------------------------------------------


def test_reset_deletes_what_the_run_created(planned: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Topics, positions and local state go, the verdicts only when asked for, the sources never."""
    state = tmp_path / "state"
    lock_directory(state).close()
    monkeypatch.setenv("CUTOVER_DATADIR", str(state))

    async def commit() -> None:
        async with member(planned) as consumer:
            await consumer.commit({TopicPartition(planned.contract.legacy.topic, 0): 0})

    asyncio.run(commit())
    result = planned("reset", "--yes")
    assert result.code == 0
    assert f"consumer group {app_id_of(planned.contract)}" in result.out
    assert not state.exists()
    assert planned.topics() == {*planned.sources(), planned.contract.verdicts.topic}
    assert planned("reset", "--yes", "--verdicts").code == 0
    assert planned.topics() == set(planned.sources())
    assert "nothing is left" in planned("reset").out


def test_reset_leaves_the_files_of_others(planned: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A datadir where no worker ever was stays as it is; of one that holds more, state goes, and the rest is named."""
    monkeypatch.setenv("CUTOVER_DATADIR", str(tmp_path))
    (tmp_path / "photo").write_text("")
    result = planned("reset", "--yes")
    assert (result.code, "local state" in result.out, (tmp_path / "photo").exists()) == (0, False, True)
    lock_directory(tmp_path).close()
    result = planned("reset", "--yes")
    assert (result.code, result.err) == (0, "")
    assert f"local state in {tmp_path}" in result.out
    assert f"left in place: directory {tmp_path} (Directory not empty)" in result.out
    assert (tmp_path / "photo").exists()
    assert "nothing is left" in planned("reset").out


def test_reset_is_refused_in_a_datadir_that_is_in_use(
    planned: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The worker of another run has it: one line, exit 4, and nothing is deleted, here or in Kafka."""
    monkeypatch.setenv("CUTOVER_DATADIR", str(tmp_path))
    with lock_directory(tmp_path):
        result = planned("reset", "--yes")
    assert (result.code, len(result.err.splitlines())) == (4, 1)
    assert f"{tmp_path} is in use by another process" in result.err
    assert "nothing was deleted" in result.err
    assert (tmp_path / TABLES_PLACE).is_dir()
    assert planned.topics() == {*planned.sources(), *planned.created()}


def test_reset_asks_first(planned: Run) -> None:
    """Where nobody can be asked, nothing is deleted without --yes."""
    result = planned("reset")
    assert result.code == 4
    assert "--yes" in result.err
    assert planned.topics() == {*planned.sources(), *planned.created()}


def test_reset_is_refused_while_a_worker_runs(planned: Run) -> None:
    """With an active member in the group, nothing is deleted: exit 4."""

    async def attempt() -> Result:
        async with member(planned):
            return await asyncio.to_thread(planned, "reset", "--yes")

    result = asyncio.run(attempt())
    assert result.code == 4
    assert "1 workers of this run are active" in result.err
    assert planned.topics() == {*planned.sources(), *planned.created()}


def test_reset_leaves_the_verdicts_of_others(planned: Run) -> None:
    """In a topic that several contracts share, only the verdicts of this run go."""

    async def send_foreign() -> None:
        run = Offline(planned.contract, compile_contract(planned.contract), keep=True)
        run.take(LEGACY, records("t", [legacy(7)]))
        run.finish()
        [verdict] = map(decode_verdict, run.verdicts())
        foreign = encode_verdict(msgspec.structs.replace(verdict, contract="payments", id="f" * 32))
        async with AIOKafkaProducer(bootstrap_servers=planned.bootstrap) as producer:
            await producer.send_and_wait(planned.contract.verdicts.topic, foreign, key=b"f" * 32)

    asyncio.run(planned.checkpoint([legacy(1), legacy(2)], [rebuilt(1, total=1)]))
    asyncio.run(send_foreign())
    result = planned("reset", "--yes", "--verdicts")
    assert result.code == 0
    assert "2 verdicts in topic" in result.out
    assert planned.contract.verdicts.topic in planned.topics()
    assert planned("plan", "--apply").code == 0
    assert planned.report()["outcomes"] == {}
