"""How the fleet of a run stands: from what was read of Kafka to what `status` shows. Pure.

The conclusion is that of the report (`summary.py`), and where that is "fine", whether anything stands still
(`core/waiting.py`): a fleet that does not work can tell nobody that all is well.

Two times are meant differently. Judge time is the clock of one intake partition; lags and the age of what is pending
are differences of it. The age of a checkpoint is a difference of the clocks of the worker and of who asks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cutover_app.commands.doubts import STOPPED_MS
from cutover_app.commands.summary import CONCLUSION_CANNOT_TELL, CONCLUSION_FINE, Evidence, Report, Side, summarise
from cutover_app.core.books import Books
from cutover_app.core.closing import NEVER
from cutover_app.core.frames import LEGACY, REBUILT, SIDES
from cutover_app.core.waiting import CHECKPOINT_MS, VOUCH_INTERVALS, Look, Reason, SideLook, reasons

MIRROR_UNPROVEN: Final = "the mirror is not proven: nobody can say how far the copy of the legacy topic is"


@dataclass(frozen=True, slots=True, kw_only=True)
class SideFacts:
    """What the clusters say about one source topic; partitions are its own."""

    topic: str
    unread: Mapping[int, int]
    held: Mapping[int, int]
    assigned: frozenset[int] | None
    """Partitions that the workers have; None where the topic is not read through their group."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A member of the fleet, and the partitions that it has."""

    name: str
    host: str
    legacy: list[int]
    rebuilt: list[int]
    intake: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was read beside the evidence. Times in milliseconds since the epoch."""

    now_ms: int
    group_state: str
    workers: Sequence[Worker]
    checkpoints: Mapping[int, int]
    """When each intake partition was committed last."""
    unjudged: Mapping[int, int]
    sides: tuple[SideFacts | None, SideFacts | None]
    """None where a topic does not exist."""
    interval_ms: int
    grace_ms: int


@dataclass(frozen=True, slots=True)
class SideStatus:
    """One side. Times in milliseconds of judge time."""

    side: str
    topic: str
    frontier_lag_ms: int | None
    partitions: int
    vouched: int
    unread: int | None
    held: int | None
    """Offsets that an open transaction holds back."""
    accepted: int
    pending: int
    oldest_ms: int | None
    """No record that is pending and not closed is older than this; None where none is, or nobody can say."""


@dataclass(frozen=True, slots=True)
class IntakeStatus:
    """One intake partition."""

    partition: int
    at: int
    judge_ms: int
    unjudged: int
    pending: tuple[int, int]
    checkpoint_ms: int | None
    """Age of its last checkpoint; None before the first."""
    balanced: bool


@dataclass(frozen=True, slots=True)
class Rate:
    """What has happened since the last look, per second."""

    seconds: float
    legacy: float
    rebuilt: float
    verdicts: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What `status` shows."""

    contract: str
    run: str
    conclusion: str
    reasons: list[str]
    """Of the conclusion."""
    waiting: Reason
    """The one reason why something waits."""
    also: list[Reason]
    """What else is true, in the order of the rules."""
    sides: list[SideStatus]
    intake: list[IntakeStatus]
    workers: list[Worker]
    group_state: str
    outcomes: dict[str, int]
    past: int
    balanced: bool
    imbalances: list[str]
    rate: Rate | None = None


def status_of(evidence: Evidence, facts: Facts) -> Status:
    """Return how a run stands."""
    report = summarise(evidence)
    books = [evidence.books[number] for number in sorted(evidence.books)]
    waiting, *also = reasons(_look(evidence, facts, report, books))
    conclusion, why = report.conclusion, report.reasons
    # What goes on in one partition does not make up for what stands still in another.
    stands = next((each for each in (waiting, *also) if each.stands), None)
    if conclusion == CONCLUSION_FINE and stands is not None:
        conclusion, why = CONCLUSION_CANNOT_TELL, [stands.text]
    return Status(
        contract=report.contract,
        run=report.run,
        conclusion=conclusion,
        reasons=why,
        waiting=waiting,
        also=also,
        sides=[_side(side, report.sides[side], facts, books) for side in (LEGACY, REBUILT)],
        intake=[_intake(number, evidence, facts) for number in range(evidence.partitions)],
        workers=sorted(facts.workers, key=lambda each: (each.host, each.name, each.intake)),
        group_state=facts.group_state,
        outcomes=report.outcomes,
        past=report.past,
        balanced=report.balanced,
        imbalances=report.imbalances,
    )


