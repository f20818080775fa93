"""Why a cluster does not let us in, or does not let us do something: in one line, with the setting to change.

aiokafka tells its log why a connection failed, and its caller only that none could be made. So whoever finds a cluster
out of reach has a connection tried once more by hand (`unavailable`), and what happens to that one is put into words.
No line shows a secret, and none is made of what the other side sends, except the names of its SASL mechanisms.
"""

import asyncio
import ssl
from collections.abc import Iterator, Sequence
from typing import Any, Final

from aiokafka.conn import create_conn
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from cutover_app.kafka.errors import ACLS_HINT, AccessRefused, KafkaUnavailable
from cutover_app.kafka.settings import Broker
from cutover_app.kafka.tokens import TokenUnavailable

PROBE_SECONDS: Final = 5.0
"""How long a broker may take to show what is wrong."""

_EXPIRED, _NOT_YET = 10, 9
_OTHER_HOST: Final = frozenset({62, 64})
_TLS_ALERT: Final = 0x15
"""The first byte of a TLS alert, which aiokafka takes for the highest byte of a length."""

_DENIED: Final = {
    TopicAuthorizationFailedError: "topic",
    GroupAuthorizationFailedError: "consumer group",
    TransactionalIdAuthorizationFailed: "transactional id",
    ClusterAuthorizationFailedError: "cluster",
}


class TokenRefused(KafkaError):  # type: ignore[misc] # noqa: N818 - aiokafka is not typed
    """What aiokafka takes for success.

    That a bearer token is refused stands in the server's last words (RFC 7628, 3.2.2), which it does not read. From
    then on the broker answers every question with nothing in it, or with `IllegalSaslState`.
    """


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def denied(error: BaseException) -> str | None:
    """Return what an error says about a missing permission, or about credentials; None where it says nothing of it."""
    for each in causes(error):
        if isinstance(each, AccessRefused | TokenUnavailable):
            return _text_of(each)
        for kind, what in _DENIED.items():
            if isinstance(each, kind):
                return f"access denied: {what}{_names(each)}: expected the permissions of the role: {ACLS_HINT}"
        if isinstance(each, SaslAuthenticationFailed | IllegalSaslStateError):
            return "access denied: the broker refused our credentials: see security.sasl"
    return None


def _text_of(error: BaseException) -> str:
    return str(error.args[0]) if error.args else type(error).__name__


def _names(error: BaseException) -> str:
    """Return the names that an error carries."""
    found = error.args[0] if error.args else ""
    names = [found] if isinstance(found, str) else sorted(found) if isinstance(found, set | frozenset | list) else []
    return f" {', '.join(map(str, names))}" if any(names) else ""


async def unavailable(
    broker: Broker, error: BaseException, *, servers: Sequence[str] = (), worked: bool = False
) -> AccessRefused | KafkaUnavailable:
    """Return what to raise for a cluster, or some servers of it, that cannot be reached.

    `worked` says that we have been connected before: then only what is certain counts, because a broker that stops or
    a network that breaks looks like one that wants another protocol.
    """
    for server in servers or broker.servers:
        found = await _probe(broker, server)
        line = explain(found, broker, server) if found is not None else None
        if line is None and found is not None and not worked and _was_closed(found):
            in_handshake = not any(isinstance(each, asyncio.IncompleteReadError) for each in causes(found))
            line = _guess(broker, server, in_handshake=in_handshake)
        if line is not None:
            return AccessRefused(line)
    return KafkaUnavailable(broker.servers, error, broker.place)


async def _probe(broker: Broker, server: str) -> Exception | None:
    """Connect and ask one question; return what went wrong."""
    options: dict[str, Any] = broker.client("cutover-probe")
    del options["bootstrap_servers"]
    host, _, port = server.rpartition(":")
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            connection = await create_conn(host.strip("[]"), int(port), **options)
            try:
                answer = await connection.send(MetadataRequest([]))
            finally:
                connection.close()
            # So a broker answers whose token check failed; but so does one that its controller takes for dead.
            if not answer.brokers and options.get("sasl_mechanism") == "OAUTHBEARER":
                return TokenRefused()
    except Exception as error:
        return error
    return None


