"""Why a report cannot say that all is well: problems that are open, and evidence that is missing. Pure.

Each line says what is known of what; the rules and their order are in `summary.py`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from cutover_app.commands.fixes import shown_family
from cutover_app.core.books import Books
from cutover_app.core.closing import NEVER
from cutover_app.core.frames import LEGACY, REBUILT, SIDES
from cutover_app.core.state import other
from cutover_app.core.verdicts import FINE, INDETERMINATE, OUTCOMES, FamilyName
from cutover_app.core.waiting import CHECKPOINT_MS, seconds

if TYPE_CHECKING:
    from cutover_app.commands.summary import Evidence, Side

STOPPED_MS: Final = 120_000
"""How long the judge of a partition may have taken in nothing, barriers included, before somebody asks for a worker;
clocks of two hosts may be as far apart."""


def open_problems(evidence: "Evidence") -> list[str]:
    """Tell how many problems are open, of partitions whose books balance."""
    sound = frozenset(number for number, each in evidence.books.items() if not each.balance())
    outcomes = evidence.verdicts.outcomes(partitions=sound, marks=evidence.marks)
    open_ones = {name: outcomes[name] for name in OUTCOMES if name not in {*FINE, INDETERMINATE} and outcomes[name]}
    return [f"{sum(open_ones.values()):,} open problems: {counted(open_ones)}"] if open_ones else []


def _open_findings(evidence: "Evidence") -> Counter[FamilyName]:
    """Count the verdicts that the judges know to have a finding now, by family, over all intake partitions."""
    counts: Counter[FamilyName] = Counter()
    for row in evidence.families:
        counts[row.kind, row.path] += row.open
    return counts


def doubts_about_verdicts(evidence: "Evidence") -> list[str]:
    """Tell what is indeterminate, and what the verdicts topic should say and does not."""
    outcomes = evidence.verdicts.outcomes()
    doubts = []
    if outcomes[INDETERMINATE]:
        why = "near a range that nobody can read, behind a mirror that is not proven, or of a key with too many records"
        doubts.append(f"{outcomes[INDETERMINATE]:,} records are indeterminate ({why}; their notes say which)")
    unsaid = evidence.verdicts.unsaid(_open_findings(evidence))
    if unsaid:
        family, count = unsaid.most_common(1)[0]
        more = f", and some of {len(unsaid) - 1:,} other families," if len(unsaid) > 1 else ""
        found = f"{count:,} open findings {shown_family(family)}{more}"
        doubts.append(f"{found} are in no verdict: ask again; was the topic emptied?")
    return doubts


def doubts_about_books(evidence: "Evidence", sides: "list[Side]") -> list[str]:
    """Tell of state that is not there, or does not balance, or shows that nothing could have been found."""
    absent = [number for number in range(evidence.partitions) if number not in evidence.books]
    if len(absent) == evidence.partitions and evidence.unjudged:
        return ["nothing has been judged yet: no messages, or a worker that has just begun"]
    if len(absent) == evidence.partitions:
        return ["there is no state of this run: start a worker, or look at `run` in the contract"]
    doubts = []
    if absent:
        doubts.append(f"no books of intake partitions {listed(absent)} yet")
    unbalanced = [number for number, each in sorted(evidence.books.items()) if each.balance()]
    if unbalanced:
        doubts.append(f"the books of intake partitions {listed(unbalanced)} do not balance: nothing they say counts")
    if not sides[LEGACY].paired:
        doubts.insert(0, "not a single pair: nothing has been compared; do topics and match key fit?")
    for side in sides:
        if side.frontier_lag_ms is None:
            held = f"{side.vouched} of {side.partitions or 'an unknown number of'} partitions are vouched for"
            doubts.append(f"no frontier of {side.side} yet ({held}): nothing of the other side can be closed")
    return doubts


def doubts_about_judges(evidence: "Evidence") -> list[str]:
    """Tell of intake that nobody has judged, or that is not what was judged."""
    doubts = []
    if evidence.quarantined:
        numbers = sorted(evidence.quarantined)
        why = evidence.quarantined[numbers[0]]
        doubts.append(f"intake partitions {listed(numbers)} are quarantined, nothing more of them is judged: {why}")
    newest = evidence.intake or {}
    behind = [
        number
        for number, each in sorted(evidence.books.items())
        if number in newest and number not in evidence.quarantined and _is_behind(each, *newest[number])
    ]
    if behind:
        lag = f"more than {seconds(CHECKPOINT_MS)} behind their ends"
        doubts.append(f"intake partitions {listed(behind)} are judged {lag}: nobody knows what has come since")
    ranges = evidence.intake_ranges
    cut = [] if ranges is None else [n for n, each in sorted(evidence.books.items()) if _is_cut(each, ranges.get(n))]
    if cut:
        doubts.append(
            f"intake partitions {listed(cut)} are not as they were judged: records of them were deleted, or they were "
            "made anew"
        )
    closing = [
        number
        for number, each in sorted(evidence.books.items())
        if any(each.is_closing(side, evidence.grace_ms) for side in (LEGACY, REBUILT))
    ]
    if closing:
        doubts.append(f"a backlog of intake partitions {listed(closing)} is being closed, oldest first: ask again")
    return doubts


def doubts_about_pending(evidence: "Evidence") -> list[str]:
    """Tell what waits for something that does not come: it may be missing, and nobody will say so."""
    doubts = []
    rows = sorted(evidence.books.items())
    for side in (LEGACY, REBUILT):
        opposite = other(side)
        lags = {number: _lag_of(each, opposite) for number, each in rows if each.pending(side)}
        stale = [n for n, lag in lags.items() if lag and evidence.stale_ms and lag > evidence.stale_ms[opposite]]
        if stale:
            count = sum(evidence.books[number].pending(side) for number in stale)
            since = seconds(max(lag for number in stale if (lag := lags[number]) is not None))
            doubts.append(
                f"{count:,} {SIDES[side]} messages wait for {SIDES[opposite]}, which is known to be complete only up "
                f"to {since} ago in intake partitions {listed(stale)}: `status` says why"
            )
    now_ms, waiting = evidence.now_ms, [n for n, each in rows if each.pending(LEGACY) or each.pending(REBUILT)]
    still = [n for n in waiting if now_ms is not None and now_ms - evidence.books[n].clock.last > STOPPED_MS]
    if still:
        doubts.append(
            f"messages are pending in intake partitions {listed(still)}, of which nothing has been judged for more "
            f"than {seconds(STOPPED_MS)}: start a worker"
        )
    return doubts


def _lag_of(books: Books, side: int) -> int | None:
    """Return how far the frontier of a side is behind; None before there is one."""
    frontier = books.frontiers[side]
    reached = max(frontier.closed, frontier.claimed)  # what waits for a mirror without proof is given up in its time
    return None if reached == NEVER else max(0, books.clock.now - reached)


def _is_cut(books: Books, found: tuple[int, int] | None) -> bool:
    """Tell whether an intake partition lacks what was judged of it, or what was to be judged next."""
    return books.at >= 0 and (found is None or not found[0] <= books.at + 1 <= found[1])


def _is_behind(books: Books, offset: int, append_ms: int) -> bool:
    """Tell whether a judge is behind the newest record of its intake partition by more than a judge at work is."""
    return offset > books.at and append_ms - books.clock.last > CHECKPOINT_MS


def counted(counts: Mapping[str, int]) -> str:
    """Return counts with their names, in one line."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def listed(numbers: Sequence[int]) -> str:
    """Return the first numbers, and how many more there are, in one line."""
    return ", ".join(map(str, first(list(numbers), 8)))


def first(items: list[Any], most: int) -> list[Any]:
    """Return the first items, and how many more there are."""
    return items if len(items) <= most else [*items[:most], f"and {len(items) - most:,} more"]
