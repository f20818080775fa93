"""Whole workers behind a real MirrorMaker 2 that is halted, and that is killed and begins again."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from cutover_app.lab.mirror import Mirror
from cutover_app.lab.verify import Findings
from tests.mirrored.shop import Producers, Run, Shop

HALTED_S = (15.0, pytest.param(60.0, marks=pytest.mark.long))
"""Five graces of the contract, and twenty."""
RATE = 60.0
_numbers = count(1)


@pytest.fixture
def shop(mirror: Mirror, tmp_path: Path) -> Shop:
    """A shop whose legacy topic is copied under its own name; the copy is made by MirrorMaker 2."""
    name = f"real{next(_numbers)}"
    topic = f"{name}.orders"
    return Shop(mirror.work, mirror.legacy, name, tmp_path, topic, topic, f"{name}.rebuilt", makes_copy=False)


@asynccontextmanager
async def judged_by_the_way(mirror: Mirror, shop: Shop) -> AsyncIterator[tuple[Producers, Run]]:
    """Workers that begin when something is published and copied already; one message is missing, one unknown."""
    await shop.create()
    async with Producers(shop, missing=5, unknown=700) as producers:
        await producers.publish(200)
        await mirror.caught_up(shop.legacy_topic)
        async with Run(shop, shop.contract({"mirror": {"broker": f"kafka://{mirror.legacy.bootstrap}"}})) as judged:
            await judged.start()
            yield producers, judged


@pytest.mark.parametrize("halted_s", HALTED_S)
def test_a_mirror_that_is_halted(mirror: Mirror, shop: Shop, halted_s: float) -> None:
    """Both producers go on while it is halted; nothing false is said then, and afterwards all of it is judged."""

    async def run() -> None:
        async with judged_by_the_way(mirror, shop) as (producers, judged):
            await producers.publish(300)
            mirror.pause()
            try:
                began = time.monotonic()
                while time.monotonic() < began + halted_s:
                    await producers.publish(300, rate=RATE)

                    assert await judged.outcomes() <= {"missing"}
            finally:
                mirror.resume()
            await producers.publish(200)
            findings = await judged.end()

        # What was under way when it was halted has timed out, and is sent again.
        assert_only_transport_repeats(findings, producers.legacy)

    asyncio.run(run())


@pytest.mark.long
def test_a_mirror_that_is_killed(mirror: Mirror, shop: Shop) -> None:
    """What it sends again once it is back is a duplicate for which transport is suspected; nothing else is said."""

    async def run() -> None:
        async with judged_by_the_way(mirror, shop) as (producers, judged):
            await producers.publish(200)
            # The interval after which it notes its position is a second: some of these it has sent and not noted.
            publishing = asyncio.create_task(producers.publish(600))
            await asyncio.sleep(2.5)
            mirror.kill()
            await publishing
            await asyncio.to_thread(mirror.start)
            await producers.publish(200)
            await mirror.caught_up(shop.legacy_topic)
            findings = await judged.end()

        assert assert_only_transport_repeats(findings, producers.legacy), "nothing was sent again: nothing is proven"

    asyncio.run(run())


def assert_only_transport_repeats(findings: Findings, published: int) -> int:
    """Beside what was planted only the mirror's repetitions may be said; return how many there were."""
    assert findings.wrong == []
    said = dict(findings.outcomes)
    again = said.pop("duplicate", 0)
    assert said == {"missing": 1, "unknown": 1}
    assert findings.entries[0] == published + again
    duplicates = [each for each in findings.verdicts.values() if each.outcome == "duplicate"]
    assert all("transport" in each.findings[0].note for each in duplicates)
    return again
