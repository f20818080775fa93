"""Several sealed messages of one key: who belongs to whom, and at which record a leak is said."""

import random
from typing import Any

import pytest

from cutover_app.core import payloads
from cutover_app.core.frames import LEGACY, REBUILT, Entry
from cutover_app.core.state import KeyRow, decode_row
from cutover_app.core.verdicts import FINE, Verdict
from cutover_app.lab.oracle import Terms, differences, oracle
from tests.contract.helpers import compiled, record
from tests.core.ciphertexts import ciphertext
from tests.core.history import Log, source, terms

MADE = compiled(
    "rebuild: {id: no, phone: {from: tel, sealed: any}, a: a}\ncompare: {ignore: [{path: $.t, reason: new}]}\n"
)
TOLERANT = compiled(
    """rebuild: {id: no, phone: {from: tel, sealed: any}, a: a}
compare: {ignore: [{path: $.t, reason: new}], tolerance: [{path: $.a, abs: 1}]}
"""
)
TELS = ("010-8765-4321", "010-2468-1357")


def log(made: Any = MADE, **changed: Any) -> Log:
    return Log(terms(diff=made.diff, tolerant=made.tolerant, **changed))


def legacy(offset: int, tel: str = TELS[0], a: int = 1, made: Any = MADE) -> Entry:
    (entry,) = made.rebuild(record({"no": 1, "tel": tel, "a": a, "at": offset}, offset=offset))
    return entry


def rebuilt(offset: int, leak: str = "", a: int = 1, made: Any = MADE) -> Entry:
    message = {"id": 1, "phone": ciphertext(random.Random(offset)), "a": a, "t": leak or "x"}
    entry: Entry = made.observe(record(message, offset=offset))
    return entry


def said(history: Log) -> dict[tuple[int, int], list[str]]:
    """Return the kinds of findings of what is wrong, by legacy and rebuilt offset; -1 for none."""

    def offset(position: Any) -> int:
        return position.offset if position else -1

    history.settle()
    wrong = [each for each in history.verdicts.values() if each.outcome not in FINE]
    return {(offset(each.legacy), offset(each.rebuilt)): [one.kind for one in each.findings] for each in wrong}


def test_a_pair_that_is_sealed_is_a_match_at_once() -> None:
    """Nothing is said, and no payload is kept of it."""
    history = log()
    history.legacy(legacy(0))
    history.rebuilt(rebuilt(0))
    history.checkpoint()
    history.pass_time(10)
    assert said(history) == {}
    assert list(history.store.scan("pending", b"", 10)) == []


def test_a_leak_is_found_at_once() -> None:
    """The partner is known by the digest, so nothing has to be waited for."""
    history = log()
    history.legacy(legacy(0))
    history.rebuilt(rebuilt(0, leak=TELS[0]))
    assert said(history) == {(0, 0): ["unsealed"]}


def test_the_record_that_leaks_has_the_finding() -> None:
    """Of two messages of one key with one digest, the plaintext tells whose the leaking record is."""
    history = log()
    history.legacy(legacy(0, TELS[0]), legacy(1, TELS[1]))
    history.rebuilt(rebuilt(0), rebuilt(1, leak=TELS[0]))
    history.pass_time(10)
    # Record 1 leaks the number of message 0, so it can only be wrong as its partner: as that of message 1 it is fine.
    assert said(history) == {}
    both = log()
    both.legacy(legacy(0, TELS[0]), legacy(1, TELS[0]))
    both.rebuilt(rebuilt(0), rebuilt(1, leak=TELS[0]))
    both.pass_time(10)
    assert said(both) == {(1, 1): ["unsealed"]}


def test_a_copy_is_a_duplicate_although_it_is_encrypted_anew() -> None:
    """The same message published again has another ciphertext; it is a duplicate, not an unknown."""
    history = log()
    history.legacy(legacy(0))
    history.rebuilt(rebuilt(0), rebuilt(1))
    history.checkpoint()
    history.pass_time(10)
    assert said(history) == {(-1, 1): ["duplicate"]}


