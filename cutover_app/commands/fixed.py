"""`cutover fixed`: says that a producer's fix is out, so that only what comes after it counts as open."""

import time
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from faust.cli.base import argument, option
from rich.console import Group, RenderableType
from rich.text import Text

from cutover_app.commands.base import CutoverCommand
from cutover_app.commands.contracts import contract_option
from cutover_app.commands.evidence import broker_of, gather
from cutover_app.commands.fixes import (
    REASON_CHARS_MAX,
    FixError,
    Mark,
    choose_family,
    encode_mark,
    mark_key,
    parse_time,
    show_time,
    shown_family,
)
from cutover_app.commands.fold import Ages
from cutover_app.commands.output import (
    CANNOT_TELL,
    FINE,
    JSON,
    PROBLEMS,
    USAGE,
    console,
    fail,
    output_option,
    plain,
    table,
    write_json,
)
from cutover_app.commands.summary import CONCLUSION_CANNOT_TELL, Evidence, summarise
from cutover_app.contract.load import load_contract
from cutover_app.contract.models import Contract
from cutover_app.core.verdicts import OTHER_PATHS, FamilyName
from cutover_app.kafka import admin
from cutover_app.kafka.cluster import Cluster
from cutover_app.kafka.topics import fixes_of, fixes_spec

VERSION: Final = 1
"""Version of the JSON form."""


class fixed(CutoverCommand):  # noqa: N801 - the name of the command
    """Mark a family of findings as fixed: it is open only if it is seen again.

    FAMILY is kind and path as the report shows them, or a beginning of them that is unambiguous; without one, the marks
    that there are are listed. What counts is the time of the source records, of a pair the later one's: records from
    TIME on are since the fix. The report honours the mark: problems all of whose families are fixed and whose records
    are older are not open any more. Nothing is deleted, and --undo takes the mark back. The mark is kept in a topic of
    the run, so everybody sees it.

    Exit code: 0 the family has not been seen since TIME (listing: none has), 1 it has, 2 usage or contract, 3 (listing)
    nobody can tell, 4 failed.
    """

    examples = (
        "fixed wrong_value '$.total' --reason 'rounding, release 1.4.2'",
        "fixed missing --from 2026-11-24T16:30:00Z",
        "fixed wrong_v --undo",
        "fixed",
    )

    options = [  # noqa: RUF012 - as Faust has it
        argument("family", nargs=-1),
        option(
            "--from", "since", metavar="TIME", default=None, show_default=False,
            help="Records from this time on count: an ISO time with its zone. Default: now.",
        ),
        option("--reason", metavar="TEXT", default="", show_default=False, help="Why; shown with the family."),
        option("--undo", is_flag=True, help="Take the mark back."),
        output_option(),
        contract_option(),
    ]  # fmt: skip

    async def run(self, **options: Any) -> int:
        """Find the family, mark it, and say what that means."""
        contract = load_contract(options["contract_file"])
        _check_options(options)
        now_ms = int(time.time() * 1000)
        try:
            from_ms = now_ms if options["since"] is None else parse_time(options["since"], now_ms)
        except FixError as error:
            fail(USAGE, error)
        evidence = await gather(contract)
        marks = dict(evidence.marks)
        if options["family"]:
            family = _family(evidence, options)
            mark = None if options["undo"] else Mark(from_ms=from_ms, at=now_ms, reason=options["reason"])
            await _write(contract, family, mark)
            _say(self, family, mark, evidence)
            marks = {family: mark} if mark else {}
        return _print(contract, evidence, marks, options["output"], listing=not options["family"])


def _check_options(options: dict[str, Any]) -> None:
    if len(options["reason"]) > REASON_CHARS_MAX:
        fail(USAGE, f"--reason: expected at most {REASON_CHARS_MAX} characters, found {len(options['reason'])}")
    if options["undo"] and (options["since"] is not None or options["reason"]):
        fail(USAGE, "--undo takes a mark back: no use for --from and --reason")
    if not options["family"] and (options["undo"] or options["since"] is not None or options["reason"]):
        fail(USAGE, "expected a FAMILY, kind and path as the report shows them")


