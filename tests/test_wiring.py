"""The composition root wires everything, and says so when something is absent."""

from pathlib import Path

import pytest

from cutover_app.contract.compile import compile_contract
from cutover_app.contract.load import load_contract
from cutover_app.core.rows import TABLES as ROW_TABLES
from cutover_app.runtime.app import CutoverApp, check_wiring
from cutover_app.runtime.datadir import TABLES_PLACE
from cutover_app.runtime.fatal import FatalError
from tables import TABLES

CONTRACT = Path(__file__).parents[1] / "cutover.yaml"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> CutoverApp:
    """The worker of the demo's contract, not started."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUTOVER_CONTRACT", str(CONTRACT))
        patch.setenv("CUTOVER_DATADIR", str(tmp_path_factory.mktemp("data")))
        from cutover_app.main import create_app  # noqa: PLC0415 - needs the contract

        contract = load_contract(CONTRACT)
        return create_app(contract, compile_contract(contract))


def test_all_agents_are_there(app: CutoverApp) -> None:
    """Two agents of stage one and the judge, each with a docstring that `faust agents` prints."""
    from cutover_app.main import AGENTS  # noqa: PLC0415 - needs the contract

    assert set(AGENTS) <= set(app.agents)
    assert all(agent.fun.__doc__ for agent in app.agents.values())


def test_all_tables_are_there(app: CutoverApp) -> None:
    """The four tables, each with the help text that `faust tables` prints, as many partitions as intake."""
    assert {name for name, _ in TABLES} == set(ROW_TABLES) == set(app.tables)
    assert all(table.help for table in app.tables.values())
    assert {12} == {table.partitions for table in app.tables.values()}


def test_tables_are_where_reset_looks_for_them(app: CutoverApp) -> None:
    """Faust decides where they are; what makes that private, and what removes it, names the same place."""
    assert app.conf.tabledir == app.conf.datadir / TABLES_PLACE


def test_a_missing_agent_stops_the_start(app: CutoverApp) -> None:
    """A silent absence would be a false all-clear."""
    with pytest.raises(FatalError, match="agent nobody"):
        check_wiring(app, agents=["nobody"], tables=[])


def test_a_missing_table_stops_the_start(app: CutoverApp) -> None:
    """Neither may a table be absent."""
    with pytest.raises(FatalError, match="table nothing"):
        check_wiring(app, agents=[], tables=["nothing"])
