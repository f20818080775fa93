"""The story of a key: what the judge really kept of it goes in, what people read comes out."""

import asyncio
import json
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from cutover_app.commands.explanation import Content, Explanation, Story, conclusion, exit_code, print_explanation
from cutover_app.commands.files import SourceRecord
from cutover_app.commands.kcat import kcat_line
from cutover_app.commands.offline import Offline
from cutover_app.commands.places import FoundRow, KeyPlace, find_rows, place_key
from cutover_app.commands.said import find_revisions, told_apart
from cutover_app.commands.timeline import RECORDS_MAX, History, history_of, ids_of, newest
from cutover_app.contract.compile import compile_contract
from cutover_app.contract.load import load_contract
from cutover_app.contract.models import Contract, Order
from cutover_app.core.books import Books
from cutover_app.core.closing import NEVER
from cutover_app.core.compare import Masked
from cutover_app.core.forwarding import place_of
from cutover_app.core.frames import LEGACY, REBUILT, Source
from cutover_app.core.rows import SETTLED_TABLE
from cutover_app.core.state import OPEN, KeyRow, OrderRow, Rec, decode_row, encode_row, order_row_key, position_of
from cutover_app.core.verdicts import Finding, Position, decode_verdict, encode_verdict
from tests.commands.helpers import legacy, rebuilt, write_contract

T0 = 1_760_000_000_000


@pytest.fixture
def contract(tmp_path: Path) -> Contract:
    """Return the small contract of these tests."""
    return load_contract(write_contract(tmp_path), {})


def told(contract: Contract, expected: list[Any], actual: list[Any], key: bytes = b'["o1"]') -> Story:
    """Have the judge judge, and tell the story of one key."""
    run = Offline(contract, compile_contract(contract), keep=True)
    run.take(LEGACY, records("shop.orders", expected))
    run.take(REBUILT, records("orders.v2", actual))
    books = run.finish().books[0]
    data = run._store.get(SETTLED_TABLE, key)
    assert data is not None
    found = FoundRow(0, key, decode_row(KeyRow, data))
    said = [verdict for verdict in map(decode_verdict, run.verdicts()) if verdict.id in ids_of("orders", found, books)]
    history = history_of(found, books, said, 4000)
    return Story(0, ["o1"], history.records, history.events, said)


def records(topic: str, messages: list[Any]) -> list[SourceRecord]:
    return [
        SourceRecord(topic, 0, number, T0 + number, 0, None, json.dumps(each).encode(), ())
        for number, each in enumerate(messages)
    ]


def happened(story: Story) -> list[tuple[str, str]]:
    return [(event.what, event.text) for event in story.events]


def test_a_pair_that_agrees(contract: Contract) -> None:
    """Both records, what was made of the legacy one, and that they agree; nothing had to be closed."""
    story = told(contract, [legacy(1)], [rebuilt(1)])

    assert happened(story) == [
        ("arrived", "a legacy record arrived"),
        ("rebuilt", "message 0 was made of it"),
        ("arrived", "a rebuilt record arrived"),
        ("compared", "with orders.v2/0@0: they agree"),
    ]
    assert [(each.place, each.tally, each.partner) for each in story.records] == [
        ("shop.orders/0@0", "paired", "orders.v2/0@0"),
        ("orders.v2/0@0", "paired", "shop.orders/0@0"),
    ]
    assert exit_code(Explanation("orders", "r1", stories=[story])) == 0


def test_a_pair_that_differs(contract: Contract) -> None:
    """It is closed before it is judged, and its verdict is told with its findings; values stay in the findings."""
    story = told(contract, [legacy(1)], [rebuilt(1, total=13)])

    assert [what for what, _ in happened(story)] == [
        "arrived", "rebuilt", "arrived", "compared", "closed", "closed", "verdict",
    ]  # fmt: skip
    assert ("compared", "with orders.v2/0@0: they differ") in happened(story)
    assert happened(story)[-1] == ("verdict", "mismatch, revision 1: wrong_value $.total")
    assert exit_code(Explanation("orders", "r1", stories=[story])) == 1


