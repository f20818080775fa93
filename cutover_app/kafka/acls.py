"""The least that each role must be allowed on a cluster that authorises: data for `plan --acls` and for checks.

Five roles, which may be five users or one: *setup* creates topics (`plan --apply`), *worker* verifies, *reader* reads
what was found (`report`, `status`), *operator*, who may read it too, looks into it (`rows`, `explain`) and marks what
was fixed (`fixed`), *reset* takes a run away. None of them may write to a source topic, and none needs anything of the
cluster as a whole. READ, WRITE and DELETE imply DESCRIBE, so it stands only where it stands alone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from cutover_app.contract.models import Contract, Mirror
from cutover_app.core.rows import BOOKS_TABLE, FAMILIES_TABLE, TABLES
from cutover_app.kafka.clusters import is_direct
from cutover_app.kafka.topics import app_id_of, changelog_of, checkpoints_of, fixes_of, intake_of

SETUP: Final = "setup"
WORKER: Final = "worker"
READER: Final = "reader"
OPERATOR: Final = "operator"
RESET: Final = "reset"
ROLES: Final = (SETUP, WORKER, READER, OPERATOR, RESET)

WORK: Final = "work"
LEGACY: Final = "legacy"

TOPIC: Final = "topic"
GROUP: Final = "group"
TRANSACTIONAL_ID: Final = "transactional-id"

LITERAL: Final = "literal"
PREFIXED: Final = "prefixed"

MIRROR_OFFSETS: Final = "mm2-offsets."
"""How MirrorMaker 2 begins the names of the topics of its positions; for contracts that do not name one."""

IMPLYING_DESCRIBE: Final = frozenset({"Read", "Write", "Delete", "Alter"})


@dataclass(frozen=True, slots=True, order=True)
class Acl:
    """One permission. `role` stands for the principal, which is for people to choose."""

    role: str
    cluster: str
    resource: str
    pattern: str
    name: str
    operation: str
    why: str

    def covers(self, resource: str, name: str) -> bool:
        """Tell whether it is about this resource."""
        fits = name.startswith(self.name) if self.pattern == PREFIXED else name == self.name
        return resource == self.resource and fits


def acls_of(contract: Contract) -> list[Acl]:
    """Return every permission that a contract's run needs, role by role."""
    return [*_setup(contract), *_worker(contract), *_reader(contract), *_operator(contract), *_reset(contract)]


def sources_of(contract: Contract) -> tuple[str, str]:
    """Return the source topics."""
    return contract.legacy.topic, contract.rebuilt.topic


def _prefix(contract: Contract) -> str:
    return f"{app_id_of(contract)}-"


def _topics(
    role: str, names: Iterable[str], operations: Iterable[str], why: str, *, pattern: str = LITERAL, cluster: str = WORK
) -> Iterator[Acl]:
    for name in names:
        for operation in operations:
            yield Acl(role, cluster, TOPIC, pattern, name, operation, why)


def _work_sources(contract: Contract) -> list[str]:
    """Return the source topics that are on the work cluster."""
    legacy, rebuilt = sources_of(contract)
    return [rebuilt] if is_direct(contract) else [legacy, rebuilt]


def _homes(contract: Contract) -> list[str]:
    """Return the clusters on which a run has a consumer group."""
    return [WORK, LEGACY] if is_direct(contract) else [WORK]


def _setup(contract: Contract) -> Iterator[Acl]:
    yield from _topics(
        SETUP, _work_sources(contract), ["DescribeConfigs", "Describe"], "partitions, retention, timestamps"
    )
    if is_direct(contract):
        wanted = ["DescribeConfigs", "Describe"]
        yield from _topics(SETUP, [contract.legacy.topic], wanted, "partitions, retention", cluster=LEGACY)
    ours = ["Create", "Describe", "DescribeConfigs"]
    yield from _topics(SETUP, [_prefix(contract)], ours, "create and verify internal topics", pattern=PREFIXED)
    yield from _topics(SETUP, [contract.verdicts.topic], ours, "create and verify the verdicts topic")


