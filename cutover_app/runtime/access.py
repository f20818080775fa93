"""Finds out that a permission was taken away while a worker works.

Faust's consumer does not tell: it logs, and asks again for ever, while the frontiers stand still and nobody knows why.
"""

import asyncio
import logging
from typing import Any, Final

from aiokafka.errors import KafkaError
from mode import Service

from cutover_app.contract.models import Contract
from cutover_app.kafka.access import check_access
from cutover_app.kafka.acls import WORKER
from cutover_app.kafka.cluster import Cluster
from cutover_app.kafka.errors import AccessRefused, KafkaUnavailable
from cutover_app.kafka.refusal import denied
from cutover_app.runtime.fatal import die

LOOK_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = 1.0
"""A refusal must still be one after this long: permissions are replaced by taking away and giving."""

log = logging.getLogger(__name__)


class AccessWatch(Service):
    """Looks from time to time, and ends the worker in one line."""

    def __init__(self, cluster: Cluster, contract: Contract, **kwargs: Any) -> None:
        self.cluster = cluster
        self.contract = contract
        super().__init__(**kwargs)

    @Service.task
    async def _look_forever(self) -> None:
        async for _late in self.itertimer(LOOK_SECONDS, name="access"):
            if await self._refusal() is not None:
                await asyncio.sleep(AGAIN_SECONDS)
                if (refusal := await self._refusal()) is not None:
                    die(refusal)

    async def _refusal(self) -> BaseException | None:
        try:
            await check_access(self.cluster, self.contract, WORKER)
        except AccessRefused as error:
            return error
        except (KafkaError, KafkaUnavailable, TimeoutError) as error:
            if denied(error) is not None:
                return error
            log.info("permissions are not known: %r", error)
        return None

    async def on_stop(self) -> None:
        """Disconnect."""
        await self.cluster.close()
