"""What happens to workers: they are killed, halted, blocked, restarted, and come and go."""

import asyncio
import os
import signal
import time

from cutover_app.commands.output import CANNOT_TELL, FINE
from cutover_app.lab.cluster import free_ports
from cutover_app.lab.fleet import Worker
from cutover_app.lab.run import JUDGED, Stage, Step
from cutover_app.runtime.failpoints import ENVIRONMENT, PLACES
from cutover_app.runtime.fatal import EXIT_FATAL
from tests.faults.ground import FENCED, Ground, asked, at_work, ended, fails, gone, last_words, logged
from tests.faults.row import Seen, row

KILLS = 3
HALTED_SECONDS = 16.0
"""Longer than a session lasts (10 s)."""
BLOCKED_SECONDS = 6.0
"""Shorter."""
LINGERS_SECONDS = 4.0
LINGERING = 6
STORM_SECONDS = 120.0
STORM_EVERY = 3.0
QUARANTINE_LOOKS = 5
TIMES = {
    "judge.wait": 20,
    "judge.take": 20,
    "judge.taken": 20,
    "intake.sent": 8,
    "intake.landed": 8,
    "offsets.commit": 2,
}
"""At which time a worker is killed at a place, where it is not the first."""


@row(1, "SIGKILL of a worker at random moments, another starts", "equal to the oracle")
async def killed(ground: Ground, seen: Seen) -> None:
    """Kill whichever of two workers, three times, and start another each time."""

    async def kill(stage: Stage) -> None:
        stage.fleet.kill(ground.random.choice(stage.fleet.running))
        await asyncio.sleep(ground.random.uniform(0, 4))
        stage.fleet.start()

    steps: list[Step] = [(0.1 + 0.3 * n + ground.random.uniform(0, 0.15), kill) for n in range(KILLS)]
    played = await ground.play(seen, ground.plan(45), *steps)
    seen.expect(played.redelivered > 0, "something was redelivered")


@row(2, f"SIGKILL at each of {len(PLACES)} places of a worker's work", "equal to the oracle, every place reached")
async def killed_at_each_place(ground: Ground, seen: Seen) -> None:
    """Beside a steady worker, one after the other is killed where it is told to be."""
    places = list(PLACES)
    ground.random.shuffle(places)
    reached = []

    async def chain(stage: Stage) -> None:
        for place in places:
            (port,) = free_ports(1)
            (worker,) = stage.fleet.start(env={ENVIRONMENT: f"{place}=kill@{TIMES.get(place, 1)}"}, web_port=port)
            worker.may_end = True
            if place in ("partitions.leaving", "partitions.left"):
                await at_work(worker, port)
                worker.process.terminate()
            code = await gone(stage, worker, within=90)
            if code == -signal.SIGKILL and f"cutover: failpoint {place}: kill" in logged(worker):
                reached.append(place)

    await ground.play(seen, ground.plan(len(places) * 14, workers=1), (0.02, chain))
    seen.expect(set(reached) == set(places), f"{len(reached)} of {len(places)} places were reached")


@row(3, f"SIGSTOP for {HALTED_SECONDS:g} s, longer than the session, then SIGCONT", "it says that it was fenced, ends")
async def halted(ground: Ground, seen: Seen) -> None:
    """A worker that has been given up comes back and must not speak for its former partitions."""

    async def halt(stage: Stage) -> None:
        worker = stage.fleet.running[0]
        worker.may_end = True
        os.kill(worker.process.pid, signal.SIGSTOP)
        await asyncio.sleep(HALTED_SECONDS)
        os.kill(worker.process.pid, signal.SIGCONT)
        code = await gone(stage, worker, within=30)
        seen.expect(code == EXIT_FATAL, f"exit code {code}")
        seen.expect(bool(FENCED.search(last_words(worker))), last_words(worker))

    await ground.play(seen, ground.plan(40), (0.25, halt))


@row(104, "a worker is halted, its run is reset and begun anew, it wakes", "it ends, and the new run has nothing of it")
async def reset_meanwhile(ground: Ground, seen: Seen) -> None:
    """What it had in hand is for topics of the same names, and its group has nobody who would contradict it."""

    async def begin_anew(stage: Stage) -> None:
        (worker,) = stage.fleet.running
        worker.may_end = True
        os.kill(worker.process.pid, signal.SIGSTOP)
        await asyncio.sleep(HALTED_SECONDS)
        for words in (("reset", "--yes", "--verdicts"), ("plan", "--apply")):
            code, text = await asked(stage, *words)
            seen.expect(code == FINE, f"{words[0]} ends with {code}" + (f": {text}" if code else ""))
        os.kill(worker.process.pid, signal.SIGCONT)
        await asyncio.sleep(ground.random.uniform(0, 8))
        stage.fleet.start()
        await fails(stage.fleet, seen, worker, "its run was reset while it stood still")
        await stage.watch.stop()
        await stage.watch.start()

    await ground.play(seen, ground.plan(45, workers=1), (0.3, begin_anew), state_lost=True)


@row(4, f"the event loop of a worker stands still for {BLOCKED_SECONDS:g} s", "a delay, and nothing else")
async def blocked(ground: Ground, seen: Seen) -> None:
    """Shorter than the session: nobody takes over."""
    trap = f"judge.take=block:{BLOCKED_SECONDS}@40"
    played = await ground.play(seen, ground.plan(25, env={ENVIRONMENT: trap}))
    seen.expect("failpoint judge.take: block" in played.log, "it stood still")
    seen.expect(played.redelivered == 0, "nothing was redelivered")


