"""Nothing that must not be shown is shown by a worker and the commands beside it (rule R13), on a real broker.

Searched are the verdicts topic as its bytes are, the worker's log with all it printed, and both outputs of `report`
and `plan` for people and for programs. Intake and tables hold whole messages and are not searched.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cutover_app.core.verdicts import FINE, encode_verdict
from cutover_app.lab.cluster import Cluster
from cutover_app.lab.evidence import read_topic
from cutover_app.lab.fleet import run_command
from tests import canaries
from tests.integration.helpers import SHORT, Judged, Sent, judge, write

CONTRACT: dict[str, Any] = {
    "contract": "canaries",
    "run": "hidden",
    "broker": "kafka://localhost:9092",
    "legacy": {"topic": "hidden.legacy"},
    "rebuilt": {"topic": "hidden.rebuilt"},
    "match": {"key": ["order_id"]},
    "timing": SHORT,
    "rebuild": {"python": "hidden_orders:rebuild"},
    "compare": canaries.COMPARE,
    "sensitive": canaries.SENSITIVE,
    "sealed": canaries.HOOK_SEALED,
    "intake": {"partitions": 3},
    "verdicts": {"topic": "hidden.verdicts"},
}
PLANTED = [*canaries.orders(), *canaries.hooked()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Contract and hook."""
    folder = tmp_path_factory.mktemp("hidden")
    (folder / "hidden_orders.py").write_text(canaries.HOOK)
    write(folder, CONTRACT)
    return folder


@pytest.fixture(scope="module")
def judged(kafka: Cluster, folder: Path) -> Judged:
    """All planted records, judged in one run."""
    sides = [
        [Sent(each.value, each.key, headers=each.headers) for each in side if each is not None]
        for side in ([expected for expected, _, _ in PLANTED], [actual for _, actual, _ in PLANTED])
    ]
    return judge(kafka, folder / "cutover.yaml", *sides, (1, 1))


def test_every_planted_fault_is_found(judged: Judged) -> None:
    """The run says what the oracle says, its books balance, and each kind that was planted is found."""
    assert judged.findings.wrong == []
    wrong = [each for each in judged.findings.verdicts.values() if each.outcome not in FINE]
    found = {finding.kind for verdict in wrong for finding in verdict.findings}
    assert {kind for _, _, kind in PLANTED} - {""} <= found


def test_no_canary_in_verdicts_and_log(judged: Judged, kafka: Cluster) -> None:
    """Keys, values and headers of the verdicts topic, and everything that the worker printed."""

    async def contents() -> list[bytes]:
        data = []
        async for records in read_topic(kafka.bootstrap, CONTRACT["verdicts"]["topic"]):
            for record in records:
                data += [record.key or b"", record.value or b"", repr(record.headers).encode()]
        return data

    written = asyncio.run(contents())
    assert len(written) >= 3 * len([kind for _, _, kind in PLANTED if kind])
    assert canaries.seen(b"\n".join(written)) == []
    assert canaries.seen(b"\n".join(map(encode_verdict, judged.findings.verdicts.values()))) == []
    assert len(judged.log) > 100
    assert canaries.seen(judged.log) == []


@pytest.mark.parametrize(
    "command", [["report"], ["report", "--output", "json"], ["plan"], ["plan", "--output", "json"]]
)
def test_no_canary_in_the_commands(judged: Judged, kafka: Cluster, folder: Path, command: list[str]) -> None:
    """Standard output and standard error of the commands that read the run."""
    done = run_command(command, folder / "cutover.yaml", kafka.bootstrap)

    assert done.returncode in {0, 1, 3}, done.stderr
    assert "hidden" in done.stdout
    assert canaries.seen(done.stdout + done.stderr) == []
