"""Under which rules a run has been judged so far: asked of its books, and of intake, before anything is added to it.

A judge stops at what was made under other rules than its own. But a worker that has no part of intake judges nothing,
and would forward all the same; and one that has would join the group first and disturb the others.
"""

import asyncio
import logging
from typing import Any, Final

from aiokafka.errors import KafkaError

from cutover_app.contract.models import Contract
from cutover_app.core.books import BOOKS_KEY, Books
from cutover_app.core.foreign import ForeignRulesError, foreign
from cutover_app.core.frames import FrameError, decode_frame, is_stray
from cutover_app.core.rows import BOOKS_TABLE
from cutover_app.core.state import RowError, decode_row
from cutover_app.kafka.cluster import Cluster
from cutover_app.kafka.clusters import ASK_SECONDS
from cutover_app.kafka.errors import AccessRefused, KafkaUnavailable
from cutover_app.kafka.reading import newest_records
from cutover_app.kafka.settings import Broker
from cutover_app.kafka.topics import changelog_of, intake_of

UNTOLD: Final = (KafkaError, KafkaUnavailable, AccessRefused, TimeoutError)
"""What keeps it from being found out."""

log = logging.getLogger(__name__)


async def check_rules(contract: Contract, broker: Broker, rules: str) -> None:
    """Raise `ForeignRulesError` where a run was begun under other rules; where that cannot be told, judges will see."""
    try:
        line = await foreign_rules(contract, broker, rules)
    except UNTOLD as error:
        log.warning("under which rules this run was judged cannot be told now: %s: %s", type(error).__name__, error)
        return
    if line:
        raise ForeignRulesError(line)


async def foreign_rules(contract: Contract, broker: Broker, rules: str) -> str:
    """Say why a run is not one of the contract with these rules; empty where nothing speaks against it.

    Raises one of `UNTOLD` where it cannot be found out, or not quickly.
    """
    books, intake = changelog_of(contract, BOOKS_TABLE), intake_of(contract)

    async with asyncio.timeout(ASK_SECONDS):
        async with Cluster(broker) as cluster:
            topics = await cluster.topics([books, intake])

        def wanted(record: Any) -> bool:
            if record.topic == intake:
                return not is_stray(record.key, topics[intake].id)
            return bool(record.key == BOOKS_KEY)

        newest = await newest_records(broker, topics.values(), wanted)
    found = {_books_rules(each.value) if each.topic == books else _frame_rules(each.value) for each in newest}
    return foreign(found - {""}, rules)


def _books_rules(value: bytes | None) -> str:
    """Return the rules of books; empty for none, and for rows that are to be made again, or are of a newer program."""
    try:
        return decode_row(Books, value).rules if value is not None else ""
    except RowError:
        return ""


def _frame_rules(value: bytes | None) -> str:
    """Return the rules of an intake record; empty for what is no frame, which is its judge's affair."""
    try:
        return decode_frame(value).rules
    except FrameError:
        return ""
