"""Nothing that must not be shown is shown by `check`, whatever is wrong with the messages it is in."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import canaries
from tests.canaries import Published
from tests.commands.helpers import Runner, envelope, write_lines

HEAD: dict[str, Any] = {
    "contract": "canaries",
    "broker": "kafka://127.0.0.1:1",
    "legacy": {"topic": "old"},
    "rebuilt": {"topic": "new"},
    "match": {"key": ["order_id"]},
    "compare": canaries.COMPARE,
    "sensitive": canaries.SENSITIVE,
}


def _lines(topic: str, records: list[Published | None]) -> list[Any]:
    lines = []
    for offset, each in enumerate(record for record in records if record is not None):
        headers = [text for name, content in each.headers for text in (name, content.decode())]
        lines.append(envelope(topic, 0, offset, each.value.decode(), key=each.key.decode(), headers=headers))
    return lines


@pytest.mark.parametrize("rebuild", ["mapping", "hook"])
@pytest.mark.parametrize("form", [[], ["--output", "json"], ["--verdicts"], ["--verdicts", "--output", "json"]])
def test_no_canary_is_printed(cutover: Runner, tmp_path: Path, rebuild: str, form: list[str], monkeypatch: Any) -> None:
    """Report and verdicts, for people and for programs: every planted fault is found, and no canary is seen."""
    monkeypatch.setenv("CUTOVER_HMAC_KEY", "k")
    settings = HEAD | {"rebuild": canaries.MAPPING}
    planted = [*canaries.orders(), *canaries.mapped()]
    if rebuild == "hook":
        (tmp_path / "order_hook.py").write_text(canaries.HOOK)
        settings = HEAD | {"rebuild": {"python": "order_hook:rebuild"}, "sealed": canaries.HOOK_SEALED}
        planted = [*canaries.orders(), *canaries.hooked()]
    contract = tmp_path / "contract.yaml"
    contract.write_text(yaml.safe_dump(settings))
    old = write_lines(tmp_path / "old", *_lines("old", [each for each, _, _ in planted]))
    new = write_lines(tmp_path / "new", *_lines("new", [each for _, each, _ in planted]))

    result = cutover("check", "--contract", contract, "--legacy", old, "--rebuilt", new, *form)

    assert result.code == 1
    assert canaries.seen(result.out + result.err) == []
    kinds = {kind for _, _, kind in planted} - {""}
    assert [kind for kind in kinds if kind not in result.out + result.err] == []


def test_the_search_sees_canaries(tmp_path: Path) -> None:
    """The search itself: a canary is seen in each of its forms."""
    assert canaries.seen("x " + canaries.canary("a"))
    assert canaries.seen(canaries.canary("a").encode().hex())
    assert canaries.seen(canaries.canary("a")[::-1])
    for before in range(3):
        encoded = base64.b64encode(b"x" * before + canaries.canary("a").encode())
        assert canaries.seen(encoded)
    assert canaries.seen(json.dumps({"order": 1})) == []
