"""The judge's rows between two checkpoints: read through, written back.

What is committed is read from a `Store`; what has changed since lives in memory. A pair that meets between two
checkpoints therefore costs one row, and its payloads are never written at all. Memory is bounded by what passes in two
checkpoints, whatever the number of pending records.

Invariants:

A. A row in memory is newer than the row of the same key in the store.
B. A queue yields each pending row of its side once per scan, by ascending intake position: the committed ones from the
   store, then those in memory. A row whose record has been paired since is skipped by whoever asks. Each side has a
   queue of what is to be closed. While the mirror is not proven the rebuilt side has a second one, ahead of the first:
   of what is to be called indeterminate.
C. Between `changes` and `committed` nothing is read or written.
"""

from bisect import insort
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple, TypeVar

from cutover_app.core.books import BOOKS_KEY, Books
from cutover_app.core.cache import SCAN_ROWS, RowCache, Store, scan_all
from cutover_app.core.frames import LEGACY, REBUILT
from cutover_app.core.limits import BUCKET_KEYS_MAX, FAMILIES_MAX
from cutover_app.core.state import (
    MARK_PREFIX,
    MARK_ROW,
    TIMED,
    BucketRow,
    FamilyRow,
    KeyRow,
    OrderRow,
    PendingHead,
    PendingRow,
    bucket_key,
    decode_row,
    encode_row,
    family_key,
    mark_key,
    order_row_key,
    pending_key,
    position_of,
)
from cutover_app.core.verdicts import OTHER_PATHS, FamilyName

PENDING_TABLE: Final = "pending"
SETTLED_TABLE: Final = "settled"
BOOKS_TABLE: Final = "books"
FAMILIES_TABLE: Final = "families"
TABLES: Final = (PENDING_TABLE, SETTLED_TABLE, BOOKS_TABLE, FAMILIES_TABLE)

UNPROVEN: Final = 2
"""The second queue of the rebuilt side (invariant B)."""

Changes = dict[str, dict[bytes, bytes | None]]
"""Table name -> row key -> encoded row, None where the row is deleted."""


Item = TypeVar("Item")


class Waiting(NamedTuple):
    """The head of a side's queue."""

    position: int
    judge_ms: int
    key: bytes


