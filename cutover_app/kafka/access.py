"""What we may do on a cluster, as the cluster itself says: asked before the work begins, and again and again during it.

Some clients never tell that they were refused: Faust's consumer goes on asking for ever. So a worker does not wait for
an error to come its way. Brokers answer for each topic and group which operations the one who asks is authorised for
(KIP-430), and that is held against the list of what the role needs (`acls.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka.errors import GroupAuthorizationFailedError, NoError, TopicAuthorizationFailedError, for_code
from aiokafka.protocol.admin import DescribeGroupsRequest_v3, DescribeGroupsResponse_v3
from aiokafka.protocol.api import Request

from cutover_app.contract.models import Contract
from cutover_app.kafka.acls import GROUP, IMPLYING_DESCRIBE, TOPIC, WORK, Acl, acls_of, sources_of
from cutover_app.kafka.cluster import Cluster
from cutover_app.kafka.errors import ACLS_HINT, AccessRefused
from cutover_app.kafka.protocol import TopicMetadataRequest
from cutover_app.kafka.topics import app_id_of, internal_specs

OPERATIONS: Final[Mapping[str, int]] = {
    "Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Alter": 7, "Describe": 8, "DescribeConfigs": 10,
}  # fmt: skip
"""The bits of Kafka's bit field of operations."""

_UNKNOWN: Final = -(2**31)
"""What a broker says that does not tell."""


class _GroupOperationsV3(DescribeGroupsRequest_v3):  # type: ignore[misc] # aiokafka is not typed
    """aiokafka decodes the answer as that of version 2, without the operations."""

    RESPONSE_TYPE = DescribeGroupsResponse_v3


class _GroupOperations(Request[_GroupOperationsV3]):  # type: ignore[misc] # aiokafka is not typed
    API_KEY = 15

    def __init__(self, group: str) -> None:
        self._group = group

    def build(self, request_struct_class: type[_GroupOperationsV3]) -> Any:
        return request_struct_class([self._group], True)


def needs_of(contract: Contract, role: str) -> list[Acl]:
    """Return what a role needs on the work cluster."""
    return [each for each in acls_of(contract) if each.role == role and each.cluster == WORK]


async def check_access(cluster: Cluster, contract: Contract, role: str) -> None:
    """Raise `AccessRefused`, with everything that is missing, unless a role may do on the work cluster what it must.

    Topics that do not exist are passed over, and so are transactional ids, of which brokers do not tell: both are found
    out by the first request.
    """
    needs = needs_of(contract, role)
    topics = [*sources_of(contract), *(spec.name for spec in internal_specs(contract))]
    allowed = await _topics(cluster, [name for name in topics if any(each.covers(TOPIC, name) for each in needs)])
    allowed[GROUP, app_id_of(contract)] = await _group(cluster, app_id_of(contract))
    if lines := missing(needs, allowed):
        raise AccessRefused(f"access denied on {cluster.servers}: {cluster.who} needs {'; '.join(lines)}: {ACLS_HINT}")


def missing(needs: Sequence[Acl], allowed: Mapping[tuple[str, str], int]) -> list[str]:
    """Return what is needed and not allowed; `allowed` maps (resource, name) to a bit field of operations."""
    return [
        f"{operation} on {'consumer group' if resource == GROUP else resource} {name}"
        for (resource, name), bits in allowed.items()
        if bits != _UNKNOWN
        for operation in sorted({each.operation for each in needs if each.covers(resource, name)})
        if not _has(bits, operation)
    ]


def _has(bits: int, operation: str) -> bool:
    operations = {operation} | (IMPLYING_DESCRIBE if operation == "Describe" else set())
    return any(bits & 1 << OPERATIONS[each] for each in operations)


async def _topics(cluster: Cluster, names: Iterable[str]) -> dict[tuple[str, str], int]:
    answer = await cluster.ask(TopicMetadataRequest(sorted(names), operations=True))
    found = {}
    for code, name, _id, _internal, _partitions, operations, *_rest in answer.topics:
        error = for_code(code)
        if error is TopicAuthorizationFailedError:
            found[TOPIC, name] = 0
        elif error is NoError:
            found[TOPIC, name] = operations
    return found


async def _group(cluster: Cluster, group: str) -> int:
    def read(answer: Any) -> int:
        [(code, *_more, operations)] = answer.groups
        error = for_code(code)
        if error is not NoError:
            raise error(group)
        return int(operations)

    try:
        return await cluster.ask_coordinator(group, _GroupOperations(group), read)
    except GroupAuthorizationFailedError:
        return 0
