"""Whatever a record contains is a verdict with side, position and reason; it never stops the worker.

All records go through one run of one worker.
"""

import json

import pytest

from cutover_app.lab.cluster import Cluster
from tests.integration.bad_input import CASES, PARTITIONS, assert_said, records, settings
from tests.integration.helpers import Judged, judge, write


@pytest.fixture(scope="module")
def judged(kafka: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """All cases, judged in one run."""
    return judge(kafka, write(tmp_path_factory.mktemp("bad"), settings("bad")), *records(), PARTITIONS)


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_a_verdict(judged: Judged, name: str) -> None:
    """If a record is like this, exactly these verdicts are published, each with side, position and reason."""
    assert_said(judged, name)


def test_the_run_equals_the_oracle_and_its_books_balance(judged: Judged) -> None:
    """Of all these records together, nothing is lost, nothing else is said, and a replay says the same."""
    assert judged.findings.wrong == []


def test_reasons_and_verdicts_show_no_sensitive_value(judged: Judged) -> None:
    """A sensitive value that differs is masked in the verdict, whatever its size."""
    shown = json.dumps([str(each) for each in judged.findings.verdicts.values()])

    assert "xxxx" not in shown
    assert "yyyy" not in shown
    assert "xxxx" not in judged.log


def test_sigterm_is_answered_within_10_seconds(judged: Judged) -> None:
    """A worker that is told to stop checkpoints, leaves the group, and is gone."""
    assert judged.stop_s < 10
    assert "Traceback" not in judged.log
