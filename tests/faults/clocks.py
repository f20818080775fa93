"""What happens to clocks: those of the producers, of the brokers, and of a worker's machine."""

import time
from pathlib import Path

from cutover_app.core.frames import REBUILT
from cutover_app.lab.run import Stage
from tests.faults.ground import Ground, set_config
from tests.faults.row import Seen, row
from tests.integration.life import living

HOUR_MS = 3_600_000
JUMPS_S = (7200, -7200, 0)
JUMPING = Path(__file__).with_name("jumping_clock")


@row(21, "timestamps an hour off either way, in the year 2100, and zero", "closing is not poisoned", daily=True)
async def skewed(ground: Ground, seen: Seen) -> None:
    """The producers' timestamps say nothing about what may be closed."""
    now_ms = int(time.time() * 1000)
    shifts = (-HOUR_MS, HOUR_MS, 4_102_444_800_000 - now_ms, -now_ms, 0)

    def when(number: int, _side: int) -> int:
        return now_ms + shifts[number % len(shifts)]

    lost = {7, 23, 41, 64, 88}
    async with living(ground.cluster, ground.folder, f"row{ground.number}", (1, 2)) as life:
        await life.start()
        for first in range(0, 100, 20):
            await life.both(range(first, first + 20), without=lost, when=when)
        await life.quiet()
        found = await life.examine()
    seen.wrong += found.wrong
    seen.expect(found.outcomes == {"missing": len(lost)}, f"of 100 messages {dict(found.outcomes)}")


@row(22, "the rebuilt topic's timestamps become the broker's, and the producer's again, while running", "no false late")
async def timestamp_types(ground: Ground, seen: Seen) -> None:
    """Late is said only where both timestamps are of one kind."""

    async def stamp(stage: Stage, kind: str) -> None:
        wanted = {"message.timestamp.type": kind, "retention.ms": "-1"}
        await set_config(stage.cluster, stage.plan.topics[REBUILT], wanted)

    async def brokers(stage: Stage) -> None:
        await stamp(stage, "LogAppendTime")

    async def producers(stage: Stage) -> None:
        await stamp(stage, "CreateTime")

    played = await ground.play(seen, ground.plan(25), (0.3, brokers), (0.7, producers))
    kinds = {finding.kind for each in played.found.verdicts.values() for finding in each.findings}
    seen.expect("late" not in kinds, "nothing is called late")


@row(23, "the wall clock of a worker jumps two hours ahead, two back, and right again", "nothing")
async def jumped(ground: Ground, seen: Seen) -> None:
    """Only brokers' clocks count, and of them only differences."""
    offset = ground.folder / "offset"
    offset.write_text("0")

    async def jump(_stage: Stage) -> None:
        offset.write_text(str(JUMPS_S[len(jumped_to)]))
        jumped_to.append(JUMPS_S[len(jumped_to)])

    jumped_to: list[int] = []
    env = {"PYTHONPATH": f"{JUMPING}:{Path(__file__).parents[2]}", "JUMPING_CLOCK": str(offset)}
    played = await ground.play(seen, ground.plan(30, env=env), (0.25, jump), (0.5, jump), (0.75, jump))
    seen.expect("the clock jumps" in played.log, f"the clock was {', '.join(map(str, jumped_to))} s off")
