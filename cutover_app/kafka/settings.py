"""How one cluster is reached: the same few facts for Faust, producers, samplers and commands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yarl import URL

DEFAULT_PORT = 9092

#: What this application's own topics are compressed with. aiokafka fixes lz4 at its slowest level:
#: 53 MB/s, three times the cost of judging a message; snappy does 600 MB/s for a fifth more bytes.
COMPRESSION = "snappy"


@dataclass(frozen=True, slots=True)
class Broker:
    """One cluster. `security` holds aiokafka keyword arguments (protocol, SASL, TLS context)."""

    servers: tuple[str, ...]
    security: Mapping[str, Any] = field(default_factory=dict, repr=False)
    request_timeout: float = 30.0
    setting: str = "security"
    """The section of the contract that `security` was made of, for what is said of it."""

    @classmethod
    def parse(cls, text: str, **options: Any) -> "Broker":
        """Read `kafka://a:9092,b:9092`, with or without the scheme; `;` separates too."""
        parts = [part.strip() for part in text.replace(";", ",").split(",")]
        servers = tuple(_server(part) for part in parts if part)
        if not servers:
            raise ValueError(f"no broker address in {text!r}; expected kafka://host:port")
        return cls(servers, **options)

    @property
    def who(self) -> str:
        """As whom we come, as far as we know: the broker may have another name for us."""
        user = self.security.get("sasl_plain_username")
        return f"user {user}" if user else "the user that we come as"

    @property
    def way(self) -> tuple[object, ...]:
        """Addresses and protocol: a port that has spoken it once speaks it always."""
        return self.servers, self.security.get("security_protocol"), self.security.get("sasl_mechanism")

    @property
    def place(self) -> str:
        """The setting of the contract that `servers` were read from; it stands beside that of `security`."""
        return self.setting.removesuffix("security") + "broker"

    def urls(self) -> list[URL]:
        """The same addresses in the form that Faust takes."""
        return [URL(f"kafka://{server}") for server in self.servers]

    def client(self, client_id: str) -> dict[str, Any]:
        """Keyword arguments that every aiokafka client, consumer or producer understands."""
        return {
            "bootstrap_servers": list(self.servers),
            "client_id": client_id,
            "request_timeout_ms": int(self.request_timeout * 1000),
            **self.security,
        }


def _server(part: str) -> str:
    url = URL(part if "://" in part else f"kafka://{part}")
    if not url.host:
        raise ValueError(f"{part!r} is not a broker address; expected kafka://host:port")
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{host}:{url.port or DEFAULT_PORT}"
