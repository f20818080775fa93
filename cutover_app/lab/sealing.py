"""How the shop's rebuilt producer encrypts a phone number, and the ways in which it fails to.

Nothing is encrypted here. An envelope has the form and the length of a real one, around bytes that follow from the
seed: to whoever has no key, ciphertext is as good as chance, and a scenario has to be the same every time.
"""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from hashlib import shake_128
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from cutover_app.lab.ledger import FindingAt

Form: TypeAlias = Literal["vault", "fernet", "openssl", "gcm"]
Headers: TypeAlias = tuple[tuple[str, bytes], ...]

_NONCE: Final = 12
_TAG: Final = 16
_BLOCK: Final = 16
_FERNET_TIME: Final = b"\x80\x00\x00\x00\x00\x69"
"""The version, and the beginning of a time of 2026 in seconds."""


def _vault(length: int, chance: Callable[[int], bytes]) -> str:
    return "vault:v1:" + b64encode(chance(_NONCE + length + _TAG)).decode()


def _gcm(length: int, chance: Callable[[int], bytes]) -> str:
    return b64encode(chance(_NONCE + length + _TAG)).decode()


def _fernet(length: int, chance: Callable[[int], bytes]) -> str:
    # the rest of the time, initial vector, padded text, authentication
    return urlsafe_b64encode(_FERNET_TIME + chance(3 + _BLOCK + _padded(length) + 32)).decode()


def _openssl(length: int, chance: Callable[[int], bytes]) -> str:
    return b64encode(b"Salted__" + chance(8 + _padded(length))).decode()


def _padded(length: int) -> int:
    return (length // _BLOCK + 1) * _BLOCK


_FORMS: Final[Mapping[Form, Callable[[int, Callable[[int], bytes]], str]]] = {
    "vault": _vault,
    "fernet": _fernet,
    "openssl": _openssl,
    "gcm": _gcm,
}
FORMS: Final = tuple(_FORMS)


def seal(form: Form, length: int, draw: int) -> str:
    """Return what an encrypted text of `length` bytes looks like; `draw` decides its bytes."""
    return _FORMS[form](length, shake_128(b"%d" % draw).digest)


class Leaked(NamedTuple):
    """What the rebuilt producer publishes beside or instead of the message: None, or nothing, is as ever."""

    key: bytes | None = None
    headers: Headers = ()


LEAKY_HEADER: Final = "customer-phone"


def _plain(message: dict[str, Any], phone: str) -> Leaked:
    message["customer"]["phone"] = phone
    return Leaked()


def _masked(message: dict[str, Any], phone: str) -> Leaked:
    message["customer"]["phone"] = phone[:4] + "****" + phone[8:]
    return Leaked()


def _disguised(message: dict[str, Any], phone: str) -> Leaked:
    message["customer"]["phone"] = "vault:v1:" + b64encode(phone.encode()).decode()
    return Leaked()


def _ignored_base64(message: dict[str, Any], phone: str) -> Leaked:
    message["trace_id"] = b64encode(phone.encode()).decode()
    return Leaked()


def _ignored_reversed(message: dict[str, Any], phone: str) -> Leaked:
    message["trace_id"] = f"t-{phone[::-1]}"
    return Leaked()


def _unexpected_hex(message: dict[str, Any], phone: str) -> Leaked:
    message["debug"] = phone.encode().hex()
    return Leaked()


def _header(_message: dict[str, Any], phone: str) -> Leaked:
    return Leaked(headers=((LEAKY_HEADER, phone.encode()),))


def _key(message: dict[str, Any], phone: str) -> Leaked:
    return Leaked(key=f"{message['order_id']}|{phone}".encode())


class Leak(NamedTuple):
    """One way to fail.

    Attributes:
        place: Where it shows: a path, `$key`, or `$headers` and the name of one.
        name: What is done.
        apply: Changes the message, and says what else is published.
        also: What else is wrong with the message then.
    """

    place: str
    name: str
    apply: Callable[[dict[str, Any], str], Leaked]
    also: tuple[FindingAt, ...] = ()


LEAKS: Final = (
    Leak("$.customer.phone", "not encrypted", _plain),
    Leak("$.customer.phone", "only masked", _masked),
    Leak("$.customer.phone", "encoded, not encrypted", _disguised),
    Leak("$.trace_id", "Base64 in an ignored field", _ignored_base64),
    Leak("$.trace_id", "reversed in an ignored field", _ignored_reversed),
    Leak("$.debug", "hexadecimal in an unexpected field", _unexpected_hex, (("unexpected_field", "$.debug"),)),
    Leak(f"$headers.{LEAKY_HEADER}", "in a header", _header),
    Leak("$key", "in the Kafka key", _key),
)
