"""A broker that asks who one is, and lets nobody do what they were not allowed.

    with SecuredCluster(users={"worker": "secret"}) as cluster:
        cluster.address(SASL_SSL)          # SCRAM, PLAIN and OAUTHBEARER (unsecured tokens) over TLS
        allow_now(cluster, "worker", acls)

It has a listener for each way to be reached, right and wrong ones, so that many checks share one broker. The plain
listener of `Cluster` stays, for the lab alone: whoever comes that way may do everything.
"""

import asyncio
import base64
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from aiokafka.errors import for_code
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest_v1
from aiokafka.protocol.api import Request

from cutover_app.kafka.acls import GROUP, LITERAL, PREFIXED, TOPIC, TRANSACTIONAL_ID, Acl
from cutover_app.kafka.cluster import Cluster as Connection
from cutover_app.kafka.settings import Broker
from cutover_app.lab.certificates import DAY, SERVER, Authority
from cutover_app.lab.cluster import Cluster, free_ports
from cutover_app.lab.errors import LabError

SASL_SSL: Final = "SASL"
MUTUAL: Final = "MUTUAL"
"""TLS with a certificate of the client."""
EXPIRED: Final = "EXPIRED"
"""As SASL_SSL, with a certificate of yesterday."""
STRANGER: Final = "STRANGER"
"""As SASL_SSL, with a certificate for another host."""
CLEAR: Final = "CLEAR"
"""SASL without TLS."""
_PROTOCOLS: Final = {
    SASL_SSL: "SASL_SSL", MUTUAL: "SSL", EXPIRED: "SASL_SSL", STRANGER: "SASL_SSL", CLEAR: "SASL_PLAINTEXT",
}  # fmt: skip
_CERTIFICATES: Final = {SASL_SSL: "server", MUTUAL: "server", EXPIRED: "expired", STRANGER: "stranger"}

MECHANISMS: Final = ("SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN", "OAUTHBEARER")

_RESOURCES: Final = {TOPIC: 2, GROUP: 3, TRANSACTIONAL_ID: 5}
_PATTERNS: Final = {LITERAL: 3, PREFIXED: 4}
_OPERATIONS: Final = {"Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Describe": 8, "DescribeConfigs": 10}
_ALLOW: Final = 3

SETTLE_S: Final = 15.0
POLL_S: Final = 0.02
CONTROLLER_S: Final = 0.2
"""The controller, who creates and deletes topics, has a copy of the ACLs that cannot be asked for."""


class SecuredCluster(Cluster):
    """One broker with authentication and ACLs. `users` maps names to passwords, for SCRAM and PLAIN alike.

    Those of them that are `trusted` may do everything.
    """

    def __init__(
        self, name: str = "secured", *, users: Mapping[str, str], trusted: Sequence[str] = (), **options: Any
    ) -> None:
        super().__init__(name, **options)
        self.trusted = tuple(trusted)
        self.users = dict(users)
        self.ports: dict[str, int] = {}
        self._authority: Authority | None = None

    @property
    def authority(self) -> Authority:
        """Who signed the certificates."""
        if self._authority is None:
            raise LabError(f"{self.name} was not started")
        return self._authority

    def address(self, listener: str) -> str:
        """Return the address of a listener."""
        return f"127.0.0.1:{self.ports[listener]}"

    def _values(self, controller_port: int) -> dict[str, str]:
        if self._authority is None:
            self._authority = _certificates(self.directory / "certificates")
        self.ports = dict(
            zip(_PROTOCOLS, free_ports(len(_PROTOCOLS), besides=(self.port, controller_port)), strict=True)
        )
        values = super()._values(controller_port)
        ours = [f"{name}://127.0.0.1:{port}" for name, port in self.ports.items()]
        protocols = [f"{name}:{protocol}" for name, protocol in _PROTOCOLS.items()]
        values |= {
            "listeners": ",".join([values["listeners"], *ours]),
            "advertised.listeners": ",".join([values["advertised.listeners"], *ours]),
            "listener.security.protocol.map": ",".join([values["listener.security.protocol.map"], *protocols]),
            "inter.broker.listener.name": "PLAINTEXT",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": ";".join(f"User:{user}" for user in ("ANONYMOUS", *self.trusted)),
        }
        for name in _PROTOCOLS:
            values |= {f"listener.name.{name.lower()}.{key}": each for key, each in self._listener(name).items()}
        return values

    def _listener(self, name: str) -> dict[str, str]:
        values: dict[str, str] = {}
        if name in _CERTIFICATES:
            values |= {
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(self.authority.folder / f"{_CERTIFICATES[name]}.pem"),
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self.authority.file),
                "ssl.client.auth": "required" if name == MUTUAL else "none",
            }
        if _PROTOCOLS[name].startswith("SASL"):
            plain = " ".join(f'user_{user}="{password}"' for user, password in self.users.items())
            package = "org.apache.kafka.common.security"
            scram = f"{package}.scram.ScramLoginModule required;"
            values |= {
                "sasl.enabled.mechanisms": ",".join(MECHANISMS),
                "scram-sha-256.sasl.jaas.config": scram,
                "scram-sha-512.sasl.jaas.config": scram,
                "plain.sasl.jaas.config": f"{package}.plain.PlainLoginModule required {plain};",
                "oauthbearer.sasl.jaas.config": f"{package}.oauthbearer.OAuthBearerLoginModule required "
                'unsecuredLoginStringClaim_sub="broker";',
            }
        return values

    def _format_options(self) -> list[str]:
        options = []
        for user, password in self.users.items():
            for mechanism in MECHANISMS[:2]:
                options += ["--add-scram", f"{mechanism}=[name={user},password={password}]"]
        return options


