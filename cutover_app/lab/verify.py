"""Holds what a run said against everything that it can be held against.

1. The oracle: what the verdicts must be, from the source topics, and the ranges of them that nobody could read. Keys
   that have more messages than are paired are left out: which of them are depends on what arrived first.
2. The ledger: what was planted, found, and said without cause.
3. The books: they balance, and they account for every message that the source topics hold.
4. The replay: a judge that reads the same intake log again, in chunks of another size, with its rows in memory, comes
   to the same verdicts and the same books.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from cutover_app.contract.compile import Compiled, compile_contract
from cutover_app.contract.load import BROKER_ENV, load_contract
from cutover_app.contract.models import Contract
from cutover_app.contract.terms import judge_terms
from cutover_app.core.frames import MESSAGE, SIDES, Edge, Entry, Source
from cutover_app.core.judge import Judge
from cutover_app.core.limits import KEY_RECORDS_MAX
from cutover_app.core.memory import MemoryStore
from cutover_app.core.verdicts import FINE, Finding, Verdict, decode_verdict, encode_verdict
from cutover_app.kafka.topics import intake_of
from cutover_app.lab.evidence import Totals, read_intake, read_verdicts, total
from cutover_app.lab.ledger import Judgement, judge_ledger, read_ledger
from cutover_app.lab.oracle import DIFFERENCES_MAX, Terms, compact, differences, oracle
from cutover_app.lab.resent import explain
from cutover_app.lab.sources import read_sources

REPLAY_FRAMES: Final = 40
"""Frames between two checkpoints of the replay: unlike anything that a worker does."""

_decode: Final = msgspec.json.decode
_write: Final = msgspec.json.Encoder().encode
_read_findings: Final = msgspec.json.Decoder(tuple[Finding, ...]).decode


@dataclass(frozen=True)
class Subject:
    """A contract, compiled, and where its run took place."""

    bootstrap: str
    contract: Contract
    compiled: Compiled

    @property
    def intake(self) -> str:
        """The intake topic."""
        return intake_of(self.contract)

    @classmethod
    def load(cls, bootstrap: str, file: Path) -> "Subject":
        """Load a contract file for this broker."""
        contract = load_contract(file, {BROKER_ENV: f"kafka://{bootstrap}"})
        return cls(bootstrap, contract, compile_contract(contract))


@dataclass(frozen=True)
class Findings:
    """What came of it: `wrong` is empty when the run was right."""

    outcomes: Mapping[str, int]
    judgement: Judgement
    totals: Totals
    entries: tuple[int, int]
    """Messages that the run had to accept, expected and actual."""
    against_oracle: list[str]
    against_books: list[str]
    against_replay: list[str]
    edges: list[Edge]
    """Ranges that the run says nobody could read."""
    verdicts: Mapping[str, Verdict] = field(repr=False)

    @property
    def wrong(self) -> list[str]:
        """Return a line for everything that is not as it must be."""
        return [
            *(f"oracle: {line}" for line in self.against_oracle),
            *(f"ledger: not found: {entry}" for entry in self.judgement.not_found[:DIFFERENCES_MAX]),
            *(f"ledger: false: {dict(verdict)}" for verdict in self.judgement.false[:DIFFERENCES_MAX]),
            *(f"books: {line}" for line in self.against_books),
            *(f"replay: {line}" for line in self.against_replay),
        ]


async def verify(subject: Subject, totals: Totals, ledger: Path | None, again: Sequence[Any] = ()) -> Findings:
    """Examine a run that has come to its end.

    `totals` are its books; `ledger` is what was planted, None where that is not known; `again` are the records of the
    legacy topic that a mirror sent again, each of which counts as planted.
    """
    verdicts = await read_verdicts(subject.bootstrap, subject.contract)
    compiled, contract = subject.compiled, subject.contract
    given = await read_sources(subject.bootstrap, contract, compiled)
    crowded = _crowded(given.legacy + given.rebuilt)
    legacy, rebuilt = ([one for one in side if one[1].key not in crowded] for side in (given.legacy, given.rebuilt))
    expectations = oracle(legacy, rebuilt, given.edges, oracle_terms(contract, compiled))
    entries, edges = (len(given.legacy), len(given.rebuilt)), given.edges
    del given, legacy, rebuilt
    planted = explain(read_ledger(ledger), again) if ledger is not None else ()
    return Findings(
        outcomes=Counter(verdict.outcome for verdict in verdicts.values()),
        judgement=judge_ledger(planted, plain(verdicts.values()) if ledger is not None else ()),
        totals=totals,
        entries=entries,
        against_oracle=differences(verdicts, expectations, shown_key=compiled.shown_key, without_keys=crowded),
        against_books=[*totals.balance, *_unaccounted(totals, entries)],
        against_replay=await _replay(subject, verdicts, totals),
        edges=edges,
        verdicts=verdicts,
    )


def oracle_terms(contract: Contract, compiled: Compiled) -> Terms:
    """Return what the oracle needs to know of a contract."""
    return Terms(
        contract.contract,
        contract.match.unique,
        contract.timing.edge_ms,
        lambda expected, actual: _as_published(compiled.diff(expected, actual)),
        late_ms=contract.timing.late_ms,
    )


def plain(verdicts: Iterable[Verdict]) -> Iterator[Mapping[str, Any]]:
    """Yield verdicts as whoever reads the topic sees them."""
    for verdict in verdicts:
        if verdict.outcome not in FINE:
            yield _decode(encode_verdict(verdict))


def _crowded(records: Iterable[tuple[Source, Entry]]) -> set[bytes]:
    """Return the keys of which not all is paired: which part that is depends on what arrived first."""
    counted = Counter(entry.key for _source, entry in records if entry.kind == MESSAGE)
    return {key for key, count in counted.items() if count > KEY_RECORDS_MAX}


def _unaccounted(totals: Totals, entries: tuple[int, int]) -> list[str]:
    return [
        f"{name}: {accepted} messages accepted, the topic gave {there}"
        for name, accepted, there in zip(SIDES, totals.accepted, entries, strict=True)
        if accepted != there
    ]


async def _replay(subject: Subject, verdicts: Mapping[str, Verdict], totals: Totals) -> list[str]:
    """Judge the intake log once more and return the differences."""
    terms = judge_terms(subject.contract, subject.compiled)
    stores = [MemoryStore() for _ in range(terms.partitions)]
    judges = [Judge(terms, number, store) for number, store in enumerate(stores)]
    said: list[Verdict] = []
    since: Counter[int] = Counter()

    def checkpoint(number: int) -> None:
        stores[number].commit(judges[number].checkpoint())
        said.extend(decode_verdict(encode_verdict(verdict)) for verdict in judges[number].take_verdicts())
        judges[number].committed()
        since[number] = 0

    async for frames in read_intake(subject.bootstrap, subject.contract):
        for number, offset, append_ms, frame in frames:
            judges[number].apply(offset, append_ms, frame)
            since[number] += 1
            if since[number] >= REPLAY_FRAMES:
                checkpoint(number)
    for number in range(terms.partitions):
        checkpoint(number)
    again = total(judge.books for judge in judges)
    return [*_unlike(verdicts, compact(said)), *_books_unlike(totals, again)]


def _unlike(live: Mapping[str, Verdict], again: Mapping[str, Verdict]) -> list[str]:
    problems = [
        {name: (each.outcome, each.findings, each.legacy, each.rebuilt) for name, each in said.items() if _bad(each)}
        for said in (live, again)
    ]
    first, second = problems
    names = [name for name in sorted(first.keys() | second.keys()) if first.get(name) != second.get(name)]
    lines = [f"{name[:12]}: first {first.get(name)}, then {second.get(name)}" for name in names[:DIFFERENCES_MAX]]
    more = len(names) - len(lines)
    return [*lines, f"... and {more} more"] if more else lines


def _as_published(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Return findings as they are read again: what is masked is a struct before, and an object after."""
    return _read_findings(_write(findings)) if findings else ()


def _bad(verdict: Verdict) -> bool:
    return verdict.outcome not in FINE


def _books_unlike(live: Totals, again: Totals) -> list[str]:
    pairs = zip(live.lines(), again.lines(), strict=True)
    return [f"first {first}, then {second}" for first, second in pairs if first != second]
