"""The Faust app: stock Faust with our transport, tables, recovery, and with no second chances."""

import asyncio
import gc
import logging
import os
import sys
import warnings
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING, Any, NoReturn, cast

import faust
from aiokafka.errors import KafkaConnectionError
from faust.types import TP
from mode import Service

from cutover_app.kafka.cluster import patiently
from cutover_app.kafka.errors import KafkaUnavailable
from cutover_app.kafka.settings import Broker
from cutover_app.runtime.assigning import Assignor
from cutover_app.runtime.checkpoint import Checkpointer
from cutover_app.runtime.chunks import ChunkSchema
from cutover_app.runtime.consuming import FETCH_PARTITION_BYTES
from cutover_app.runtime.credentials import credentials
from cutover_app.runtime.datadir import lock_directory, renew
from cutover_app.runtime.failpoints import ENVIRONMENT, arm, failpoint, failpoint_waiting
from cutover_app.runtime.fatal import FatalError, after, cancelled_by_nobody, die, die_after, leave
from cutover_app.runtime.following import Doubts
from cutover_app.runtime.partitions import Partitions
from cutover_app.runtime.recovery import BatchTableManager
from cutover_app.runtime.table import BatchTable
from cutover_app.runtime.transport import ChunkConsumer, ChunkTransport
from cutover_app.runtime.worker import Standing, WorkerState

if TYPE_CHECKING:
    from cutover_app.kafka.mirror import MirrorSampler
    from cutover_app.runtime.barriers import Barriers
    from cutover_app.runtime.forwarding import Forwarder
    from cutover_app.runtime.judging import Judging

log = logging.getLogger(__name__)

#: A worker that was told to stop is gone after this long, whatever hangs.
STOP_SECONDS = 9.0
#: Agents and owners get this long to finish before a rebalance would time out.
REVOKE_SECONDS = 50.0
COMMIT_SECONDS = 1.0
#: Objects made and not freed before the garbage collector looks.
COLLECT_EVERY = 100_000
#: What Faust passes on when nobody names a datadir.
DATADIR_UNNAMED = "{conf.name}-data"
SWITCH_SECONDS = 0.02
#: Chunks, not records. Back-pressure is by bytes (transport.py) and comes first.
QUEUE_CHUNKS_MAX = 4096


class PlainWorker(faust.Worker):
    """Faust's worker; its spinner turns only where somebody sees it, and no log has its escape codes."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if not self.stdout.isatty():
            self.spinner = None


def settings(broker: Broker, *, datadir: Path) -> dict[str, Any]:
    """Faust's settings; the reason beside each that is not its default."""
    return {
        "broker": broker.urls(),
        "broker_credentials": credentials(broker),
        "broker_client_id": f"cutover-{gethostname()}-{os.getpid()}",  # by this `status` and brokers tell workers apart
        "topic_allow_declare": False,  # all topics are made and verified before; workers need not be allowed to create
        "datadir": str(datadir),
        "store": "rocksdb://",  # only its name shows: BatchTable brings a store of its own
        "TableManager": BatchTableManager,
        "Worker": PlainWorker,
        "PartitionAssignor": Assignor,  # the stock one fails where a topic comes back with fewer partitions
        "table_standby_replicas": 0,  # a standby reads every changelog twice
        "topic_disable_leader": True,  # we have no leader tasks
        "stream_wait_empty": False,  # it waits without limit for what we never acknowledge
        "stream_buffer_maxsize": QUEUE_CHUNKS_MAX,
        "stream_recovery_delay": 0.0,
        "broker_commit_interval": COMMIT_SECONDS,
        "broker_commit_every": None,  # commits by time alone; "every" counts acknowledgements
        "broker_session_timeout": 10.0,  # a killed worker's partitions move on after this long
        "broker_heartbeat_interval": 2.0,
        "broker_request_timeout": max(broker.request_timeout, 10.0),
        "broker_max_poll_interval": 300.0,
        "consumer_max_fetch_size": FETCH_PARTITION_BYTES,
        "consumer_auto_offset_reset": "earliest",
        # Faust's command line enables the web server, whatever is said here. Stock pages serve table data to anyone
        # who asks, so each is off, and the server of the composition root has none of them.
        "web_enabled": False,
        "web_tables_enabled": False,
        "web_router_enabled": False,
        "web_stats_enabled": False,
        "web_graph_enabled": False,
        "web_metrics_enabled": False,
        "web_bind": "127.0.0.1",
        "autodiscover": False,  # it drops an agent whose import fails
    }


