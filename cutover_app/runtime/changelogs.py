"""What is known of the changelogs of this worker's partitions, besides the rows that are recovered from them.

It is looked at once per assignment, when the former owners have been fenced and before recovery: nothing moves then.
What follows from it is decided in `core/integrity.py`.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from aiokafka.errors import UnknownTopicOrPartitionError

from cutover_app.core.cache import Store
from cutover_app.core.integrity import Found, flaw
from cutover_app.kafka.cluster import EARLIEST, LATEST, Cluster
from cutover_app.kafka.settings import Broker
from cutover_app.runtime.table import BatchTable


class OvertakenError(Exception):
    """The partitions whose rows are looked at are no longer ours."""


class _Examined(Store):
    """Rows that are looked at one by one, for as long as they are ours; counted, because it may take minutes."""

    def __init__(self, rows: Store, ours: Callable[[], bool], count: Callable[[int], None]) -> None:
        self._rows = rows
        self._ours = ours
        self._count = count

    def get(self, table: str, key: bytes) -> bytes | None:
        return self._rows.get(table, key)

    def get_many(self, table: str, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        return self._rows.get_many(table, keys)

    def scan(self, table: str, start: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        if not self._ours():
            raise OvertakenError
        found = self._rows.scan(table, start, limit)
        self._count(len(found))
        return found


class Changelogs:
    """The changelogs of all tables, and intake: where they begin and end, and how far the group had come."""

    def __init__(self, broker: Broker, *, group: str, intake: str, tables: Sequence[BatchTable]) -> None:
        self._cluster = Cluster(broker, client_id="cutover-changelogs")
        self._group = group
        self._intake = intake
        self._tables = tables
        self._begins: dict[str, dict[int, int]] = {}
        self._committed: dict[int, int] = {}
        self._cut: dict[int, str] = {}
        self._intake_begins: dict[int, int] = {}
        self._intake_ends: dict[int, int] = {}
        self.examined = 0
        """Rows that have been looked at one by one since this worker started."""

    async def look(self, partitions: Iterable[int]) -> None:
        """Look at them. Local rows from beyond the end of their changelog are wiped: recovery would not start."""
        changelogs = {table.changelog_name: table for table in self._tables}
        topics = await self._cluster.topics([self._intake, *changelogs])
        if missing := {self._intake, *changelogs} - set(topics):
            raise UnknownTopicOrPartitionError(*sorted(missing))  # or a broker that has just begun: it is asked again
        self._committed = await self._cluster.committed(self._group, self._intake)
        self._intake_begins = await self._cluster.offsets(topics[self._intake], EARLIEST)
        self._intake_ends = await self._cluster.offsets(topics[self._intake], LATEST)
        for name, table in changelogs.items():
            self._begins[table.name] = await self._cluster.offsets(topics[name], EARLIEST)
            ends = await self._cluster.offsets(topics[name], LATEST)
            for number in partitions:
                if table.data.wipe_beyond(number, ends[number]):
                    self._cut[number] = (
                        f"the changelog of table {table.name} ends at {ends[number]}, and has been longer"
                    )

    async def flaw(self, partition: int, rows: Store, ours: Callable[[], bool]) -> str:
        """Say in what way the recovered rows of a partition are not what checkpoints wrote; empty where they are.

        Raises `OvertakenError` as soon as the partition is not `ours`.
        """
        cut = self._cut.pop(partition, "")
        whole = not all(table.data.partition(partition).is_whole() for table in self._tables)
        found = Found(self._committed.get(partition, 0), self.begins(partition), whole=whole)
        # Up to every row is read: five seconds per million.
        line = cut or await asyncio.to_thread(flaw, _Examined(rows, ours, self._count), found)
        if not line and whole:
            for table in self._tables:
                table.data.partition(partition).set_whole()
        return line

    def _count(self, rows: int) -> None:
        self.examined += rows

    def begins(self, partition: int) -> dict[str, int]:
        """Where the changelogs of a partition begin, by table."""
        return {table: offsets[partition] for table, offsets in self._begins.items() if offsets[partition]}

    def intake(self, partition: int) -> tuple[int, int]:
        """Where a partition of intake begins, and where it ended when the former owner was fenced."""
        return self._intake_begins[partition], self._intake_ends[partition]
