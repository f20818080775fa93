"""Whole workers on a legacy topic that lives on another cluster; the mirror is the test's own, so that it can stall."""

import asyncio
import time
from itertools import count
from pathlib import Path

from cutover_app.lab.cluster import Cluster
from cutover_app.lab.topics import create_topics
from tests.mirrored.fake_mirror import FakeMirror
from tests.mirrored.shop import PARTITIONS, Producers, Run, Shop

UNPROVEN_S = 120.0
_numbers = count(1)


def shop_of(kafka: Cluster, legacy: Cluster, folder: Path) -> Shop:
    name = f"mirrored{next(_numbers)}"
    # No real mirror copies a topic with this ending.
    topic = f"{name}.orders.replica"
    return Shop(kafka, legacy, name, folder, topic, f"legacy.{topic}", f"{name}.rebuilt")


def fake(shop: Shop) -> FakeMirror:
    return FakeMirror(
        shop.legacy.bootstrap,
        shop.work.bootstrap,
        shop.legacy_topic,
        f"mm2-offsets.{shop.name}.internal",
        partitions=PARTITIONS[0],
        copy=shop.copy or "",
    )


async def create_offsets(shop: Shop) -> None:
    await create_topics(
        shop.work.bootstrap, {f"mm2-offsets.{shop.name}.internal": 3}, configs={"cleanup.policy": "compact"}
    )


def test_a_stalled_mirror_makes_no_unknown(kafka: Cluster, legacy: Cluster, tmp_path: Path) -> None:
    """The copy looks complete for several graces while both producers go on: nothing is said until it goes on again.

    Then all is judged; what is really missing and really unknown is found, and a record that the mirror sends again is
    a duplicate for which transport is suspected. Its positions are found without being named, and the damage that it
    does to headers is said once and is nobody's finding.
    """
    shop = shop_of(kafka, legacy, tmp_path)

    async def run() -> None:
        await shop.create()
        await create_offsets(shop)
        contract = shop.contract(
            {"mirror": {"broker": f"kafka://{legacy.bootstrap}", "topic": shop.legacy_topic}},
        )
        async with Run(shop, contract) as judged, fake(shop) as mirror:
            mirror.base64 = True
            async with Producers(shop, missing=5, unknown=700) as producers:
                await judged.start()
                await producers.publish(400)
                mirror.stall()
                await producers.publish(1_500, rate=100.0)

                assert "unknown" not in await judged.outcomes()

                mirror.go()
                await producers.publish(200)
            await mirror.until(2_099)
            await mirror.again(2)
            await mirror.until(2_103)
            findings = await judged.end()
            log = judged.log()

        assert findings.wrong == []
        assert findings.outcomes == {"missing": 1, "unknown": 1, "duplicate": 4}
        assert log.count("writes the values of headers as Base64 text") == 1
        duplicates = [each for each in findings.verdicts.values() if each.outcome == "duplicate"]
        assert all("transport" in each.findings[0].note for each in duplicates)

    asyncio.run(run())


def test_without_access_an_unknown_cannot_be_told(kafka: Cluster, legacy: Cluster, tmp_path: Path) -> None:
    """With a legacy cluster that nobody reaches a lonely actual is indeterminate; a trusted mirror says unknown."""
    shop = shop_of(kafka, legacy, tmp_path)

    async def run() -> None:
        await shop.create()
        await create_offsets(shop)
        async with fake(shop) as mirror:
            async with Producers(shop, missing=5, unknown=7) as producers:
                await producers.publish(50)
            await mirror.until(49)
            blind = shop.contract({"mirror": {"broker": "kafka://127.0.0.1:1", "topic": shop.legacy_topic}})
            async with Run(shop, blind) as judged:
                await judged.start()
                deadline = time.monotonic() + UNPROVEN_S
                while "indeterminate" not in await judged.outcomes():
                    assert time.monotonic() < deadline, judged.log()
                    await asyncio.sleep(0.5)

                assert await judged.outcomes() == {"missing", "indeterminate"}

                log = judged.log()
            assert "no Kafka broker answers at 127.0.0.1:1" in log
            assert "is not proven" in log
            trusted = shop.contract({"mirror": "trusted"}, run=f"{shop.name}t", verdicts={"topic": f"{shop.name}.more"})
            async with Run(shop, trusted) as judged:
                await judged.start()
                findings = await judged.end()

        assert findings.wrong == []
        assert findings.outcomes == {"missing": 1, "unknown": 1}

    asyncio.run(run())


def test_the_legacy_topic_is_read_where_it_is(kafka: Cluster, legacy: Cluster, tmp_path: Path) -> None:
    """Two workers share the topic on the legacy cluster, also under the rebuilt topic's name; one is killed.

    Everything is judged as if it were here: equal to the oracle, books balanced, the same when replayed.
    """
    name = f"direct{next(_numbers)}"
    shop = Shop(kafka, legacy, name, tmp_path, f"{name}.replica", None, f"{name}.replica")

    async def run() -> None:
        await shop.create()
        contract = shop.contract({"broker": f"kafka://{legacy.bootstrap}"})
        async with Run(shop, contract) as judged, Producers(shop, missing=5, unknown=1_700) as producers:
            await producers.publish(300, rate=1_000.0)
            await judged.start(2)
            await producers.publish(1_000)
            judged.fleet.kill(judged.fleet.running[0])
            await producers.publish(1_000)
            judged.fleet.start()
            await producers.publish(1_000)
            findings = await judged.end()
            log = judged.log()

        assert findings.wrong == []
        assert findings.outcomes == {"missing": 1, "unknown": 1}
        assert findings.entries == (3_299, 3_299)
        assert "Traceback" not in log

    asyncio.run(run())
