"""What stands between a contract and a run: a pure function of the contract, the topics as they are, and the time.

*Problems* stop a run from starting, or make its verdicts impossible; *warnings* are for people to judge; the *notice*
is what everybody who starts a run has to know.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from cutover_app.contract.models import Contract, Mirror
from cutover_app.contract.start import not_yet
from cutover_app.contract.units import show_duration
from cutover_app.core.frames import LEGACY, SIDES
from cutover_app.core.rows import TABLES
from cutover_app.kafka.admin import TopicSpec, TopicState
from cutover_app.kafka.admin import plan as plan_topics
from cutover_app.kafka.clusters import is_direct
from cutover_app.kafka.topics import app_id_of, changelog_of, fixes_of, intake_of, internal_specs, source_specs

EXISTS = "exists"
ABSENT = "does not exist"
TO_CREATE = "to be created"
CREATED = "created"

NOTICE = (
    "intake, the tables and their changelogs hold whole messages: protect them like the source topics (same ACLs; "
    "local state in {datadir})"
)


@dataclass(frozen=True, slots=True)
class TopicLine:
    """One topic: what it is for, and what it is like or will be."""

    name: str
    role: str
    state: str
    partitions: int | None
    replication: int | None
    cleanup: str
    retention_ms: int | None
    """None where nothing expires by time."""
    timestamps: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What `plan` shows."""

    contract: str
    run: str
    rules: str
    broker: str
    app_id: str
    match_key: list[str]
    grace_ms: int
    remember_ms: int
    topics: list[TopicLine]
    create: list[str]
    problems: list[str]
    warnings: list[str]
    notice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What `plan` finds out by asking for more than the topics of the work cluster."""

    problems: Sequence[str] = ()
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere(Asked):
    """What `plan` finds out about the legacy cluster, where that is another one."""

    legacy: TopicState | None = None
    """The legacy topic, where it is read there."""


def specs_of(contract: Contract) -> list[TopicSpec]:
    """Return every topic that a run needs on the work cluster."""
    return [*source_specs(contract), *internal_specs(contract)]


def plan_run(
    contract: Contract,
    rules: str,
    found: Mapping[str, TopicState],
    *,
    now: datetime,
    datadir: str,
    elsewhere: Elsewhere | None = None,
    begun: Asked | None = None,
) -> RunPlan:
    """Return the plan of a contract's run.

    `elsewhere` is what there is on the legacy cluster, if that can be asked; `begun` is about what the run has done.
    """
    specs = specs_of(contract)
    todo = plan_topics(specs, found)
    sources = [found[spec.name] for spec in source_specs(contract) if spec.name in found]
    elsewhere, begun = elsewhere or Elsewhere(), begun or Asked()
    if is_direct(contract):
        sources = [*([elsewhere.legacy] if elsewhere.legacy else []), *sources]
    problems = [*begun.problems, *elsewhere.problems, *todo.problems]
    warnings = [line for state in sources for line in _about_source(contract, state)]
    problems += [line for state in sources for line in _too_short(contract, state)]
    if line := not_yet(contract.start, int(now.timestamp() * 1000)):
        problems.append(line)
    warnings += _about_timestamps(sources)
    warnings += [*begun.warnings, *elsewhere.warnings]
    warnings += _past_ignores(contract, now.date())
    warnings += _about_security(contract)
    return RunPlan(
        contract=contract.contract,
        run=contract.run,
        rules=rules,
        broker=contract.bootstrap,
        app_id=app_id_of(contract),
        match_key=list(contract.match.key),
        grace_ms=contract.timing.grace,
        remember_ms=contract.timing.remember,
        topics=[*_legacy_line(contract, elsewhere), *_lines(contract, specs, found)],
        create=[spec.name for spec in todo.create],
        problems=problems,
        warnings=warnings,
        notice=NOTICE.format(datadir=datadir),
    )


def _legacy_line(contract: Contract, elsewhere: Elsewhere) -> list[TopicLine]:
    if not is_direct(contract):
        return []
    return [_line(TopicSpec(contract.legacy.topic, ours=False), SIDES[LEGACY], elsewhere.legacy)]


def _lines(contract: Contract, specs: Sequence[TopicSpec], found: Mapping[str, TopicState]) -> list[TopicLine]:
    roles = _roles(contract)[1 if is_direct(contract) else 0 :]
    return [_line(spec, role, found.get(spec.name)) for spec, role in zip(specs, roles, strict=True)]


def _roles(contract: Contract) -> list[str]:
    roles = {intake_of(contract): "intake", fixes_of(contract): "marks of what is fixed"} | {
        changelog_of(contract, name): f"changelog of {name}" for name in TABLES
    }
    return [*SIDES, *(roles.get(spec.name, "verdicts") for spec in internal_specs(contract))]


def _line(spec: TopicSpec, role: str, state: TopicState | None) -> TopicLine:
    if state is None:
        configs, exists = spec.configs, TO_CREATE if spec.ours else ABSENT
        partitions, replication = spec.partitions, spec.replication if spec.ours else None
    else:
        configs, exists = state.configs, EXISTS
        partitions, replication = state.topic.partitions, state.topic.replication
    return TopicLine(
        name=spec.name,
        role=role,
        state=exists,
        partitions=partitions,
        replication=replication,
        cleanup=configs.get("cleanup.policy", ""),
        retention_ms=_retention(configs),
        timestamps=configs.get("message.timestamp.type", ""),
    )


def _retention(configs: Mapping[str, str]) -> int | None:
    """Return after how long records are deleted."""
    if "delete" not in configs.get("cleanup.policy", ""):
        return None
    text = configs.get("retention.ms", "-1")
    return int(text) if text.isdigit() else None


def _too_short(contract: Contract, state: TopicState) -> list[str]:
    retention = _retention(state.configs)
    if retention is None or retention >= contract.timing.grace:
        return []
    kept, grace = show_duration(retention), show_duration(contract.timing.grace)
    return [
        f"topic {state.topic.name} keeps records for {kept}, less than timing.grace ({grace}): they may never be judged"
    ]


def _about_source(contract: Contract, state: TopicState) -> list[str]:
    name, configs = state.topic.name, state.configs
    lines = []
    retention = _retention(configs)
    if retention is not None and contract.timing.grace <= retention < contract.timing.remember:
        kept, remember = show_duration(retention), show_duration(contract.timing.remember)
        lines.append(
            f"topic {name} keeps records for {kept}, less than timing.remember ({remember}): what is remembered cannot "
            "be replayed"
        )
    if configs.get("retention.bytes", "-1").isdigit() and retention is not None:
        lines.append(f"topic {name} is also limited by size (retention.bytes): how long it keeps records is not known")
    return lines


def _about_timestamps(sources: Sequence[TopicState]) -> list[str]:
    types = {state.topic.name: state.configs.get("message.timestamp.type", "") for state in sources}
    if len(set(types.values())) < 2:
        return []
    both = ", ".join(f"{name}: {kind}" for name, kind in types.items())
    return [f"the topics' timestamps mean different things ({both}): delays between them say little"]


def _about_security(contract: Contract) -> list[str]:
    legacy = contract.legacy
    sections = {"security": contract.security, "legacy.security": legacy.security}
    if isinstance(legacy.mirror, Mirror):
        sections["legacy.mirror.security"] = legacy.mirror.security
    lines = []
    for name, section in sections.items():
        if section is not None and section.allow_plaintext:
            lines.append(f"{name}.allow_plaintext: credentials and messages cross the network in the clear")
        if section is not None and section.tls is not None and not section.tls.verify_hostname:
            lines.append(
                f"{name}.tls.verify_hostname is off: any host with a trusted certificate is taken for a broker"
            )
    return lines


def _past_ignores(contract: Contract, today: date) -> list[str]:
    return [
        f"compare.ignore {rule.path}: its date {rule.until} has passed, and it is still ignored ({rule.reason})"
        for rule in contract.compare.ignore
        if rule.until is not None and rule.until < today.isoformat()
    ]
