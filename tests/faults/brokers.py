"""What happens to brokers, and to the way to them."""

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any

from cutover_app.lab.cluster import Cluster, free_ports
from cutover_app.lab.run import PUBLISHED, Stage
from tests.faults.ground import FENCED, Ground, Successors, at_work, ended, gone, last_words, mirror_of
from tests.faults.places import Far, Network, Trio
from tests.faults.row import Seen, row

BOUNCES = 5
BELOW_ISR_SECONDS = 15.0
CUT_SECONDS = 8.0
BLINK_SECONDS = 0.2
MUTE_SECONDS = 100.0
SOON_SECONDS = 30.0
"""As long as a single request may take."""
SOON_MIN = 3
UNANSWERED = re.compile(f"{FENCED.pattern}|did not acknowledge|has an unknown result")
"""What a worker says that had something under way with a broker that became mute."""
LOST_SECONDS = 10.0
"""After these the others know that a broker does not answer."""


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


@row(107, "a mirror, and each of its two clusters is killed and comes back", "a pause; nothing said from silence")
async def both_bounced(ground: Ground, seen: Seen) -> None:
    """Whoever asks the mirror, the legacy cluster and its own one has three that may not answer."""
    legacy, mirror = await mirror_of(ground)

    async def bounce(_stage: Stage) -> None:
        for each in (ground.cluster, legacy, ground.cluster):
            await _bounce(each, ground.random.uniform(1, 5), kill=True)
            await asyncio.sleep(ground.random.uniform(4, 8))

    plan = ground.plan(60, mirrored=True)
    await ground.play(seen, plan, *Successors(seen).from_step(0.1, bounce), mirror=mirror)


@row(
    106,
    f"three brokers: one is mute for {MUTE_SECONDS:g} s, at an address that workers may try; workers come and go",
    "whoever starts is at work soon, and leaves in good order",
)
async def mute(ground: Ground, seen: Seen) -> None:
    """A machine that hangs refuses nothing: whoever connects to it waits as long as it can."""
    trio = ground.cluster = ground.stack.enter_context(Trio())
    took: list[float] = []

    async def come_and_go(stage: Stage) -> None:
        (port,) = free_ports(1)
        began = time.monotonic()
        (worker,) = stage.fleet.start(web_port=port)
        worker.may_end = True
        if await at_work(worker, port):
            took.append(time.monotonic() - began)
            worker.process.terminate()
        code = await gone(stage, worker)
        if code:
            seen.expect(bool(UNANSWERED.search(last_words(worker))), f"{code}: {last_words(worker)}")

    async def hush(stage: Stage) -> None:
        node = ground.random.choice(trio.nodes)
        await asyncio.to_thread(node.pause)
        until = time.monotonic() + MUTE_SECONDS
        for each in stage.fleet.running:
            each.may_end = True  # what was under way with that broker may have no answer
        await asyncio.sleep(LOST_SECONDS)
        while time.monotonic() < until:
            await come_and_go(stage)
        await asyncio.to_thread(node.resume)
        for each in [each for each in stage.fleet.workers if not each.running]:
            await gone(stage, each)
            seen.expect(bool(UNANSWERED.search(last_words(each))), last_words(each))
        stage.fleet.start(2)

    # When all is published: the lab's own producers give up sooner than workers do.
    await ground.play(seen, ground.plan(20, contract=_replicas(ground)), (PUBLISHED, hush))
    # The first ones wait for those whose requests were under way, until these give up.
    soon = sum(1 for each in took if each < SOON_SECONDS)
    seen.expect(soon >= SOON_MIN, f"at work after {', '.join(f'{each:.0f}' for each in took)} s")


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
