"""Where a run reads each source partition from (R8).

The start of a run is resolved once, for all partitions of a topic, and committed before the first fetch. From then on
every worker that takes a partition over asks what was committed, and holds it against the topic as it is: a topic that
was deleted and made anew, or cut below the position, is another incarnation. A partition that has no commit beside
others that have is a new one and is read from its beginning, whatever `start` says.

Kafka deletes a group's commits together with a topic. What this run knew of the topic is then taken from the books,
whose marks say what was judged last.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from aiokafka.errors import KafkaError

from cutover_app.contract.start import EARLIEST as START_EARLIEST
from cutover_app.contract.start import LATEST as START_LATEST
from cutover_app.contract.start import not_yet, start_ms
from cutover_app.core.books import BOOKS_KEY, Books
from cutover_app.core.frames import Source
from cutover_app.core.standing import (
    Log,
    Standing,
    begun,
    continued,
    first_time,
    from_the_beginning,
    note_of,
    standing_from,
    tail,
    topic_id,
    with_edges,
)
from cutover_app.core.state import decode_row
from cutover_app.kafka.cluster import EARLIEST, LATEST, RETRY_SECONDS, YOUNGEST, Cluster, Topic
from cutover_app.kafka.errors import KafkaUnavailable, TopicsUnfit
from cutover_app.kafka.reading import read_topics
from cutover_app.kafka.settings import Broker

PATIENCE_SECONDS = 15.0
"""How long leaders may move before a topic counts as unreadable."""

SECOND_LOOK_SECONDS = 1.0
"""A leader that has just taken over may report an end that is too low; a truncated log still has it after this."""

log = logging.getLogger(__name__)


class Resolved(NamedTuple):
    """The topic as it is, and where to read its partitions."""

    topic_id: str
    standings: dict[int, Standing]


class Starts:
    """Resolves the positions of one source topic for one run; `books` is the changelog of the run's books, if any."""

    def __init__(
        self, broker: Broker, *, group: str, side: int, topic: str, books: str, books_broker: Broker | None = None
    ) -> None:
        self._broker = broker
        self._group = group
        self._side = side
        self._topic = topic
        self._books = books
        # The judges are on the work cluster, wherever the topic is.
        self._books_broker = books_broker or broker

    async def begin(self, start: str) -> dict[int, int]:
        """Resolve the start of a run, if it has none yet, and commit it; return the positions committed.

        A group with members has resolved its starts already and lets nobody else commit, which is fine.
        """
        async with Cluster(self._broker) as cluster:
            if await cluster.committed(self._group, self._topic) or await self._former():
                return {}
            topic, logs = await self._look(cluster)
            standings = await self._chosen(cluster, topic, logs, start)
            commits = {number: (each.position, note_of(each)) for number, each in standings.items()}
            await cluster.commit(self._group, self._topic, commits)
            return {number: each.position for number, each in standings.items()}

    async def resolve(self, partitions: Iterable[int]) -> Resolved:
        """Return where to read these partitions on."""
        wanted = sorted(partitions)
        async with Cluster(self._broker) as cluster:
            commits = await cluster.commits(self._group, self._topic)
            topic, logs = await self._look(cluster)
            if any(number in commits and commits[number][0] > logs[number].end for number in wanted if number in logs):
                await asyncio.sleep(SECOND_LOOK_SECONDS)
                topic, logs = await self._look(cluster)
            fresh = [number for number in wanted if number not in commits]
            committed = {
                number: standing_from(self._place(topic, number), *commits[number])
                for number in wanted
                if number in commits
            }
            another = any(topic_id(each.source.incarnation) != topic.id for each in committed.values())
            former = await self._former() if fresh or another else {}
        now_ms = _now_ms()
        standings = {}
        for number in wanted:
            if number not in logs:
                raise TopicsUnfit([f"{self._topic}[{number}] has just been deleted: start the worker again"])
            place = self._place(topic, number)
            before = committed.get(number, former.get(number))
            if before is None or (number in fresh and topic_id(before.source.incarnation) == topic.id):
                # New, or known to the judges and its commit expired: their marks tell what they have had.
                known = place if before is None else before.source
                standings[number] = from_the_beginning(known, logs[number], now_ms)
            else:
                standings[number] = continued(before, place, logs[number], now_ms)
            if before is not None and standings[number].source != before.source:
                log.warning("%s[%s] is another than it was: %s", self._topic, number, standings[number].edges[-1])
        if 0 in standings:  # partitions that the old topic had and the new one has not
            gone = [tail(each, now_ms) for number, each in sorted(former.items()) if number >= len(logs)]
            standings[0] = with_edges(standings[0], *gone)
        return Resolved(topic.id, standings)

    async def first_ms(self, number: int) -> int:
        """Return the time up to which what a partition has lost may have been written; now, if nobody can tell."""
        now_ms = _now_ms()
        try:
            async with Cluster(self._broker) as cluster:
                _topic, logs = await self._look(cluster)
        except (KafkaError, KafkaUnavailable, TopicsUnfit):
            return now_ms
        return first_time(logs[number], now_ms) if number in logs else now_ms

    def _place(self, topic: Topic, number: int) -> Source:
        return Source(self._side, self._topic, topic.id, number)

    async def _look(self, cluster: Cluster) -> tuple[Topic, dict[int, Log]]:
        """What the topic holds; patient with leaders that move and with a topic that is just being made."""
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            try:
                found = await cluster.topics([self._topic])
                if self._topic in found and found[self._topic].partitions:
                    topic = found[self._topic]
                    return topic, await _logs(cluster, topic)
            except KafkaError as error:
                if not error.retriable:
                    raise
            await asyncio.sleep(RETRY_SECONDS)
        raise TopicsUnfit([f"topic {self._topic} cannot be read: it was deleted, or its partitions have no leader"])

    async def _chosen(self, cluster: Cluster, topic: Topic, logs: dict[int, Log], start: str) -> dict[int, Standing]:
        """Decide where the run begins."""
        now_ms = _now_ms()
        if line := not_yet(start, now_ms):
            raise TopicsUnfit([line])
        if start == START_EARLIEST:
            return {
                number: from_the_beginning(self._place(topic, number), each, now_ms) for number, each in logs.items()
            }
        if start == START_LATEST:
            youngest = await cluster.points(topic, YOUNGEST)
            at = {number: each.end for number, each in logs.items()}
            to_ms = {number: youngest.get(number, (0, now_ms))[1] for number in logs}
        else:
            asked = start_ms(start)
            points = await cluster.points(topic, asked)
            at = {number: points[number][0] if number in points else each.end for number, each in logs.items()}
            # Everything before the first record that is not older than `asked` is older than it ...
            to_ms = dict.fromkeys(logs, asked - 1)
            # ... but nobody knows about what was deleted before we looked.
            to_ms |= {n: max(asked - 1, first_time(each, now_ms)) for n, each in logs.items() if each.start}
        return {number: begun(self._place(topic, number), at[number], min(to_ms[number], now_ms)) for number in logs}

    async def _former(self) -> dict[int, Standing]:
        """Where the judges of this run last saw each partition of the topic, in its newest incarnation."""
        if not self._books:
            return {}
        async with Cluster(self._books_broker) as cluster:
            found = (await cluster.topics([self._books])).get(self._books)
        books: dict[int, Books] = {}

        def take(record: object) -> None:
            key, value, partition = record.key, record.value, record.partition  # type: ignore[attr-defined]
            if key == BOOKS_KEY and value is not None:
                books[partition] = decode_row(Books, value)

        if found is not None:
            await read_topics(self._books_broker, [found], take)
        return former(books.values(), self._side, self._topic)


