"""`cutover report`: what a run has found, read from Kafka."""

from typing import Any

from cutover_app.commands.base import CutoverCommand
from cutover_app.commands.contracts import contract_option, hash_of
from cutover_app.commands.evidence import gather
from cutover_app.commands.output import output_option
from cutover_app.commands.render import exit_code, print_report
from cutover_app.commands.summary import summarise
from cutover_app.contract.load import load_contract


class report(CutoverCommand):  # noqa: N801 - the name of the command
    """Show what the run has found, and whether it is fine.

    Families of findings with counts and samples, the books, the frontiers, and the conclusion with its reasons. All
    of it is read from Kafka, so this works from anywhere and at any time.

    Exit code: 0 fine, 1 problems, 2 usage or contract, 3 cannot tell, 4 failed.
    """

    options = [output_option(), contract_option()]  # noqa: RUF012 - as Faust has it

    async def run(self, **options: Any) -> int:
        """Read, sum up, print."""
        contract = load_contract(options["contract_file"])
        found = summarise(await gather(contract, hash_of(contract)))
        print_report(found, options["output"])
        return exit_code(found)