@row(5, "rolling restart: SIGTERM for each worker in turn, under load", "each ends with 0, nothing redelivered")
async def restarted_in_turn(ground: Ground, seen: Seen) -> None:
    """Three workers, each replaced by a new one with its state."""
    took = []

    async def roll(stage: Stage) -> None:
        for worker in list(stage.fleet.running):
            took.append(await ended(stage, worker))
            stage.fleet.start_again(worker)
            await asyncio.sleep(6)

    played = await ground.play(seen, ground.plan(45, workers=3), (0.2, roll))
    seen.expect(played.redelivered == 0, "nothing was redelivered")
    seen.note(f"gone within {max(took):.1f} s")


@row(105, f"who leaves partitions lingers for {LINGERS_SECONDS:g} s, again and again", "no state lost")
async def lingering(ground: Ground, seen: Seen) -> None:
    """Brokers are slow to answer, and a judge was in the middle of a barrier: nobody may judge what comes behind it."""
    # Slow judging makes chunks of so many keys that others get their turns within a barrier.
    trap = {ENVIRONMENT: f"partitions.leaving=sleep:{LINGERS_SECONDS} judge.wait=sleep:1"}

    async def shake(stage: Stage) -> None:
        for _time in range(LINGERING):
            (port,) = free_ports(1)
            (worker,) = stage.fleet.start(env=trap, web_port=port)
            await at_work(worker, port)
            await asyncio.sleep(ground.random.uniform(0, 4))
            worker.may_end = True
            worker.process.terminate()
            await gone(stage, worker)

    played = await ground.play(seen, ground.plan(LINGERING * 15, env=trap, intake=2), (0.05, shake))
    seen.expect(played.log.count("failpoint partitions.leaving: sleep") > LINGERING, "they lingered")


@row(6, f"a worker joins or leaves every {STORM_EVERY:g} s for {STORM_SECONDS:g} s", "progress, equal to the oracle")
async def storm(ground: Ground, seen: Seen) -> None:
    """One to four workers, coming and going in good order or not; judged work grows all the same."""
    progress = []

    async def leave(stage: Stage, worker: Worker) -> None:
        worker.may_end = True
        worker.process.terminate()
        code = await gone(stage, worker, within=15)
        # Who has not said a word may not have got so far as to know how to leave.
        if code != 0 and not (code == -signal.SIGTERM and not logged(worker)):
            seen.expect(False, f"{worker.name} ended with {code} on SIGTERM: {last_words(worker)}")

    async def blow(stage: Stage) -> None:
        until = time.monotonic() + STORM_SECONDS
        while time.monotonic() < until:
            running = stage.fleet.running
            if len(running) == 1 or (len(running) < 4 and ground.random.random() < 0.5):
                stage.fleet.start()
            elif ground.random.random() < 0.3:
                stage.fleet.kill(ground.random.choice(running))
            else:
                await leave(stage, ground.random.choice(running))
            await asyncio.sleep(STORM_EVERY)
            await stage.watch.look()
            progress.append(sum(stage.watch.totals.accepted))

    await ground.play(seen, ground.plan(STORM_SECONDS + 15), (0.05, blow))
    moved = len(set(progress)) - 1
    seen.expect(moved >= 3, f"{len(progress)} comings and goings, progress between {moved} of them")


@row(
    7,
    "judging one intake partition fails, again and again",
    "that one is quarantined, the others go on, nobody is told that all is fine, exit 4",
    daily=True,
)
async def poisoned(ground: Ground, seen: Seen) -> None:
    """A worker without the defect takes over where the last checkpoint was, and all is right again."""
    number = ground.random.randrange(4)

    async def reached(stage: Stage) -> dict[int, int]:
        await stage.watch.look()
        return {partition: books.at for partition, books in stage.watch.books.items()}

    async def say(stage: Stage, expected: int, words: str) -> None:
        for command in ("status", "report"):
            code, text = await asked(stage, command)
            seen.expect(code == expected and words in text, f"{command}: exit {code}, {words}")

    async def replace(stage: Stage) -> None:
        (poisoned,) = stage.fleet.running
        stuck: list[int] = []
        for _time in range(QUARANTINE_LOOKS):  # a busy machine may not have come to the defect yet
            before = await reached(stage)
            await asyncio.sleep(6)
            after = await reached(stage)
            stuck = [each for each in range(stage.plan.intake) if after.get(each) == before.get(each)]
            if stuck == [number]:
                break
        seen.expect(stuck == [number], f"partition {stuck} stands still, the others go on")
        await say(stage, CANNOT_TELL, f"intake partitions {number} are quarantined")
        poisoned.may_end = True
        poisoned.process.terminate()
        await fails(stage.fleet, seen, poisoned, f"partition {number} is quarantined")
        stage.fleet.start()

    async def right_again(stage: Stage) -> None:
        await say(stage, FINE, "the books balance")

    trap = {ENVIRONMENT: f"judge.taken[{number}]=raise@30 judge.take[{number}]=raise@31"}
    # Nothing is wrong with the messages: a problem would outrank the doubt, and exit codes would show it alone.
    await ground.play(seen, ground.plan(30, rates={}, workers=1, env=trap), (0.4, replace), (JUDGED, right_again))
