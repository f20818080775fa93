"""What the source topics gave to a run, in the identities that the run gave to it.

The records come from the topics, as far as they are still there: a record that no worker ever read has to be missed.
What retention or a new topic of the same name has taken since can only come from the intake log, which has what was
accepted of it (R4). Ranges that the run says nobody could read are left out, and handed to the oracle as edges (R8).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from cutover_app.contract.compile import Compiled
from cutover_app.contract.models import Contract
from cutover_app.core.frames import LEGACY, REBUILT, Edge, Entry, Frame, Records, Source
from cutover_app.core.standing import topic_id
from cutover_app.kafka.cluster import EARLIEST, Cluster
from cutover_app.kafka.settings import Broker
from cutover_app.lab.errors import LabError
from cutover_app.lab.evidence import legacy_home, read_intake, read_topic
from cutover_app.lab.oracle import accepted_from

Sourced = list[tuple[Source, Entry]]


@dataclass(frozen=True)
class _Topic:
    """A source topic as it is now."""

    side: int
    name: str
    id: str
    starts: dict[int, int]


@dataclass
class Given:
    """The input of the oracle."""

    legacy: Sourced = field(default_factory=list)
    rebuilt: Sourced = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)

    def of(self, side: int) -> Sourced:
        """Return what one side gave."""
        return self.legacy if side == LEGACY else self.rebuilt


async def read_sources(bootstrap: str, contract: Contract, compiled: Compiled) -> Given:
    """Read both topics and the intake log."""
    homes = legacy_home(contract, bootstrap), bootstrap
    topics = [await _topic(homes[side], side, name) for side, name in _sides(contract)]
    given, cut = Given(), set[tuple[int, int]]()
    while not await _read_intake(bootstrap, contract, topics, given, cut):
        given = Given()  # a partition was cut, so all that it gave can only come from intake
    for topic in topics:
        async for records in read_topic(homes[topic.side], topic.name):
            source = Source(topic.side, topic.name, topic.id, records[0].partition)
            if (topic.side, source.partition) not in cut:
                given.of(topic.side).extend((source, entry) for entry in _entries(given, compiled, source, records))
    return given


async def _read_intake(
    bootstrap: str, contract: Contract, topics: list[_Topic], given: Given, cut: set[tuple[int, int]]
) -> bool:
    """Take edges, and what is gone, from the intake log; False where it shows more partitions that were cut."""
    logs: defaultdict[int, list[tuple[int, Frame]]] = defaultdict(list)
    known = len(cut)
    async for frames in read_intake(bootstrap, contract):
        for number, offset, _append_ms, frame in frames:
            if not isinstance(frame, Records):
                given.edges += [edge for edge in frame.edges if edge not in given.edges]
                continue
            if "+" in frame.source.incarnation:
                cut.add((frame.source.side, frame.source.partition))
            gone = _gone_part(frame, topics, cut)
            if gone.entries:
                logs[number].append((offset, gone))
    for number, log in sorted(logs.items()):
        accepted = accepted_from(log, number, contract.intake.partitions)
        given.legacy += accepted.legacy
        given.rebuilt += accepted.rebuilt
    return len(cut) == known


def _sides(contract: Contract) -> list[tuple[int, str]]:
    return [(LEGACY, contract.legacy.topic), (REBUILT, contract.rebuilt.topic)]


async def _topic(bootstrap: str, side: int, name: str) -> _Topic:
    async with Cluster(Broker.parse(bootstrap)) as cluster:
        found = (await cluster.topics([name])).get(name)
        if found is None:
            raise LabError(f"no topic {name}")
        return _Topic(side, name, found.id, await cluster.offsets(found, EARLIEST))


def _entries(given: Given, compiled: Compiled, source: Source, records: Sequence[Any]) -> list[Entry]:
    unread = [(edge.start, edge.end) for edge in given.edges if edge.source == source]
    wanted = [each for each in records if not any(start <= each.offset < end for start, end in unread)]
    if source.side == LEGACY:
        return [entry for record in wanted for entry in compiled.rebuild(record)]
    return [compiled.observe(record) for record in wanted]


def _gone_part(frame: Records, topics: list[_Topic], cut: set[tuple[int, int]]) -> Records:
    """Return the entries that their topic does not have any more, or has under another identity."""
    topic, source = topics[frame.source.side], frame.source
    if topic_id(source.incarnation) != topic.id or (source.side, source.partition) in cut:
        return frame
    start = topic.starts.get(source.partition, 0)
    return msgspec.structs.replace(frame, entries=[each for each in frame.entries if each.offset < start])
