"""The program `cutover`: Faust's own command line, with this application and with our commands.

`cutover X` is `faust -A cutover_app X`. Our commands need no worker, so they start without one being built.
"""

import sys
from typing import Final

from faust.cli import faust as _stock  # noqa: F401 - registers Faust's commands, which ours may replace
from faust.cli.base import cli

from cutover_app.commands import COMMANDS
from cutover_app.commands.base import guarded

APP: Final = "cutover_app"

_ALONE: Final = frozenset({"--help", "--version"})


def main() -> None:
    """Run a command. Faust looks for the application in `sys.argv` itself, so that is where it is named."""
    if _needs_app(sys.argv[1:]):
        sys.argv[1:1] = ["-A", APP]
    guarded(lambda: int(cli(prog_name="cutover") or 0))


def _needs_app(arguments: list[str]) -> bool:
    """Tell whether a command of Faust's is asked for, help apart; ours read the contract themselves."""
    if not arguments or _ALONE.intersection(arguments):
        return False
    ours = {command.__name__ for command in COMMANDS}
    named = next((each for each in arguments if each in cli.commands), "")
    return named not in ours
