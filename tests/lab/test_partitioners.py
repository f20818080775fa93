"""The lab's partitioners choose as the clients do that they are named after."""

import zlib

from aiokafka.partitioner import murmur2 as reference
from hypothesis import given
from hypothesis import strategies as st

from cutover_app.lab.partitioners import PARTITIONERS, crc32, murmur2

KEYS = st.binary(min_size=1, max_size=40)
COUNTS = st.integers(1, 50)


@given(KEYS, COUNTS)
def test_murmur2_is_javas(key: bytes, count: int) -> None:
    """If Java chooses a partition, so does murmur2."""
    assert murmur2(key, count) == (reference(key) & 0x7FFFFFFF) % count


@given(KEYS, COUNTS)
def test_crc32_is_librdkafkas(key: bytes, count: int) -> None:
    """If librdkafka's default chooses a partition, so does crc32."""
    assert crc32(key, count) == zlib.crc32(key) % count


@given(KEYS, COUNTS)
def test_a_key_has_one_partition(key: bytes, count: int) -> None:
    """Each partitioner gives a key one partition that exists."""
    for choose in PARTITIONERS.values():
        assert choose(key, count) in range(count)
        assert choose(key, count) == choose(key, count)


def test_partitioners_disagree() -> None:
    """The three differ from each other, or they would test nothing."""
    keys = [b"%d" % number for number in range(200)]
    chosen = {name: [choose(key, 7) for key in keys] for name, choose in PARTITIONERS.items()}

    assert len(set(map(tuple, chosen.values()))) == len(PARTITIONERS)
