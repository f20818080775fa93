"""The composition root: the one place where app, agents, tables, commands and services meet. Nothing else imports it.

Reading the contract is the first thing that happens: whoever imports this with a missing or bad contract gets one clear
line per problem and exit code 2, whatever command it was going to be.
"""

import sys
from collections.abc import Sequence
from functools import partial
from typing import Final

from agents.judge import judge
from agents.observe import observe
from agents.rebuild import rebuild
from cutover_app import commands  # noqa: F401 - registers them with Faust's command line
from cutover_app.contract.compile import Compiled, compile_contract
from cutover_app.contract.errors import ContractError
from cutover_app.contract.load import load_contract
from cutover_app.contract.models import Contract, Mirror
from cutover_app.contract.terms import judge_terms
from cutover_app.core.frames import LEGACY, REBUILT
from cutover_app.core.rows import BOOKS_TABLE
from cutover_app.core.sampling import Sampling
from cutover_app.kafka.access import check_access
from cutover_app.kafka.acls import WORKER
from cutover_app.kafka.cluster import Cluster, answering
from cutover_app.kafka.clusters import direct_broker, is_direct, work_broker
from cutover_app.kafka.mirror import mirror_sampler
from cutover_app.kafka.ruled import check_rules
from cutover_app.kafka.samplers import EndSampler, Identity
from cutover_app.kafka.settings import Broker
from cutover_app.kafka.starts import Starts
from cutover_app.kafka.topics import app_id_of, changelog_of, intake_of, verify_topics
from cutover_app.runtime.access import AccessWatch
from cutover_app.runtime.alignment import Alignment
from cutover_app.runtime.app import CutoverApp, check_wiring, settings
from cutover_app.runtime.barriers import Barriers, Sampler, TopicSampler
from cutover_app.runtime.changelogs import Changelogs
from cutover_app.runtime.checkpoint import Checkpointer
from cutover_app.runtime.datadir import datadir_of
from cutover_app.runtime.direct import DirectReader
from cutover_app.runtime.forwarding import Forwarder, reader_of
from cutover_app.runtime.judging import Judging
from cutover_app.runtime.liveness import LivenessWatch, Reading
from cutover_app.runtime.partitions import Partitions
from cutover_app.runtime.stage import SourceStage
from cutover_app.runtime.watching import Group, SourceWatch
from cutover_app.web.collector import WorkerCollector
from cutover_app.web.server import WorkerWeb
from tables import TABLES

AGENTS: Final = ("agents.rebuild.rebuild", "agents.observe.observe", "agents.judge.judge")


def create_app(contract: Contract, compiled: Compiled) -> CutoverApp:
    """Wire the worker of a contract."""
    broker = work_broker(contract)
    app = CutoverApp(app_id_of(contract), **settings(broker, datadir=datadir_of(contract)))
    _wire_judge(app, contract, compiled, broker)
    legacy_group = _wire_sources(app, contract, compiled)
    app.partitions = Partitions(
        intake=intake_of(contract),
        tables=app.batch_tables,
        checkpointer=app.checkpointer,
        judge=app.judging,
        stages=({} if is_direct(contract) else {contract.legacy.topic: app.legacy})
        | {contract.rebuilt.topic: app.rebuilt},
    )
    app.always(LivenessWatch(app, _readings(app, legacy_group, contract)))
    app.beside(AccessWatch(Cluster(broker, client_id="cutover-access"), contract))
    if isinstance(legacy_group, DirectReader):
        app.beside(legacy_group)  # the last, because it starts once the legacy cluster answers
    app.prepare = lambda: _prepare(contract, broker, compiled.rules)
    app.door = partial(answering, broker)
    app.current_ids = partial(
        _ids_of, broker, [intake_of(contract), *(each.changelog_name for each in app.batch_tables)]
    )
    figures = WorkerCollector(app, contract=contract.contract, run=contract.run, rules=compiled.rules)
    app.new_web = lambda worker: WorkerWeb(worker, figures)
    check_wiring(app, agents=agents_of(contract), tables=[name for name, _ in TABLES])
    return app


def agents_of(contract: Contract) -> Sequence[str]:
    """Return the agents that a worker of the contract has; a `DirectReader` takes the place of the first."""
    return AGENTS[1:] if is_direct(contract) else AGENTS


async def _prepare(contract: Contract, broker: Broker, rules: str) -> dict[str, str]:
    """Topics first, then where the sources are read from: before anything asks for either. Return topic ids by name.

    And before anybody joins the group: whoever has other rules than the run does nothing in it.
    """
    async with Cluster(broker) as cluster:
        await check_access(cluster, contract, WORKER)
    ids = await verify_topics(contract, broker)
    await check_rules(contract, broker, rules)
    for side in (LEGACY, REBUILT):
        await _starts(contract, side).begin(contract.start)
    return ids


async def _ids_of(broker: Broker, topics: Sequence[str]) -> dict[str, str]:
    async with Cluster(broker) as cluster:
        return {name: topic.id for name, topic in (await cluster.topics(topics)).items()}


