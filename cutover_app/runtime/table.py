"""A Faust table whose rows are read and written in batches, per partition, by whoever owns it.

Faust keeps what it is good at: the changelog topic, its assignment, recovery, `faust tables`. A
stock table write costs a hundred microseconds and sends its changelog record on its own; here rows
arrive once per checkpoint, after the transaction that put them into the changelog was committed
(`checkpoint.py`), together with the changelog position that they bring the partition to.

Invariant: the local rows of a partition are exactly its changelog below the stored position.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, cast

from faust import Table
from faust.stores.base import Store
from faust.types import TP, EventT

from cutover_app.runtime.chunks import Chunk, ChunkSchema
from cutover_app.runtime.datadir import wipe
from cutover_app.runtime.failpoints import failpoint
from cutover_app.runtime.fatal import die
from cutover_app.runtime.store import PartitionStore, check_room, open_store

if TYPE_CHECKING:
    from cutover_app.runtime.app import CutoverApp

log = logging.getLogger(__name__)

#: Chunks that recovery collects before it applies them; 1 would echo our own writes back to us.
RECOVERY_BUFFER_CHUNKS = 4

Rows = Sequence[tuple[bytes, bytes | None]]


class BatchStore(Store[Any, Any]):
    """The databases of one table, one per partition that this worker owns."""

    app: "CutoverApp"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._open: dict[int, PartitionStore] = {}

    def partition(self, number: int) -> PartitionStore:
        """The database of a partition, opened on first use."""
        store = self._open.get(number)
        if store is None:
            directory = self.app.conf.tabledir / f"{self.table_name}-{number}.db"
            changelog_id = self.app.topic_ids.get(self.table.changelog_topic.get_topic_name(), "")
            store = self._open[number] = open_store(directory, changelog_id=changelog_id)
        return store

    def wipe_beyond(self, number: int, end: int) -> bool:
        """Wipe the rows of a partition whose changelog ends before them; tell whether they were."""
        store = self.partition(number)
        offset = store.offset()
        if offset is None or offset < end:
            return False
        self._open.pop(number).close()
        wipe(store.directory)
        return True

    def persisted_offset(self, tp: TP) -> int | None:
        """Changelog offset up to which the local rows are complete."""
        return self.partition(tp.partition).offset()

    async def on_rebalance(
        self,
        assigned: set[TP],
        revoked: set[TP],  # noqa: ARG002 - Faust's signature
        newly_assigned: set[TP],  # noqa: ARG002
        generation_id: int = 0,  # noqa: ARG002
    ) -> None:
        """Close what is no longer ours, so that another worker of this machine can open it."""
        changelog = self.table.changelog_topic.get_topic_name()
        kept = {tp.partition for tp in assigned if tp.topic == changelog}
        for number in [number for number in self._open if number not in kept]:
            self._open.pop(number).close()

    async def on_stop(self) -> None:
        """Close all."""
        while self._open:
            self._open.popitem()[1].close()

    def reset_state(self) -> None:
        """Faust's `reset` command removes the directory of all tables itself."""

    def apply_changelog_batch(self, batch: Any, to_key: Any, to_value: Any) -> None:
        """Never called: the table applies its changelog itself."""
        raise NotImplementedError

    async def backup_partition(self, tp: Any, *_args: Any, **_kwargs: Any) -> None:
        """The changelog is the backup."""
        raise NotImplementedError

    def restore_backup(self, tp: Any, *_args: Any, **_kwargs: Any) -> None:
        """The changelog is the backup."""
        raise NotImplementedError


class BatchTable(Table[Any, Any]):
    """A table of bytes, addressed by partition. The mapping interface of Faust is not offered."""

    data: BatchStore
    app: "CutoverApp"

    def __init__(self, app: Any, *, name: str, help: str, partitions: int, **kwargs: Any) -> None:  # noqa: A002
        super().__init__(
            app,
            name=name,
            help=help,
            partitions=partitions,
            key_type=bytes,
            value_type=bytes,
            schema=ChunkSchema(),
            recovery_buffer_size=RECOVERY_BUFFER_CHUNKS,
            **kwargs,
        )

    @property
    def changelog_name(self) -> str:
        """Name of the changelog topic."""
        return str(self.changelog_topic.get_topic_name())

    def _new_store(self) -> BatchStore:
        return BatchStore(self.app.conf.store, self.app, self, table_name=self.name, loop=self.loop)

    # -- rows

    def get(self, partition: int, key: bytes) -> bytes | None:  # type: ignore[override]
        """One row."""
        return self.data.partition(partition).get(key)

    def multi_get(self, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """Many rows, in the order of the keys; 1.3 us per key instead of 7."""
        return self.data.partition(partition).multi_get(keys)

    def scan(
        self, partition: int, start: bytes = b"", *, limit: int, end: bytes | None = None
    ) -> list[tuple[bytes, bytes]]:
        """Rows with start <= key < end in the order of their keys, `limit` at most."""
        return self.data.partition(partition).scan(start, limit=limit, end=end)

    def check_room(self) -> None:
        """Raise `FatalError` where the disk is too full to write to."""
        check_room(self.app.conf.tabledir)

    def write_batch(self, partition: int, rows: Rows, changelog_offset: int) -> None:
        """Apply rows (None deletes) that the changelog holds up to this offset."""
        self.data.partition(partition).write(rows, changelog_offset)

    # -- recovery

    def apply_changelog_batch(self, batch: Iterable[EventT[Any]]) -> None:
        """One WriteBatch per chunk. Recovery swallows exceptions and then never ends, so die."""
        try:
            for event in batch:
                self._apply(cast("Chunk", event.value))
        except Exception as error:  # whatever it is, the rows are not complete
            die(error)

    def _apply(self, chunk: Chunk) -> None:
        tp = chunk.tp
        if tp.topic != self.changelog_name or tp not in self.app.assignor.assigned_actives():
            # Stock recovery hands an event of a partition that is no longer ours to any table.
            log.warning("table %s: ignored %r, which is not its own", self.name, chunk)
            return
        latest = {record.key or b"": record.value for record in chunk.records}
        self.write_batch(tp.partition, list(latest.items()), chunk.end - 1)
        failpoint("recovery.applied", tp.partition)

    # -- what a batch table is not

    def _refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise TypeError(f"table {self.name} is read and written by partition, not as a mapping")

    __getitem__ = __setitem__ = __delitem__ = _refuse
    keys = values = items = clear = pop = update = _refuse
