"""A scenario without a broker: as records in memory, or as files with one record per line.

Positions are given as brokers give them: one counter per partition. The lines of a file are either
bare message values or the envelopes that `kcat -J` prints.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from cutover_app.lab.ledger import Entry, encode_entry
from cutover_app.lab.partitioners import PARTITIONERS, Partitioner, PartitionerName
from cutover_app.lab.scenario import Scenario, Shop


class Record(NamedTuple):
    """A record as a consumer sees it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


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

    def append(self, key: bytes, value: bytes | None, timestamp: int) -> Record:
        partition = self._partitioner(key, self._partitions)
        record = Record(self._name, partition, self._ends[partition], timestamp, key, value)
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
    """Play a scenario in memory; pairs of arguments are (legacy, rebuilt)."""
    legacy, rebuilt = (
        _Topic(name, count, PARTITIONERS[chosen])
        for name, count, chosen in zip(topics, partitions, partitioners, strict=True)
    )
    ledger: list[Entry] = []
    for event in Shop(scenario).events():
        if event.legacy is not None:
            legacy.append(event.key, event.legacy, event.legacy_ms)
        published = [rebuilt.append(event.key, one, event.rebuilt_ms) for one in event.rebuilt]
        if event.entry is not None:
            ledger.append(event.entry.located(*published[-1][1:3]) if published else event.entry)
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
            "headers": [],
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
