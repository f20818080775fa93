"""Connect's offset records, as bytes."""

import pytest

from cutover_app.mirror.positions import AmbiguousMirror, Copier, Positions, choose

KEY = b'["MirrorSourceConnector",{"cluster":"legacy","partition":%d,"topic":"%s"}]'
LEGACY = Copier("MirrorSourceConnector", "legacy")


def told(*records: tuple[bytes | None, bytes | None], topic: str = "shop.orders") -> Positions:
    positions = Positions(topic)
    for key, value in records:
        positions.take(key, value)
    return positions


def test_the_next_offset_is_one_past_the_last_copied() -> None:
    """`{"offset":N}` is the last record copied, so the mirror goes on at N + 1; the newest record counts."""
    positions = told(
        (KEY % (0, b"shop.orders"), b'{"offset":41}'),
        (KEY % (1, b"shop.orders"), b'{"offset":7}'),
        (KEY % (0, b"shop.orders"), b'{"offset":3}'),
    )

    assert positions.of(LEGACY) == {0: 4, 1: 8}
    assert positions.copiers == [LEGACY]
    assert positions.undecodable == 0


def test_a_tombstone_takes_the_position_back() -> None:
    """A connector whose offsets were reset has told nothing."""
    positions = told((KEY % (0, b"shop.orders"), b'{"offset":41}'), (KEY % (0, b"shop.orders"), None))

    assert positions.of(LEGACY) == {}
    assert positions.copiers == []


def test_what_is_about_something_else_is_passed_over() -> None:
    """Other topics, checkpoints, heartbeats and connectors of other kinds share the topic."""
    positions = told(
        (KEY % (0, b"other"), b'{"offset":1}'),
        (b'["MirrorCheckpointConnector",{"group":"g","partition":0,"topic":"shop.orders"}]', b'{"offset":0}'),
        (b'["MirrorHeartbeatConnector",{"sourceClusterAlias":"a","targetClusterAlias":"b"}]', b'{"offset":0}'),
        (b'["jdbc",{"table":"orders"}]', b'{"incrementing":5}'),
        (b'["file",null]', b'{"position":5}'),
    )

    assert positions.copiers == []
    assert positions.undecodable == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b'{"offset":1}'),
        (b"\x00\xff", b'{"offset":1}'),
        (KEY % (0, b"shop.orders"), b"not json"),
        (KEY % (0, b"shop.orders"), b'{"offset":"1"}'),
        (KEY % (0, b"shop.orders"), b'{"offset":true}'),
        (KEY % (0, b"shop.orders"), b"[1]"),
    ],
)
def test_what_nobody_can_read_is_counted(key: bytes | None, value: bytes) -> None:
    """It changes no position."""
    positions = told((KEY % (0, b"shop.orders"), b'{"offset":41}'), (key, value))

    assert positions.undecodable == 1
    assert positions.of(LEGACY) == {0: 42}


def test_a_connector_may_have_any_name() -> None:
    """On a plain Connect cluster the first item of the key is free."""
    positions = told((b'["our-mirror",{"topic":"shop.orders","partition":2,"cluster":"old"}]', b'{"offset":0}'))

    assert positions.copiers == [Copier("our-mirror", "old")]
    assert positions.of(Copier("our-mirror", "old")) == {2: 1}


def test_one_mirror_is_chosen_wherever_it_keeps_its_positions() -> None:
    """The offsets topic without a record for the topic does not count; without any record, nobody is chosen."""
    mine, empty = told((KEY % (0, b"shop.orders"), b'{"offset":41}')), told()

    assert choose({"mm2-offsets.a.internal": empty, "mm2-offsets.b.internal": mine}, "shop.orders") == (
        "mm2-offsets.b.internal",
        LEGACY,
    )
    assert choose({"mm2-offsets.a.internal": empty}, "shop.orders") is None


def test_of_several_mirrors_the_one_counts_that_the_copy_is_named_after() -> None:
    """Two clusters with a topic of that name: the copy's name tells; where it does not, nobody can."""
    other = b'["MirrorSourceConnector",{"cluster":"east","partition":0,"topic":"shop.orders"}]'
    found = {"offsets": told((KEY % (0, b"shop.orders"), b'{"offset":1}'), (other, b'{"offset":9}'))}

    assert choose(found, "legacy.shop.orders") == ("offsets", LEGACY)
    with pytest.raises(AmbiguousMirror, match=r"of cluster east in offsets; .* of cluster legacy"):
        choose(found, "shop.orders")