def _worker(contract: Contract) -> Iterator[Acl]:
    yield from _topics(WORKER, _work_sources(contract), ["Read"], "read what the producers publish; never write")
    yield from _legacy_cluster(contract)
    ours = ["Read", "Write", "DescribeConfigs"]
    yield from _topics(
        WORKER, [_prefix(contract)], ours, "intake and changelogs; verify their settings", pattern=PREFIXED
    )
    yield from _topics(WORKER, [contract.verdicts.topic], ["Write", "DescribeConfigs"], "publish verdicts")
    for home in _homes(contract):
        yield Acl(WORKER, home, GROUP, LITERAL, app_id_of(contract), "Read", "join the group, commit positions")
    checkpoints = checkpoints_of(app_id_of(contract))
    yield Acl(WORKER, WORK, TRANSACTIONAL_ID, PREFIXED, checkpoints, "Write", "one transaction per checkpoint")


def _legacy_cluster(contract: Contract) -> Iterator[Acl]:
    legacy = contract.legacy
    if is_direct(contract):
        yield from _topics(WORKER, [legacy.topic], ["Read"], "read what the producer publishes", cluster=LEGACY)
    elif isinstance(legacy.mirror, Mirror):
        yield from _topics(WORKER, [legacy.original], ["Read"], "prove that the copy is complete", cluster=LEGACY)
        offsets = legacy.mirror.offsets
        name, pattern = (MIRROR_OFFSETS, PREFIXED) if offsets is None else (offsets, LITERAL)
        yield from _topics(WORKER, [name], ["Read"], "how far the mirror has copied", pattern=pattern)


def _reader(contract: Contract) -> Iterator[Acl]:
    yield from _topics(READER, [contract.verdicts.topic], ["Read"], "verdicts")
    state = [changelog_of(contract, table) for table in (BOOKS_TABLE, FAMILIES_TABLE)]
    yield from _topics(READER, state, ["Read"], "books and families")
    yield from _topics(READER, [fixes_of(contract)], ["Read"], "marks of what was fixed")
    yield from _topics(READER, [intake_of(contract), *_work_sources(contract)], ["Describe"], "what is not judged yet")
    if is_direct(contract):
        yield from _topics(READER, [contract.legacy.topic], ["Describe"], "what is not read yet", cluster=LEGACY)
    for home in _homes(contract):
        yield Acl(READER, home, GROUP, LITERAL, app_id_of(contract), "Describe", "what is not read yet")


def _operator(contract: Contract) -> Iterator[Acl]:
    yield from _topics(OPERATOR, [changelog_of(contract, table) for table in TABLES], ["Read"], "rows of the tables")
    yield from _topics(OPERATOR, [fixes_of(contract)], ["Write"], "mark what was fixed")
    yield from _topics(OPERATOR, _work_sources(contract), ["Read"], "only for explain --fetch")
    if is_direct(contract):
        yield from _topics(OPERATOR, [contract.legacy.topic], ["Read"], "only for explain --fetch", cluster=LEGACY)


def _reset(contract: Contract) -> Iterator[Acl]:
    ours = [intake_of(contract), fixes_of(contract), *(changelog_of(contract, table) for table in TABLES)]
    yield from _topics(RESET, ours, ["Delete"], "delete internal topics")
    yield from _topics(RESET, _work_sources(contract), ["Describe"], "see the run's positions; nothing else")
    verdicts = ["Read", "Write", "Delete"]
    yield from _topics(RESET, [contract.verdicts.topic], verdicts, "only for --verdicts; else Describe is enough")
    if is_direct(contract):
        yield from _topics(RESET, [contract.legacy.topic], ["Describe"], "see the run's positions", cluster=LEGACY)
    for home in _homes(contract):
        yield Acl(RESET, home, GROUP, LITERAL, app_id_of(contract), "Describe", "refuse while a worker runs")
        yield Acl(RESET, home, GROUP, LITERAL, app_id_of(contract), "Delete", "delete the run's positions")
