"""What people type. Importing this registers the commands with Faust's command line."""

from typing import Final

from cutover_app.commands.check import check

__all__ = ["COMMANDS"]

COMMANDS: Final = (check,)
"""Every command of ours; `main.py` and the program `cutover` import it."""
