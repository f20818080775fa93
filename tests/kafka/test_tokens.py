"""Bearer tokens: from where they are kept, and from an endpoint that may be anything."""

import asyncio
import base64
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cutover_app.kafka import tokens
from cutover_app.kafka.tokens import Endpoint, EndpointTokens, GivenTokens, TokenUnavailable, ask
from cutover_app.lab.certificates import SERVER, Authority

CANARY = "hunter2"
TOKEN = "abc.def-_~+/=="


class Login(ThreadingHTTPServer):
    """A token endpoint that answers what it is told to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.body = json.dumps({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600}).encode()
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.release = threading.Event()
        self.release.set()

    def url(self, scheme: str = "http") -> str:
        """Return the address."""
        return f"{scheme}://127.0.0.1:{self.server_port}/token?tenant=1"


class _Handler(BaseHTTPRequestHandler):
    server: Login

    def do_POST(self) -> None:
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.asked.append((self.path, self.headers["Authorization"], form))
        self.server.release.wait(20)
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def login() -> Iterator[Login]:
    with Login() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.release.set()
        server.shutdown()


def endpoint(url: str, context: ssl.SSLContext | None = None) -> Endpoint:
    context = context or ssl.create_default_context()
    return Endpoint(url, "a:b", CANARY, "kafka read", context, "security.sasl.oauth")


def test_a_token_is_asked_for_as_the_standard_has_it(login: Login) -> None:
    """Client credentials grant: credentials in the header, form-encoded first, grant and scope in the body."""
    assert ask(endpoint(login.url())) == (TOKEN, 3600.0)
    [(path, authorization, form)] = login.asked
    assert path == "/token?tenant=1"
    assert base64.b64decode(authorization.removeprefix("Basic ")) == f"a%3Ab:{CANARY}".encode()
    assert form == "grant_type=client_credentials&scope=kafka+read"


def test_a_token_is_used_for_most_of_its_life(login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many connections ask once; the next token is asked for before the last one expires; one without end is not."""
    provider = EndpointTokens(lambda: endpoint(login.url()))
    now = [1000.0]
    monkeypatch.setattr(tokens, "monotonic", lambda: now[0])

    async def several(count: int) -> list[str]:
        return await asyncio.gather(*(provider.token() for _ in range(count)))

    assert set(asyncio.run(several(8))) == {TOKEN}
    now[0] += 0.79 * 3600
    asyncio.run(several(2))
    assert len(login.asked) == 1
    now[0] += 0.02 * 3600
    login.body = json.dumps({"access_token": "next"}).encode()
    assert asyncio.run(several(2)) == ["next", "next"]
    assert len(login.asked) == 3


def test_the_loop_goes_on_while_a_token_is_asked_for(login: Login) -> None:
    """A slow endpoint does not stop the event loop."""
    login.release.clear()
    provider = EndpointTokens(lambda: endpoint(login.url()))

    async def both() -> str:
        asking = asyncio.create_task(provider.token())
        async with asyncio.timeout(10):
            while not login.asked:  # noqa: ASYNC110 - it is another thread that asks
                await asyncio.sleep(0.01)
        assert not asking.done()
        login.release.set()
        return await asking

    assert asyncio.run(both()) == TOKEN


@pytest.mark.parametrize(
    ("status", "headers", "body", "said"),
    [
        (302, {"Location": "http://127.0.0.1:1/"}, b"", "it answered 302, and redirects are not followed"),
        (401, {}, b'{"error":"invalid_client"}', "it answered 401 (invalid_client): see client_id"),
        (500, {}, CANARY.encode(), "it answered 500: see client_id"),
        (200, {}, b"x" * 70_000, "more than 64 KiB"),
        (200, {}, b"not json", "expected a bearer token"),
        (200, {}, b'{"access_token": "a\\u0001auth=Bearer b"}', "expected a bearer token"),
        (200, {}, b'{"access_token": "abc", "token_type": "mac"}', "expected a token of type bearer"),
    ],
)
def test_answers_that_are_no_token(login: Login, status: int, headers: dict[str, str], body: bytes, said: str) -> None:
    """Each is one line that names the setting, and shows neither the secret nor what the endpoint sent."""
    login.status, login.headers, login.body = status, headers, body
    with pytest.raises(TokenUnavailable) as caught:
        ask(endpoint(login.url()))
    line = caught.value.args[0]
    assert line.startswith("security.sasl.oauth")
    assert said in line
    assert CANARY not in line
    assert "\n" not in line


def test_an_endpoint_that_is_silent_or_away(login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is an end to waiting, and nobody at home is said as that."""
    monkeypatch.setattr(tokens, "TOKEN_SECONDS", 0.2)
    login.release.clear()
    with pytest.raises(TokenUnavailable, match=r"no answer within 0\.2 s"):
        ask(endpoint(login.url()))
    with pytest.raises(TokenUnavailable, match="Connection refused"):
        ask(endpoint("http://127.0.0.1:1/token"))


def test_an_endpoint_is_verified(login: Login, tmp_path: Path) -> None:
    """Over https its certificate must be signed by an authority that we trust."""
    authority = Authority(tmp_path)
    authority.sign("login", SERVER)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(tmp_path / "login.crt", tmp_path / "login.key")
    login.socket = serving.wrap_socket(login.socket, server_side=True)
    trusting = ssl.create_default_context(cafile=authority.file)
    assert ask(endpoint(login.url("https"), trusting)) == (TOKEN, 3600.0)
    with pytest.raises(TokenUnavailable, match="its certificate is not trusted"):
        ask(endpoint(login.url("https")))


def test_a_token_that_somebody_else_keeps_is_read_each_time() -> None:
    """The next connection gets the next token; one that is none is refused, unseen."""
    given = iter(["first", "second", f"{CANARY} with spaces"])
    provider = GivenTokens(lambda: next(given), "security.sasl.token")
    assert [asyncio.run(provider.token()) for _ in range(2)] == ["first", "second"]
    with pytest.raises(TokenUnavailable) as caught:
        asyncio.run(provider.token())
    assert CANARY not in str(caught.value)
