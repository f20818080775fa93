"""Clusters of another kind than one broker on this machine: three brokers, and one behind a network."""

import os
import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from cutover_app.lab.cluster import QUICK_JVM, Cluster, free_ports, start_together
from cutover_app.lab.errors import LabError
from cutover_app.lab.keeper import Keeper

REPLICATED: Final = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
}


class Node(Cluster):
    """One of three brokers."""

    def __init__(self, number: int, ports: Sequence[tuple[int, int]], identity: str) -> None:
        super().__init__(f"node{number}", jvm=QUICK_JVM)
        self._number = number
        self._ports = ports
        self._shared = identity

    def _identity(self) -> str:
        return self._shared

    def _start_on_free_ports(self) -> None:
        self.port, controller_port = self._ports[self._number - 1]
        values = self._values(controller_port) | REPLICATED
        values["node.id"] = str(self._number)
        values["controller.quorum.voters"] = ",".join(
            f"{number}@127.0.0.1:{port}" for number, (_port, port) in enumerate(self._ports, 1)
        )
        (self.directory / "server.properties").write_text("".join(f"{key}={value}\n" for key, value in values.items()))
        self._format()
        self._launch()


class Trio(Cluster):
    """Three brokers, every topic on all of them, two of which must have a record before it counts."""

    def __init__(self) -> None:
        super().__init__("trio")
        found = free_ports(6)
        identity = secrets.token_hex(11)
        ports = list(zip(found[:3], found[3:], strict=True))
        self.nodes = [Node(number, ports, identity) for number in (1, 2, 3)]

    @property
    def bootstrap(self) -> str:
        """The addresses for clients."""
        return ",".join(node.bootstrap for node in self.nodes)

    def start(self) -> None:
        """Start all three: none is ready alone."""
        try:
            start_together(*self.nodes)
        except BaseException:
            self.close()
            raise

    @property
    def _keeps(self) -> Keeper:
        return self.nodes[0]._keeps

    @property
    def directory(self) -> Path:
        """The first one's; it has room for those who use the cluster."""
        return self.nodes[0].directory

    def close(self) -> None:
        """Stop all."""
        for node in self.nodes:
            node.close()


HOST: Final = "10.213.77.1"
GUEST: Final = "10.213.77.2"


class Network:
    """A network namespace for workers, with one wire to this machine. Needs the right to make one."""

    def __init__(self) -> None:
        self.name = f"cutover-{os.getpid()}"
        self._wire = f"cut{os.getpid() % 100_000}"

    def __enter__(self) -> Self:
        _ip("netns", "add", self.name)
        try:
            _ip("link", "add", self._wire, "type", "veth", "peer", "name", "eth0", "netns", self.name)
            _ip("addr", "add", f"{HOST}/24", "dev", self._wire)
            _ip("link", "set", self._wire, "up")
            for words in (
                ("addr", "add", f"{GUEST}/24", "dev", "eth0"),
                ("link", "set", "eth0", "up"),
                ("link", "set", "lo", "up"),
            ):
                self._inside(*words)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        # The wire goes with the namespace.
        _ip("netns", "del", self.name)

    @property
    def under(self) -> tuple[str, ...]:
        """The command that runs a command in there."""
        return "ip", "netns", "exec", self.name

    def deafen(self, *, back: bool = False) -> None:
        """Have nothing of what brokers say reach the workers, or all of it again."""
        _ip("route", "del" if back else "add", "blackhole", f"{GUEST}/32")

    def mute(self, *, back: bool = False) -> None:
        """Have nothing of what workers say reach the brokers, or all of it again."""
        self._inside("route", "del" if back else "add", "blackhole", f"{HOST}/32")

    def cut(self, *, back: bool = False) -> None:
        """Cut the wire, or mend it."""
        _ip("link", "set", self._wire, "up" if back else "down")

    def _inside(self, *words: str) -> None:
        _ip("-n", self.name, *words)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"ip {' '.join(words)}: {done.stderr.strip()} (a network of its own needs root, and iproute2)")


class Far(Cluster):
    """One broker that is reached through a `Network`."""

    @property
    def bootstrap(self) -> str:
        """The address for clients."""
        return f"{HOST}:{self.port}"

    def _values(self, controller_port: int) -> dict[str, str]:
        return super()._values(controller_port) | {
            "listeners": f"PLAINTEXT://0.0.0.0:{self.port},CONTROLLER://127.0.0.1:{controller_port}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self.port}",
        }
