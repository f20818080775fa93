"""Where a run stands in a source partition: it is read again as committed, and another topic is never taken for it."""

from cutover_app.core.books import Books
from cutover_app.core.frames import REBUILT, Edge, Source
from cutover_app.core.standing import (
    CREATED_ANEW,
    EDGES_KEPT,
    FAR_PAST,
    RETENTION,
    START,
    TRUNCATED,
    UNKNOWN_END,
    Log,
    Standing,
    Uncopied,
    begun,
    continued,
    from_the_beginning,
    lost,
    not_told,
    note_of,
    standing_from,
    tail,
    with_edges,
    with_uncopied,
)
from cutover_app.kafka.starts import former

NOW = 1_000_000
NOTE_BYTES_MAX = 4096


def place(incarnation: str = "id-1", partition: int = 0) -> Source:
    return Source(REBUILT, "orders", incarnation, partition)


def test_a_standing_survives_its_commit() -> None:
    """Position, last timestamp, incarnation and edges of any incarnation are read again as they were written."""
    gone = place("id-0", partition=9)  # its partition is no more, so another one tells of it
    edges = tuple(Edge(source, 5, UNKNOWN_END, 1, 2, CREATED_ANEW) for source in (place("id-0"), gone))
    before = Standing(place("id-1+2"), 70, 500, edges)
    assert standing_from(place(), 70, note_of(before)) == before


def test_a_commit_without_a_note_is_of_the_topic_as_it_is() -> None:
    """A text of somebody else is no reason to distrust the position."""
    for note in ("", "{}", "not ours", '{"v": 1}'):
        assert standing_from(place(), 7, note) == Standing(place(), 7)


def test_a_note_fits_into_a_commit() -> None:
    """However often a topic is made anew, Kafka takes the commit, and the youngest edges are in it."""
    uuid, standing = "3f2504e0-4f89-11d3-9a0c-0305e82c3301", Standing(place(), 1 << 40, 1 << 41)
    for number in range(50):
        source = place(f"{uuid}+{number}")
        standing = with_edges(standing, Edge(source, 1 << 40, UNKNOWN_END, 1 << 41, 1 << 41, CREATED_ANEW))
    assert len(note_of(standing)) <= NOTE_BYTES_MAX
    assert len(standing.edges) == EDGES_KEPT
    assert standing.edges[-1].source == source


def test_what_was_never_copied_is_told_by_whoever_has_the_partition() -> None:
    """From the last record that was read up to a time after it; what the former owner has told is not told again."""
    gone, other = Uncopied(4, 8, 900), Uncopied(8, 9, 100)
    before = Standing(place(), 7, 500)
    after = with_uncopied(before, [gone])
    (edge,) = after.edges
    assert (edge.start, edge.end, edge.from_ms, edge.to_ms) == (7, 7, 500, 900)
    later = with_uncopied(Standing(place(), 70, 5_000, after.edges), [gone, other])
    assert later.edges[0] == edge
    assert [(each.start, each.from_ms, each.to_ms) for each in later.edges[1:]] == [(70, 5_000, 5_000)]
    many = [Uncopied(at, at + 1, NOW) for at in range(1 << 40, (1 << 40) + 50)]
    assert len(note_of(with_uncopied(before, many))) <= NOTE_BYTES_MAX


def test_what_was_never_copied_is_told_once_in_whatever_pieces_it_is_found() -> None:
    """Two workers that look at different moments find one loss in other pieces."""
    one = with_uncopied(Standing(place(), 7, 500), [Uncopied(0, 100, 600), Uncopied(100, 200, 700)])
    assert with_uncopied(one, [Uncopied(0, 200, 9_000), Uncopied(50, 150, 9_000)]) == one
    assert not_told(one, Uncopied(150, 300, 9_000)) == Uncopied(200, 300, 9_000)
    gone = with_uncopied(one, [Uncopied(300, UNKNOWN_END, 800)])
    assert with_uncopied(gone, [Uncopied(310, UNKNOWN_END, 9_000), Uncopied(0, 100, 9_000)]) == gone
    later = Uncopied(50, 150, 9_000, topic_id="the one that came after")
    assert not_told(gone, later) == later
    both = with_uncopied(gone, [later])
    assert with_uncopied(both, [later, Uncopied(0, 200, 9_500)]) == both


def test_a_log_that_has_everything_has_no_edge() -> None:
    """Reading from offset 0 leaves nothing unknown."""
    assert from_the_beginning(place(), Log(0, 9, 100), NOW) == Standing(place(), 0)


