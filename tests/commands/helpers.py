"""What the tests of the commands share: a small contract, its messages, and a way to run a command."""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cutover_app.commands import cli

CONTRACT = """\
contract: orders
run: {run}
broker: {broker}
legacy: {{topic: {legacy}}}
rebuilt: {{topic: {rebuilt}}}
match: {{key: [order_id]}}
timing: {{grace: 4s, remember: 1h}}
rebuild:
  order_id: id
  total: {{from: amount, as: decimal}}
  phone: tel
  status: {{from: st, map: {{P: PAID}}}}
compare:
  ignore:
    - {{path: $.trace, reason: new, until: "2020-01-31"}}
sensitive: [$.phone]
intake: {{partitions: {partitions}}}
verdicts: {{topic: {verdicts}}}
"""

DEFAULTS = {
    "run": "r1",
    "broker": "kafka://127.0.0.1:1",
    "legacy": "shop.orders",
    "rebuilt": "orders.v2",
    "partitions": "1",
    "verdicts": "cutover.verdicts",
}


def write_contract(folder: Path, **settings: str) -> Path:
    path = folder / "contract.yaml"
    path.write_text(CONTRACT.format(**DEFAULTS | settings))
    return path


def legacy(number: int, **changed: Any) -> dict[str, Any]:
    return {"id": f"o{number}", "amount": "12.50", "tel": "010-1234", "st": "P"} | changed


def rebuilt(number: int, **changed: Any) -> dict[str, Any]:
    return {"order_id": f"o{number}", "total": 12.5, "phone": "010-1234", "status": "PAID"} | changed


def write_lines(path: Path, *lines: Any) -> Path:
    """Write lines; text as it is, anything else as JSON."""
    path.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in lines))
    return path


def envelope(topic: str, partition: int, offset: int, payload: Any, **more: Any) -> dict[str, Any]:
    """Return what kcat -J writes for a record."""
    text = payload if payload is None or isinstance(payload, str) else json.dumps(payload)
    return {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "tstype": "create",
        "ts": 1_760_000_000_000,
        "broker": 1,
        "key": None,
        "payload": text,
    } | more


class Result(NamedTuple):
    code: int
    out: str
    err: str

    def json(self) -> dict[str, Any]:
        """Return the JSON document on standard output."""
        return json.loads(self.out)


class Runner:
    """Runs `cutover ...` in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Result:
        """Run one command to its end."""
        self._monkeypatch.setattr(sys, "argv", ["cutover", *map(str, arguments)])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = self._capsys.readouterr()
        return Result(int(ended.value.code or 0), out, err)
