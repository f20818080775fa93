"""The least permissions, as data."""

import pytest

from cutover_app.commands.acls import acls_json, acls_lines
from cutover_app.contract import load
from cutover_app.contract.models import Contract
from cutover_app.kafka.access import OPERATIONS, missing, needs_of
from cutover_app.kafka.acls import GROUP, LEGACY, OPERATOR, READER, RESET, ROLES, SETUP, TOPIC, WORKER, acls_of
from tests.contract.helpers import HEAD, MATCH

TEXT = HEAD + MATCH + "rebuild: {id: ordId}\n"
SOURCES = {"shop.orders", "orders.v2", "orders.original"}
READING = {"Read", "Describe", "DescribeConfigs"}
MIRROR = "{topic: shop.orders, mirror: {broker: 'kafka://l:1', topic: orders.original, offsets: connect-offsets}}"
PLACES = ["{topic: shop.orders}", MIRROR, "{topic: shop.orders, broker: 'kafka://l:1'}"]


@pytest.fixture
def contracts(monkeypatch: pytest.MonkeyPatch) -> list[Contract]:
    """The legacy topic produced here, mirrored, and on its own cluster."""
    monkeypatch.setattr(load, "_unsupported", lambda *_: ())
    return [load.parse_contract(TEXT.replace(PLACES[0], place), "c", {}) for place in PLACES]


def test_nobody_may_change_a_source(contracts: list[Contract]) -> None:
    """No role gets more than reading on a source topic, by name or by prefix, and none anything of the cluster."""
    for contract in contracts:
        acls = acls_of(contract)
        assert {acl.role for acl in acls} == set(ROLES)
        assert {acl.resource for acl in acls} <= {"topic", "group", "transactional-id"}
        for acl in acls:
            if any(acl.covers(TOPIC, source) for source in SOURCES):
                assert acl.operation in READING
            assert acl.name not in {"", "*"}
            assert acl.why


def test_only_setup_creates_and_only_reset_deletes(contracts: list[Contract]) -> None:
    """Creating and deleting are apart from the daily work, and nobody changes settings or permissions."""
    for contract in contracts:
        asked = {(acl.role, acl.operation) for acl in acls_of(contract)}
        assert {role for role, operation in asked if operation == "Create"} == {SETUP}
        assert {role for role, operation in asked if operation == "Delete"} == {RESET}
        assert {role for role, operation in asked if operation == "Write"} == {WORKER, OPERATOR, RESET}
        assert {operation for role, operation in asked if role == READER} <= READING
        assert {"Alter", "AlterConfigs", "ClusterAction", "IdempotentWrite"}.isdisjoint(op for _, op in asked)


def test_the_other_cluster_has_permissions_of_its_own(contracts: list[Contract]) -> None:
    """A mirror is proven there, and by its offsets topic here; a topic that is read there is not asked for here."""
    plain, mirrored, direct = (acls_of(contract) for contract in contracts)
    assert [acl for acl in plain if acl.cluster == LEGACY] == []
    assert {(acl.name, acl.operation) for acl in mirrored if acl.cluster == LEGACY} == {("orders.original", "Read")}
    assert [acl.operation for acl in mirrored if acl.name == "connect-offsets"] == ["Read"]
    assert {acl.cluster for acl in direct if acl.name == "shop.orders"} == {LEGACY}


def test_lines_for_kafkas_own_tool(contracts: list[Contract]) -> None:
    """Each resource is one line for `kafka-acls`, whose operations are all that the role needs of it."""
    lines = acls_lines(contracts[1])
    assert (
        'kafka-acls --bootstrap-server localhost:9092 --command-config "$ADMIN" --add --allow-principal "User:$WORKER" '
        "--operation Read --operation Write --operation DescribeConfigs --topic cutover-orders-r1- "
        "--resource-pattern-type prefixed"
    ) in lines
    assert (
        'kafka-acls --bootstrap-server l:1 --command-config "$LEGACY_ADMIN" --add --allow-principal "User:$WORKER" '
        "--operation Read --topic orders.original --resource-pattern-type literal"
    ) in lines
    assert len(acls_json(contracts[1])["acls"]) == len(acls_of(contracts[1]))


def test_what_is_missing(contracts: list[Contract]) -> None:
    """A bit field is held against what is needed; reading implies describing; silence of a broker is no refusal."""
    needs = needs_of(contracts[0], WORKER)
    read = 1 << OPERATIONS["Read"]
    group = (GROUP, "cutover-orders-r1")
    assert missing(needs, {(TOPIC, "orders.v2"): read, group: read}) == []
    assert missing(needs, {(TOPIC, "orders.v2"): 1 << OPERATIONS["Describe"], group: 0}) == [
        "Read on topic orders.v2",
        "Read on consumer group cutover-orders-r1",
    ]
    assert missing(needs, {(TOPIC, "cutover-orders-r1-intake"): read}) == [
        "DescribeConfigs on topic cutover-orders-r1-intake",
        "Write on topic cutover-orders-r1-intake",
    ]
    assert missing(needs, {(TOPIC, "orders.v2"): -(2**31)}) == []
    assert missing(needs_of(contracts[0], READER), {(TOPIC, "orders.v2"): read}) == []
