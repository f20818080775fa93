"""Reads the legacy topic where it is published, on the cluster of the legacy producer.

What the agent `rebuild` is for a topic of the work cluster: chunks with positions, in order, to the same forwarder, and
offsets committed only when intake has acknowledged everything below. The group has the run's name there too, so every
worker takes its share, and a killed one's share moves on. Faust has one cluster per app, hence a service with a
consumer of its own; it runs from the end of recovery on, in the worker's event loop.

Any error ends the process, as everywhere: the next owner reads on where intake's acknowledgements ended.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from faust.types import TP
from mode import Service

from cutover_app.kafka.cluster import answering, patiently
from cutover_app.kafka.errors import KafkaUnavailable
from cutover_app.kafka.settings import Broker
from cutover_app.runtime.app import COMMIT_SECONDS, REVOKE_SECONDS
from cutover_app.runtime.consuming import (
    FETCH_BYTES_MAX,
    FETCH_BYTES_MIN,
    FETCH_PARTITION_BYTES,
    FETCH_WAIT_MS,
    GO_ON_SECONDS,
    MOVED_SECONDS,
    POLL_SECONDS,
    At,
    commit,
    fetch_chunks,
    go_on,
    keep_session,
    moved_chunks,
    partition_counts,
    rejoin,
)
from cutover_app.runtime.fatal import cancelled_by_nobody, die, die_after
from cutover_app.runtime.following import Doubts, Following
from cutover_app.runtime.forwarding import Forwarder

SESSION_MS: Final = 10_000
HEARTBEAT_MS: Final = 2_000
REBALANCE_MS: Final = 60_000
METADATA_MS: Final = 30_000
"""A partition that is added is noticed after this long."""

log = logging.getLogger(__name__)


class DirectReader(Service, ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka is not typed
    """One worker's share of the legacy topic."""

    # Set by the composition root: the forwarder's stage needs its reader first.
    forwarder: Forwarder
    confirm_run: Callable[[], Awaitable[None]]
    """Ends a worker whose run was reset while it stood still."""

    def __init__(self, broker: Broker, *, topic: str, group: str, **kwargs: Any) -> None:
        self._broker = broker
        self._topic = topic
        self._group = group
        self._consumer: Any = None
        self._open: set[TP] = set()
        self._held: frozenset[TP] = frozenset()
        self._tenure = 0
        self._committable: dict[TP, At] = {}
        self._committed: dict[TP, At] = {}
        self._holds = False
        self._moved_next = 0.0
        self.doubts = Doubts()
        self._following = Following(self.doubts)
        self._idle = asyncio.Event()
        self._idle.set()
        super().__init__(**kwargs)

    # -- `runtime.stage.Reader`

    def set_committable(self, tp: TP, offset: int, note: str = "") -> None:
        """All of `tp` below `offset` is in intake; `note` is committed with it."""
        self._committable[tp] = offset, note

    def hold(self, topic: str, tps: Iterable[TP]) -> None:  # noqa: ARG002 - there is one topic
        """Fetch exactly these partitions no more, until the next call."""
        self._held = frozenset(tps)

    # -- `runtime.watching.Group`

    @property
    def tenure(self) -> int | None:
        """Number of the assignment that is held; None between two."""
        return self._tenure if self._holds else None

    async def partition_counts(self, topics: Iterable[str]) -> dict[str, int]:
        """How many partitions this worker believes that topics have."""
        return partition_counts(self._consumer, topics)

    async def rejoin(self) -> None:
        """Have the partitions handed out anew, by what topics there are now."""
        await rejoin(self._consumer)

    # -- service

    async def on_start(self) -> None:
        """Connect and join the group."""
        broker = await answering(self._broker)
        self._consumer = AIOKafkaConsumer(
            **broker.client(f"{self._group}-legacy"),
            group_id=self._group,
            isolation_level="read_committed",
            enable_auto_commit=False,
            # Positions are always set by us; a jump that aiokafka makes is found by the check of continuity.
            auto_offset_reset="earliest",
            fetch_min_bytes=FETCH_BYTES_MIN,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            fetch_max_bytes=FETCH_BYTES_MAX,
            max_partition_fetch_bytes=FETCH_PARTITION_BYTES,
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            rebalance_timeout_ms=REBALANCE_MS,
            metadata_max_age_ms=METADATA_MS,
        )
        self._consumer.subscribe([self._topic], listener=self)
        try:
            await self._consumer.start()
        except (KafkaError, OSError) as error:
            raise KafkaUnavailable(self._broker.servers, error, self._broker.place) from error

    async def on_stop(self) -> None:
        """Finish, commit, and leave the group."""
        if self._consumer is not None:
            await self._leave()
            await self._consumer.stop()

    @Service.task
    async def _read_forever(self) -> None:
        try:
            while not self.should_stop:
                with cancelled_by_nobody(lambda: self.should_stop):
                    await self._read()
        except Exception as error:
            if not self.should_stop:
                die(error)

    @Service.task
    async def _go_on_forever(self) -> None:
        async for _late in self.itertimer(GO_ON_SECONDS, name="legacy-group"):
            try:
                with cancelled_by_nobody(lambda: self.should_stop):
                    go_on(self._consumer)
            except KafkaError as error:
                die(error)

    @Service.task
    async def _commit_forever(self) -> None:
        async for _late in self.itertimer(COMMIT_SECONDS, name="legacy-commit"):
            with cancelled_by_nobody(lambda: self.should_stop):
                await self._commit()

    async def _read(self) -> None:
        """Fetch once and forward what came."""
        wanted = self._open - self._held
        if not wanted:
            await asyncio.sleep(POLL_SECONDS / 5)
            return
        found = await fetch_chunks(self._consumer, wanted, POLL_SECONDS)
        # Chunks are of the assignment held now, whatever it was when the fetch began: to drop them here would be to
        # lose them. Between two, all that is taken is before the seek, and will be read again.
        if not self._holds:
            return
        tenure = self._tenure
        if time.monotonic() >= self._moved_next:
            # A position that was reset may find nothing to fetch.
            self._moved_next = time.monotonic() + MOVED_SECONDS
            found = moved_chunks(self._consumer._fetcher, wanted) | found
        for chunks in found.values():
            for chunk in chunks:
                if self._tenure != tenure:  # a rebalance came in between; it will be read again
                    return
                if not self._following.fetched(chunk):
                    continue
                self._following.taken(chunk)
                self._idle.clear()
                try:
                    await self.forwarder.take(chunk)
                finally:
                    self._idle.set()

    async def _commit(self) -> None:
        """Commit what is committable; a group that has moved on refuses, and that is fine."""
        new = {tp: at for tp, at in self._committable.items() if self._committed.get(tp) != at}
        if not new:
            return
        try:
            self._committed |= await commit(self._consumer, new)
        except (CommitFailedError, IllegalStateError, TimeoutError) as error:
            log.info("nothing committed on the legacy cluster, the group has moved on: %s", type(error).__name__)
        except KafkaError as error:
            if not error.retriable:
                die(error)
            log.warning("nothing committed on the legacy cluster: %r", error)

    # -- rebalances; aiokafka would log an error of a listener and go on

    async def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:  # noqa: ARG002 - everything is
        """Finish and commit while the partitions are still ours."""
        try:
            await self._leave()
        except Exception as error:
            die(error)

    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        """Read on where the group stands."""
        tenure = self._tenure

        def ours() -> bool:
            return self._tenure == tenure

        keep_session(self._consumer)
        try:
            await self._take(sorted(assigned), ours)
        except Exception as error:
            if ours():
                die(error)
            log.info("partitions of the legacy cluster not taken, they are left already: %r", error)

    async def _leave(self) -> None:
        self._tenure += 1
        self._holds = False
        self._open = set()
        last_resort = die_after(REVOKE_SECONDS, "leaving the partitions of the legacy cluster")
        try:
            await self._idle.wait()
            await self.forwarder.revoked()
            await self._commit()
        finally:
            last_resort.cancel()
        for kept in (self._committable, self._committed, self._following):
            kept.clear()

    async def _take(self, assigned: list[Any], ours: Callable[[], bool]) -> None:
        self.doubts.clear()
        await self.confirm_run()
        positions = await patiently(lambda: self.forwarder.starts([TP(*place) for place in assigned]), ours)
        if not ours():
            return
        await self.forwarder.assigned(positions)
        if not ours():
            return
        # In one go: what a fetch that is under way takes must be either before the seek, or of what is held.
        for place in assigned:
            self._consumer.seek(place, positions[TP(*place)])
        self._following.begin(positions)
        self._open, self._holds = set(positions), True
