"""`cutover rows`: rows of a table, from its changelog, as the table itself shows them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final

import click
from faust.cli.base import argument, option
from rich.console import Group, RenderableType
from rich.text import Text

import tables
from cutover_app.commands.base import CutoverCommand
from cutover_app.commands.contracts import contract_option, order_option, shower_of
from cutover_app.commands.evidence import broker_of
from cutover_app.commands.keys import KeyTextError
from cutover_app.commands.output import (
    CANNOT_TELL,
    FINE,
    JSON,
    USAGE,
    console,
    fail,
    output_option,
    shown,
    table,
    write_json,
)
from cutover_app.commands.places import FoundRow, KeyPlace, find_rows, place_key
from cutover_app.contract.load import load_contract
from cutover_app.contract.models import Contract
from cutover_app.core.frames import LEGACY, REBUILT
from cutover_app.core.rows import PENDING_TABLE, SETTLED_TABLE
from cutover_app.core.state import pending_key
from cutover_app.kafka.cluster import Cluster
from cutover_app.kafka.reading import PartitionReader, partition_reader
from cutover_app.kafka.topics import changelog_of
from tables.showing import ShowKey

VERSION: Final = 1
"""Version of the JSON form."""

LIMIT: Final = 20

SEEN_MAX: Final = 1_000_000
"""Keys of one partition that are remembered while it is read from its end; what is older is not looked at."""

KEYED: Final = (SETTLED_TABLE, PENDING_TABLE)
"""Tables whose rows are of match keys."""


class rows(CutoverCommand):  # noqa: N801 - the name of the command
    """Show rows of a table, the most recently written first.

    TABLE is one of pending, settled, books, families. Rows are read from its changelog, committed ones only, each key's
    newest: from the end of each partition backwards, until there are enough; so a few rows of a table of millions take
    a moment. Of messages nothing is shown but keys, as the contract allows it.

    With --key, the rows of one match key, from the partition that it belongs to: 1001 is a number, '"1001"' a text,
    '["1001", 2]' a key of two values; what is no JSON is a text. Where the contract's order.by is not its match.key,
    all partitions are read, unless --order names the order key.

    Exit code: 0 there are rows, 2 usage or contract, 3 there are none, 4 failed.
    """

    examples = ("rows books", "rows settled --key o-1001", "rows pending --partition 3 --limit 5 --output json")
    options = [  # noqa: RUF012 - as Faust has it
        argument("name", metavar="TABLE"),
        option("--key", metavar="K", default=None, show_default=False, help="Only rows of this match key."),
        order_option(),
        option("--limit", metavar="N", type=click.IntRange(1, 100_000), default=LIMIT, help="Rows to show at most."),
        option(
            "--partition", metavar="P", type=click.IntRange(0), default=None, show_default=False,
            help="Only rows of this intake partition.",
        ),
        output_option(),
        contract_option(),
    ]  # fmt: skip

    async def run(self, **options: Any) -> int:
        """Read and print."""
        module = _table(options["name"])
        contract = load_contract(options["contract_file"])
        place = _place(contract, options)
        wanted = _partitions(contract, place, options["partition"])
        if place is not None and place.note and options["partition"] is None:
            self.say_aside(place.note)
        changelogs = {changelog_of(contract, name) for name in (module.NAME, SETTLED_TABLE)}
        async with Cluster(broker_of(contract)) as cluster:
            there = await cluster.topics(changelogs)
        found = Found(module, shower_of(contract), options["limit"])
        if changelogs <= there.keys():
            async with partition_reader(broker_of(contract)) as reader:
                if place is None:
                    await _newest(reader, contract, found, wanted)
                else:
                    await _of_key(reader, contract, found, place, wanted)
        for line in found.notes:
            self.say_aside(line)
        _print(contract, found, options["output"])
        return FINE if found.rows else CANNOT_TELL


@dataclass(slots=True)
class Found:
    """Rows to show, at most `limit`, and what has to be said beside them."""

    module: ModuleType
    show_key: ShowKey
    limit: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, record: Any) -> bool:
        """Take in a newest row; return whether that is enough."""
        row = self.module.describe(record.key, record.value, self.show_key)
        self.rows.append({"partition": record.partition, "offset": record.offset, **row})
        return len(self.rows) >= self.limit


def _table(name: str) -> ModuleType:
    known = {each: getattr(tables, each) for each, _ in tables.TABLES}
    if name not in known:
        fail(USAGE, f"no table {name!r}; there are {', '.join(known)}")
    return known[name]  # type: ignore[no-any-return]


def _place(contract: Contract, options: dict[str, Any]) -> KeyPlace | None:
    if options["key"] is None:
        if options["order"] is not None:
            fail(USAGE, "--order says where the key of --key is: name that too")
        return None
    if options["name"] not in KEYED:
        fail(USAGE, f"--key is for {' and '.join(KEYED)}: rows of {options['name']} are not of match keys")
    try:
        return place_key(contract, options["key"], options["order"])
    except KeyTextError as error:
        fail(USAGE, error)


def _partitions(contract: Contract, place: KeyPlace | None, partition: int | None) -> tuple[int, ...]:
    every = range(contract.intake.partitions)
    if partition is not None and partition not in every:
        fail(USAGE, f"--partition: expected 0 to {len(every) - 1}, the intake partitions; found {partition}")
    among = place.partitions if place is not None else tuple(every)
    return among if partition is None else tuple(each for each in among if each == partition)


async def _newest(reader: PartitionReader, contract: Contract, found: Found, wanted: tuple[int, ...]) -> None:
    """Take the newest rows of one partition after the other, until there are enough."""
    topic = changelog_of(contract, found.module.NAME)
    for partition in wanted:
        seen: set[bytes] = set()

        def enough(record: Any, seen: set[bytes] = seen) -> bool:
            if record.key in seen:
                return False
            if len(seen) >= SEEN_MAX:
                found.notes.append(
                    f"partition {record.partition}: only the {SEEN_MAX:,} keys written last were looked at"
                )
                return True
            seen.add(record.key)
            return record.value is not None and found.add(record)

        await reader.newest_first(topic, partition, enough)
        if len(found.rows) >= found.limit:
            return


async def _of_key(
    reader: PartitionReader, contract: Contract, found: Found, place: KeyPlace, wanted: tuple[int, ...]
) -> None:
    """Take the rows of one key: its settled rows, or the pending rows of the records that those name."""
    place = KeyPlace(place.key, place.order, wanted, place.is_exact)
    known = await find_rows(reader, contract, place)
    if found.module.NAME == SETTLED_TABLE:
        left = {(each.partition, each.key) for each in known}
    else:
        left = {(each.partition, key) for each in known for key in _stored(each)}
    topic = changelog_of(contract, found.module.NAME)
    for partition in sorted({partition for partition, _ in left}):
        keys = {key for number, key in left if number == partition}
        await reader.newest_first(topic, partition, _taker(found, keys))


def _taker(found: Found, keys: set[bytes]) -> Callable[[Any], bool]:
    def enough(record: Any) -> bool:
        if record.key not in keys:
            return False
        keys.discard(record.key)
        return (record.value is not None and found.add(record)) or not keys

    return enough


def _stored(found: FoundRow) -> list[bytes]:
    """Return the keys of the pending rows that a key has."""
    return [
        pending_key(side, record.position)
        for side in (LEGACY, REBUILT)
        for record in found.row.of(side)
        if record.stored
    ]


def _print(contract: Contract, found: Found, form: str) -> None:
    name = found.module.NAME
    if form == JSON:
        document = {"v": VERSION, "exit": FINE if found.rows else CANNOT_TELL, "table": name, "rows": found.rows}
        write_json({**document, "contract": contract.contract, "run": contract.run, "notes": found.notes})
    else:
        console().print(_render(name, found))


def _render(name: str, found: Found) -> RenderableType:
    """Return rows one below the other: rows of a table may differ in what they have, and in length."""
    if not found.rows:
        return Text(f"no rows of {name}")
    parts: list[RenderableType] = []
    for row in found.rows:
        drawn = table(f"{name} {row['partition']}@{row['offset']}", "", "")
        drawn.show_header = False
        for field_name, value in row.items():
            if field_name not in {"partition", "offset"}:
                drawn.add_row(field_name, shown(value))
        parts.append(drawn)
    return Group(*parts)