def test_deleted_records_are_an_edge_up_to_the_first_that_is_there() -> None:
    """Its time is the bound; of a partition that has become empty, and of one from the future, the present is."""
    for first_ms, to_ms in ((100, 100), (None, NOW), (NOW + 5, NOW)):
        standing = from_the_beginning(place(), Log(40, 90, first_ms), NOW)
        assert standing == Standing(place(), 40, FAR_PAST, (Edge(place(), 0, 40, FAR_PAST, to_ms, START),))


def test_a_chosen_start_is_an_edge() -> None:
    """Whatever lies before a start at the end or at a time is told."""
    assert begun(place(), 30, 77).edges == (Edge(place(), 0, 30, FAR_PAST, 77, START),)


def test_an_unchanged_topic_is_read_on() -> None:
    """Also where retention has overtaken the position: the reader finds that out by itself, and exactly."""
    before = Standing(place(), 50, 400)
    assert continued(before, place(), Log(0, 50, 1), NOW) is before
    assert continued(before, place(), Log(60, 90, 1), NOW) is before


def test_a_topic_made_anew_is_read_from_its_beginning() -> None:
    """The tail of the old one is an edge from the last record read to now, wherever the new one ends."""
    before = Standing(place("id-0+1"), 50, 400)
    gone = Edge(place("id-0+1"), 50, UNKNOWN_END, 400, NOW, CREATED_ANEW)
    for end in (0, 10, 50, 90):
        assert continued(before, place(), Log(0, end, None), NOW) == Standing(place(), 0, FAR_PAST, (gone,))
    head = Edge(place(), 0, 5, 400, 700, START)
    assert continued(before, place(), Log(5, 9, 700), NOW) == Standing(place(), 5, FAR_PAST, (gone, head))


def test_a_truncated_partition_is_another_incarnation() -> None:
    """It is read on at its end, and what was written since the cut is an edge; the next cut counts on."""
    first = continued(Standing(place(), 50, 400), place(), Log(0, 30, 1), NOW)
    assert first == Standing(place("id-1+1"), 30, 400, (Edge(place("id-1+1"), 0, 30, 400, NOW, TRUNCATED),))
    assert continued(first, place(), Log(0, 30, 1), NOW) is first
    second = continued(first, place(), Log(0, 20, 1), NOW + 1)
    assert (second.source, second.position, len(second.edges)) == (place("id-1+2"), 20, 2)


def test_bounds_never_cross() -> None:
    """Timestamps that go back, or lie in the future, leave an edge that still has both its ends."""
    assert lost(place(), 5, 9, last_ms=800, next_ms=300) == Edge(place(), 5, 9, 800, 800, RETENTION)
    assert tail(Standing(place(), 5, NOW + 9), NOW).to_ms == NOW + 9


def test_the_books_know_a_topic_whose_commits_are_gone() -> None:
    """The highest mark of any judge counts, in the newest incarnation that any judge has heard of."""
    one, two = Books("r", 0), Books("r", 1)
    for books, marks in ((one, {"id-0": (7, 70)}), (two, {"id-0": (9, 90), "id-1": (3, 130)})):
        for incarnation, (offset, seen_ms) in marks.items():
            index = books.source_index(place(incarnation))
            books.marks[index], books.seen_ms[index] = (offset, 0), seen_ms
    one.source_index(place("id-0", partition=4))
    assert former([two, one], REBUILT, "orders") == {
        0: Standing(place("id-1"), 4, 130),
        4: Standing(place("id-0", partition=4), 0, FAR_PAST),
    }
    assert former([one], REBUILT, "orders")[0] == Standing(place("id-0"), 8, 70)
    assert former([one], REBUILT, "other") == {}


def test_a_partition_that_was_never_used_may_have_held_anything() -> None:
    """If a topic is gone, its partitions without an accepted record are known by the frontier's count."""
    books = Books("r", 0)
    index = books.source_index(place("id-0+1"))
    books.marks[index], books.seen_ms[index] = (7, 0), 70
    books.frontiers[REBUILT].count("orders", "id-0", 2)
    assert former([books], REBUILT, "orders") == {
        0: Standing(place("id-0+1"), 8, 70),
        1: Standing(place("id-0", partition=1), 0, FAR_PAST),
    }
    books.frontiers[REBUILT].count("orders", "id-1", 1)
    assert former([books], REBUILT, "orders")[0] == Standing(place("id-1"), 0, FAR_PAST)
