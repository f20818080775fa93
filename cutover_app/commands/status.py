"""`cutover status`: how the fleet of a run stands, and the one reason why something waits."""

import asyncio
import math
import sys
import time
from dataclasses import replace
from typing import Any, Final

import click
import msgspec
from faust.cli.base import option
from rich.console import Group, RenderableType
from rich.text import Text

from cutover_app.commands.base import CutoverCommand
from cutover_app.commands.contracts import contract_option, hash_of
from cutover_app.commands.evidence import Behind, Observer, broker_of, observer
from cutover_app.commands.output import (
    JSON,
    USAGE,
    console,
    fail,
    output_option,
    plain,
    table,
    write_json,
    write_json_line,
)
from cutover_app.commands.render import EXIT_CODES, STYLES, show_lag
from cutover_app.commands.standing import Facts, IntakeStatus, Rate, SideFacts, Status, Worker, rate_of, status_of
from cutover_app.contract.load import load_contract
from cutover_app.contract.models import Contract
from cutover_app.kafka.cluster import Cluster
from cutover_app.kafka.groups import Group as ConsumerGroup
from cutover_app.kafka.groups import Member, describe_group
from cutover_app.kafka.topics import app_id_of, intake_of

VERSION: Final = 1
"""Version of the JSON form."""


class status(CutoverCommand):  # noqa: N801 - the name of the command
    """Show how the whole fleet stands, and the one reason why something waits.

    Workers and their partitions; per side the frontier, what is vouched for, unread and pending; per intake partition
    what is not judged yet; the books; verdicts by outcome. All of it is read from Kafka, so this works from anywhere.
    Each look after the first reads only what has come since. With --watch and --output json, a look is one line.

    What takes time: the first look reads the verdicts topic, which has a record per problem.

    Exit code: 0 fine so far and at work, 1 open problems, 2 usage or contract, 3 cannot tell (nothing compared yet,
    books that do not balance, or a fleet that stands still), 4 failed. With --watch, that of the last look.
    """

    examples = ("status", "status --watch 5", "status --watch 10 --output json --looks 6")

    options = [  # noqa: RUF012 - as Faust has it
        option(
            "--watch", metavar="SECONDS", type=click.FloatRange(0.1, 86_400), default=None, show_default=False,
            help="Look again after so many seconds, until interrupted.",
        ),
        option(
            "--looks", metavar="N", type=click.IntRange(1), default=None, show_default=False,
            help="With --watch: end after so many looks.",
        ),
        output_option(),
        contract_option(),
    ]  # fmt: skip

    async def run(self, **options: Any) -> int:
        """Look, perhaps again and again."""
        contract = load_contract(options["contract_file"])
        if options["looks"] is not None and options["watch"] is None:
            raise click.UsageError("--looks needs --watch")
        if options["watch"] is not None and math.isnan(options["watch"]):
            fail(USAGE, "--watch: expected seconds, found nan")
        async with observer(contract, hash_of(contract)) as looking, Cluster(broker_of(contract)) as cluster:
            before, at = None, 0.0
            looks = 0
            while True:
                began = time.monotonic()
                now = await _look(contract, looking, cluster)
                if before is not None:
                    now = replace(now, rate=rate_of(before, now, began - at))
                _print(now, options)
                looks += 1
                if options["watch"] is None or looks == options["looks"]:
                    return EXIT_CODES[now.conclusion]
                before, at = now, began
                await asyncio.sleep(max(0.0, began + options["watch"] - time.monotonic()))


async def _look(contract: Contract, looking: Observer, cluster: Cluster) -> Status:
    now_ms = int(time.time() * 1000)  # of before: reading may take a while, and checkpoints get no older by it
    evidence = await looking.look()
    group = await describe_group(cluster, app_id_of(contract))
    return status_of(evidence, facts_of(contract, looking, group, now_ms=now_ms))


def facts_of(contract: Contract, looking: Observer, group: ConsumerGroup, *, now_ms: int) -> Facts:
    """Return the facts of a look."""
    legacy, rebuilt = contract.legacy.topic, contract.rebuilt.topic
    # What is read from the legacy cluster itself is not shared out by the workers' group.
    grouped = (contract.legacy.broker is None, True)
    return Facts(
        now_ms=now_ms,
        group_state=group.state,
        workers=[_worker(contract, member) for member in group.members],
        checkpoints=dict(looking.checkpoints),
        unjudged=dict(looking.unjudged),
        sides=(
            _side(legacy, looking.behind[0], group, grouped=grouped[0]),
            _side(rebuilt, looking.behind[1], group, grouped=grouped[1]),
        ),
        interval_ms=contract.timing.barrier,
        grace_ms=contract.timing.grace,
    )


