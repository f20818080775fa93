"""`cutover plan`: what a run needs, what is there, and, with `--apply`, the difference made good."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
from faust.cli.base import option
from rich.console import Group, RenderableType
from rich.text import Text

from cutover_app.commands.acls import acls_json, acls_lines
from cutover_app.commands.base import CutoverCommand
from cutover_app.commands.contracts import contract_option
from cutover_app.commands.elsewhere import look_elsewhere
from cutover_app.commands.evidence import broker_of
from cutover_app.commands.output import FINE, JSON, PROBLEMS, console, output_option, plain, table, write_json
from cutover_app.commands.planning import CREATED, Asked, RunPlan, TopicLine, plan_run, specs_of
from cutover_app.contract.compile import compile_contract
from cutover_app.contract.load import load_contract
from cutover_app.contract.models import Contract
from cutover_app.contract.units import show_duration
from cutover_app.kafka import admin
from cutover_app.kafka.cluster import Cluster
from cutover_app.kafka.refusal import denied
from cutover_app.kafka.ruled import UNTOLD, foreign_rules
from cutover_app.runtime.datadir import datadir_of

VERSION = 1
"""Version of the JSON form."""


class plan(CutoverCommand):  # noqa: N801 - the name of the command
    """Show what a run needs, what is there, and what would be created.

    The contract; the source topics, their partitions, retention against grace and remember, cleanup policies and
    timestamps; the internal topics and the verdicts topic. With --apply, what is missing of the latter is created,
    unless something is in the way. Source topics are never created. With --acls, nothing is looked at or created: what
    each role must be allowed on a cluster with ACLs is printed, as lines for kafka-acls.

    Exit code: 0 nothing is in the way, 1 something is, 2 usage or contract, 4 failed.
    """

    options = [  # noqa: RUF012 - as Faust has it
        option("--acls", is_flag=True, help="Print the permissions that each role needs; asks no broker."),
        option("--apply", is_flag=True, help="Create the topics that are missing."),
        output_option(),
        contract_option(),
    ]

    async def run(self, **options: Any) -> int:
        """Look, compare, and perhaps create."""
        contract = load_contract(options["contract_file"])
        if options["acls"]:
            return _print_acls(contract, options["output"])
        rules = compile_contract(contract).rules
        specs = specs_of(contract)
        async with Cluster(broker_of(contract)) as cluster:
            found = await admin.look(cluster, specs)
            datadir = str(datadir_of(contract))
            elsewhere = await look_elsewhere(contract, cluster)
            begun = await _look_at_run(contract, rules)
            now = datetime.now(UTC)
            made = plan_run(contract, rules, found, now=now, datadir=datadir, elsewhere=elsewhere, begun=begun)
            if options["apply"] and not made.problems:
                await admin.apply(cluster, admin.plan(specs, found))
                made = _created(made)
        if options["output"] == JSON:
            built: dict[str, Any] = msgspec.to_builtins(made)
            write_json({"v": VERSION, "exit": _exit_code(made), **built})
        else:
            console().print(_render(made))
        return _exit_code(made)


async def _look_at_run(contract: Contract, rules: str) -> Asked:
    """Say what would keep workers of this contract from going on with the run."""
    try:
        line = await foreign_rules(contract, broker_of(contract), rules)
    except UNTOLD as error:
        return Asked(warnings=[f"under which contract this run was judged cannot be told: {denied(error) or error}"])
    return Asked(problems=[line] if line else [])


def _print_acls(contract: Contract, output: str) -> int:
    if output == JSON:
        write_json(acls_json(contract))
    else:
        print(*acls_lines(contract), sep="\n")
    return FINE


def _exit_code(made: RunPlan) -> int:
    return PROBLEMS if made.problems else FINE


def _created(made: RunPlan) -> RunPlan:
    topics = [replace(line, state=CREATED) if line.name in made.create else line for line in made.topics]
    return replace(made, topics=topics)


def _render(made: RunPlan) -> RenderableType:
    topics = table(
        "Topics", "topic", "for", "state", ("partitions", "right"), ("replicas", "right"), "kept", "timestamps"
    )
    for line in made.topics:
        topics.add_row(*map(plain, _cells(line)))
    parts: list[RenderableType] = [
        Text(f"contract {plain(made.contract)}, run {plain(made.run)}, on {plain(made.broker)}"),
        Text(f"rules {made.rules}"),
        Text(
            f"match key {plain(', '.join(made.match_key))}; grace {show_duration(made.grace_ms)}, "
            f"remember {show_duration(made.remember_ms)}; consumer group {plain(made.app_id)}"
        ),
        topics,
        Text(f"note: {plain(made.notice)}"),
    ]
    parts += [Text(f"warning: {plain(line)}", style="yellow") for line in made.warnings]
    parts += [Text(f"problem: {plain(line)}", style="bold red") for line in made.problems]
    parts.append(_last_line(made))
    return Group(*parts)


def _cells(line: TopicLine) -> tuple[str, ...]:
    kept = line.cleanup if line.retention_ms is None else f"{line.cleanup}, {show_duration(line.retention_ms)}"
    if line.cleanup == "delete" and line.retention_ms is None:
        kept = "for ever"
    numbers = ("" if number is None else str(number) for number in (line.partitions, line.replication))
    return (line.name, line.role, line.state, *numbers, kept, line.timestamps)


def _last_line(made: RunPlan) -> Text:
    if made.problems:
        return Text("IN THE WAY: nothing was created", style="bold red")
    created = sum(line.state == CREATED for line in made.topics)
    if created:
        return Text(f"CREATED {created} topics", style="bold green")
    if made.create:
        return Text(
            f"READY: {len(made.create)} topics are missing; --apply or a worker creates them", style="bold green"
        )
    return Text("READY: nothing is missing", style="bold green")