class CutoverApp(faust.App):
    """A Faust app in which an error ends the process, and a partition is left in good order."""

    # Set by the composition root before the worker starts.
    partitions: Partitions
    batch_tables: list[BatchTable]
    checkpointer: Checkpointer
    legacy: "Forwarder"
    rebuilt: "Forwarder"
    judging: "Judging"
    #: How complete the copy of the legacy topic is; None where the legacy topic is no copy, or a trusted one.
    mirror: "MirrorSampler | None" = None
    #: Declares and verifies topics, before anything else asks for their metadata; returns their ids.
    prepare: Callable[[], Awaitable[Mapping[str, str] | None]] | None = None
    #: Finds the cluster's addresses to begin with: of several one may be mute, and Faust would wait for it.
    door: Callable[[], Awaitable[Broker]] | None = None
    #: Asks for the ids that the topics of this run have now, those that nobody else writes to.
    current_ids: Callable[[], Awaitable[Mapping[str, str]]] | None = None
    #: Makes the web server; None leaves Faust's own.
    new_web: Callable[["CutoverApp"], Any] | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        self.standing = Standing()
        self.hearts: list[Barriers] = []
        """Of the sides that this worker may read, each beats while it reads some partition."""
        self._beside: list[Service] = []
        self._always: list[Service] = []
        #: Generation of the assignment that we hold; None from the moment in which we let go of it.
        self._tenure: int | None = None
        #: Whether partitions are being taken, are ours, or have still to be left in good order.
        self._holds = False
        self._lock: object = None
        #: Ids of our topics: a topic of the same name with another id is another topic.
        self.topic_ids: dict[str, str] = {}
        #: Source topics: where records are gone, they go on behind the gap and say so.
        self.lossy: frozenset[str] = frozenset()
        self.doubts = Doubts()
        #: Why, of all intake partitions that this process has had to quarantine.
        self.quarantined: dict[int, str] = {}
        super().__init__(*args, **options)

    @property
    def chunk_consumer(self) -> ChunkConsumer:
        """The consumer, by its own type."""
        return cast("ChunkConsumer", self.consumer)

    def _new_transport(self) -> Any:
        return ChunkTransport(self.conf.broker_consumer, self)

    def _new_web(self) -> Any:
        return super()._new_web() if self.new_web is None else self.new_web(self)

    def chunk_topic(self, name: str) -> Any:
        """A topic whose stream yields chunks."""
        return self.topic(name, schema=ChunkSchema(), key_type=bytes, value_type=bytes)

    def batch_table(self, name: str, *, help: str, partitions: int, **options: Any) -> BatchTable:  # noqa: A002
        """Declare a table that is written by checkpoints."""
        table = BatchTable(self, name=name, help=help, partitions=partitions, **options)
        return cast("BatchTable", self.tables.add(table))

    def beside(self, service: Service) -> None:
        """Run a service while this worker works: from the end of recovery on."""
        self._beside.append(service)

    def always(self, service: Service) -> None:
        """Run a service from the start of this worker on, during recoveries too."""
        self._always.append(service)

    async def on_start(self) -> None:
        """Start these, before anything that may get stuck."""
        for service in self._always:
            await self.add_runtime_dependency(service)
        await super().on_start()

    async def on_started_init_extra_services(self) -> None:
        """Start them."""
        await super().on_started_init_extra_services()
        for service in self._beside:
            await self.add_runtime_dependency(service)

    def while_at_work(self) -> AbstractContextManager[None]:
        """Guard what an agent does with a chunk: one that is let go of unseen would be a hole in what is committed."""
        return cancelled_by_nobody(lambda: self.should_stop or self.tenure is None)

    @property
    def tenure(self) -> int | None:
        """Generation of the assignment that is held; None between two."""
        return self._tenure

    async def partition_counts(self, topics: Iterable[str]) -> dict[str, int]:
        """How many partitions this worker believes that topics have."""
        return await self.chunk_consumer.partition_counts(topics)

    async def rejoin(self) -> None:
        """Have the partitions handed out anew, by what topics there are now."""
        await self.chunk_consumer.rejoin()

    def idle_agents(self) -> list[str]:
        """Agents that have no task: one that ended without an error is not started again."""
        return [name for name, agent in self.agents.items() if not any(_lives(each) for each in agent._actors)]

    def quarantine_line(self) -> str:
        """Which intake partitions this process judges no more, and why; empty where there are none."""
        found = sorted(self.quarantined.items())
        return "; ".join(f"intake partition {number} is quarantined: {why}" for number, why in found)

    def recovery_remaining(self) -> int:
        """Changelog offsets that recovery has still to read."""
        if self.standing.state is not WorkerState.RECOVERING:
            return 0
        return max(cast("BatchTableManager", self.tables).recovery.active_remaining_total(), 0)

    # -- partitions come and go; called by the consumer and by recovery

    async def take_partitions(self, assigned: set[TP], generation_id: int) -> None:
        """Before recovery."""
        self._holds = bool(assigned)
        try:
            await self.confirm_run()
            await self.partitions.take(assigned)
            failpoint("partitions.taken")
            self._tenure = generation_id
            self.standing.enter(WorkerState.RECOVERING)
        except Exception as error:
            die(error)

    async def open_partitions(self, generation_id: int) -> None:
        """After recovery. A recovery that a rebalance has overtaken finds that its tenure is over."""
        consumer = self.chunk_consumer

        def ours() -> bool:
            return self._tenure == generation_id

        try:
            with cancelled_by_nobody(lambda: not ours()):
                await self._open(consumer.assignment(), ours)
        except Exception as error:
            if ours():
                die(error)
            log.info("partitions not opened, the next rebalance has begun: %r", error)

    async def _open(self, assigned: set[TP], ours: Callable[[], bool]) -> None:
        self.doubts.clear()
        starts: dict[TP, int] = {}
        for topic, stage in self.partitions.stages.items():
            wanted = [tp for tp in assigned if tp.topic == topic]
            starts |= await patiently(partial(stage.starts, wanted), ours)
        if ours():
            positions = await self.partitions.open(assigned, starts, ours)
            failpoint("partitions.opened")
            await self.chunk_consumer.open_streams(positions, ours)
        if ours():
            self.standing.enter(WorkerState.WORKING if assigned else WorkerState.SPARE)

    async def leave_partitions(self) -> None:
        """While they are still ours."""
        self._tenure = None
        self.standing.enter(WorkerState.REBALANCING)
        last_resort = die_after(REVOKE_SECONDS, "leaving the partitions")
        consumer = self.chunk_consumer
        try:
            consumer.close_streams()  # before anything is waited for: from now on a judge may let go of a chunk halfway
            await failpoint_waiting("partitions.leaving")
            if self._holds:
                await self.confirm_run()
            await consumer.drain()
            await self.partitions.leave()
            failpoint("partitions.left")
            await consumer.commit_all()
            await self.partitions.release()
            consumer.forget()
            self._holds = False
        except Exception as error:
            die(error)
        finally:
            last_resort.cancel()

    async def confirm_run(self) -> None:
        """End a worker whose run was reset while it stood still: what it has in hand is of another run.

        Only of a group without members is a run reset, and a member that stood still is told by a rebalance.
        """
        if self.current_ids is None:
            return
        found = await patiently(self.current_ids)
        gone = sorted(name for name, known in found.items() if known != self.topic_ids.get(name, known))
        if gone:
            raise FatalError(
                f"topic {gone[0]} is not the one that this worker began with: its run was reset while it stood still; "
                "what it had in hand is dropped, and its datadir is made anew when it is started again"
            )

    # -- ends

    async def start(self) -> None:
        """Faust's worker would log a failed start, and stay."""
        try:
            arm(os.environ.get(ENVIRONMENT, ""))
            if self.prepare is not None:
                self.topic_ids.update(await self.prepare() or {})
            if self.in_worker:
                self._take_datadir()
                self._lock = lock_directory(self.conf.datadir)
                renew(self.conf.tabledir)
            spare_the_collector()
            spare_the_logs()
            if self.door is not None:
                self.transport.url = self.producer_transport.url = (await self.door()).urls()
            await super().start()
        except Exception as error:
            self._die(error)

    def _die(self, reason: BaseException) -> NoReturn:
        """Faust's own clients may be the first to find out that no broker answers any more."""
        if isinstance(reason, KafkaConnectionError):
            reason = KafkaUnavailable([f"{url.host}:{url.port}" for url in self.conf.broker], "none is left")
        die(reason)

    def _take_datadir(self) -> None:
        """Honour `--datadir`, which Faust's command line passes on only after the app was made."""
        named = os.environ.get("F_DATADIR", "")
        if named and named != DATADIR_UNNAMED:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it comes late is why this is here
                self.conf.datadir = Path(named)

    async def _on_agent_error(self, agent: Any, exc: BaseException) -> None:
        log.critical("agent %s failed", agent.name)
        die(exc)

    def _crash(self, reason: BaseException) -> None:
        """Any service below us failed. Faust would stop in an orderly way, and commit as it goes."""
        if isinstance(reason, asyncio.CancelledError):  # the fetcher, restarted by a rebalance
            super()._crash(reason)
        else:
            self._die(reason)

    async def stop(self) -> None:
        """SIGTERM: leave in good order, or at least in time."""
        starting = self.standing.state is WorkerState.STARTING
        self.standing.enter(WorkerState.STOPPING)
        if not self.in_worker:
            await super().stop()
            return
        if starting:
            # There is nothing to finish. Faust would go on starting while it stops, and join the group without its
            # tables: others would be given the changelogs of partitions that are ours, and have to end.
            leave()
        after(STOP_SECONDS, self._out_of_time)
        await super().stop()
        # Everything is durable and the group has been left. What follows in Faust's worker is
        # two seconds of cancelling tasks, whose tracebacks look like crashes.
        self._end()

    def _end(self) -> NoReturn:
        if line := self.quarantine_line():
            die(FatalError(line))
        leave()

    def _out_of_time(self) -> None:
        """Tell a farewell to which the group does not answer, busy with a member that died, from work that hangs."""
        if self._holds:
            die(f"stopping took longer than {STOP_SECONDS:g} s")
        self._end()

    async def on_stop(self) -> None:
        """Finish with the partitions before Faust takes anything down."""
        if self._consumer is not None and _started(self.chunk_consumer):
            await self.leave_partitions()
        await super().on_stop()