def former(books: Iterable[Books], side: int, topic: str) -> dict[int, Standing]:
    """Return, per partition of a topic, the standing that the marks of all judges together show.

    A partition of which nothing was accepted is known by the frontier's count; anything may have been in it.
    """
    known: dict[Source, Standing] = {}
    rank: Counter[Source] = Counter()
    for row in books:
        frontier = row.frontiers[side]
        counted = range(frontier.partitions if frontier.topic == topic else 0)
        seen_before = {(topic_id(each.incarnation), each.partition) for each in row.sources if each.side == side}
        unseen = [
            Source(side, topic, frontier.incarnation, number)
            for number in counted
            if (frontier.incarnation, number) not in seen_before
        ]
        earlier: Counter[int] = Counter()
        for place, source in enumerate([*row.sources, *unseen]):
            if (source.side, source.topic) != (side, topic):
                continue
            # Sources stand in the order in which they came; a judge may not have heard of the newest yet.
            earlier[source.partition] += 1
            rank[source] = max(rank[source], earlier[source.partition])
            seen = place < len(row.sources)
            standing = Standing(source, row.marks[place][0] + 1, row.seen_ms[place]) if seen else Standing(source, 0)
            if source not in known or known[source].position < standing.position:
                known[source] = standing
    newest = {source.partition: source for source in sorted(known, key=lambda each: (each.partition, rank[each]))}
    return {number: known[source] for number, source in newest.items()}


async def _logs(cluster: Cluster, topic: Topic) -> dict[int, Log]:
    starts = await cluster.offsets(topic, EARLIEST)
    firsts = await cluster.points(topic, 0)
    ends = await cluster.offsets(topic, LATEST)
    return {
        number: Log(starts[number], ends[number], firsts[number][1] if number in firsts else None)
        for number in topic.leaders
    }


def _now_ms() -> int:
    return int(time.time() * 1000)