@dataclass(slots=True)
class _Queue:
    """What waits of one side: committed rows scanned already, rows in memory, rows that came back."""

    side: int
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
        self._counted = books.keys
        self.keys = RowCache(store, SETTLED_TABLE, KeyRow)
        """Key rows."""
        self.orders = RowCache(store, SETTLED_TABLE, OrderRow)
        """Order rows, where the order key is not the match key."""
        self._fresh: list[bytes] = []
        self._payloads: dict[int, tuple[int, PendingRow]] = {}
        self._unwanted: set[bytes] = set()
        self._queues = [_Queue(side, books.closed_to[side] + 1) for side in (LEGACY, REBUILT)]
        self._committed_to = _last_position(books)
        self._bucket: tuple[int, BucketRow] | None = None
        self._buckets: dict[bytes, bytes | None] = {}
        self._marks: dict[bytes, bytes | None] = {}
        self._families: dict[bytes, FamilyRow] = {}
        self._dirty_families: set[bytes] = set()
        self._load_families()

    # -- key rows ----------------------------------------------------------------------------------------------------

    def await_forgetting(self, key: bytes) -> None:
        """Queue the key of a row, new or not to be forgotten yet, for being forgotten one day."""
        self._fresh.append(key)

    def pack(self, keys: Iterable[bytes]) -> None:
        """Keep the rows of these keys, and of their order keys, as bytes until they are needed again."""
        for key in keys:
            row = self.keys.pack(key)
            if row is not None and row.order:
                self.orders.pack(order_row_key(row.order))

    def drop_key(self, key: bytes, row: KeyRow) -> None:
        """Forget a key row, payloads included."""
        for side, records in enumerate((row.expected, row.actual)):
            for record in records:
                if record.stored:
                    self.drop_payload(side, record.position)
        if row.noted & TIMED:
            self.mark(key, wanted=False)
        self.keys.drop(key)

    # -- payloads, and the queue of what is to be closed -----------------------------------------------------------

    def add_payload(self, side: int, position: int, row: PendingRow) -> None:
        """Keep the payload of a record that has just arrived, at the end of its side's queue."""
        self._books.payloads += 1
        self._payloads[position] = (side, row)
        self._queues[side].tail.append(position)
        if side == REBUILT and len(self._queues) > UNPROVEN:
            self._queues[UNPROVEN].tail.append(position)

    def restore_payload(self, side: int, position: int, row: PendingRow) -> None:
        """Keep a payload again whose record lost its equal partner; its place in the queue is that of its arrival."""
        self._books.payloads += 1
        self._payloads[position] = (side, row)
        self._unwanted.discard(pending_key(side, position))
        for number, queue in enumerate(self._queues):
            if queue.side == side and position > self._books.closed_to[number]:
                insort(queue.restored, Waiting(position, row.judge_ms, row.key))

    def drop_payload(self, side: int, position: int) -> None:
        """Drop a payload that nothing will ask for again."""
        self._books.payloads -= 1
        if self._payloads.pop(position, None) is None or position <= self._committed_to:
            self._unwanted.add(pending_key(side, position))

    def payload(self, side: int, position: int) -> bytes | None:
        """Return a payload that is kept."""
        held = self._payloads.get(position)
        if held is not None:
            return held[1].payload
        data = self._store.get(PENDING_TABLE, pending_key(side, position))
        return None if data is None else decode_row(PendingRow, data).payload

    @property
    def held(self) -> int:
        """Return how many payloads are in memory."""
        return len(self._payloads)

    def waiting(self, number: int) -> Waiting | None:
        """Return the head of a queue (a side, or `UNPROVEN`), None when nothing waits in it (invariant B)."""
        if number >= len(self._queues):
            return None
        queue = self._queues[number]
        if not queue.heads and not queue.exhausted:
            self._scan(number)
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

    def next_due(self, number: int, limit_ms: int) -> Waiting | None:
        """Take from a queue the oldest that waits since `limit_ms` (judge time) or longer."""
        head = self.waiting(number)
        if head is None or head.judge_ms > limit_ms:
            return None
        self._pass_by(number, head.position)
        return head

    def oldest(self, side: int) -> Waiting | None:
        """Return the oldest record that waits in the queue of a side; unlike `waiting`, one paired since is none.

        Only so many heads are looked at as one scan has read: where all of them have been paired, the last one of them
        stands for an unknown one behind it.
        """
        queue = self._queues[side]
        self.waiting(side)
        unknown = queue.heads[-1] if queue.heads and not queue.exhausted else None
        found = [
            next((each for each in queue.restored if self._is_kept(side, each.position)), None),
            next((each for each in queue.heads if self._is_kept(side, each.position)), unknown),
        ]
        if queue.tail:
            row = self._payloads[queue.tail[0]][1]
            found.append(Waiting(queue.tail[0], row.judge_ms, row.key))
        return min((each for each in found if each is not None), default=None)

    def _is_kept(self, side: int, position: int) -> bool:
        key = pending_key(side, position)
        return position in self._payloads or (
            key not in self._unwanted and self._store.get(PENDING_TABLE, key) is not None
        )

    def _pass_by(self, number: int, position: int) -> None:
        """Move a queue past `position`, its head."""
        closed_to = self._books.closed_to
        closed_to[number] = max(position, closed_to[number])
        queue = self._queues[number]
        if queue.heads and queue.heads[0].position == position:
            queue.heads.popleft()
        if queue.restored and queue.restored[0].position == position:
            del queue.restored[0]
        if queue.tail and queue.tail[0] == position:
            queue.tail.popleft()

    def watch_unproven(self, wanted: bool) -> None:
        """Have the queue `UNPROVEN`, or do without it."""
        if wanted == (len(self._queues) > UNPROVEN):
            return
        if not wanted:
            del self._queues[UNPROVEN]
            return
        closed_to = self._books.closed_to
        closed_to[UNPROVEN] = max(closed_to[REBUILT], closed_to[UNPROVEN])
        queue = _Queue(REBUILT, closed_to[UNPROVEN] + 1)
        for position, (side, row) in sorted(self._payloads.items()):
            if side != REBUILT or position < queue.next_scan:
                continue
            if position > self._committed_to:
                queue.tail.append(position)
            else:
                queue.restored.append(Waiting(position, row.judge_ms, row.key))
        self._queues.append(queue)

    def _scan(self, number: int) -> None:
        queue = self._queues[number]
        # What was passed by in memory, and is in the store by now, has had its turn: a step must not count it again.
        start = pending_key(queue.side, max(queue.next_scan, self._books.closed_to[number] + 1))
        for key, data in self._store.scan(PENDING_TABLE, start, SCAN_ROWS):
            if key[0] != queue.side:
                break
            row = decode_row(PendingHead, data)
            queue.heads.append(Waiting(int.from_bytes(key[1:], "big"), row.judge_ms, row.key))
        queue.exhausted = len(queue.heads) < SCAN_ROWS
        # Behind the last row found nothing is left but deleted rows, which a store may take long to pass over.
        queue.next_scan = self._committed_to + 1 if queue.exhausted else queue.heads[-1].position + 1

    def mark(self, key: bytes, *, wanted: bool) -> None:
        """Note that a key has, or has no more, a problem that keeps no payload."""
        self._marks[mark_key(key)] = MARK_ROW if wanted else None

    def problem_keys(self) -> Iterator[bytes]:
        """Yield the key of every record that is pending or a problem, some more than once."""
        yield from self._marked_keys()
        for _, row in list(self._payloads.values()):
            yield row.key
        for key, data in scan_all(self._store, PENDING_TABLE):
            if key not in self._unwanted:
                yield decode_row(PendingHead, data).key

    def _marked_keys(self) -> Iterator[bytes]:
        yield from [place.removeprefix(MARK_PREFIX) for place, row in self._marks.items() if row is not None]
        for place, _ in scan_all(self._store, SETTLED_TABLE, MARK_PREFIX):
            if not place.startswith(MARK_PREFIX):
                return
            if place not in self._marks:
                yield place.removeprefix(MARK_PREFIX)

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

    def _fill_buckets(self) -> None:
        first, following = self._books.buckets
        for start in range(0, len(self._fresh), BUCKET_KEYS_MAX):
            bucket = BucketRow(self._books.clock.now, self._fresh[start : start + BUCKET_KEYS_MAX])
            self._buckets[bucket_key(following)] = encode_row(bucket)
            following += 1
        self._fresh = []
        self._books.buckets = (first, following)

    # -- families ------------------------------------------------------------------------------------------------------

    def counted_in(self, family: FamilyName) -> FamilyName:
        """Return the family that a finding of `family` is counted in: itself, or beyond the limit one for all."""
        kind, path = family
        if not path or len(self._families) < FAMILIES_MAX or family_key(kind, path) in self._families:
            return family
        return kind, OTHER_PATHS

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
        for key, data in scan_all(self._store, FAMILIES_TABLE):
            self._families[key] = decode_row(FamilyRow, data)

    # -- checkpoint ----------------------------------------------------------------------------------------------------

    def changes(self) -> Changes:
        """Return what differs from the store, the books' row included."""
        self._fill_buckets()
        self._books.keys = self._counted + self.keys.grown + self.orders.grown
        settled = self.keys.changes()
        settled.update(self.orders.changes())
        settled.update(self._buckets)
        settled.update(self._marks)
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
        self.keys.committed()
        self.orders.committed()
        self._unwanted.clear()
        self._dirty_families.clear()
        self._buckets.clear()
        self._marks.clear()
        self._payloads.clear()
        self._committed_to = _last_position(self._books)
        for queue in self._queues:
            queue.tail.clear()
            queue.exhausted = False


def in_turns(items: Iterable[Item], most: int) -> Iterator[list[Item]]:
    """Cut into lists of `most` items; the last one may have fewer."""
    rest = iter(items)
    while turn := list(islice(rest, most)):
        yield turn


def _last_position(books: Books) -> int:
    """Return the highest intake position that may have a row in the store."""
    return position_of(books.at + 1) - 1
