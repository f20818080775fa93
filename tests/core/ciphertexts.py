"""Encrypted values of many kinds.

A ciphertext of a sound cipher cannot be told from random bytes, so random they are; what surrounds them (versions,
lengths, headers) is as the real ones have it.
"""

import base64
import json
import random
import struct
from collections.abc import Callable


def _url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def cbc(rng: random.Random, size: int) -> bytes:
    """AES-CBC: the initial vector, then whole blocks, padded."""
    return rng.randbytes(16 + 16 * (size // 16 + 1))


def gcm(rng: random.Random, size: int) -> bytes:
    """AES-GCM or ChaCha20-Poly1305: nonce, text, tag."""
    return rng.randbytes(12 + size + 16)


def rsa(rng: random.Random, size: int) -> bytes:
    """RSA with 2048 to 4096 bits; the text is hidden by padding."""
    return rng.randbytes(rng.choice((256, 384, 512)))


def fernet(rng: random.Random, size: int) -> str:
    """Version, time, initial vector, blocks, HMAC."""
    head = b"\x80" + struct.pack(">Q", 1_700_000_000 + rng.randrange(100_000_000))
    return base64.urlsafe_b64encode(head + rng.randbytes(16 + 16 * (size // 16 + 1) + 32)).decode()


def jwe(rng: random.Random, size: int) -> str:
    """Compact, with a key that is wrapped, or agreed on beforehand."""
    alg, key = rng.choice((("dir", 0), ("RSA-OAEP-256", 256), ("A256KW", 40)))
    header = json.dumps({"alg": alg, "enc": "A256GCM"}, separators=(",", ":")).encode()
    return ".".join(map(_url, (header, rng.randbytes(key), rng.randbytes(12), rng.randbytes(size), rng.randbytes(16))))


def vault(rng: random.Random, size: int) -> str:
    """Vault's transit engine."""
    return "vault:v1:" + base64.b64encode(gcm(rng, size)).decode()


def openssl(rng: random.Random, size: int) -> str:
    """`openssl enc -a`: with line ends."""
    data = b"Salted__" + rng.randbytes(8 + 16 * (size // 16 + 1))
    return rng.choice((base64.encodebytes(data).decode(), base64.b64encode(data).decode()))


def aws(rng: random.Random, size: int) -> str:
    """AWS Encryption SDK, message version 1: algorithm, message id, context, one encrypted data key, frames."""
    context = (
        b"\0\1"
        + struct.pack(">H", 21)
        + b"aws-crypto-public-key"
        + struct.pack(">H", 68)
        + base64.b64encode(rng.randbytes(51))
    )
    arn = b"arn:aws:kms:ap-northeast-2:658956600833:key/b3537ef1-d8dc-4780-9f5a-55776cbb2f7f"
    key = (
        struct.pack(">H", 7)
        + b"aws-kms"
        + struct.pack(">H", len(arn))
        + arn
        + struct.pack(">H", 184)
        + rng.randbytes(184)
    )
    head = b"\x01\x80\x03\x78" + rng.randbytes(16) + struct.pack(">H", len(context)) + context + b"\0\1" + key
    frame = b"\xff\xff\xff\xff\0\0\0\1" + rng.randbytes(12) + struct.pack(">I", size) + rng.randbytes(size + 16)
    body = b"\2\0\0\0\0\x0c\0\0\x10\0" + rng.randbytes(28) + frame + struct.pack(">H", 103) + rng.randbytes(103)
    return base64.b64encode(head + body).decode()


def armour(rng: random.Random, size: int) -> str:
    """PGP, as text."""
    body = base64.encodebytes(b"\x85\x01\x0c\x03" + rng.randbytes(260 + size)).decode()
    return f"-----BEGIN PGP MESSAGE-----\nVersion: GnuPG v2\n\n{body}=aB3d\n-----END PGP MESSAGE-----\n"


RAW: tuple[Callable[[random.Random, int], bytes], ...] = (cbc, gcm, rsa)
ENVELOPES: tuple[Callable[[random.Random, int], str], ...] = (fernet, jwe, vault, openssl, aws, armour)


def spelled(rng: random.Random, data: bytes) -> str:
    """Return base64 in one of its spellings, or in one of the wrappings that carry it."""
    standard = base64.b64encode(data).decode()
    return rng.choice((
        standard, standard.rstrip("="), _url(data), base64.urlsafe_b64encode(data).decode(),
        base64.encodebytes(data).decode(), f"ENC({standard})", f"{{cipher}}{standard}", f"key-1:{standard}",
    ))  # fmt: skip


def parted(rng: random.Random, size: int) -> str:
    """Return nonce, tag and text with colons between."""
    return ":".join(base64.b64encode(rng.randbytes(each)).decode() for each in (12, 16, size))


def ciphertext(rng: random.Random) -> str:
    """Return one encrypted value, of a text of 1 byte or more."""
    size = rng.choice((1, 1, 2, 3, 4, 8, 11, 13, 15, 16, 17, 20, 31, 32, 33, 48, 100, 1000))
    kind = rng.randrange(10)
    if kind < 7:
        return spelled(rng, rng.choice(RAW[:2] if kind < 6 else RAW)(rng, size))
    return parted(rng, size) if kind == 7 else rng.choice(ENVELOPES)(rng, size)
