"""A real Kafka broker (KRaft, broker and controller in one process) in a temporary directory.

    with Cluster() as cluster:
        use(cluster.bootstrap)
        cluster.kill()        # SIGKILL, as a fault test wants it
        cluster.restart()     # same port, same data

A cluster starts on free ports, is ready when it answers a request, and leaves nothing behind:
neither after an exception or Ctrl-C (the context manager), nor when this process dies without
cleaning up (the keeper). Several clusters may run beside each other.
"""

import contextlib
import secrets
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from cutover_app.lab.errors import LabError
from cutover_app.lab.jars import KAFKA_VERSION, jars, java
from cutover_app.lab.keeper import Keeper
from cutover_app.lab.program import Program

START_TIMEOUT_S = 90.0
START_ATTEMPTS_MAX = 3
MESSAGE_BYTES_MAX = 16 * 1024 * 1024

# Below the range from which systems take the ports of outgoing connections: none of these can
# sit on a broker's port while the broker is down for a restart.
_PORTS = range(15_000, 30_000)

_JVM = (
    "-Xms256m",
    "-Xmx384m",
    "-XX:+UseSerialGC",  # two cores and a small heap: G1's threads cost more than they give
    "-XX:MaxDirectMemorySize=256m",
    "-Xshare:auto",
    "-Djava.awt.headless=true",
)
# Compiles less well but sooner; a broker is ready in half the time.
QUICK_JVM = ("-XX:TieredStopAtLevel=1",)

_LOG4J = """\
status = ERROR
appender.out.type = Console
appender.out.name = OUT
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{HH:mm:ss.SSS} %-5p %c{1} %m%n
rootLogger.level = WARN
rootLogger.appenderRef.out.ref = OUT
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = INFO
"""
# Up to 3.9 Kafka logs through log4j 1, which is told otherwise.
_LOG4J_1 = """\
log4j.rootLogger = WARN, OUT
log4j.appender.OUT = org.apache.log4j.ConsoleAppender
log4j.appender.OUT.layout = org.apache.log4j.PatternLayout
log4j.appender.OUT.layout.ConversionPattern = %d{HH:mm:ss.SSS} %-5p %c{1} %m%n
log4j.logger.kafka.server.KafkaRaftServer = INFO
"""


def java_command(directory: Path, version: str, jvm: Sequence[str]) -> list[str]:
    """Return the beginning of a command line that runs a program of this Kafka version, logging to its output.

    The class and its arguments are to follow. `directory` receives the configuration of the logging.
    """
    if int(version.split(".", maxsplit=1)[0]) < 4:
        file, text, option = directory / "log4j.properties", _LOG4J_1, "-Dlog4j.configuration=file:"
    else:
        file, text, option = directory / "log4j2.properties", _LOG4J, "-Dlog4j2.configurationFile="
    file.write_text(text)
    return [java(), *jvm, f"{option}{file}", "-cp", str(jars(version) / "*")]


