"""What a mirror sent again, worked out afterwards by comparing the copy with the topic that it was made from.

A mirror that is killed goes on from the last position that it had noted, and what it had copied since is in the copy
twice. Which records that hits depends on the moment, so that no scenario can say it beforehand; here it is found out
from the two topics alone. Each such record must be a duplicate whose transport is suspected, and nobody's fault.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from cutover_app.lab.errors import LabError
from cutover_app.lab.evidence import read_topic
from cutover_app.lab.ledger import Due, Entry
from cutover_app.lab.mirror import Mirror

SENT_AGAIN: Final = "sent_again"
_DUE: Final = (Due("duplicate", (("duplicate", ""),), "the transport is suspected"),)


Place = tuple[int, int]
"""Partition and offset."""


class Compared(NamedTuple):
    """A copy, held against the topic that it was made from."""

    again: Sequence[Any] = ()
    """Records of the copy that were sent again."""
    places: Mapping[Place, Place] = MappingProxyType({})
    """By where a record of the topic is, where it is in the copy: the first time, if it is there twice."""


async def compare(mirror: Mirror, topic: str) -> Compared:
    """Compare a legacy topic with its copy; all of it must have been copied."""
    original = [each async for records in read_topic(mirror.legacy.bootstrap, topic) for each in records]
    copy = [each async for records in read_topic(mirror.work.bootstrap, mirror.copy_of(topic)) for each in records]
    return compared(original, copy, headers=mirror.keeps_headers)


def compared(original: Iterable[Any], copy: Iterable[Any], *, headers: bool = True) -> Compared:
    """Compare the records of a topic and of its copy, both in order within partitions; with their `headers` or without.

    A record was sent again if its content stands in the copy more often than in the topic. Raises `LabError` if the
    copy lacks a record, or has one of its own.
    """
    due: dict[Any, list[Place]] = {}
    for record in original:
        due.setdefault(_content(record, headers), []).append((record.partition, record.offset))
    there: Counter[Any] = Counter()
    again, places = [], {}
    for record in copy:
        content = _content(record, headers)
        if content not in due:
            raise LabError(f"the copy has a record that its topic has not: {record.partition}@{record.offset}")
        if there[content] < len(due[content]):
            places[due[content][there[content]]] = record.partition, record.offset
        else:
            again.append(record)
        there[content] += 1
    if lacking := sum(map(len, due.values())) - (there.total() - len(again)):
        raise LabError(f"the copy lacks {lacking} records of its topic")
    return Compared(again, places)


def _content(record: Any, headers: bool) -> tuple[Any, ...]:
    content = record.partition, record.key, record.value, record.timestamp
    return (*content, tuple(record.headers)) if headers else content


def explain(planted: Iterable[Entry], again: Sequence[Any]) -> list[Entry]:
    """Return the ledger of a run during which records were sent again.

    Where a message was sent again by the mirror and was published twice by the rebuilt producer too, both sides have it
    twice: nobody can say then whether that is as it should be, so whatever is said about such an order is accepted.
    """
    orders = {_order_of(record) for record in again}
    entries = []
    twice = set()
    for entry in planted:
        if entry.kind == "duplicate" and entry.key[0] in orders:
            twice.add(entry.key[0])
            entries.append(msgspec.structs.replace(entry, verdicts=(), anything=True))
        else:
            entries.append(entry)
    for record in again:
        if (order := _order_of(record)) not in twice:
            entry = Entry(SENT_AGAIN, "legacy", (order,), _DUE, legacy=True)
            entries.append(entry.located(record.partition, record.offset))
    return entries


def _order_of(record: Any) -> str:
    return str(msgspec.json.decode(record.value)["ordId"])
