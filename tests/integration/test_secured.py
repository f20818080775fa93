"""The real application on a broker that authenticates and authorises: what it needs, and how it says what it lacks."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import TopicAuthorizationFailedError

from cutover_app.kafka import admin
from cutover_app.kafka.access import OPERATIONS
from cutover_app.kafka.acls import GROUP, LITERAL, PREFIXED, READER, RESET, ROLES, SETUP, TRANSACTIONAL_ID, WORKER, Acl
from cutover_app.kafka.cluster import Cluster as Connection
from cutover_app.kafka.protocol import TopicMetadataRequest
from cutover_app.lab.certificates import Authority
from cutover_app.lab.evidence import Watch, wait_quiet, wait_working
from cutover_app.lab.secured import (
    CLEAR,
    EXPIRED,
    MUTUAL,
    SASL_SSL,
    STRANGER,
    SecuredCluster,
    allow_now,
    forbid_now,
    unsecured_token,
)
from cutover_app.lab.verify import Subject, verify
from tests.commands.helpers import Result, Runner
from tests.integration.secured import USERS, SecuredRun, Working, sasl

pytestmark = pytest.mark.kafka

QUIET_SECONDS = 120.0
TOPIC_OF_VERDICTS, PREFIX_OF_OURS = LITERAL, PREFIXED
"""What tells the two permissions to create apart."""


@pytest.fixture(scope="module")
def secured() -> Iterator[SecuredCluster]:
    """Return a broker with every kind of listener, shared by all tests of this file."""
    with SecuredCluster(users=USERS) as cluster:
        yield cluster


@pytest.fixture
def run(secured: SecuredCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SecuredRun:
    """Return a run whose source topics exist, and nothing else; nobody is allowed anything of it."""
    for role, password in USERS.items():
        monkeypatch.setenv(f"PW_{role.upper()}", password)
    monkeypatch.delenv("CUTOVER_BROKER", raising=False)
    return SecuredRun(secured, tmp_path)


@pytest.fixture
def cutover(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    """Return a function that runs a command in this process."""
    return Runner(monkeypatch, capsys)


def refusal(result: Result) -> str:
    """Return the one line of a command that was refused."""
    assert result.code == 4, result.err
    assert "canary" not in result.err + result.out
    (line,) = result.err.splitlines()
    return line


# -- the least permissions -------------------------------------------------------------------------------------------


def test_a_whole_run_with_the_least_permissions(run: SecuredRun, cutover: Runner) -> None:
    """Four users with exactly the listed ACLs: plan, two workers, report and reset, judged right, sources untouched."""
    run.allow(*ROLES)
    assert cutover("plan", "--apply", "--contract", run.file(SETUP)).code == 0
    assert "READY: nothing is missing" in cutover("plan", "--contract", run.file(SETUP)).out
    file = run.file(WORKER)
    subject = Subject.load(run.cluster.bootstrap, file)
    watch = Watch(run.cluster.bootstrap, subject.contract)

    async def watched(worker: Working) -> Any:
        await watch.start()
        try:
            await asyncio.to_thread(run.publish, 60, 7)
            await wait_quiet(watch, timeout=QUIET_SECONDS, check=worker.check)
        finally:
            await watch.stop()

    with run.worker(file) as worker:
        asyncio.run(watched(worker))
        worker.process.terminate()
        assert worker.ended().code == 0, worker.text()
    found = asyncio.run(verify(subject, watch.totals, None))
    assert found.wrong == []
    assert found.outcomes == {"mismatch": 1}
    report = cutover("report", "--output", "json", "--contract", run.file(READER)).json()
    assert (report["exit"], report["pairs"], report["balanced"]) == (1, 60, True)
    asyncio.run(_sources_are_read_only(run))
    assert cutover("reset", "--yes", "--verdicts", "--contract", run.file(RESET)).code == 0
    assert asyncio.run(_topics(run)) == {run.legacy, run.rebuilt}


async def _sources_are_read_only(run: SecuredRun) -> None:
    """What the cluster itself says, and what it does."""
    for role in ROLES:
        async with Connection(run.broker(role)) as connection:
            answer = await connection.ask(TopicMetadataRequest([run.legacy, run.rebuilt], operations=True))
            reading = sum(1 << OPERATIONS[each] for each in ("Read", "Describe", "DescribeConfigs"))
            assert all(operations & ~reading == 0 for *_before, operations, _tags in answer.topics)
            with pytest.raises(TopicAuthorizationFailedError):
                await admin.delete(connection, [run.rebuilt])
        async with AIOKafkaProducer(**run.broker(role).client("x")) as producer:
            with pytest.raises(TopicAuthorizationFailedError):
                await producer.send_and_wait(run.rebuilt, b"{}")
    consumer = AIOKafkaConsumer(run.rebuilt, **run.broker(READER).client("x"), auto_offset_reset="earliest")
    async with consumer:
        with pytest.raises(TopicAuthorizationFailedError):
            await consumer.getone()


async def _topics(run: SecuredRun) -> set[str]:
    from cutover_app.kafka.settings import Broker  # noqa: PLC0415
    from cutover_app.kafka.topics import internal_specs  # noqa: PLC0415

    names = [run.legacy, run.rebuilt, *(spec.name for spec in internal_specs(run.contract()))]
    async with Connection(Broker.parse(run.cluster.bootstrap)) as connection:
        return set(await connection.topics(names))


def test_none_of_the_permissions_can_be_left_out(run: SecuredRun, cutover: Runner) -> None:
    """Without any one of them, setup and reader are refused in one line that says so: the list is the least."""
    run.allow(SETUP, READER)
    assert cutover("plan", "--apply", "--contract", run.file(SETUP)).code == 0
    looking = [acl for acl in run.acls(SETUP) if acl.operation != "Create"]
    for role, words, needed in ((SETUP, ["plan"], looking), (READER, ["report"], run.acls(READER))):
        for acl in needed:
            forbid_now(run.cluster, role, [acl])
            result = cutover(*words, "--contract", run.file(role))
            allow_now(run.cluster, role, [acl])
            assert "see `cutover plan --acls`" in refusal(result), acl
    for left_out in (TOPIC_OF_VERDICTS, PREFIX_OF_OURS):
        fresh = SecuredRun(run.cluster, run.folder)
        creating = [acl for acl in fresh.acls(SETUP) if acl.operation == "Create" and acl.pattern == left_out]
        fresh.allow(SETUP, without=creating)
        line = refusal(cutover("plan", "--apply", "--contract", fresh.file(SETUP)))
        assert "cannot be created" in line
        assert "see `cutover plan --acls`" in line


# -- every way in ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mechanism",
    [
        "SCRAM-SHA-256",
        pytest.param("PLAIN", marks=pytest.mark.long),
        pytest.param("in the clear", marks=pytest.mark.long),
        "OAUTHBEARER",
        "certificate",
    ],
)
def test_a_worker_gets_in_by_every_mechanism(run: SecuredRun, cutover: Runner, mechanism: str) -> None:
    """Each takes plan and a worker to work, Faust's consumer too; no log shows a secret, not even one of debugging."""
    run.allow(SETUP, WORKER)
    assert cutover("plan", "--apply", "--contract", run.file(SETUP)).code == 0
    token = run.folder / "token"
    token.write_text(unsecured_token(WORKER))
    token.chmod(0o600)
    run.cluster.authority.sign("client")
    authority = run.cluster.authority.folder
    security, listener = {
        "SCRAM-SHA-256": ({"tls": run.tls(), "sasl": sasl(WORKER, "SCRAM-SHA-256")}, SASL_SSL),
        "PLAIN": ({"tls": run.tls(), "sasl": sasl(WORKER, "PLAIN")}, SASL_SSL),
        "in the clear": ({"allow_plaintext": True, "sasl": sasl(WORKER, "PLAIN")}, CLEAR),
        "OAUTHBEARER": (
            {"tls": run.tls(), "sasl": {"mechanism": "OAUTHBEARER", "token": {"file": str(token)}}},
            SASL_SSL,
        ),
        "certificate": (
            {"tls": run.tls(cert=str(authority / "client.crt"), key=str(authority / "client.key"))},
            MUTUAL,
        ),
    }[mechanism]
    if mechanism == "certificate":
        allow_now(run.cluster, "CN=client", run.acls(WORKER))
    file = run.file(WORKER, security, listener)
    with run.worker(file, "--debug") as worker:
        _until_working(run, worker)
        secrets = ["canary", token.read_text(), USERS[WORKER].encode().hex()]
        assert [secret for secret in secrets if secret in worker.text()] == []
        if mechanism == "OAUTHBEARER":
            token.write_text(unsecured_token(WORKER, seconds=-30))
            run.cluster.kill()
            run.cluster.restart()
            assert "see security.sasl" in worker.ended().refusal()