def test_a_copy_that_comes_late_finds_a_pair_without_payload() -> None:
    """A third record of the key has the pair compared again, when its payloads are long gone."""
    history = log()
    history.legacy(legacy(3))
    history.rebuilt(rebuilt(3))
    history.checkpoint()
    history.pass_time(8)
    history.checkpoint()
    history.legacy(legacy(0), partition=1)
    history.rebuilt(rebuilt(0), rebuilt(1, a=2), partition=1)
    history.pass_time(10)
    history.checkpoint()
    assert said(history) == {(-1, 1): ["unknown"]}


@pytest.mark.parametrize("made", [MADE, TOLERANT], ids=["sealed", "with a tolerance"])
def test_pairs_that_agree_keep_no_payload(made: Any) -> None:
    """What is sealed differs in every pair, and is compared without one; what differs under a tolerance keeps one."""
    history = log(made)
    history.legacy(legacy(0, made=made))
    history.rebuilt(rebuilt(0, made=made))
    history.checkpoint()
    assert history.judge.books.payloads == 0
    history.legacy(legacy(1, made=made))
    history.rebuilt(rebuilt(1, a=2, made=made))
    history.checkpoint()
    assert history.judge.books.payloads == (1 if made is TOLERANT else 2)


def test_many_pairs_of_a_key_are_looked_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many records have no payload of their own, one decision asks once who has a copy."""
    asked = []
    monkeypatch.setattr(payloads, "_copies", lambda row: asked.append(row) or {})
    history = log()
    for offset in range(30):
        history.legacy(legacy(offset))
        history.rebuilt(rebuilt(offset))
    asked.clear()
    history.legacy(legacy(30))
    history.rebuilt(rebuilt(30))
    history.settle()
    assert len(asked) <= 2


def test_a_settled_row_shows_nothing_when_it_is_printed() -> None:
    """Rows hold plaintext in `beside`; their text, which an error may quote, does not."""
    history = log()
    history.legacy(legacy(0))
    history.rebuilt(rebuilt(0, leak=TELS[0]))
    history.checkpoint()
    rows = [decode_row(KeyRow, data) for _, data in history.store.scan("settled", b"\x20", 100)]
    assert any(TELS[0].encode() in each.beside for row in rows for each in row.expected)
    assert TELS[0] not in repr(rows)


@pytest.mark.parametrize("made", [MADE, TOLERANT], ids=["sealed", "with a tolerance"])
@pytest.mark.parametrize("seed", range(150))
def test_judge_and_oracle_agree(seed: int, made: Any) -> None:
    """Random histories of one key, with leaks, copies, missing and unequal messages, in any order and any chunks."""
    rng = random.Random(seed)
    expected = [
        (source(LEGACY, rng.randrange(2)), legacy(n, rng.choice(TELS), rng.randrange(1, 4), made))
        for n in range(rng.randrange(5))
    ]
    leaks = ("", "", *TELS)
    actual = [
        (source(REBUILT, rng.randrange(2)), rebuilt(n, rng.choice(leaks), rng.randrange(1, 4), made))
        for n in range(rng.randrange(5))
    ]
    history = log(made, unique=rng.random() < 0.3)
    waiting = {LEGACY: list(expected), REBUILT: list(actual)}
    while any(waiting.values()):
        side = rng.choice([side for side, left in waiting.items() if left])
        where, entry = waiting[side].pop(0)
        (history.legacy if side == LEGACY else history.rebuilt)(entry, partition=where.partition)
        if rng.random() < 0.3:
            history.checkpoint()
        if rng.random() < 0.2:
            history.crash()
    history.pass_time(15)
    history.checkpoint()
    truth = oracle(expected, actual, (), Terms("orders", unique=False, edge_ms=0, diff=made.diff))
    wrong: dict[str, Verdict] = history.verdicts
    assert differences(wrong, truth, shown_key=made.shown_key) == []
    assert history.judge.balance() == []
