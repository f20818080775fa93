"""Whole runs whose legacy side comes through a real MirrorMaker 2, from a cluster of its own: bad input above all.

The mirror has to be proven in all of them. What must be said is what is said where both producers publish on one
cluster: rows and checks are those of `test_bad_input.py`, `test_payments.py` and `test_scenarios.py`. The payments,
whose records have headers, come through a second MirrorMaker 2 that damages them. The runs are carried out beside each
other.
"""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from cutover_app.lab.cluster import Cluster
from cutover_app.lab.faults import KINDS
from cutover_app.lab.fleet import run_command
from cutover_app.lab.mirror import Mirror
from cutover_app.lab.resent import SENT_AGAIN
from cutover_app.lab.run import Result, run
from tests.integration import bad_input, payments
from tests.integration.helpers import Judged, daily_plans, judging, write


@pytest.fixture(scope="module")
def runs(kafka: Cluster, mirror: Mirror, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Any]]:
    """What came of each run, its failure too, so that each test fails by what it is about."""
    damaging = Mirror(
        mirror.legacy,
        mirror.work,
        alias="connect",
        names="default",
        headers="damaged",
        settings={"topics": "lab.probe.connect, damaged.legacy"},
    )

    async def judge_bad_input() -> Judged:
        contract = write(tmp_path_factory.mktemp("bad"), bad_input.settings("mirrored-bad"), mirror)
        return await judging(kafka, contract, *bad_input.records(), bad_input.PARTITIONS, mirror)

    async def judge_payments() -> tuple[Judged, str]:
        await asyncio.to_thread(damaging.start)
        contract = payments.contract(tmp_path_factory.mktemp("payments"), "damaged", damaging)
        judged = await judging(kafka, contract, *payments.records(), payments.PARTITIONS, damaging)
        plan = await asyncio.to_thread(run_command, ["plan"], contract, kafka.bootstrap)
        return judged, plan.stdout + plan.stderr

    async def judge_scenario() -> Result:
        (plan,) = daily_plans(mirrored=True)
        return await run(plan, kafka, mirror=mirror)

    async def all_of_it() -> dict[str, Any]:
        names = ("bad", "payments", "scenario")
        each = (judge_bad_input(), judge_payments(), judge_scenario())
        return dict(zip(names, await asyncio.gather(*each, return_exceptions=True), strict=True))

    try:
        yield asyncio.run(all_of_it())
    finally:
        damaging.kill()


def result(runs: Mapping[str, Any], name: str) -> Any:
    if isinstance(runs[name], BaseException):
        raise runs[name]
    return runs[name]


@pytest.fixture
def bad(runs: Mapping[str, Any]) -> Judged:
    """The bad input."""
    return result(runs, "bad")


@pytest.fixture
def damaged(runs: Mapping[str, Any]) -> tuple[Judged, str]:
    """The payments, through the mirror that damages headers, and what `plan` says."""
    return result(runs, "payments")


@pytest.mark.parametrize("name", bad_input.CASES)
def test_bad_input_is_the_same_verdict_through_a_mirror(bad: Judged, name: str) -> None:
    """If a record is like this, exactly the verdicts are published that are published on one cluster."""
    bad_input.assert_said(bad, name)


def test_bad_input_through_a_mirror_equals_the_oracle_and_its_books_balance(bad: Judged) -> None:
    """Nothing is lost on the way, nothing else is said, and a replay says the same."""
    assert_right(bad)


def test_damaged_headers_are_no_finding(damaged: tuple[Judged, str]) -> None:
    """If the mirror writes headers as Base64 text, exactly what was planted is found, hooks that fail included."""
    judged, _ = damaged

    assert_right(judged)
    assert judged.findings.entries[0] == payments.entries() + len(judged.again)
    payments.assert_every_defect_found(judged)
    payments.assert_failures_show_nothing(judged)


def test_damaged_headers_are_reported_as_the_mirrors_doing(damaged: tuple[Judged, str]) -> None:
    """If the mirror writes headers as Base64 text, plan says so, with an example of it."""
    text = " ".join(damaged[1].split())

    assert "warning: the mirror writes the values of headers as Base64 text: partition" in text
    assert "and its copy in connect.damaged.legacy, offset" in text


def test_a_scenario_through_a_mirror_that_is_killed_is_right(runs: Mapping[str, Any]) -> None:
    """What was planted is found and nothing else is said; what was sent again is a duplicate, and nobody's fault."""
    judged: Result = result(runs, "scenario")

    print("\n".join(judged.lines()))
    assert judged.wrong == []
    assert all(row.planted == row.found > 0 and not row.false for row in judged.findings.judgement.rows)
    assert {row.kind for row in judged.findings.judgement.rows} - {SENT_AGAIN} == set(KINDS)


def assert_right(judged: Judged) -> None:
    """The run is right in itself; what the mirror sent again may be twice what it was, and is nobody's fault."""
    assert judged.findings.wrong == []
    for verdict in judged.about_again:
        assert verdict.outcome == "undecodable" or "transport" in verdict.findings[0].note
    assert "Traceback" not in judged.log