def _until_working(run: SecuredRun, worker: Working) -> None:
    watch = Watch(run.cluster.bootstrap, run.contract())
    asyncio.run(wait_working(watch, timeout=QUIET_SECONDS, check=worker.check))


# -- refused ---------------------------------------------------------------------------------------------------------

REFUSED = {
    "wrong password": (
        SASL_SSL,
        {},
        "refused user worker (SCRAM-SHA-512): see security.sasl.username and security.sasl.",
    ),
    "wrong password, PLAIN": (SASL_SSL, {}, "refused user worker (PLAIN): see security.sasl.username"),
    "refused token": (SASL_SSL, {}, "refused our token: see security.sasl"),
    "expired certificate": (EXPIRED, {}, "it has expired: renew it at the broker"),
    "another host": (STRANGER, {}, "it is for another host: expected one for 127.0.0.1"),
    "untrusted authority": (SASL_SSL, {}, "signed by an authority that we trust, found another: see security.tls.ca"),
    "no certificate of ours": (MUTUAL, {}, "expects a certificate, and we came without: set security.tls.cert"),
    "our certificate expired": (MUTUAL, {}, "refused our certificate: expected one that"),
    "TLS at a plain port": (CLEAR, {}, "ended the TLS handshake: it seems to be a plain port"),
    "plain at a TLS port": (SASL_SSL, {}, "expects TLS, and we came without: set security.tls"),
    "nobody where a user is wanted": (SASL_SSL, {}, "it seems to expect a user: set security.sasl"),
    "a user where none is wanted": (MUTUAL, {}, "expects no user, and we came with one: leave security.sasl out"),
}
OF_THE_WORKER = ["wrong password", "expired certificate", "another host", "untrusted authority", "plain at a TLS port"]