def _wire_judge(app: CutoverApp, contract: Contract, compiled: Compiled, broker: Broker) -> None:
    partitions = contract.intake.partitions
    app.batch_tables = [app.batch_table(name, help=text, partitions=partitions) for name, text in TABLES]
    app.checkpointer = Checkpointer(
        broker, app_id=app_id_of(contract), tables=app.batch_tables, verdicts=contract.verdicts.topic
    )
    changelogs = Changelogs(
        broker,
        group=app_id_of(contract),
        intake=intake_of(contract),
        tables=app.batch_tables,
    )
    app.judging = Judging(
        judge_terms(contract, compiled),
        intake=intake_of(contract),
        tables=app.batch_tables,
        checkpointer=app.checkpointer,
        changelogs=changelogs,
        app=app,
    )
    app.agent(app.chunk_topic(intake_of(contract)), name=AGENTS[2])(judge)


def _wire_sources(app: CutoverApp, contract: Contract, compiled: Compiled) -> Group:
    """Return the group's member that reads the legacy topic."""
    alignment = Alignment()
    direct = _direct_reader(contract) if is_direct(contract) else None
    app.legacy = _forwarder(app, contract, compiled, alignment, LEGACY, reader=direct)
    app.rebuilt = _forwarder(app, contract, compiled, alignment, REBUILT)
    watched = {each.stage.topic: each for each in (app.legacy, app.rebuilt)}
    if direct is None:
        app.agent(app.chunk_topic(contract.legacy.topic), name=AGENTS[0])(rebuild)
    else:
        direct.forwarder, direct.confirm_run = app.legacy, app.confirm_run
        watched = {app.rebuilt.stage.topic: app.rebuilt}
        app.beside(SourceWatch(direct, _home(contract, LEGACY), {app.legacy.stage.topic: app.legacy}))
    app.lossy = frozenset(watched)
    app.beside(SourceWatch(app, work_broker(contract), watched))
    app.agent(app.chunk_topic(contract.rebuilt.topic), name=AGENTS[1])(observe)
    return direct or app


def _readings(app: CutoverApp, legacy_group: Group, contract: Contract) -> list[Reading]:
    """Return what a worker must get on with: both source topics, and intake."""
    return [
        Reading(_home(contract, LEGACY), legacy_group, app.legacy.stage.topic, app.legacy.positions),
        Reading(_home(contract, REBUILT), app, app.rebuilt.stage.topic, app.rebuilt.positions),
        Reading(work_broker(contract), app, intake_of(contract), app.judging.positions),
    ]


def _home(contract: Contract, side: int) -> Broker:
    """Return the cluster on which a side's topic is read."""
    direct = direct_broker(contract) if side == LEGACY else None
    return direct or work_broker(contract)


def _starts(contract: Contract, side: int) -> Starts:
    topic = contract.legacy.topic if side == LEGACY else contract.rebuilt.topic
    return Starts(
        _home(contract, side),
        group=app_id_of(contract),
        side=side,
        topic=topic,
        books=changelog_of(contract, BOOKS_TABLE),
        books_broker=work_broker(contract),
    )


def _direct_reader(contract: Contract) -> DirectReader:
    return DirectReader(_home(contract, LEGACY), topic=contract.legacy.topic, group=app_id_of(contract))


def _forwarder(
    app: CutoverApp,
    contract: Contract,
    compiled: Compiled,
    alignment: Alignment,
    side: int,
    *,
    reader: DirectReader | None = None,
) -> Forwarder:
    broker = work_broker(contract)
    topic = contract.legacy.topic if side == LEGACY else contract.rebuilt.topic
    stage = SourceStage(app, broker, topic=topic, intake=intake_of(contract), sampling=Sampling(), reader=reader)
    group = reader or app
    forwarder = Forwarder(
        stage,
        reader_of(compiled, side),
        alignment,
        starts=_starts(contract, side),
        identity=Identity(_home(contract, side), topic),
        doubt=group.doubts.add,
        ours=lambda: group.tenure is not None,
        side=side,
        rules=compiled.rules,
        partitions=contract.intake.partitions,
    )
    interval = contract.timing.barrier / 1000
    sampler: Sampler
    if side == LEGACY and isinstance(contract.legacy.mirror, Mirror):
        sampler = app.mirror = mirror_sampler(
            contract,
            forwarder.sampling,
            lambda: stage.partitions,
            sound=stage.sound,
            lost=forwarder.never_copied,
            read_to_ms=forwarder.read_to_ms,
        )
    else:
        sampler = TopicSampler(stage, EndSampler(_home(contract, side)))
    heart = Barriers(stage, sampler, interval=interval, build=forwarder.barriers)
    app.hearts.append(heart)
    app.beside(heart)
    return forwarder


def _load() -> CutoverApp:
    try:
        contract = load_contract()
        return create_app(contract, compile_contract(contract))
    except ContractError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


app = _load()
