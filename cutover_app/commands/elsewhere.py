"""What commands ask the legacy cluster, where the legacy topic is read there or is a copy of one that lives there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiokafka.errors import KafkaError

from cutover_app.commands.planning import Elsewhere
from cutover_app.contract.models import Contract, Mirror
from cutover_app.kafka.cluster import Cluster
from cutover_app.kafka.clusters import ASK_SECONDS, direct_broker, is_direct, legacy_broker
from cutover_app.kafka.errors import KafkaUnavailable, MirrorUnreadable
from cutover_app.kafka.headers import header_damage
from cutover_app.kafka.mirror import legacy_topic, line_of, mirror_offsets
from cutover_app.kafka.topics import look_at_legacy

FAILURES: Final = (KafkaError, KafkaUnavailable, TimeoutError, OSError)


@asynccontextmanager
async def home_of_legacy(contract: Contract, work: Cluster) -> AsyncIterator[Cluster]:
    """Connect to the cluster on which the legacy topic is read: `work`, or one of its own.

    Raises `KafkaUnavailable` where nobody answers there.
    """
    broker = direct_broker(contract, request_timeout=ASK_SECONDS)
    if broker is None:
        yield work
        return
    async with Cluster(broker, client_id="cutover-legacy") as cluster:
        yield cluster


async def look_elsewhere(contract: Contract, work: Cluster) -> Elsewhere:
    """Return what `plan` has to know about the legacy cluster."""
    legacy = contract.legacy
    broker = legacy_broker(contract, request_timeout=ASK_SECONDS)
    if broker is None:
        return Elsewhere()
    if is_direct(contract):
        try:
            state, problems = await look_at_legacy(contract, broker, work)
        except FAILURES as error:
            return Elsewhere(problems=[f"the legacy cluster cannot be asked: {error}"])
        return Elsewhere(legacy=state, problems=problems)
    assert isinstance(legacy.mirror, Mirror)
    return Elsewhere(warnings=[*await _about_proof(contract), *await _about_headers(contract)])


async def _about_proof(contract: Contract) -> list[str]:
    """Say what would keep the workers from proving that the copy is complete."""
    offsets, legacy = mirror_offsets(contract), legacy_topic(contract)
    try:
        told = await offsets.read()
        log = await legacy.log()
    except (*FAILURES, MirrorUnreadable) as error:
        return [f"the mirror cannot be proven: {line_of(error)}"]
    finally:
        await offsets.close()
        await legacy.close()
    filled = [number for number, end in sorted(log.ends.items()) if end > log.starts.get(number, 0)]
    untold = [number for number in filled if number not in told]
    if not untold:
        return []
    name = contract.legacy.original
    which = f"of partitions {', '.join(map(str, untold[:8]))} of {name}" if told else f"of {name}"
    return [f"no mirror has told yet that it has copied anything {which}: is it running, and does it copy this topic?"]


async def _about_headers(contract: Contract) -> list[str]:
    try:
        damage = await header_damage(contract)
    except FAILURES:
        return []  # said above, or of no importance
    return [damage] if damage else []
