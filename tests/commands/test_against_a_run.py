"""status, rows, explain and fixed against a run of the real application: one worker, a few records of each kind."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from cutover_app.contract.load import load_contract
from cutover_app.lab.cluster import Cluster
from cutover_app.lab.evidence import Watch, wait_quiet
from cutover_app.lab.fleet import Fleet
from cutover_app.lab.run import create_all
from cutover_app.lab.verify import Subject
from tests.commands.helpers import Result, Runner, legacy, rebuilt, write_contract
from tests.integration.helpers import Sent, send

QUIET_S = 120.0
SECRET_PHONE = "010-7777-8888"
GOOD = range(20)

LEGACY = [*(legacy(n) for n in GOOD), legacy(21, tel=SECRET_PHONE, hidden="s3cret"), legacy(22), legacy(24)]
REBUILT = [
    *(rebuilt(n) for n in GOOD),
    rebuilt(21, total=99, phone=SECRET_PHONE, surprise="s3cret"),
    rebuilt(23),
    rebuilt(24),
    rebuilt(24),
]


class Played:
    """A run that has been played, and is still going on."""

    def __init__(self, kafka: Cluster, folder: Path) -> None:
        self.bootstrap = kafka.bootstrap
        self.file = write_contract(
            folder,
            run="played",
            broker=f"kafka://{kafka.bootstrap}",
            legacy="played.orders",
            rebuilt="played.orders.v2",
            partitions="2",
            verdicts="played.verdicts",
        )
        self.contract = load_contract(self.file, {})
        self.fleet = Fleet(kafka, self.file, name="played-worker")

    async def play(self) -> None:
        """Publish, and have everything judged."""
        subject = Subject.load(self.bootstrap, self.file)
        await create_all(subject, (2, 3))
        watch = Watch(self.bootstrap, self.contract)
        await watch.start()
        try:
            self.fleet.start()
            await self.publish(LEGACY, REBUILT)
            await wait_quiet(watch, timeout=QUIET_S, check=self.fleet.check)
        finally:
            await watch.stop()

    async def publish(self, expected: list[Any], actual: list[Any]) -> None:
        """Publish messages of both sides, over the partitions."""
        for topic, messages, partitions in (
            (self.contract.legacy.topic, expected, 2),
            (self.contract.rebuilt.topic, actual, 3),
        ):
            sent = [Sent(json.dumps(each).encode(), partition=n % partitions) for n, each in enumerate(messages)]
            await send(self.bootstrap, topic, sent)


@pytest.fixture(scope="module")
def played(kafka: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """Play once for all checks."""
    run = Played(kafka, tmp_path_factory.mktemp("played"))
    try:
        asyncio.run(run.play())
        yield run
    finally:
        run.fleet.close()


def test_the_commands_tell_what_happened(played: Played, cutover: Runner) -> None:
    """One run, live: how it stands, its rows, the story of each kind of key, and what a mark of a fix does to it."""

    def run(*arguments: str) -> Result:
        result = cutover(*arguments, "--contract", played.file)
        assert SECRET_PHONE not in result.out + result.err
        assert "s3cret" not in result.out + result.err
        return result

    _status(run)
    _rows(run)
    _explain(run, played)
    _fixed(run)
    _an_open_transaction(run, played)
    played.fleet.close()
    _without_workers(run)
    assert run("reset", "--yes", "--verdicts").code == 0
    assert run("fixed", "--output", "json").json()["fixed"] == []


def _status(run: Any) -> None:
    result = run("status", "--output", "json")
    document = result.json()
    assert (result.code, document["exit"], document["conclusion"]) == (1, 1, "problems"), result.out
    assert document["outcomes"] == {"mismatch": 1, "missing": 1, "unknown": 1, "duplicate": 1}
    [worker] = document["workers"]
    assert (worker["legacy"], worker["rebuilt"], worker["intake"]) == ([0, 1], [0, 1, 2], [0, 1])
    assert document["balanced"]
    assert document["waiting"]["name"] == "nothing", document
    assert [(side["vouched"], side["partitions"], side["unread"]) for side in document["sides"]] == [
        (2, 2, 0),
        (3, 3, 0),
    ]
    watched = run("status", "--watch", "0.5", "--looks", "2", "--output", "json")
    first, second = map(json.loads, watched.out.splitlines())
    assert first["rate"] is None
    assert second["rate"]["seconds"] >= 0.5
    assert "WAITS BECAUSE (W11): nothing waits" in run("status").out


def _rows(run: Any) -> None:
    books = run("rows", "books", "--output", "json")
    assert books.code == 0
    assert sorted(row["intake_partition"] for row in books.json()["rows"]) == [0, 1]
    settled = run("rows", "settled", "--limit", "5", "--output", "json").json()["rows"]
    assert len(settled) == 5
    [row] = run("rows", "settled", "--key", "o21", "--output", "json").json()["rows"]
    assert row["key"] == ["o21"]
    assert row["published"][0]["outcome"] == "mismatch"
    both = run("rows", "pending", "--key", "o21", "--output", "json").json()["rows"]
    assert sorted(row["side"] for row in both) == ["legacy", "rebuilt"]
    assert run("rows", "pending", "--key", "o1").code == 3
    kinds = {row["kind"] for row in run("rows", "families", "--output", "json").json()["rows"]}
    assert kinds == {"wrong_value", "unexpected_field", "missing", "unknown", "duplicate"}
    assert run("rows", "families", "--key", "o1").code == 2
    assert "there are pending, settled, books, families" in run("rows", "nothing").err


def _explain(run: Any, played: Played) -> None:
    fine = run("explain", "o1", "--output", "json")
    assert fine.code == 0
    [story] = fine.json()["stories"]
    assert [event["what"] for event in story["events"] if event["what"] != "rebuilt"] == [
        "arrived",
        "arrived",
        "compared",
    ]
    assert {record["topic"] for record in story["records"]} == {"played.orders", "played.orders.v2"}
    wrong = run("explain", "o21", "--fetch", "--output", "json")
    assert wrong.code == 1
    [story] = wrong.json()["stories"]
    [verdict] = story["verdicts"]
    assert {finding["kind"] for finding in verdict["findings"]} == {"wrong_value", "unexpected_field"}
    first, second = story["contents"]
    assert first["message"]["id"] == "o21"
    assert first["message"]["tel"]["masked"] == "string"
    assert first["expected"][0]["status"] == "PAID"
    assert second["message"]["total"] == 99
    assert second["message"]["surprise"]["masked"] == "string"
    lines = [each["line"] for each in story["kcat"]]
    assert all(line.startswith(f"kcat -C -b {played.bootstrap} -t played.") for line in lines)
    assert run("explain", "--verdict", verdict["id"], "--output", "json").json()["stories"][0]["key"] == ["o21"]
    assert "missing, revision 1" in run("explain", "o22").out
    assert "PROBLEMS: 1 duplicate" in run("explain", "o24").out
    nothing = run("explain", "1001")
    assert nothing.code == 3
    assert "nothing is known about key [1001]; it would be in intake partition" in nothing.out
    assert 'perhaps "1001" was meant' in nothing.out


def _fixed(run: Any) -> None:
    assert "there are: " in run("fixed", "nothing").err
    families = {"wrong_value $.total": 1, "unexpected_field $.surprise": 1, "missing": 1, "unknown": 1, "duplicate": 1}
    for family in families:
        marked = run("fixed", *family.split(), "--reason", "release 7", "--output", "json")
        assert (marked.code, [line["before"] for line in marked.json()["fixed"]]) == (0, [1])
    report = run("report", "--output", "json").json()
    # Nobody has read anything that was published since: that is no all-clear.
    assert (report["exit"], report["past"]) == (3, 4)
    assert "since the fix" in report["reasons"][0]
    assert [family["open"] for family in report["families"]] == [0] * 5
    assert "fixed since" in " ".join(run("report").out.split())
    assert run("fixed", "missing", "--from", "2020-01-01T00:00:00Z", "--output", "json").code == 1
    again = run("report", "--output", "json").json()
    assert again["exit"] == 1
    assert again["reasons"][0] == "1 open problems: 1 missing"
    assert run("fixed", "missing", "--undo").code == 0
    assert len(run("fixed", "--output", "json").json()["fixed"]) == 4


def _an_open_transaction(run: Any, played: Played) -> None:
    """A producer that neither commits nor aborts holds the end of its partition, and is named."""

    async def hold() -> Result:
        producer = AIOKafkaProducer(bootstrap_servers=played.bootstrap, transactional_id="played-holder")
        async with producer:
            await producer.begin_transaction()
            await producer.send_and_wait(played.contract.rebuilt.topic, b"{}", partition=1)
            try:
                return await asyncio.to_thread(run, "status", "--output", "json")
            finally:
                await producer.abort_transaction()

    document = asyncio.run(hold()).json()
    reasons = [document["waiting"], *document["also"]]
    [held] = [reason for reason in reasons if reason["name"] == "open_transaction"]
    assert "rebuilt partition played.orders.v2/1" in held["text"]


def _without_workers(run: Any) -> None:
    result = run("status", "--output", "json")
    assert result.json()["waiting"]["name"] == "no_worker"
    assert result.code == 1
