"""Payments of a legacy system, and the messages that a rebuilt producer makes of them with a Python hook.

A payment has legs, and each leg has fees. The rebuilt producer publishes one message per leg, keyed by payment and
account; an account may occur in several legs of one payment, so a key has several messages.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cutover_app.lab.mirror import Mirror
from tests.integration.helpers import SHORT, Judged, Sent, named, write

_HOOK = '''
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
_CONTRACT: Mapping[str, Any] = {
    "contract": "payments",
    "broker": "kafka://localhost:9092",
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
}
PARTITIONS = (3, 2)
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


def contract(folder: Path, run: str, mirror: Mirror | None = None) -> Path:
    """Write the contract of a run, with its hook beside it."""
    (folder / "payments_hook.py").write_text(_HOOK)
    return write(folder, named(_CONTRACT, run), mirror)


def records() -> tuple[list[Sent], list[Sent]]:
    """Return what both producers publish, all of it at one moment; the legacy records have a header."""
    now, header = int(time.time() * 1000), ("trace", b"\xff\x00 not text")
    legacy, rebuilt = _publish()
    return (
        [_record(each, each["pid"] % PARTITIONS[0], now, header) for each in legacy],
        [_record(each, each["payment"]["id"] % PARTITIONS[1], now) for each in rebuilt],
    )


def _record(message: Message, partition: int, now: int, *headers: tuple[str, bytes]) -> Sent:
    return Sent(json.dumps(message).encode(), partition=partition, timestamp=now, headers=headers)


def assert_every_defect_found(judged: Judged) -> None:
    """Each planted defect has its verdict, on the right key and at the right path, and there is no other."""
    said = sorted(
        (each.outcome, *each.key, *((one.kind, one.path) for one in each.findings)) for each in judged.problems
    )

    assert said == sorted(
        [
            ("mismatch", 11, "A0", ("wrong_value", '$.fees[code="x"].parts[2].value')),
            ("missing", 23, "A0", ("missing", "")),
            ("duplicate", 35, "A1", ("duplicate", "")),
            ("mismatch", 43, "A1", ("wrong_value", "$.amount")),
            ("mismatch", 50, "A0", ("wrong_value", "$.payment.holder")),
            ("unknown", 1, "B9", ("unknown", "")),
            ("undecodable", ("rebuild_failed", "")),
            ("undecodable", ("rebuild_failed", "")),
        ]
    )


def assert_failures_show_nothing(judged: Judged) -> None:
    """A hook that raises or returns nonsense leads to one verdict each, whose reason shows no value."""
    failed = [each for each in judged.problems if each.outcome == "undecodable"]

    assert len(failed) == 2
    reasons = [each.findings[0].note for each in failed]
    assert any("RuntimeError" in reason for reason in reasons)
    assert not any("secret" in reason or "a payment" in reason for reason in reasons)


def entries() -> int:
    """Return how many messages the rebuild has to make: none of what it filters, one for each that fails."""
    return sum(len(_payment(number)["legs"]) for number in range(PAYMENTS) if number not in {61, 62, 63}) + 2
