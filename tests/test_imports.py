"""Imports go one way, and what decides does no I/O (see ARCHITECTURE.md, "The rooms")."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LEVELS = {
    "cutover_app.core": 0,
    "cutover_app.codec": 1,
    "cutover_app.contract": 2,
    "cutover_app.mirror": 2,
    "cutover_app.gate": 2,
    "tables": 3,
    "cutover_app.kafka": 4,
    "cutover_app.runtime": 5,
    "agents": 6,
    "cutover_app.commands": 7,
    "cutover_app.web": 7,
    "cutover_app.lab": 8,
    "cutover_app.main": 9,
}
"""Who may import whom: from its own level's room, or from a lower level."""

PURE = ("cutover_app.core", "cutover_app.mirror", "cutover_app.gate")
FOREIGN_TO_DECISIONS = {
    "aiohttp", "aiokafka", "asyncio", "datetime", "faust", "logging", "mode", "os", "pathlib", "random", "rocksdict",
    "secrets", "socket", "subprocess", "threading", "time", "uuid",
}  # fmt: skip
"""Clocks, randomness and I/O; a decision that needs one of them gets it as an argument."""

ALLOWED = {("cutover_app", "cutover_app.main"), ("cutover_app.__main__", "cutover_app.commands")}
"""`cutover_app.app` is looked up lazily; `python -m cutover_app` is the command line."""


def sources() -> list[Path]:
    """Every module of the distribution."""
    return sorted(path for room in ("cutover_app", "agents", "tables") for path in (ROOT / room).rglob("*.py"))


def module_of(path: Path) -> str:
    """The dotted name of a file."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, wherever it stands, type-checking blocks apart."""
    tree = ast.parse(path.read_text())
    skipped = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def room_of(module: str) -> str | None:
    """The room that a module is in, None for foreign ones."""
    return next((room for room in LEVELS if module == room or module.startswith(f"{room}.")), None)


@pytest.mark.parametrize("path", sources(), ids=module_of)
def test_imports_go_one_way(path: Path) -> None:
    """No module imports from a room of a higher level, or from another room of its own level."""
    module = module_of(path)
    room = room_of(module)
    wrong = []
    for name in imported(path):
        other = room_of(name)
        if other is None or other == room or (module, other) in ALLOWED:
            continue
        if room is None or LEVELS[other] >= LEVELS[room]:
            wrong.append(name)

    assert wrong == []


@pytest.mark.parametrize("path", [p for p in sources() if module_of(p).startswith(PURE)], ids=module_of)
def test_decisions_do_no_io(path: Path) -> None:
    """What decides imports no Faust, no Kafka, no clock, no randomness and no I/O."""
    roots = {name.partition(".")[0] for name in imported(path)}

    assert roots & FOREIGN_TO_DECISIONS == set()


def test_only_the_composition_root_is_the_app() -> None:
    """`app` is made in one module, so that nobody runs a worker that lacks half of its agents."""
    makers = [
        module_of(path) for path in sources() if "= _load()" in path.read_text() or "= create_app(" in path.read_text()
    ]

    assert makers == ["cutover_app.main"]
