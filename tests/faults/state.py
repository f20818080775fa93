"""What happens to the state of workers: their disk, their databases, and the changelogs behind these."""

import asyncio
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaProducer

from cutover_app.core.rows import PENDING_TABLE, SETTLED_TABLE
from cutover_app.core.state import ROW_VERSION
from cutover_app.kafka.admin import delete
from cutover_app.kafka.cluster import Cluster as Connection
from cutover_app.kafka.settings import Broker
from cutover_app.kafka.topics import changelog_of, intake_of
from cutover_app.lab.cluster import Cluster
from cutover_app.lab.evidence import read_topic
from cutover_app.lab.run import Stage
from cutover_app.lab.topics import create_anew, delete_records
from cutover_app.runtime.store import FREE_BYTES_MIN
from tests.faults.ground import AGAIN, Ground, ended, fails, logged, patched, set_config
from tests.faults.row import Seen, row
from tests.integration.life import living

DISK_BYTES: Final = 256 * 1024 * 1024
OLDER: Final = ("cutover_app.core.state:ROW_VERSION=b'\\x01'", "cutover_app.core.integrity:ROW_VERSION=b'\\x01'")
OURS: Final = ROW_VERSION.hex()
WIPED: Final = "it is wiped, and read anew from"


@row(32, "the disk of a worker's state is full, while running and at a start", "stops before it writes; goes on later")
async def full(ground: Ground, seen: Seen) -> None:
    """The state is on a small disk of its own; when there is room again, the same worker goes on where it was."""

    async def fill(stage: Stage) -> None:
        (worker,) = stage.fleet.running
        await ended(stage, worker)
        data = worker.log.parent / "data"
        _mount(ground, data)
        worker = stage.fleet.start_again(worker)
        await asyncio.sleep(12)
        filler = data / "filler"
        used = sum(file.stat().st_size for file in data.rglob("*") if file.is_file())
        filler.write_bytes(bytes(DISK_BYTES - used - FREE_BYTES_MIN // 2))
        await fails(stage.fleet, seen, worker, "the disk of", "is full", "MB are free")
        worker = stage.fleet.start_again(worker)
        await fails(stage.fleet, seen, worker, "is full")
        filler.unlink()
        stage.fleet.start_again(worker)

    await ground.play(seen, ground.plan(40, workers=1), (0.2, fill))


def _mount(ground: Ground, folder: Path) -> None:
    kept = folder.with_name("kept")
    folder.rename(kept)
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)], check=True)
    ground.stack.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=False)


@row(33, "bytes of databases flipped, files lost, a foreign file; LOCK files left behind", "wiped, and read anew")
async def damaged(ground: Ground, seen: Seen) -> None:
    """A worker is killed, and its files are not what they were when it starts again, three times."""

    async def damage(stage: Stage) -> None:
        (worker,) = stage.fleet.running
        for spoil in (_flip, _lose, _put_another):
            stage.fleet.kill(worker)
            databases = sorted(worker.log.parent.glob("data/**/*.db"))
            seen.expect(all((each / "LOCK").exists() for each in databases), "LOCK files are left behind")
            for each in databases:
                spoil(ground, each)
            before = logged(worker).count(WIPED)
            worker = stage.fleet.start_again(worker)
            worker.may_end = True
            # Not before its former self is out of the group.
            await _until(lambda each=worker, then=before: not each.running or logged(each).count(WIPED) > then)
            if not worker.running:  # it was found while reading
                await fails(stage.fleet, seen, worker, "is damaged", "the next start reads it anew")
                worker = stage.fleet.start_again(worker)
            await asyncio.sleep(6)
            worker.may_end = False
            wiped = logged(worker).count(WIPED) - before
            seen.expect(wiped > 0, f"{spoil.__doc__} {wiped} lines about {len(databases)} databases")

    await ground.play(seen, ground.plan(80, workers=1), (0.15, damage))


def _flip(ground: Ground, database: Path) -> None:
    """Bytes flipped."""
    for file in [*database.glob("*.sst"), *database.glob("MANIFEST-*")]:
        data = bytearray(file.read_bytes())
        at = ground.random.randrange(len(data))
        data[at : at + 32] = bytes(each ^ 0xFF for each in data[at : at + 32])
        file.write_bytes(data)


def _lose(_ground: Ground, database: Path) -> None:
    """A file lost."""
    max(database.glob("MANIFEST-*")).unlink()


def _put_another(_ground: Ground, database: Path) -> None:
    """A foreign file."""
    (database / "CURRENT").write_text("MANIFEST-of-another-program\n")


