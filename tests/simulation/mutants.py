"""Rules, broken on purpose one at a time; each has to make the simulation fail (`--mutant all`).

A mutant changes one thing, in the core or in what the simulation plays around it, and keeps the rest honest: it counts
what it drops, so that it is caught for its own fault and not for a trivial one.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from random import Random
from typing import Any
from unittest.mock import patch

from cutover_app.core import pairing, payloads
from cutover_app.core.closing import CUT, Clock, Frontier
from cutover_app.core.forgetting import Forgetting
from cutover_app.core.frames import Frame, Records
from cutover_app.core.judge import Judge
from cutover_app.core.ordering import Ordering
from cutover_app.core.pairing import Pairing
from cutover_app.core.sampling import Sampling
from cutover_app.core.state import OPEN, KeyRow, Rec
from cutover_app.core.verdicts import DUPLICATE, Verdict
from tests.simulation.fleet import Fleet
from tests.simulation.intake import Pipe
from tests.simulation.judging import Changes, Committed
from tests.simulation.senders import Sender
from tests.simulation.setting import Setting
from tests.simulation.topics import Partition
from tests.simulation.world import Parts, Report, simulate


class MarkWithoutIndex(Judge):
    """R4: takes the second message of a legacy record for redelivery."""

    def apply(self, offset: int, append_ms: int, frame: Frame) -> None:
        """Drop entries whose source offset has been seen, and count them as redelivered."""
        if isinstance(frame, Records):
            seen = self.books.marks[self.books.source_index(frame.source)][0]
            kept = []
            for entry in frame.entries:
                if entry.offset > seen:
                    kept.append(entry)
                    seen = entry.offset
            dropped = len(frame.entries) - len(kept)
            self.books.arrived(frame.sender, dropped)
            self.books.ledgers[frame.source.side].redelivered += dropped
            frame = Records(frame.rules, frame.sender, frame.source, kept)
        super().apply(offset, append_ms, frame)


class ExpiryAtChunkEnd(Judge):
    """R3: lets go of what is older than remembered when a chunk ends, not at a barrier."""

    _applying = False
    _due = -(1 << 62)

    def apply(self, offset: int, append_ms: int, frame: Frame) -> None:
        """Hold back what the barriers of this chunk allow to be forgotten."""
        held = self.books.forgotten_ms
        self._applying = True
        super().apply(offset, append_ms, frame)
        self._applying = False
        self._due = max(self._due, self.books.forgotten_ms)
        self.books.forgotten_ms = held

    def settle(self) -> None:
        """Release it."""
        super().settle()
        if not self._applying:
            self.books.forgotten_ms = max(self._due, self.books.forgotten_ms)


class LastStableOffset(Setting):
    """R1.2: a sample of what committed readers see, instead of what the topic holds."""

    @staticmethod
    def sampled_end(partition: Partition) -> int:
        """Return the last stable offset."""
        return partition.stable


class VouchForNow(Sampling):
    """R1.2: vouches for the newest barrier instead of the one before the sample that was reached."""

    def vouches(self) -> Iterable[tuple[int, tuple[int, ...]]]:
        """Return what has reached a sample, with the newest barrier."""
        assert self._barrier is None or self._barrier
        return [(number, self._barrier or barrier) for number, barrier in super().vouches()]


class VouchingForNow(Setting):
    """A setting whose senders vouch for now."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sampling = VouchForNow


class NoFencing(Committed):
    """R9: anybody may commit."""

    def commit(self, generation: int, changes: Changes, verdicts: list[Verdict]) -> bool:
        """Commit for a former owner too."""
        return super().commit(self.generation, changes, verdicts)


class TornCheckpoint(Committed):
    """R9: a checkpoint that fails leaves some of its tables behind."""

    def abort(self, changes: Changes, verdicts: list[Verdict], rng: Random) -> None:
        """Write some tables and not the others."""
        self.store.apply({name: rows for name, rows in changes.items() if rng.random() < 0.5})


