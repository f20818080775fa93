"""A start that cannot go well ends at once, in one clear line and with the exit code that says whose fault it is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cutover_app.lab.cluster import Cluster
from cutover_app.lab.fleet import run_command
from tests.integration.helpers import SHORT, write

NOBODY = "127.0.0.1:1"
CONTRACT: Mapping[str, Any] = {
    "contract": "start-up",
    "broker": "kafka://localhost:9092",
    "legacy": {"topic": "start-up.legacy"},
    "rebuilt": {"topic": "start-up.rebuilt"},
    "match": {"key": ["id"]},
    "timing": SHORT,
    "rebuild": {"id": "no"},
    "verdicts": {"topic": "start-up.verdicts"},
}
COMMANDS = (["worker", "--without-web"], ["plan"])
"""One of Faust's and one of ours: they are started in two ways."""


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"grase": "30s"}, "unknown key"),
        ({"match": {"key": ["id["]}}, "match.key"),
        ({"rebuild": {"id": "no", "a.b": "x", "a": "y"}}, "a.b"),
    ],
    ids=["unknown key", "bad path", "two targets for one field"],
)
def test_a_bad_contract_is_one_line(tmp_path: Path, command: list[str], changed: dict[str, Any], said: str) -> None:
    """If the contract is wrong, any command says file, line and reason in one line and exits with 2."""
    contract = write(tmp_path, {**CONTRACT, **changed})

    done = run_command(command, contract, NOBODY)

    assert done.returncode == 2
    (line,) = _lines(done.stderr)
    assert str(contract) in line
    assert said in line
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_a_missing_contract_is_one_line(tmp_path: Path, command: list[str]) -> None:
    """If the contract file is not there, its name is said, and how to name another."""
    done = run_command(command, tmp_path / "none.yaml", NOBODY)

    assert done.returncode == 2
    (line,) = _lines(done.stderr)
    assert "none.yaml" in line
    assert "CUTOVER_CONTRACT" in line


@pytest.mark.parametrize("command", [["worker", "--without-web"], ["plan"], ["report"]], ids=lambda words: words[0])
def test_a_broker_that_is_not_there_is_one_line(tmp_path: Path, command: list[str]) -> None:
    """If no broker answers, its address is said in one line, without a traceback, and the exit code is 4."""
    done = run_command(command, write(tmp_path, CONTRACT), NOBODY, cwd=tmp_path)

    assert done.returncode == 4
    assert "Traceback" not in done.stdout + done.stderr
    (line,) = [each for each in _lines(done.stderr) if each.startswith("cutover: ")]
    assert NOBODY in line


@pytest.mark.kafka
def test_a_topic_that_does_not_exist_is_one_line(kafka: Cluster, tmp_path: Path) -> None:
    """If a source topic is not there, the worker names it, exits with 4, and has created nothing."""
    contract = write(tmp_path, CONTRACT)

    done = run_command(["worker", "--without-web"], contract, kafka.bootstrap, cwd=tmp_path)

    assert done.returncode == 4
    assert "Traceback" not in done.stdout + done.stderr
    (line,) = [each for each in _lines(done.stderr) if each.startswith("cutover: ")]
    assert "start-up.legacy" in line
