"""Tiny literal histories for tests of the judge: one-letter helpers, and a log that applies them."""

from collections.abc import Iterable
from typing import Any

from cutover_app.core.frames import (
    LEGACY,
    REBUILT,
    Barrier,
    Edge,
    Entry,
    Frame,
    Passed,
    Records,
    Source,
    Vouch,
    decode_frame,
    encode_frame,
)
from cutover_app.core.judge import Judge, JudgeTerms
from cutover_app.core.memory import MemoryStore
from cutover_app.core.rows import Changes
from cutover_app.core.verdicts import Finding, Verdict

INTERVAL_MS = 1_000
GRACE_MS = 4_000
REMEMBER_MS = 20_000
PROBLEMS_MS = 60_000
RULES = "sha256:test"


def letters_apart(expected: Entry, actual: Entry) -> tuple[Finding, ...]:
    """A difference for every place in which two payloads differ."""
    left, right = expected.payload.decode(), actual.payload.decode()
    width = max(len(left), len(right))
    pairs = enumerate(zip(left.ljust(width), right.ljust(width), strict=True))
    return tuple(Finding("wrong_value", f"$[{place}]", a, b) for place, (a, b) in pairs if a != b)


def terms(**changed: Any) -> JudgeTerms:
    """Terms of a contract for tests."""
    usual: dict[str, Any] = {
        "contract": "orders",
        "run": "r1",
        "rules": RULES,
        "partitions": 1,
        "grace_ms": GRACE_MS,
        "remember_ms": REMEMBER_MS,
        "problems_ms": PROBLEMS_MS,
        "interval_ms": INTERVAL_MS,
        "edge_ms": 0,
        "unique": False,
        "diff": letters_apart,
    }
    return JudgeTerms(**usual | changed)


def source(side: int, partition: int = 0, topic: str = "") -> Source:
    """A source partition."""
    return Source(side, topic or ("shop.orders", "orders.v2")[side], "", partition)


def entry(offset: int, text: str, **changed: Any) -> Entry:
    """An entry whose key is the text before `=` and whose message is what follows."""
    key, _, message = text.partition("=")
    usual: dict[str, Any] = {
        "offset": offset,
        "index": 0,
        "timestamp": 1_000 + offset,
        "kind": 0,
        "key": key.encode(),
        "digest": message.encode().ljust(16, b"."),
        "raw": b"raw-%d" % offset,
        "payload": message.encode(),
        "beside": b"",
    }
    return Entry(**usual | changed)


class Log:
    """An intake partition and its judge; time passes only when told to."""

    def __init__(self, judge_terms: JudgeTerms | None = None, **changed: Any) -> None:
        self.terms = judge_terms or terms(**changed)
        self.store = MemoryStore()
        self.judge = Judge(self.terms, 0, self.store)
        self.frames: list[tuple[int, Frame]] = []
        self.now = 1_760_000_000_000
        self.sent = {LEGACY: 0, REBUILT: 0}
        self.verdicts: dict[str, Verdict] = {}
        self.history: list[Verdict] = []

    def append(self, frame: Frame, after_ms: int = 0) -> int:
        """Append a frame to the log and have it judged; return its offset."""
        self.now += after_ms
        offset = len(self.frames)
        self.frames.append((self.now, frame))
        self.judge.apply(offset, self.now, decode_frame(encode_frame(frame)))
        return offset

    def legacy(self, *entries: Entry, partition: int = 0, sender: str = "l") -> int:
        """Legacy entries arrive."""
        return self._records(source(LEGACY, partition), entries, sender)

    def rebuilt(self, *entries: Entry, partition: int = 0, sender: str = "r") -> int:
        """Rebuilt entries arrive."""
        return self._records(source(REBUILT, partition), entries, sender)

    def _records(self, origin: Source, entries: Iterable[Entry], sender: str) -> int:
        listed = list(entries)
        self.sent[origin.side] += len(listed)
        return self.append(Records(RULES, sender, origin, listed))

    def barrier(self, side: int, vouch: int | None = None, after_ms: int = 0, **changed: Any) -> int:
        """A barrier arrives that vouches for the one at offset `vouch`."""
        origin = source(side)
        usual: dict[str, Any] = {
            "rules": RULES,
            "sender": "lr"[side],
            "side": side,
            "topic": origin.topic,
            "incarnation": "",
            "partitions": 1,
            "vouches": [] if vouch is None else [Vouch(origin, vouch)],
            "sent": self.sent[side],
            "passed": [],
            "edges": [],
        }
        self.sent[side] = 0
        return self.append(Barrier(**usual | changed), after_ms)

    def edge(self, edge: Edge) -> None:
        """A lost range becomes known."""
        self.barrier(edge.source.side, edges=[edge])

    def pass_time(self, seconds: int) -> None:
        """Both sides beat each second, each barrier vouching for the one before."""
        last: dict[int, int | None] = {LEGACY: None, REBUILT: None}
        for _ in range(seconds):
            for side in (LEGACY, REBUILT):
                last[side] = self.barrier(side, last[side], INTERVAL_MS if side == LEGACY else 0)

    def settle(self) -> list[Verdict]:
        """Decide what is touched and return what was published since the last call."""
        self.judge.settle()
        return self._taken()

    def _taken(self) -> list[Verdict]:
        taken = self.judge.take_verdicts()
        self.history.extend(taken)
        self.verdicts.update((verdict.id, verdict) for verdict in taken)
        return taken

    def checkpoint(self) -> Changes:
        """Commit, as the worker does."""
        changes = self.judge.checkpoint()
        self._taken()
        self.store.commit(changes)
        self.judge.committed()
        return changes

    def crash(self) -> None:
        """Lose everything since the last checkpoint; a new judge reads the log from there."""
        self.judge = Judge(self.terms, 0, self.store)
        for offset, (append_ms, frame) in enumerate(self.frames):
            if offset >= self.judge.next_offset:
                self.judge.apply(offset, append_ms, decode_frame(encode_frame(frame)))

    def outcomes(self) -> dict[str, str]:
        """Newest outcome by anchor, `L0` for offset 0 of the legacy side."""
        self.settle()
        named = {}
        for verdict in self.verdicts.values():
            position = verdict.legacy or verdict.rebuilt
            side = "L" if verdict.legacy else "R"
            assert position
            named[f"{side}{position.offset}" + (f".{position.index}" if position.index else "")] = verdict.outcome
        return named


def passed(side: int, start: int, end: int, records: int, filtered: int = 0, gaps: int = 0) -> Passed:
    """A sender's account of a source partition."""
    return Passed(source(side), start, end, records, filtered, gaps)
