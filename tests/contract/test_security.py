"""How a contract says how a cluster is reached: what is accepted, and what is refused without repeating a secret."""

import pytest

from cutover_app.contract.compile import rules_hash
from cutover_app.contract.errors import ContractError
from cutover_app.contract.load import parse_contract
from cutover_app.contract.models import Contract
from cutover_app.contract.security import Secret
from tests.contract.helpers import HEAD, MATCH

CANARY = "hunter2"
TEXT = HEAD + MATCH + "rebuild: {id: ordId}\n"
"""Seven lines: what is added begins on line 8."""
USER = "username: u, password: {env: PASSWORD}"


def read(text: str) -> Contract:
    return parse_contract(TEXT + text + "\n", "c.yaml", {})


def problems(text: str) -> list[str]:
    with pytest.raises(ContractError) as caught:
        read(text)
    return [str(each) for each in caught.value.problems]


@pytest.mark.parametrize(
    "text",
    [
        "security: {tls: {}}",
        "security: {tls: {ca: ca.pem, cert: a.pem, key: a.key, key_password: {env: P}, verify_hostname: false}}",
        f"security: {{tls: {{}}, sasl: {{mechanism: SCRAM-SHA-512, {USER}}}}}",
        "security: {tls: {}, sasl: {mechanism: PLAIN, username: {file: user}, password: {file: password}}}",
        "security: {tls: {}, sasl: {mechanism: OAUTHBEARER, token: {file: token}}}",
        f"security: {{sasl: {{mechanism: PLAIN, {USER}}}, allow_plaintext: true}}",
        (
            "security: {tls: {}, sasl: {mechanism: OAUTHBEARER, oauth: {token_url: 'https://l/t', client_id: {env: I}, "
            "client_secret: {env: S}, scope: a b}}}"
        ),
        (
            "security: {tls: {}, sasl: {mechanism: OAUTHBEARER, oauth: {token_url: 'http://[::1]:8/t', client_id: c, "
            "client_secret: {env: S}}}}"
        ),
    ],
)
def test_what_can_be_said(text: str) -> None:
    """TLS with and without a certificate of our own, every mechanism, and plaintext where it is said in words."""
    assert read(text).security is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("security:", "8: security: expected a mapping, found null"),
        ("security: {}", "8: security: expected tls, sasl or both"),
        (f"security:\n  tls:\n  sasl: {{mechanism: PLAIN, {USER}}}", "9: security.tls: expected a mapping, found null"),
        (f"security:\n  sasl: {{mechanism: PLAIN, {USER}}}", "9: security.sasl: without tls the credentials would go"),
        (
            f"security: {{tls: {{}}, allow_plaintext: true, sasl: {{mechanism: PLAIN, {USER}}}}}",
            "allow_plaintext: tls is",
        ),
        ("security:\n  tls: {cert: a}", "9: security.tls.key: required beside cert"),
        ("security:\n  tls: {key: a}", "9: security.tls.cert: required beside key"),
        ("security:\n  tls: {key_password: {env: A}}", "9: security.tls.key_password: expected beside key only"),
        ("security:\n  tls: {}\n  sasl: {mechanism: PLAIN}", "10: security.sasl.username: required for PLAIN"),
        ("security:\n  tls: {}\n  sasl: {mechanism: PLAIN, username: u}", "10: security.sasl.password: required for"),
        (
            "security:\n  tls: {}\n  sasl: {mechanism: OAUTHBEARER}",
            "10: security.sasl.mechanism: OAUTHBEARER needs exac",
        ),
        (
            f"security:\n  tls: {{}}\n  sasl: {{mechanism: OAUTHBEARER, token: {{env: T}}, {USER}}}",
            "10: security.sasl.username: not for OAUTHBEARER",
        ),
        (
            f"security:\n  tls: {{}}\n  sasl: {{mechanism: PLAIN, token: {{env: T}}, {USER}}}",
            "10: security.sasl.token: not for PLAIN",
        ),
        (
            "security: {tls: {}, sasl: {mechanism: PLAIN, username: u, password: {env: A, file: b}}}",
            "8: security.sasl.password: expected {env: NAME} or {file: PATH}",
        ),
        (
            "security: {tls: {verify_hostnam: true}}",
            "8: security.tls.verify_hostnam: unknown key; did you mean verify_h",
        ),
        (
            (
                "security: {tls: {}, sasl: {mechanism: OAUTHBEARER, oauth: {token_url: 'http://login/t', client_id: c, "
                "client_secret: {env: S}}}}"
            ),
            "8: security.sasl.oauth.token_url: expected https",
        ),
    ],
)
def test_what_cannot_be_meant(text: str, said: str) -> None:
    """Each mistake is one line with file, line and setting."""
    (line,) = problems(text)
    assert f"c.yaml:{said}" in line or said in line