def refused_file(run: SecuredRun, case: str) -> Path:
    """Write a contract that is refused that way."""
    folder, tls = run.cluster.authority.folder, run.tls()
    good = sasl(WORKER)
    wrong = {"env": "PW_READER"}
    token = run.folder / "stale"
    token.write_text(unsecured_token(WORKER, seconds=-30))
    token.chmod(0o600)
    ours = {"cert": str(folder / "server.crt"), "key": str(folder / "server.key")}
    stale = {"cert": str(folder / "expired.crt"), "key": str(folder / "expired.key")}
    sections: dict[str, dict[str, Any]] = {
        "wrong password": {"tls": tls, "sasl": good | {"password": wrong}},
        "wrong password, PLAIN": {"tls": tls, "sasl": good | {"password": wrong, "mechanism": "PLAIN"}},
        "refused token": {"tls": tls, "sasl": {"mechanism": "OAUTHBEARER", "token": {"file": str(token)}}},
        "untrusted authority": {"tls": {"ca": str(Authority(run.folder / "other").file)}, "sasl": good},
        "no certificate of ours": {"tls": tls},
        "our certificate expired": {"tls": tls | stale},
        "plain at a TLS port": {"allow_plaintext": True, "sasl": good},
        "nobody where a user is wanted": {"tls": tls},
        "a user where none is wanted": {"tls": tls | ours, "sasl": good},
    }
    return run.file("refused", sections.get(case, {"tls": tls, "sasl": good}), REFUSED[case][0])


def test_commands_say_why_they_are_refused(run: SecuredRun, cutover: Runner) -> None:
    """Whatever is wrong between us and the broker: exit 4 and one line with the setting, soon, from every command."""
    for case, (_listener, _more, said) in REFUSED.items():
        file = refused_file(run, case)
        for words in (["plan"], ["report"], ["reset", "--yes"]):
            began = time.monotonic()
            assert said in refusal(cutover(*words, "--contract", file)), case
            assert time.monotonic() - began < 20


@pytest.mark.parametrize("case", OF_THE_WORKER)
def test_a_worker_says_why_it_is_refused(run: SecuredRun, case: str) -> None:
    """The same of a worker: it does not try for ever."""
    assert REFUSED[case][2] in run.run(["worker", "--without-web"], refused_file(run, case)).refusal()


def _of(run: SecuredRun, what: str) -> list[Acl]:
    """Return the worker's permissions on something."""
    return [
        acl
        for acl in run.acls(WORKER)
        if what in {acl.resource, acl.name}
        or (
            what == "ours"
            and acl.name.startswith("cutover-secured-")
            and acl.pattern == "prefixed"
            and acl.resource == "topic"
        )
    ]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("rebuilt", "user worker needs Read on topic"),
        (GROUP, "user worker needs Read on consumer group cutover-secured-"),
        (TRANSACTIONAL_ID, "access denied: transactional id cutover-secured-"),
        ("ours", "Write on topic cutover-secured-"),
        ("verdicts", "Write on topic"),
    ],
)
def test_a_worker_says_which_permission_is_missing(run: SecuredRun, cutover: Runner, what: str, said: str) -> None:
    """A missing ACL on a topic, the group or the transactional ids is one line that names it, and exit 4."""
    run.allow(SETUP)
    assert cutover("plan", "--apply", "--contract", run.file(SETUP)).code == 0
    run.allow(WORKER, without=_of(run, getattr(run, what, what)))
    line = run.run(["worker", "--without-web"], run.file(WORKER)).refusal()
    assert said in line
    assert "see `cutover plan --acls`" in line


@pytest.mark.parametrize(
    "what",
    ["rebuilt", *(pytest.param(each, marks=pytest.mark.long) for each in (GROUP, TRANSACTIONAL_ID, "ours"))],
)
def test_a_permission_that_is_taken_away(run: SecuredRun, cutover: Runner, what: str) -> None:
    """A worker that loses a permission while it works ends in one line, and does not go on in silence."""
    run.allow(SETUP, WORKER)
    assert cutover("plan", "--apply", "--contract", run.file(SETUP)).code == 0
    with run.worker(run.file(WORKER)) as worker:
        _until_working(run, worker)
        forbid_now(run.cluster, WORKER, _of(run, getattr(run, what, what)))
        assert "see `cutover plan --acls`" in worker.ended().refusal()


def test_topics_that_nobody_may_create(run: SecuredRun) -> None:
    """A worker before `plan --apply`: it may not create topics, names them, and says where permissions are listed."""
    run.allow(WORKER)
    line = run.run(["worker", "--without-web"], run.file(WORKER)).refusal()
    assert "cannot be created" in line
    assert "see `cutover plan --acls`" in line
