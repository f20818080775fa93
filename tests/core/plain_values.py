"""Values that are not encrypted, of every kind that a field may hold: none may ever be taken for a ciphertext."""

import base64
import bz2
import gzip
import hashlib
import io
import json
import lzma
import random
import struct
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

SEED = 20261124

NAMES = (
    "김철수", "남궁민수", "제갈공명", "독고영재", "Kim Chulsoo", "KimChulsoo", "KIMCHULSOO", "Björn Åkesson",
    "山田太郎", "Мария Иванова",
    "Wolfeschlegelsteinhausenbergerdorff", "WolfeschlegelsteinhausenbergerdorffSenior",
    "KimChulsooParkYoungheeChoiMinsooLeeJiyoung", "HwangboNamgungSunwooJegalDokgoSeomunSagong",
    "ParkGeunhyeLeeMyungbakRohMoohyunKimDaejung", "NguyenPhuongThaoTranThiHongHanhLeVanDung",
    "PabloDiegoJoseFranciscoDePaulaJuanNepomuceno", "SrinivasaRamanujanVenkataSubramanianIyengar",
    "OConnellMacGregorFitzpatrickVanDerBergJunior", "AdolphBlaineCharlesDavidEarlFrederickGerald",
    "kim_chulsoo_park_younghee_choi_minsoo_lee_jiyoung", "donaudampfschifffahrtsgesellschaftskapitaen",
)  # fmt: skip
TEXTS = (
    "", " ", "-", "N/A", "The quick brown fox jumps over the lazy dog.",
    "Leave it at the door, please, and ring twice!",
    "문 앞에 놓아 주세요. 벨은 두 번 눌러 주세요.", "서울특별시 강남구 역삼동 123-45 번지",
    "주문이 완료되었습니다", "빠른배송부탁드립니다감사합니다안녕히계세요",
    "https://example.com/orders/4711?state=paid&page=2#top", "urn:order:4711", "kim.chulsoo+shop@example.com",
    "/api/v1/orders/items/details/customers/addresses", "usr/local/share/applications/defaults/list",
    "THEQUICKBROWNFOXJUMPSOVERTHELAZYDOGTWICE", "ORDER_STATUS_CHANGED_BY_CUSTOMER_SERVICE_2",
    "AbstractSingletonProxyFactoryBeanConfiguration2", "ThisIsAVeryLongCamelCaseIdentifierUsedInJava",
    "com.example.shop.orders.OrderServiceImplementation", "-----BEGIN CERTIFICATE-----", "gAAAAA", "vault:v1:secret",
    "U2FsdGVkX1", "U2FsdGVkX19teSBuYW1lIGlzIGtpbSBjaHVsc29vIDAxMA==", "AYAA", "AQICAHh",
    "ENC(kim chulsoo)", "ENC(secret)",
    "a.b.c.d.e", "kid:iv:tag:text", "key-1:kim:chulsoo", "{cipher}kim", "0" * 44, "A" * 44, "=" * 44,
    "****-****-****-1234",
    "data:image/png;base64,iVBORw0KGgo=", "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
)  # fmt: skip
OTHERS = (None, True, 0, 1, -1.5, 1e300, 10**40, 1_012_345_678, [], {}, ["gAAAAA"], {"ciphertext": "x"})
DIGESTS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")


