"""How our commands find their contract."""

from typing import Any

import click
from faust.cli.base import option

from cutover_app.contract.load import FILE_DEFAULT, FILE_ENV


def contract_option() -> Any:
    """Return the option that names the contract file."""
    return option(
        "--contract",
        "contract_file",
        metavar="FILE",
        type=click.Path(),
        default=None,
        show_default=False,
        help=f"Contract file (else what {FILE_ENV} names, else {FILE_DEFAULT}).",
    )
