"""The task of all peers: messages in, expected messages and verdicts out. It needs Python and nothing else.

Shapes: `cutover_app/lab/scenario.py`. The same as `cutover_app/lab/contracts/orders.yaml` says, written by hand.
"""

import json
import os
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, Final

Message = dict[str, Any]

WAIT_S: Final = 10.0
"""After this long what has no partner is said to have none."""
LEGACY: Final = "legacy"
REBUILT: Final = "rebuilt"

_SEOUL: Final = timezone(timedelta(hours=9))
_STATUSES: Final = {"P": "PAID", "R": "READY", "S": "SHIPPED", "D": "DELIVERED", "C": "CANCELLED"}


def setting(name: str) -> str:
    """Return what a peer is told by its environment: PEER_BROKER, PEER_LEGACY, PEER_REBUILT, PEER_VERDICTS, PEER_ID."""
    return os.environ[f"PEER_{name}"]


@lru_cache(maxsize=1024)
def _created(text: str) -> str:
    return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=_SEOUL).isoformat()


def rebuild(legacy: Message) -> Message:
    """Make the message that the rebuilt producer should have published."""
    message = {
        "schema_version": 2,
        "order_id": str(legacy["ordId"]),
        "revision": legacy["rev"],
        "status": _STATUSES.get(legacy["st"]),
        "created_at": _created(legacy["regDt"]),
        "customer": {"name": legacy["custNm"], "phone": legacy["telNo"]},
        "lines": [
            {"sku": item["sku"], "quantity": item["qty"], "unit_price": item["price"]} for item in legacy["items"]
        ],
        "total": float(legacy["total"]),
        "note": legacy["memo"],
    }
    if "addr" in legacy:
        message["shipping"], message["channel"] = legacy["addr"], legacy["chnl"]
    return message


def observe(message: Message) -> Message:
    """Leave out what is not compared."""
    return {name: value for name, value in message.items() if name != "trace_id"}


def lonely(side: str) -> str:
    """Return what is said of a message of this side that has no partner."""
    return "missing" if side == LEGACY else "unknown"


def verdict(outcome: str, key: str) -> bytes:
    """Return a verdict about an order."""
    return json.dumps({"outcome": outcome, "key": [key]}).encode()
