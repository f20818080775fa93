"""Recovered rows that are looked at one by one: it may take minutes, which somebody else may not have."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from cutover_app.core.books import BOOKS_KEY, Books
from cutover_app.core.cache import SCAN_ROWS
from cutover_app.core.memory import MemoryStore
from cutover_app.core.rows import BOOKS_TABLE, SETTLED_TABLE
from cutover_app.core.state import KeyRow, encode_row
from cutover_app.kafka.settings import Broker
from cutover_app.runtime.changelogs import Changelogs, OvertakenError
from cutover_app.runtime.partitions import Partitions

ROWS = 10 * SCAN_ROWS


def changelogs() -> Changelogs:
    """Return changelogs of one table, whose rows came from afar."""
    store = SimpleNamespace(is_whole=lambda: False, set_whole=lambda: None)
    table: Any = SimpleNamespace(name="settled", data=SimpleNamespace(partition=lambda _number: store))
    return Changelogs(Broker.parse("127.0.0.1:1"), group="g", intake="i", tables=[table])


def recovered() -> MemoryStore:
    """Return sound rows."""
    books = Books("r", 0)
    books.keys = ROWS
    store = MemoryStore()
    row = encode_row(KeyRow([], [], [], 0))
    store.commit({SETTLED_TABLE: {b"k%06d" % n: row for n in range(ROWS)}, BOOKS_TABLE: {BOOKS_KEY: encode_row(books)}})
    return store


def test_looking_at_rows_is_seen_to_get_on() -> None:
    """Each row counts, so that nobody takes a look at many for standing still."""
    found = changelogs()
    assert asyncio.run(found.flaw(0, recovered(), lambda: True)) == ""
    assert found.examined == ROWS


def test_looking_at_rows_ends_when_they_are_no_longer_ours() -> None:
    """A rebalance waits for one batch of rows, not for all."""
    found = changelogs()
    with pytest.raises(OvertakenError):
        asyncio.run(found.flaw(0, recovered(), lambda: found.examined < 2 * SCAN_ROWS))
    assert found.examined == 2 * SCAN_ROWS


def test_partitions_that_have_gone_are_not_opened() -> None:
    """Of many partitions none is opened after the next rebalance has begun."""
    opened: list[int] = []

    async def open_one(number: int, ours: Any) -> int:
        assert ours()
        opened.append(number)
        return 0

    judge: Any = SimpleNamespace(open=open_one)
    partitions = Partitions(intake="i", tables=[], checkpointer=SimpleNamespace(), judge=judge, stages={})  # type: ignore[arg-type]
    assigned = [TP("i", number) for number in range(12)]
    assert asyncio.run(partitions.open(assigned, {}, lambda: len(opened) < 3)) == {}
    assert opened == [0, 1, 2]
