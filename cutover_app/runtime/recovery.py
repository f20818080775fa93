"""Faust's table recovery, continued until the streams stand where the recovered state says."""

from typing import TYPE_CHECKING, Any

from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery

if TYPE_CHECKING:
    from cutover_app.runtime.app import CutoverApp


class BatchRecovery(Recovery):
    """Stock recovery reads changelogs; only then is it known from where intake must be read."""

    app: "CutoverApp"

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
