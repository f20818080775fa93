"""Where a run begins: `start` of a contract."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, WithJsonSchema

EARLIEST: Final = "earliest"
LATEST: Final = "latest"

CLOCKS_MS: Final = 5 * 60_000
"""What the clocks of two machines may be apart: a start that is ahead by less may have come."""

_EXPECTED: Final = "expected earliest, latest, or a time such as 2027-01-31T08:00:00+09:00 (without a zone: UTC)"


def parse_start(value: Any) -> str:
    """Check a start and return it as it was written."""
    if not isinstance(value, str):
        raise ValueError(_EXPECTED)  # noqa: TRY004 - pydantic turns it into a line
    if value not in (EARLIEST, LATEST):
        start_ms(value)
    return value


def start_ms(start: str) -> int:
    """Return a start time in milliseconds since the epoch; raises `ValueError` for what is none.

    A time without a zone is UTC: workers in two places must mean the same.
    """
    try:
        time = datetime.fromisoformat(start)
    except ValueError:
        raise ValueError(_EXPECTED) from None
    at_ms = int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
    if at_ms < 0:
        raise ValueError("expected a time since 1970")
    return at_ms


def not_yet(start: str, now_ms: int) -> str:
    """Say that a start lies ahead; empty where it does not. Nobody can read from there, only from the end."""
    if start in (EARLIEST, LATEST) or start_ms(start) <= now_ms + CLOCKS_MS:
        return ""
    return f"start: {start} has not come yet: expected earliest, latest, or a time that has passed"


Start = Annotated[
    str,
    BeforeValidator(parse_start),
    WithJsonSchema({"type": "string", "examples": [EARLIEST, LATEST, "2027-01-31T08:00:00+09:00"]}),
]
"""`earliest`, `latest` or an ISO time, as written."""
