"""`cutover check`: the judge over two files of lines."""

import sys
from itertools import zip_longest
from typing import Any

import click
from faust.cli.base import option

from cutover_app.commands.base import CutoverCommand
from cutover_app.commands.contracts import contract_option
from cutover_app.commands.files import STANDARD_INPUT, LineFile, SourceRecord
from cutover_app.commands.offline import Offline
from cutover_app.commands.output import output_option
from cutover_app.commands.render import exit_code, print_report
from cutover_app.commands.summary import summarise
from cutover_app.contract.compile import compile_contract
from cutover_app.contract.load import load_contract
from cutover_app.core.frames import LEGACY, REBUILT

_FILE = click.Path(exists=True, dir_okay=False, allow_dash=True)


class check(CutoverCommand):  # noqa: N801 - the name of the command
    """Judge two files of messages, without Kafka.

    A line is a message value, or what `kcat -J` writes for a record (an object with topic, partition, offset and
    payload); blank lines are skipped and counted; `-` is standard input. Nothing is waited for: what has no partner
    in the files has none.

    Exit code: 0 fine, 1 problems, 2 usage or contract, 3 cannot tell (not a single pair, for one), 4 failed.
    """

    options = [  # noqa: RUF012 - as Faust has it
        option("--legacy", metavar="FILE", required=True, type=_FILE, help="Records of the legacy producer."),
        option("--rebuilt", metavar="FILE", required=True, type=_FILE, help="Records of the rebuilt producer."),
        option("--verdicts", is_flag=True, help="Print every verdict, a JSON line each; the report goes to stderr."),
        output_option(),
        contract_option(),
    ]

    async def run(self, **options: Any) -> int:
        """Judge and print."""
        if options["legacy"] == options["rebuilt"] == STANDARD_INPUT:
            raise click.UsageError("only one of --legacy and --rebuilt can be standard input")
        contract = load_contract(options["contract_file"])
        offline = Offline(contract, compile_contract(contract), keep=options["verdicts"])
        files = LineFile(options["legacy"]), LineFile(options["rebuilt"])
        _judge(offline, *files)
        report = summarise(offline.finish())
        for each in files:
            if each.blank:
                report.notes.append(f"{each.blank:,} blank lines of {each.shown_name} were skipped")
        for line in offline.verdicts():
            sys.stdout.buffer.write(line + b"\n")
        print_report(report, options["output"], sys.stderr if options["verdicts"] else sys.stdout)
        return exit_code(report)


def _judge(offline: Offline, legacy: LineFile, rebuilt: LineFile) -> None:
    """Feed both files in step, so that partners meet early and few messages wait in memory."""
    nothing: list[SourceRecord] = []
    for expected, actual in zip_longest(legacy.chunks(), rebuilt.chunks(), fillvalue=nothing):
        offline.take(LEGACY, expected)
        offline.take(REBUILT, actual)
