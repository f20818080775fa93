"""What lies on the broker before anything is measured: a backlog of both sides, and the ledger of what is in it."""

import asyncio
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from cutover_app.kafka.settings import Broker
from cutover_app.kafka.topics import verify_topics
from cutover_app.lab.cluster import Cluster
from cutover_app.lab.errors import LabError
from cutover_app.lab.faults import KINDS
from cutover_app.lab.lane import Codec
from cutover_app.lab.run import RunPlan, write_contract
from cutover_app.lab.scenario import Scenario
from cutover_app.lab.secured import SASL_SSL, SecuredCluster
from cutover_app.lab.shop import Loading, command
from cutover_app.lab.topics import create_topics
from cutover_app.lab.verify import Subject

PACE: Final = 2000.0
"""Messages per second of each side, by their timestamps."""
UNEQUAL: Final = ("missing_field", "unexpected_field", "wrong_value", "wrong_type")
"""What a storm is made of: pairs that differ."""
USER: Final = "bench"
PASSWORD: Final = "bench-password"  # noqa: S105 - of a broker that lives for a few minutes
PASSWORD_ENV: Final = "BENCH_PASSWORD"  # noqa: S105 - a name
STORM: Final = 0.05
"""With more faults than this per pair, only such are planted."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """A backlog. The reference is what all others differ from in one way.

    Attributes:
        name: Names its topics.
        messages: Of both sides together.
        size: Bytes of a legacy message, about.
        partitions: Of each source topic.
        codec: How the sources are compressed.
        faults: Planted per pair; 1.0 makes every pair unequal.
        tls: Whether workers reach the broker by TLS.
        readable: Whether all records can be decoded.
        rate: Legacy messages per second, where they are published while they are read; None is before.
        late_s: Seconds by which the rebuilt side is behind then.
        loading: Which sides are published.
        grace: Of the contract.
        received: Whether a record's timestamp is when the broker had it, and not when it happened in the shop.
    """

    name: str
    messages: int
    size: int = 800
    partitions: int = 6
    codec: Codec = "lz4"
    faults: float = 0.001
    tls: bool = False
    readable: bool = False
    rate: float | None = None
    late_s: float = 0.0
    loading: Loading = "both"
    grace: str = "10s"
    received: bool = False

    @property
    def rates(self) -> Mapping[str, float]:
        """Faults per message, by kind."""
        if not self.faults:
            return {}
        kinds = (
            UNEQUAL
            if self.faults > STORM
            else [kind for kind in KINDS if not (self.readable and kind == "undecodable")]
        )
        return dict.fromkeys(kinds, self.faults / len(kinds))


@dataclass(frozen=True)
class Prepared:
    """A load that lies on a broker."""

    load: Load
    cluster: Cluster
    plan: RunPlan
    folder: Path

    @property
    def ledger(self) -> Path:
        """What was planted."""
        return self.folder / "ledger.jsonl"

    @property
    def topics(self) -> tuple[str, str]:
        """The source topics."""
        return self.plan.topics

    @property
    def broker(self) -> str:
        """Where workers reach the cluster."""
        return self.cluster.address(SASL_SSL) if isinstance(self.cluster, SecuredCluster) else self.cluster.bootstrap

    @property
    def _security(self) -> dict[str, Any]:
        if not isinstance(self.cluster, SecuredCluster):
            return {}
        sasl = {"mechanism": "SCRAM-SHA-512", "username": USER, "password": {"env": PASSWORD_ENV}}
        return {"security": {"tls": {"ca": str(self.cluster.authority.file)}, "sasl": sasl}}

    def contract(self, run: str, intake: int) -> Path:
        """Write a contract whose run reads this load from the beginning, with topics of its own."""
        mine = {"run": run, "intake": {"partitions": intake}, "verdicts": {"topic": f"{run}.verdicts"}}
        return write_contract(self.folder / f"{run}.yaml", self.plan.changes() | self._security | mine)

    async def play(self) -> None:
        """Publish everything."""
        await asyncio.to_thread(_play, self, self.plan.loading, self.ledger)

    async def play_apart(self) -> None:
        """Publish everything, each side by a process of its own: what is large takes half as long."""
        other = self.folder / "none.jsonl"  # what is planted is noted with the rebuilt side
        await asyncio.gather(
            asyncio.to_thread(_play, self, "legacy-only", other),
            asyncio.to_thread(_play, self, "rebuilt-only", self.ledger),
        )

    async def subject(self, contract: Path) -> Subject:
        """Return the run of a contract, its topics created."""
        subject = Subject.load(self.cluster.bootstrap, contract)
        await verify_topics(subject.contract, Broker.parse(self.cluster.bootstrap))
        return subject


def new_cluster(load: Load) -> Cluster:
    """Return a cluster for a load, not started yet."""
    if load.tls:
        return SecuredCluster("bench", users={USER: PASSWORD}, trusted=[USER])
    return Cluster("bench")


async def prepare(load: Load, cluster: Cluster) -> Prepared:
    """Put a load on a broker; one that is published live has only its topics there."""
    prepared = await create(load, cluster)
    if load.rate is None:
        await prepared.play()
    return prepared


async def create(load: Load, cluster: Cluster) -> Prepared:
    """Create the topics of a load."""
    folder = cluster.directory / f"load-{load.name}"
    folder.mkdir()
    pairs = load.messages // 2
    pace = load.rate or PACE
    behind = 0.0 if load.rate else pairs / pace
    scenario = Scenario(
        count=pairs, size=load.size, rates=load.rates, pace=pace, start_ms=int((time.time() - behind) * 1000)
    )
    plan = RunPlan(
        name=f"bench-{load.name}",
        scenario=scenario,
        rate=load.rate,
        partitioners=("murmur2", "murmur2"),
        codecs=(load.codec, load.codec),
        loading=load.loading,
        timing={"grace": load.grace, "remember": "4h", "barrier": "1s"},
    )
    prepared = Prepared(load, cluster, plan, folder)
    configs = {"message.timestamp.type": "LogAppendTime"} if load.received else None
    await create_topics(cluster.bootstrap, dict.fromkeys(plan.topics, load.partitions), configs=configs)
    return prepared


def _play(prepared: Prepared, loading: Loading, ledger: Path) -> None:
    delivery = prepared.plan.delivery(prepared.cluster.bootstrap)
    late = replace(delivery.rebuilt, delay_s=prepared.load.late_s)
    words = command(prepared.plan.scenario, replace(delivery, rebuilt=late, loading=loading), ledger)
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"the scenario ended with {done.returncode}:\n{done.stderr}")
