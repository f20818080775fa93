"""The core over records that are all there: no Kafka, no worker, no waiting, the same judge.

All records become one intake log of one partition, whose clock stands still until the end. Then it jumps by the grace
of the contract, and a barrier for each side vouches for all of its partitions: so every record is closed, and every
outcome is decided, exactly as it would be once both topics stand still.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import msgspec

from cutover_app.commands.files import SourceRecord
from cutover_app.commands.fold import VerdictFold
from cutover_app.commands.summary import Evidence
from cutover_app.contract.compile import Compiled
from cutover_app.contract.models import Contract
from cutover_app.contract.terms import judge_terms
from cutover_app.core.frames import LEGACY, REBUILT, SIDES, Barrier, Entry, Passed, Records, Source, Vouch
from cutover_app.core.judge import Judge
from cutover_app.core.memory import MemoryStore
from cutover_app.core.rows import FAMILIES_TABLE
from cutover_app.core.state import FamilyRow, decode_row
from cutover_app.core.verdicts import Verdict, encode_verdict

FOREVER_MS = 1 << 60

CHECKPOINT_ENTRIES = 50_000
"""Entries after which rows are encoded into the store, which takes a fraction of the memory."""

FRAME_ENTRIES = 4096


@dataclass(slots=True)
class _Progress:
    """What has been passed of one source partition."""

    start: int
    next: int
    filtered: int = 0
    gaps: int = 0


class Offline:
    """Takes records of both sides in any interleaving, then says what became of them."""

    def __init__(self, contract: Contract, compiled: Compiled, *, keep: bool = False) -> None:
        terms = judge_terms(contract, compiled)
        self._contract = contract
        self._compiled = compiled
        self._grace_ms = terms.grace_ms
        self._store = MemoryStore()
        self._judge = Judge(
            replace(terms, partitions=1, interval_ms=terms.grace_ms, remember_ms=FOREVER_MS, problems_ms=FOREVER_MS),
            0,
            self._store,
        )
        self._fold = VerdictFold(terms.contract, terms.run)
        self._kept: dict[str, Verdict] | None = {} if keep else None
        self._sources: dict[tuple[int, str, int], _Progress] = {}
        self._sent = [0, 0]
        self._backward = [0, 0]
        self._offset = 0
        self._since_checkpoint = 0
        self._barrier(LEGACY, at_ms=0)
        self._barrier(REBUILT, at_ms=0)

    def __repr__(self) -> str:
        """Return where it is."""
        return f"<Offline {self._judge!r}>"

    def take(self, side: int, records: Iterable[SourceRecord]) -> None:
        """Judge some records of one side, which ascend by offset within each partition."""
        entries: list[Entry] = []
        place = ("", 0)
        for record in records:
            if (record.topic, record.partition) != place or len(entries) >= FRAME_ENTRIES:
                self._forward(side, place, entries)
                entries, place = [], (record.topic, record.partition)
            made = self._read(side, record)
            entries += made
            self._pass(side, record, filtered=not made)
        self._forward(side, place, entries)
        self._settle()

    def finish(self) -> Evidence:
        """Close everything and return the evidence."""
        proof = self._offset
        self._barrier(LEGACY, at_ms=self._grace_ms)
        self._barrier(REBUILT, at_ms=self._grace_ms, vouch_for=proof)
        self._barrier(LEGACY, at_ms=self._grace_ms, vouch_for=proof)
        self._since_checkpoint = CHECKPOINT_ENTRIES
        self._settle()
        families = self._store.scan(FAMILIES_TABLE, b"", 1 << 31)
        return Evidence(
            contract=self._contract.contract,
            run=self._contract.run,
            partitions=1,
            grace_ms=self._grace_ms,
            books={0: self._judge.books},
            families=[decode_row(FamilyRow, data) for _, data in families],
            verdicts=self._fold,
            doubts=self._doubts(),
        )

    def verdicts(self) -> list[bytes]:
        """Return the newest revision of every verdict, by the place of its record, where they were kept."""
        kept = (self._kept or {}).values()
        return [encode_verdict(verdict) for verdict in sorted(kept, key=_place)]

    # -- stage one ---------------------------------------------------------------------------------------------------

    def _read(self, side: int, record: SourceRecord) -> list[Entry]:
        return self._compiled.rebuild(record) if side == LEGACY else [self._compiled.observe(record)]

    def _pass(self, side: int, record: SourceRecord, *, filtered: bool) -> None:
        place = (side, record.topic, record.partition)
        progress = self._sources.get(place)
        if progress is None:
            progress = self._sources[place] = _Progress(record.offset, record.offset)
        if record.offset < progress.next:
            self._backward[side] += 1
            return
        progress.gaps += record.offset - progress.next
        progress.filtered += filtered
        progress.next = record.offset + 1

    def _forward(self, side: int, place: tuple[str, int], entries: list[Entry]) -> None:
        if not entries:
            return
        frame = Records(self._compiled.rules, SIDES[side], Source(side, place[0], "", place[1]), entries)
        self._judge.apply(self._next_offset(), 0, frame)
        self._sent[side] += len(entries)
        self._since_checkpoint += len(entries)

    def _barrier(self, side: int, *, at_ms: int, vouch_for: int | None = None) -> None:
        topic = self._contract.legacy.topic if side == LEGACY else self._contract.rebuilt.topic
        partitions = 1 + max((number for s, _, number in self._sources if s == side), default=0)
        vouches = [] if vouch_for is None else [_vouch(side, topic, p, vouch_for) for p in range(partitions)]
        passed = [] if vouch_for is None else self._passed(side)
        sent, self._sent[side] = self._sent[side], 0
        frame = Barrier(
            self._compiled.rules, SIDES[side], side, topic, "", partitions if vouches else 0, vouches, sent, passed, []
        )
        self._judge.apply(self._next_offset(), at_ms, frame)

    def _passed(self, side: int) -> list[Passed]:
        return [
            Passed(
                Source(side, topic, "", partition),
                each.start,
                each.next,
                each.next - each.start - each.filtered - each.gaps,
                each.filtered,
                each.gaps,
            )
            for (which, topic, partition), each in sorted(self._sources.items())
            if which == side
        ]

    def _next_offset(self) -> int:
        self._offset += 1
        return self._offset - 1

    # -- stage two ---------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        self._judge.settle()
        if self._since_checkpoint >= CHECKPOINT_ENTRIES:
            self._store.commit(self._judge.checkpoint())
            self._judge.committed()
            self._since_checkpoint = 0
        for verdict in self._judge.take_verdicts():
            self._fold.add(verdict)
            if self._kept is not None:
                self._kept[verdict.id] = verdict

    def _doubts(self) -> list[str]:
        return [
            f"{count:,} {SIDES[side]} records go back in offset and were not counted: "
            "give one dump, with each partition in order"
            for side, count in enumerate(self._backward)
            if count
        ]


def _vouch(side: int, topic: str, partition: int, barrier: int) -> Vouch:
    return Vouch(Source(side, topic, "", partition), barrier)


def _place(verdict: Verdict) -> tuple[bool, str, int, int, int]:
    anchor = verdict.rebuilt if isinstance(verdict.legacy, msgspec.UnsetType) else verdict.legacy
    assert not isinstance(anchor, msgspec.UnsetType)
    return anchor is verdict.rebuilt, anchor.topic, anchor.partition, anchor.offset, anchor.index
