"""How entries are laid out over intake, and divided into frames."""

from hypothesis import given
from hypothesis import strategies as st

from cutover_app.core.forwarding import frames, lay_out, place_of
from cutover_app.core.frames import LEGACY, MESSAGE, UNDECODABLE, Entry, Source, decode_frame
from cutover_app.core.limits import ENTRY_BYTES_MAX, FRAME_BYTES_MAX, KEY_BYTES_MAX
from cutover_app.core.state import PendingRow, encode_row
from cutover_app.kafka.admin import MESSAGE_BYTES_MAX

SOURCE = Source(LEGACY, "orders", "id", 3)


def entry(offset: int, size: int, kind: int = MESSAGE, order: bytes = b"") -> Entry:
    return Entry(offset, 0, 0, kind, b'["%d"]' % offset, b"d" * 16, b"r" * 16, b"p" * size, b"", order)


@given(
    sizes=st.lists(
        st.one_of(st.integers(0, 2_000), st.integers(0, FRAME_BYTES_MAX * 2)),
        min_size=1,
        max_size=40,
    )
)
def test_no_frame_but_a_single_entry_exceeds_the_limit(sizes: list[int]) -> None:
    """Whatever their sizes: every entry is in one frame, in order."""
    entries = [entry(offset, size) for offset, size in enumerate(sizes)]
    made = list(frames("rules", "sender", SOURCE, entries))
    carried = [decode_frame(data).entries for data in made]
    assert [each for entries in carried for each in entries] == entries
    assert all(len(data) <= FRAME_BYTES_MAX or len(each) == 1 for data, each in zip(made, carried, strict=True))


def test_entries_that_fit_travel_in_one_frame() -> None:
    """A thousand small ones are one record of intake: that is what makes the detour affordable."""
    assert len(list(frames("rules", "sender", SOURCE, [entry(offset, 100) for offset in range(1000)]))) == 1


def test_the_largest_entry_fits_into_a_record_of_intake_and_of_a_changelog() -> None:
    """With everything around it at its longest, so that no message that is accepted can stop a worker."""
    source = Source(LEGACY, "t" * 249, "i" * 64, 3)
    largest = entry(2**62, ENTRY_BYTES_MAX, order=b"o" * KEY_BYTES_MAX)
    largest.key = b"k" * KEY_BYTES_MAX
    (frame,) = frames("sha256:" + "r" * 64, "s" * 64, source, [largest])
    row = encode_row(PendingRow(largest.order + largest.key, 2**62, largest.payload))
    assert max(len(frame), len(row)) + 4096 < MESSAGE_BYTES_MAX


@given(keys=st.lists(st.integers(0, 50), max_size=60), partitions=st.integers(1, 12))
def test_an_order_key_has_one_place_and_its_entries_their_order(keys: list[int], partitions: int) -> None:
    """Entries of one order key meet at one partition, in the order of their offsets."""
    entries = [entry(offset, 0, order=b"[%d]" % key) for offset, key in enumerate(keys)]
    laid = lay_out(entries, partitions)
    assert sorted(each.offset for some in laid.values() for each in some) == list(range(len(keys)))
    for partition, some in laid.items():
        assert [each.offset for each in some] == sorted(each.offset for each in some)
        assert {place_of(each.order, partitions) for each in some} == {partition}


def test_a_record_without_a_key_goes_everywhere() -> None:
    """It may explain a lonely partner at any judge."""
    laid = lay_out([entry(0, 0), entry(1, 0, UNDECODABLE)], 4)
    assert all(laid[partition][-1].offset == 1 for partition in range(4))
