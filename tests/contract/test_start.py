"""Where a run begins is said in one of three ways, and a time means the same everywhere."""

import pytest

from cutover_app.contract.errors import ContractError
from cutover_app.contract.load import parse_contract
from cutover_app.contract.start import start_ms

CONTRACT = """
contract: orders
broker: kafka://localhost:9092
legacy: {topic: shop.orders}
rebuilt: {topic: orders.v2}
match: {key: [id]}
rebuild: {id: ordId}
start: %s
"""


@pytest.mark.parametrize("start", ["earliest", "latest", "2027-01-15T09:00:00Z", "2027-01-15"])
def test_a_start_is_kept_as_written(start: str) -> None:
    """Words and times are read, and shown as they were written."""
    assert parse_contract(CONTRACT % start, environ={}).start == start


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("1970-01-02", 86_400_000),
        ("1970-01-02T00:00:00", 86_400_000),
        ("1970-01-02T00:00:00Z", 86_400_000),
        ("1970-01-02T09:00:00+09:00", 86_400_000),
        ("1970-01-02T00:00:00.250", 86_400_250),
    ],
)
def test_a_time_without_a_zone_is_utc(text: str, at_ms: int) -> None:
    """The zone of the machine that a worker runs on plays no part."""
    assert start_ms(text) == at_ms


@pytest.mark.parametrize("start", ["erliest", "5", "yesterday", "2027-13-01", "1969-12-31", "[latest]", "null"])
def test_anything_else_is_one_line(start: str) -> None:
    """Line, setting and what is expected are said."""
    with pytest.raises(ContractError) as caught:
        parse_contract(CONTRACT % start, environ={})
    (line,) = str(caught.value).splitlines()
    assert ":8: start: expected" in line
