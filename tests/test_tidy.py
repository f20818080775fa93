"""The style that can be measured, measured."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


def python_files(*rooms: str) -> list[Path]:
    """Every Python file of these folders."""
    return sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))


def name_of(path: Path) -> str:
    """A file's path from the root."""
    return str(path.relative_to(ROOT))


OURS = python_files("cutover_app", "agents", "tables")
TESTS = python_files("tests")


@pytest.mark.parametrize("path", OURS + TESTS, ids=name_of)
def test_files_are_short(path: Path) -> None:
    """A file has a few hundred lines at most (files of tests may have more: they are lists)."""
    limit = FILE_LINES_MAX if path in OURS else 2 * FILE_LINES_MAX

    assert len(path.read_text().splitlines()) <= limit


@pytest.mark.parametrize("path", OURS, ids=name_of)
def test_functions_fit_a_screen(path: Path) -> None:
    """No function is longer than a screen."""
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, FUNCTION)]
    long = [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES_MAX]

    assert long == []


@pytest.mark.parametrize("path", [p for p in TESTS if p.name.startswith("test_")], ids=name_of)
def test_tests_state_their_claim(path: Path) -> None:
    """Every test says in its docstring what it claims."""
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, FUNCTION)]
    silent = [node.name for node in functions if node.name.startswith("test_") and not ast.get_docstring(node)]

    assert silent == []


def test_docker_is_no_package() -> None:
    """A `docker` package of ours would hide the Docker SDK from whoever runs from here."""
    assert not (ROOT / "docker" / "__init__.py").exists()