def test_lonely_records(contract: Contract) -> None:
    """Missing and unknown records are named so, and have no partner."""
    assert [each.tally for each in told(contract, [legacy(1)], []).records] == ["missing"]
    assert [each.tally for each in told(contract, [], [rebuilt(1)]).records] == ["unknown"]


def test_several_pairs_are_told_apart(contract: Contract) -> None:
    """Equal pairs are those of equal digests, in order; a repetition has no partner."""
    story = told(contract, [legacy(1), legacy(1, amount="7")], [rebuilt(1, total=7), rebuilt(1), rebuilt(1)])

    assert {each.place: (each.tally, each.partner) for each in story.records} == {
        "shop.orders/0@0": ("paired", "orders.v2/0@1"),
        "shop.orders/0@1": ("paired", "orders.v2/0@0"),
        "orders.v2/0@0": ("paired", "shop.orders/0@1"),
        "orders.v2/0@1": ("paired", "shop.orders/0@0"),
        "orders.v2/0@2": ("duplicate", ""),
    }


def pending(*, closed_at: int = OPEN, frontier: int = NEVER, count: int = 1) -> History:
    """Tell about records that wait."""
    books = Books("sha256:00", 0, sources=[Source(LEGACY, "shop.orders", "", 2)])
    books.frontiers[REBUILT].closed = frontier
    waits = [Rec(0, 7 + n, 1, -1, position_of(50 + n, 3), 10_000, b"d", b"r", b"", closed_at) for n in range(count)]
    return history_of(FoundRow(0, b'["o1"]', KeyRow(waits, [], [], 0)), books, [], 4000)


def test_what_a_pending_record_waits_for() -> None:
    """Until when it waits, in judge time, and how far that is; or why that is not known."""
    [known] = pending(frontier=12_500).records

    assert known.waits == "for its partner, until rebuilt is complete as of judge time 14,000; it is as of 12,500"
    assert (known.place, known.intake_offset, known.timestamp) == ("shop.orders/2@7.1", 50, -1)
    assert "no frontier yet" in pending().records[0].waits
    assert pending(closed_at=60).records[0].waits.startswith("closed; ")
    waiting = Explanation("orders", "r1", stories=[Story(0, ["o1"], pending().records)])
    assert exit_code(waiting) == 3
    assert conclusion(waiting) == "CANNOT TELL: 1 pending"


def test_a_crowded_key_is_cut() -> None:
    """Only so many records are told about, and how many more there are is said."""
    history = pending(count=RECORDS_MAX + 5)

    assert (len(history.records), history.more) == (RECORDS_MAX, 5)


def test_only_late_is_no_difference(contract: Contract) -> None:
    """A pair that was only late agrees in what it says."""
    story = told(contract, [legacy(1)], [rebuilt(1, total=13)])
    [verdict] = story.verdicts
    books = Books("sha256:00", 0, sources=[Source(LEGACY, "shop.orders", "", 0), Source(REBUILT, "orders.v2", "", 0)])
    row = KeyRow([Rec(0, 0, 0, 1, 0, 0, b"a", b"", b"")], [Rec(1, 0, 0, 1, 1, 0, b"b", b"", b"")], [], 0)
    late = type(verdict)(
        **{f: getattr(verdict, f) for f in verdict.__struct_fields__} | {"findings": (Finding("late"),)}
    )
    history = history_of(FoundRow(0, b'["o1"]', row), books, [late], 4000)

    assert [event.text for event in history.events if event.what == "compared"] == ["with orders.v2/0@0: they agree"]


