"""The permissions of a run as lines for a shell, and as JSON."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Final

import msgspec

from cutover_app.contract.models import Contract, Mirror
from cutover_app.kafka.acls import LEGACY, ROLES, Acl, acls_of
from cutover_app.kafka.settings import Broker

VERSION: Final = 1
"""Version of the JSON form."""

_HEAD: Final = (
    "# The least that contract {contract}, run {run} needs, in lines for Kafka's own tool. Before running them set",
    "# SETUP, WORKER, READER and RESET to the names of the users (the same one may have several roles), and",
    "# ADMIN (on the legacy cluster: LEGACY_ADMIN) to the client configuration of somebody who may do this.",
)


def acls_json(contract: Contract) -> dict[str, Any]:
    """Return the JSON form."""
    acls = msgspec.to_builtins(acls_of(contract))
    return {"v": VERSION, "contract": contract.contract, "run": contract.run, "acls": acls}


def acls_lines(contract: Contract) -> list[str]:
    """Return lines of `kafka-acls`, role by role, each under its reason."""
    lines = [line.format(contract=contract.contract, run=contract.run) for line in _HEAD]
    for role in ROLES:
        lines += ["", f"# {role}"]
        mine = [each for each in acls_of(contract) if each.role == role]
        for _, group in groupby(mine, _place):
            lines += _line(contract, list(group))
    return lines


def _place(acl: Acl) -> tuple[str, ...]:
    return acl.cluster, acl.resource, acl.pattern, acl.name


def _line(contract: Contract, acls: Sequence[Acl]) -> Iterable[str]:
    acl = acls[0]
    admin = "LEGACY_ADMIN" if acl.cluster == LEGACY else "ADMIN"
    operations = " ".join(f"--operation {each.operation}" for each in acls)
    yield f"#   {'; '.join(dict.fromkeys(each.why for each in acls))}"
    yield (
        f'kafka-acls --bootstrap-server {_servers(contract, acl)} --command-config "${admin}" --add '
        f'--allow-principal "User:${acl.role.upper()}" {operations} '
        f"--{acl.resource} {acl.name} --resource-pattern-type {acl.pattern}"
    )


def _servers(contract: Contract, acl: Acl) -> str:
    legacy, address = contract.legacy, contract.broker
    if acl.cluster == LEGACY:
        address = legacy.mirror.broker if isinstance(legacy.mirror, Mirror) else legacy.broker or address
    return ",".join(Broker.parse(address).servers)