def _family(evidence: Evidence, options: dict[str, Any]) -> FamilyName:
    marked = list(evidence.marks)
    families = [(row.kind, row.path) for row in evidence.families]
    known = marked if options["undo"] else [*(each for each in families if each[1] != OTHER_PATHS), *marked]
    try:
        return choose_family(options["family"], known)
    except FixError as error:
        fail(USAGE, plain(f"not marked: {error}" if options["undo"] else str(error)))


async def _write(contract: Contract, family: FamilyName, mark: Mark | None) -> None:
    """Write the mark, or its tombstone; the topic is created where a run has none yet."""
    broker = broker_of(contract)
    async with Cluster(broker) as cluster:
        await admin.prepare(cluster, [fixes_spec(contract)])
    async with AIOKafkaProducer(**broker.client("cutover-fixed"), enable_idempotence=True) as producer:
        value = None if mark is None else encode_mark(mark)
        await producer.send_and_wait(fixes_of(contract), value, key=mark_key(family), partition=0)


def _say(command: CutoverCommand, family: FamilyName, mark: Mark | None, evidence: Evidence) -> None:
    shown = plain(shown_family(family))
    if mark is not None:
        command.say_aside(f"{shown} is marked as fixed since {show_time(mark.from_ms)}")
    else:
        had = evidence.marks.get(family)
        since = f"; it was there since {show_time(had.from_ms)}" if had else ""
        command.say_aside(f"{shown} is not marked as fixed any more{since}")


@dataclass(frozen=True, slots=True)
class FixLine:
    """A mark and what it means. Times in milliseconds since the epoch."""

    kind: str
    path: str
    from_ms: int
    at: int
    reason: str
    before: int
    since: int


def lines_of(marks: dict[FamilyName, Mark], ages: dict[FamilyName, Ages]) -> list[FixLine]:
    """Return a line for each mark, those that have been seen since first."""
    made = [
        FixLine(*family, mark.from_ms, mark.at, mark.reason, ages[family].before, ages[family].since)
        for family, mark in marks.items()
    ]
    return sorted(made, key=lambda line: (-line.since, line.kind, line.path))


def _print(contract: Contract, evidence: Evidence, marks: dict[FamilyName, Mark], form: str, *, listing: bool) -> int:
    lines = lines_of(marks, evidence.verdicts.ages(marks))
    # That none was seen says something only of a run that would have seen it.
    in_doubt = listing and lines and summarise(evidence).conclusion == CONCLUSION_CANNOT_TELL
    unseen = CANNOT_TELL if in_doubt else FINE
    code = PROBLEMS if any(line.since for line in lines) else unseen
    if form == JSON:
        named = {"contract": contract.contract, "run": contract.run}
        write_json({"v": VERSION, "exit": code, **named, "fixed": lines})
    else:
        console().print(render(lines, doubt=code == CANNOT_TELL))
    return code


def render(lines: list[FixLine], *, doubt: bool = False) -> RenderableType:
    """Return the marks as a table; `doubt`: nobody can tell whether anything has been seen since."""
    if not lines:
        return Text("no family is marked as fixed")
    drawn = table("Families marked as fixed", ("since", "right"), ("before", "right"), "kind", "path", "fixed from", "")
    for line in lines:
        cells = (f"{line.since:,}", f"{line.before:,}", line.kind, line.path, show_time(line.from_ms), line.reason)
        drawn.add_row(*map(plain, cells))
    again = sum(1 for line in lines if line.since)
    unseen = "none of them has been seen since" + (", and nobody can tell yet: `report` says why" if doubt else "")
    said = f"OPEN AGAIN: {again} of them" if again else unseen
    return Group(drawn, Text(said, style="bold red" if again else "bold yellow" if doubt else "bold green"))
