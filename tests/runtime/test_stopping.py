"""How a worker that is told to stop ends: in good order, at once, or at least in time."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP

from cutover_app.kafka.settings import Broker
from cutover_app.runtime import app as runtime
from cutover_app.runtime.app import CutoverApp, settings
from cutover_app.runtime.worker import WorkerState


class Left(BaseException):
    """The process would have ended, with this code."""


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CutoverApp:
    """A worker's app that ends by an exception; nothing of it is started."""

    def leave() -> None:
        raise Left(0)

    def die(reason: Any) -> None:
        raise Left(4, str(reason))

    monkeypatch.setattr(runtime, "leave", leave)
    monkeypatch.setattr(runtime, "die", die)
    made = CutoverApp("stopping", **settings(Broker.parse("kafka://127.0.0.1:1"), datadir=tmp_path))
    made.in_worker = True
    return made


async def _take(app: CutoverApp, partitions: set[TP]) -> None:
    async def take(_assigned: set[TP]) -> None:
        pass

    app.partitions = type("Nothing", (), {"take": staticmethod(take)})()  # type: ignore[assignment]
    await app.take_partitions(partitions, 1)


def test_a_worker_that_is_told_to_stop_while_it_starts_ends_at_once(app: CutoverApp) -> None:
    """Faust would go on with the start, and join the group without tables: the other workers would have to end."""

    async def on_stop() -> None:
        raise AssertionError("Faust is asked to stop")

    app.on_stop = on_stop  # type: ignore[method-assign]
    with pytest.raises(Left) as ended:
        asyncio.run(app.stop())
    assert ended.value.args == (0,)


def test_a_worker_whose_farewell_is_not_answered_ends_in_good_order(app: CutoverApp) -> None:
    """A group that waits for a member that died answers nobody for ten seconds; nothing is open by then."""
    asyncio.run(_take(app, set()))
    assert app.standing.state is WorkerState.RECOVERING
    with pytest.raises(Left) as ended:
        app._out_of_time()
    assert ended.value.args == (0,)


def test_a_worker_that_hangs_while_it_has_partitions_says_so(app: CutoverApp) -> None:
    """What it took in may not be where it belongs: that is no good order."""
    asyncio.run(_take(app, {TP("intake", 0)}))
    with pytest.raises(Left) as ended:
        app._out_of_time()
    code, reason = ended.value.args
    assert code == 4
    assert "stopping took longer than 9 s" in reason


def test_a_quarantine_is_no_good_order_however_the_worker_ends(app: CutoverApp) -> None:
    """Its last line says what was not judged, and its exit code that something did not work."""
    app.quarantined[3] = "a defect"
    with pytest.raises(Left) as ended:
        app._out_of_time()
    code, reason = ended.value.args
    assert code == 4
    assert "intake partition 3 is quarantined: a defect" in reason
