"""What nobody can read any more is said to be lost, and explains what it may explain, and nothing else (R8).

Messages are numbered, one a minute by their timestamps, from six hours ago on; `timing.edge` is five minutes. A number
that only one side has is missing or unknown, unless a lost range lies near it.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cutover_app.core.frames import LEGACY, REBUILT, Edge
from cutover_app.core.standing import CREATED_ANEW, FAR_PAST, RETENTION, START, TRUNCATED, UNKNOWN_END
from cutover_app.core.verdicts import FINE
from cutover_app.kafka.admin import delete
from cutover_app.kafka.cluster import Cluster as Questions
from cutover_app.kafka.groups import members_of
from cutover_app.kafka.settings import Broker
from cutover_app.kafka.topics import app_id_of
from cutover_app.lab.cluster import Cluster
from cutover_app.lab.topics import add_partitions, create_anew, create_topics, delete_records
from cutover_app.lab.verify import Findings
from cutover_app.runtime.consuming import FETCH_WAIT_MS
from tests.integration.helpers import QUIET_S
from tests.integration.life import Life, at, living

FOUND_WITHIN_S = 30.0
MISSING_TOPIC = "Ignoring missing topic"
"""What Faust says when it hands partitions out without those of a topic."""


def told(found: Findings, side: int) -> set[tuple[Any, ...]]:
    """The lost ranges of a side: partition, offsets, times, reason."""
    return {_plain(edge) for edge in found.edges if edge.source.side == side}


def _plain(edge: Edge) -> tuple[Any, ...]:
    return edge.source.partition, edge.start, edge.end, edge.from_ms, edge.to_ms, edge.reason


def said(found: Findings) -> dict[str, set[int]]:
    """The numbers of the messages that have a problem, by outcome."""
    outcomes: dict[str, set[int]] = {}
    for verdict in found.verdicts.values():
        if verdict.outcome not in FINE:
            outcomes.setdefault(verdict.outcome, set()).add(verdict.key[0])
    return outcomes


async def until(reached: Callable[[], bool]) -> None:
    """Wait for something that a worker does in its own time."""
    async with asyncio.timeout(QUIET_S):
        while not reached():  # noqa: ASYNC110 - another process does it
            await asyncio.sleep(0.2)


async def members(life: Life, count: int) -> None:
    """Wait until the fleet has so many workers."""
    async with Questions(Broker.parse(life.bootstrap)) as cluster, asyncio.timeout(QUIET_S):
        while len(await members_of(cluster, app_id_of(life.subject.contract))) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.2)


@pytest.mark.kafka
def test_earliest_on_unequal_retentions(kafka: Cluster, tmp_path: Path) -> None:
    """If the rebuilt topic has lost its first records, their partners are indeterminate, and a real one is missing."""

    async def run() -> Findings:
        async with living(kafka, tmp_path, "unequal", (1, 2)) as life:
            await life.both(range(60), without={22, 40})
            await delete_records(life.bootstrap, life.topics[REBUILT], {0: 20})
            await life.start()
            await life.quiet()
            return await life.examine()

    found = asyncio.run(run())

    assert found.wrong == []
    assert told(found, LEGACY) == set()
    assert told(found, REBUILT) == {(0, 0, 20, FAR_PAST, at(20, REBUILT), START)}
    assert said(found) == {"indeterminate": {*range(20), 22}, "missing": {40}}


@pytest.mark.kafka
def test_a_start_at_a_time(kafka: Cluster, tmp_path: Path) -> None:
    """Both sides begin at the first record that is not older, a partition that has none at its end; edges say so."""
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at(30) // 1000))

    async def run() -> Findings:
        async with living(kafka, tmp_path, "timed", (2, 1), start=start) as life:
            await life.publish(LEGACY, [2, 1], partition=1)
            await life.publish(LEGACY, range(60))
            await life.publish(REBUILT, [*range(29), *range(30, 50), 29, *range(51, 60)])
            await life.start()
            await life.quiet()
            return await life.examine()

    found = asyncio.run(run())

    assert found.wrong == []
    assert told(found, LEGACY) == {(n, 0, end, FAR_PAST, at(30) - 1, START) for n, end in ((0, 30), (1, 2))}
    assert told(found, REBUILT) == {(0, 0, 29, FAR_PAST, at(30) - 1, START)}
    assert said(found) == {"indeterminate": {29}, "missing": {50}}


@pytest.mark.kafka
def test_latest_in_the_middle_of_traffic(kafka: Cluster, tmp_path: Path) -> None:
    """Whatever lies across the start is indeterminate; later a missing message is missing."""

    async def run() -> tuple[int, Findings]:
        async with living(kafka, tmp_path, "latest", (1, 1), start="latest") as life:
            starting = asyncio.create_task(life.start())
            number = 0
            while not starting.done():
                await life.publish(LEGACY, [number])
                await life.publish(REBUILT, [number - 3] if number >= 3 else [])
                number += 1
                await asyncio.sleep(0.3)  # a minute each: they must not reach the present before the worker is up
            await starting
            await life.publish(REBUILT, range(number - 3, number))
            await life.both(range(number, number + 40), without={number + 20})
            await life.quiet()
            return number + 20, await life.examine()

    missing, found = asyncio.run(run())

    assert found.wrong == []
    ((_n, _start, began, from_ms, to_ms, reason),) = told(found, LEGACY)
    assert (from_ms, to_ms, reason) == (FAR_PAST, at(began - 1), START)
    assert said(found).get("missing") == {missing}
    assert set(said(found)) <= {"missing", "indeterminate"}
    assert said(found)["indeterminate"] <= set(range(began - 4, began + 4))


@pytest.mark.kafka
def test_a_source_that_does_not_stay_as_it_was(kafka: Cluster, tmp_path: Path) -> None:
    """Retention overtakes a stopped and a held worker, partitions come, the topic is made anew, twice: no false alarm.

    Each lost range has exact bounds; what lies in none is judged as ever.
    """

    async def run() -> tuple[float, Findings]:
        async with living(kafka, tmp_path, "changing", (1, 1)) as life:
            rebuilt = life.topics[REBUILT]
            worker = await life.start()
            await life.both(range(50), without={30})
            await life.quiet()

            await life.stop(worker)
            await life.both(range(50, 70))
            await delete_records(life.bootstrap, rebuilt, {0: 59})
            worker = await life.start()
            await life.quiet()

            os.kill(worker.process.pid, signal.SIGSTOP)
            await asyncio.sleep(2 * FETCH_WAIT_MS / 1000)  # its last fetch must not be answered with them
            await life.both(range(70, 90))
            await delete_records(life.bootstrap, rebuilt, {0: 79})
            os.kill(worker.process.pid, signal.SIGCONT)
            await life.quiet()

            await add_partitions(life.bootstrap, rebuilt, 2)
            began = time.monotonic()
            await life.both(range(100, 120), partition=1)
            await life.quiet()
            took = time.monotonic() - began

            await create_anew(life.bootstrap, rebuilt, 1)
            await life.both(range(120, 240))  # more than the old one had: an old position means something in it
            await life.quiet()

            await life.stop(worker)
            await create_anew(life.bootstrap, rebuilt, 1)
            await life.both(range(240, 260))
            await life.start()
            await life.quiet()
            return took, await life.examine()

    took, found = asyncio.run(run())

    assert found.wrong == []
    assert took < FOUND_WITHIN_S
    assert told(found, LEGACY) == set()
    edges = told(found, REBUILT)
    assert {edge for edge in edges if edge[-1] == RETENTION} == {
        (0, 49, 59, at(49, REBUILT), at(60, REBUILT), RETENTION),
        (0, 69, 79, at(69, REBUILT), at(80, REBUILT), RETENTION),
    }
    gone = {edge[:4] for edge in edges if edge[-1] == CREATED_ANEW}
    assert gone == {
        (0, 89, UNKNOWN_END, at(89, REBUILT)),
        (1, 20, UNKNOWN_END, at(119, REBUILT)),
        (0, 120, UNKNOWN_END, at(239, REBUILT)),
    }
    assert len({edge.source.incarnation for edge in found.edges}) == 2
    assert said(found) == {"missing": {30}, "indeterminate": {*range(50, 60), *range(70, 80)}}


@pytest.mark.long
@pytest.mark.kafka
def test_two_workers_a_topic_that_is_gone_for_a_while_and_partitions(kafka: Cluster, tmp_path: Path) -> None:
    """A fleet goes on without a source that was deleted, finds the new one and every partition, and loses nothing.

    Two of the partitions of the old topic were never used: nobody knows what their last records were, so it is told.
    """

    async def run() -> Findings:
        async with living(kafka, tmp_path, "pair", (2, 3)) as life:
            first = await life.start()
            second = await life.start()
            await members(life, 2)
            await life.both(range(20), partition=1)
            await life.quiet()

            async with Questions(Broker.parse(life.bootstrap)) as cluster:
                await delete(cluster, [life.topics[REBUILT]])
            await life.publish(LEGACY, range(20, 40), partition=1)
            await until(lambda: any(MISSING_TOPIC in each.log.read_text() for each in (first, second)))
            life.fleet.check()
            await create_topics(life.bootstrap, {life.topics[REBUILT]: 1})
            await life.publish(REBUILT, range(20, 40))
            await life.quiet()

            await add_partitions(life.bootstrap, life.topics[LEGACY], 4)
            await life.publish(LEGACY, range(40, 60), partition=3)
            await life.publish(REBUILT, range(40, 60))
            await life.quiet()

            await asyncio.to_thread(life.fleet.kill, first)
            await life.publish(LEGACY, range(60, 80), partition=3)
            await life.publish(REBUILT, range(60, 80))
            await life.quiet()
            return await life.examine()

    found = asyncio.run(run())

    assert found.wrong == []
    assert said(found) == {}
    assert {edge[:4] for edge in told(found, REBUILT)} == {
        (0, 0, UNKNOWN_END, FAR_PAST),
        (1, 20, UNKNOWN_END, at(19, REBUILT)),
        (2, 0, UNKNOWN_END, FAR_PAST),
    }
    assert told(found, LEGACY) == set()


@pytest.mark.kafka
def test_a_position_beyond_the_end(kafka: Cluster, tmp_path: Path) -> None:
    """A log that ends below what was read of it was cut: it is read on at its end, as another incarnation.

    What lies below the end may be new and was not read, so it is lost; what comes after it is judged. A broker that has
    cut its log is played by a commit from the time before.
    """

    async def run() -> Findings:
        async with living(kafka, tmp_path, "cut", (1, 1)) as life:
            worker = await life.start()
            await life.both(range(50), without={10})
            await life.quiet()
            await life.stop(worker)
            group, topic = app_id_of(life.subject.contract), life.topics[REBUILT]
            async with Questions(Broker.parse(life.bootstrap)) as cluster:
                _position, note = (await cluster.commits(group, topic))[0]
                await cluster.commit(group, topic, {0: (90, note)})
                await life.both(range(50, 60))
                await life.start()
                while (await cluster.commits(group, topic))[0][0] == 90:
                    life.fleet.check()
                    await asyncio.sleep(0.2)
            await life.both(range(60, 100))
            await life.quiet()
            return await life.examine()

    found = asyncio.run(run())

    assert found.wrong == []
    (edge,) = found.edges
    assert (edge.source.incarnation[-2:], edge.start, edge.end, edge.reason) == ("+1", 0, 59, TRUNCATED)
    assert edge.from_ms == at(49, REBUILT)
    assert said(found) == {"missing": {10}, "indeterminate": set(range(50, 60))}
