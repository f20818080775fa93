"""Contracts and records for tests, with as little around them as can be."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cutover_app.contract.compile import Compiled, compile_contract
from cutover_app.contract.load import load_contract, parse_contract
from cutover_app.contract.models import Contract
from cutover_app.core.frames import Entry

HEAD = """
contract: orders
broker: kafka://localhost:9092
legacy: {topic: shop.orders}
rebuilt: {topic: orders.v2}
"""
MATCH = "match: {key: [id]}\n"


@dataclass
class Record:
    """A source record."""

    value: bytes | None
    offset: int = 1
    timestamp: int | None = 1_760_000_000_000
    timestamp_type: int | None = 0
    key: bytes | None = b"k"
    headers: tuple[tuple[str, bytes | None], ...] = ()


def record(value: Any, **more: Any) -> Record:
    """Make a record of a JSON value, or of bytes as they are."""
    data = value if isinstance(value, bytes | None) else json.dumps(value).encode()
    return Record(data, **more)


def contract(rest: str, *, head: str = HEAD + MATCH) -> Contract:
    """Read a contract of a head and what a test is about."""
    return parse_contract(head + rest, "cutover.yaml", {})


def compiled(rest: str, *, head: str = HEAD + MATCH, env: dict[str, str] | None = None) -> Compiled:
    """Compile a contract of a head and what a test is about."""
    return compile_contract(contract(rest, head=head), env or {})


def with_hook(folder: Path, name: str, source: str, rest: str = "") -> Compiled:
    """Compile a contract whose rebuild is the function `rebuild` of a module with this source."""
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    file = folder / "cutover.yaml"
    text = f'{HEAD}{MATCH}rebuild: {{python: "{name}:rebuild"}}\n{rest}'
    file.write_text(text, encoding="utf-8")
    return compile_contract(load_contract(file, {}), {})


def rebuilt(rest: str, legacy: Any) -> Any:
    """Return the message that a mapping makes, holes left out."""
    (entry,) = compiled(rest).rebuild(record(legacy))
    return shown(entry)


def shown(entry: Entry) -> Any:
    """Return the payload of an entry as Python values."""
    assert entry.kind == 0, entry.payload
    return json.loads(entry.payload)


def holes(rest: str, legacy: Any) -> list[Any]:
    """Return the holes that a mapping leaves."""
    (entry,) = compiled(rest).rebuild(record(legacy))
    assert entry.kind == 0, entry.payload
    return list(json.loads(entry.beside)["holes"]) if entry.beside else []
