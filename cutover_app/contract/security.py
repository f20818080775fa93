"""How a cluster is reached safely, as a contract says it: TLS, SASL, and where the secrets are kept.

A contract names secrets and never holds them: the name of an environment variable, or a file. So it can be shown,
logged, hashed and put under version control as it is. Reading them is the business of `kafka/security.py`.
"""

import re
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from cutover_app.contract.errors import SettingError

Mechanism = Literal["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN", "OAUTHBEARER"]
FileName = Annotated[str, Field(min_length=1, max_length=4096)]

OAUTHBEARER: Final = "OAUTHBEARER"
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

_ENV: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REFERENCE: Final = "expected {env: NAME} or {file: PATH}: a secret does not belong into the contract"


def _not_null(value: Any) -> Any:
    """Refuse `tls:` with nothing behind it: it would mean no encryption, where somebody meant some."""
    if value is None:
        raise ValueError("expected a mapping, found null: leave it out if there is none")
    return value


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Secret(_Model):
    """Where a secret is kept."""

    env: str | None = None
    file: FileName | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_reference(cls, value: Any) -> Any:
        if not isinstance(value, dict | Secret):
            raise ValueError(_REFERENCE)  # noqa: TRY004 - what pydantic takes for an error of the file
        return value

    @field_validator("env")
    @classmethod
    def _is_name(cls, env: str | None) -> str | None:
        if env is not None and not _ENV.fullmatch(env):
            raise ValueError("expected the name of an environment variable: letters, digits and _")
        return env

    @model_validator(mode="after")
    def _exactly_one(self) -> "Secret":
        if (self.env is None) == (self.file is None):
            raise ValueError(_REFERENCE)
        return self

    @property
    def place(self) -> str:
        """What messages call the place of the secret."""
        return f"environment variable {self.env}" if self.env is not None else f"file {self.file}"


def _kind_of_name(value: Any) -> str:
    return "<reference>" if isinstance(value, dict | Secret) else "<text>"


NameOrSecret = Annotated[
    Annotated[Annotated[str, Field(min_length=1)], Tag("<text>")] | Annotated[Secret, Tag("<reference>")],
    Discriminator(_kind_of_name),
]
"""A name may be written down, or kept where secrets are."""


class Tls(_Model):
    """Encryption, whom to trust, and the client's own certificate where brokers ask for one (mTLS)."""

    ca: FileName | None = None
    """PEM file of the authorities that sign the brokers' certificates; None trusts those of the system."""
    cert: FileName | None = None
    key: FileName | None = None
    key_password: Secret | None = None
    verify_hostname: bool = True

    @model_validator(mode="after")
    def _both(self) -> "Tls":
        if (self.cert is None) != (self.key is None):
            name, other = ("key", "cert") if self.key is None else ("cert", "key")
            raise SettingError(f"required beside {other}", name)
        if self.key_password is not None and self.key is None:
            raise SettingError("expected beside key only", "key_password")
        return self


class OAuth(_Model):
    """Tokens asked of an endpoint: the grant of client credentials (RFC 6749, 4.4)."""

    token_url: str
    client_id: NameOrSecret
    client_secret: Secret
    scope: str | None = None
    ca: FileName | None = None
    """PEM file of the authority of the endpoint; None trusts those of the system."""

    @field_validator("token_url")
    @classmethod
    def _safe(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            host, _port = parts.hostname, parts.port
        except ValueError:
            raise ValueError("expected https://host/path") from None
        if parts.username is not None or parts.password is not None or parts.fragment or not host:
            raise ValueError("expected https://host/path, without a user or password")
        if parts.scheme != "https" and not (parts.scheme == "http" and host in LOOPBACK):
            raise ValueError("expected https: the client's secret would go over the network in the clear")
        return url


class Sasl(_Model):
    """Who we are."""

    mechanism: Mechanism
    username: NameOrSecret | None = None
    password: Secret | None = None
    token: Secret | None = None
    oauth: OAuth | None = None

    @model_validator(mode="after")
    def _complete(self) -> "Sasl":
        password, tokens = ["username", "password"], ["token", "oauth"]
        by_token = self.mechanism == OAUTHBEARER
        if by_token and (self.token is None) == (self.oauth is None):
            raise SettingError("OAUTHBEARER needs exactly one of token and oauth", "mechanism")
        needed, foreign = ([], password) if by_token else (password, tokens)
        for name in needed:
            if getattr(self, name) is None:
                raise SettingError(f"required for {self.mechanism}, and absent", name)
        for name in foreign:
            if getattr(self, name) is not None:
                raise SettingError(f"not for {self.mechanism}", name)
        return self


class Security(_Model):
    """How a cluster is reached: TLS, SASL or both."""

    tls: Annotated[Tls | None, BeforeValidator(_not_null)] = None
    sasl: Annotated[Sasl | None, BeforeValidator(_not_null)] = None
    allow_plaintext: bool = False
    """Without `tls`: say that credentials and messages may cross the network in the clear."""

    @model_validator(mode="after")
    def _encrypted(self) -> "Security":
        if self.tls is None and self.sasl is None:
            raise ValueError("expected tls, sasl or both")
        if self.tls is None and not self.allow_plaintext:
            raise SettingError(
                "without tls the credentials would go over the network in the clear: add `tls: {}` (or say "
                "`allow_plaintext: true`)",
                "sasl",
            )
        if self.tls is not None and self.allow_plaintext:
            raise SettingError("tls is set, so nothing goes in the clear: leave one of them out", "allow_plaintext")
        return self


SecurityOrNone = Annotated[Security | None, BeforeValidator(_not_null)]
"""A cluster that needs none has no `security`."""
