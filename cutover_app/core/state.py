"""What the judge remembers, as rows: the records of a key, the payloads that may still be needed, books and families.

All rows of one intake partition change together, in one checkpoint (R9); between checkpoints they live in memory.

- A *key row* holds every known record of one match key, compactly: where it is, its digests, whether it is closed,
  how it is tallied; and what has been published about it.
- A *pending row* holds the payload of one record that has no equal partner. Its key is (side, intake position), so that
  the rows of a side, in order, are the queue of what is to be closed (R1.1), without an index beside it.
- An *order row* exists where the order key is not the match key. It lists the match keys of an order key, which are
  forgotten together (R7), and their pairs as far as order is concerned.
- A *mark row* names a key of which an equal pair is late or out of order: a problem that no pending row shows.
- A *bucket row* lists keys that were first seen about the same time: the queue of what is to be forgotten (R7).
  They are order keys where there are order rows, else match keys.

The key of a row is the match key, behind the order key where that is another one: a message that names another order
key is another message, wherever it is judged.

Every encoded row starts with a version byte; a row of another version is an error, never guessed at.
"""

from typing import Any, Final, TypeVar

import msgspec

from cutover_app.core.frames import LEGACY, REBUILT
from cutover_app.core.limits import FRAME_ENTRIES_MAX
from cutover_app.core.verdicts import FamilyName

ROW_VERSION: Final = b"\x03"

PENDING: Final = 0
PAIRED: Final = 1
ALONE: Final = 2
DUPLICATED: Final = 3
REJECTED: Final = 4
UNDETERMINED: Final = 5
TALLIES: Final = ("pending", "paired", "alone", "duplicate", "rejected", "indeterminate")
"""How a record is counted in the books; `alone` is missing on the legacy side and unknown on the rebuilt side."""

OPEN: Final = -1

SPREAD: Final = 1
CROWDED: Final = 2
"""What has been noted of an order key, as bits: its records are spread over several partitions of a topic, so that
their order is known only within each; it has more than `ORDERED_MAX` of them, so that their order is not judged."""
TIMED: Final = 4
"""Noted of a key row: an equal pair of it is late or out of order. It is a problem that keeps no payload."""

FULL: Final = 8
LEGACY_FULL: Final = 16
"""Noted of a key row: records of it have come beyond the limit, so that nobody knows what they were partners of; and
some of these were legacy ones, so that what looks like a duplicate may be the partner of one."""


class Rec(msgspec.Struct, array_like=True, gc=False):
    """One known record of a key: an expected or an actual message without its payload."""

    source: int
    """Index into the books' list of sources."""
    offset: int
    index: int
    timestamp: int
    position: int
    """Place in the intake partition: offset of the frame and place in the frame, in one number."""
    judge_ms: int
    """Judge time of the frame; grace runs from here."""
    digest: bytes
    raw: bytes
    beside: bytes
    closed_at: int = OPEN
    """Intake offset of the barrier that closed it."""
    tally: int = PENDING
    stored: bool = True
    """Whether its payload is kept."""
    appended: bool = False
    """Whether `timestamp` is the broker's and not the producer's."""
    overtaken: bool = False
    """Of an expected record under an order row: whether its pair was found to be out of order."""

    def __repr__(self) -> str:
        """Return where it is, and nothing of what is in it (R13)."""
        return f"<Rec of source {self.source} at offset {self.offset}.{self.index}, intake position {self.position}>"


class Published(msgspec.Struct, array_like=True):
    """The newest revision published of one verdict id."""

    side: int
    source: int
    offset: int
    index: int
    rev: int
    outcome: str
    fingerprint: bytes
    families: list[int]
    """Places in the list of families of its row."""


class KeyRow(msgspec.Struct, array_like=True):
    """Everything known about one match key."""

    expected: list[Rec]
    actual: list[Rec]
    published: list[Published]
    last_ms: int
    """Judge time of its newest record."""
    order: bytes = b""
    """The order key, where that is not the match key."""
    noted: int = 0
    """TIMED, FULL, LEGACY_FULL, and SPREAD and CROWDED where the order key is the match key."""
    families: tuple[FamilyName, ...] = ()
    """All that its verdicts have been in, each but once: many verdicts of one key are wrong in the same way."""
    beside: int = 0
    """Bytes that travel beside its records."""

    def of(self, side: int) -> list[Rec]:
        """Return the records of one side."""
        return self.expected if side == LEGACY else self.actual


