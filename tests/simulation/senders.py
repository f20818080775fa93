"""A stage-one sender: what a worker of the rebuild or observe agent does, as R1, R2, R4 and R8 prescribe it.

It reads its source partitions in order, forwards in order, counts a position only when every intake partition has
acknowledged everything below it, and stops at the first failure. It knows nothing of the true time, and a zombie does
not know that it is one.
"""

import zlib
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from cutover_app.core.frames import LEGACY, MESSAGE, Barrier, Edge, Entry, Passed, Records, Vouch
from cutover_app.core.sampling import Sampling
from cutover_app.mirror.proof import Proof
from tests.simulation.intake import Pipe
from tests.simulation.rules import placed_by
from tests.simulation.setting import Setting
from tests.simulation.timeline import EPOCH_MS
from tests.simulation.topics import Partition, Record

if TYPE_CHECKING:
    from tests.simulation.mirror import Mirror


@dataclass
class Batch:
    """Something forwarded, up to a position, and how many acknowledgements are still awaited."""

    end: int
    awaited: int


@dataclass
class Reading:
    """One source partition as this sender reads it."""

    position: int
    acked: int
    passed_to: int
    batches: deque[Batch] = field(default_factory=deque)
    passed: list[Passed] = field(default_factory=list)


class Sender:
    """One process start of one worker."""

    def __init__(self, setting: Setting, side: int, name: str) -> None:
        self._setting = setting
        self._rng = setting.rng
        self._timeline = setting.timeline
        self._topic = setting.topics[side]
        self.side = side
        self.name = name
        self.alive = True
        self.paused_until = 0
        self.unproven_until = 0
        self.reading: dict[int, Reading] = {}
        self.sampling: Sampling = setting.sampling()
        self.proof = Proof()
        self.pipes = [
            Pipe(setting.timeline, each, setting.rng, setting.reached, setting.plan.stall_ms) for each in setting.intake
        ]
        self._edges: list[tuple[Edge, Reading, Batch]] = []
        self._passed: list[Passed] = []
        self._asking = False
        self._slow = self._rng.random() < setting.plan.slow_samples
        """Whether the cluster answers this sender late, every time."""
        self._timeline.after(self._rng.randint(1, 40), self._poll)
        self._timeline.after(self._rng.randint(1, setting.plan.interval_ms), self._send_barrier)

    # -- assignment ----------------------------------------------------------------------------------------------------

    def assign(self, committed: Mapping[int, int]) -> None:
        """Take over partitions at their committed positions, beside those that are read already."""
        for number, position in committed.items():
            if number not in self.reading:
                self.reading[number] = Reading(position, position, position)
        self._tell_assignment()

    def drop(self, number: int) -> None:
        """Stop reading a partition. What is in flight stays in flight."""
        reading = self.reading.pop(number, None)
        if reading is not None:
            self._close_segment(number, reading)
            self._edges = [each for each in self._edges if each[1] is not reading]
        self._tell_assignment()

    def _tell_assignment(self) -> None:
        self.sampling.assign({number: each.acked for number, each in self.reading.items()})

    def crash(self) -> None:
        """Die."""
        self.alive = False
        for pipe in self.pipes:
            pipe.crash()

    def is_at_end(self) -> bool:
        """Tell whether everything that the assigned partitions hold is in intake."""
        return all(each.acked == self._topic.partitions[number].end for number, each in self.reading.items())

    # -- reading -------------------------------------------------------------------------------------------------------

    def _poll(self) -> None:
        if not self.alive:
            return
        if self._timeline.now >= self.paused_until:
            for number in list(self.reading):
                if self._rng.random() < 0.8:
                    self._fetch(number)
        self._timeline.after(self._rng.randint(10, 60), self._poll)

    def _fetch(self, number: int) -> None:
        reading, partition = self.reading[number], self._topic.partitions[number]
        if reading.position < partition.start:
            self._lose(reading, partition)
        start = reading.position
        records, end = partition.read(start, self._rng.choice((1, 3, 10, 50)))
        if end == start:
            return
        reading.position = end
        filtered = self._forward(number, reading, records, end)
        self._setting.forwarded[self.side].update((number, each.offset) for each in records)
        gaps = end - start - len(records)
        self._setting.reached["no output"] += filtered
        kept = len(records) - filtered
        source = self._setting.source(self.side, number)
        reading.passed.append(Passed(source, start, end, kept, filtered, gaps))

    def _close_segment(self, number: int, reading: Reading) -> None:
        self._passed += reading.passed
        reading.passed = []

    def _lose(self, reading: Reading, partition: Partition) -> None:
        """The start of the log has overtaken this reader: a lost range, to be told before anything beyond it."""
        start, end = reading.position, partition.start
        before = [slot.timestamp for slot in partition.slots[:end] if slot]
        after = [slot.timestamp for slot in partition.slots[end:] if slot]
        lost = [slot.timestamp for slot in partition.slots[start:end] if slot]
        from_ms = min(lost, default=max(before, default=0)) if start else 0
        to_ms = max([*lost, *after[:1]], default=EPOCH_MS + self._timeline.now)
        source = self._setting.source(self.side, partition.number)
        edge = Edge(source, start, end, from_ms, to_ms, self._setting.edge_reason(start))
        if self._setting.edges_found[self.side, partition.number, start]:
            self._setting.reached["lost range found twice"] += 1
        self._setting.edges_found[self.side, partition.number, start] += 1
        self._setting.reached["lost range" if start else "start edge"] += 1
        batch = Batch(end, 1)
        reading.batches.append(batch)
        reading.position = end
        self._edges.append((edge, reading, batch))
        self._setting.on_edge(self)

    def _entries(self, record: Record) -> list[Entry]:
        rules, where = self._setting.rules, (record.partition, record.offset, record.timestamp)
        if self.side == LEGACY:
            return rules.rebuild(*where, record.value)
        return [rules.observe(*where, record.value)]

    def _forward(self, number: int, reading: Reading, records: list[Record], end: int) -> int:
        """Send the entries of records, in frames that are cut anywhere; return how many records had none."""
        by_intake: dict[int, list[Entry]] = defaultdict(list)
        filtered = 0
        for record in records:
            entries = self._entries(record)
            filtered += not entries
            for entry in entries:
                for intake in self._destinations(entry):
                    by_intake[intake].append(entry)
        frames = [
            (intake, entries[cut : cut + size])
            for intake, entries in sorted(by_intake.items())
            for size in (self._rng.choice((1, 2, 5, 50)),)
            for cut in range(0, len(entries), size)
        ]
        batch = Batch(end, len(frames))
        reading.batches.append(batch)
        source = self._setting.source(self.side, number)
        for intake, entries in frames:
            self.pipes[intake].entries += len(entries)
            frame = Records(self._setting.plan.rules, self.name, source, entries)
            self.pipes[intake].send(frame, partial(self._acknowledged, number, reading, batch))
        self._advance(number, reading)
        return filtered

    def _destinations(self, entry: Entry) -> list[int]:
        count = len(self._setting.intake)
        return [zlib.crc32(placed_by(entry)) % count] if entry.kind == MESSAGE else list(range(count))

    def _acknowledged(self, number: int, reading: Reading, batch: Batch, _offset: int = 0) -> None:
        batch.awaited -= 1
        self._advance(number, reading)

    def _advance(self, number: int, reading: Reading) -> None:
        while reading.batches and not reading.batches[0].awaited:
            reading.acked = reading.batches.popleft().end
        if self.reading.get(number) is reading:
            self.sampling.progress(number, reading.acked)

    # -- barriers ------------------------------------------------------------------------------------------------------

    def _send_barrier(self) -> None:
        if not self.alive:
            return
        for number, reading in self.reading.items():
            self._close_segment(number, reading)
        told, self._edges = self._edges, []
        passed, self._passed = self._passed, []
        vouches = list(self.sampling.vouches())
        offsets: list[int | None] = [None] * len(self.pipes)
        for intake, pipe in enumerate(self.pipes):
            barrier = Barrier(
                rules=self._setting.plan.rules,
                sender=self.name,
                side=self.side,
                topic=self._topic.name,
                incarnation=self._setting.source(self.side, 0).incarnation,
                partitions=self.sampling.partitions,
                vouches=[
                    Vouch(self._setting.source(self.side, number), barriers[intake]) for number, barriers in vouches
                ],
                sent=pipe.entries,
                passed=passed,
                edges=[edge for edge, _, _ in told],
                proven=self.sampling.proven,
            )
            pipe.entries = 0
            pipe.send(barrier, partial(self._barrier_acknowledged, intake, offsets, told))
        interval = self._setting.plan.interval_ms
        self._timeline.after(self._rng.randint(interval * 8 // 10, interval), self._send_barrier)

    def _barrier_acknowledged(
        self,
        intake: int,
        offsets: list[int | None],
        told: list[tuple[Edge, Reading, Batch]],
        offset: int,
    ) -> None:
        offsets[intake] = offset
        known = [each for each in offsets if each is not None]
        if len(known) < len(offsets):
            return
        for edge, reading, batch in told:
            self._acknowledged(edge.source.partition, reading, batch)
        if not self._asking:
            self.sampling.barrier_acked(known)
            self._asking = True
            self._timeline.after(self._rng.randint(1, 10), lambda: self._ask(tuple(known)))

    def _ask(self, barrier: tuple[int, ...]) -> None:
        """Ask for the count and then for the ends; the answer comes later, sometimes much later."""
        mirror = self._setting.mirror if self.side == LEGACY else None
        proven = mirror is None or self._setting.quiet or self._timeline.now >= self.unproven_until
        self._setting.reached["unproven barrier"] += not proven
        count = len(self._topic.partitions)
        asked = dict.fromkeys(self.reading, barrier)
        if mirror is not None and proven:
            asked = self._prove(mirror, barrier)
            count = max(count, self.proof.partitions)
        ends: dict[int, int] = {}
        for number in asked:
            ends[number] = self._setting.sampled_end(self._topic.partitions[number])
            if self._topic.partitions[number].open:
                self._setting.reached["open transaction at sampling"] += 1
        delay = self._rng.randint(1, 10)
        if self._slow or self._rng.random() < 0.02:
            delay += self._rng.randint(1, 20 * self._setting.plan.interval_ms)
            self._setting.reached["stale sample"] += 1
        self._timeline.after(delay, lambda: self._answered(ends, count, asked, proven=proven))

    def _prove(self, mirror: "Mirror", barrier: tuple[int, ...]) -> dict[int, tuple[int, ...]]:
        """R1.5: return the partitions of the copy that may be asked where they end, and for which barriers."""
        positions = mirror.positions()
        self.proof.observe(barrier, mirror.log(), positions)
        for wanted in self.proof.looks(self.reading):
            clear, found = mirror.look(wanted)
            self._setting.reached["looked behind a mirror"] += 1
            self.proof.looked(wanted, clear, found=found)
        self._setting.reached["mirror behind at sampling"] += bool(self.proof.behind())
        ready = self.proof.ready()
        self.proof.asked(ready)
        only_here = {number: barrier for number in self.reading if number >= self.proof.partitions}
        return {number: before for number, before in ready.items() if number in self.reading} | only_here

    def _answered(self, ends: dict[int, int], count: int, asked: dict[int, tuple[int, ...]], *, proven: bool) -> None:
        self._asking = False
        if not self.alive or self._rng.random() >= 0.97:
            return
        if not asked:
            self.sampling.sampled({}, count)
        for barrier in dict.fromkeys(asked.values()):
            those = {number: end for number, end in ends.items() if asked[number] == barrier}
            self.sampling.sampled(those, count, barrier, proven=proven)
