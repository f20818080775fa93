"""The books of one intake partition: counters that must balance, and all other state that is not about a key (R2).

Everything accepted is accounted for. Per side

    accepted = paired + alone + duplicate + rejected + indeterminate + pending

where the left-hand side is counted when a record arrives, and the right-hand side moves record by record as outcomes
are decided. Redelivery is counted apart and never accepted. What stage one says it sent is held against what arrived,
sender by sender; a difference is a hole in the log. An imbalance is evidence that nothing this partition says can be
trusted: it is kept, shown, and decides the exit code ("cannot tell").
"""

from typing import Final

import msgspec

from cutover_app.core.closing import NEVER, Clock, Frontier, Ring
from cutover_app.core.frames import LEGACY, REBUILT, SIDES, Barrier, Edge, Passed, Source
from cutover_app.core.limits import EDGES_MAX, IMBALANCES_MAX, REJECTS_MAX, SENDERS_MAX
from cutover_app.core.state import PENDING, TALLIES, other
from cutover_app.core.verdicts import Position

BOOKS_KEY: Final = b"books"


class Sender(msgspec.Struct, array_like=True):
    """Entries that arrived from one sender since its last barrier, and when it was last heard (intake offset)."""

    arrived: int
    heard: int
    whole: bool = True
    """Whether all that arrived since its last barrier is counted: not of one that may have been dropped meanwhile."""


class Ledger(msgspec.Struct, array_like=True):
    """The counters of one side."""

    accepted: int = 0
    redelivered: int = 0
    notices: int = 0
    """Rejected records whose home is another intake partition: known here only to explain a lonely partner."""
    tallies: list[int] = msgspec.field(default_factory=lambda: [0] * len(TALLIES))
    passed: int = 0
    """Source offsets that stage one says it passed, and of what kind they were; the same in every intake partition."""
    records: int = 0
    filtered: int = 0
    gaps: int = 0


