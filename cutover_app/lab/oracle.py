"""The oracle: what the verdicts must be, worked out at leisure from the two complete logs.

The judge decides while records arrive, forgets, is killed and starts again. The oracle knows none of that: it takes
everything that was accepted, at once and in order, with all of it closed, and says what each record comes to. The
stream is right iff its compacted verdicts equal the oracle's. It is written from the rules (R4, R6, R8, R11) alone and
shares no pairing code with the core, so that a mistake would have to be made twice; where it is slow, it is slow on
purpose. A key here is a match key together with its order key, where that is another one.

Left out of the comparison: the outcomes `match` and `resolved`; `rev`, `at` and times; the unreadable positions listed
beside a lonely record; keys that received a record after the run had forgotten them.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from msgspec import UnsetType

from cutover_app.core import limits
from cutover_app.core.frames import (
    LEGACY,
    MESSAGE,
    REBUILT,
    REJECTED_AS,
    Edge,
    Entry,
    Frame,
    Origin,
    Records,
    Source,
)
from cutover_app.core.verdicts import (
    DUPLICATE,
    FINE,
    INDETERMINATE,
    LATE,
    MISMATCH,
    MISSING,
    OUT_OF_ORDER,
    UNDECODABLE,
    UNKNOWN,
    Finding,
    Position,
    Verdict,
    verdict_id,
)

DIFFERENCES_MAX = 20
"""Differences that are spelled out; one more line says how many there are besides."""


@dataclass(frozen=True)
class Terms:
    """What the oracle needs to know of a contract."""

    contract: str
    unique: bool
    """Changes what is judged early, not what is true once all is closed: the oracle has no use for it."""
    edge_ms: int
    diff: Callable[[Entry, Entry], tuple[Finding, ...]]
    """(expected, actual) -> findings, none for a match."""
    late_ms: int = 1 << 62
    ordered_max: int = limits.ORDERED_MAX


@dataclass(frozen=True)
class Expectation:
    """What the oracle says about one verdict id."""

    outcome: str
    findings: tuple[Finding, ...]
    key: bytes
    legacy: Origin | None = None
    rebuilt: Origin | None = None


@dataclass(frozen=True)
class Known:
    """A record with its place in the order of records."""

    source: Source
    entry: Entry

    @property
    def origin(self) -> Origin:
        """Return the identity of the record, which is also its place in the order."""
        return Origin(self.source, self.entry.offset, self.entry.index)


Pair = tuple[Known, Known]


@dataclass
class Paired:
    """The records of one key, each side in order, and who belongs to whom."""

    key: bytes
    expected: list[Known]
    actual: list[Known]
    pairs: list[Pair]
    at_an_edge: bool
    """Whether any of them lies near a lost range."""


@dataclass
class Accepted:
    """What one intake partition accepted (R4), and the edges that it was told of."""

    legacy: list[tuple[Source, Entry]] = field(default_factory=list)
    rebuilt: list[tuple[Source, Entry]] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    at: dict[Origin, int] = field(default_factory=dict)
    """Intake offset of each accepted record."""
    redelivered: int = 0


def accepted_from(log: Iterable[tuple[int, Frame]], partition: int, partitions: int) -> Accepted:
    """Return what intake partition `partition` of `partitions` accepted, from its frames with their offsets, in order.

    A rejected record is sent to all intake partitions and judged by one of them: the one that its source partition
    names. Elsewhere it only moves the mark.
    """
    accepted = Accepted()
    marks: dict[Source, tuple[int, int]] = {}
    for offset, frame in log:
        if not isinstance(frame, Records):
            accepted.edges += [edge for edge in frame.edges if edge not in accepted.edges]
            continue
        for entry in frame.entries:
            place = (entry.offset, entry.index)
            if place <= marks.get(frame.source, (-1, -1)):
                accepted.redelivered += 1
                continue
            marks[frame.source] = place
            if entry.kind == MESSAGE or frame.source.partition % partitions == partition:
                side = accepted.legacy if frame.source.side == LEGACY else accepted.rebuilt
                side.append((frame.source, entry))
                accepted.at[Origin(frame.source, *place)] = offset
    return accepted


def oracle(
    legacy: Sequence[tuple[Source, Entry]],
    rebuilt: Sequence[tuple[Source, Entry]],
    edges: Sequence[Edge],
    terms: Terms,
) -> dict[str, Expectation]:
    """Return what is wrong with these records, by verdict id; what is fine is left out."""
    said: dict[str, Expectation] = {}
    expected: dict[tuple[bytes, bytes], list[Known]] = defaultdict(list)
    actual: dict[tuple[bytes, bytes], list[Known]] = defaultdict(list)
    for records, by_key in ((legacy, expected), (rebuilt, actual)):
        for source, entry in records:
            known = Known(source, entry)
            if entry.kind == MESSAGE:
                by_key[entry.order or entry.key, entry.key].append(known)
            else:
                said[verdict_id(terms.contract, known.origin)] = _rejected(known)
    by_order: dict[bytes, list[Paired]] = defaultdict(list)
    for order, key in sorted(expected.keys() | actual.keys()):
        made = _pair_key(key, _in_order(expected[order, key]), _in_order(actual[order, key]), edges, terms)
        by_order[order].append(made)
    for of_one_order in by_order.values():
        disorder = _out_of_order(of_one_order, terms)
        for made in of_one_order:
            said |= _judge_key(made, disorder, edges, terms)
    return said


def _in_order(records: list[Known]) -> list[Known]:
    return sorted(records, key=lambda known: known.origin)


def _rejected(known: Known) -> Expectation:
    """R11: a record without a message in it is a verdict of its own."""
    reason = Finding(REJECTED_AS[known.entry.kind], note=known.entry.payload.decode())
    return _about(UNDECODABLE, (reason,), known)


def _about(outcome: str, findings: tuple[Finding, ...], known: Known) -> Expectation:
    if known.source.side == LEGACY:
        return Expectation(outcome, findings, known.entry.key, legacy=known.origin)
    return Expectation(outcome, findings, known.entry.key, rebuilt=known.origin)


def _pair_key(key: bytes, expected: list[Known], actual: list[Known], edges: Sequence[Edge], terms: Terms) -> Paired:
    equal = _pair_equal(expected, actual, terms)
    pairs = equal + _pair_closest(expected, actual, equal, terms)
    at_an_edge = any(_at_an_edge(known, edges, terms.edge_ms) for known in expected + actual)
    return Paired(key, expected, actual, pairs, at_an_edge)


def _out_of_order(keys: Sequence[Paired], terms: Terms) -> set[Origin]:
    """R6: expected records whose pair was overtaken by another pair of the order key, in the same two partitions."""
    if sum(len(each.expected) + len(each.actual) for each in keys) > terms.ordered_max:
        return set()
    pairs = [pair for each in keys if not each.at_an_edge for pair in each.pairs]
    return {
        e.origin
        for e, a in pairs
        for e2, a2 in pairs
        if (e.source, a.source) == (e2.source, a2.source)
        and e2.entry.offset > e.entry.offset
        and a2.entry.offset < a.entry.offset
    }


def _late(e: Known, a: Known, terms: Terms) -> bool:
    """R7: by timestamps alone, where both are the producer's or both the broker's."""
    comparable = e.entry.timestamp >= 0 and e.entry.appended == a.entry.appended
    return comparable and a.entry.timestamp > e.entry.timestamp + terms.late_ms


def _judge_key(made: Paired, disorder: set[Origin], edges: Sequence[Edge], terms: Terms) -> dict[str, Expectation]:
    """Judge the records of one key (R6, R7), in the light of the lost ranges (R8)."""
    key, expected, actual = made.key, made.expected, made.actual
    paired_expected = [e for e, _ in made.pairs]
    paired_actual = [a for _, a in made.pairs]
    paired = {known.origin for known in paired_expected + paired_actual}
    said: dict[str, Expectation] = {}

    for e, a in made.pairs:
        findings = terms.diff(e.entry, a.entry)
        findings += (Finding(LATE),) if _late(e, a, terms) else ()
        findings += (Finding(OUT_OF_ORDER),) if e.origin in disorder else ()
        if findings:
            outcome = INDETERMINATE if made.at_an_edge else MISMATCH
            judged = Expectation(outcome, findings, key, legacy=e.origin, rebuilt=a.origin)
            said[verdict_id(terms.contract, e.origin)] = judged

    for known in expected + actual:
        if known.origin in paired:
            continue
        if known.source.side == LEGACY:
            outcome = DUPLICATE if _sent_again(known, expected, paired_expected) else MISSING
        else:
            outcome = DUPLICATE if _published_again(known, paired_actual) else UNKNOWN
        findings = (Finding(outcome),)
        if outcome != DUPLICATE and _at_an_edge(known, edges, terms.edge_ms):
            outcome = INDETERMINATE
        said[verdict_id(terms.contract, known.origin)] = _about(outcome, findings, known)
    return said


def _pair_equal(expected: list[Known], actual: list[Known], terms: Terms) -> list[Pair]:
    """R6.1: equal digests, the first with the first; where values under a tolerance differ, as many as fit."""
    pairs: list[Pair] = []
    for code in sorted({known.entry.digest for known in expected}):
        left = [e for e in expected if e.entry.digest == code]
        right = [a for a in actual if a.entry.digest == code]
        if len({known.entry.beside for known in left + right}) == 1:
            pairs += zip(left, right, strict=False)
        else:
            fits = _fitting(left, right, terms)
            pairs += fits + _leaky(left, right, fits)
    return pairs


def _fitting(left: list[Known], right: list[Known], terms: Terms) -> list[Pair]:
    """Pair all at once, or first the n-th of a value with the n-th of the same, and then the rest.

    The latter if that pairs more, or as many and nobody overtakes anybody of its lane, nor are more of them early.
    """
    way = _one_by_one if len(left) + len(right) > limits.CLOSEST_MAX else _fullest
    at_once = way(left, right, terms)
    fits: list[Pair] = []
    for value in dict.fromkeys(_value(known) for known in left):
        same = [[known for known in side if _value(known) == value] for side in (left, right)]
        fits += _one_by_one(same[0], same[1], terms)
    taken = {known.origin for pair in fits for known in pair}
    rest = [[known for known in side if known.origin not in taken] for side in (left, right)]
    fits += way(rest[0], rest[1], terms)
    crossed = any(
        (e.source, a.source) == (f.source, b.source)
        and left.index(e) < left.index(f)
        and right.index(a) > right.index(b)
        for e, a in fits
        for f, b in fits
    )
    better = (len(fits), not crossed, -_early(fits)) >= (len(at_once), True, -_early(at_once))
    return fits if better else at_once


def _early(pairs: list[Pair]) -> int:
    """How many actual messages are older than what they are held against."""
    return sum(a.entry.timestamp < e.entry.timestamp for e, a in pairs)


def _one_by_one(left: list[Known], right: list[Known], terms: Terms) -> list[Pair]:
    """The n-th with the n-th, where they fit."""
    return [(e, a) for e, a in zip(left, right, strict=False) if not terms.diff(e.entry, a.entry)]


def _value(known: Known) -> bytes:
    """What is beside a payload, but for what is encrypted differently each time."""
    return known.entry.beside.split(b"\0", 1)[0]


def _leaky(left: list[Known], right: list[Known], fits: list[Pair]) -> list[Pair]:
    """Where paths are sealed, a message that leaks a plaintext is still the one that was expected: in order."""
    if all(b"\0" not in known.entry.beside for known in right):
        return []
    pairs: list[Pair] = []
    waiting = [e for e in left if all(e is not paired for paired, _ in fits)]
    for a in [a for a in right if all(a is not paired for _, paired in fits)]:
        partner = next((e for e in waiting if _same(e, a)), None)
        if partner is not None:
            waiting.remove(partner)
            pairs.append((partner, a))
    return pairs


def _same(one: Known, other: Known) -> bool:
    """Equal digests, and equal values beside them; what is sealed is encrypted differently each time."""
    return one.entry.digest == other.entry.digest and _value(one) == _value(other)


def _fullest(left: list[Known], right: list[Known], terms: Terms) -> list[Pair]:
    """Try everything, in order: each expected with each actual that fits, or with none; keep the first longest."""

    @cache
    def best(place: int, free: frozenset[int]) -> tuple[tuple[int, int], ...]:
        if place == len(left):
            return ()
        found: tuple[tuple[int, int], ...] | None = None
        for other in sorted(free):
            if not terms.diff(left[place].entry, right[other].entry):
                tried = ((place, other), *best(place + 1, free - {other}))
                found = tried if found is None or len(tried) > len(found) else found
        without = best(place + 1, free)
        return without if found is None or len(without) > len(found) else found

    return [(left[i], right[j]) for i, j in best(0, frozenset(range(len(right))))]


def _pair_closest(expected: list[Known], actual: list[Known], equal: list[Pair], terms: Terms) -> list[Pair]:
    """R6.2: of the rest, duplicates apart, the closest first; by order where there are too many."""
    paired_expected = [e for e, _ in equal]
    paired_actual = [a for _, a in equal]
    left_expected = [e for e in expected if e not in paired_expected and not _copies_raw(e, paired_expected)]
    left_actual = [a for a in actual if a not in paired_actual and not _published_again(a, paired_actual)]
    if len(left_expected) + len(left_actual) > limits.CLOSEST_MAX:
        return list(zip(left_expected, left_actual, strict=False))
    distances = sorted(
        (len(terms.diff(e.entry, a.entry)), i, j)
        for i, e in enumerate(left_expected)
        for j, a in enumerate(left_actual)
    )
    pairs: list[Pair] = []
    taken_expected: set[int] = set()
    taken_actual: set[int] = set()
    for _, i, j in distances:
        if i not in taken_expected and j not in taken_actual:
            taken_expected.add(i)
            taken_actual.add(j)
            pairs.append((left_expected[i], left_actual[j]))
    return pairs


def _copies_raw(known: Known, others: Iterable[Known]) -> bool:
    """Say whether another legacy record among `others` is the same, byte for byte, at another place."""
    return any(
        other.entry.raw == known.entry.raw and other.entry.index == known.entry.index and other.origin != known.origin
        for other in others
    )


def _sent_again(known: Known, expected: list[Known], paired: list[Known]) -> bool:
    """R6.3: a copy of a legacy record that is paired or comes before; the transport is suspected."""
    before = [other for other in expected if other.origin < known.origin]
    return _copies_raw(known, paired) or _copies_raw(known, before)


def _published_again(known: Known, paired: Iterable[Known]) -> bool:
    """R6.3: an actual with the content of one that is paired."""
    return any(_same(other, known) for other in paired)


def _at_an_edge(known: Known, edges: Iterable[Edge], edge_ms: int) -> bool:
    """R8: the record's partner may have been in a range of the other side that nobody can read any more."""
    when = known.entry.timestamp
    return any(
        edge.source.side != known.source.side and edge.from_ms - edge_ms <= when <= edge.to_ms + edge_ms
        for edge in edges
    )