def _certificates(folder: Path) -> Authority:
    authority = Authority(folder)
    authority.sign("server", SERVER)
    authority.sign("expired", SERVER, begins=-2 * DAY, ends=-DAY)
    authority.sign("stranger", ("kafka.example.org",))
    return authority


def unsecured_token(subject: str, *, seconds: float = 3600.0) -> str:
    """Return a token that Kafka's unsecured validator takes for `subject`'s."""

    def part(value: Mapping[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    now = time.time()
    return f"{part({'alg': 'none'})}.{part({'sub': subject, 'iat': now - 60, 'exp': now + seconds})}."


class _FindAcls(Request[DescribeAclsRequest_v1]):  # type: ignore[misc] # aiokafka is not typed
    """aiokafka encodes the newest version of this request as if it were an older one."""

    API_KEY = 29

    def __init__(self, *values: Any) -> None:
        self._values = values

    def build(self, request_struct_class: type[DescribeAclsRequest_v1]) -> Any:
        return request_struct_class(*self._values)


async def allow(bootstrap: str, user: str, acls: Iterable[Acl]) -> None:
    """Allow a user what these say; in force when this returns."""
    await _each(bootstrap, CreateAclsRequest, user, acls)


async def forbid(bootstrap: str, user: str, acls: Iterable[Acl]) -> None:
    """Take it away again; no longer in force when this returns."""
    await _each(bootstrap, DeleteAclsRequest, user, acls)


def allow_now(cluster: Cluster, user: str, acls: Sequence[Acl]) -> None:
    """Do the same from code that runs no event loop."""
    asyncio.run(allow(cluster.bootstrap, user, acls))


def forbid_now(cluster: Cluster, user: str, acls: Sequence[Acl]) -> None:
    """Do the same from code that runs no event loop."""
    asyncio.run(forbid(cluster.bootstrap, user, acls))


async def _each(bootstrap: str, kind: Any, user: str, acls: Iterable[Acl]) -> None:
    async with Connection(Broker.parse(bootstrap)) as connection:
        node = await connection.controller()
        for acl in acls:
            values = (
                _RESOURCES[acl.resource],
                acl.name,
                _PATTERNS[acl.pattern],
                f"User:{user}",
                "*",
                _OPERATIONS[acl.operation],
                _ALLOW,
            )
            answer = await connection.ask(kind(*values), node)
            rows = answer.creation_responses if kind is CreateAclsRequest else answer.filter_responses
            for code, message, *_more in rows:
                if code:
                    raise LabError(f"ACL of {user}: {message or for_code(code).__name__}")
            for _ in range(int(SETTLE_S / POLL_S)):
                found = (await connection.ask(_FindAcls(*values), node)).resources
                if bool(found) is (kind is CreateAclsRequest):
                    break
                await asyncio.sleep(POLL_S)
            else:
                raise LabError(f"ACL of {user}: not in force after {SETTLE_S:g} s")
        await asyncio.sleep(CONTROLLER_S)
