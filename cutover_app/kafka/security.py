"""From what a contract says about security to what Kafka's clients are given.

Secrets are read here and nowhere else, and go from here to the clients alone: `Broker.security`, which no repr shows.
What is wrong with a file or a variable is a `ContractError` with the line of its setting.

What is read again, and when: certificates and keys at each new connection if their files have changed, tokens at each
new connection. User names and passwords are read once: aiokafka keeps them, so a new password needs a restart.
"""

import logging
import os
import ssl
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from aiokafka.protocol.admin import SaslAuthenticateRequest_v0, SaslAuthenticateRequest_v1

from cutover_app.contract.errors import ContractError, Problem
from cutover_app.contract.models import Contract
from cutover_app.contract.security import OAUTHBEARER, OAuth, Sasl, Secret, Security, Tls
from cutover_app.kafka.tokens import Endpoint, EndpointTokens, GivenTokens

SECRET_BYTES_MAX: Final = 64 * 1024

log = logging.getLogger(__name__)
_warned: set[Path] = set()


def security_of(contract: Contract, security: Security | None, setting: str) -> dict[str, Any]:
    """Return aiokafka's keyword arguments for a section `setting` of a contract; raises `ContractError`."""
    if security is None:
        return {}
    source = SecretSource(contract)
    tls, sasl = security.tls, security.sasl
    protocol = f"SASL_{'PLAINTEXT' if tls is None else 'SSL'}" if sasl is not None else "SSL"
    made: dict[str, Any] = {"security_protocol": protocol}
    if tls is not None:
        made["ssl_context"] = _context(source, tls, f"{setting}.tls")
    if sasl is not None:
        _keep_out_of_logs()
        made |= _sasl(source, sasl, f"{setting}.sasl")
    return made


class SecretSource:
    """Reads what a contract only names. Every error has the place in the contract, none has the secret."""

    def __init__(self, contract: Contract, environ: Mapping[str, str] = os.environ) -> None:
        self._contract = contract
        self._environ = environ

    def wrong(self, setting: str, text: str) -> ContractError:
        """Return the error of a setting."""
        return ContractError(Problem(self._contract.file, self._contract.line_of(setting), setting, text))

    def path(self, name: str, setting: str, *, secret: bool = False) -> Path:
        """Return a file that is there and can be read; relative names are looked for beside the contract."""
        path = self._contract.folder / name
        try:
            mode = path.stat().st_mode
            with path.open("rb"):
                pass
        except OSError as error:
            raise self.wrong(setting, f"file {path}: {error.strerror or 'cannot be read'}") from None
        if secret and mode & stat.S_IWOTH:
            raise self.wrong(setting, f"file {path}: everybody may write to it: expected mode 0600 (chmod 600)")
        if secret and mode & stat.S_IROTH and path not in _warned:
            _warned.add(path)
            log.warning("%s: file %s can be read by everybody: expected mode 0600 or 0640", setting, path)
        return path

    def read(self, secret: Secret, setting: str) -> str:
        """Return a secret as it is now; the newline at the end of a file is not a part of it."""
        if secret.env is not None:
            text = self._environ.get(secret.env, "")
            if not text:
                raise self.wrong(f"{setting}.env", f"environment variable {secret.env} is not set, or is empty")
            return text
        assert secret.file is not None
        here = f"{setting}.file"
        path = self.path(secret.file, here, secret=True)
        try:
            with path.open("rb") as file:
                data = file.read(SECRET_BYTES_MAX + 1)
            text = data.decode("utf-8").rstrip("\r\n")
        except (OSError, UnicodeError):
            raise self.wrong(here, f"file {path}: cannot be read as text") from None
        if not text or len(data) > SECRET_BYTES_MAX or "\0" in text:
            raise self.wrong(here, f"file {path}: expected a secret of 1 byte to {SECRET_BYTES_MAX >> 10} KiB")
        return text

    def name(self, value: str | Secret, setting: str) -> str:
        """Return a name, wherever it is kept."""
        return value if isinstance(value, str) else self.read(value, setting)


