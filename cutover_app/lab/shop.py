"""The shop's two producers on a real broker.

    python -m cutover_app.lab.shop --broker HOST:PORT --ledger FILE [options]

Timestamps come from the scenario (when something happened in the shop), not from the moment of
sending, so a side that is loaded hours after the other is not late by its own account. Both
producers are idempotent: a broker that is killed in between makes nobody publish twice, except for
the planted duplicates. (That holds for timestamps of the last weeks: a broker that restarts
forgets producers by the timestamps of their records, see `producer.id.expiration.ms`.)
"""

import argparse
import asyncio
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

from aiokafka.errors import KafkaConnectionError, KafkaError

from cutover_app.lab.errors import LabError
from cutover_app.lab.faults import ALL_KINDS, DEFAULT_RATES
from cutover_app.lab.lane import CODECS, Item, Lane, Side
from cutover_app.lab.ledger import Entry, encode_entry
from cutover_app.lab.partitioners import PARTITIONERS
from cutover_app.lab.scenario import Event, Scenario, Shop
from cutover_app.lab.sealing import FORMS
from cutover_app.lab.topics import create_topics

MODULE: Final = "cutover_app.lab.shop"
TICK_S: Final = 0.02
EVENTS_PER_TURN: Final = 256
"""Messages made at full speed before deliveries and delayed records have their turn."""

Loading: TypeAlias = Literal["both", "legacy-first", "rebuilt-first", "legacy-only", "rebuilt-only"]

_PASSES: Final[dict[Loading, tuple[str, ...]]] = {
    # the sides that take part in each pass over the scenario
    "both": ("legacy rebuilt",),
    "legacy-first": ("legacy", "rebuilt"),
    "rebuilt-first": ("rebuilt", "legacy"),
    "legacy-only": ("legacy",),
    "rebuilt-only": ("rebuilt",),
}


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """How a scenario reaches the broker.

    Attributes:
        bootstrap: The broker's address.
        legacy_bootstrap: That of the legacy producer, where it is another one.
        legacy: How the legacy producer publishes.
        rebuilt: How the rebuilt producer publishes.
        loading: Both sides together, or one completely before the other.
        rate: Legacy messages per second; None is full speed.
        gate: The second of two sides begins when this file is there; None lets it begin at once.
    """

    bootstrap: str
    legacy: Side = field(default_factory=lambda: Side(topic="shop.orders"))
    rebuilt: Side = field(default_factory=lambda: Side(topic="orders.v2", partitioner="crc32"))
    loading: Loading = "both"
    rate: float | None = None
    legacy_bootstrap: str | None = None
    gate: Path | None = None


class Published(NamedTuple):
    """What was done."""

    legacy: int
    rebuilt: int
    planted: dict[str, int]
    seconds: float


async def publish(scenario: Scenario, delivery: Delivery, note: Callable[[Entry], None]) -> Published:
    """Play a scenario on a broker; `note` receives the ledger's entries with the rebuilt side."""
    planted: Counter[str] = Counter()

    def noted(entry: Entry) -> None:
        planted[entry.kind] += 1
        note(entry)

    started = time.monotonic()
    async with AsyncExitStack() as stack:
        lanes: list[Lane] = []
        homes = (delivery.legacy_bootstrap or delivery.bootstrap, delivery.bootstrap)
        for home, side in zip(homes, (delivery.legacy, delivery.rebuilt), strict=True):
            lane = Lane(home, side, noted)
            stack.push_async_callback(lane.stop)
            await lane.start()
            lanes.append(lane)
        legacy, rebuilt = lanes
        for number, sides in enumerate(_PASSES[delivery.loading]):
            if number and delivery.gate is not None:
                await _exists(delivery.gate)
            await _play(scenario, delivery.rate, _Pass(sides, legacy, rebuilt, noted))
    seconds = time.monotonic() - started
    return Published(legacy.count, rebuilt.count, dict(planted), seconds)


async def _exists(path: Path) -> None:
    while not await asyncio.to_thread(path.exists):  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(TICK_S)