@pytest.mark.parametrize(
    "text",
    [
        f"security: {CANARY}",
        f"security: {{sasl: {CANARY}, tls: {{}}}}",
        f"security: {{tls: {{ca: [{CANARY}]}}}}",
        f"security: {{tls: {{verify_hostname: {CANARY}}}}}",
        f"security: {{tls: {{cert: a, key: b, key_password: {CANARY}}}}}",
        f"security: {{tls: {{}}, sasl: {{mechanism: {CANARY}, {USER}}}}}",
        f"security: {{tls: {{}}, sasl: {{mechanism: PLAIN, username: u, password: {CANARY}}}}}",
        f"security: {{tls: {{}}, sasl: {{mechanism: PLAIN, username: u, password: [{CANARY}]}}}}",
        f"security: {{tls: {{}}, sasl: {{mechanism: PLAIN, username: u, password: {{env: {CANARY}!}}}}}}",
        f"security: {{tls: {{}}, sasl: {{mechanism: PLAIN, username: u, password: {{env: {{a: {CANARY}}}}}}}}}",
        f"security: {{tls: {{}}, sasl: {{mechanism: PLAIN, username: u, password: {{text: {CANARY}}}}}}}",
        f"security: {{tls: {{}}, sasl: {{mechanism: PLAIN, username: [{CANARY}], password: {{env: A}}}}}}",
        f"security: {{tls: {{}}, sasl: {{mechanism: OAUTHBEARER, token: {CANARY}}}}}",
        (
            "security: {tls: {}, sasl: {mechanism: OAUTHBEARER, oauth: {client_id: c, client_secret: {env: A}, "
            f"token_url: 'https://u:{CANARY}@l/t'}}}}}}"
        ),
        (
            "security: {tls: {}, sasl: {mechanism: OAUTHBEARER, oauth: {client_id: c, token_url: 'https://l/t', "
            f"client_secret: {CANARY}}}}}}}"
        ),
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(text: str) -> None:
    """A secret that is written where its name belongs, or anywhere else, is an error that does not show it."""
    lines = problems(text)
    assert lines
    assert all(CANARY not in line for line in lines)
    assert any("security" in line for line in lines)


@pytest.mark.parametrize("place", ["legacy", "legacy.mirror"])
def test_both_clusters_have_a_section_of_their_own(place: str) -> None:
    """What is wrong with the section of the legacy cluster is said with that place."""
    sasl = "{sasl: {mechanism: PLAIN, username: u, password: x}, tls: {}}"
    inside = f"mirror: {{broker: 'kafka://l', security: {sasl}}}" if "mirror" in place else f"security: {sasl}"
    with pytest.raises(ContractError) as caught:
        parse_contract(TEXT.replace("{topic: shop.orders}", f"{{topic: shop.orders, {inside}}}"), "c.yaml", {})
    assert f"{place}.security.sasl.password: expected {{env: NAME}}" in str(caught.value)


def test_security_is_no_part_of_the_rules() -> None:
    """Another password, another user or another certificate is no other contract: verdicts do not depend on them."""
    sections = ["", "security: {tls: {}}", f"security: {{tls: {{}}, sasl: {{mechanism: PLAIN, {USER}}}}}"]
    assert len({rules_hash(read(section)) for section in sections}) == 1
    legacy = TEXT.replace("{topic: shop.orders}", "{topic: shop.orders, security: {tls: {}}}")
    assert rules_hash(parse_contract(legacy, "c.yaml", {})) == rules_hash(read(""))


def test_a_contract_shows_where_secrets_are() -> None:
    """Names of variables and files are no secrets: they show in dumps, so people can see which is meant."""
    made = read(f"security: {{tls: {{}}, sasl: {{mechanism: PLAIN, {USER}}}}}")
    assert "PASSWORD" in repr(made.security)
    assert Secret(env="A").place == "environment variable A"
    assert Secret(file="b").place == "file b"
