"""`cutover reset`: takes away what a run created."""

import asyncio
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from aiokafka import AIOKafkaProducer
from faust.cli.base import option

from cutover_app.commands.base import CutoverCommand
from cutover_app.commands.contracts import contract_option
from cutover_app.commands.elsewhere import home_of_legacy
from cutover_app.commands.evidence import broker_of
from cutover_app.commands.output import FAILED, FINE, fail
from cutover_app.contract.load import load_contract
from cutover_app.contract.models import Contract
from cutover_app.core.verdicts import decode_verdict
from cutover_app.kafka import admin
from cutover_app.kafka.cluster import Cluster, Topic
from cutover_app.kafka.groups import delete_group, members_of
from cutover_app.kafka.reading import read_topics
from cutover_app.kafka.settings import Broker
from cutover_app.kafka.topics import app_id_of, changelog_specs, fixes_of, intake_of
from cutover_app.runtime.datadir import datadir_of, holds_state, lock_directory, remove_state
from cutover_app.runtime.fatal import FatalError


class reset(CutoverCommand):  # noqa: N801 - the name of the command
    """Delete what the run created, after asking.

    Its intake topic, the changelogs of its tables, the marks of `fixed`, its consumer group with all positions (on the
    legacy cluster too, where it reads there), and its state on this machine; with --verdicts also its verdicts. The
    source topics are never touched, nor is what else the datadir holds. Refused while a worker runs, and while one of
    another run is in that datadir.

    Without --verdicts, name another `run` in the contract before starting again: verdicts of a run that is repeated
    under the same name would stand beside the old ones.

    Exit code: 0 done, or nothing to do; 2 usage or contract; 4 failed or refused.
    """

    options = [  # noqa: RUF012 - as Faust has it
        option("--verdicts", is_flag=True, help="Delete the run's verdicts too."),
        option("--yes", "-y", is_flag=True, help="Do not ask."),
        contract_option(),
    ]

    async def run(self, **options: Any) -> int:
        """Look, ask, delete."""
        contract = load_contract(options["contract_file"])
        broker = broker_of(contract)
        async with Cluster(broker) as cluster:
            await _refuse_while_running(cluster, contract)
            found = await _find(cluster, broker, contract, verdicts=options["verdicts"])
            found.has_legacy_group = await _has_legacy_group(cluster, contract)
            if found.is_empty():
                self.say(f"nothing is left of run {contract.run} of contract {contract.contract}")
                return FINE
            with _locked(found.datadir):
                for line in found.lines():
                    self.say(line)
                if not options["yes"] and not _confirmed():
                    fail(FAILED, "nothing was deleted")
                await _refuse_while_running(cluster, contract)
                if found.has_legacy_group:
                    async with home_of_legacy(contract, cluster) as home:
                        await delete_group(home, found.group)
                left = await _delete(cluster, broker, found)
        self.say(f"deleted; left in place: directory {left}" if left else "deleted")
        return FINE


@dataclass(slots=True)
class _Found:
    """What is there to delete."""

    group: str
    topics: list[str]
    has_group: bool
    datadir: Path | None
    has_legacy_group: bool = False
    """Whether there is a group of that name on the legacy cluster too."""
    verdicts: str = ""
    verdict_ids: list[tuple[int, bytes]] = field(default_factory=list)
    """Intake partition and id of each verdict, where the topic holds those of others too."""

    def is_empty(self) -> bool:
        groups = self.has_group or self.has_legacy_group
        return not (self.topics or groups or self.datadir or self.verdict_ids)

    def lines(self) -> list[str]:
        lines = [f"topic {name}" for name in self.topics]
        if self.has_group:
            lines.append(f"consumer group {self.group}")
        if self.has_legacy_group:
            lines.append(f"consumer group {self.group} on the legacy cluster")
        if self.verdict_ids:
            lines.append(f"{len(self.verdict_ids):,} verdicts in topic {self.verdicts}, which holds others too")
        if self.datadir:
            lines.append(f"local state in {self.datadir}")
        return lines


def _locked(datadir: Path | None) -> AbstractContextManager[object]:
    """Keep every worker out of a datadir, one of another contract too, from before it is shown until it is gone."""
    try:
        return lock_directory(datadir) if datadir else nullcontext()
    except FatalError as error:
        fail(FAILED, f"{error}; nothing was deleted")


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        fail(FAILED, "nobody to ask: say --yes to delete all this")
    return click.confirm("Delete all this?", default=False, err=True)


async def _has_legacy_group(cluster: Cluster, contract: Contract) -> bool:
    async with home_of_legacy(contract, cluster) as home:
        return home is not cluster and bool(await home.committed(app_id_of(contract), contract.legacy.topic))


async def _refuse_while_running(cluster: Cluster, contract: Contract) -> None:
    members = await members_of(cluster, app_id_of(contract))
    async with home_of_legacy(contract, cluster) as home:
        if home is not cluster:
            members += await members_of(home, app_id_of(contract))
    if members:
        shown = ", ".join(members[:3])
        fail(FAILED, f"{len(members)} workers of this run are active ({shown}): stop them first")


async def _find(cluster: Cluster, broker: Broker, contract: Contract, *, verdicts: bool) -> _Found:
    group, name = app_id_of(contract), contract.verdicts.topic
    ours = [intake_of(contract), *(spec.name for spec in changelog_specs(contract)), fixes_of(contract)]
    topics = await cluster.topics([*ours, name, contract.legacy.topic, contract.rebuilt.topic])
    committed = [await cluster.committed(group, topic) for topic in topics]
    datadir = datadir_of(contract)
    found = _Found(
        group=group,
        topics=[each for each in ours if each in topics],
        has_group=any(committed),
        datadir=datadir if holds_state(datadir) else None,
        verdicts=name,
    )
    if verdicts and name in topics:
        mine, others = await _verdicts_of(broker, contract, topics[name])
        if others:
            found.verdict_ids = mine
        else:
            found.topics.append(name)
    return found


async def _verdicts_of(broker: Broker, contract: Contract, topic: Topic) -> tuple[list[tuple[int, bytes]], int]:
    """Return the ids whose newest revision is of this run, and how many are of others."""
    newest: dict[tuple[int, bytes], bool] = {}

    def take(record: Any) -> None:
        place = (record.partition, record.key or b"")
        if record.value is None:
            newest.pop(place, None)
            return
        try:
            verdict = decode_verdict(record.value)
        except ValueError:
            newest[place] = False
            return
        newest[place] = (verdict.contract, verdict.run) == (contract.contract, contract.run)

    await read_topics(broker, [topic], take)
    mine = [place for place, is_mine in newest.items() if is_mine]
    return mine, len(newest) - len(mine)


async def _delete(cluster: Cluster, broker: Broker, found: _Found) -> str:
    """Positions last but for what is local: a reset that was cut short can be repeated. Return what local is left."""
    if found.verdict_ids:
        async with AIOKafkaProducer(**broker.client("cutover-reset"), enable_idempotence=True) as producer:
            told = [
                await producer.send(found.verdicts, key=key, value=None, partition=partition)
                for partition, key in found.verdict_ids
            ]
            await producer.flush()
            await asyncio.gather(*told)  # flushing does not say what became of them
    await admin.delete(cluster, found.topics)
    if found.has_group:
        await delete_group(cluster, found.group)
    return remove_state(found.datadir) if found.datadir else ""