def test_the_newest_revision_counts(contract: Contract) -> None:
    """Of all revisions that are left the newest says what is true now."""
    [verdict] = told(contract, [legacy(1)], []).verdicts
    fields = {name: getattr(verdict, name) for name in verdict.__struct_fields__}
    resolved = type(verdict)(**fields | {"outcome": "resolved", "rev": 2, "at": (0, 99), "findings": ()})

    assert [each.outcome for each in newest([resolved, verdict])] == ["resolved"]
    assert exit_code(Explanation("orders", "r1", stories=[Story(0, ["o1"], verdicts=[verdict, resolved])])) == 0


def test_books_that_do_not_balance_leave_doubt(contract: Contract) -> None:
    """What a partition says whose books do not balance counts for nothing."""
    story = told(contract, [legacy(1)], [rebuilt(1, total=13)])
    story.balanced = False

    assert exit_code(Explanation("orders", "r1", stories=[story])) == 3
    assert "do not balance" in conclusion(Explanation("orders", "r1", stories=[story]))


@pytest.mark.parametrize(("expected", "actual"), [([1], []), ([], [1]), ([1, 1], [1]), ([1], [1, 1])])
def test_what_was_decided_needs_its_verdict(contract: Contract, expected: list[int], actual: list[int]) -> None:
    """The verdicts topic was emptied, or is behind: that nothing is said there does not make a missing message fine."""
    story = told(contract, [legacy(each) for each in expected], [rebuilt(each) for each in actual])
    story.verdicts = []

    assert exit_code(Explanation("orders", "r1", stories=[story])) == 3
    assert "the verdict is not there" in conclusion(Explanation("orders", "r1", stories=[story]))


def test_a_verdict_that_was_deleted_is_none(contract: Contract) -> None:
    """A reset deletes the verdicts of a run; what a run of the same name says later is what is true."""
    [verdict] = told(contract, [legacy(1)], []).verdicts
    data, key = encode_verdict(verdict), verdict.id.encode()

    class Verdicts:
        """Gives these records of the verdicts topic."""

        def __init__(self, *values: bytes | None) -> None:
            self.values = values

        async def forward(self, _topic: str, _partition: int, take: Any) -> None:
            """Read them."""
            for value in self.values:
                take(SimpleNamespace(key=key, value=value))

    def found(*values: bytes | None) -> int:
        reader: Any = Verdicts(*values)
        return len(asyncio.run(find_revisions(reader, contract, 0, ids=[verdict.id])))

    assert [found(data), found(data, None), found(data, None, data)] == [1, 0, 1]


def test_nothing_known() -> None:
    """Where it would be, what has not been read yet, and what may have been meant."""
    nothing = Explanation(
        "orders", "r1", key=[1001], partitions=[3], unread={"legacy": 1200, "rebuilt": 4}, unjudged=7, hint='"1001"'
    )

    assert exit_code(nothing) == 3
    assert conclusion(nothing) == (
        "CANNOT TELL: nothing is known about key [1001]; it would be in intake partition 3; 1,200 legacy records have "
        "not been read yet and 4 rebuilt records have not been read yet; 7 intake records, barriers included, have "
        'come since the last checkpoint; perhaps "1001" was meant: a text is not a number'
    )
    assert "verdict ff; all source records" in conclusion(Explanation("orders", "r1", verdict="ff"))
    absent = Explanation("orders", "r1", verdict="ff", unread={"legacy": None, "rebuilt": 4})
    assert (
        "how much of legacy has not been read is not known and 4 rebuilt records have not been read yet"
        in conclusion(absent)
    )


def test_what_could_not_be_read_is_named(contract: Contract, capsys: pytest.CaptureFixture[str]) -> None:
    """A message without partner, near a record that could not be read: that one may be it."""
    story = told(contract, [legacy(1)], [])
    unreadable = Position("orders.v2", 2, 77, T0)
    story.verdicts = [msgspec.structs.replace(each, undecodable=(unreadable,)) for each in story.verdicts]
    print_explanation(contract, Explanation("orders", "r1", key=["o1"], partitions=[0], stories=[story]), "table")

    assert "its partner may be one of those that could not be read: orders.v2/2@77" in capsys.readouterr().out


