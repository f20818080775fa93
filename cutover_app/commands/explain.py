"""`cutover explain`: everything that is known about one key, or about what one verdict is about."""

from typing import Any, Final

import click
from faust.cli.base import argument, option

from cutover_app.commands.base import CutoverCommand
from cutover_app.commands.contracts import contract_option, order_option, shower_of
from cutover_app.commands.evidence import Observer, broker_of, observer
from cutover_app.commands.explanation import Explanation, Story, exit_code, print_explanation
from cutover_app.commands.fetching import fetch
from cutover_app.commands.keys import KeyTextError, other_reading
from cutover_app.commands.output import USAGE, fail, output_option
from cutover_app.commands.places import FoundRow, KeyPlace, find_rows, newest_books, place_key
from cutover_app.commands.said import find_revisions, find_row_of, find_verdict, is_verdict_id, told_apart
from cutover_app.commands.timeline import history_of, ids_of, newest, verdict_events
from cutover_app.contract.load import load_contract
from cutover_app.contract.models import Contract
from cutover_app.core.frames import SIDES
from cutover_app.core.rows import BOOKS_TABLE, SETTLED_TABLE
from cutover_app.core.verdicts import Verdict
from cutover_app.kafka.cluster import Cluster
from cutover_app.kafka.reading import PartitionReader, partition_reader
from cutover_app.kafka.topics import changelog_of

FETCHED_MAX: Final = 50
"""Records whose content is read for one explanation."""


class explain(CutoverCommand):  # noqa: N801 - the name of the command
    """Tell both histories of one key as one timeline.

    What arrived, what was rebuilt, compared, closed and said about it, with exact positions, and for each record a line
    for kcat that prints it. KEY is JSON: 1001 is a number, '"1001"' a text, '["1001", 2]' a key of two values; what is
    no JSON is a text. With --verdict, the key is that of the verdict with this id.

    Only with --fetch are the source records read; of their content only what the contract lets be seen is shown: the
    fields that it names, unless they are sensitive or sealed.

    What takes time: the key's intake partition is read, its table from the end, its verdicts from the beginning. Where
    the contract's order.by is not its match.key, all partitions are, unless --order names the order key.

    Exit code: 0 the key is fine, 1 it has open problems, 2 usage or contract, 3 cannot tell (nothing is known about it,
    or something is pending or indeterminate), 4 failed.
    """

    examples = (
        "explain o-1001",
        "explain '\"1001\"' --fetch",
        "explain '[\"1001\", 2]' --output json",
        "explain --verdict 9f2c0d6b7e1a4c3f8b5d2e6a7c9f0b1d",
    )

    options = [  # noqa: RUF012 - as Faust has it
        argument("key", required=False),
        option("--verdict", metavar="ID", default=None, show_default=False, help="The key of this verdict."),
        order_option(),
        option("--fetch", is_flag=True, help="Read the source records too."),
        output_option(),
        contract_option(),
    ]

    async def run(self, **options: Any) -> int:
        """Look, tell."""
        contract = load_contract(options["contract_file"])
        key, verdict = options["key"], options["verdict"]
        if (key is None) == (verdict is None):
            raise click.UsageError("expected a KEY, or --verdict ID")
        if verdict is not None and not is_verdict_id(verdict):
            fail(USAGE, f"--verdict: expected 32 hexadecimal digits, found {verdict!r}")
        try:
            place = None if key is None else place_key(contract, key, options["order"])
        except KeyTextError as error:
            fail(USAGE, error)
        if place is not None and place.note:
            self.say_aside(place.note)
        told = await _explain(contract, place, verdict)
        if not told.stories and key is not None:
            told.hint = other_reading(key) or ""
        if options["fetch"]:
            await fetch(contract, told, FETCHED_MAX)
        print_explanation(contract, told, options["output"])
        return exit_code(told)


async def _explain(contract: Contract, place: KeyPlace | None, verdict: str | None) -> Explanation:
    broker = broker_of(contract)
    names = [changelog_of(contract, SETTLED_TABLE), changelog_of(contract, BOOKS_TABLE), contract.verdicts.topic]
    told = Explanation(contract.contract, contract.run, verdict=verdict or "")
    if place is not None:
        told.key, told.partitions = shower_of(contract)(place.key), list(place.partitions)
    async with Cluster(broker) as cluster:
        there = await cluster.topics(names)
    if len(there) == len(names):
        async with partition_reader(broker) as reader:
            if place is not None:
                await _about_key(reader, contract, told, place)
            else:
                await _about_verdict(reader, contract, told, verdict or "")
    if not told.stories:
        async with observer(contract) as looking:
            await _where(looking, told)
    return told


async def _about_key(reader: PartitionReader, contract: Contract, told: Explanation, place: KeyPlace) -> None:
    for found in await find_rows(reader, contract, place):
        await _add_row(reader, contract, told, found)
    if told.stories:
        return
    # What is forgotten, or was never remembered, may have verdicts all the same.
    shown = shower_of(contract)(place.key)
    if not told_apart(shown):
        told.notes.append("the key is hidden in verdicts, and without CUTOVER_HMAC_KEY nobody can find it there")
        return
    for partition in place.partitions:
        said = await find_revisions(reader, contract, partition, shown=shown)
        if said:
            told.stories.append(Story(partition, shown, events=verdict_events(said), verdicts=said))
            told.notes.append("the key is forgotten, or not remembered yet: only its verdicts are left")


async def _about_verdict(reader: PartitionReader, contract: Contract, told: Explanation, verdict: str) -> None:
    said = await find_verdict(reader, contract, verdict)
    if not said:
        return
    last = newest(said)[-1]
    partition = last.at[0]
    told.key, told.partitions = last.key, [partition]
    books = await newest_books(reader, contract, partition)
    found = await find_row_of(reader, contract, partition, books, last) if books is not None and last.key else None
    if found is not None:
        await _add_row(reader, contract, told, found)
    else:
        told.stories.append(Story(partition, last.key, events=verdict_events(said), verdicts=said))
        told.notes.append("its key is forgotten, or it has none: only the verdict is left")


async def _add_row(reader: PartitionReader, contract: Contract, told: Explanation, found: FoundRow) -> None:
    books = await newest_books(reader, contract, found.partition)
    if books is None:
        return
    said: list[Verdict] = await find_revisions(
        reader, contract, found.partition, ids=ids_of(contract.contract, found, books)
    )
    history = history_of(found, books, said, contract.timing.grace)
    match_key = found.key[len(found.row.order) :]
    told.stories.append(
        Story(
            found.partition,
            shower_of(contract)(match_key),
            records=history.records,
            events=history.events,
            verdicts=said,
            balanced=not books.balance(),
        )
    )
    if history.more:
        told.notes.append(f"{history.more:,} more records of this key are not told about")


async def _where(looking: Observer, told: Explanation) -> None:
    """Say what is waiting unread, in which something about the key may be."""
    await looking.look()
    for side, behind in zip(SIDES, looking.behind, strict=True):
        if behind is None or behind.total:
            told.unread[side] = None if behind is None else behind.total
    told.unjudged = sum(looking.unjudged.get(number, 0) for number in told.partitions)
