"""Errors about permissions and credentials, in words."""

import pytest
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaError,
    NodeNotReadyError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from cutover_app.kafka.errors import AccessRefused
from cutover_app.kafka.refusal import denied
from cutover_app.kafka.tokens import TokenUnavailable


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TopicAuthorizationFailedError("orders"), "topic orders: expected the permissions"),
        (TopicAuthorizationFailedError({"b", "a"}), "topic a, b: expected the permissions"),
        (GroupAuthorizationFailedError("g"), "consumer group g: expected the permissions"),
        (TransactionalIdAuthorizationFailed("t"), "transactional id t: expected the permissions"),
        (ClusterAuthorizationFailedError(), "cluster: expected the permissions"),
        (SaslAuthenticationFailed("hunter2"), "refused our credentials: see security.sasl"),
        (IllegalSaslStateError(), "refused our credentials: see security.sasl"),
        (TokenUnavailable("security.sasl.token: gone"), "security.sasl.token: gone"),
        (AccessRefused("a line"), "a line"),
    ],
)
def test_refusals_are_recognised_behind_other_errors(error: Exception, said: str) -> None:
    """What was refused is named, also where something else was raised because of it; what servers say is not shown."""
    for raised in (error, _because_of(error)):
        line = denied(raised)
        assert line is not None
        assert said in line
        assert "hunter2" not in line


def _because_of(error: Exception) -> Exception:
    try:
        raise RuntimeError("the checkpoint failed") from error
    except RuntimeError as raised:
        return raised


@pytest.mark.parametrize("error", [NodeNotReadyError(), KafkaError("x"), TimeoutError(), ValueError("TopicAuth")])
def test_other_errors_are_no_refusals(error: Exception) -> None:
    """A broker that is away is not taken for one that refuses: a worker lives through the one and not the other."""
    assert denied(error) is None


def test_causes_that_lead_in_a_circle_come_to_an_end() -> None:
    """Two errors that are each other's cause are looked at once."""
    first, second = KafkaError("a"), KafkaError("b")
    first.__cause__, second.__cause__ = second, first
    assert denied(first) is None
