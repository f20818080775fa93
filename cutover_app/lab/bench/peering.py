"""Measures a peer: a program of its own that reads the two topics of a load in a consumer group.

How far it is is what its group has committed. It is measured from where a tenth of the messages is committed to where
nine tenths are, as a worker of ours is; its verdicts are counted once nothing new has come for a while. The floor and
our worker read the same load.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cutover_app.kafka.cluster import LATEST
from cutover_app.kafka.cluster import Cluster as Connection
from cutover_app.kafka.settings import Broker
from cutover_app.lab.bench.figures import Mark, Run, window
from cutover_app.lab.bench.load import Prepared
from cutover_app.lab.bench.peers.job import WAIT_S
from cutover_app.lab.bench.worker import MESSAGES_PER_S_MIN, START_TIMEOUT_S, Meter
from cutover_app.lab.errors import LabError
from cutover_app.lab.evidence import read_topic
from cutover_app.lab.faults import KINDS
from cutover_app.lab.fleet import TERMINATE_TIMEOUT_S, Worker
from cutover_app.lab.jars import jars, java, lab_directory
from cutover_app.lab.ledger import read_ledger
from cutover_app.lab.topics import create_topics

LOOK_S: Final = 0.2
QUIET_S: Final = 4.0
"""After the wait, nothing new has come for so long: no more verdicts are expected."""
JOIN_S: Final = 15.0
"""How long a peer gets to join its group before anything is published, where that happens live."""
QUIX_VERSION: Final = "3.28.1"
STREAMS_VERSION: Final = "4.1.1"
_PEERS: Final = Path(__file__).with_name("peers")
_PROJECT: Final = Path(__file__).parents[3]
_ALIKE: Final = {kind: "mismatch" for kind in KINDS if kind not in {"missing", "unknown", "duplicate", "undecodable"}}
"""What all of these are called by a peer: the pair differs."""


@dataclass(frozen=True)
class Peer:
    """A program to be measured."""

    name: str
    command: Callable[[], Sequence[str]]
    env: Mapping[str, str] = field(default_factory=dict)
    part: float = 1.0
    """Of the messages of a load, as many as it reads in a reasonable time."""


def _faust() -> list[str]:
    return [sys.executable, "-m", "cutover_app.lab.bench.peers.stock_faust", "worker", "-l", "warn"]


def _quix() -> list[str]:
    """Return the command; Quix has an environment of its own, made at the first time."""
    home = lab_directory() / f"quix-{QUIX_VERSION}"
    python = home / "bin" / "python"
    if not (home / "done").exists():
        venv.create(home, clear=True, with_pip=True)
        _run([str(python), "-m", "pip", "install", "--quiet", f"quixstreams=={QUIX_VERSION}"])
        (home / "done").touch()
    return [str(python), "-m", "cutover_app.lab.bench.peers.quix"]


def java_program(name: str) -> list[str]:
    """Return the command of one of the programs in Java, compiled anew."""
    libraries = jars(STREAMS_VERSION, "streams") / "*"
    compiler = shutil.which("javac")
    if compiler is None:
        raise LabError("javac was not found: install a Java development kit")
    classes = lab_directory() / "java-peers"
    _run([compiler, "-cp", str(libraries), "-d", str(classes), *map(str, sorted(_PEERS.glob("*.java")))])
    return [java(), "-Xmx1g", "-cp", os.pathsep.join([str(classes), str(libraries)]), name]


def _streams() -> list[str]:
    return java_program("StreamsPeer")


def _run(words: Sequence[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{words[0]} ended with {done.returncode}:\n{done.stderr[-2000:]}")


PEERS: Final = (
    Peer("stock Faust", _faust, part=0.1),
    Peer("Quix Streams", _quix),
    Peer("Kafka Streams", _streams),
    Peer("Kafka Streams, idle 60 s", _streams, {"PEER_TASK_IDLE_MS": "60000"}),
)


async def measure_peer(prepared: Prepared, peer: Peer, name: str) -> Run:
    """Have a peer read a load from its beginning to its end, and count what it said."""
    verdicts = f"{name}.verdicts"
    await create_topics(prepared.cluster.bootstrap, {verdicts: prepared.load.partitions})
    worker = _start(prepared, peer, name, verdicts)
    meter = Meter([worker])
    sampling = asyncio.create_task(meter.run())
    playing: asyncio.Task[None] | None = None
    try:
        if prepared.load.rate is not None:
            await asyncio.sleep(JOIN_S)
            playing = asyncio.create_task(prepared.play())
        (began, before), (ended, after) = await _read_all(prepared, name, worker, playing)
        await _until_quiet(prepared.cluster.bootstrap, verdicts)
    finally:
        sampling.cancel()
        if playing is not None:
            playing.cancel()
        await asyncio.to_thread(_end, prepared, worker)
    false, missed = await _held_against(prepared, verdicts)
    counts = {"false": false, "missed": missed}
    return Run(after - before, ended - began, meter.cpu_between(began, ended), meter.peak(), counts)


def sources(prepared: Prepared) -> dict[str, str]:
    """Return the environment that tells a program which topics to read, and where."""
    legacy, rebuilt = prepared.topics
    return {"PEER_BROKER": prepared.cluster.bootstrap, "PEER_LEGACY": legacy, "PEER_REBUILT": rebuilt}


def _start(prepared: Prepared, peer: Peer, name: str, verdicts: str) -> Worker:
    directory = prepared.folder / name
    directory.mkdir()
    env = sources(prepared) | {
        "PYTHONPATH": str(_PROJECT),
        "PEER_ID": name,
        "PEER_VERDICTS": verdicts,
        "PEER_PARTITIONS": str(prepared.load.partitions),
        "PEER_DATADIR": str(directory / "state"),
    }
    log = directory / "peer.log"
    with log.open("ab") as output:
        process = prepared.cluster.spawn(
            list(peer.command()), log=output, env={**os.environ, **env, **peer.env}, cwd=directory
        )
    return Worker(name, log, process)


def _end(prepared: Prepared, worker: Worker) -> None:
    worker.process.terminate()
    try:
        worker.process.wait(TERMINATE_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        worker.process.kill()
        worker.process.wait()
    prepared.cluster.forget(worker.process)


async def _read_all(
    prepared: Prepared, group: str, worker: Worker, playing: asyncio.Task[None] | None
) -> tuple[Mark, Mark]:
    """Wait until a group has committed all of both topics, once they have all; return where measuring begins and ends.

    What is published live is watched from its beginning: a peer that keeps up has read it when the last is published.
    """
    progress: list[Mark] = []
    total: int | None = None
    deadline = time.monotonic() + START_TIMEOUT_S + prepared.load.messages / MESSAGES_PER_S_MIN
    async with Connection(Broker.parse(prepared.cluster.bootstrap)) as cluster:
        topics = await cluster.topics(prepared.topics)
        while time.monotonic() < deadline:
            if not worker.running:
                raise LabError(f"{worker.name} ended with {worker.process.returncode}:\n{worker.log_tail()}")
            commits = [await cluster.commits(group, name) for name in topics]
            done = sum(offset for each in commits for offset, _ in each.values())
            progress.append((time.time(), done))
            if total is None and (playing is None or playing.done()):
                if playing is not None:
                    await playing  # raises what went wrong
                total = sum([sum((await cluster.offsets(topic, LATEST)).values()) for topic in topics.values()])
            if total is not None and done >= total:
                return window(progress, total)
            await asyncio.sleep(LOOK_S)
    raise LabError(f"{worker.name} has read {done} of {prepared.load.messages} messages:\n{worker.log_tail()}")


async def _until_quiet(bootstrap: str, verdicts: str) -> None:
    """Wait as long as a peer may wait, and then until no more verdicts come."""
    await asyncio.sleep(WAIT_S + QUIET_S)
    said = -1
    async with Connection(Broker.parse(bootstrap)) as cluster:
        topic = (await cluster.topics([verdicts]))[verdicts]
        while True:
            now = sum((await cluster.offsets(topic, LATEST)).values())
            if now == said:
                return
            said = now
            await asyncio.sleep(QUIET_S)


async def _held_against(prepared: Prepared, verdicts: str) -> tuple[int, int]:
    """Return how many verdicts are false, and how many planted faults were missed."""
    due = {(_ALIKE.get(entry.kind, entry.kind), str(entry.key[0])) for entry in read_ledger(prepared.ledger)}
    said: set[tuple[str, str]] = set()
    async for records in read_topic(prepared.cluster.bootstrap, verdicts):
        found: list[Any] = [json.loads(record.value) for record in records if record.value]
        said.update((each["outcome"], str(each["key"][0])) for each in found)
    return len(said - due), len(due - said)
