"""Encrypted or not: never wrong about the corpus of plain values, never about a ciphertext."""

import base64
import itertools
import random
import shutil
import subprocess

import pytest

from cutover_app.core import sealing
from cutover_app.core.limits import SEALED_BYTES_MIN
from cutover_app.core.sealing import ANY, BLOCK, HEX, why_unsealed
from tests.core.ciphertexts import ciphertext
from tests.core.plain_values import plain_values

CIPHERTEXTS = 20_000


def test_plain_values_are_never_taken_for_sealed() -> None:
    """No value of the corpus: identifiers, digests, pictures, texts and names in any script, signed tokens."""
    wrong = [value for value in plain_values(40) if not why_unsealed(value)]

    assert wrong == []


def test_ciphertexts_are_always_taken_for_sealed() -> None:
    """Ciphers, envelopes and spellings of all kinds, from texts of one byte on."""
    rng = random.Random(1)
    wrong = [(value, why) for value in (ciphertext(rng) for _ in range(CIPHERTEXTS)) if (why := why_unsealed(value))]

    assert wrong == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_what_openssl_encrypts_is_sealed() -> None:
    """Real ciphertexts of another program, with and without its envelope."""
    for size in (1, 11, 15, 16, 100):
        command = ["openssl", "enc", "-aes-256-cbc", "-pbkdf2", "-iter", "1", "-pass", "pass:x", "-a"]
        made = subprocess.run(command, input=b"x" * size, capture_output=True, check=True).stdout.decode()
        assert why_unsealed(made) == ""
        raw = base64.b64decode(made)[8:]
        assert (why_unsealed(base64.b64encode(raw).decode()) == "") is (len(raw) >= SEALED_BYTES_MIN)


@pytest.mark.parametrize("value", [each for each in plain_values(1) if isinstance(each, str)])
def test_reasons_show_no_value(value: str) -> None:
    """The reason is about the form; nothing of the value is in it."""
    reason = why_unsealed(value)

    assert reason
    assert len(value) < 8 or value not in reason


def test_hexadecimal_text_has_to_be_asked_for() -> None:
    """`any` refuses it at every length and names the setting; `hex` takes 28 bytes or more, no encoded text."""
    rng = random.Random(2)
    for size in (28, 29, 32, 48, 64, 100):
        text = rng.randbytes(size).hex()
        assert "`sealed: hex`" in why_unsealed(text, ANY)
        for spelled in (text, text.upper(), "0x" + text, "\\x" + text, f"{text}:{rng.randbytes(16).hex()}"):
            assert why_unsealed(spelled, HEX) == ""
    assert "`sealed: any`" in why_unsealed(base64.b64encode(rng.randbytes(32)).decode(), HEX)
    assert "too few" in why_unsealed(rng.randbytes(27).hex(), HEX)
    assert "encoded, not encrypted" in why_unsealed(b"Kim Chulsoo, 010-1234-5678, Seoul".hex(), HEX)
    assert why_unsealed("f" * 57, HEX)


def test_short_values_name_the_length() -> None:
    """A block cipher without an initial vector gives as little as an encoded UUID, and cannot be told from it."""
    text = base64.b64encode(random.Random(3).randbytes(SEALED_BYTES_MIN - 1)).decode()

    assert "expected 28" in why_unsealed(text)


def test_models_are_probabilities() -> None:
    """What bounds the error: no model gives all continuations together more than one."""
    characters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for before in characters:
        for model, _ in sealing._PAIR_MODELS:
            # The first character is free, so it must have no probability above chance.
            assert model([]) <= 0
            assert sum(2.0 ** (model([before + each]) - 6) for each in characters) <= 1 + 1e-9
    for only in sealing._ONLY:
        assert sum(2.0 ** (only(each) - 6) for each in characters) <= 1 + 1e-9
    pairs = [bytes(pair) for pair in itertools.product(range(256), repeat=2)]
    for model in sealing._BYTE_MODELS:
        assert sum(2.0 ** (model(pair) - 16) for pair in pairs) <= 1 + 1e-9


def test_the_models_cost_a_ciphertext_its_bits() -> None:
    """Random bytes lose against chance under each model, and the more of them the clearer."""
    rng = random.Random(4)
    for model in sealing._BYTE_MODELS:
        gains = [model(rng.randbytes(64)) for _ in range(300)]
        assert max(gains) < sealing.GAIN_BITS - 8


def test_the_blocks_of_a_cipher_alone_have_to_be_asked_for() -> None:
    """`any` cannot tell 16 bytes from a UUID and names the setting; `block` takes whole blocks, and no encoded text."""
    rng = random.Random(3)
    for size in (16, 24, 32, 48):
        data = rng.randbytes(size)
        assert why_unsealed(base64.b64encode(data).decode(), BLOCK) == ""
        assert why_unsealed(data.hex(), BLOCK) == ""
    assert "`sealed: block`" in why_unsealed(base64.b64encode(rng.randbytes(16)).decode(), ANY)
    for text in (b"010-1234-5678", b"Kim Minjun Seoul", b"0123456789abcdef" * 3):
        assert why_unsealed(base64.b64encode(text).decode(), BLOCK)
        assert why_unsealed(text.hex(), BLOCK)
    assert why_unsealed("010-1234-5678", BLOCK)
