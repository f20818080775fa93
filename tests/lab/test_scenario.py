"""A scenario follows from its seed, and is what the demo's contract says, its planted faults apart."""

import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from cutover_app.contract.compile import Compiled, compile_contract
from cutover_app.contract.load import load_contract
from cutover_app.core.frames import MESSAGE
from cutover_app.core.verdicts import generic_path
from cutover_app.lab.errors import LabError
from cutover_app.lab.faults import KINDS
from cutover_app.lab.files import Record, bare, play, write_files
from cutover_app.lab.ledger import read_ledger
from cutover_app.lab.scenario import Scenario, Shop

CONTRACT = Path(__file__).parents[2] / "cutover.yaml"
MANY = dict.fromkeys(KINDS, 0.01)
MISMATCHES = ("missing_field", "unexpected_field", "wrong_value", "wrong_type", "unmapped_value")


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    return compile_contract(load_contract(CONTRACT))


def by_key(records: list[Record]) -> dict[bytes | None, list[Record]]:
    grouped: dict[bytes | None, list[Record]] = defaultdict(list)
    for record in records:
        grouped[record.key].append(record)
    return grouped


@pytest.mark.parametrize("size", [200, 800, 4000])
@pytest.mark.parametrize("per_key", [1, 3])
def test_without_faults_both_sides_agree(compiled: Compiled, size: int, per_key: int) -> None:
    """If nothing is planted, the contract makes of each legacy message what the rebuilt one is."""
    played = play(Scenario(count=600, rates={}, size=size, per_key=per_key))

    assert played.ledger == []
    assert len(played.legacy) == len(played.rebuilt) == 600
    for legacy, rebuilt in zip(played.legacy, played.rebuilt, strict=True):
        (expected,), actual = compiled.rebuild(legacy), compiled.observe(rebuilt)
        assert expected.kind == actual.kind == MESSAGE
        assert (expected.key, expected.payload) == (actual.key, actual.payload)
        assert compiled.diff(expected, actual) == ()


def test_planted_differences_are_the_only_ones(compiled: Compiled) -> None:
    """A planted field fault is one finding, with the kind and path of its entry; other pairs are equal."""
    played = play(Scenario(count=6000, rates=MANY))
    planted = {entry.key[0].encode(): entry for entry in played.ledger}
    legacy, rebuilt = by_key(played.legacy), by_key(played.rebuilt)
    seen: Counter[str] = Counter()

    for key, records in rebuilt.items():
        assert key is not None
        entry = planted.get(key)
        kind = entry.kind if entry is not None else ""
        seen[kind] += 1
        if kind == "undecodable":
            assert compiled.observe(records[0]).kind != MESSAGE
        elif kind == "unknown":
            assert key not in legacy
        else:
            assert len(records) == (2 if kind == "duplicate" else 1)
            (expected,) = compiled.rebuild(legacy[key][0])
            findings = compiled.diff(expected, compiled.observe(records[0]))
            shown = [(finding.kind, generic_path(finding.path)) for finding in findings]
            assert shown == ([(kind, entry.path)] if entry and kind in MISMATCHES else [])

    assert all(seen[kind] >= 20 for kind in KINDS if kind != "missing")
    assert {key for key in legacy if key not in rebuilt} == {
        key for key, entry in planted.items() if entry.kind == "missing"
    }


def test_a_seed_gives_the_same_scenario() -> None:
    """If seed and options are equal, so is every byte; another seed gives another scenario."""
    one, two, other = (play(Scenario(count=2000, rates=MANY, seed=seed)) for seed in (5, 5, 6))

    assert one == two
    assert one.legacy != other.legacy
    assert [entry.key for entry in one.ledger] != [entry.key for entry in other.ledger]


def test_rates_are_kept() -> None:
    """If a rate per message is given, about that many faults of the kind are planted."""
    for per_key in (1, 4):
        played = play(Scenario(count=20_000, rates={"missing": 0.01, "duplicate": 0.02}, per_key=per_key))
        counts = Counter(entry.kind for entry in played.ledger)

        assert counts["missing"] == pytest.approx(200, rel=0.3)
        assert counts["duplicate"] == pytest.approx(400, rel=0.3)
        assert set(counts) == {"missing", "duplicate"}


def test_a_key_has_one_fault_at_most() -> None:
    """However many messages an order has, one of them at most is faulty."""
    played = play(Scenario(count=9000, rates=MANY, per_key=3))

    assert len({entry.key for entry in played.ledger}) == len(played.ledger)


def test_messages_of_an_order_are_apart_and_in_order() -> None:
    """If an order has several messages, others lie between them, and its partition has them in order."""
    played = play(Scenario(count=6000, rates={}, per_key=3))
    keys = [record.key for record in played.legacy]

    for records in by_key(played.legacy).values():
        assert [json.loads(record.value or b"")["rev"] for record in records] == [0, 1, 2]
        assert len({record.partition for record in records}) == 1
        assert [record.offset for record in records] == sorted(record.offset for record in records)
    assert keys.index(keys[0], 1) > 100


@pytest.mark.parametrize("size", [200, 800, 4000, 32_000])
def test_size_is_about_what_was_asked(size: int) -> None:
    """A legacy message has about the size that was asked for."""
    lengths = [len(event.legacy or b"") for event in Shop(Scenario(count=500, rates={}, size=size)).events()]

    assert sum(lengths) / len(lengths) == pytest.approx(size, rel=0.1)


def test_timestamps_follow_the_pace() -> None:
    """Timestamps advance at the pace, and the rebuilt producer is a little behind the legacy one."""
    events = list(Shop(Scenario(count=1000, rates={}, pace=500, start_ms=10_000)).events())

    assert events[0].legacy_ms == 10_000
    assert events[-1].legacy_ms == 10_000 + 999 * 2
    assert all(0 < event.rebuilt_ms - event.legacy_ms < 250 for event in events)


@pytest.mark.parametrize(
    "wrong",
    [{"rates": {"typo": 0.1}}, {"rates": {"missing": 0.6, "unknown": 0.6}}, {"count": 0}, {"pace": 0}],
    ids=str,
)
def test_impossible_options_are_refused(wrong: dict[str, object]) -> None:
    """If a scenario cannot be played, that is said before it begins."""
    with pytest.raises(LabError):
        Scenario(**wrong)  # type: ignore[arg-type]


def test_files_hold_the_scenario(tmp_path: Path) -> None:
    """Written as envelopes, every record and entry of a scenario can be read back."""
    played = play(Scenario(count=3000, rates=MANY, text_only=True))

    legacy, rebuilt, ledger = write_files(played, tmp_path)

    lines = [json.loads(line) for line in rebuilt.read_text().splitlines()]
    assert [(line["partition"], line["offset"], line["payload"]) for line in lines] == [
        (record.partition, record.offset, None if record.value is None else record.value.decode())
        for record in played.rebuilt
    ]
    assert len(legacy.read_text().splitlines()) == len(played.legacy)
    assert list(read_ledger(ledger)) == played.ledger


def test_files_may_hold_bare_values(tmp_path: Path) -> None:
    """Written as bare values, each line is a message."""
    played = play(Scenario(count=100, rates={}, text_only=True))

    legacy, _, _ = write_files(played, tmp_path, line=bare)

    assert legacy.read_bytes().splitlines() == [record.value for record in played.legacy]
