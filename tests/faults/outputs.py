"""What happens to the topics that workers write."""

import asyncio

from cutover_app.lab.run import Stage
from tests.faults.ground import Ground, set_config
from tests.faults.row import Seen, row
from tests.faults.shown import shown

UNAVAILABLE_SECONDS = 12.0


@row(35, f"nobody can write verdicts for {UNAVAILABLE_SECONDS:g} s; the permission is taken away", "nothing dropped")
async def no_verdicts(ground: Ground, seen: Seen) -> None:
    """A topic with fewer replicas than must be in sync takes nothing; a refusal ends the worker in one line."""

    async def refuse(stage: Stage) -> None:
        topic = stage.route.subject.contract.verdicts.topic
        await set_config(stage.cluster, topic, {"cleanup.policy": "compact", "min.insync.replicas": "2"})
        await asyncio.sleep(UNAVAILABLE_SECONDS)
        await set_config(stage.cluster, topic, {"cleanup.policy": "compact", "min.insync.replicas": "1"})

    await ground.play(seen, ground.plan(40), (0.25, refuse))
    await shown(seen, "tests/integration/test_secured.py::test_a_permission_that_is_taken_away")