def compact(verdicts: Iterable[Verdict]) -> dict[str, Verdict]:
    """Return the newest revision of each id: the one with the highest `at` (R5)."""
    newest: dict[str, Verdict] = {}
    for verdict in verdicts:
        former = newest.get(verdict.id)
        if former is None or verdict.at[1] >= former.at[1]:
            newest[verdict.id] = verdict
    return newest


def differences(
    verdicts: Mapping[str, Verdict],
    expectations: Mapping[str, Expectation],
    *,
    shown_key: Callable[[bytes], list[object]],
    without_keys: Collection[bytes] = (),
) -> list[str]:
    """Return a line for each id about which compacted verdicts and oracle disagree; empty when the stream is right.

    `shown_key` shows a match key as verdicts show it; verdicts about `without_keys` are left out on both sides.
    """
    left_out = [shown_key(key) for key in without_keys]
    problems = {each.id: each for each in verdicts.values() if each.outcome not in FINE and each.key not in left_out}
    truth = {name: each for name, each in expectations.items() if each.key not in without_keys}
    lines = []
    for name in sorted(problems.keys() | truth.keys()):
        line = _difference(problems.get(name), truth.get(name), verdicts.get(name))
        if line:
            lines.append(f"{name[:12]} {line}")
    more = len(lines) - DIFFERENCES_MAX
    return lines if more <= 0 else [*lines[:DIFFERENCES_MAX], f"... and {more} more"]