def _png(rng: random.Random) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = b"".join(b"\0" + rng.randbytes(12) for _ in range(4))
    head = struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def _jpeg(rng: random.Random, kind: bytes) -> bytes:
    def segment(marker: int, data: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data

    first = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0") if kind == b"JFIF" else b""
    tables = b"".join(segment(0xDB, bytes([n]) + rng.randbytes(64)) for n in range(3))
    return (
        b"\xff\xd8" + first + tables + segment(0xC0, rng.randbytes(15)) + segment(0xDA, b"\0" * 10) + rng.randbytes(80)
    )


def files(rng: random.Random) -> Iterator[bytes]:
    """Yield files as random as a ciphertext."""
    noise = rng.randbytes(rng.randrange(30, 200))
    yield _png(rng)
    yield _jpeg(rng, b"JFIF")
    yield _jpeg(rng, b"")
    yield b"GIF89a" + rng.randbytes(60)
    yield b"RIFF" + struct.pack("<I", 70) + b"WEBPVP8 " + rng.randbytes(60)
    yield b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + noise
    yield gzip.compress(noise)
    yield zlib.compress(noise)
    yield bz2.compress(noise)
    yield lzma.compress(noise)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.bin", noise)
    yield packed.getvalue()


def encoded(data: bytes) -> Iterator[str]:
    """Yield base64 in every spelling, with line ends too."""
    yield base64.b64encode(data).decode()
    yield base64.urlsafe_b64encode(data).decode()
    yield base64.urlsafe_b64encode(data).decode().rstrip("=")
    yield base64.encodebytes(data).decode()


def _identifiers(rng: random.Random) -> Iterator[str]:
    one = uuid.UUID(int=rng.getrandbits(128), version=4)
    yield from (
        str(one),
        str(one).upper(),
        one.hex,
        one.hex.upper(),
        one.urn,
        f"{{{one}}}",
        f"{one}_{one}",
        f"{one}{one}",
    )
    yield from encoded(one.bytes)
    for name in DIGESTS:
        found = hashlib.new(name, rng.randbytes(20)).hexdigest()
        yield from (found, found.upper(), f"{name}:{found}", "0x" + found, f"{found}:{found}")
    found = hashlib.sha256(rng.randbytes(20)).hexdigest().upper()
    yield ":".join(found[at : at + 2] for at in range(0, 64, 2))
    yield base64.b32encode(rng.randbytes(30)).decode()
    yield base64.b32encode(rng.randbytes(25)).decode()


def _phones(rng: random.Random) -> Iterator[str]:
    middle, last = f"{rng.randrange(10_000):04d}", f"{rng.randrange(10_000):04d}"
    yield from (
        f"010-{middle}-{last}",
        f"010{middle}{last}",
        f"+82 10 {middle} {last}",
        f"010-****-{last}",
        f"010****{last}",
    )
    yield f"{rng.randrange(10**6):06d}-{rng.randrange(10**7):07d}"
    yield f"{rng.randrange(10**16):016d}"
    yield str(rng.randrange(10 ** rng.randrange(1, 90)))
    yield f"{rng.uniform(0, 1e6):.2f}"
    yield ",".join(f"010{rng.randrange(10**8):08d}" for _ in range(5))


def _signed(rng: random.Random) -> Iterator[str]:
    parts = [json.dumps({"alg": "HS256", "typ": "JWT"}), json.dumps({"sub": str(rng.getrandbits(40)), "iat": 1}), ""]
    data = [each.encode() for each in parts[:2]] + [rng.randbytes(32)]
    yield ".".join(base64.urlsafe_b64encode(each).decode().rstrip("=") for each in data)
    yield ".".join(base64.urlsafe_b64encode(each).decode().rstrip("=") for each in (*data, b"x", b"y"))
    yield "v4.public." + base64.urlsafe_b64encode(rng.randbytes(90)).decode().rstrip("=")


def _texts(rng: random.Random) -> Iterator[str]:
    """Yield base64 of plain text in several encodings, from the length on at which it could be a ciphertext."""
    words = [rng.choice((*TEXTS[4:12], *NAMES[:8])) for _ in range(rng.randrange(2, 6))]
    text = " ".join(words)
    latin = "".join(each for each in text if each.isascii())
    yield from encoded(text.encode())
    yield from encoded((latin + "010-1234-5678 Kim Chulsoo, Seoul, Korea")[:28].encode())
    yield from encoded(
        json.dumps({"name": rng.choice(NAMES), "phone": "010-1234-5678", "n": rng.randrange(100)}).encode()
    )
    korean = " ".join(rng.choice(TEXTS[6:10]) for _ in range(3))
    yield from encoded(korean.encode("euc-kr"))
    yield from encoded((korean + latin).encode("utf-16-le") + "010-1234-5678 Seoul Korea".encode("utf-16-le"))
    yield from encoded(bytes(rng.randrange(4) for _ in range(rng.randrange(40, 200))))


def plain_values(rounds: int) -> Iterator[Any]:
    """Yield the corpus; more rounds, more of what is made at random."""
    rng = random.Random(SEED)
    yield from (*NAMES, *TEXTS, *OTHERS)
    for text in (*NAMES, *TEXTS):
        yield from encoded(text.encode())
        yield text.encode().hex()
    for _ in range(rounds):
        for data in files(rng):
            yield from encoded(data)
        yield from _identifiers(rng)
        yield from _phones(rng)
        yield from _signed(rng)
        yield from _texts(rng)