class ReloadingContext(ssl.SSLContext):
    """A TLS context that loads its files again when they have changed: certificates are renewed while we run."""

    presents = False
    """Whether we have a certificate of our own."""
    _files: tuple[Path, ...] = ()
    _load: Callable[[], None] | None = None
    _seen: tuple[int, ...] = ()

    def watch(self, files: tuple[Path, ...], load: Callable[[], None]) -> None:
        """Load now, and again before a connection that finds other files."""
        self._files, self._load = files, load
        self._seen = self._times()
        load()

    def _times(self) -> tuple[int, ...]:
        return tuple(path.stat().st_mtime_ns for path in self._files)

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Begin a connection; what event loops call."""
        try:
            if self._load is not None and (times := self._times()) != self._seen:
                self._load()
                self._seen = times
        except (OSError, ContractError) as error:  # in the middle of being replaced: those that we have may still do
            log.warning("certificates were not loaded again: %s", error)
        return super().wrap_bio(*args, **kwargs)


def _context(source: SecretSource, tls: Tls, setting: str) -> ssl.SSLContext:
    context = ReloadingContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies chain and host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = tls.verify_hostname
    files = []
    if tls.ca is not None:
        files.append(source.path(tls.ca, f"{setting}.ca"))
    if tls.cert is not None and tls.key is not None:
        files.append(source.path(tls.cert, f"{setting}.cert"))
        files.append(source.path(tls.key, f"{setting}.key", secret=True))

    def load() -> None:
        _trust(source, context, tls.ca, f"{setting}.ca")
        if tls.cert is not None:
            _present(source, context, tls, setting)
            context.presents = True

    context.watch(tuple(files), load)
    return context


def _trust(source: SecretSource, context: ssl.SSLContext, ca: str | None, setting: str) -> None:
    if ca is None:
        context.load_default_certs()
        return
    path = source.path(ca, setting)
    try:
        context.load_verify_locations(path)
    except (ssl.SSLError, OSError):
        raise source.wrong(setting, f"file {path}: expected certificates of authorities in PEM form") from None


def _present(source: SecretSource, context: ssl.SSLContext, tls: Tls, setting: str) -> None:
    """Load our own certificate."""
    assert tls.cert is not None
    assert tls.key is not None
    secret = tls.key_password

    def password() -> str:  # OpenSSL would ask the terminal
        if secret is None:
            raise source.wrong(f"{setting}.key", "the key is encrypted: name its password in key_password")
        return source.read(secret, f"{setting}.key_password")

    cert = source.path(tls.cert, f"{setting}.cert")
    key = source.path(tls.key, f"{setting}.key", secret=True)
    try:
        context.load_cert_chain(cert, key, password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise source.wrong(f"{setting}.key", f"file {key}: it is not the key of {cert}") from None
        hint = "" if secret is None else ", and its password in key_password"
        raise source.wrong(
            setting, f"expected a certificate in {cert} and its key in {key}, in PEM form{hint}"
        ) from None


def _sasl(source: SecretSource, sasl: Sasl, setting: str) -> dict[str, Any]:
    made: dict[str, Any] = {"sasl_mechanism": sasl.mechanism}
    if sasl.mechanism == OAUTHBEARER:
        made["sasl_oauth_token_provider"] = _tokens(source, sasl, setting)
        return made
    assert sasl.username is not None
    assert sasl.password is not None
    made["sasl_plain_username"] = source.name(sasl.username, f"{setting}.username")
    made["sasl_plain_password"] = source.read(sasl.password, f"{setting}.password")
    return made


def _tokens(source: SecretSource, sasl: Sasl, setting: str) -> GivenTokens | EndpointTokens:
    token, oauth = sasl.token, sasl.oauth
    if oauth is not None:
        _endpoint(source, oauth, f"{setting}.oauth")  # a mistake is said now, not at the first connection
        return EndpointTokens(lambda: _endpoint(source, oauth, f"{setting}.oauth"))
    assert token is not None
    source.read(token, f"{setting}.token")
    return GivenTokens(lambda: source.read(token, f"{setting}.token"), f"{setting}.token")


def _endpoint(source: SecretSource, oauth: OAuth, setting: str) -> Endpoint:
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    if oauth.ca is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _trust(source, context, oauth.ca, f"{setting}.ca")
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return Endpoint(
        url=oauth.token_url,
        client_id=source.name(oauth.client_id, f"{setting}.client_id"),
        client_secret=source.read(oauth.client_secret, f"{setting}.client_secret"),
        scope=oauth.scope,
        context=context,
        setting=setting,
    )


def _without_credentials(record: logging.LogRecord) -> bool:
    """Take the credentials out of aiokafka's debug log, which shows every request."""
    if isinstance(record.args, tuple):
        sasl = SaslAuthenticateRequest_v0 | SaslAuthenticateRequest_v1
        record.args = tuple("<credentials>" if isinstance(each, sasl) else each for each in record.args)
    return True


def _keep_out_of_logs() -> None:
    logging.getLogger("aiokafka.conn").addFilter(_without_credentials)
