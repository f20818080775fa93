"""A scenario follows from its seed, and is what the demo's contract says, its planted faults apart."""

import json
import re
from base64 import b64encode
from collections import Counter, defaultdict
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from cutover_app.contract.compile import Compiled, compile_contract
from cutover_app.contract.load import load_contract, parse_contract
from cutover_app.contract.models import Contract
from cutover_app.core.frames import LEGACY, MESSAGE, REBUILT, Source
from cutover_app.core.verdicts import generic_path
from cutover_app.lab.faults import ALL_KINDS, KINDS
from cutover_app.lab.files import Played, Record, play
from cutover_app.lab.ledger import Entry, judge_ledger
from cutover_app.lab.oracle import Expectation, oracle
from cutover_app.lab.run import DEMO_CONTRACT, PLAIN_CONTRACT
from cutover_app.lab.scenario import FIRST_ORDER, Scenario, Shop
from cutover_app.lab.sealing import FORMS, LEAKS, LEAKY_HEADER, Form
from cutover_app.lab.verify import oracle_terms

MANY = dict.fromkeys(KINDS, 0.01)
FULL = Scenario(count=8000, rates=dict.fromkeys(ALL_KINDS, 0.01), per_key=2, sealed="vault", headers=True)
ENVELOPES: dict[Form, str] = {
    "vault": r"vault:v1:[A-Za-z0-9+/]{55}=",
    "gcm": r"[A-Za-z0-9+/]{55}=",
    "fernet": r"gAAAAAB[A-Za-z0-9_-]{91}==",
    "openssl": r"U2FsdGVkX1[A-Za-z0-9+/]{33}=",
}
MISMATCHES = ("missing_field", "unexpected_field", "wrong_value", "wrong_type", "unmapped_value")


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    return compile_contract(load_contract(PLAIN_CONTRACT))


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


@pytest.fixture(scope="module")
def full() -> tuple[Contract, Compiled]:
    """The demo's: a producer that encrypts the phone, and publishes several messages of an order in order."""
    text = DEMO_CONTRACT.read_text(encoding="utf-8")
    contract = parse_contract(text, environ={})
    return contract, compile_contract(contract)


@pytest.mark.parametrize("form", FORMS)
def test_an_encrypted_phone_is_the_only_difference(full: tuple[Contract, Compiled], form: Form) -> None:
    """If the phone is encrypted, it is in an envelope that no two messages share, and the rest is as ever."""
    _, compiled = full
    played = play(Scenario(count=600, rates={}, per_key=2, sealed=form, headers=True))
    envelopes = [json.loads(record.value or b"")["customer"]["phone"] for record in played.rebuilt]

    for legacy, rebuilt in zip(played.legacy, played.rebuilt, strict=True):
        (expected,) = compiled.rebuild(legacy)
        assert compiled.diff(expected, compiled.observe(rebuilt)) == ()
        assert json.loads(legacy.value or b"")["telNo"] not in repr(rebuilt)
        assert legacy.headers
        assert rebuilt.headers
    assert len(set(envelopes)) == 600
    assert re.fullmatch(ENVELOPES[form], envelopes[0])


def phone_of(entry: Entry, played: Played) -> bytes:
    return next(
        json.loads(record.value or b"")["telNo"].encode()
        for record in played.legacy
        if record.key == entry.key[0].encode()
    )


def encodings(phone: bytes) -> list[bytes]:
    """What a leak may look like: as it is, reversed, Base64, hexadecimal, or with its middle masked."""
    masked = phone[:4] + b"****" + phone[8:]
    return [phone, phone[::-1], b64encode(phone), phone.hex().encode(), masked]


