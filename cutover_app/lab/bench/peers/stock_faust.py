"""Stock Faust: an agent per topic, one table that holds who waits for a partner, a timer that gives up.

    python -m cutover_app.lab.bench.peers.stock_faust worker

A timer cannot write a table, so who was given up stays in it, and is remembered in memory.
"""

import time
from typing import Any, Final

import faust

from cutover_app.lab.bench.peers.job import LEGACY, REBUILT, WAIT_S, Message, lonely, observe, rebuild, setting, verdict

PARTITIONS: Final = int(setting("PARTITIONS"))

app = faust.App(
    setting("ID"),
    broker=f"kafka://{setting('BROKER')}",
    store="rocksdb://",
    datadir=setting("DATADIR"),
    topic_partitions=PARTITIONS,
    consumer_auto_offset_reset="earliest",
    web_enabled=False,
)
legacy_topic = app.topic(setting("LEGACY"), value_serializer="json", key_type=str, key_serializer="raw")
rebuilt_topic = app.topic(setting("REBUILT"), value_serializer="json", key_type=str, key_serializer="raw")
verdicts = app.topic(setting("VERDICTS"), value_serializer="raw", value_type=bytes)
waiting = app.Table("waiting", partitions=PARTITIONS)
given_up: set[str] = set()


async def join(side: str, key: str, message: Message) -> None:
    """Pair a message with the one that waits for it, or have it wait."""
    other: dict[str, Any] | None = waiting.get(key)
    if other is None or other["side"] == side:
        waiting[key] = {"side": side, "message": message, "since": time.time()}
        return
    del waiting[key]
    if other["message"] != message:
        await verdicts.send(value=verdict("mismatch", key))


@app.agent(legacy_topic)
async def on_legacy(stream: Any) -> None:
    """Rebuild and join."""
    async for message in stream:
        expected = rebuild(message)
        await join(LEGACY, expected["order_id"], expected)


@app.agent(rebuilt_topic)
async def on_rebuilt(stream: Any) -> None:
    """Join."""
    async for message in stream:
        await join(REBUILT, message["order_id"], observe(message))


@app.timer(1.0)  # type: ignore[untyped-decorator]
async def give_up() -> None:
    """Say of whoever has waited too long that there is no partner."""
    limit = time.time() - WAIT_S
    for key, one in list(waiting.items()):
        if one["since"] < limit and key not in given_up:
            given_up.add(key)
            await verdicts.send(value=verdict(lonely(one["side"]), key))


if __name__ == "__main__":
    app.main()
