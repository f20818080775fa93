"""What is measured: loads that differ from the reference in one way each, and the rungs that are climbed on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from cutover_app.lab.bench.ladder import RUNGS
from cutover_app.lab.bench.load import Load

BYTES: Final = 480_000_000
"""Of all legacy messages of a load with large messages, about."""
WORKER: Final = "worker"
FLOOR: Final = "floor"
JAVA_FLOOR: Final = "floor in Java"
PEER: Final = "peer"
RECOVERY: Final = "recovery"
DELAY: Final = "delay"
ALONE_PAIRS: Final = 60_000
"""Messages of one side, published live while the other side is idle."""
RECOVERED: Final = 1_000_000
LATE_PAIRS: Final = 50_000
LIVE_RATE: Final = 1_000.0
"""Messages of a side per second, where they are published live."""
LATE_S: Final = 15.0
"""By so much the rebuilt side is late where peers read what is published live: longer than anybody waits for it."""
PATIENT: Final = "30s"
"""The grace of a contract that allows for it."""

REFERENCE: Final = Load(name="reference", messages=600_000)


@dataclass(frozen=True)
class Step:
    """One program under one load.

    `rung` is FLOOR, JAVA_FLOOR, WORKER, RECOVERY, DELAY, PEER (named by `peer`), or of the ladder.
    """

    rung: str
    name: str = ""
    intake: int = 12
    workers: int = 1
    peer: str = ""

    @property
    def label(self) -> str:
        """How it is called."""
        return self.name or self.rung


@dataclass(frozen=True)
class Chapter:
    """A load and what is measured on it."""

    load: Load
    steps: Sequence[Step]


def _like(name: str, **changes: Any) -> Load:
    size = changes.get("size", REFERENCE.size)
    messages = min(REFERENCE.messages, 2 * (BYTES // 2 // size // 1000) * 1000)
    return replace(REFERENCE, name=name, messages=messages, **changes)


def _backlog(records: int) -> Load:
    """Return a load of one side, under a grace in which nothing is closed."""
    return replace(REFERENCE, name="backlog", messages=2 * records, faults=0.0, loading="legacy-only", grace="3h")


def _idle() -> Load:
    """Return a load whose other side rests: everything is missing, as soon as its grace has passed."""
    return replace(
        REFERENCE,
        name="idle",
        messages=2 * ALONE_PAIRS,
        faults=0.0,
        loading="legacy-only",
        rate=LIVE_RATE,
        received=True,
    )


def _worker(name: str, **options: Any) -> Step:
    return Step(WORKER, name, **options)


def quick(messages: int) -> list[Chapter]:
    """Return what fits in two minutes."""
    rungs = [Step(FLOOR), *(Step(rung) for rung in RUNGS), _worker("one worker")]
    return [Chapter(replace(REFERENCE, messages=messages), rungs)]


def full() -> list[Chapter]:
    """Return everything."""
    reference = [Step(FLOOR), *(Step(rung) for rung in RUNGS), _worker("one worker")]
    reference += [_worker(f"{count} workers", workers=count) for count in (2, 4)]
    reference += [_worker("4 intake partitions", intake=4), _worker("64 intake partitions", intake=64)]
    return [
        Chapter(REFERENCE, reference),
        *_alone("0.2 KB", _like("small", size=200)),
        *_alone("4 KB", _like("large", size=4_000)),
        *_alone("32 KB", _like("huge", size=32_000)),
        *_alone("4 source partitions", _like("narrow", partitions=4)),
        *_alone("64 source partitions", _like("wide", partitions=64)),
        *_alone("sources not compressed", _like("plain", codec="none")),
        *_alone("TLS", _like("tls", tls=True)),
        Chapter(_backlog(RECOVERED), [Step(RECOVERY, f"recovery of {RECOVERED:,} rows")]),
        Chapter(_idle(), [Step(DELAY, "verdicts while the other side is idle")]),
        *_alone("1 % wrong", _like("one-percent", faults=0.01)),
        *_alone("50 % wrong", _like("half", faults=0.5)),
        *_alone("100 % wrong", _like("storm", faults=1.0)),
    ]


def peers(messages: int, parts: Mapping[str, float]) -> list[Chapter]:
    """Return the same work done by others, with everything published before, and live with one side late.

    `parts`: by name of the peer, the part of the messages that it can read in a reasonable time.
    """
    before = replace(REFERENCE, name="peers", messages=messages, readable=True)
    steps = [_worker("one worker"), *(Step(PEER, name, peer=name) for name in parts)]
    late = replace(before, messages=2 * LATE_PAIRS, rate=LIVE_RATE, late_s=LATE_S)
    lates = [replace(late, name=f"late-{number}") for number in range(len(steps))]
    slow = [
        Chapter(replace(before, name=f"slow-{number}", messages=int(messages * parts[step.peer])), [step])
        for number, step in enumerate(steps)
        if parts.get(step.peer, 1) < 1
    ]
    return [
        Chapter(before, [Step(FLOOR), Step(JAVA_FLOOR), *(step for step in steps if parts.get(step.peer, 1) == 1)]),
        *slow,
        *(
            Chapter(load, [replace(step, name=f"{step.label}, rebuilt {LATE_S:g} s late")])
            for load, step in zip(lates, steps, strict=True)
        ),
        *_alone(f"grace {PATIENT}, rebuilt {LATE_S:g} s late", replace(late, name="late-patient", grace=PATIENT)),
    ]


def _alone(name: str, load: Load) -> list[Chapter]:
    return [Chapter(load, [_worker(f"one worker, {name}")])]
