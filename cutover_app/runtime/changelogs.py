"""What is known of the changelogs of this worker's partitions, besides the rows that are recovered from them.

It is looked at once per assignment, when the former owners have been fenced and before recovery: nothing moves then.
What follows from it is decided in `core/integrity.py`.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from cutover_app.core.cache import Store
from cutover_app.core.integrity import Found, flaw
from cutover_app.core.verdicts import decode_verdict
from cutover_app.kafka.cluster import EARLIEST, LATEST, Cluster
from cutover_app.kafka.reading import partition_reader
from cutover_app.kafka.settings import Broker
from cutover_app.runtime.table import BatchTable


class Changelogs:
    """The changelogs of all tables, and what else tells how far intake has been judged."""

    def __init__(self, broker: Broker, *, group: str, intake: str, tables: Sequence[BatchTable], verdicts: str) -> None:
        self._broker = broker
        self._cluster = Cluster(broker, client_id="cutover-changelogs")
        self._group = group
        self._intake = intake
        self._tables = tables
        self._verdicts = verdicts
        self._begins: dict[str, dict[int, int]] = {}
        self._committed: dict[int, int] = {}
        self._cut: dict[int, str] = {}
        self.intake_begins: dict[int, int] = {}
        """Where each partition of intake begins."""

    async def look(self, partitions: Iterable[int]) -> None:
        """Look at them. Local rows from beyond the end of their changelog are wiped: recovery would not start."""
        changelogs = {table.changelog_name: table for table in self._tables}
        topics = await self._cluster.topics([self._intake, *changelogs])
        self._committed = await self._cluster.committed(self._group, self._intake)
        self.intake_begins = await self._cluster.offsets(topics[self._intake], EARLIEST)
        for name, table in changelogs.items():
            self._begins[table.name] = await self._cluster.offsets(topics[name], EARLIEST)
            ends = await self._cluster.offsets(topics[name], LATEST)
            for number in partitions:
                if table.data.wipe_beyond(number, ends[number]):
                    self._cut[number] = (
                        f"the changelog of table {table.name} ends at {ends[number]}, and has been longer"
                    )

    async def flaw(self, partition: int, rows: Store) -> str:
        """Say in what way the recovered rows of a partition are not what checkpoints wrote; empty where they are."""
        cut = self._cut.pop(partition, "")
        whole = not all(table.data.partition(partition).is_whole() for table in self._tables)
        found = Found(self._committed.get(partition, 0), self.begins(partition), whole=whole)
        # Up to every row is read, which takes seconds.
        line = cut or await asyncio.to_thread(flaw, rows, found)
        if not line and whole:
            for table in self._tables:
                table.data.partition(partition).set_whole()
        return line

    def begins(self, partition: int) -> dict[str, int]:
        """Where the changelogs of a partition begin, by table."""
        return {table: offsets[partition] for table, offsets in self._begins.items() if offsets[partition]}

    async def judged_to(self, partition: int, at: int) -> int:
        """Return the last intake offset at which anything was committed: `at`, the group's, or that of a verdict."""
        found = max(at, self._committed.get(partition, 0) - 1)

        def take(record: Any) -> None:
            nonlocal found
            if record.value is not None:
                found = max(found, decode_verdict(record.value).at[1])

        async with partition_reader(self._broker) as reader:
            await reader.forward(self._verdicts, partition, take)
        return found

    async def close(self) -> None:
        """Disconnect."""
        await self._cluster.close()