@row(34, "a changelog cut at its beginning, deleted, written to by others", "made again from intake, or refused")
async def cut(ground: Ground, seen: Seen) -> None:
    """Each worker that starts has no rows of its own. Where intake is cut too, it ends, and says what to do."""
    bootstrap = ground.cluster.bootstrap

    async def spoil(stage: Stage) -> None:
        contract = stage.route.subject.contract
        settled, pending = changelog_of(contract, SETTLED_TABLE), changelog_of(contract, PENDING_TABLE)
        everywhere = range(stage.plan.intake)

        async def anew(said: str) -> None:
            (worker,) = stage.fleet.start()
            await _until(lambda: AGAIN in logged(worker))
            since_ms = time.time() * 1000
            seen.expect(said in logged(worker), said)
            async with asyncio.timeout(60):  # who is killed before it has books again is found without books
                while min(stage.watch.books_ms.get(number, 0) for number in everywhere) < since_ms:
                    await stage.watch.look()
            stage.fleet.kill(worker)

        stage.fleet.kill(stage.fleet.running[0])
        await _cut(ground.cluster, settled, dict.fromkeys(everywhere, 50))
        await anew("the changelog of table settled begins at offset")
        async with Connection(Broker.parse(bootstrap)) as cluster:
            await delete(cluster, [settled])
        await anew("rows of keys, and")
        await _send(bootstrap, pending, {b"\x00foreign": ROW_VERSION + b"foreign"})
        await anew("a damaged PendingRow")
        await _send(bootstrap, settled, {await _some_key(bootstrap, settled): None})
        await anew("rows of keys, and")
        stage.fleet.start()

    await ground.play(seen, ground.plan(110, workers=1), (0.15, spoil), state_lost=True)
    await _refused(ground, seen)


async def _cut(cluster: Cluster, changelog: str, before: dict[int, int]) -> None:
    """Delete the beginning of a changelog, which a broker refuses for a topic that is only compacted."""
    await set_config(cluster, changelog, {"cleanup.policy": "delete"})
    await delete_records(cluster.bootstrap, changelog, before)
    await set_config(cluster, changelog, {"cleanup.policy": "compact"})


async def _until(true: Callable[[], bool], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:  # noqa: ASYNC110 - another process decides
        await asyncio.sleep(0.2)


async def _send(bootstrap: str, topic: str, rows: dict[bytes, bytes | None]) -> None:
    """Write into the first partition of a topic, as nobody but a checkpoint should."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        for key, value in rows.items():
            await producer.send_and_wait(topic, value, key=key, partition=0)


async def _some_key(bootstrap: str, topic: str) -> bytes:
    """Return the key of a row of some match key in the first partition of the changelog that has such rows."""
    found: dict[bytes, bool] = {}
    async for records in read_topic(bootstrap, topic):
        for each in records:
            if each.partition == 0 and each.key >= b"\x03":  # below are rows of other kinds
                found[each.key] = each.value is not None
    return next(key for key, there in found.items() if there)


async def _refused(ground: Ground, seen: Seen) -> None:
    """What cannot be made again, and a changelog with another number of partitions, end the worker with a line."""
    folder = ground.folder / "refused"
    folder.mkdir()
    async with living(ground.cluster, folder, "refused", (1, 1)) as life:
        settled = changelog_of(life.subject.contract, SETTLED_TABLE)
        intake = intake_of(life.subject.contract)
        await life.both(range(60))
        worker = await life.start()
        await life.quiet()
        await life.stop(worker)
        everywhere = range(life.subject.contract.intake.partitions)
        await delete_records(life.bootstrap, intake, dict.fromkeys(everywhere, 2))
        await _cut(ground.cluster, settled, dict.fromkeys(everywhere, 2))
        await fails(life.fleet, seen, *life.fleet.start(), "cannot be made again", "begin a new run", "cutover reset")
        await create_anew(life.bootstrap, settled, 2)
        await fails(life.fleet, seen, *life.fleet.start(), settled, "2 partitions, expected 3")


@row(102, "an upgrade to another version of rows, an old worker beside a new one", "made again; the old one says so")
async def upgraded(ground: Ground, seen: Seen) -> None:
    """Two old workers; a new one joins them, takes over what it gets, and the old ones end where they get it back."""

    async def join(stage: Stage) -> None:
        older = list(stage.fleet.running)
        for each in older:
            each.may_end = True
        stage.fleet.under = ()
        (newer,) = stage.fleet.start()
        await _until(lambda: AGAIN in logged(newer))
        seen.expect(
            f"rows are of version 01, this program writes version {OURS}" in logged(newer), "the new one takes over"
        )
        await asyncio.sleep(6)
        await ended(stage, newer)
        for each in older:
            await fails(
                stage.fleet,
                seen,
                each,
                f"version {OURS}, this program writes version 01",
                "a newer program has taken over",
            )
        stage.fleet.start(2)

    await ground.play(seen, ground.plan(60, under=patched(*OLDER)), (0.2, join), state_lost=True)
