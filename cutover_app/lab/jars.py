"""The jars of a Kafka version, fetched once by Maven and kept in a folder of the project.

Several processes may ask at once (a test run beside a demo): one fetches, the others wait. A folder
is complete as soon as it has its name, because it is renamed into place when Maven has finished.
"""

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cutover_app.lab.errors import LabError

KAFKA_VERSION = "4.1.1"
LEGACY_VERSION = "3.9.1"
"""Of a legacy cluster, and of MirrorMaker 2, whose jars only this one has."""
JAVA_VERSION_MIN = 17
FETCH_TIMEOUT_S = 900

_POM = Path(__file__).with_name("pom.xml")
_PROJECT = _POM.parents[2]


def lab_directory() -> Path:
    """Return the folder that keeps jars: CUTOVER_LAB, the project's .lab, or the user's cache."""
    if named := os.environ.get("CUTOVER_LAB"):
        return Path(named)
    if (_PROJECT / "pyproject.toml").is_file():
        return _PROJECT / ".lab"
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "cutover-lab"


def java() -> str:
    """Return the path of a Java runtime that is new enough for Kafka."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home) / "bin")) if home else None
    found = found or shutil.which("java")
    wanted = f"install a Java runtime, version {JAVA_VERSION_MIN} or later"
    if found is None:
        raise LabError(f"java was not found: {wanted}")
    shown = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)
    version = re.search(r'version "(\d+)', shown.stderr + shown.stdout)
    if version is None or int(version[1]) < JAVA_VERSION_MIN:
        had = f"version {version[1]}" if version else "of unknown version"
        raise LabError(f"{found} is {had}: {wanted}")
    return found


def jars(version: str = KAFKA_VERSION, what: str = "kafka") -> Path:
    """Return the folder with the jars of a version of Kafka or of `what`, fetching them if they are not there."""
    name = f"{what}-{version}"
    folder = lab_directory() / name
    if not folder.is_dir():
        with _locked(folder.parent / "fetch.lock"):
            if not folder.is_dir():
                _fetch(name, folder)
    return folder


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock, which goes with the process however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _fetch(profile: str, folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise LabError("mvn was not found: install Apache Maven, version 3.8 or later")
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=folder.parent) as scratch:
        target = Path(scratch) / "jars"
        command = [maven, "--batch-mode", "--no-transfer-progress", "--quiet"]
        command += ["--file", str(_POM), "--activate-profiles", profile]
        command += ["dependency:copy-dependencies", "-DincludeScope=runtime"]
        command += [f"-DoutputDirectory={target}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=FETCH_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise LabError(f"Maven did not finish within {FETCH_TIMEOUT_S} s") from error
        if done.returncode or not target.is_dir():
            said = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
            raise LabError(f"Maven could not fetch the jars of {profile}:\n{said}")
        target.rename(folder)


def main() -> int:
    """Fetch the jars (`python -m cutover_app.lab.jars`); part of `make setup`."""
    try:
        java()
        for version in (KAFKA_VERSION, LEGACY_VERSION):
            print(f"Kafka {version}: {len(list(jars(version).glob('*.jar')))} jars")
    except LabError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