def broker_settings(directory: Path, port: int, controller_port: int) -> dict[str, str]:
    """Return the settings of a broker that stands alone and starts and rebalances quickly."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(directory / "data"),
        "auto.create.topics.enable": "false",
        "num.partitions": "1",
        "default.replication.factor": "1",
        "min.insync.replicas": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "message.max.bytes": str(MESSAGE_BYTES_MAX),
        "replica.fetch.max.bytes": str(MESSAGE_BYTES_MAX),
        "socket.request.max.bytes": "104857600",
        # Nothing expires by itself, however old the timestamps of a scenario are.
        "log.retention.ms": "-1",
        "log.message.timestamp.before.max.ms": str(2**63 - 1),
        "log.message.timestamp.after.max.ms": str(2**63 - 1),
        # A restarted broker forgets producers by the timestamps of their records, and with them what they
        # had sent before: records that are older would be there twice. (As long as the setting can be.)
        "producer.id.expiration.ms": str(2**31 - 1),
        "log.cleaner.dedupe.buffer.size": "16777216",
        # The defaults are for disks of a server: 10 MB of index are allocated per partition.
        "log.index.size.max.bytes": "1048576",
        "num.network.threads": "2",
        "num.io.threads": "4",
        # A killed broker may come back only when its former session is over (9 s by default).
        "broker.heartbeat.interval.ms": "500",
        "broker.session.timeout.ms": "4000",
        "controlled.shutdown.enable": "false",
    }


class Cluster(Program):
    """One broker: start, stop, kill, restart.

    Args:
        name: Shown in messages and in the directory's name.
        version: A version for which pom.xml has a profile.
        settings: Broker settings that are added or replace those of `broker_settings`.
        jvm: Options added to the Java command line, such as `QUICK_JVM`.
        parent: Folder in which the temporary directory is made.
    """

    def __init__(
        self,
        name: str = "kafka",
        *,
        version: str = KAFKA_VERSION,
        settings: Mapping[str, str] | None = None,
        jvm: Sequence[str] = (),
        parent: Path | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.version = version
        self.port = 0
        self._settings = dict(settings or {})
        self._jvm = tuple(jvm)
        self._parent = parent
        self._directory: Path | None = None
        self._keeper: Keeper | None = None
        self._command: list[str] = []

    def __repr__(self) -> str:
        state = "running" if self.running else "stopped"
        return f"<Cluster {self.name} {self.version} {self.bootstrap} {state}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def bootstrap(self) -> str:
        """The address for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def directory(self) -> Path:
        """The temporary directory: configuration, data, logs, and room for those who use it."""
        if self._directory is None:
            raise LabError(f"{self.name} was not started")
        return self._directory

    @property
    def log(self) -> Path:
        """The broker's log."""
        return self.directory / "broker.log"

    def start(self) -> None:
        """Start the broker on free ports and wait until it answers."""
        java(), jars(self.version)  # What is missing is said before anything is made.
        self._directory = Path(tempfile.mkdtemp(prefix=f"cutover-{self.name}-", dir=self._parent))
        self._keeper = Keeper(self._directory)
        try:
            self._command = java_command(self.directory, self.version, (*_JVM, *self._jvm))
            self._start_on_free_ports()
        except BaseException:
            self.close()
            raise

    def restart(self) -> None:
        """Start the broker again on the same ports and data, after `stop`, `kill` or a crash."""
        if self.running:
            self.stop()
        self._launch()

    def close(self) -> None:
        """Stop everything and remove the directory."""
        # Data are thrown away: there is nothing that an orderly shutdown would be good for.
        with contextlib.suppress(OSError):
            self.kill()
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    def spawn(
        self,
        command: Sequence[str],
        *,
        log: IO[Any] | int | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start another process of the lab (a worker, a producer) that ends with the cluster."""
        return self._keeps.spawn(command, log=log, env=env, cwd=cwd)

    def forget(self, process: subprocess.Popen[bytes]) -> None:
        """Note that a spawned process has ended and been waited for: its number may soon be another's."""
        self._keeps.forget(process)

    @property
    def _keeps(self) -> Keeper:
        if self._keeper is None:
            raise LabError(f"{self.name} was not started, or is closed")
        return self._keeper

    def _start_on_free_ports(self) -> None:
        """Choose ports and start; another process may take a port in between, so try again."""
        for attempt in range(1, START_ATTEMPTS_MAX + 1):
            self.port, controller_port = free_ports(2)
            values = self._values(controller_port)
            lines = "".join(f"{key}={value}\n" for key, value in values.items())
            (self.directory / "server.properties").write_text(lines)
            if attempt == 1:
                self._format()
            try:
                self._launch()
                return
            except LabError:
                if attempt == START_ATTEMPTS_MAX or "Address already in use" not in self.log_tail():
                    raise

    def _values(self, controller_port: int) -> dict[str, str]:
        """Return the broker's settings; called for each choice of ports."""
        return broker_settings(self.directory, self.port, controller_port) | self._settings

    def _format_options(self) -> list[str]:
        """Return what else the storage is formatted with."""
        return []

    def _identity(self) -> str:
        """Return the cluster's id."""
        return secrets.token_hex(11)

    def _format(self) -> None:
        tool = ["kafka.tools.StorageTool", "format", "--cluster-id", self._identity()]
        tool += ["--config", str(self.directory / "server.properties"), *self._format_options()]
        # Formatting is short: an optimising compiler would only be in the way.
        command = [*self._command[:1], *QUICK_JVM, *self._command[1:], *tool]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"{self.name}: storage was not formatted:\n{done.stderr[-2000:]}")

    def _launch(self) -> None:
        command = [*self._command, "kafka.Kafka", str(self.directory / "server.properties")]
        self._run(command, self.directory)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(self.port):
            if not self.running:
                raise LabError(f"{self.name} ended while starting:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise LabError(f"{self.name} gave no answer in time:\n{self.log_tail()}")
            time.sleep(0.05)


def start_together(*clusters: Cluster) -> None:
    """Start clusters at the same time: each of them mostly waits. Whoever asks closes them, also after an error."""
    with ThreadPoolExecutor() as pool:
        for started in [pool.submit(cluster.start) for cluster in clusters]:
            started.result()


def free_ports(count: int, *, besides: Collection[int] = ()) -> list[int]:
    """Return ports on which nobody listens now, all different."""
    found: set[int] = set()
    for _ in range(1000):
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found |= {port} - {*besides}
        if len(found) == count:
            return list(found)
    raise LabError("no free port was found")


def _answers(port: int) -> bool:
    """Ask the broker for its API versions (the one request that every version answers)."""
    # length, then api key 18, version 0, correlation id 1, client id "lab"
    request = struct.pack(">ihhih3s", 13, 18, 0, 1, 3, b"lab")
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as link:
            link.sendall(request)
            return len(link.recv(8)) > 0
    except OSError:
        return False
