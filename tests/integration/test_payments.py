"""A contract of another domain: nested lists, a Python hook that makes several messages, and a key of two fields.

A payment of the legacy system has legs, and each leg has fees. The rebuilt producer publishes one message per leg,
keyed by payment and account; an account may occur in several legs of one payment, so a key has several messages.
"""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from cutover_app.core.verdicts import FINE, Verdict
from cutover_app.lab.cluster import Cluster
from tests.integration.helpers import SHORT, Judged, Sent, judge, write

HOOK = '''
"""One legacy payment becomes one message per leg."""


def rebuild(payment):
    if payment.get("test"):
        return None
    if payment.get("broken"):
        raise RuntimeError("secret of " + payment["holder"])
    if payment.get("nonsense"):
        return "a payment"
    return [
        {
            "payment": {"id": payment["pid"], "holder": payment["holder"]},
            "account": leg["acct"],
            "amount": leg["amt"],
            "fees": [{"code": fee["c"], "parts": [{"value": part} for part in fee["p"]]} for fee in leg["fees"]],
        }
        for leg in payment["legs"]
    ]
'''
CONTRACT: Mapping[str, Any] = {
    "contract": "payments",
    "run": "pay",
    "broker": "kafka://localhost:9092",
    "legacy": {"topic": "pay.legacy"},
    "rebuilt": {"topic": "pay.rebuilt"},
    "match": {"key": ["payment.id", "account"]},
    "timing": SHORT,
    "rebuild": {"python": "payments_hook:rebuild"},
    "compare": {
        "ignore": [{"path": "$.trace", "reason": "new field"}],
        "tolerance": [{"path": "$.amount", "abs": 0.01}],
        "unordered": [{"path": "$.fees", "by": "code"}],
    },
    "sensitive": ["$.payment.holder"],
    "intake": {"partitions": 5},
    "verdicts": {"topic": "pay.verdicts"},
}
PAYMENTS = 400
Message = dict[str, Any]


def _payment(number: int) -> Message:
    legs = [
        {
            "acct": f"A{leg % 2}",
            "amt": 100 * number + leg + 0.25,
            "fees": [{"c": code, "p": [number, leg, 0.5]} for code in ("x", "y")],
        }
        for leg in range(1 + number % 4)
    ]
    return {"pid": number, "holder": f"Holder {number}", "legs": legs}


def _messages(payment: Message) -> list[Message]:
    """What the rebuilt producer publishes when it has no defect; fees come in another order."""
    return [
        {
            "trace": f"t{payment['pid']}",
            "account": leg["acct"],
            "payment": {"holder": payment["holder"], "id": payment["pid"]},
            "amount": leg["amt"],
            "fees": [{"parts": [{"value": p} for p in fee["p"]], "code": fee["c"]} for fee in reversed(leg["fees"])],
        }
        for leg in payment["legs"]
    ]


def _publish() -> tuple[list[Message], list[Message]]:
    """Return what both producers publish, defects included."""
    legacy, rebuilt = [], []
    for number in range(PAYMENTS):
        payment = _payment(number)
        messages = _messages(payment)
        match number:
            case 11:
                messages[0]["fees"][1]["parts"][2]["value"] = 0.51
            case 23:
                del messages[2]
            case 35:
                messages.append(messages[3])
            case 42:
                messages[1]["amount"] += 0.009
            case 43:
                messages[1]["amount"] += 0.02
            case 50:
                messages[0]["payment"]["holder"] = "Someone else"
            case 61:
                payment["broken"], messages = True, []
            case 62:
                payment["nonsense"], messages = True, []
            case 63:
                payment["test"], messages = True, []
        legacy.append(payment)
        rebuilt += messages
    rebuilt.append({**_messages(_payment(1))[0], "account": "B9"})
    return legacy, rebuilt


@pytest.fixture(scope="module")
def judged(kafka: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """All payments, judged in one run."""
    folder = tmp_path_factory.mktemp("payments")
    (folder / "payments_hook.py").write_text(HOOK)
    contract = write(folder, CONTRACT)
    legacy, rebuilt = _publish()
    return judge(
        kafka,
        contract,
        [Sent(json.dumps(each).encode(), partition=each["pid"] % 3) for each in legacy],
        [Sent(json.dumps(each).encode(), partition=each["payment"]["id"] % 2) for each in rebuilt],
        (3, 2),
    )


def _problems(judged: Judged) -> dict[tuple[Any, ...], Verdict]:
    return {
        (each.outcome, *each.key, *((one.kind, one.path) for one in each.findings)): each
        for each in judged.findings.verdicts.values()
        if each.outcome not in FINE
    }


def test_every_defect_is_found_and_nothing_else(judged: Judged) -> None:
    """Each planted defect has its verdict, on the right key and at the right path, and there is no other."""
    problems = _problems(judged)

    assert {
        ("mismatch", 11, "A0", ("wrong_value", '$.fees[code="x"].parts[2].value')),
        ("missing", 23, "A0", ("missing", "")),
        ("duplicate", 35, "A1", ("duplicate", "")),
        ("mismatch", 43, "A1", ("wrong_value", "$.amount")),
        ("mismatch", 50, "A0", ("wrong_value", "$.payment.holder")),
        ("unknown", 1, "B9", ("unknown", "")),
        ("undecodable", ("rebuild_failed", "")),
    } == set(problems)


def test_a_hook_that_fails_is_a_verdict_without_what_it_said(judged: Judged) -> None:
    """A hook that raises or returns nonsense leads to one verdict each, whose reason shows no value."""
    failed = [each for each in judged.findings.verdicts.values() if each.outcome == "undecodable"]

    assert len(failed) == 2
    reasons = sorted(each.findings[0].note for each in failed)
    assert "RuntimeError" in reasons[0] or "RuntimeError" in reasons[1]
    assert not any("secret" in reason or "a payment" in reason for reason in reasons)


def test_the_run_equals_the_oracle_and_its_books_balance(judged: Judged) -> None:
    """Several messages per record and per key are all accounted for; what the hook filters is no message."""
    assert judged.findings.wrong == []
    legs = sum(len(_payment(number)["legs"]) for number in range(PAYMENTS) if number not in {61, 62, 63})
    assert judged.findings.entries[0] == legs + 2


def test_verdicts_are_counted_once(judged: Judged) -> None:
    """Every problem is one verdict id."""
    assert Counter(judged.findings.outcomes)["mismatch"] == 3
