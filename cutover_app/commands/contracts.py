"""How our commands find their contract."""

from typing import Any

import click
from faust.cli.base import option

from cutover_app.contract.compile import compile_contract, rules_of, show_of
from cutover_app.contract.errors import ContractError
from cutover_app.contract.keys import key_shower
from cutover_app.contract.load import FILE_DEFAULT, FILE_ENV
from cutover_app.contract.models import Contract
from tables.showing import ShowKey


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


def order_option() -> Any:
    """Return the option that names an order key."""
    return option(
        "--order",
        metavar="K2",
        default=None,
        show_default=False,
        help="The order key, where the contract's order.by is not its match.key: it says which partition to read.",
    )


def hash_of(contract: Contract) -> str:
    """Return the rules hash; empty where the contract's Python function is not, as it need not be where people look."""
    try:
        return compile_contract(contract).rules
    except ContractError:
        return ""


def shower_of(contract: Contract) -> ShowKey:
    """Return what shows match keys as the contract allows it; its Python function need not be here."""
    return key_shower(contract, rules_of(contract), show_of())
