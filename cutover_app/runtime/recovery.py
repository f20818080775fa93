"""Faust's table recovery, continued until the streams stand where the recovered state says."""

from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaTimeoutError
from faust.tables.manager import TableManager
from faust.tables.recovery import RebalanceAgain, Recovery, ServiceStopped

if TYPE_CHECKING:
    from cutover_app.runtime.app import CutoverApp


class BatchRecovery(Recovery):
    """Stock recovery reads changelogs; only then is it known from where intake must be read."""

    app: "CutoverApp"

    async def _wait(self, coro: Any, timeout: Any = None) -> None:  # noqa: ASYNC109 - the signature of the base class
        """Begin again where brokers take too long: mode says of that what it says of a stop, and recovery ends."""
        try:
            await super()._wait(coro, timeout)
        except (ServiceStopped, KafkaTimeoutError, TimeoutError) as error:
            if self.should_stop or timeout is None:
                raise
            self.log.warning("brokers did not answer recovery within %g s: it begins again", timeout)
            self.signal_recovery_start.set()
            raise RebalanceAgain from error

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """Open the recovered partitions, then the streams."""
        await super().on_recovery_completed(generation_id)
        if self.app.consumer_generation_id == generation_id:
            await self.app.open_partitions(generation_id)


class BatchTableManager(TableManager):
    """Uses our recovery."""

    @property
    def recovery(self) -> Recovery:
        """The recovery service of this worker, made on first use."""
        if self._recovery is None:
            options: dict[str, Any] = {"beacon": self.beacon, "loop": self.loop}
            self._recovery = BatchRecovery(self.app, self, **options)
        return self._recovery
