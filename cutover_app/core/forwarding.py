"""How stage one lays entries out over the intake partitions: a pure function of the entries.

An entry goes to the partition of its order key, so that everything that may have to be paired or put in order meets
at one judge, whatever partitioner either producer uses. A record without a match key has no such place: it goes to
every partition, because it may explain a lonely partner anywhere (R11); the partition with the number of its source
partition is its home and counts it.
"""

from collections.abc import Iterable, Iterator
from zlib import crc32

from cutover_app.core.frames import Entry, Records, Source, encode_frame
from cutover_app.core.limits import FRAME_BYTES_MAX


def lay_out(entries: Iterable[Entry], partitions: int) -> dict[int, list[Entry]]:
    """Return the entries of each intake partition, in their order."""
    laid: dict[int, list[Entry]] = {}
    for entry in entries:
        if entry.kind:
            for partition in range(partitions):
                laid.setdefault(partition, []).append(entry)
            continue
        partition = place_of(entry.order or entry.key, partitions)
        if partition in laid:
            laid[partition].append(entry)
        else:
            laid[partition] = [entry]
    return laid


def place_of(order_key: bytes, partitions: int) -> int:
    """Return the intake partition of an order key in its canonical form."""
    return crc32(order_key) % partitions


def is_home(source: Source, partition: int, partitions: int) -> bool:
    """Tell whether an intake partition is the one that counts the rejected records of a source partition."""
    return source.partition % partitions == partition


def frames(rules: str, sender: str, source: Source, entries: list[Entry]) -> Iterator[bytes]:
    """Yield the frames that carry these entries, divided until none but a single entry exceeds the limit."""
    frame = encode_frame(Records(rules, sender, source, entries))
    parts = min(-(-len(frame) // FRAME_BYTES_MAX), len(entries))
    if parts <= 1:
        yield frame
        return
    each = -(-len(entries) // parts)
    for start in range(0, len(entries), each):
        yield from frames(rules, sender, source, entries[start : start + each])
