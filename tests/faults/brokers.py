"""What happens to brokers, and to the way to them."""

import asyncio
from collections.abc import Callable
from typing import Any

from cutover_app.lab.cluster import Cluster
from cutover_app.lab.run import Stage
from tests.faults.ground import Ground, Successors, ended
from tests.faults.places import Far, Network, Trio
from tests.faults.row import Seen, row

BOUNCES = 5
BELOW_ISR_SECONDS = 15.0
CUT_SECONDS = 8.0
BLINK_SECONDS = 0.2


def _replicas(ground: Ground) -> dict[str, Any]:
    """Return what a contract says where there are three brokers."""
    return {
        "internal": {"replication": 3, "min_insync": 2},
        "verdicts": {"topic": f"row{ground.number}.verdicts", "replication": 3},
    }


async def _bounce(node: Cluster, down: float, *, kill: bool) -> None:
    await asyncio.to_thread(node.kill if kill else node.stop)
    await asyncio.sleep(down)
    await asyncio.to_thread(node.restart)


@row(
    8,
    f"the only broker is stopped or killed and comes back, {BOUNCES} times",
    "a pause; nothing said from silence; who was taken for dead says so and ends",
)
async def bounced(ground: Ground, seen: Seen) -> None:
    """Under load, in good order and not. Where it is away for longer than a session, one worker is back first."""

    async def bounce(stage: Stage) -> None:
        for number in range(BOUNCES):
            await _bounce(stage.cluster, ground.random.uniform(0, 4), kill=number % 2 == 1)
            await asyncio.sleep(ground.random.uniform(3, 6))

    await ground.play(seen, ground.plan(60), *Successors(seen).from_step(0.1, bounce))


@row(9, "three brokers: each is killed in turn, leaders move", "nothing visible")
async def leaders_moved(ground: Ground, seen: Seen) -> None:
    """One broker of three is gone at a time."""
    trio = ground.cluster = ground.stack.enter_context(Trio())
    nodes = list(trio.nodes)
    ground.random.shuffle(nodes)

    async def move(_stage: Stage) -> None:
        for node in nodes:
            await _bounce(node, ground.random.uniform(4, 8), kill=True)
            await asyncio.sleep(8)  # until it is in sync again

    await ground.play(seen, ground.plan(70, contract=_replicas(ground)), (0.1, move))


@row(
    10,
    f"three brokers: two are gone for {BELOW_ISR_SECONDS:g} s",
    "a pause; no false missing; who was taken for dead says so and ends",
)
async def below_min_isr(ground: Ground, seen: Seen) -> None:
    """Nothing can be written, so nothing is committed, and no barrier passes."""
    trio = ground.cluster = ground.stack.enter_context(Trio())

    async def starve(_stage: Stage) -> None:
        gone = ground.random.sample(trio.nodes, 2)
        for node in gone:
            await asyncio.to_thread(node.kill)
        await asyncio.sleep(BELOW_ISR_SECONDS)
        await asyncio.gather(*(asyncio.to_thread(node.restart) for node in gone))

    plan = ground.plan(45, contract=_replicas(ground))
    await ground.play(seen, plan, *Successors(seen).from_step(0.2, starve))


@row(
    103,
    "three brokers: one is gone for good; a worker is told to stop, another starts",
    "nothing visible; the worker ends in good order",
)
async def never_back(ground: Ground, seen: Seen) -> None:
    """Whoever remembers the dead one as a leader has to ask others who leads now. The end is half a minute later."""
    trio = ground.cluster = ground.stack.enter_context(Trio())

    async def bury(_stage: Stage) -> None:
        await asyncio.to_thread(ground.random.choice(trio.nodes).kill)

    async def relieve(stage: Stage) -> None:
        took = await ended(stage, ground.random.choice(stage.fleet.running))
        seen.note(f"ended {took:.1f} s after it was told to")
        stage.fleet.start()

    await ground.play(seen, ground.plan(45, contract=_replicas(ground)), (0.1, bury), (0.5, relieve))


@row(
    18,
    f"the way to the broker: cut for {CUT_SECONDS:g} s, deaf, mute, deaf half of the time",
    "as if the broker had paused; who was taken for dead says so and ends",
)
async def cut_off(ground: Ground, seen: Seen) -> None:
    """Workers in a network of their own, whose wire fails in each way that a wire can."""
    network = ground.stack.enter_context(Network())
    ground.cluster = ground.stack.enter_context(Far("far"))
    ways: list[tuple[Callable[..., None], float]] = [
        (network.cut, CUT_SECONDS),
        (network.deafen, CUT_SECONDS),
        (network.mute, CUT_SECONDS),
        (network.deafen, BLINK_SECONDS),
    ]
    ground.random.shuffle(ways)

    async def fail(_stage: Stage) -> None:
        for way, seconds in ways:
            for _time in range(int(CUT_SECONDS / seconds)):
                way()
                await asyncio.sleep(seconds)
                way(back=True)
                await asyncio.sleep(seconds)

    await ground.play(seen, ground.plan(70, under=network.under), *Successors(seen).from_step(0.1, fail))