def test_as_text(contract: Contract, capsys: pytest.CaptureFixture[str]) -> None:
    """Records, timeline, findings, contents, lines for kcat, and the conclusion last; nothing steers the terminal."""
    story = told(contract, [legacy(1)], [rebuilt(1, total=13)])
    story.contents = [Content("shop.orders/0@0", {"id": "\x1b[31m[b]o1"}, [{"order_id": "o1"}])]
    shown = Explanation("orders", "r1", key=["o1"], partitions=[0], stories=[story], notes=["x\x1by"])
    print_explanation(contract, shown, "table")
    text = capsys.readouterr().out
    lines = text.splitlines()

    assert lines[1] == 'key ["o1"], in intake partition 0'
    assert "2025-10-09 08:53:20Z" in text
    assert "\x1b" not in text
    assert "[b]o1" in text
    assert lines[-1] == "PROBLEMS: 1 mismatch"
    assert [line.partition(" -c 1")[0] for line in lines[-3:-1]] == [
        "kcat -C -b 127.0.0.1:1 -t shop.orders -p 0 -o 0",
        "kcat -C -b 127.0.0.1:1 -t orders.v2 -p 0 -o 0",
    ]


def test_as_json(contract: Contract, capsys: pytest.CaptureFixture[str]) -> None:
    """Versioned, with the exit code, every event and the lines for kcat."""
    story = told(contract, [legacy(1)], [rebuilt(1)])
    print_explanation(contract, Explanation("orders", "r1", key=["o1"], partitions=[0], stories=[story]), "json")
    document = json.loads(capsys.readouterr().out)

    assert (document["v"], document["exit"]) == (1, 0)
    assert [event["what"] for event in document["stories"][0]["events"]] == [
        "arrived",
        "rebuilt",
        "arrived",
        "compared",
    ]
    assert [each["offset"] for each in document["stories"][0]["kcat"]] == [0, 0]


# -- kcat, places ----------------------------------------------------------------------------------------------------


def test_kcat_asks_the_cluster_on_which_the_topic_is(contract: Contract) -> None:
    """The legacy topic may be on another cluster; a mirrored copy is on the work cluster. Secrets are never in it."""
    direct = contract.legacy.model_copy(
        update={"broker": "kafka://old:9092;kafka://old2:9093", "security": {"p": "pw"}}
    )
    other = contract.model_copy(update={"legacy": direct})

    assert " -b 127.0.0.1:1 " in kcat_line(contract, "shop.orders", 1, 42)
    line = kcat_line(other, "shop.orders", 1, 42)
    *words, form = shlex.split(line, comments=True)
    assert " ".join(words) == "kcat -C -b old:9092,old2:9093 -t shop.orders -p 1 -o 42 -c 1 -f"
    assert form == r"%t/%p@%o %T key=%k headers=%h\n%s\n"
    assert "# this cluster is secured" in line
    assert "pw" not in line
    assert "#" not in kcat_line(other, "orders.v2", 1, 42)


def test_a_key_has_one_place(contract: Contract) -> None:
    """The partition of the match key, which is that of the order key where the contract says nothing else."""
    wide = contract.model_copy(update={"intake": contract.intake.model_copy(update={"partitions": 12})})
    place = place_key(wide, "o1", None)

    assert place == KeyPlace(b'["o1"]', None, (place_of(b'["o1"]', 12),), is_exact=True)
    assert place.is_row(b'["o1"]')
    assert not place.is_row(b'["c7"]["o1"]')