def test_a_leak_is_where_its_entry_says() -> None:
    """An unsealed message shows the phone at the place of its entry and nowhere else; every way to leak occurs."""
    played = play(FULL)
    leaks = [entry for entry in played.ledger if entry.kind == "unsealed"]
    ways = Counter(entry.note for entry in leaks)

    for entry in leaks:
        (record,) = (each for each in played.rebuilt if each[1:3] == (entry.partition, entry.offset))
        message = json.loads(record.value or b"")
        shown = {
            "$key": record.key,
            f"$headers.{LEAKY_HEADER}": b" ".join(value or b"" for _, value in record.headers),
            "$.customer.phone": message["customer"]["phone"].encode(),
            "$.trace_id": message["trace_id"].encode(),
            "$.debug": str(message.get("debug")).encode(),
        }
        forms = encodings(phone_of(entry, played))
        assert {place for place, text in shown.items() if any(form in (text or b"") for form in forms)} == {entry.path}
        also = {("unexpected_field", "$.debug")} if entry.path == "$.debug" else set()
        assert set(entry.verdicts[0].findings) == {("unsealed", entry.path)} | also
    assert set(ways) == {leak.name for leak in LEAKS}


def test_what_is_planted_is_what_the_oracle_says(full: tuple[Contract, Compiled]) -> None:
    """Judged by the oracle, a scenario has the problems of its ledger and no other, late and out of order included."""
    contract, compiled = full
    played = play(FULL)
    legacy = [
        (Source(LEGACY, record.topic, "", record.partition), entry)
        for record in played.legacy
        for entry in compiled.rebuild(record)
    ]
    rebuilt = [
        (Source(REBUILT, record.topic, "", record.partition), compiled.observe(record)) for record in played.rebuilt
    ]

    said = oracle(legacy, rebuilt, (), oracle_terms(contract, compiled)).values()

    judged = judge_ledger(played.ledger, map(partial(as_verdict, compiled), said))
    assert judged.perfect, (judged.not_found[:3], judged.false[:3])
    assert all(row.planted > 20 for row in judged.rows)
    assert {row.kind for row in judged.rows} == set(FULL.rates)


def as_verdict(compiled: Compiled, truth: Expectation) -> dict[str, Any]:
    """What an expectation looks like to whoever reads the verdicts topic."""
    verdict: dict[str, Any] = {
        "outcome": truth.outcome,
        "key": compiled.shown_key(truth.key),
        "findings": [{"kind": finding.kind, "path": finding.path} for finding in truth.findings],
    }
    for side, origin in (("legacy", truth.legacy), ("rebuilt", truth.rebuilt)):
        if origin is not None:
            verdict[side] = {"partition": origin.source.partition, "offset": origin.offset}
    return verdict


def test_a_number_is_a_place_in_the_order_of_publication() -> None:
    """The number of a message, worked out from its order and revision, is its place among all of them."""
    shop = Shop(Scenario(count=3600, rates={}, per_key=3, pace=1000, start_ms=0))
    facts = [(int(event.key) - FIRST_ORDER, json.loads(event.legacy or b"")["rev"]) for event in shop.events()]

    assert [shop.number(*each) for each in facts] == list(range(3600))


def test_late_messages_are_late(full: tuple[Contract, Compiled]) -> None:
    """A late message stands behind others that were published meanwhile, and its timestamp says by how much."""
    played = play(replace(FULL, rates={"late": 0.01}))
    late = {entry.key[0].encode() for entry in played.ledger}
    legacy = {(record.key, json.loads(record.value or b"")["rev"]): record for record in played.legacy}
    overtakers = 0

    for place, record in enumerate(played.rebuilt):
        original = legacy[record.key, json.loads(record.value or b"")["revision"]]
        delay = record.timestamp - original.timestamp
        if record.key in late and json.loads(record.value or b"")["revision"] == 1:
            assert FULL.late_ms < delay < FULL.late_ms + 250
            overtakers += played.rebuilt[max(0, place - 1)].timestamp >= record.timestamp - 250
        else:
            assert 0 < delay < 250
    assert len(late) > 20
    assert overtakers > len(late) / 2
