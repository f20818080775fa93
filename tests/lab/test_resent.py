"""What a mirror sent again is found by comparing two topics, and goes into the ledger."""

import pytest

from cutover_app.lab.errors import LabError
from cutover_app.lab.files import Record, play
from cutover_app.lab.resent import SENT_AGAIN, compared, explain
from cutover_app.lab.scenario import Scenario

PLAYED = play(Scenario(count=900, rates={"duplicate": 0.05, "missing": 0.05}))
ORIGINAL = sorted(PLAYED.legacy, key=lambda record: (record.partition, record.offset))


def copied(*parts: list[Record]) -> list[Record]:
    """Return a copy made of these parts of the topic, with positions of its own."""
    ends: dict[int, int] = {}
    copy = []
    for record in (each for part in parts for each in part):
        offset = ends.get(record.partition, 0)
        ends[record.partition] = offset + 1
        copy.append(record._replace(offset=offset))
    return copy


def test_what_is_there_twice_was_sent_again() -> None:
    """If a mirror goes back, then what it had copied since is sent again, at the positions of the second time."""
    copy = copied(ORIGINAL[:500], ORIGINAL[450:])

    again = compared(ORIGINAL, copy).again

    assert again == copy[500:550]


def test_where_a_record_is_in_the_copy() -> None:
    """A record is where its copy stands for the first time, whatever was sent again before."""
    copy = copied(ORIGINAL[:500], ORIGINAL[450:])

    places = compared(ORIGINAL, copy).places

    first = [*copy[:500], *copy[550:]]
    assert places == {
        (one.partition, one.offset): (other.partition, other.offset) for one, other in zip(ORIGINAL, first, strict=True)
    }


def test_damaged_headers_can_be_left_out() -> None:
    """If a mirror is known to damage headers, then its copy is compared without them."""
    copy = copied([record._replace(headers=(("h", b"aA=="),)) for record in ORIGINAL])

    assert compared(ORIGINAL, copy, headers=False).again == []


def test_an_exact_copy_has_nothing_twice() -> None:
    """If nothing was sent again, nothing is found, even where the topic itself has something twice."""
    assert compared(ORIGINAL, copied(ORIGINAL)).again == []
    assert compared(ORIGINAL * 2, copied(ORIGINAL, ORIGINAL)).again == []


FOREIGN = "has a record that its topic has not"


@pytest.mark.parametrize(
    ("copy", "wrong"),
    [
        (copied(ORIGINAL[1:]), "lacks 1 records"),
        (
            copied(ORIGINAL[:5], [ORIGINAL[0]._replace(value=b"{}")], ORIGINAL[5:]),
            "has a record that its topic has not",
        ),
        (
            copied([ORIGINAL[0]._replace(headers=(("h", b"aA=="),))], ORIGINAL[1:]),
            "has a record that its topic has not",
        ),
    ],
    ids=["lost", "another value", "another header"],
)
def test_a_copy_that_is_none_is_refused(copy: list[Record], wrong: str) -> None:
    """If the copy lacks a record, or has one that is not in the topic, the run proves nothing."""
    with pytest.raises(LabError, match=wrong):
        compared(ORIGINAL, copy)


def test_the_ledger_expects_a_duplicate_of_each() -> None:
    """Each record sent again is an entry at its position; an order that both sides have twice is left open."""
    again = [record._replace(offset=record.offset + 10_000) for record in ORIGINAL[:450]]
    orders = {record.key.decode() for record in again if record.key is not None}
    planted = {entry.key[0]: entry for entry in PLAYED.ledger if entry.kind == "duplicate"}
    both = orders & planted.keys()

    entries = explain(PLAYED.ledger, again)

    new = [entry for entry in entries if entry.kind == SENT_AGAIN]
    assert {(entry.key[0], entry.partition, entry.offset) for entry in new} == {
        (record.key.decode(), record.partition, record.offset)
        for record in again
        if record.key is not None and record.key.decode() not in both
    }
    assert both
    assert {entry.key[0] for entry in entries if entry.anything} == both
    assert [entry for entry in entries if entry.kind != SENT_AGAIN and not entry.anything] == [
        entry for entry in PLAYED.ledger if entry.key[0] not in both
    ]