def test_an_order_key_says_where(contract: Contract) -> None:
    """Where order is by something else, the order key gives the place and the row; without it all are read."""
    by = Order(by=["customer_id"])
    intake = contract.intake.model_copy(update={"partitions": 12})
    ordered = contract.model_copy(update={"order": by, "intake": intake})

    named = place_key(ordered, "o1", "c7")
    assert named == KeyPlace(b'["o1"]', b'["c7"]', (place_of(b'["c7"]', 12),), is_exact=True)
    assert named.is_row(b'["c7"]["o1"]')
    assert not named.is_row(b'["o1"]')
    anywhere = place_key(ordered, "o1", None)
    assert (anywhere.partitions, anywhere.is_exact) == (tuple(range(12)), False)
    assert "all 12 intake partitions are read; --order" in anywhere.note
    assert named.note == ""
    assert anywhere.is_row(b'["c8"]["o1"]')
    assert not anywhere.is_row(b'["c8"]["o11"]')


class Changelogs:
    """A reader of literal rows: (key, row or None), oldest first, by partition."""

    def __init__(self, rows: dict[int, list[tuple[bytes, KeyRow | OrderRow | None]]]) -> None:
        self._rows = rows
        self.read = 0

    async def newest_first(self, topic: str, partition: int, enough: Any) -> bool:
        """Hand them over, newest first."""
        for key, row in reversed(self._rows.get(partition, [])):
            self.read += 1
            if enough(SimpleNamespace(key=key, value=row and encode_row(row), partition=partition, offset=0)):
                return True
        return False


def rows_of(contract: Contract, place: KeyPlace, rows: Any) -> tuple[list[tuple[int, bytes, int]], int]:
    reader = Changelogs(rows)
    found = asyncio.run(find_rows(reader, contract, place))
    return [(each.partition, each.key, each.row.last_ms) for each in found], reader.read


def test_the_newest_row_of_a_key_is_found(contract: Contract) -> None:
    """No older row is read; a key that was forgotten has none."""
    place = place_key(contract, "o1", None)
    kept = [(b'["o1"]', KeyRow([], [], [], 1)), (b'["o1"]', KeyRow([], [], [], 2)), (b'["o2"]', KeyRow([], [], [], 3))]

    assert rows_of(contract, place, {0: kept}) == ([(0, b'["o1"]', 2)], 2)
    assert rows_of(contract, place, {0: [*kept, (b'["o1"]', None)]}) == ([], 1)
    assert rows_of(contract, place, {0: []}) == ([], 0)


def test_all_rows_of_a_key_behind_order_keys_are_found(contract: Contract) -> None:
    """Under each order key the newest, of all partitions; other kinds of row, and keys that end alike, are none."""
    intake = contract.intake.model_copy(update={"partitions": 2})
    ordered = contract.model_copy(update={"order": Order(by=["customer_id"]), "intake": intake})
    rows = {
        0: [
            (b'["c1"]["o1"]', KeyRow([], [], [], 1, b'["c1"]')),
            (b'["c1"]["o1"]', KeyRow([], [], [], 2, b'["c1"]')),
            (b'["c2"]["o1"]', KeyRow([], [], [], 3, b'["c2"]')),
            (b'["c2"]["o1"]', None),
            (b'["c9"]["x"]["o1"]', KeyRow([], [], [], 4, b'["c9"]')),
            (order_row_key(b'["o1"]'), OrderRow([b'["o1"]["o7"]'], 6, 1, [0], [])),
        ],
        1: [(b'["c3"]["o1"]', KeyRow([], [], [], 5, b'["c3"]'))],
    }

    found, _ = rows_of(ordered, place_key(ordered, "o1", None), rows)
    assert found == [(0, b'["c1"]["o1"]', 2), (1, b'["c3"]["o1"]', 5)]


def test_hidden_keys_are_told_apart_by_their_hmac_only() -> None:
    """Type and length fit many keys; an HMAC fits one."""
    assert told_apart(["o1", 2])
    assert told_apart([Masked("string", 2, "ab")])
    assert not told_apart(["o1", Masked("string", 2)])
