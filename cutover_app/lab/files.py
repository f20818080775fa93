"""A scenario without a broker: as records in memory, or as files with one record per line.

Positions are given as brokers give them: one counter per partition. The lines of a file are either
bare message values or the envelopes that `kcat -J` prints.
"""

import heapq
import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from cutover_app.lab.ledger import Entry, encode_entry
from cutover_app.lab.partitioners import PARTITIONERS, Partitioner, PartitionerName
from cutover_app.lab.scenario import Event, Scenario, Shop
from cutover_app.lab.sealing import Headers


class Record(NamedTuple):
    """A record as a consumer sees it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp_type: int = 0
    """Of the producer."""


class Played(NamedTuple):
    """What both producers published, in order of publication, and what was planted."""

    legacy: list[Record]
    rebuilt: list[Record]
    ledger: list[Entry]


class _Topic:
    """Gives records their positions."""

    def __init__(self, name: str, partitions: int, partitioner: Partitioner) -> None:
        self.records: list[Record] = []
        self._name = name
        self._partitions = partitions
        self._partitioner = partitioner
        self._ends: Counter[int] = Counter()

    def append(self, route: bytes, key: bytes, value: bytes | None, timestamp: int, headers: Headers) -> Record:
        partition = self._partitioner(route, self._partitions)
        record = Record(self._name, partition, self._ends[partition], timestamp, key, value, headers)
        self._ends[partition] += 1
        self.records.append(record)
        return record


def play(
    scenario: Scenario,
    *,
    topics: tuple[str, str] = ("shop.orders", "orders.v2"),
    partitions: tuple[int, int] = (3, 5),
    partitioners: tuple[PartitionerName, PartitionerName] = ("murmur2", "crc32"),
) -> Played:
    """Play a scenario in memory; pairs of arguments are (legacy, rebuilt).

    What is held back comes in the order of the timestamps among the messages that are not.
    """
    legacy, rebuilt = (
        _Topic(name, count, PARTITIONERS[chosen])
        for name, count, chosen in zip(topics, partitions, partitioners, strict=True)
    )
    ledger: list[Entry] = []
    held: list[tuple[int, int, Event]] = []

    def publish(event: Event) -> None:
        published = [
            rebuilt.append(event.key, one.key or event.key, one.value, one.timestamp, one.headers)
            for one in event.rebuilt
        ]
        if event.entry is not None:
            ledger.append(event.entry.located(*published[-1][1:3]) if published else event.entry)

    for number, event in enumerate(Shop(scenario).events()):
        while held and held[0][0] <= event.legacy_ms:
            publish(heapq.heappop(held)[2])
        if event.legacy is not None:
            legacy.append(event.key, event.key, event.legacy, event.legacy_ms, event.legacy_headers)
        if event.rebuilt and event.rebuilt[0].held_ms:
            heapq.heappush(held, (event.legacy_ms + event.rebuilt[0].held_ms, number, event))
        else:
            publish(event)
    while held:
        publish(heapq.heappop(held)[2])
    return Played(legacy.records, rebuilt.records, ledger)


def envelope(record: Record) -> str:
    """Write a record as one line of `kcat -J`."""
    return json.dumps(
        {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "tstype": "create",
            "ts": record.timestamp,
            "broker": 1,
            "headers": [text for name, value in record.headers for text in (name, (value or b"").decode())],
            "key": None if record.key is None else record.key.decode(),
            "payload": None if record.value is None else record.value.decode(),
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )


def bare(record: Record) -> str:
    """Write only the value of a record."""
    return "" if record.value is None else record.value.decode()


def write_files(played: Played, folder: Path, *, line: Callable[[Record], str] = envelope) -> tuple[Path, Path, Path]:
    """Write legacy.ndjson, rebuilt.ndjson and ledger.jsonl; the scenario must be `text_only`."""
    paths = folder / "legacy.ndjson", folder / "rebuilt.ndjson", folder / "ledger.jsonl"
    _write(paths[0], map(line, played.legacy))
    _write(paths[1], map(line, played.rebuilt))
    _write(paths[2], (encode_entry(entry).decode() for entry in played.ledger))
    return paths


def _write(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{one}\n" for one in lines)
