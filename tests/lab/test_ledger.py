"""The ledger's judge calls a run perfect only if everything planted was found and nothing else."""

from pathlib import Path
from typing import Any

import msgspec

from cutover_app.lab.ledger import Due, Entry, Row, encode_entry, judge_ledger, read_ledger

WRONG = Entry("wrong_value", "rebuilt", ("1",), (Due("mismatch", (("wrong_value", "$.lines[*].price"),)),))
LOST = Entry("missing", "legacy", ("2",), (Due("missing", (("missing", ""),)),))
BROKEN = Entry(
    "undecodable",
    "rebuilt",
    ("3",),
    (Due("undecodable", (("undecodable", ""),)), Due("missing", (("missing", ""),))),
    partition=4,
    offset=70,
)


def verdict(outcome: str, key: list[Any], *findings: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {
        "outcome": outcome,
        "key": key,
        "findings": [{"kind": kind, "path": path} if path else {"kind": kind} for kind, path in findings],
        **more,
    }


FOUND_WRONG = verdict("mismatch", ["1"], ("wrong_value", "$.lines[3].price"))
FOUND_LOST = verdict("missing", ["2"], ("missing", ""))
FOUND_BROKEN = verdict(
    "undecodable", [], ("undecodable", ""), rebuilt={"topic": "t", "partition": 4, "offset": 70, "timestamp": 1}
)
FOUND_BROKEN_TOO = verdict("missing", ["3"], ("missing", ""))
ALL_FOUND = [FOUND_WRONG, FOUND_LOST, FOUND_BROKEN, FOUND_BROKEN_TOO]
ALL = [WRONG, LOST, BROKEN]


def test_everything_found() -> None:
    """If each fault has its verdict, list positions apart, the run is perfect."""
    judged = judge_ledger(ALL, [*ALL_FOUND, verdict("match", ["9"]), verdict("resolved", ["8"])])

    assert judged.perfect
    assert judged.rows == (Row("wrong_value", 1, 1, 0), Row("missing", 1, 1, 0), Row("undecodable", 1, 1, 0))


def test_a_fault_without_verdict_is_not_found() -> None:
    """If one verdict of a fault is not there, the fault is not found."""
    for left_out, entry in zip(ALL_FOUND, [WRONG, LOST, BROKEN, BROKEN], strict=True):
        judged = judge_ledger(ALL, [one for one in ALL_FOUND if one is not left_out])

        assert not judged.perfect
        assert judged.not_found == (entry,)
        assert judged.false == ()


def test_a_verdict_that_nothing_explains_is_false() -> None:
    """If a key without a fault has a problem, that is a false verdict, counted under its finding."""
    extra = verdict("unknown", ["7"], ("unknown", ""))

    judged = judge_ledger(ALL, [*ALL_FOUND, extra])

    assert judged.false == (extra,)
    assert judged.rows[-1] == Row("unknown", 0, 0, 1)


def test_the_wrong_path_or_outcome_counts_twice() -> None:
    """If a fault is reported as something else, it is not found and the report is false."""
    elsewhere = verdict("mismatch", ["1"], ("wrong_value", "$.total"))
    otherwise = verdict("unknown", ["2"], ("unknown", ""))

    judged = judge_ledger([WRONG, LOST], [elsewhere, otherwise])

    assert judged.not_found == (WRONG, LOST)
    assert judged.false == (elsewhere, otherwise)


def test_a_finding_too_many_is_false() -> None:
    """If a verdict says what was planted and more, the fault is found and the verdict is false."""
    more = verdict("mismatch", ["1"], ("wrong_value", "$.lines[0].price"), ("wrong_type", "$.total"))

    judged = judge_ledger([WRONG], [more])

    assert judged.not_found == ()
    assert judged.false == (more,)


def test_one_fact_under_two_ids_is_false() -> None:
    """If a fault has two verdicts of the same kind, the second one is false."""
    judged = judge_ledger([LOST], [FOUND_LOST, dict(FOUND_LOST)])

    assert judged.not_found == ()
    assert len(judged.false) == 1


def test_an_unreadable_record_is_known_by_its_position() -> None:
    """If another record is said to be unreadable, the planted one is not found."""
    other = verdict("undecodable", [], ("undecodable", ""), rebuilt={"partition": 4, "offset": 71})

    judged = judge_ledger([BROKEN], [other, FOUND_BROKEN_TOO])

    assert judged.not_found == (BROKEN,)
    assert judged.false == (other,)


def test_a_longer_match_key_begins_with_the_ledgers() -> None:
    """If a contract's match key has further parts, the entry's key is its beginning."""
    assert judge_ledger([LOST], [verdict("missing", ["2", 0], ("missing", ""))]).perfect


def test_a_ledger_file_reads_back(tmp_path: Path) -> None:
    """What is written to a ledger file is what is read from it."""
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b"".join(encode_entry(entry) + b"\n" for entry in ALL))

    assert list(read_ledger(path)) == ALL


AGAIN = Entry(
    "sent_again",
    "legacy",
    ("2",),
    (Due("duplicate", (("duplicate", ""),), "transport"),),
    partition=1,
    offset=9,
    legacy=True,
)


def duplicate(offset: int, note: str, **more: Any) -> dict[str, Any]:
    said = verdict(
        "duplicate", ["2"], ("duplicate", ""), legacy={"topic": "t", "partition": 1, "offset": offset}, **more
    )
    said["findings"][0]["note"] = note
    return said


def test_a_record_that_was_sent_again_is_known_by_its_position() -> None:
    """A copy that was sent again is explained, beside another fault of its key, if the transport is suspected."""
    assert judge_ledger([LOST, AGAIN], [FOUND_LOST, duplicate(9, "the transport is suspected")]).perfect
    for wrong in (duplicate(8, "the transport is suspected"), duplicate(9, "")):
        judged = judge_ledger([LOST, AGAIN], [FOUND_LOST, wrong])
        assert judged.not_found == (AGAIN,)
        assert judged.false == (wrong,)


def test_anything_may_be_said_where_nobody_can_know() -> None:
    """Of an order that both sides have twice any verdict is accepted, and none is demanded."""
    open_entry = msgspec.structs.replace(LOST, verdicts=(), anything=True)

    assert judge_ledger([open_entry], []).perfect
    assert judge_ledger([open_entry], [FOUND_LOST, duplicate(9, "")]).perfect
    assert not judge_ledger([open_entry], [FOUND_WRONG]).perfect
