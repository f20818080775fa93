"""A secured broker for tests, and runs that reach it as one user or another."""

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from cutover_app.contract.load import BROKER_ENV, load_contract
from cutover_app.contract.models import Contract
from cutover_app.kafka.acls import ROLES, Acl, acls_of
from cutover_app.kafka.clusters import work_broker
from cutover_app.kafka.settings import Broker
from cutover_app.lab.fleet import COMMAND, environment
from cutover_app.lab.secured import SASL_SSL, SecuredCluster, allow_now
from cutover_app.lab.topics import create_topics_now
from tests.integration.helpers import SHORT, Sent, send, write

USERS = {role: f"canary-{role}-pw" for role in ROLES}
"""Users are called like the roles that they have."""
EXIT_SECONDS = 60.0
"""How long a process may take to find out and end, on a machine that is busy."""

_numbers = count(1)


class Done(NamedTuple):
    """How a process ended."""

    code: int
    text: str

    @property
    def lines(self) -> list[str]:
        """The lines that are ours."""
        return re.findall(r"^cutover: .*$", self.text, re.MULTILINE)

    def refusal(self) -> str:
        """Return the one line of a process that was refused: exit 4, no traceback, no secret."""
        assert self.code == 4, self.text
        assert "Traceback" not in self.text, self.text
        assert "canary" not in self.text
        (line,) = self.lines
        return line


class SecuredRun:
    """A run of its own on the secured broker, and the contract file of each user."""

    def __init__(self, cluster: SecuredCluster, folder: Path) -> None:
        number = next(_numbers)
        self.cluster = cluster
        self.folder = folder
        self.name = f"s{number}"
        self.legacy, self.rebuilt, self.verdicts = (f"{self.name}.{each}" for each in ("legacy", "rebuilt", "verdicts"))
        self.file("setup")
        create_topics_now(cluster.bootstrap, {self.legacy: 2, self.rebuilt: 3})

    def file(self, name: str, security: Mapping[str, Any] | None = None, listener: str = SASL_SSL) -> Path:
        """Write the contract of a user, by default as SCRAM and TLS reach the broker."""
        folder = self.folder / f"{self.name}-{name}"
        folder.mkdir(exist_ok=True)
        settings = {
            "contract": "secured",
            "run": self.name,
            "broker": f"kafka://{self.cluster.address(listener)}",
            "security": security or {"tls": self.tls(), "sasl": sasl(name)},
            "legacy": {"topic": self.legacy},
            "rebuilt": {"topic": self.rebuilt},
            "match": {"key": ["id"]},
            "timing": SHORT,
            "rebuild": {"id": "no", "value": "x"},
            "intake": {"partitions": 2},
            "verdicts": {"topic": self.verdicts},
        }
        if not settings["security"].get("tls", True):
            del settings["security"]["tls"]
        return write(folder, settings)

    def tls(self, **more: str) -> dict[str, str]:
        """Return the TLS that trusts the broker."""
        return {"ca": str(self.cluster.authority.file), **more}

    def contract(self, file: Path | None = None) -> Contract:
        """Return the contract."""
        return load_contract(file or self.file("setup"), {})

    def acls(self, role: str) -> list[Acl]:
        """Return the permissions of a role."""
        return [each for each in acls_of(self.contract()) if each.role == role]

    def allow(self, *roles: str, without: Sequence[Acl] = ()) -> None:
        """Allow users what their roles need, and nothing else."""
        for role in roles:
            allow_now(self.cluster, role, [each for each in self.acls(role) if each not in without])

    def broker(self, role: str) -> Broker:
        """Return the broker as a user reaches it."""
        return work_broker(self.contract(self.file(role)), request_timeout=10.0)

    def environment(self, file: Path) -> dict[str, str]:
        """Return the environment of a process with this contract."""
        passwords = {f"PW_{role.upper()}": password for role, password in USERS.items()}
        made = environment(file, "", CUTOVER_DATADIR=str(file.parent / "data"), **passwords)
        del made[BROKER_ENV]
        return made

    def run(self, words: Sequence[str], file: Path) -> Done:
        """Run a command, or a worker that will not live long, to its end."""
        done = subprocess.run(
            [*COMMAND, *words],
            env=self.environment(file),
            cwd=file.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=EXIT_SECONDS,
            check=False,
        )
        return Done(done.returncode, done.stdout)

    @contextmanager
    def worker(self, file: Path, *options: str) -> Iterator["Working"]:
        """Have a worker run meanwhile."""
        log = file.parent / "worker.log"
        with log.open("ab") as output:
            words = [*COMMAND, *options, "worker", "--without-web"]
            process = self.cluster.spawn(words, log=output, env=self.environment(file), cwd=file.parent)
        try:
            yield Working(process, log)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            self.cluster.forget(process)

    def publish(self, pairs: int, wrong: int) -> None:
        """Publish as the producers would; the value of one rebuilt message is wrong."""

        async def both() -> None:
            legacy = [Sent(_json(no=f"n{number}", x="a"), partition=number % 2) for number in range(pairs)]
            rebuilt = [
                Sent(_json(id=f"n{number}", value="b" if number == wrong else "a"), partition=number % 3)
                for number in range(pairs)
            ]
            await send(self.cluster.bootstrap, self.legacy, legacy)
            await send(self.cluster.bootstrap, self.rebuilt, rebuilt)

        asyncio.run(both())


class Working(NamedTuple):
    """A worker process and its log."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def check(self) -> None:
        """Raise if it has ended."""
        assert self.process.poll() is None, self.text()

    def text(self) -> str:
        """Return what it has said."""
        return self.log.read_text(errors="replace")

    def ended(self) -> Done:
        """Wait until it has ended by itself."""
        return Done(self.process.wait(EXIT_SECONDS), self.text())


def sasl(user: str, mechanism: str = "SCRAM-SHA-512", **more: Any) -> dict[str, Any]:
    """Return how a user logs in."""
    password = {"env": f"PW_{user.upper()}"}
    return {"mechanism": mechanism, "username": user, "password": password, **more}


def _json(**message: str) -> bytes:
    return json.dumps(message).encode()
