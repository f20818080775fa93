"""The distribution owns the names that it is imported by, and brings what it needs."""

from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import agents
import cutover_app
import tables

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("package", [agents, cutover_app, tables], ids=lambda package: package.__name__)
def test_packages_are_ours(package: object) -> None:
    """`tables` (PyTables) and `agents` (an SDK) are generic names: in this environment they are this project's."""
    file = getattr(package, "__file__", None)

    assert file is not None
    assert Path(file).is_relative_to(ROOT)


def test_no_other_distribution_claims_them() -> None:
    """No other installed distribution would be shadowed, or shadow us."""
    claimed = packages_distributions()

    assert all(set(claimed.get(name, ["cutover"])) == {"cutover"} for name in ("agents", "cutover_app", "tables"))


@pytest.mark.parametrize(
    "name",
    ["contract/reference.yaml", "contract/schema.json", "lab/pom.xml", "lab/contracts/orders.yaml", "py.typed"],
)
def test_data_files_are_there(name: str) -> None:
    """What is read at run time lies beside the code that reads it."""
    assert (ROOT / "cutover_app" / name).is_file()
