"""Tokens for SASL/OAUTHBEARER: from where they are kept, or from a token endpoint.

aiokafka asks for a token at each new connection, in whichever event loop the connection lives; Faust's consumer has a
loop of its own. So everything that may block runs in a thread. A failure is a `TokenUnavailable`, a `KafkaError`:
anything else would get past the handlers in aiokafka's background tasks and end them in silence.
"""

import asyncio
import base64
import http.client
import json
import re
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final
from urllib.parse import quote_plus, urlencode, urlsplit

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError

from cutover_app.contract.errors import ContractError

TOKEN_SECONDS: Final = 10.0
"""How long an endpoint may take for everything."""
ANSWER_BYTES_MAX: Final = 64 * 1024
_USED_PART: Final = 0.8
"""Part of a token's life in which it is used again."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_ERROR_CODE: Final = re.compile(r"[a-z_]{1,40}")


class TokenUnavailable(KafkaError):  # type: ignore[misc] # noqa: N818 - aiokafka is not typed
    """There is no token; the text says why, and never shows a secret."""


class _Tokens(AbstractTokenProvider):  # type: ignore[misc] # aiokafka is not typed
    def __init__(self) -> None:
        self._lock = threading.Lock()

    async def token(self) -> str:
        """Return a token for a new connection."""
        return await asyncio.to_thread(self._locked)

    def _locked(self) -> str:
        with self._lock:
            try:
                return self._token()
            except ContractError as error:
                raise TokenUnavailable(str(error)) from None

    def _token(self) -> str:
        raise NotImplementedError


class GivenTokens(_Tokens):
    """A token that somebody else keeps fresh, in a file or variable; read at each connection."""

    def __init__(self, read: Callable[[], str], setting: str) -> None:
        super().__init__()
        self._read = read
        self._setting = setting

    def _token(self) -> str:
        return _checked(self._read(), self._setting)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where tokens are asked for, and as whom."""

    url: str
    client_id: str = field(repr=False)
    client_secret: str = field(repr=False)
    scope: str | None
    context: ssl.SSLContext = field(repr=False)
    setting: str


class EndpointTokens(_Tokens):
    """Tokens by the grant of client credentials, each used for most of its life."""

    def __init__(self, endpoint: Callable[[], Endpoint]) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._kept = ""
        self._until = 0.0

    def _token(self) -> str:
        if monotonic() >= self._until:
            began = monotonic()
            self._kept, seconds = ask(self._endpoint())
            self._until = began + _USED_PART * seconds
        return self._kept


def ask(endpoint: Endpoint) -> tuple[str, float]:
    """Return a token and for how many seconds it is good; raises `TokenUnavailable`."""
    try:
        status, data = _post(endpoint)
    except (OSError, http.client.HTTPException) as error:
        raise _unavailable(endpoint, _reason(error)) from None
    if 300 <= status < 400:
        raise _unavailable(endpoint, f"it answered {status}, and redirects are not followed")
    answer = _object(data)
    if status != 200:
        code = answer.get("error")
        said = f" ({code})" if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""
        raise _unavailable(endpoint, f"it answered {status}{said}: see client_id, client_secret and scope")
    if str(answer.get("token_type", "bearer")).lower() != "bearer":
        raise _unavailable(endpoint, "expected a token of type bearer")
    seconds = answer.get("expires_in", 0)
    good = float(seconds) if isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds > 0 else 0.0
    return _checked(answer.get("access_token"), endpoint.setting), good


def _post(endpoint: Endpoint) -> tuple[int, bytes]:
    url = urlsplit(endpoint.url)
    assert url.hostname is not None
    connection = (
        http.client.HTTPSConnection(url.hostname, url.port, timeout=TOKEN_SECONDS, context=endpoint.context)
        if url.scheme == "https"
        else http.client.HTTPConnection(url.hostname, url.port, timeout=TOKEN_SECONDS)
    )
    form = {"grant_type": "client_credentials"} | ({"scope": endpoint.scope} if endpoint.scope else {})
    who = f"{quote_plus(endpoint.client_id)}:{quote_plus(endpoint.client_secret)}"  # RFC 6749, 2.3.1
    headers = {
        "Accept": "application/json",
        "Authorization": f"Basic {base64.b64encode(who.encode()).decode()}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    deadline = monotonic() + TOKEN_SECONDS
    try:
        connection.request("POST", target, urlencode(form), headers)
        response = connection.getresponse()
        data = b""
        while chunk := response.read1(8192):
            data += chunk
            if len(data) > ANSWER_BYTES_MAX:
                raise http.client.HTTPException(f"more than {ANSWER_BYTES_MAX >> 10} KiB")
            if monotonic() > deadline:
                raise TimeoutError
        return response.status, data
    finally:
        connection.close()


def _object(data: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(data)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {TOKEN_SECONDS:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}): see ca"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error) or type(error).__name__


def _unavailable(endpoint: Endpoint, why: str) -> TokenUnavailable:
    return TokenUnavailable(f"{endpoint.setting}: no token from {endpoint.url.partition('?')[0]}: {why}")


def _checked(token: Any, setting: str) -> str:
    """Return a token that can be sent; one with control characters would be two fields of the message."""
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise TokenUnavailable(f"{setting}: expected a bearer token: letters, digits and . _ ~ + / - =")
    return token
