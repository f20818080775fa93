"""The named places where a worker can be made to fail."""

import re
from pathlib import Path

import pytest

from cutover_app.runtime import failpoints
from cutover_app.runtime.failpoints import PLACES, FailpointError, Trap, arm, failpoint, parse
from cutover_app.runtime.fatal import FatalError

RUNTIME = Path(failpoints.__file__).parent


@pytest.fixture(autouse=True)
def _nothing_armed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failpoints, "_traps", {})
    monkeypatch.setattr(failpoints, "_reached", failpoints.Counter())


def test_the_setting_is_read() -> None:
    """Place, partition, action, seconds and which time; or all of them."""
    assert parse("judge.take[1]=raise intake.landed=block:6@10") == {
        "judge.take[1]": Trap("raise"),
        "intake.landed": Trap("block", 6.0, 10),
    }


@pytest.mark.parametrize("text", ["nowhere=kill", "judge.take=explode", "judge.take", "judge.take=sleep:x"])
def test_a_setting_that_means_nothing_is_refused(text: str) -> None:
    """One line names the entry, and what there is."""
    with pytest.raises(FatalError, match=re.escape(repr(text)) + ".*checkpoint.begun.*kill"):
        arm(text)


def test_only_the_nth_time_and_only_that_partition() -> None:
    """Other times, other partitions and other places are passed."""
    arm("judge.take[1]=raise@2")
    failpoint("judge.take", 1)
    failpoint("judge.take", 0)
    failpoint("judge.taken", 1)
    with pytest.raises(FailpointError):
        failpoint("judge.take", 1)
    failpoint("judge.take", 1)


def test_every_place_is_somewhere() -> None:
    """Each named place is passed by the code, and no other is."""
    passed = {
        name
        for file in RUNTIME.glob("*.py")
        for name in re.findall(r'failpoint(?:_waiting)?\("([a-z.]+)"', file.read_text())
    }
    assert passed == set(PLACES)