def explain(error: BaseException, broker: Broker, server: str) -> str | None:
    """Return what is certainly wrong between a client of this broker and a server; None where nothing is certain."""
    setting = broker.setting
    for each in causes(error):
        if isinstance(each, TokenUnavailable):
            return _text_of(each)
        if isinstance(each, TokenRefused):
            return f"{server} refused our token: see {setting}.sasl"
        if isinstance(each, ssl.SSLCertVerificationError):
            return _about_certificate(each, setting, server)
        if isinstance(each, ssl.SSLError) and "CERTIFICATE" in (each.reason or ""):
            if not getattr(broker.security.get("ssl_context"), "presents", False):
                return (
                    f"{server} expects a certificate, and we came without: set {setting}.tls.cert and {setting}.tls.key"
                )
            return (
                f"{server} refused our certificate: expected one that its authorities have signed and that has not "
                f"expired: see {setting}.tls.cert"
            )
        if isinstance(each, ssl.SSLError) and "PROTOCOL_VERSION" in (each.reason or ""):
            return f"{server} speaks no TLS that is safe: expected TLS 1.2 or later at the broker"
        if (line := _about_sasl(each, broker, server)) is not None:
            return line
        if isinstance(each, asyncio.IncompleteReadError) and (each.expected or 0) >> 24 == _TLS_ALERT:
            return f"{server} expects TLS, and we came without: set {setting}.tls, or name its plain port"
    return None


def _about_certificate(error: ssl.SSLCertVerificationError, setting: str, server: str) -> str:
    begin = f"certificate of {server}:"
    if error.verify_code == _EXPIRED:
        return f"{begin} it has expired: renew it at the broker (or is the clock of this machine wrong?)"
    if error.verify_code == _NOT_YET:
        return f"{begin} it is not valid yet: is the clock of this machine wrong?"
    if error.verify_code in _OTHER_HOST:
        host = server.rpartition(":")[0]
        return (
            f"{begin} it is for another host: expected one for {host}: name the broker as its certificate does (or "
            f"{setting}.tls.verify_hostname)"
        )
    return f"{begin} expected one signed by an authority that we trust, found another: see {setting}.tls.ca"


def _about_sasl(error: BaseException, broker: Broker, server: str) -> str | None:
    setting, security = broker.setting, broker.security
    mechanism = security.get("sasl_mechanism")
    if isinstance(error, SaslAuthenticationFailed):
        if "sasl_plain_username" not in security:
            return f"{server} refused our token: see {setting}.sasl"
        user = security["sasl_plain_username"]
        return f"{server} refused user {user} ({mechanism}): see {setting}.sasl.username and {setting}.sasl.password"
    if isinstance(error, UnsupportedSaslMechanismError):
        return f"{server} does not accept {mechanism}: see {setting}.sasl.mechanism"
    if isinstance(error, IllegalSaslStateError):
        return f"{server} expects no user, and we came with one: leave {setting}.sasl out, or name its port with SASL"
    if isinstance(error, ValueError) and "signature" in str(error):
        return f"{server} does not know the password of our user: is it the right broker? See {setting}.sasl"
    return None


def _was_closed(error: BaseException) -> bool:
    kinds = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, asyncio.IncompleteReadError, ssl.SSLError)
    return any(isinstance(each, kinds) for each in causes(error))


def _guess(broker: Broker, server: str, *, in_handshake: bool) -> str:
    """Say what is most likely, of a server that ends connections without a word."""
    setting, protocol = broker.setting, broker.security.get("security_protocol", "PLAINTEXT")
    if not in_handshake and protocol in {"PLAINTEXT", "SSL"}:
        return f"{server} ended the connection at our first request: it seems to expect a user: set {setting}.sasl"
    if in_handshake and protocol in {"SSL", "SASL_SSL"}:
        return (
            f"{server} ended the TLS handshake: it seems to be a plain port: name its port with TLS, or leave "
            f"{setting}.tls out"
        )
    return f"{server} ended the connection: it seems to expect another protocol: see {setting}"
