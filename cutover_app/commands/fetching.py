"""Reads the source records that an explanation names, and shows of them what the contract allows."""

from contextlib import AsyncExitStack
from typing import Any

from aiokafka.errors import KafkaError

from cutover_app.commands.content import Contents
from cutover_app.commands.evidence import broker_of
from cutover_app.commands.explanation import Content, Explanation, Story
from cutover_app.commands.output import shown_place
from cutover_app.contract.compile import Compiled, compile_contract
from cutover_app.contract.errors import ContractError
from cutover_app.contract.models import Contract
from cutover_app.core.frames import LEGACY, SIDES
from cutover_app.kafka.cluster import Cluster
from cutover_app.kafka.clusters import ASK_SECONDS, direct_broker
from cutover_app.kafka.reading import PartitionReader, partition_reader

GONE = "there is no such record (any more): retention, compaction, or a transaction that was aborted"


async def fetch(contract: Contract, told: Explanation, most: int) -> None:
    """Add the contents of at most so many records; what cannot be had is said in its place."""
    contents = Contents(contract, _compiled(contract))
    async with AsyncExitStack() as stack:
        readers = await _readers(stack, contract)
        for story in told.stories:
            places = story.places()
            if len(places) > most:
                told.notes.append(f"{len(places) - most:,} records were not fetched: {most} are, at most")
            await _fetch(readers, contents, story, sorted(places[:most]))


async def _fetch(
    readers: dict[str, PartitionReader], contents: Contents, story: Story, places: list[tuple[str, str, int, int]]
) -> None:
    expected: list[Any] = []
    for side, topic, partition, offset in places:  # legacy first: what is made of it says what is expected
        place = shown_place(topic, partition, offset)
        try:
            record = await readers[side].at(topic, partition, offset)
        except KafkaError as error:
            story.contents.append(Content(place, error=f"cannot be read: {type(error).__name__}"))
            continue
        if record is None:
            story.contents.append(Content(place, error=GONE))
        elif side == SIDES[LEGACY]:
            made = contents.expected(record)
            expected += made
            story.contents.append(Content(place, contents.legacy(record), [contents.shown_expected(m) for m in made]))
        else:
            story.contents.append(Content(place, contents.rebuilt(record, expected)))


async def _readers(stack: AsyncExitStack, contract: Contract) -> dict[str, PartitionReader]:
    """Connect to the cluster of each side: the legacy topic lives on another one where the contract says so."""
    work = await stack.enter_async_context(partition_reader(broker_of(contract)))
    legacy = direct_broker(contract, request_timeout=ASK_SECONDS)
    if legacy is None:
        return dict.fromkeys(SIDES, work)
    async with Cluster(legacy):
        pass  # says in one line that nobody answers, which a consumer does not
    return {SIDES[LEGACY]: await stack.enter_async_context(partition_reader(legacy)), SIDES[1 - LEGACY]: work}


def _compiled(contract: Contract) -> Compiled | None:
    try:
        return compile_contract(contract)
    except ContractError:
        return None  # Its Python function need not be here; then nothing is rebuilt.
