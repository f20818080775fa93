"""What people type. Importing this registers the commands with Faust's command line."""

from typing import Final

from cutover_app.commands.check import check
from cutover_app.commands.plan import plan
from cutover_app.commands.report import report
from cutover_app.commands.reset import reset

__all__ = ["COMMANDS"]

COMMANDS: Final = (plan, report, check, reset)
"""Every command of ours; `main.py` and the program `cutover` import it."""
