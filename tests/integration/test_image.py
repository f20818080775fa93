"""The image without an engine: the Dockerfile's own steps in a fresh directory, and a worker started as it would be.

`COPY`, `RUN` of docker/install.sh, `ENV`, `ENTRYPOINT`, `CMD` and `HEALTHCHECK` are read from the Dockerfile and
carried out below a fresh directory that stands for `/`. Where a mount namespace can be had, which needs root, the file
system is read-only in it but for the state, as `--read-only` makes it; everywhere it is looked at afterwards.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from cutover_app.kafka.cluster import LATEST
from cutover_app.kafka.cluster import Cluster as Brokers
from cutover_app.kafka.settings import Broker
from cutover_app.lab.cluster import Cluster
from cutover_app.lab.jars import lab_directory
from cutover_app.lab.topics import create_topics_now
from tests.integration.helpers import SHORT, Sent, send, write
from tests.web.test_server import ask, free_port, wait_for

ROOT = Path(__file__).parents[2]
STEPS_S = 300.0
STOP_S = 10.0
PATHS = re.compile(r"(?<![\w/.])/(?=src\b|wheels\b|opt/cutover\b|var/lib/cutover\b|etc/cutover\b)")
"""Where absolute paths of the image begin."""
READ_ONLY = (
    "unshare", "--mount", "sh", "-c",
    'mount --make-rprivate / && mount --bind "$1" "$1" && mount -o remount,bind,ro / && shift && exec "$@"', "sh",
)  # fmt: skip
"""Runs a command, which follows the one directory that can be written."""

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, rest), continuations joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "docker" / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines) if word]


@dataclass
class Image:
    """What the Dockerfile made, below a directory."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    probe: list[str] = field(default_factory=list)

    def here(self, text: str) -> str:
        """A text with the image's paths below our directory."""
        return PATHS.sub(f"{self.root}/", text)

    @property
    def state(self) -> Path:
        """The only directory that may be written."""
        return self.root / "var/lib/cutover"

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a container: the image's and what `docker run -e` adds, nothing of ours."""
        return self.env | {"HOME": str(self.state)} | more

    def run(self, words: Sequence[str], **env: str) -> subprocess.CompletedProcess[str]:
        """`docker run IMAGE WORDS`."""
        return subprocess.run(
            [*self.confined(), self.which(), *words], cwd=self.root / "etc/cutover", env=self.environment(**env),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def confined(self) -> list[str]:
        """What makes a command run as `--read-only` does, if this host allows it."""
        words = [*READ_ONLY, str(self.state)]
        allowed = (
            shutil.which("unshare")
            and not subprocess.run([*words, "true"], capture_output=True, check=False).returncode
        )
        return words if allowed else []

    def which(self) -> str:
        """The program that the entry point names, looked for on the image's path."""
        found = shutil.which(self.entrypoint[0], path=self.env["PATH"])
        assert found is not None
        return found


def build(root: Path) -> Image:
    """Carry out the Dockerfile."""
    image = Image(root)
    workdir = root
    for word, rest in instructions():
        if word == "WORKDIR":
            workdir = Path(image.here(rest))
            workdir.mkdir(parents=True, exist_ok=True)
        elif word == "COPY" and "--from" not in rest:
            *sources, target = rest.split()
            for source in sources:
                into = workdir / target / source.rpartition("/")[2] if target.endswith("/") else workdir / target
                _copy(ROOT / source, into)
        elif word == "RUN" and "install.sh" in rest:
            _run(image.here(rest).split(), workdir)
        elif word == "ENV":
            image.env |= {name: image.here(value) for name, value in (each.split("=", 1) for each in rest.split())}
        elif word == "ENTRYPOINT":
            image.entrypoint = json.loads(rest)
        elif word == "CMD":
            image.command = json.loads(rest)
        elif word == "HEALTHCHECK":
            image.probe = json.loads(image.here(rest[rest.index("CMD") + 3 :]))
    image.state.mkdir(parents=True, mode=0o700)
    return image


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def _run(words: Sequence[str], cwd: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | _fetched_before()
    done = subprocess.run(
        words, cwd=cwd, env=env | {"PYTHON": str(sys._base_executable)}, capture_output=True, text=True,  # type: ignore[attr-defined]
        timeout=STEPS_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The image, made once; the source tree that it was made from is gone by then, as in its last stage."""
    root = Path(tempfile.mkdtemp(prefix="cutover-image-"))
    root.chmod(0o755)
    try:
        made = build(root)
        _keep(root / "wheels")
        shutil.rmtree(root / "src")
        shutil.rmtree(root / "wheels")
        yield made
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _wheels() -> Path:
    """Where the wheels of this lock are kept between two runs, beside the jars; hashes are checked all the same."""
    return lab_directory() / f"wheels-{sha256((ROOT / 'requirements.lock').read_bytes()).hexdigest()[:12]}"


def _fetched_before() -> dict[str, str]:
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(_wheels())} if _wheels().is_dir() else {}


def _keep(wheels: Path) -> None:
    if not _wheels().is_dir():
        fresh = Path(tempfile.mkdtemp(dir=lab_directory()))
        for wheel in wheels.glob("*.whl"):
            if not wheel.name.startswith("cutover-"):
                shutil.copy(wheel, fresh)
        fresh.rename(_wheels())


def snapshot(root: Path, but: Path) -> Mapping[str, tuple[int, int]]:
    """Size and time of change of everything below a directory, one of its own apart."""
    found = {}
    for path in root.rglob("*"):
        if path != but and but not in path.parents:
            status = path.lstat()
            found[str(path)] = (status.st_size, status.st_mtime_ns)
    return found


def test_the_program_is_there(image: Image) -> None:
    """The entry point runs from the installed wheels alone: no pip, no development tools, no source tree."""
    done = image.run(["--version"])

    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith("cutover ")
    packages = {path.name for path in (image.root / "opt/cutover/lib").glob("python*/site-packages/*")}
    assert not packages & {"pip", "pytest", "ruff", "mypy", "hypothesis", "setuptools"}
    assert {"cutover_app", "agents", "tables", "prometheus_client"} <= packages


def test_two_files_are_checked(image: Image) -> None:
    """`docker run IMAGE check ...` compares two small files by the mounted contract."""
    folder = image.root / "etc/cutover"
    _contract(folder)
    (folder / "legacy.jsonl").write_text('{"no": 1, "name": "a"}\n{"no": 2, "name": "b"}\n')
    (folder / "rebuilt.jsonl").write_text('{"id": 1, "name": "a"}\n{"id": 2, "name": "x"}\n')

    done = image.run(["check", "--legacy", "legacy.jsonl", "--rebuilt", "rebuilt.jsonl"])

    assert 1 == done.returncode, done.stderr
    assert "wrong_value" in done.stdout
    assert "$.name" in done.stdout


def _contract(folder: Path) -> None:
    write(
        folder,
        {
            "contract": "image",
            "broker": "kafka://localhost:9092",
            "legacy": {"topic": "image.legacy"},
            "rebuilt": {"topic": "image.rebuilt"},
            "match": {"key": ["id"]},
            "timing": SHORT,
            "rebuild": {"id": "no", "name": "name"},
            "intake": {"partitions": 2},
            "verdicts": {"topic": "image.verdicts"},
        },
    )


def test_a_worker_writes_nothing_but_its_state(image: Image, kafka: Cluster) -> None:
    """Started as the image starts it, a worker gets ready, judges, leaves in time on SIGTERM, and wrote state alone."""
    _contract(image.root / "etc/cutover")
    create_topics_now(kafka.bootstrap, {"image.legacy": 1, "image.rebuilt": 1})
    asyncio.run(send(kafka.bootstrap, "image.legacy", [Sent(b'{"no": 1, "name": "a"}')]))
    port = free_port()
    before = snapshot(image.root, image.state)
    log = image.root.parent / f"{image.root.name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*image.confined(), image.which(), *image.command, "--web-port", str(port)],
            cwd=image.root / "etc/cutover",
            env=image.environment(CUTOVER_BROKER=f"kafka://{kafka.bootstrap}"),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for("ready", lambda: ask(port, "/ready").status == 200, lambda: _alive(process, log))
        probe = [word.replace(":6066/", f":{port}/") for word in image.probe]
        healthy = subprocess.run(probe, env=image.environment(), capture_output=True, check=False)
        wait_for("a verdict", lambda: 'outcome="missing"} 1.0' in ask(port, "/metrics").text)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code = process.wait(STOP_S * 2)
        took = time.monotonic() - began
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
        said = log.read_text(errors="replace")
        log.unlink()

    assert (0, b"") == (healthy.returncode, healthy.stderr)
    assert 0 == code, said
    assert took < STOP_S
    assert before == snapshot(image.root, image.state)
    assert any(image.state.rglob("*.db"))
    assert asyncio.run(_committed(kafka.bootstrap)) >= 1


def _alive(process: subprocess.Popen[bytes], log: Path) -> None:
    assert process.poll() is None, log.read_text(errors="replace")


async def _committed(bootstrap: str) -> int:
    """How many partitions of the verdicts topic hold something."""
    async with Brokers(Broker.parse(bootstrap)) as cluster:
        found = (await cluster.topics(["image.verdicts"]))["image.verdicts"]
        ends = await cluster.offsets(found, LATEST)
    return sum(end > 0 for end in ends.values())