class _Pass:
    """One pass over the scenario, for one side or both."""

    def __init__(self, sides: str, legacy: Lane, rebuilt: Lane, note: Callable[[Entry], None]) -> None:
        self._legacy = legacy if "legacy" in sides else None
        self._rebuilt = rebuilt if "rebuilt" in sides else None
        self._lanes = [lane for lane in (self._legacy, self._rebuilt) if lane is not None]
        self._note = note

    async def put(self, event: Event) -> None:
        if self._legacy is not None and event.legacy is not None:
            await self._legacy.put(Item(event.key, event.legacy, event.legacy_ms, event.legacy_headers))
        if self._rebuilt is None:
            return
        last = len(event.rebuilt) - 1
        for number, (value, timestamp, headers, key, held_ms) in enumerate(event.rebuilt):
            entry = event.entry if number == last else None
            item = Item(key or event.key, value, timestamp, headers, entry, event.key, held_ms / 1000)
            await self._rebuilt.put(item)
        if event.entry is not None and last < 0:
            self._note(event.entry)

    async def turn(self, *, flush: bool) -> None:
        for lane in self._lanes:
            await lane.release()
            if flush:
                await lane.flush()

    async def finish(self) -> None:
        for lane in self._lanes:
            await lane.finish()


async def _play(scenario: Scenario, rate: float | None, sides: _Pass) -> None:
    """Make all messages, at full speed or at a rate."""
    started = time.monotonic()
    for number, event in enumerate(Shop(scenario).events(), 1):
        await sides.put(event)
        if rate is None:
            if number % EVENTS_PER_TURN == 0:
                await sides.turn(flush=False)
                await asyncio.sleep(0)
            continue
        while number > (time.monotonic() - started) * rate:
            await sides.turn(flush=True)
            await asyncio.sleep(TICK_S)
    await sides.finish()


def command(scenario: Scenario, delivery: Delivery, ledger: Path) -> list[str]:
    """Return the command line that plays this in a process of its own."""
    words: list[Any] = [sys.executable, "-m", MODULE]
    words += ["--broker", delivery.bootstrap, "--ledger", ledger]
    words += ["--legacy-broker", delivery.legacy_bootstrap] if delivery.legacy_bootstrap else []
    words += ["--count", scenario.count, "--seed", scenario.seed, "--per-key", scenario.per_key]
    words += ["--size", scenario.size, "--pace", scenario.pace, "--start-ms", scenario.start_ms]
    words += ["--late-ms", scenario.late_ms]
    words += ["--sealed", scenario.sealed] if scenario.sealed else []
    words += ["--headers"] if scenario.headers else []
    for kind in ALL_KINDS:
        words += ["--fault", f"{kind}={scenario.rates.get(kind, 0.0)!r}"]
    words += ["--loading", delivery.loading]
    words += ["--gate", delivery.gate] if delivery.gate else []
    if delivery.rate is not None:
        words += ["--rate", delivery.rate]
    for name, side in (("legacy", delivery.legacy), ("rebuilt", delivery.rebuilt)):
        words += [f"--{name}-topic", side.topic, f"--{name}-partitioner", side.partitioner]
        words += [f"--{name}-codec", side.codec, f"--{name}-delay", side.delay_s]
    return [str(word) for word in words]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--broker", required=True, help="HOST:PORT")
    parser.add_argument("--legacy-broker", help="HOST:PORT of the legacy producer; default: the same")
    parser.add_argument("--ledger", type=Path, required=True, help="file for what was planted")
    parser.add_argument("--count", type=int, default=100_000, help="legacy messages")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-key", type=int, default=1, help="messages per order")
    parser.add_argument("--size", type=int, default=800, help="bytes of a legacy message, about")
    parser.add_argument("--rate", type=float, help="legacy messages per second; default: full speed")
    parser.add_argument("--pace", type=float, help="the same by the timestamps; default: the rate")
    parser.add_argument("--start-ms", type=int, help="first timestamp; default: so that it ends now")
    parser.add_argument("--fault", action="append", metavar="KIND=RATE", help="per message")
    parser.add_argument("--late-ms", type=int, default=4000, help="by how much late messages are late")
    parser.add_argument("--sealed", choices=FORMS, help="the form in which the phone is encrypted; default: not at all")
    parser.add_argument("--headers", action="store_true", help="records have headers")
    parser.add_argument("--loading", choices=get_args(Loading), default="both")
    parser.add_argument("--gate", type=Path, help="file for which the second of two sides waits")
    parser.add_argument("--create", action="store_true", help="create the two topics first")
    for name, topic, partitions, chosen in (
        ("legacy", "shop.orders", 3, "murmur2"),
        ("rebuilt", "orders.v2", 5, "crc32"),
    ):
        parser.add_argument(f"--{name}-topic", default=topic)
        parser.add_argument(f"--{name}-partitions", type=int, default=partitions)
        parser.add_argument(f"--{name}-partitioner", choices=list(PARTITIONERS), default=chosen)
        parser.add_argument(f"--{name}-codec", choices=CODECS, default="zstd")
        parser.add_argument(f"--{name}-delay", type=float, default=0.0, help="seconds held back")
    return parser


