"""Where a run stands in a source partition, and what that means when the partition is not what it was (R4, R8).

Kafka keeps a text beside every committed position. This one says of which incarnation the position is, when the last
record below it was written, and which ranges every judge must know before it may believe that the partition is
complete. It is committed together with the position, so a worker that dies between committing a start and telling it
loses nothing: who reads on tells again, and judges ignore what they know.

Invariants:

A. An incarnation is the topic's id, with `+n` behind it after the n-th truncation of the partition. It never comes
   back, so marks and verdict ids of one incarnation say nothing about another.
B. What nobody has read up to a position lies in an edge. Times of an edge are safe bounds: `FAR_PAST` where nothing is
   known of the time before, the present where nothing is known of the time after.
C. A record may be read twice under one incarnation (it is redelivery), and never under two.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from cutover_app.core.frames import Edge, Source

FAR_PAST: Final = 0
"""The time from which an edge reaches where nothing older is known; nobody verifies a migration of the sixties."""

UNKNOWN_END: Final = (1 << 63) - 1
"""The end of an edge of which nobody knows where it ended: the topic is gone."""

EDGES_KEPT: Final = 12
"""Edges told again whenever a partition is taken over; Kafka allows 4096 bytes for the text of a commit."""

START: Final = "start"
RETENTION: Final = "retention"
CREATED_ANEW: Final = "created anew"
TRUNCATED: Final = "truncated"

_VERSION: Final = 1


class Standing(msgspec.Struct, frozen=True):
    """How far a source partition has been read."""

    source: Source
    position: int
    last_ms: int = FAR_PAST
    """Timestamp of the last record read below `position`."""
    edges: tuple[Edge, ...] = ()


class Log(NamedTuple):
    """What the cluster says about a partition; `first_ms` is the timestamp of the first record that is there."""

    start: int
    end: int
    first_ms: int | None


class Uncopied(NamedTuple):
    """Offsets [start, end) of the legacy cluster that were deleted before they were copied; see `UNKNOWN_END`."""

    start: int
    end: int
    next_ms: int
    """A time up to which they may have been written."""
    from_ms: int | None = None
    """A time from which on they were; None where nothing is known of it."""
    topic_id: str = ""
    """Of the legacy topic that had them."""


class _Note(msgspec.Struct):
    """What is written beside a committed position: everything in a standing that the position's place does not say."""

    v: int
    incarnation: str
    last_ms: int
    edges: list[tuple[str, int, int, int, int, int, str]]
    """Incarnation, partition (another one where that is gone), start, end, times, reason."""


def note_of(standing: Standing) -> str:
    """Return the text to be committed beside the position."""
    edges = [
        (each.source.incarnation, each.source.partition, each.start, each.end, each.from_ms, each.to_ms, each.reason)
        for each in standing.edges
    ]
    note = _Note(_VERSION, standing.source.incarnation, standing.last_ms, edges)
    return msgspec.json.encode(note).decode()


def standing_from(place: Source, position: int, note: str) -> Standing:
    """Return what was committed for a partition; `place` names it as it is now.

    A commit without a note is one of a version that knew no incarnations: it is of the topic as it is.
    """
    try:
        read = msgspec.json.decode(note, type=_Note)
    except msgspec.DecodeError:
        return Standing(place, position)
    edges = tuple(
        Edge(Source(place.side, place.topic, incarnation, partition), start, end, from_ms, to_ms, reason)
        for incarnation, partition, start, end, from_ms, to_ms, reason in read.edges
    )
    return Standing(_incarnation(place, read.incarnation), position, read.last_ms, edges)


def begun(place: Source, position: int, to_ms: int) -> Standing:
    """Return the standing of a partition that is read from `position` on, which records up to `to_ms` lie before."""
    return Standing(place, position, FAR_PAST, (_head(place, position, FAR_PAST, to_ms),) if position else ())


def from_the_beginning(place: Source, log: Log, now_ms: int) -> Standing:
    """Return the standing of a partition that is read from the first record that is still there."""
    return begun(place, log.start, first_time(log, now_ms))


def first_time(log: Log, now_ms: int) -> int:
    """Return the time up to which deleted records may have been written."""
    return now_ms if log.first_ms is None else min(log.first_ms, now_ms)


