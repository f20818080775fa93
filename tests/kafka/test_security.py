"""From the contract to what Kafka's clients are given: files, variables, certificates, and nothing shown."""

import logging
import os
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiokafka.protocol.admin import SaslAuthenticateRequest_v0
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from cutover_app.contract.errors import ContractError
from cutover_app.contract.load import load_contract
from cutover_app.kafka.clusters import legacy_broker, work_broker
from cutover_app.kafka.security import ReloadingContext
from cutover_app.kafka.settings import Broker
from cutover_app.lab.certificates import Authority
from cutover_app.runtime.credentials import credentials
from tests.contract.helpers import HEAD, MATCH

CANARY = "hunter2"
SCRAM = "sasl: {mechanism: SCRAM-SHA-512, username: u, password: {file: secrets/password}}"


def broker_of(folder: Path, section: str) -> Broker:
    """Return the work cluster of a contract with this section, which lies in `folder`."""
    file = folder / "c.yaml"
    file.write_text(HEAD + MATCH + "rebuild: {id: ordId}\n" + f"security: {{{section}}}\n")
    return work_broker(load_contract(file, {}))


def problem(folder: Path, section: str) -> str:
    with pytest.raises(ContractError) as caught:
        broker_of(folder, section)
    return str(caught.value)


def write_secret(folder: Path, text: str = f"{CANARY}\n", mode: int = 0o600, name: str = "password") -> Path:
    file = folder / "secrets" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return file


def test_a_secret_comes_from_a_file_beside_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative files are looked for beside the contract, wherever we are; the newline at the end is dropped."""
    write_secret(tmp_path, "  pass word \r\n")
    monkeypatch.chdir("/")
    made = broker_of(tmp_path, f"tls: {{}}, {SCRAM}")
    assert made.client("x")["sasl_plain_password"] == "  pass word "
    assert made.client("x")["security_protocol"] == "SASL_SSL"


def test_a_secret_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And without TLS, where that was said, it goes in the clear."""
    monkeypatch.setenv("SOME_PASSWORD", CANARY)
    sasl = "sasl: {mechanism: PLAIN, username: {env: SOME_PASSWORD}, password: {env: SOME_PASSWORD}}"
    made = broker_of(tmp_path, f"allow_plaintext: true, {sasl}").client("x")
    assert (made["sasl_plain_username"], made["sasl_plain_password"]) == (CANARY, CANARY)
    assert (made["security_protocol"], made.get("ssl_context")) == ("SASL_PLAINTEXT", None)


def test_nothing_shows_a_secret(tmp_path: Path) -> None:
    """Neither the broker nor Faust's credentials have it in their text."""
    write_secret(tmp_path)
    made = broker_of(tmp_path, f"tls: {{}}, {SCRAM}")
    assert CANARY not in f"{made!r} {made} {credentials(made)!r}"


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (f"tls: {{}}, {SCRAM}", "security.sasl.password.file: file {}/secrets/password: No such file or directory"),
        ("tls: {ca: none.pem}", "security.tls.ca: file {}/none.pem: No such file or directory"),
        ("tls: {ca: c.yaml}", "security.tls.ca: file {}/c.yaml: expected certificates of authorities in PEM form"),
        ("tls: {cert: c.yaml, key: c.yaml}", "security.tls: expected a certificate in {}/c.yaml and its key in"),
        (
            "tls: {}, sasl: {mechanism: PLAIN, username: u, password: {env: NOT_THERE}}",
            "security.sasl.password.env: environment variable NOT_THERE is not set, or is empty",
        ),
        (
            "tls: {}, sasl: {mechanism: OAUTHBEARER, token: {env: NOT_THERE}}",
            "security.sasl.token.env: environment variable NOT_THERE is not set, or is empty",
        ),
        (
            (
                "tls: {}, sasl: {mechanism: OAUTHBEARER, oauth: {token_url: 'https://l/t', client_id: c, "
                "client_secret: {env: NOT_THERE}}}"
            ),
            "security.sasl.oauth.client_secret.env: environment variable NOT_THERE is not set, or is empty",
        ),
    ],
)
def test_what_is_missing_is_said_with_its_line(tmp_path: Path, section: str, said: str) -> None:
    """A file or variable that is not there, or not what it should be: file, line and setting of the contract."""
    assert problem(tmp_path, section).startswith(f"{tmp_path}/c.yaml:8: " + said.format(tmp_path))