def _lives(actor: Any) -> bool:
    return actor.actor_task is not None and not actor.actor_task.done()


def _started(consumer: ChunkConsumer) -> bool:
    try:
        return bool(consumer.assignment())
    except Exception:  # not started, or already gone
        return False


def spare_the_collector() -> None:
    """Have the garbage collector look at less, and less often: messages have no cycles, and there are many of them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, 20, 100)
    # The consumer's thread needs the interpreter for milliseconds at a time; to hand it over more often costs both.
    sys.setswitchinterval(SWITCH_SECONDS)


def spare_the_logs() -> None:
    """Have nobody write debug lines for nobody: Faust's worker makes them all, to turn its spinner.

    Those of aiokafka show whole records, and so what must not be shown, to anybody (R13).
    """
    root = logging.getLogger()
    logging.getLogger("aiokafka").setLevel(max(logging.INFO, root.level))
    if root.level <= logging.DEBUG and all(handler.level > logging.DEBUG for handler in root.handlers[:1]):
        for name in ("faust", "mode"):
            logging.getLogger(name).setLevel(logging.INFO)


def check_wiring(app: CutoverApp, *, agents: Sequence[str], tables: Sequence[str]) -> None:
    """Refuse to start with an agent or a table missing: a silent absence is a false all-clear."""
    missing = [f"agent {name}" for name in agents if name not in app.agents]
    missing += [f"table {name}" for name in tables if name not in app.tables]
    if missing:
        raise FatalError(f"not wired: {', '.join(missing)}")