def rate_of(before: Status, after: Status, seconds: float) -> Rate:
    """Return what happened between two looks, per second."""

    def per_second(was: int, now: int) -> float:
        return round(max(0, now - was) / seconds, 1) if seconds > 0 else 0.0

    accepted = [per_second(was.accepted, now.accepted) for was, now in zip(before.sides, after.sides, strict=True)]
    verdicts = per_second(sum(before.outcomes.values()), sum(after.outcomes.values()))
    return Rate(round(seconds, 1), accepted[LEGACY], accepted[REBUILT], verdicts)


# -- parts -----------------------------------------------------------------------------------------------------------


def _look(evidence: Evidence, facts: Facts, report: Report, books: list[Books]) -> Look:
    ages = {number: _age(facts, number) for number in range(evidence.partitions)}
    old = [number for number, age in ages.items() if age is None or age > CHECKPOINT_MS]
    known = [age for number in old if (age := ages[number]) is not None]
    return Look(
        members=len(facts.workers),
        group_state=facts.group_state,
        quarantined=evidence.quarantined,
        unsaved=old,
        saved_ms=max(known) if len(known) == len(old) and known else None,
        sides=[
            seen
            for side in (LEGACY, REBUILT)
            if (seen := _side_look(side, report.sides[side], facts, books, evidence.stale_ms))
        ],
        mirror=_mirror(books),
        unjudged=max(facts.unjudged.values(), default=0),
        interval_ms=facts.interval_ms,
        grace_ms=facts.grace_ms,
    )


def _side_look(
    side: int, totals: Side, facts: Facts, books: list[Books], stale_ms: tuple[int, int] | None
) -> SideLook | None:
    found = facts.sides[side]
    if found is None:
        return None
    ages = [_age(facts, each.partition) for each in books]
    numbers = sorted(found.unread)
    # A copy may lack partitions that its original has.
    expected = sorted({*numbers, *range(max((each.frontiers[side].partitions for each in books), default=0))})
    stale = stale_ms[side] if stale_ms else VOUCH_INTERVALS * facts.interval_ms
    # Judge time stands still where nobody works: then nothing is fresh.
    is_idle = not facts.workers or any(age is None or age > CHECKPOINT_MS for age in ages)
    unvouched = {
        number
        for each in books
        for number in expected
        if each.frontiers[side].vouched.get(number, NEVER) < each.clock.now - stale
    }
    return SideLook(
        side=SIDES[side],
        topic=found.topic,
        unread=found.unread,
        held=found.held,
        unassigned=[] if found.assigned is None else [each for each in numbers if each not in found.assigned],
        unvouched=sorted(unvouched),
        pending=totals.pending,
        is_closing=any(each.is_closing(side, facts.grace_ms) for each in books),
        is_fresh=not is_idle and totals.frontier_lag_ms is not None and totals.frontier_lag_ms <= stale,
    )


def _mirror(books: list[Books]) -> str:
    """Say how the mirror is behind, as far as the books tell."""
    return "" if all(each.frontiers[LEGACY].is_proven for each in books) else MIRROR_UNPROVEN


def _side(side: int, totals: Side, facts: Facts, books: list[Books]) -> SideStatus:
    found = facts.sides[side]
    return SideStatus(
        side=SIDES[side],
        topic=found.topic if found else "",
        frontier_lag_ms=totals.frontier_lag_ms,
        partitions=totals.partitions,
        vouched=totals.vouched,
        unread=sum(found.unread.values()) if found else None,
        held=sum(found.held.values()) if found else None,
        accepted=totals.accepted,
        pending=totals.pending,
        oldest_ms=_oldest(side, books),
    )


def _oldest(side: int, books: list[Books]) -> int | None:
    """Return how old a record that is pending can be: what is older has been closed."""
    ages = []
    for each in books:
        if not each.pending(side):
            continue
        due = each.due_ms[side]
        if due == NEVER:
            return None
        ages.append(min(each.clock.now, each.clock.now - due))
    return max(ages, default=None)


def _intake(number: int, evidence: Evidence, facts: Facts) -> IntakeStatus:
    books = evidence.books.get(number)
    return IntakeStatus(
        partition=number,
        at=books.at if books else -1,
        judge_ms=books.clock.now if books else 0,
        unjudged=facts.unjudged.get(number, 0),
        pending=(books.pending(LEGACY), books.pending(REBUILT)) if books else (0, 0),
        checkpoint_ms=_age(facts, number),
        balanced=not books.balance() if books else True,
    )


def _age(facts: Facts, number: int) -> int | None:
    committed = facts.checkpoints.get(number)
    if committed is None or committed - facts.now_ms > STOPPED_MS:  # so far ahead, a clock says nothing
        return None
    return max(0, facts.now_ms - committed)
