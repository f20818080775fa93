"""The judge's rows between two checkpoints: read through, written back.

What is committed is read from a `Store`; what has changed since lives in memory. A pair that meets between two
checkpoints therefore costs one row, and its payloads are never written at all. Two generations of key rows are kept,
those touched since the last checkpoint and those touched before it, so memory is bounded by what passes in two
checkpoints, whatever the number of pending records.

Invariants:

A. A row in memory is newer than the row of the same key in the store.
B. The queue of a side yields each pending row once per scan, by ascending intake position: the committed ones from the
   store, then those in memory. A row whose record has been paired since is skipped by whoever asks.
C. Between `changes` and `committed` nothing is read or written.
"""

from bisect import insort
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from cutover_app.core.books import BOOKS_KEY, Books
from cutover_app.core.limits import BUCKET_KEYS_MAX
from cutover_app.core.state import (
    BucketRow,
    FamilyRow,
    KeyRow,
    PendingHead,
    PendingRow,
    bucket_key,
    decode_row,
    encode_row,
    family_key,
    pending_key,
    position_of,
)

PENDING_TABLE: Final = "pending"
SETTLED_TABLE: Final = "settled"
BOOKS_TABLE: Final = "books"
FAMILIES_TABLE: Final = "families"
TABLES: Final = (PENDING_TABLE, SETTLED_TABLE, BOOKS_TABLE, FAMILIES_TABLE)

SCAN_ROWS: Final = 256

Changes = dict[str, dict[bytes, bytes | None]]
"""Table name -> row key -> encoded row, None where the row is deleted."""


