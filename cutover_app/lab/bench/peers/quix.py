"""Quix Streams: both topics as one data frame, and a function with keyed state.

    python -m cutover_app.lab.bench.peers.quix         in an environment of its own (it brings other versions of much)

State is reached by the key of a message alone, and there are no timers: who waits is queued per partition in memory,
and given up by the time of the records read.
"""

from collections import deque
from typing import Any, Final

from quixstreams import Application, State, message_context  # type: ignore[import-not-found]

from cutover_app.lab.bench.peers.job import LEGACY, REBUILT, WAIT_S, lonely, observe, rebuild, setting, verdict

app: Final = Application(
    broker_address=setting("BROKER"),
    consumer_group=setting("ID"),
    auto_offset_reset="earliest",
    state_dir=setting("DATADIR"),
)
waiting: dict[int, deque[tuple[int, str, str]]] = {}
open_keys: dict[int, dict[str, str]] = {}


def join(one: dict[str, Any], _key: Any, now: int, _headers: Any, state: State) -> list[bytes]:
    """Pair a message with the one that waits for it; return verdicts. `now` is the time of the record read."""
    partition = message_context().partition
    side, key, message = one["side"], one["key"], one["message"]
    said = []
    other = state.get("waiting")
    still = open_keys.setdefault(partition, {})
    if other is not None and other["side"] != side:
        state.delete("waiting")
        still.pop(key, None)
        if other["message"] != message:
            said.append(verdict("mismatch", key))
    else:
        state.set("waiting", one)
        still[key] = side
        waiting.setdefault(partition, deque()).append((now, key, side))
    queue = waiting.get(partition, deque())
    while queue and queue[0][0] < now - WAIT_S * 1000:
        _, late, of = queue.popleft()
        if still.get(late) == of:
            del still[late]
            said.append(verdict(lonely(of), late))
    return said


def _expected(message: dict[str, Any]) -> dict[str, Any]:
    made = rebuild(message)
    return {"side": LEGACY, "key": made["order_id"], "message": made}


def _actual(message: dict[str, Any]) -> dict[str, Any]:
    return {"side": REBUILT, "key": message["order_id"], "message": observe(message)}


legacy = app.dataframe(app.topic(setting("LEGACY"), value_deserializer="json")).apply(_expected)
rebuilt = app.dataframe(app.topic(setting("REBUILT"), value_deserializer="json")).apply(_actual)
verdicts = app.topic(setting("VERDICTS"), value_serializer="bytes")
legacy.concat(rebuilt).apply(join, stateful=True, expand=True, metadata=True).to_topic(verdicts)

if __name__ == "__main__":
    app.run()