def continued(before: Standing, place: Source, log: Log, now_ms: int) -> Standing:
    """Return where to read on, given what was committed, the partition as it is (`place`), and what its log holds."""
    if topic_id(before.source.incarnation) != place.incarnation:
        return _created_anew(before, place, log, now_ms)
    if before.position > log.end:
        return _truncated(before, log, now_ms)
    return before


def tail(before: Standing, now_ms: int) -> Edge:
    """Return the edge of what a deleted topic held beyond the position: anything, up to now."""
    return Edge(before.source, before.position, UNKNOWN_END, before.last_ms, max(now_ms, before.last_ms), CREATED_ANEW)


def lost(source: Source, start: int, end: int, *, last_ms: int, next_ms: int) -> Edge:
    """Return the edge of records that were deleted before they were read, between two that were not."""
    return Edge(source, start, end, last_ms, max(last_ms, next_ms), RETENTION)


def never_copied(standing: Standing, gone: Uncopied, last_ms: int) -> Edge:
    """Return the edge of what was deleted before it was copied; it has no place in the copy, so its range is empty.

    It begins at `last_ms` where nobody knows since when it was written.
    """
    at, from_ms = standing.position, last_ms if gone.from_ms is None else gone.from_ms
    return Edge(standing.source, at, at, from_ms, max(from_ms, gone.next_ms), _reason(gone))


def _reason(gone: Uncopied) -> str:
    offsets = f"{gone.start} to {gone.end}" if gone.end < UNKNOWN_END else f"from {gone.start} on"
    return f"offsets {offsets} were deleted on the legacy cluster before they were copied (topic {gone.topic_id})"


_UNCOPIED: Final = re.compile(
    r"offsets (?:from )?(\d+) (?:to (\d+)|on) were deleted on the legacy cluster before they were copied \(topic (.*)\)"
)


def not_told(standing: Standing, gone: Uncopied) -> Uncopied | None:
    """Return a range without what the edges of a standing say already; None where they say all of it.

    Another worker may have found the same in other pieces, and when it was found first is nearest to when it went.
    """
    found = filter(None, (_UNCOPIED.fullmatch(each.reason) for each in standing.edges))
    told = [(int(each[1]), int(each[2] or UNKNOWN_END)) for each in found if each[3] == gone.topic_id]
    start = gone.start
    for first, end in sorted(told):
        start = max(start, end) if first <= start else start
    return gone._replace(start=start) if start < gone.end else None


def with_uncopied(standing: Standing, known: Iterable[Uncopied]) -> Standing:
    """Add to a partition that is taken over what is known to be missing in it, unless its former owner has told so."""
    for gone in known:
        left = not_told(standing, gone)
        if left is not None:
            standing = with_edges(standing, never_copied(standing, left, standing.last_ms))
    return standing


def with_edges(standing: Standing, *edges: Edge) -> Standing:
    """Add edges; beyond the limit the oldest go, which have been told at every start since they were found."""
    known = dict.fromkeys((*standing.edges, *edges))
    return msgspec.structs.replace(standing, edges=tuple(known)[-EDGES_KEPT:])


def topic_id(incarnation: str) -> str:
    """Return the id of the topic that an incarnation is of."""
    return incarnation.partition("+")[0]


def _incarnation(place: Source, incarnation: str) -> Source:
    return Source(place.side, place.topic, incarnation, place.partition)


def _head(source: Source, end: int, from_ms: int, to_ms: int) -> Edge:
    return Edge(source, 0, end, from_ms, max(from_ms, to_ms), START)


def _created_anew(before: Standing, place: Source, log: Log, now_ms: int) -> Standing:
    """Read a new topic of the old name from its beginning; what it has lost already was written after the old one."""
    new = Standing(place, log.start, FAR_PAST, before.edges)
    head = (_head(place, log.start, before.last_ms, first_time(log, now_ms)),) if log.start else ()
    return with_edges(new, tail(before, now_ms), *head)


def _truncated(before: Standing, log: Log, now_ms: int) -> Standing:
    """Read on at the end that the log has now.

    From where it was cut is not known, and reading that again would be to see records twice under two incarnations.
    What was written since the cut, unread, is in the edge: it is younger than the last record read.
    """
    identity, _, times = before.source.incarnation.partition("+")
    source = _incarnation(before.source, f"{identity}+{int(times or 0) + 1}")
    edge = Edge(source, 0, log.end, before.last_ms, max(before.last_ms, now_ms), TRUNCATED)
    return with_edges(Standing(source, log.end, before.last_ms, before.edges), edge)