class Books(msgspec.Struct, array_like=True):
    """The row of one intake partition that says where it is and whether it balances."""

    rules: str
    partition: int
    at: int = -1
    """Offset of the last intake record applied."""
    clock: Clock = msgspec.field(default_factory=Clock)
    ring: Ring = msgspec.field(default_factory=Ring)
    frontiers: tuple[Frontier, Frontier] = msgspec.field(default_factory=lambda: (Frontier(), Frontier()))
    forgotten_ms: int = -(1 << 62)
    """Both frontiers have passed this judge time: what is older by `remember` is forgotten (R7)."""
    sources: list[Source] = []
    marks: list[tuple[int, int]] = []
    """Per source: the highest (offset, index) seen (R4)."""
    ledgers: tuple[Ledger, Ledger] = msgspec.field(default_factory=lambda: (Ledger(), Ledger()))
    senders: dict[str, Sender] = {}
    senders_dropped: int = 0
    edges: list[Edge] = []
    rejects: tuple[list[Position], list[Position]] = msgspec.field(default_factory=lambda: ([], []))
    closed_to: list[int] = msgspec.field(default_factory=lambda: [-1, -1, -1])
    """Per side: the intake position up to which pending rows have been closed; then, of the rebuilt side, the one up
    to which they were given up because the mirror was not proven."""
    due_ms: list[int] = msgspec.field(default_factory=lambda: [NEVER, NEVER, NEVER])
    """The same in judge time: what arrived by then has been due, with proof or without. It never goes back."""
    buckets: tuple[int, int] = (0, 0)
    """First and next number of the buckets of keys to be forgotten."""
    forgotten: int = 0
    crowded: int = 0
    """Order keys with more records than are judged for order."""
    spread: int = 0
    """Order keys whose records are spread over several partitions of a topic."""
    imbalances: list[str] = []
    imbalanced: int = 0
    """How many imbalances there were in all."""
    seen_ms: list[int] = []
    """Per source: the timestamp of the last entry that arrived; what a source is known by once its topic is gone."""
    payloads: int = 0
    keys: int = 0
    """How many payloads, and how many rows of keys and order keys, are kept: a row that is gone is noticed."""
    begins: dict[str, int] = {}
    """Per table: where its changelog begins, if not at 0. What was below it was gone when these books were opened."""
    again_to: int = -1
    """Intake offset up to which all this may have been judged before, in books that could not be believed."""

    def source_index(self, source: Source) -> int:
        """Return the place of a source, new ones at the end: a function of the log alone."""
        try:
            return self.sources.index(source)
        except ValueError:
            self.sources.append(source)
            self.marks.append((-1, -1))
            self.seen_ms.append(0)
            return len(self.sources) - 1

    def reach(self, source: int, mark: tuple[int, int], stamp: int) -> None:
        """Take in the mark after a frame, and the timestamp of its last entry."""
        if mark > self.marks[source]:
            self.marks[source], self.seen_ms[source] = mark, stamp

    def arrived(self, name: str, entries: int) -> None:
        """Count what arrived from a sender."""
        self._sender(name).arrived += entries

    def settle_sender(self, barrier: Barrier) -> None:
        """Hold what a sender says it sent against what arrived since its last barrier."""
        sender = self._sender(barrier.sender)
        if sender.arrived != barrier.sent and sender.whole:
            self.imbalance(
                f"sender {barrier.sender} put {barrier.sent} entries into intake partition {self.partition} "
                f"before offset {self.at}, {sender.arrived} arrived"
            )
        sender.arrived, sender.whole = 0, True
        for passed in barrier.passed:
            self._pass(barrier.side, passed)

    def _sender(self, name: str) -> Sender:
        sender = self.senders.get(name)
        if sender is None:
            sender = self.senders[name] = Sender(0, self.at, whole=not self.senders_dropped)
            if len(self.senders) > SENDERS_MAX:
                del self.senders[min(self.senders, key=lambda each: self.senders[each].heard)]
                self.senders_dropped += 1
        sender.heard = self.at
        return sender

    def _pass(self, side: int, passed: Passed) -> None:
        ledger = self.ledgers[side]
        ledger.passed += passed.end - passed.start
        ledger.records += passed.records
        ledger.filtered += passed.filtered
        ledger.gaps += passed.gaps
        if passed.end - passed.start != passed.records + passed.filtered + passed.gaps:
            self.imbalance(
                f"{SIDES[side]} {passed.source.topic}/{passed.source.partition}: offsets {passed.start} to "
                f"{passed.end} were passed as {passed.records} records, {passed.filtered} filtered, {passed.gaps} gaps"
            )

    def imbalance(self, line: str) -> None:
        """Keep a line of evidence that the books do not balance."""
        self.imbalanced += 1
        if len(self.imbalances) < IMBALANCES_MAX:
            self.imbalances.append(line)

    def add_edges(self, edges: list[Edge]) -> bool:
        """Take in lost ranges and return whether any was new."""
        new = [edge for edge in edges if edge not in self.edges]
        if len(self.edges) + len(new) > EDGES_MAX:
            self.imbalance(f"more than {EDGES_MAX} lost ranges in intake partition {self.partition}")
            new = new[: EDGES_MAX - len(self.edges)]
        self.edges.extend(new)
        return bool(new)

    def add_reject(self, side: int, position: Position) -> None:
        """Remember an unreadable record; the oldest is dropped beyond the limit."""
        rejects = self.rejects[side]
        rejects.append(position)
        if len(rejects) > REJECTS_MAX:
            del rejects[0]

    def pending(self, side: int) -> int:
        """Return how many records of a side are not judged yet."""
        return self.ledgers[side].tallies[PENDING]

    def is_closing(self, side: int, grace_ms: int) -> bool:
        """Tell whether records of a side are due that no barrier has come to yet: a backlog is closed in steps."""
        return self.pending(side) > 0 and self.due_ms[side] < self.frontiers[other(side)].closed - grace_ms

    def balance(self) -> list[str]:
        """Return a line for each way in which the books do not balance; empty when they do."""
        lines = list(self.imbalances)
        for side in (LEGACY, REBUILT):
            ledger = self.ledgers[side]
            accounted = sum(ledger.tallies)
            if ledger.accepted != accounted or min(ledger.tallies) < 0:
                counts = ", ".join(f"{count} {name}" for name, count in zip(TALLIES, ledger.tallies, strict=True))
                lines.append(
                    f"{SIDES[side]} in intake partition {self.partition}: {ledger.accepted} accepted, "
                    f"{accounted} accounted for ({counts})"
                )
        if self.ledgers[LEGACY].tallies[1] != self.ledgers[REBUILT].tallies[1]:
            lines.append(f"intake partition {self.partition}: the two sides disagree on how many records are paired")
        return lines
