"""The intake log: what stage one writes and the judge reads.

One Kafka record of the intake topic is one *frame*. A `Records` frame carries entries of one source partition, in the
order of their offsets; a `Barrier` frame carries what a sender knows about time and completeness (R1), what it passed
(R2), and the ranges that nobody can read any more (R8). Packing many entries into one Kafka record is what makes the
detour through intake affordable; it changes no rule, because an interleaving of frames is an interleaving of entries.

Invariants:

A. The entries of a frame ascend by (offset, index), and so do the frames of one sender for one source partition.
B. Every frame names the rules it was made under; whoever meets another hash than its own stops (R3).
C. An entry is self-contained: nothing outside the frame is needed to judge it.
D. The tag of a frame carries the version of this format; an unknown tag is an error, never skipped.
E. The key of an intake record is the id of the topic that its frame was made for. A worker that stood still while its
   run was reset may still write what it had in hand, and Kafka takes it by the topic's name; readers pass it by.
"""

from typing import Any, Final

import msgspec

LEGACY: Final = 0
REBUILT: Final = 1
SIDES: Final = ("legacy", "rebuilt")

MESSAGE: Final = 0
UNDECODABLE: Final = 1
UNKEYED: Final = 2
REBUILD_FAILED: Final = 3
REJECTED_AS: Final = {UNDECODABLE: "undecodable", UNKEYED: "unkeyed", REBUILD_FAILED: "rebuild_failed"}
"""The finding kind of each kind of entry that has no message in it."""


SEALED_BESIDE: Final = b"\0"
"""Ends the JSON beside a payload, which holds no such byte; what follows is about sealed values."""


class FrameError(ValueError):
    """An intake record that is not a frame of this version, or was made under other rules."""


class Source(msgspec.Struct, array_like=True, frozen=True, order=True, gc=False):
    """One partition of one incarnation of a source topic. Compares by (side, topic, incarnation, partition)."""

    side: int
    topic: str
    incarnation: str
    partition: int


class Origin(msgspec.Struct, array_like=True, frozen=True, order=True, gc=False):
    """Where a record came from; what a verdict id is made of (R5)."""

    source: Source
    offset: int
    index: int


class Entry(msgspec.Struct, array_like=True, gc=False):
    """One expected message, one actual message, or one record that is neither (`kind` above 0).

    `payload` is the canonical form of the projection that is compared: without ignored paths, with unordered lists
    sorted, and WITHOUT the values under a tolerance. `digest` is the digest of `payload`, so equal digests mean equal
    payloads; the digest of an expected message with a hole equals nothing. `beside` is empty, or the canonical JSON of
    `{"tolerance": [[path, value], ...], "holes": [[path, finding kind, note], ...]}` with only the keys that are
    needed; where paths are sealed, `SEALED_BESIDE` follows and what `core/sealed.py` needs. Sealed values are not in
    the payload.

    Of an entry that was rejected, `payload` is the reason as UTF-8 text, free of values of the message.
    """

    offset: int
    index: int
    timestamp: int
    """Milliseconds since the epoch as the source record carries it; -1 where it carries none."""
    kind: int
    key: bytes
    """The match key as a canonical JSON array; empty where the entry was rejected."""
    digest: bytes
    raw: bytes
    """Digest of the raw key, value, headers and timestamp of a legacy record; empty on the rebuilt side."""
    payload: bytes
    beside: bytes
    order: bytes = b""
    """The order key, written like `key`; empty where it is the match key itself."""
    appended: bool = False
    """Whether `timestamp` is the broker's (LogAppendTime) and not the producer's (CreateTime)."""

    def __repr__(self) -> str:
        """Return where it is, and nothing of what is in it (R13)."""
        return f"<Entry of kind {self.kind} at offset {self.offset}.{self.index}>"


class Vouch(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A source partition is complete as of `barrier`, an offset of the intake partition that reads this (R1.2)."""

    source: Source
    barrier: int


class Passed(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a sender passed of a source partition since its last barrier (R2).

    Offsets: end - start = records + filtered + gaps.
    """

    source: Source
    start: int
    end: int
    records: int
    filtered: int
    gaps: int


class Edge(msgspec.Struct, array_like=True, frozen=True, order=True, gc=False):
    """A range of a source partition that this run cannot know (R8); times in milliseconds, offsets [start, end)."""

    source: Source
    start: int
    end: int
    from_ms: int
    to_ms: int
    reason: str


class Records(msgspec.Struct, array_like=True, tag="records.1", gc=False):
    """Entries of one source partition."""

    rules: str
    sender: str
    source: Source
    entries: list[Entry]


class Barrier(msgspec.Struct, array_like=True, tag="barrier.1", gc=False):
    """A sender's statement to one intake partition."""

    rules: str
    sender: str
    side: int
    topic: str
    incarnation: str
    partitions: int
    """Partition count of the source topic as last sampled; 0 before the first sample."""
    vouches: list[Vouch]
    sent: int
    """Entries that this sender put into this intake partition since its last barrier, redelivered ones included."""
    passed: list[Passed]
    edges: list[Edge]
    proven: bool = True
    """False where the topic is a copy of which nobody could say whether it was complete (R1.5)."""


Frame = Records | Barrier

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Frame)


def encode_frame(frame: Frame) -> bytes:
    """Return the bytes of an intake record."""
    return _encoder.encode(frame)


def frame_key(incarnation: str) -> bytes | None:
    """Return the key of intake records made for the topic of this id; None where nobody knows it."""
    return incarnation.encode() or None


def is_stray(key: bytes | None, incarnation: str) -> bool:
    """Tell whether an intake record was made for another topic of the same name than the one of this id."""
    return bool(key and incarnation) and key != frame_key(incarnation)


def decode_frame(data: bytes | None) -> Frame:
    """Return the frame in an intake record; raises `FrameError` for anything else (invariant D)."""
    try:
        return _decoder.decode(data or b"")  # type: ignore[no-any-return]
    except (msgspec.DecodeError, ValueError) as error:
        raise FrameError(f"not an intake frame of this version: {error}") from None
