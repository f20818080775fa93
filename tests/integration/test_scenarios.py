"""The shop's scenario under the loadings that a release has to pass, at a size for every day.

The run through a mirror is in `test_bad_input_mirrored.py`. The same plans with 300,000 pairs are run by
`make acceptance`.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import pytest

from cutover_app.lab.cluster import Cluster
from cutover_app.lab.faults import KINDS
from cutover_app.lab.run import Result, RunPlan, run
from tests.integration.helpers import daily_plans

TOGETHER: Final = 3
"""Runs at a time, so that the starts of some fall into the waits of others."""


async def _run_all(cluster: Cluster) -> dict[str, Result | BaseException]:
    turns = asyncio.Semaphore(TOGETHER)

    async def one(plan: RunPlan) -> Result:
        async with turns:
            return await run(plan, cluster)

    wanted = daily_plans()
    results = await asyncio.gather(*map(one, wanted), return_exceptions=True)
    return dict(zip((plan.name for plan in wanted), results, strict=True))


@pytest.fixture(scope="module")
def results(kafka: Cluster) -> Mapping[str, Result | BaseException]:
    """All plans, carried out beside each other on one broker."""
    return asyncio.run(_run_all(kafka))


@pytest.mark.slow
@pytest.mark.parametrize("name", [plan.name for plan in daily_plans()])
def test_a_run_is_right(results: Mapping[str, Result | BaseException], name: str) -> None:
    """Verdicts equal the oracle, all that was planted is found and nothing else, books balance, a replay agrees."""
    result = results[name]

    assert isinstance(result, Result), result
    print("\n".join(result.lines()))
    assert result.wrong == []
    assert all(row.planted == row.found > 0 and not row.false for row in result.findings.judgement.rows)
    assert {row.kind for row in result.findings.judgement.rows} == set(KINDS)
