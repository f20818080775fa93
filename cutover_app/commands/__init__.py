"""What people type. Importing this registers the commands with Faust's command line."""

from typing import Final

from cutover_app.commands.check import check
from cutover_app.commands.explain import explain
from cutover_app.commands.fixed import fixed
from cutover_app.commands.plan import plan
from cutover_app.commands.report import report
from cutover_app.commands.reset import reset
from cutover_app.commands.rows import rows
from cutover_app.commands.status import status

__all__ = ["COMMANDS"]

COMMANDS: Final = (plan, report, check, reset, status, rows, explain, fixed)
"""Every command of ours; `main.py` and the program `cutover` import it."""
