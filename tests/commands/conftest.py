"""Fixtures of the commands' tests."""

import pytest

from tests.commands.helpers import Runner


@pytest.fixture
def cutover(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    """Return a function that runs `cutover ...` and returns exit code and output."""
    for name in ("CUTOVER_CONTRACT", "CUTOVER_BROKER", "CUTOVER_DATADIR", "CUTOVER_HMAC_KEY"):
        monkeypatch.delenv(name, raising=False)
    return Runner(monkeypatch, capsys)