class VerdictsApart(Committed):
    """R9: rows are committed before their verdicts, and a crash comes in between."""

    def abort(self, changes: Changes, verdicts: list[Verdict], rng: Random) -> None:
        """Write all rows and no verdict."""
        self.store.apply(changes)


class SettledOnce(Judge):
    """R9: keys that deciding has touched again wait for the next chunk, with a checkpoint in between."""

    def settle(self) -> None:
        """Decide what is touched now."""
        touched, self._touched = self._touched, {}
        for key in touched:
            row = self._rows.keys.load(key)
            if row is not None:
                self._decide(key, row)
        self._rows.keys.changed(touched)
        self._touched.update(dict.fromkeys(self._ordering.settle()))


class BegunAgainInChunks(Judge):
    """R3: where all rows were lost, decides as seldom as ever, and so does not know of all that had been said."""

    def apply(self, offset: int, append_ms: int, frame: Frame) -> None:
        """Decide where a chunk ends."""
        again_to, self.books.again_to = self.books.again_to, -1
        super().apply(offset, append_ms, frame)
        self.books.again_to = again_to


class EdgesWakeTheForgotten(Judge):
    """R7: an edge has keys decided again that count no more, as long as their rows are there."""

    def _touch_problems(self) -> Iterator[None]:
        for key in dict.fromkeys(self._rows.problem_keys()):
            if self._rows.keys.load(key) is not None:
                self._touched[key] = None
        yield


def _newest_count(self: Frontier, topic: str, incarnation: str, partitions: int) -> None:
    self.topic, self.incarnation = topic, incarnation
    self.partitions = partitions


def _cut_at_zero(self: Clock, append_ms: int, interval_ms: int) -> int:
    if self.last >= 0:
        self.sum += min(max(append_ms - self.last, 0), CUT * interval_ms)
        self.now = max(self.now, self.sum)
    self.last = append_ms
    return self.now


def _uncut(self: Clock, append_ms: int, interval_ms: int) -> int:
    if self.last >= 0:
        self.sum += append_ms - self.last
        self.now = max(self.now, self.sum)
    self.last = append_ms
    return self.now


def _while_open(record: Rec, first_open: int | None, repeats: bool, alone: str) -> str | None:
    if record.closed_at == OPEN:
        return None
    return DUPLICATE if repeats else alone


def _with_duplicates(made: Pairing, unique: bool) -> tuple[list[Rec], list[Rec]]:
    expected = [each for each in made.expected if unique or each.closed_at != OPEN]
    return expected, [each for each in made.actual if unique or each.closed_at != OPEN]


