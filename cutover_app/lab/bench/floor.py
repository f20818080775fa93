"""The floor under every figure of the bench: the same work by a short plain program, with nothing made durable.

    python -m cutover_app.lab.bench.floor --broker HOST:PORT --legacy TOPIC --rebuilt TOPIC

Two consumers, JSON decoded once per message, the rebuilt form made by a function written for this one contract, a dict
that joins the two sides by key, and `==`. It has no rules, no state that survives, no verdicts, no idea when something
is missing; it shows what consuming and comparing cost in Python, and so what all the rest costs on top.
"""

import argparse
import asyncio
import gc
import json
import sys
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer

from cutover_app.kafka.cluster import LATEST, Cluster
from cutover_app.kafka.settings import Broker
from cutover_app.lab.bench.figures import Meter
from cutover_app.lab.bench.peers.job import Message, rebuild

RECORDS_MAX: Final = 5_000
FETCH_BYTES: Final = 4 * 1024 * 1024
_decode: Final = msgspec.json.Decoder().decode


class Join:
    """Pairs messages by order and revision, and counts."""

    def __init__(self) -> None:
        self.equal = 0
        self.unequal = 0
        self.unreadable = 0
        self._waiting: tuple[dict[Any, Message], dict[Any, Message]] = ({}, {})

    def take(self, side: int, records: list[Any]) -> None:
        """Take in a run of records of one side."""
        mine, theirs = self._waiting[side], self._waiting[1 - side]
        for record in records:
            try:
                message = _decode(record.value)
                message = message if side else rebuild(message)
                message.pop("trace_id", None)
                key = message["order_id"], message["revision"]
            except (msgspec.DecodeError, ValueError, TypeError, KeyError, AttributeError):
                self.unreadable += 1
                continue
            partner = theirs.pop(key, None)
            if partner is None:
                mine[key] = message
            elif partner == message:
                self.equal += 1
            else:
                self.unequal += 1

    @property
    def alone(self) -> int:
        """Messages without a partner."""
        return len(self._waiting[0]) + len(self._waiting[1])


async def _consume(bootstrap: str, topics: tuple[str, str]) -> dict[str, Any]:
    async with Cluster(Broker.parse(bootstrap)) as cluster:
        found = await cluster.topics(topics)
        goal = sum([sum((await cluster.offsets(topic, LATEST)).values()) for topic in found.values()])
    gc.disable()  # nothing here has cycles, and a floor pays for nothing that it does not need
    join, seen, meter = Join(), 0, Meter(goal)
    consumer = AIOKafkaConsumer(
        *topics, bootstrap_servers=bootstrap, auto_offset_reset="earliest", max_partition_fetch_bytes=FETCH_BYTES
    )
    async with consumer:
        while seen < goal:
            for place, records in (await consumer.getmany(timeout_ms=1000, max_records=RECORDS_MAX)).items():
                join.take(topics.index(place.topic), records)
                meter.add(len(records))
                seen += len(records)
    counts = {"equal": join.equal, "unequal": join.unequal, "alone": join.alone, "unreadable": join.unreadable}
    return meter.figures(counts)


def main() -> int:
    """Consume both topics once and print the figures as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", required=True, help="HOST:PORT")
    parser.add_argument("--legacy", required=True, help="topic")
    parser.add_argument("--rebuilt", required=True, help="topic")
    options = parser.parse_args()
    print(json.dumps(asyncio.run(_consume(options.broker, (options.legacy, options.rebuilt)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