class Passage(msgspec.Struct, array_like=True, gc=False):
    """One pair, as far as order is concerned."""

    key: bytes
    """Key of the row that has the pair."""
    position: int
    """Intake position of the expected record."""
    lane: tuple[int, int]
    """Source of the expected record, source of the actual one: order is defined within them."""
    legacy: int
    rebuilt: int
    """Their offsets."""
    overtaken: bool = False


class OrderRow(msgspec.Struct, array_like=True):
    """Everything known about one order key that is not the match key."""

    keys: list[bytes]
    """Keys of its rows, in the order in which they were first seen; none of a crowded one."""
    last_ms: int
    """Judge time of its newest record."""
    records: int
    sources: list[int]
    """Sources of its records."""
    passages: list[Passage]
    noted: int = 0


class PendingRow(msgspec.Struct, array_like=True, gc=False):
    """The payload of a record without an equal partner; the row's key is `pending_key`."""

    key: bytes
    judge_ms: int
    payload: bytes


class PendingHead(msgspec.Struct, array_like=True, gc=False):
    """The beginning of a pending row: all that the queue needs."""

    key: bytes
    judge_ms: int


class BucketRow(msgspec.Struct, array_like=True):
    """Keys of key rows, or of order rows where there are such, first seen by this judge time."""

    judge_ms: int
    keys: list[bytes]


class FamilyRow(msgspec.Struct, array_like=True):
    """All findings of one kind and path in one intake partition; times are those of the source records."""

    kind: str
    path: str
    total: int
    open: int
    """Verdicts whose newest revision has such a finding."""
    first_ms: int
    last_ms: int
    samples: list[str]


_Row = TypeVar("_Row")
_encoder = msgspec.msgpack.Encoder()
_decoders: dict[type, msgspec.msgpack.Decoder[Any]] = {}


class RowError(ValueError):
    """A stored row that this version cannot read."""


def encode_row(row: object) -> bytes:
    """Return the bytes of a row: the version byte, then msgpack."""
    return ROW_VERSION + _encoder.encode(row)


def decode_row(kind: type[_Row], data: bytes) -> _Row:
    """Read a row; raises `RowError` where the version or the shape is another."""
    if data[:1] != ROW_VERSION:
        raise RowError(f"a {kind.__name__} of version {data[:1]!r}; this program reads {ROW_VERSION!r}")
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.msgpack.Decoder(kind)
    try:
        return decoder.decode(memoryview(data)[1:])  # type: ignore[no-any-return]
    except msgspec.DecodeError as error:
        raise RowError(f"a damaged {kind.__name__}: {error}") from None


def position_of(offset: int, place: int = 0) -> int:
    """Return the intake position of entry `place` of the frame at `offset`: one order for all entries."""
    return offset * FRAME_ENTRIES_MAX + place


def pending_key(side: int, position: int) -> bytes:
    """Return the key of a pending row: rows of a side ascend by intake position."""
    return bytes((side,)) + position.to_bytes(8, "big")


BUCKET_PREFIX: Final = b"\x00"


def bucket_key(number: int) -> bytes:
    """Return the key of a bucket row; no match key starts with a zero byte."""
    return BUCKET_PREFIX + number.to_bytes(8, "big")


ORDER_PREFIX: Final = b"\x01"
MARK_PREFIX: Final = b"\x02"
MARK_ROW: Final = ROW_VERSION
"""All that there is to a mark row."""


def mark_key(key: bytes) -> bytes:
    """Return the key of a mark row; no match key starts with this byte."""
    return MARK_PREFIX + key


def settled_kind(key: bytes) -> type[KeyRow] | type[OrderRow] | type[BucketRow] | None:
    """Return of what kind the row of a key is, where rows of several stand in one table; None for a mark."""
    if key.startswith(MARK_PREFIX):
        return None
    if key.startswith(BUCKET_PREFIX):
        return BucketRow
    return OrderRow if key.startswith(ORDER_PREFIX) else KeyRow


def order_row_key(order: bytes) -> bytes:
    """Return the key of an order row; no match key starts with this byte."""
    return ORDER_PREFIX + order


def family_key(kind: str, path: str) -> bytes:
    """Return the key of a family row."""
    return f"{kind}\x00{path}".encode()


def other(side: int) -> int:
    """Return the opposite side."""
    return REBUILT if side == LEGACY else LEGACY