def _open_too(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda made, unique: original(made, True)


def _commit_what_was_read(self: Fleet, number: int, worker: Sender) -> None:
    if worker.alive and number in worker.reading:
        self.committed[number] = worker.reading[number].position


def _drop_a_frame(original: Callable[..., None]) -> Callable[..., None]:
    def send(self: Pipe, frame: Frame, on_ack: Callable[[int], None]) -> None:
        if isinstance(frame, Records) and self._rng.random() < 0.05:
            on_ack(0)
            return
        original(self, frame, on_ack)

    return send


def _untold(original: Callable[..., None]) -> Callable[..., None]:
    """Forget an edge once it has been found: the position goes on without it."""

    def lose(self: Sender, reading: Any, partition: Partition) -> None:
        original(self, reading, partition)
        _, _, batch = self._edges.pop()
        batch.awaited = 0

    return lose


def _copy_for_complete(self: Sender, _mirror: Any, barrier: tuple[int, ...]) -> dict[int, tuple[int, ...]]:
    return dict.fromkeys(self.reading, barrier)


def _newest_barrier(original: Callable[..., Any]) -> Callable[..., Any]:
    """Take what the mirror has passed for an answer to the newest barrier."""
    return lambda self, mirror, barrier: dict.fromkeys(original(self, mirror, barrier), barrier)


def _as_if_proven(original: Callable[..., None]) -> Callable[..., None]:
    def vouch(self: Frontier, partition: int, judge_ms: int, *, proven: bool = True) -> None:
        original(self, partition, judge_ms)

    return vouch


def _without_its_order(self: Forgetting, _key: bytes, row: KeyRow) -> bool:
    return not self._is_over(row.last_ms, row)


def _no_second_look(self: Ordering) -> Iterator[bytes]:
    self._touched = {}
    return iter(())


@contextmanager
def _nothing() -> Iterator[None]:
    yield


Mutant = tuple[Parts, Callable[[], AbstractContextManager[Any]]]

MUTANTS: dict[str, Mutant] = {
    "mark-without-index": (Parts(judge=MarkWithoutIndex), _nothing),
    "last-stable-offset": (Parts(setting=LastStableOffset), _nothing),
    "vouch-for-now": (Parts(setting=VouchingForNow), _nothing),
    "newest-count": (Parts(), lambda: patch.object(Frontier, "count", _newest_count)),
    "cut-only-at-zero": (Parts(), lambda: patch.object(Clock, "advance", _cut_at_zero)),
    "clock-not-cut": (Parts(), lambda: patch.object(Clock, "advance", _uncut)),
    "expiry-at-chunk-end": (Parts(judge=ExpiryAtChunkEnd), _nothing),
    "judged-while-partner-open": (Parts(), lambda: patch.object(pairing, "_outcome", _while_open)),
    "duplicates-in-step-2": (Parts(), lambda: patch.object(pairing, "_candidates", _with_duplicates)),
    "open-records-in-step-2": (
        Parts(),
        lambda: patch.object(pairing, "_candidates", _open_too(pairing._candidates)),
    ),
    "no-fencing": (Parts(committed=NoFencing), _nothing),
    "torn-checkpoint": (Parts(committed=TornCheckpoint), _nothing),
    "verdicts-apart": (Parts(committed=VerdictsApart), _nothing),
    "commit-before-ack": (
        Parts(),
        lambda: patch.object(Fleet, "_commit_one", _commit_what_was_read),
    ),
    "lost-frame": (Parts(), lambda: patch.object(Pipe, "send", _drop_a_frame(Pipe.send))),
    "copy-taken-for-complete": (Parts(), lambda: patch.object(Sender, "_prove", _copy_for_complete)),
    "mirror-proves-the-newest-barrier": (
        Parts(),
        lambda: patch.object(Sender, "_prove", _newest_barrier(Sender._prove)),
    ),
    "unproven-closes": (Parts(), lambda: patch.object(Frontier, "vouch", _as_if_proven(Frontier.vouch))),
    "order-keys-forgotten-in-parts": (
        Parts(),
        lambda: patch.multiple(
            Forgetting, counts=_without_its_order, order_counts=lambda *_: True, forget=Forgetting._drop
        ),
    ),
    "order-judged-once": (Parts(), lambda: patch.object(Ordering, "settle", _no_second_look)),
    "begun-again-in-chunks": (Parts(judge=BegunAgainInChunks), _nothing),
    "settled-once": (Parts(judge=SettledOnce), _nothing),
    "edges-wake-the-forgotten": (Parts(judge=EdgesWakeTheForgotten), _nothing),
    "tolerated-payloads-dropped": (Parts(), lambda: patch.object(payloads, "_compared_again", lambda _row: set())),
    "untold-edge": (Parts(), lambda: patch.object(Sender, "_lose", _untold(Sender._lose))),
}


def first_catch(name: str, seeds: Sequence[int]) -> Report | None:
    """Return the first of these seeds that fails with a mutant, or None when it survives."""
    parts, installed = MUTANTS[name]
    with installed():
        for seed in seeds:
            report = simulate(seed, parts)
            if report.failures:
                return report
    return None