def test_secret_files_that_others_can_reach(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One that everybody can read is warned of, once; one that everybody can write is refused; nothing is shown."""
    file = write_secret(tmp_path, mode=0o640)
    broker_of(tmp_path, f"tls: {{}}, {SCRAM}")
    assert not caplog.records
    file.chmod(0o644)
    for _ in range(2):
        broker_of(tmp_path, f"tls: {{}}, {SCRAM}")
    assert [record.getMessage() for record in caplog.records] == [
        f"security.sasl.password.file: file {file} can be read by everybody: expected mode 0600 or 0640"
    ]
    file.chmod(0o602)
    assert "everybody may write to it" in problem(tmp_path, f"tls: {{}}, {SCRAM}")


@pytest.mark.parametrize("text", ["", "\n", "a\0b", "x" * 70_000])
def test_files_that_hold_no_secret(tmp_path: Path, text: str) -> None:
    """An empty file, one that is no text and one that is much too long are refused."""
    write_secret(tmp_path, text)
    assert "expected a secret of 1 byte to 64 KiB" in problem(tmp_path, f"tls: {{}}, {SCRAM}")


def test_tls_is_strict(tmp_path: Path) -> None:
    """TLS 1.2 or later, chain and host name verified; only the latter can be switched off."""
    context = broker_of(tmp_path, "tls: {}").security["ssl_context"]
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    context = broker_of(tmp_path, "tls: {verify_hostname: false}").security["ssl_context"]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, False)


def test_our_own_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An encrypted key needs its password, and the right one; another one's key is refused. Nobody is asked."""
    authority = Authority(tmp_path)
    authority.sign("plain")
    authority.sign("other")
    authority.sign("locked", password=CANARY)
    assert broker_of(tmp_path, "tls: {ca: ca.crt, cert: plain.crt, key: plain.key}").security["ssl_context"].presents
    monkeypatch.setenv("KEY_PASSWORD", CANARY)
    locked = "cert: locked.crt, key: locked.key"
    assert broker_of(tmp_path, f"tls: {{{locked}, key_password: {{env: KEY_PASSWORD}}}}")
    assert "security.tls.key: the key is encrypted: name its password" in problem(tmp_path, f"tls: {{{locked}}}")
    monkeypatch.setenv("KEY_PASSWORD", "wrong")
    said = problem(tmp_path, f"tls: {{{locked}, key_password: {{env: KEY_PASSWORD}}}}")
    assert "and its password in key_password" in said
    assert "security.tls.key: file" in problem(tmp_path, "tls: {cert: plain.crt, key: other.key}")


def test_renewed_certificates_are_loaded_at_the_next_connection(tmp_path: Path) -> None:
    """A changed file counts from the next connection on; one that is broken for a moment changes nothing."""
    loads: list[int] = []

    def load() -> None:
        loads.append(1)
        if len(loads) == 3:
            raise ssl.SSLError("half a file")

    file = tmp_path / "a.crt"
    file.write_text("a")
    context = ReloadingContext(ssl.PROTOCOL_TLS_CLIENT)
    context.watch((file,), load)

    def connect() -> None:
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="h")

    connect()
    assert len(loads) == 1
    os.utime(file, ns=(1, 1))
    connect()
    connect()
    assert len(loads) == 2
    os.utime(file, ns=(2, 2))
    connect()
    connect()
    assert len(loads) == 4


@pytest.mark.parametrize(
    "section",
    [
        "tls: {}",
        f"tls: {{}}, {SCRAM}",
        "tls: {}, sasl: {mechanism: SCRAM-SHA-256, username: u, password: {file: secrets/password}}",
        "tls: {}, sasl: {mechanism: PLAIN, username: u, password: {file: secrets/password}}",
        "tls: {}, sasl: {mechanism: OAUTHBEARER, token: {file: secrets/password}}",
        "allow_plaintext: true, sasl: {mechanism: PLAIN, username: u, password: {file: secrets/password}}",
    ],
)
def test_faust_gets_what_our_clients_get(tmp_path: Path, section: str) -> None:
    """Faust's consumer connects with the same protocol, TLS context and credentials: never in the clear by itself."""
    write_secret(tmp_path)
    made = broker_of(tmp_path, section)
    assert dict(credentials_to_aiokafka_auth(credentials(made), None)) == dict(made.security) | {
        "ssl_context": made.security.get("ssl_context")
    } | ({} if "sasl" in section else {"security_protocol": "SSL"})


def test_without_security_nothing_is_said(tmp_path: Path) -> None:
    """A cluster without security is reached as before."""
    assert credentials(Broker(("a:1",))) is None


def test_each_cluster_has_its_own_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clusters of mirror and of `legacy.broker` are reached by their own sections, which errors name."""
    monkeypatch.setattr("cutover_app.contract.load._unsupported", lambda *_: ())  # whatever else is still to come
    write_secret(tmp_path)
    sasl = "{tls: {}, sasl: {mechanism: PLAIN, username: legacy, password: {file: secrets/password}}}"
    for inside, setting in [
        (f"mirror: {{broker: 'kafka://l', security: {sasl}}}", "legacy.mirror.security"),
        (f"broker: 'kafka://l', security: {sasl}", "legacy.security"),
    ]:
        file = tmp_path / "c.yaml"
        text = (HEAD + MATCH + "rebuild: {id: ordId}\n").replace(
            "{topic: shop.orders}", f"{{topic: shop.orders, {inside}}}"
        )
        file.write_text(text)
        contract = load_contract(file, {})
        made = legacy_broker(contract)
        assert made is not None
        assert (made.setting, made.client("x")["sasl_plain_username"]) == (setting, "legacy")
        assert work_broker(contract).client("x").get("sasl_plain_username") is None


def test_debug_logs_show_no_credentials(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The debug log of aiokafka shows every request; those that carry credentials are taken out."""
    write_secret(tmp_path)
    broker_of(tmp_path, f"tls: {{}}, {SCRAM}")
    request: Any = SaslAuthenticateRequest_v0(f"\0u\0{CANARY}".encode())
    assert CANARY in repr(request)
    with caplog.at_level(logging.DEBUG, "aiokafka.conn"):
        logging.getLogger("aiokafka.conn").debug("Request to %s:%d %d: %s", "h", 1, 2, request)
    said = [each.getMessage() for each in caplog.records if each.name == "aiokafka.conn"]
    assert said == ["Request to h:1 2: <credentials>"]
