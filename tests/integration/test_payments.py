"""A contract of another domain: nested lists, a Python hook that makes several messages, and a key of two fields."""

from collections import Counter

import pytest

from cutover_app.lab.cluster import Cluster
from tests.integration import payments
from tests.integration.helpers import Judged, judge


@pytest.fixture(scope="module")
def judged(kafka: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """All payments, judged in one run."""
    contract = payments.contract(tmp_path_factory.mktemp("payments"), "pay")
    return judge(kafka, contract, *payments.records(), payments.PARTITIONS)


def test_every_defect_is_found_and_nothing_else(judged: Judged) -> None:
    """Each planted defect has its verdict, on the right key and at the right path, and there is no other."""
    payments.assert_every_defect_found(judged)


def test_a_hook_that_fails_is_a_verdict_without_what_it_said(judged: Judged) -> None:
    """A hook that raises or returns nonsense leads to one verdict each, whose reason shows no value."""
    payments.assert_failures_show_nothing(judged)


def test_the_run_equals_the_oracle_and_its_books_balance(judged: Judged) -> None:
    """Several messages per record and per key are all accounted for; what the hook filters is no message."""
    assert judged.findings.wrong == []
    assert judged.findings.entries[0] == payments.entries()


def test_verdicts_are_counted_once(judged: Judged) -> None:
    """Every problem is one verdict id."""
    assert Counter(judged.findings.outcomes)["mismatch"] == 3
