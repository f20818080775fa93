"""Where a worker keeps its state: nobody else's to use or to read, and nothing of others in it is touched."""

import re
from pathlib import Path

import pytest

from cutover_app.runtime.datadir import TABLES_PLACE, lock_directory
from cutover_app.runtime.fatal import FatalError


def mode(place: Path) -> int:
    return place.stat().st_mode & 0o7777


def test_a_state_directory_has_one_worker(tmp_path: Path) -> None:
    """It is locked as long as its worker lives, and whoever comes second learns what to do."""
    held = lock_directory(tmp_path / "state")
    with pytest.raises(FatalError, match="datadir of its own"):
        lock_directory(tmp_path / "state")
    held.close()
    lock_directory(tmp_path / "state").close()


@pytest.mark.parametrize("there", [None, 0o1777, 0o2770])
def test_tables_are_private_and_a_directory_keeps_its_mode(tmp_path: Path, there: int | None) -> None:
    """Nobody else may read the tables (R13); `/tmp` or a volume of a group stays what it was to the others."""
    state = tmp_path / "state"
    if there is not None:
        state.mkdir()
        state.chmod(there)
    lock_directory(state).close()
    assert mode(state) == (there or 0o700)
    assert mode(state / TABLES_PLACE) & 0o077 == 0


@pytest.mark.parametrize("place", [".", "lock", "v1", "v1/tables"])
def test_a_state_directory_that_cannot_be_had_is_one_line(tmp_path: Path, place: str) -> None:
    """Something else in its place, or in that of what belongs in it: what is wrong, and how to name another."""
    taken = tmp_path / "state" / place
    taken.parent.mkdir(parents=True, exist_ok=True)
    if place == "lock":
        taken.mkdir()
    else:
        taken.write_text("")
    where = re.escape(str(taken))
    with pytest.raises(FatalError, match=rf"^the datadir .* cannot be used \({where}.*\): expected a .*DATADIR$"):
        lock_directory(tmp_path / "state")


def test_a_place_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    """A file on the way, or no right to it."""
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "state", Path("/proc/state")):
        with pytest.raises(FatalError, match=r"^the datadir .*: expected a directory .* CUTOVER_DATADIR$"):
            lock_directory(place)
