"""What rests on digests is checked without them: one equal pair in so many is compared in full (R10)."""

import pytest

from cutover_app.core.payloads import CHECK_EVERY, DigestError
from tests.core.history import Log, entry

DIGESTS = 1 << 16
"""As many as a digest of 16 bits has."""


def test_a_digest_that_says_too_little_is_found_out() -> None:
    """Pairs that differ and have one digest are taken for equal until one is looked at; that ends it."""
    count = 2 * CHECK_EVERY
    log = Log()
    digests = [(number % DIGESTS).to_bytes(2, "big").ljust(16, b".") for number in range(count)]
    log.legacy(*(entry(n, f"{n}=x{n}", digest=digests[n]) for n in range(count)))
    log.rebuilt(*(entry(n, f"{n}=y{n}", digest=digests[n]) for n in range(count)))

    with pytest.raises(DigestError, match="equal digests of unequal messages"):
        log.settle()


def test_keys_are_compared_whole() -> None:
    """Messages of one digest that name different keys are never partners."""
    log = Log()
    same = b"one digest".ljust(16, b".")
    log.legacy(entry(0, "a=x", digest=same))
    log.rebuilt(entry(0, "b=x", digest=same))
    log.pass_time(10)

    assert log.outcomes() == {"L0": "missing", "R0": "unknown"}
