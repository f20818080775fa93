"""What the application does when partitions come and go.

Order of one assignment, for intake partition i:

1. `Checkpointer.open(i)`: the former owner is fenced, what it left open is aborted. `Judge.look()`: what was
   written is known, and nobody else writes any more.
2. Faust recovers the tables of partition i from their changelogs, read committed.
3. `Judge.open(i)`: looks whether the rows are what was written, else begins again; reads the books row, returns the
   position from which intake is to be read.
4. `Stage.assigned(positions)`, per side: the source partitions of this worker and where they start.
5. The consumer seeks, whatever the group's offsets say for intake, and the streams begin.

Order of a revocation, and of a shutdown: streams are closed, before anything is waited for; the run is
still the same; agents finish the chunk that they have, or let go of it; `Stage.revoked()`
(everything sent is acknowledged); `Judge.close(i)` (checkpoint, then drop the state in memory);
offsets are committed; producers are closed. Only then does Faust let go of the partitions.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from faust.types import TP

from cutover_app.runtime.checkpoint import Checkpointer
from cutover_app.runtime.fatal import FatalError
from cutover_app.runtime.table import BatchTable


class Judge(Protocol):
    """Owner of the state of intake partitions."""

    async def look(self, partitions: Iterable[int]) -> None:
        """Look at what will be recovered."""

    async def open(self, partition: int, ours: Callable[[], bool]) -> int:
        """Load what was recovered, if it is still ours; return the intake position to read from."""

    async def close(self, partition: int) -> None:
        """Checkpoint, then drop the state in memory; a partition that never opened is fine."""


class Stage(Protocol):
    """Reader of one source topic."""

    async def starts(self, tps: Iterable[TP]) -> dict[TP, int]:
        """Where these partitions are to be read from."""

    async def assigned(self, positions: Mapping[TP, int]) -> None:
        """These partitions are read from these positions; called with none too."""

    async def revoked(self) -> None:
        """Wait until everything that was taken is in intake, then forget the partitions."""


class Partitions:
    """Walks through the orders above; holds no state but which partitions are open."""

    def __init__(
        self,
        *,
        intake: str,
        tables: Sequence[BatchTable],
        checkpointer: Checkpointer,
        judge: Judge,
        stages: Mapping[str, Stage],
    ) -> None:
        self.intake = intake
        self.tables = tables
        self.checkpointer = checkpointer
        self.judge = judge
        self.stages = stages
        self._lock = asyncio.Lock()
        self._opened: set[int] = set()

    async def take(self, assigned: Iterable[TP]) -> None:
        """Step 1."""
        assigned = set(assigned)
        mine = {tp.partition for tp in assigned if tp.topic == self.intake}
        for table in self.tables:
            changelog = {tp.partition for tp in assigned if tp.topic == table.changelog_name}
            if changelog != mine:
                raise FatalError(
                    f"table {table.name} got partitions {sorted(changelog)}, intake {sorted(mine)}:"
                    " all workers of a run must be of one version"
                )
        async with self._lock:
            await self.checkpointer.open(*mine)
            if mine:
                await self.judge.look(mine)

    async def open(self, assigned: Iterable[TP], starts: Mapping[TP, int], ours: Callable[[], bool]) -> dict[TP, int]:
        """Steps 3 and 4; `starts` are the positions of the source partitions."""
        positions = dict(starts)
        async with self._lock:
            for number in sorted(tp.partition for tp in assigned if tp.topic == self.intake):
                if not ours():
                    return {}
                self._opened.add(number)
                positions[TP(self.intake, number)] = await self.judge.open(number, ours)
            if not ours():
                return {}
            for topic, stage in self.stages.items():
                await stage.assigned({tp: at for tp, at in starts.items() if tp.topic == topic})
        return positions

    async def leave(self) -> None:
        """The revocation, up to the commit."""
        async with self._lock:
            await asyncio.gather(*(stage.revoked() for stage in self.stages.values()))
            await asyncio.gather(*(self.judge.close(number) for number in self._opened))
            self._opened.clear()

    async def release(self) -> None:
        """The rest of it."""
        async with self._lock:
            await self.checkpointer.close_all()
