"""The program `cutover`: Faust's own command line, with this application and with our commands.

`cutover X` is `faust -A cutover_app X`. Our commands need no worker, so they start without one being built.
"""

import sys
from io import TextIOWrapper
from typing import Final

import click
import faust
from faust.cli.base import cli
from mode.loop import use as use_loop

from cutover_app import __version__
from cutover_app.commands import COMMANDS
from cutover_app.commands.base import guarded
from cutover_app.commands.output import USAGE, fail

APP: Final = "cutover_app"
LOOP: Final = "cutover_app.runtime.loop"
"""The event loop of a worker, unless another is named."""

HELP: Final = """Prove, on live traffic, that a rebuilt Kafka producer publishes exactly what it should.

The contract is cutover.yaml, or what CUTOVER_CONTRACT names. Commands and their options: cutover COMMAND --help.
"""


def main() -> None:
    """Run a command.

    Faust looks for the application in `sys.argv` itself, by the beginnings of words: it would take `--apply` for
    `--app`. So there it finds the application, or nothing.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what a terminal cannot show is no reason to stop
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        print(f"cutover {__version__} (Faust {faust.__version__})")
        return
    cli.help = HELP
    if _needs_app(arguments):
        if "worker" in arguments and not {"-L", "--loop"} & set(arguments):
            # Faust looks for its option when it is imported, which has happened.
            use_loop(LOOP)
        arguments = ["-A", APP, *arguments]
    sys.argv[1:] = arguments[:2] if arguments[:1] == ["-A"] else []
    sys.exit(guarded(lambda: _run(arguments)))


def _run(arguments: list[str]) -> int:
    """Return the exit code. Left to itself, click would call an interruption a failure."""
    try:
        code = cli.main(arguments, prog_name="cutover", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ModuleNotFoundError as error:
        if not any(each.rpartition("=")[2] == error.name for each in arguments):
            raise
        fail(USAGE, f"-A: {error}")
    return code if isinstance(code, int) else 0


def _needs_app(arguments: list[str]) -> bool:
    """Tell whether a command of Faust's is asked for, help apart; ours read the contract themselves."""
    if not arguments or "--help" in arguments:
        return False
    ours = {command.__name__ for command in COMMANDS}
    named = next((each for each in arguments if each in cli.commands), "")
    return named not in ours