def parse(words: Sequence[str]) -> tuple[Scenario, Delivery, argparse.Namespace]:
    """Read a command line."""
    options = _parser().parse_args(words)
    rates = dict(DEFAULT_RATES)
    for text in options.fault or ():
        kind, _, rate = text.partition("=")
        try:
            rates[kind] = float(rate)
        except ValueError as error:
            raise LabError(f"--fault {text}: expected KIND=RATE") from error
    pace = options.pace or options.rate or 2000.0
    start_ms = options.start_ms
    if start_ms is None:
        behind = 0.0 if options.rate else options.count / pace
        start_ms = int((time.time() - behind) * 1000)
    scenario = Scenario(
        count=options.count,
        seed=options.seed,
        rates=rates,
        per_key=options.per_key,
        size=options.size,
        start_ms=start_ms,
        pace=pace,
        sealed=options.sealed,
        headers=options.headers,
        late_ms=options.late_ms,
    )
    legacy, rebuilt = (
        Side(
            topic=getattr(options, f"{name}_topic"),
            partitioner=getattr(options, f"{name}_partitioner"),
            codec=getattr(options, f"{name}_codec"),
            delay_s=getattr(options, f"{name}_delay"),
        )
        for name in ("legacy", "rebuilt")
    )
    delivery = Delivery(
        bootstrap=options.broker,
        legacy=legacy,
        rebuilt=rebuilt,
        loading=options.loading,
        rate=options.rate,
        legacy_bootstrap=options.legacy_broker,
        gate=options.gate,
    )
    return scenario, delivery, options


async def _run(words: Sequence[str]) -> Published:
    scenario, delivery, options = parse(words)
    if options.create:
        legacy = delivery.legacy_bootstrap or delivery.bootstrap
        await create_topics(legacy, {delivery.legacy.topic: options.legacy_partitions})
        await create_topics(delivery.bootstrap, {delivery.rebuilt.topic: options.rebuilt_partitions})
    # One write for every line, at once: a reader may follow the file.
    with options.ledger.open("wb", buffering=0) as file:
        return await publish(scenario, delivery, lambda one: file.write(encode_entry(one) + b"\n"))


def main() -> int:
    """Play a scenario and print what was done as one line of JSON."""
    # What aiokafka logs while it tries again is not worth a line; what ends the run is.
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    try:
        done = asyncio.run(_run(sys.argv[1:]))
    except KafkaConnectionError as error:
        broker = parse(sys.argv[1:])[1].bootstrap
        print(f"shop: no broker answers at {broker}: {error}", file=sys.stderr)
        return 4
    except (LabError, KafkaError, OSError) as error:
        print(f"shop: {error}", file=sys.stderr)
        return 4
    except KeyboardInterrupt:
        return 130
    print(json.dumps(done._asdict()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