def _difference(said: Verdict | None, truth: Expectation | None, any_said: Verdict | None) -> str:
    if truth is None:
        assert said is not None
        return f"{_place(said)}: said {said.outcome}, nothing is wrong with it"
    where = f"{truth.key.decode()} {_show(truth.legacy)} {_show(truth.rebuilt)}"
    if said is None:
        instead = f"said {any_said.outcome}" if any_said else "said nothing"
        return f"{where}: {instead}, should be {truth.outcome} {_tally(truth.findings)}"
    if said.outcome != truth.outcome:
        return f"{where}: said {said.outcome}, should be {truth.outcome}"
    if _tally(said.findings) != _tally(truth.findings):
        return f"{where}: found {_tally(said.findings)}, should be {_tally(truth.findings)}"
    for side, name in ((LEGACY, "legacy"), (REBUILT, "rebuilt")):
        origin, position = (truth.legacy, said.legacy) if side == LEGACY else (truth.rebuilt, said.rebuilt)
        if origin is not None and not _same_place(origin, position):
            return f"{where}: the {name} record is said to be {position}"
    return ""


def _tally(findings: Iterable[Finding]) -> dict[tuple[str, ...], int]:
    """Return findings as a multiset, without notes: neither their order nor what they explain is part of the truth."""
    counted = Counter((f.kind, f.path, repr(f.expected), repr(f.actual)) for f in findings)
    return dict(sorted(counted.items()))


def _same_place(origin: Origin, position: Position | UnsetType) -> bool:
    if isinstance(position, UnsetType):
        return False
    said = (position.topic, position.partition, position.offset, position.index)
    return said == (origin.source.topic, origin.source.partition, origin.offset, origin.index)


def _place(verdict: Verdict) -> str:
    return f"{verdict.key} {verdict.legacy} {verdict.rebuilt}"


def _show(origin: Origin | None) -> str:
    if origin is None:
        return "-"
    return f"{origin.source.topic}/{origin.source.partition}@{origin.offset}.{origin.index}"
