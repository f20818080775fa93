"""The topics of a run: what they are called, and what each must be like.

One place for start-up, `plan` and `reset`, so that they cannot disagree.
"""

from typing import Final

from cutover_app.contract.models import Contract
from cutover_app.core.rows import TABLES
from cutover_app.kafka.admin import TopicSpec, TopicState, compacted_topic, intake_topic, look, plan, prepare
from cutover_app.kafka.cluster import Cluster
from cutover_app.kafka.clusters import direct_broker, is_direct
from cutover_app.kafka.errors import TopicsUnfit
from cutover_app.kafka.settings import Broker

INTAKE_RETENTION_MS: Final = 24 * 3600 * 1000
"""Intake is read again from the last checkpoint on; it holds whole messages, so it is kept no longer than it must."""


def app_id_of(contract: Contract) -> str:
    """Return the name that everything of a run begins with; also its consumer group."""
    return f"cutover-{contract.contract}-{contract.run}"


def intake_of(contract: Contract) -> str:
    """Return the name of the intake topic."""
    return f"{app_id_of(contract)}-intake"


def changelog_of(contract: Contract, table: str) -> str:
    """Return the name of a table's changelog topic."""
    return f"{app_id_of(contract)}-{table}-changelog"


def fixes_of(contract: Contract) -> str:
    """Return the name of the topic of marks: which families people have said to be fixed, and since when."""
    return f"{app_id_of(contract)}-fixes"


def checkpoints_of(app_id: str) -> str:
    """Return what the transactional ids of an app's checkpoints begin with; an intake partition follows."""
    return f"{app_id}-checkpoint-"


def source_specs(contract: Contract) -> list[TopicSpec]:
    """Return the topics that must exist on the work cluster: they are the producers', and never created here."""
    legacy = [] if is_direct(contract) else [legacy_spec(contract)]
    return [*legacy, _source_spec("rebuilt", contract.rebuilt.topic, compacted=contract.rebuilt.compacted)]


def legacy_spec(contract: Contract) -> TopicSpec:
    """Return the legacy topic as it must be, wherever it is read."""
    return _source_spec("legacy", contract.legacy.topic, compacted=contract.legacy.compacted)


def _source_spec(side: str, topic: str, *, compacted: bool) -> TopicSpec:
    if compacted:
        return TopicSpec(topic, ours=False)
    hint = (
        ": a compacted topic may drop records before they are read, and their partners would be called missing or "
        f"unknown; set {side}.compacted: true if it cannot (min.compaction.lag.ms)"
    )
    return TopicSpec(topic, ours=False, configs={"cleanup.policy": "delete"}, hint=hint)


async def look_at_legacy(
    contract: Contract, broker: Broker, work: Cluster, *, settings: bool = True
) -> tuple[TopicState | None, list[str]]:
    """Return the legacy topic as it is on its own cluster, where it is read there, and what stands in the way.

    None if it does not exist. On the work cluster the group that reads it there would be the workers' own.
    """
    async with Cluster(broker) as cluster:
        # Not by the clusters' ids: whoever sets up two clusters from one file may give both the same.
        if await cluster.brokers() & await work.brokers():
            return None, [f"{broker.place} is the work cluster: leave it out"]
        found = await look(cluster, [legacy_spec(contract)], settings=settings)
    state = found.get(contract.legacy.topic)
    return state, _unfit_legacy(contract, broker, state)


def _unfit_legacy(contract: Contract, broker: Broker, state: TopicState | None) -> list[str]:
    if state is None:
        return [f"topic {contract.legacy.topic} does not exist on the legacy cluster ({', '.join(broker.servers)})"]
    return list(plan([legacy_spec(contract)], {contract.legacy.topic: state}).problems)


def changelog_specs(contract: Contract) -> list[TopicSpec]:
    """Return the changelogs of the tables, with a partition for each of intake."""
    internal = contract.internal
    return [
        compacted_topic(
            changelog_of(contract, table),
            contract.intake.partitions,
            replication=internal.replication,
            min_insync=internal.min_insync,
        )
        for table in TABLES
    ]


def fixes_spec(contract: Contract) -> TopicSpec:
    """Return the topic of marks; there are few, so it has one partition."""
    internal = contract.internal
    return compacted_topic(fixes_of(contract), 1, replication=internal.replication, min_insync=internal.min_insync)


def internal_specs(contract: Contract) -> list[TopicSpec]:
    """Return the topics that a run creates: intake, the changelogs of its tables, marks, and the verdicts."""
    internal, partitions = contract.internal, contract.intake.partitions
    intake = intake_topic(
        intake_of(contract),
        partitions,
        replication=internal.replication,
        min_insync=internal.min_insync,
        retention_ms=max(INTAKE_RETENTION_MS, contract.timing.remember),
    )
    verdicts = compacted_topic(
        contract.verdicts.topic,
        partitions,
        replication=contract.verdicts.replication,
        min_insync=min(internal.min_insync, contract.verdicts.replication),
    )
    return [intake, *changelog_specs(contract), fixes_spec(contract), verdicts]


async def verify_topics(contract: Contract, broker: Broker) -> dict[str, str]:
    """Create what is missing of a run's own topics and return the ids of all topics by name.

    Raises `TopicsUnfit` where anything is not as it must be.
    """
    legacy = direct_broker(contract)
    async with Cluster(broker) as cluster:
        if legacy is not None:
            _state, problems = await look_at_legacy(contract, legacy, cluster, settings=False)
            if problems:
                raise TopicsUnfit(problems)
        return await prepare(cluster, [*source_specs(contract), *internal_specs(contract)])
