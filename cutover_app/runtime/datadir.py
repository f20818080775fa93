"""Where a worker keeps its local state: a directory of its own, with a lock, and the databases of its tables below.

Nothing else in it is ours: whoever names a directory that holds more (a mount point, `/tmp`, the wrong one by a slip)
finds the rest as it was, its permissions too.
"""

import fcntl
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

from cutover_app.contract.models import Contract
from cutover_app.core.rows import TABLES
from cutover_app.kafka.topics import app_id_of
from cutover_app.runtime.fatal import FatalError

log = logging.getLogger(__name__)

DATADIR_ENV: Final = "CUTOVER_DATADIR"

LOCK: Final = "lock"
"""The file that a worker holds a lock on as long as it lives."""
TABLES_PLACE: Final = Path("v1", "tables")
"""Where Faust has the databases, below the datadir."""
CONDEMNED: Final = "damaged"
"""The file that says that all databases beside it are to be wiped."""
PRIVATE: Final = 0o700
"""Tables hold whole messages."""


def datadir_of(contract: Contract, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the directory that the environment names, else one named like the run in the working directory."""
    return Path(environ.get(DATADIR_ENV) or f"{app_id_of(contract)}-data")


def lock_directory(directory: Path) -> IO[str]:
    """Make a state directory ours, and its tables nobody else's to read, before the fleet hears of this worker.

    What is made here is private; a directory that is there keeps its mode, which may be that of a volume, or of others.
    The lock lasts as long as the returned file is open, and goes with the process.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=PRIVATE)
        file = (directory / LOCK).open("a")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (directory / TABLES_PLACE).mkdir(parents=True, exist_ok=True, mode=PRIVATE)  # Faust would let others read
    except BlockingIOError:
        raise FatalError(f"{directory} is in use by another process: give each worker a datadir of its own") from None
    except OSError as error:
        raise FatalError(
            f"the datadir {directory} cannot be used ({error.filename or directory}: {error.strerror}): expected a "
            "directory of this worker's own, or a place where one can be made; name another by --datadir or "
            f"{DATADIR_ENV}"
        ) from None
    return file


def holds_state(directory: Path) -> bool:
    """Tell whether a worker has ever kept its tables there."""
    return (directory / TABLES_PLACE).is_dir()


def remove_state(directory: Path) -> str:
    """Remove what workers made in a directory whose lock we hold, and itself; return what is left, and why.

    It stays where there is anything else in it, and where it is a mount point.
    """
    tables = directory / TABLES_PLACE
    for name in TABLES:
        for database in tables.glob(f"{name}-[0-9]*.db"):
            wipe(database)
    wipe(tables / CONDEMNED)
    wipe(directory / LOCK)
    for place in (tables, tables.parent, directory):
        try:
            place.rmdir()
        except OSError as error:
            return f"{place} ({error.strerror})"
    return ""


def wipe(place: Path) -> None:
    """Remove a closed database, or whatever is in its place."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def renew(tables: Path) -> None:
    """Remove all databases of a worker that ended because of one of them: the disk is not to be trusted with the rest.

    The mark goes last: it may take several attempts.
    """
    mark = tables / CONDEMNED
    if mark.exists():
        log.warning("%s has been found damaged; it is wiped, and read anew from the changelogs", tables)
        for database in tables.glob("*.db"):
            wipe(database)
        mark.unlink()