def _side(topic: str, behind: Behind | None, group: ConsumerGroup, *, grouped: bool) -> SideFacts | None:
    if behind is None:
        return None
    assigned = frozenset(number for member in group.members for number in member.assigned.get(topic, ()))
    return SideFacts(topic=topic, unread=behind.unread, held=behind.held, assigned=assigned if grouped else None)


def _worker(contract: Contract, member: Member) -> Worker:
    topics = (contract.legacy.topic, contract.rebuilt.topic, intake_of(contract))
    return Worker(member.client, member.host, *(list(member.assigned.get(topic, ())) for topic in topics))


# -- how it looks ----------------------------------------------------------------------------------------------------


def _print(now: Status, options: dict[str, Any]) -> None:
    if options["output"] == JSON:
        document = status_json(now)
        if options["watch"] is None:
            write_json(document)
        else:
            write_json_line(document)
        return
    drawn = console()
    if options["watch"] is not None and sys.stdout.isatty():
        drawn.clear()
    drawn.print(status_table(now))


def status_json(now: Status) -> dict[str, Any]:
    """Return the JSON form, its version first."""
    built: dict[str, Any] = msgspec.to_builtins(now)
    return {"v": VERSION, "exit": EXIT_CODES[now.conclusion], **built}


def status_table(now: Status) -> RenderableType:
    """Return the status as tables, the reason and the conclusion last: that is where a terminal ends."""
    outcomes = ", ".join(f"{count:,} {name}" for name, count in now.outcomes.items()) or "none"
    past = f" ({now.past:,} of them of before a fix)" if now.past else ""
    parts: list[RenderableType] = [
        Text(f"contract {plain(now.contract)}, run {plain(now.run)}; verdicts: {outcomes}{past}"),
        _workers(now),
        _sides(now),
        _intake(now),
    ]
    if now.rate is not None:
        parts.append(Text(_rate_line(now.rate)))
    parts += [Text(f"imbalance: {plain(line)}", style="red") for line in now.imbalances]
    parts.append(Text(f"WAITS BECAUSE ({now.waiting.rule}): {plain(now.waiting.text)}", style="bold"))
    parts += [Text(f"    and ({each.rule}): {plain(each.text)}") for each in now.also]
    first, *rest = now.reasons
    parts.append(Text(f"{now.conclusion.upper()}: {plain(first)}", style=STYLES[now.conclusion]))
    return Group(*parts, *(Text(f"    and: {plain(reason)}") for reason in rest))


def _rate_line(rate: Rate) -> str:
    each = f"{rate.legacy:,.1f} legacy, {rate.rebuilt:,.1f} rebuilt, {rate.verdicts:,.1f} verdicts"
    return f"in the last {rate.seconds:,.1f} s, per second: {each}"


def _workers(now: Status) -> RenderableType:
    drawn = table(f"Workers ({len(now.workers)}, group {plain(now.group_state)})", "worker", "host", *_TOPICS)
    for worker in now.workers:
        numbers = (", ".join(map(str, each)) for each in (worker.legacy, worker.rebuilt, worker.intake))
        drawn.add_row(plain(worker.name), plain(worker.host), *numbers)
    return drawn


_TOPICS: Final = ("legacy partitions", "rebuilt partitions", "intake partitions")


def _sides(now: Status) -> RenderableType:
    right = [(name, "right") for name in ("frontier behind by", "vouched for", "unread", "held", "accepted", "pending")]
    drawn = table("Sides", "side", "topic", *right, ("oldest pending at most", "right"))
    for side in now.sides:
        drawn.add_row(
            side.side,
            plain(side.topic),
            show_lag(side.frontier_lag_ms),
            f"{side.vouched} of {side.partitions}",
            *("" if number is None else f"{number:,}" for number in (side.unread, side.held)),
            f"{side.accepted:,}",
            f"{side.pending:,}",
            "" if side.oldest_ms is None else show_lag(side.oldest_ms),
        )
    return drawn


def _intake(now: Status) -> RenderableType:
    balance = "they balance" if now.balanced else "they DO NOT balance" if now.imbalances else "empty"
    names = ("partition", "judged to", "not judged", "pending legacy", "pending rebuilt", "last checkpoint")
    drawn = table(f"Intake and its books ({balance})", *((name, "right") for name in names), "books")
    for each in now.intake:
        drawn.add_row(*_intake_cells(each))
    return drawn


def _intake_cells(each: IntakeStatus) -> tuple[str, ...]:
    legacy, rebuilt = each.pending
    at = "" if each.at < 0 else f"{each.at:,}"
    checkpoint = "never" if each.checkpoint_ms is None else f"{each.checkpoint_ms / 1000:,.0f} s ago"
    books = "" if each.checkpoint_ms is None else "balance" if each.balanced else "DO NOT BALANCE"
    return (str(each.partition), at, f"{each.unjudged:,}", f"{legacy:,}", f"{rebuilt:,}", checkpoint, books)
