"""A chunk: one fetched run of one partition, handed through Faust as a single message.

A chunk covers the positions [start, end). Its records may be fewer, even none: control records,
aborted transactions and compacted-away records move the position without giving a record. What
counts as "read up to here" is therefore always `end`, never "last record + 1".
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from faust import Schema
from faust.types import TP


class Record(Protocol):
    """What is read of a Kafka record."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class Chunk:
    """Records of the positions [start, end) of one partition."""

    __slots__ = ("after", "end", "fetched", "readable", "records", "size", "start", "tp")

    def __init__(self, tp: TP, start: int, end: int, records: Sequence[Record], *, size: int, readable: int) -> None:
        self.tp = tp
        self.start = start
        self.end = end
        self.records = records
        #: Bytes of the values, for back-pressure.
        self.size = size
        #: Where reading would have ended when this chunk was fetched: the last stable offset, or -1 if not known.
        self.readable = readable
        #: Where the chunk before this one ended. What lies from there to `start` was deleted before it was read.
        self.after = start
        #: A moment at which it had been fetched (monotonic seconds).
        self.fetched = time.monotonic()

    def __repr__(self) -> str:
        return f"<Chunk {self.tp.topic}[{self.tp.partition}] {self.start}..{self.end} {len(self.records)} records>"


class ChunkSchema(Schema[Any, Any]):
    """Hands the chunk through as it is: there is nothing to decode at this level."""

    def compile(self, app: Any, **_options: Any) -> Callable[..., Awaitable[Any]]:
        """The decode function that the conductor calls for each message."""
        create_event = app.create_event

        async def decode(message: Any, *, propagate: bool = False) -> Any:  # noqa: ARG001
            return create_event(None, message.value, None, message)

        return decode
