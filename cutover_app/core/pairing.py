"""Which expected message belongs to which actual one: a pure function of the set of known records of a key (R6).

Arrival order plays no part: both lists come sorted by (source, offset, index), and everything below follows from them,
from which of them are closed, and from how far two messages differ. So live, replayed or after a crash, the same
records give the same pairs.

1. Equal messages are paired, in order: equal digests, and values that fit under a tolerance, as many pairs as can be
   (above `CLOSEST_MAX` records of one digest: in order). Those that say the same are paired first, unless that makes
   fewer pairs, or one overtake another, or more actual messages older than their expected ones. Where paths are sealed,
   those that leak nothing are paired first, the others then: a plaintext in a record does not make it another message.
2. Among what is left and closed, leaving out the repetitions of a record paired in step 1, the closest are paired first
   (fewest differing paths, ties by order). Above `CLOSEST_MAX` leftovers of one key: by order. Where a match key is
   unique, open records take part too, because a partner with another value is a partner all the same.
3. What is left then has no partner. It is judged once it is closed and no unpaired record of the other side that
   stood in intake before the barrier that closed it is still open; else a wrong value that was published late, but in
   time, would first be called missing. A duplicate need not wait for that.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cutover_app.core.frames import LEGACY, SEALED_BESIDE
from cutover_app.core.limits import CLOSEST_MAX
from cutover_app.core.state import OPEN, Rec, position_of
from cutover_app.core.verdicts import DUPLICATE, MISSING, UNKNOWN

Distance = Callable[[Rec, Rec], int]


@dataclass(slots=True)
class Pairing:
    """The pairs of a key, and what is left of both sides, in order."""

    equal: list[tuple[Rec, Rec]] = field(default_factory=list)
    unequal: list[tuple[Rec, Rec]] = field(default_factory=list)
    expected: list[Rec] = field(default_factory=list)
    actual: list[Rec] = field(default_factory=list)
    by_order: bool = False
    """Whether there were too many records to look for the closest, or for as many that fit as can be."""


def pair(expected: Sequence[Rec], actual: Sequence[Rec], unique: bool, distance: Distance) -> Pairing:
    """Pair the records of one key; both sequences in order."""
    pairing = Pairing(expected=list(expected), actual=list(actual))
    _pair_equal(pairing, distance)
    if pairing.expected and pairing.actual:
        _pair_closest(pairing, unique, distance)
    return pairing


def _pair_equal(pairing: Pairing, distance: Distance) -> None:
    if len(pairing.expected) == len(pairing.actual) == 1 and pairing.expected[0].digest != pairing.actual[0].digest:
        return  # one wrong message: of a wrong producer, nearly all
    groups: defaultdict[bytes, tuple[list[Rec], list[Rec]]] = defaultdict(lambda: ([], []))
    for side, records in enumerate((pairing.expected, pairing.actual)):
        for record in records:
            groups[record.digest][side].append(record)
    for expected, actual in groups.values():
        if len({record.beside for record in expected + actual}) == 1:
            pairing.equal.extend(zip(expected, actual, strict=False))
        else:
            only_two = len(expected) == len(actual) == 1  # nearly all, where paths are sealed
            fits = (_fitting if only_two else _alike)((expected, actual), distance)
            fits += _leaking(expected, actual, fits)
            pairing.equal.extend(fits)
            both = len(expected), len(actual)
            pairing.by_order |= sum(both) > CLOSEST_MAX and len(fits) < min(both)
    _take_out(pairing, pairing.equal)


def _alike(sides: tuple[list[Rec], list[Rec]], distance: Distance) -> list[tuple[Rec, Rec]]:
    """Pair records of one digest whose values under a tolerance differ, as many as fit.

    Two that fit could be kept apart by a choice that looks no further than the next record; of very many that takes too
    long, and they are paired in order. Those that say the same are paired first, because one that is missing would
    shift all that come after it, unless that makes fewer pairs, or crosses some, or pairs more with what was published
    before them: who rounds says what other messages say, too.
    """
    expected, actual = sides
    fit = _fitting if len(expected) + len(actual) > CLOSEST_MAX else _most
    plain = fit(sides, distance)
    same = [both for group in _by_content(expected, actual) for both in _fitting(group, distance)]
    taken = {record.position for both in same for record in both}
    rest = [[each for each in side if each.position not in taken] for side in sides]
    of_expected = {record.position: place for place, record in enumerate(expected)}
    alike = sorted(same + fit(rest, distance), key=lambda both: of_expected[both[0].position])
    good = len(alike), not _is_crossed(alike), -_early(alike)
    return alike if good >= (len(plain), True, -_early(plain)) else plain


def _is_crossed(pairs: list[tuple[Rec, Rec]]) -> bool:
    """Tell whether one pair overtakes another; between two partitions of a topic there is no order."""
    last: dict[tuple[int, int], tuple[int, int]] = {}
    for e, a in pairs:
        lane, place = (e.source, a.source), (a.offset, a.index)
        if place < last.get(lane, place):
            return True
        last[lane] = place
    return False


def _early(pairs: list[tuple[Rec, Rec]]) -> int:
    """Count the pairs whose actual message is older than the expected one: it is the copy of another, perhaps."""
    return sum(a.timestamp < e.timestamp for e, a in pairs)


def _fitting(sides: Sequence[list[Rec]], distance: Distance) -> list[tuple[Rec, Rec]]:
    return [(e, a) for e, a in zip(*sides, strict=False) if not distance(e, a)]


def _by_content(expected: list[Rec], actual: list[Rec]) -> list[tuple[list[Rec], list[Rec]]]:
    """Return the records of one digest that say the same, in order, by what they say."""
    groups: defaultdict[bytes, tuple[list[Rec], list[Rec]]] = defaultdict(lambda: ([], []))
    for side, records in enumerate((expected, actual)):
        for record in records:
            groups[_content(record)[1]][side].append(record)
    return list(groups.values())


def _leaking(expected: list[Rec], actual: list[Rec], paired: list[tuple[Rec, Rec]]) -> list[tuple[Rec, Rec]]:
    """Pair what is left of one digest and differs in nothing but how well it is sealed, in order."""
    if not any(SEALED_BESIDE in record.beside for record in actual):
        return []
    taken = {record.position for both in paired for record in both}
    left = ([each for each in side if each.position not in taken] for side in (expected, actual))
    return [both for sides in _by_content(*left) for both in zip(*sides, strict=False)]


def _content(record: Rec) -> tuple[bytes, bytes]:
    """Return what two copies of one message have in common.

    What a tolerance covers is not in the digest; what is sealed differs from copy to copy.
    """
    return record.digest, record.beside.partition(SEALED_BESIDE)[0]


def _most(sides: Sequence[list[Rec]], distance: Distance) -> list[tuple[Rec, Rec]]:
    """Return the largest set of fitting pairs; of several, the one with the earliest records, expected ones first."""

    def fits(one: Rec, two: Rec) -> bool:
        return one.beside == two.beside or not distance(one, two)

    expected, actual = sides
    chosen = []
    free = list(actual)
    for place, record in enumerate(expected):
        most = _size(expected[place:], free, fits)
        for partner in free:
            others = [each for each in free if each is not partner]
            if fits(record, partner) and _size(expected[place + 1 :], others, fits) + 1 == most:
                chosen.append((record, partner))
                free = others
                break
    return chosen


def _size(expected: list[Rec], actual: list[Rec], fits: Callable[[Rec, Rec], bool]) -> int:
    """Return how many pairs can be made (a maximum matching, by augmenting paths)."""
    partner_of: dict[int, Rec] = {}

    def place(record: Rec, tried: set[int]) -> bool:
        for each in actual:
            if each.position not in tried and fits(record, each):
                tried.add(each.position)
                holder = partner_of.get(each.position)
                if holder is None or place(holder, tried):
                    partner_of[each.position] = record
                    return True
        return False

    return sum(place(record, set()) for record in expected)


def _take_out(pairing: Pairing, chosen: list[tuple[Rec, Rec]]) -> None:
    taken = {record.position for both in chosen for record in both}
    pairing.expected = [record for record in pairing.expected if record.position not in taken]
    pairing.actual = [record for record in pairing.actual if record.position not in taken]


def _pair_closest(pairing: Pairing, unique: bool, distance: Distance) -> None:
    expected, actual = _candidates(pairing, unique)
    if len(expected) + len(actual) > CLOSEST_MAX:
        pairing.by_order = True
        chosen = list(zip(expected, actual, strict=False))
    else:
        chosen = _closest(expected, actual, distance)
    pairing.unequal.extend(chosen)
    _take_out(pairing, chosen)


def _candidates(pairing: Pairing, unique: bool) -> tuple[list[Rec], list[Rec]]:
    """Return what step 2 may pair: no repetitions of a paired record, and closed unless keys are unique."""
    published = {_content(record) for _, record in pairing.equal}
    sent = {(record.raw, record.index) for record, _ in pairing.equal}
    expected = [r for r in pairing.expected if (r.raw, r.index) not in sent and (unique or r.closed_at != OPEN)]
    actual = [r for r in pairing.actual if _content(r) not in published and (unique or r.closed_at != OPEN)]
    return expected, actual


def _closest(expected: list[Rec], actual: list[Rec], distance: Distance) -> list[tuple[Rec, Rec]]:
    if len(expected) == len(actual) == 1:
        return [(expected[0], actual[0])]
    ranked = sorted((distance(e, a), i, j) for i, e in enumerate(expected) for j, a in enumerate(actual))
    chosen: list[tuple[Rec, Rec]] = []
    free_expected, free_actual = set(range(len(expected))), set(range(len(actual)))
    for _, i, j in ranked:
        if i in free_expected and j in free_actual:
            free_expected.discard(i)
            free_actual.discard(j)
            chosen.append((expected[i], actual[j]))
    return chosen


def leftovers(pairing: Pairing, side: int, ordered: Sequence[Rec]) -> list[tuple[Rec, str | None]]:
    """Return each leftover of a side with its outcome, None where it is not judged yet; `ordered` is the whole side."""
    left, opposite = (pairing.expected, pairing.actual) if side == LEGACY else (pairing.actual, pairing.expected)
    if not left:
        return []
    open_positions = [record.position for record in opposite if record.closed_at == OPEN]
    first_open = min(open_positions, default=None)
    repeats = _repeated_expected(pairing, ordered) if side == LEGACY else _repeated_actual(pairing)
    alone = MISSING if side == LEGACY else UNKNOWN
    return [(record, _outcome(record, first_open, record.position in repeats, alone)) for record in left]


def _outcome(record: Rec, first_open: int | None, repeats: bool, alone: str) -> str | None:
    if record.closed_at == OPEN:
        return None
    if repeats:
        return DUPLICATE
    if first_open is not None and first_open < position_of(record.closed_at):
        return None
    return alone


def _repeated_expected(pairing: Pairing, ordered: Sequence[Rec]) -> set[int]:
    """Return the leftovers that are another record's bytes again, as when MirrorMaker 2 re-sends after a crash."""
    paired = defaultdict(set)
    for record, _ in pairing.equal + pairing.unequal:
        paired[record.raw, record.index].add(record.position)
    seen: set[tuple[bytes, int]] = set()
    before: set[int] = set()
    for record in ordered:
        if (record.raw, record.index) in seen:
            before.add(record.position)
        seen.add((record.raw, record.index))
    return {r.position for r in pairing.expected if r.position in before or paired.get((r.raw, r.index))}


def _repeated_actual(pairing: Pairing) -> set[int]:
    """Return the leftovers whose message was published as part of a pair already."""
    published = {_content(record) for _, record in pairing.equal + pairing.unequal}
    return {record.position for record in pairing.actual if _content(record) in published}
