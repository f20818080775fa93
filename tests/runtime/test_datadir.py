"""Where a worker keeps its state: nobody else's to use or to read, and nothing of others in it is touched."""

import errno
import os
import re
from pathlib import Path

import pytest

from cutover_app.runtime.datadir import TABLES_PLACE, holds_state, lock_directory, remove_state
from cutover_app.runtime.fatal import FatalError
from cutover_app.runtime.store import open_store


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


def fill(state: Path) -> None:
    """Leave what a worker leaves that has ended because of a damaged database."""
    lock_directory(state).close()
    store = open_store(state / TABLES_PLACE / "settled-11.db")
    store.condemn()
    store.close()
    (state / TABLES_PLACE / "books-0.db").write_text("")


def test_all_that_workers_made_goes(tmp_path: Path) -> None:
    """The directory too, if they made it."""
    fill(tmp_path / "state")
    assert holds_state(tmp_path / "state")
    assert remove_state(tmp_path / "state") == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("other", ["photos", "v1/photos", "v1/tables/photos.db", "v1/tables/settled-0.db.bak"])
def test_what_workers_did_not_make_stays(tmp_path: Path, other: str) -> None:
    """Whoever named a directory by a slip keeps what is in it, and is told what is left."""
    state = tmp_path / "state"
    fill(state)
    (state / other).mkdir()
    (state / other / "one").write_text("1")
    assert remove_state(state) == f"{(state / other).parent} (Directory not empty)"
    assert [each for each in state.rglob("*") if each.is_file()] == [state / other / "one"]


def test_what_a_link_leads_to_stays(tmp_path: Path) -> None:
    """A database that somebody has moved elsewhere and linked to is no longer in the datadir."""
    (tmp_path / "elsewhere").mkdir()
    fill(tmp_path / "state")
    (tmp_path / "state" / TABLES_PLACE / "pending-0.db").symlink_to(tmp_path / "elsewhere")
    assert remove_state(tmp_path / "state") == ""
    assert list(tmp_path.iterdir()) == [tmp_path / "elsewhere"]


def test_a_mount_point_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is empty, and no state of anybody: there is nothing to repeat."""
    state = tmp_path / "state"
    fill(state)
    rmdir = Path.rmdir

    def refuse(place: Path) -> None:
        if place == state:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        rmdir(place)

    monkeypatch.setattr(Path, "rmdir", refuse)
    assert remove_state(state) == f"{state} (Device or resource busy)"
    assert (list(state.iterdir()), holds_state(state)) == ([], False)