class Store(Protocol):
    """Committed rows of one intake partition."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return one row."""

    def get_many(self, table: str, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return rows in the order of `keys`."""

    def scan(self, table: str, start: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        """Return up to `limit` rows with keys from `start` on, ascending."""


class Waiting(NamedTuple):
    """The head of a side's queue."""

    position: int
    judge_ms: int
    key: bytes


@dataclass(slots=True)
class _Queue:
    """What is to be closed of one side: committed rows scanned already, rows in memory, rows that came back."""

    next_scan: int
    """Committed rows below this position are in `heads`, in `restored`, or gone."""
    heads: deque[Waiting] = field(default_factory=deque)
    tail: deque[int] = field(default_factory=deque)
    restored: list[Waiting] = field(default_factory=list)
    exhausted: bool = False


class Rows:
    """All rows of one intake partition except the books."""

    def __init__(self, store: Store, books: Books) -> None:
        self._store = store
        self._books = books
        self._hot: dict[bytes, KeyRow] = {}
        self._cold: dict[bytes, KeyRow] = {}
        self._dirty: set[bytes] = set()
        self._dropped: set[bytes] = set()
        self._fresh: list[bytes] = []
        self._payloads: dict[int, tuple[int, PendingRow]] = {}
        self._unwanted: set[bytes] = set()
        self._queues = tuple(_Queue(next_scan=position + 1) for position in books.closed_to)
        self._committed_to = _last_position(books)
        self._bucket: tuple[int, BucketRow] | None = None
        self._buckets: dict[bytes, bytes | None] = {}
        self._families: dict[bytes, FamilyRow] = {}
        self._dirty_families: set[bytes] = set()
        self._load_families()

    # -- key rows ----------------------------------------------------------------------------------------------------

    def prefetch(self, keys: Iterable[bytes]) -> None:
        """Read the rows of these keys in one go."""
        hot, cold, dropped = self._hot, self._cold, self._dropped
        wanted = list({key for key in keys if key not in hot and key not in cold and key not in dropped})
        for key, data in zip(wanted, self._store.get_many(SETTLED_TABLE, wanted), strict=True) if wanted else ():
            if data is not None:
                cold[key] = decode_row(KeyRow, data)

    def key(self, key: bytes) -> KeyRow | None:
        """Return the row of a key that has been prefetched or is in memory; None where there is none."""
        row = self._hot.get(key)
        if row is None:
            row = self._cold.get(key)
            if row is not None:
                self._hot[key] = row
        return row

    def load(self, key: bytes) -> KeyRow | None:
        """Return the row of a key, from the store if need be."""
        row = self.key(key)
        if row is None:
            self.prefetch((key,))
            row = self.key(key)
        return row

    def new_key(self, key: bytes, judge_ms: int) -> KeyRow:
        """Start the row of a key and queue it for being forgotten one day."""
        row = self._hot[key] = KeyRow([], [], [], judge_ms)
        self._dropped.discard(key)
        self._fresh.append(key)
        return row

    def changed(self, keys: Iterable[bytes]) -> None:
        """Note that the rows of these keys differ from the store's."""
        self._dirty.update(keys)

    def drop_key(self, key: bytes, row: KeyRow) -> None:
        """Forget a key whole, payloads included."""
        for side, records in enumerate((row.expected, row.actual)):
            for record in records:
                if record.stored:
                    self.drop_payload(side, record.position)
        self._hot.pop(key, None)
        self._cold.pop(key, None)
        self._dirty.discard(key)
        self._dropped.add(key)

    # -- payloads, and the queue of what is to be closed -----------------------------------------------------------

    def add_payload(self, side: int, position: int, row: PendingRow) -> None:
        """Keep the payload of a record that has just arrived, at the end of its side's queue."""
        self._payloads[position] = (side, row)
        self._queues[side].tail.append(position)

    def restore_payload(self, side: int, position: int, row: PendingRow) -> None:
        """Keep a payload again whose record lost its equal partner; its place in the queue is that of its arrival."""
        self._payloads[position] = (side, row)
        self._unwanted.discard(pending_key(side, position))
        if position > self._books.closed_to[side]:
            insort(self._queues[side].restored, Waiting(position, row.judge_ms, row.key))

    def drop_payload(self, side: int, position: int) -> None:
        """Drop a payload that nothing will ask for again."""
        if self._payloads.pop(position, None) is None or position <= self._committed_to:
            self._unwanted.add(pending_key(side, position))

    def payload(self, side: int, position: int) -> bytes | None:
        """Return a payload that is kept."""
        held = self._payloads.get(position)
        if held is not None:
            return held[1].payload
        data = self._store.get(PENDING_TABLE, pending_key(side, position))
        return None if data is None else decode_row(PendingRow, data).payload

    def waiting(self, side: int) -> Waiting | None:
        """Return the next record of a side to be closed, None when there is none (invariant B)."""
        queue = self._queues[side]
        if not queue.heads and not queue.exhausted:
            self._scan(side, queue)
        tail = queue.tail
        while tail and tail[0] not in self._payloads:
            tail.popleft()
        head = queue.heads[0] if queue.heads else None
        if head is None and tail:
            row = self._payloads[tail[0]][1]
            head = Waiting(tail[0], row.judge_ms, row.key)
        restored = queue.restored
        if restored and (head is None or restored[0].position < head.position):
            return restored[0]
        return head

    def close_next(self, side: int, position: int) -> None:
        """Move a side's queue past `position`, its head."""
        self._books.closed_to[side] = max(position, self._books.closed_to[side])
        queue = self._queues[side]
        if queue.heads and queue.heads[0].position == position:
            queue.heads.popleft()
        if queue.restored and queue.restored[0].position == position:
            del queue.restored[0]
        if queue.tail and queue.tail[0] == position:
            queue.tail.popleft()

    def _scan(self, side: int, queue: _Queue) -> None:
        start = pending_key(side, queue.next_scan)
        for key, data in self._store.scan(PENDING_TABLE, start, SCAN_ROWS):
            if key[0] != side:
                break
            row = decode_row(PendingHead, data)
            queue.heads.append(Waiting(int.from_bytes(key[1:], "big"), row.judge_ms, row.key))
        queue.exhausted = len(queue.heads) < SCAN_ROWS
        # Behind the last row found nothing is left but deleted rows, which a store may take long to pass over.
        queue.next_scan = self._committed_to + 1 if queue.exhausted else queue.heads[-1].position + 1

    def payload_keys(self) -> Iterator[bytes]:
        """Yield the match key of every record whose payload is kept: all that are pending or a problem."""
        for _, row in list(self._payloads.values()):
            yield row.key
        start = b""
        while found := self._store.scan(PENDING_TABLE, start, SCAN_ROWS):
            for key, data in found:
                if key not in self._unwanted:
                    yield decode_row(PendingHead, data).key
            start = found[-1][0] + b"\x00"

    # -- the queue of what is to be forgotten --------------------------------------------------------------------------

    def oldest_bucket(self) -> BucketRow | None:
        """Return the oldest committed bucket."""
        first, following = self._books.buckets
        if first == following:
            return None
        if self._bucket is None or self._bucket[0] != first:
            data = self._store.get(SETTLED_TABLE, bucket_key(first))
            self._bucket = (first, decode_row(BucketRow, data) if data else BucketRow(0, []))
        return self._bucket[1]

    def drop_bucket(self) -> None:
        """Drop the oldest bucket."""
        first, following = self._books.buckets
        self._buckets[bucket_key(first)] = None
        self._books.buckets = (first + 1, following)

    def remember_longer(self, key: bytes) -> None:
        """Queue a key again that could not be forgotten yet."""
        self._fresh.append(key)

    def _fill_buckets(self) -> None:
        first, following = self._books.buckets
        for start in range(0, len(self._fresh), BUCKET_KEYS_MAX):
            bucket = BucketRow(self._books.clock.now, self._fresh[start : start + BUCKET_KEYS_MAX])
            self._buckets[bucket_key(following)] = encode_row(bucket)
            following += 1
        self._fresh = []
        self._books.buckets = (first, following)

    # -- families ------------------------------------------------------------------------------------------------------

    def family(self, kind: str, path: str, at_ms: int) -> FamilyRow:
        """Return the row of a family for changing it."""
        key = family_key(kind, path)
        self._dirty_families.add(key)
        row = self._families.get(key)
        if row is None:
            row = self._families[key] = FamilyRow(kind, path, 0, 0, at_ms, at_ms, [])
        return row

    def families(self) -> list[FamilyRow]:
        """Return all families of this partition."""
        return list(self._families.values())

    def _load_families(self) -> None:
        start = b""
        while found := self._store.scan(FAMILIES_TABLE, start, SCAN_ROWS):
            for key, data in found:
                self._families[key] = decode_row(FamilyRow, data)
            start = found[-1][0] + b"\x00"

    # -- checkpoint ----------------------------------------------------------------------------------------------------

    def changes(self) -> Changes:
        """Return what differs from the store, the books' row included."""
        self._fill_buckets()
        settled: dict[bytes, bytes | None] = {
            key: encode_row(self._hot[key]) for key in sorted(self._dirty) if key in self._hot
        }
        settled.update(dict.fromkeys(self._dropped))
        settled.update(self._buckets)
        pending: dict[bytes, bytes | None] = dict.fromkeys(self._unwanted)
        for position, (side, row) in self._payloads.items():
            pending[pending_key(side, position)] = encode_row(row)
        return {
            PENDING_TABLE: pending,
            SETTLED_TABLE: settled,
            FAMILIES_TABLE: {key: encode_row(self._families[key]) for key in sorted(self._dirty_families)},
            BOOKS_TABLE: {BOOKS_KEY: encode_row(self._books)},
        }

    def committed(self) -> None:
        """Note that the last changes are in the store."""
        self._cold, self._hot = self._hot, {}
        for held in (self._dirty, self._dropped, self._unwanted, self._dirty_families):
            held.clear()
        self._buckets.clear()
        self._payloads.clear()
        self._committed_to = _last_position(self._books)
        for queue in self._queues:
            queue.tail.clear()
            queue.exhausted = False


def _last_position(books: Books) -> int:
    """Return the highest intake position that may have a row in the store."""
    return position_of(books.at + 1) - 1
