"""How producers choose a partition for a key.

The two producers of a migration often differ here, which is why a check must not rely on equal
partitions: Java clients and aiokafka hash with murmur2, librdkafka's default with CRC32, and some
services have a scheme of their own.
"""

import zlib
from collections.abc import Callable
from hashlib import blake2b
from typing import Final, Literal, TypeAlias

Partitioner: TypeAlias = Callable[[bytes, int], int]
PartitionerName: TypeAlias = Literal["murmur2", "crc32", "own"]

_MULTIPLIER: Final = 0x5BD1E995
_SEED: Final = 0x9747B28C
_WORD: Final = 0xFFFFFFFF


def murmur2(key: bytes, partitions: int) -> int:
    """Choose as Java's default partitioner does for a record with a key."""
    length = len(key)
    state = _SEED ^ length
    whole = length & ~3
    for start in range(0, whole, 4):
        block = int.from_bytes(key[start : start + 4], "little") * _MULTIPLIER & _WORD
        block = (block ^ block >> 24) * _MULTIPLIER & _WORD
        state = state * _MULTIPLIER & _WORD ^ block
    if whole != length:
        state = (state ^ int.from_bytes(key[whole:], "little")) * _MULTIPLIER & _WORD
    state = (state ^ state >> 13) * _MULTIPLIER & _WORD
    return ((state ^ state >> 15) & 0x7FFFFFFF) % partitions


def crc32(key: bytes, partitions: int) -> int:
    """Choose as librdkafka's default partitioner does for a record with a key."""
    return zlib.crc32(key) % partitions


def own(key: bytes, partitions: int) -> int:
    """Choose in a way that no client library does, but always the same for a key."""
    return int.from_bytes(blake2b(key, digest_size=4).digest(), "big") % partitions


PARTITIONERS: Final[dict[PartitionerName, Partitioner]] = {
    "murmur2": murmur2,
    "crc32": crc32,
    "own": own,
}
