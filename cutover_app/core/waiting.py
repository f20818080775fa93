"""Why something waits: the one reason, in words that `status`, the log and `/ready` share.

Pure: whoever asks has looked at the fleet and says what it saw. The reasons, by numbered rules; the first that holds is
the reason, those after it are true too. A number is a name and never changes. First what stops everything, then what
holds a side, then what only takes time.

    W1   no worker is in the consumer group                                          stands still
    W2   the group is rebalancing: partitions are changing hands                     stands still
    W12  an intake partition is quarantined: judging it failed                       stands still
    W3   a worker has intake partitions and checkpoints none of them: it recovers    stands still
    W4   a source partition is assigned to no worker                                 stands still
    W5   a side lags: records have not been read, and not only just come             goes on
    W6   an open transaction holds the end of a source partition                     stands still
    W7   the mirror is behind, or nobody can say how far it is                       stands still
    W8   a source partition has been read to its end, and nobody vouches for it      stands still
    W9   the judge lags behind intake                                                goes on
    W13  a backlog is due, and closed in steps                                       goes on
    W14  messages wait for a side of which nobody knows how complete it is           stands still
    W10  the grace of what is pending has not passed yet                             goes on
    W11  nothing waits                                                               goes on

"Nobody vouches" comes after "lags": a partition with a backlog cannot be vouched for before it has been read up to an
end that was sampled, however healthy its worker is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

STABLE: Final = "Stable"
"""State of a group in which every member knows its partitions, as Kafka names it."""

CHECKPOINT_MS: Final = 30_000
"""Age of a checkpoint beyond which its partition is not at work: idle ones are committed every 10 s."""

VOUCH_INTERVALS: Final = 15
"""Barrier intervals after which a vouch is stale; two or three are usual."""

MIRROR_MS: Final = 150_000
"""Age of a vouch for a copy beyond which it is stale: Connect tells the mirror's position every 60 s, and a sample that
was taken just before that waits for the next time."""

BARRIERS_MS: Final = 30_000
"""Intake records are a lag if they are more than the barriers of this long."""

REBALANCING: Final = "the workers of this run are sharing out the partitions"
RECOVERING: Final = "the state of partitions is read from the changelogs"
"""What a worker says of itself in these states, too."""

LISTED_MAX: Final = 3
"""Partitions that one reason names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideLook:
    """What was seen of one side. Partitions are those of its source topic."""

    side: str
    topic: str
    unread: Mapping[int, int] = field(default_factory=dict)
    """Records that can be read and have not been, by partition."""
    held: Mapping[int, int] = field(default_factory=dict)
    """Offsets beyond the last stable one, by partition: an open transaction holds them back."""
    unassigned: Sequence[int] = ()
    """Partitions that no worker has."""
    unvouched: Sequence[int] = ()
    """Partitions for which no vouch has come, or none for `VOUCH_INTERVALS`."""
    pending: int = 0
    is_closing: bool = False
    """Whether some of what is pending is due: a backlog is closed in steps, barrier by barrier."""
    is_fresh: bool = False
    """Whether it is known to be complete as of a moment ago: what is unread has only just come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen of the fleet and of the run. Times in milliseconds."""

    members: int
    group_state: str
    quarantined: Mapping[int, str] = field(default_factory=dict)
    """Intake partitions that are judged no more, and why."""
    unsaved: Sequence[int] = ()
    """Intake partitions without a checkpoint for `CHECKPOINT_MS`, or without any."""
    saved_ms: int | None = None
    """Age of the oldest of their last checkpoints; None where one never was."""
    sides: Sequence[SideLook] = ()
    mirror: str = ""
    """How the mirror is behind, or why nobody knows; empty where it is proven or there is none."""
    unjudged: int = 0
    """Intake records that no checkpoint covers, in the partition that has most of them."""
    interval_ms: int = 1000
    """Barrier interval."""
    grace_ms: int = 0


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something waits. `name` is for programs and never changes; `text` is one line for people."""

    rule: str
    name: str
    text: str
    stands: bool
    """Whether it stands still: somebody has to do something, or a rebalance has to end."""


def reasons(look: Look) -> list[Reason]:
    """Return every reason that holds, the one reason first; there always is one."""
    found = [reason for rule in _RULES if (reason := rule(look)) is not None]
    return found or [Reason("W11", "nothing", "nothing waits", stands=False)]


def _no_worker(look: Look) -> Reason | None:
    if look.members:
        return None
    return Reason("W1", "no_worker", "no worker of this run is there: start one", stands=True)


def _rebalancing(look: Look) -> Reason | None:
    if not look.members or look.group_state == STABLE:
        return None
    text = f"{REBALANCING} (group state {look.group_state})"
    return Reason("W2", "rebalancing", text, stands=True)


def _quarantined(look: Look) -> Reason | None:
    if not look.quarantined:
        return None
    number = min(look.quarantined)
    more = f", and {len(look.quarantined) - 1} more" if len(look.quarantined) > 1 else ""
    text = f"intake partition {number} is quarantined: {look.quarantined[number]}{more}"
    return Reason("W12", "quarantined", text, stands=True)


def _recovering(look: Look) -> Reason | None:
    if not look.members or not set(look.unsaved) - set(look.quarantined):
        return None
    since = "ever" if look.saved_ms is None else f"for {seconds(look.saved_ms)}"
    text = (
        f"{RECOVERING}, or cannot be committed: no checkpoint {since} of intake partition"
        f"{_s(look.unsaved)} {_listed(look.unsaved)}"
    )
    return Reason("W3", "recovering", text, stands=True)


def _unassigned(look: Look) -> Reason | None:
    if not look.members or look.group_state != STABLE:
        return None
    for side in look.sides:
        if side.unassigned:
            text = f"no worker has {_places(side, side.unassigned)}: nobody reads it, nobody vouches for it"
            return Reason("W4", "unassigned", text, stands=True)
    return None


def _lag(look: Look) -> Reason | None:
    behind = [side for side in look.sides if any(side.unread.values()) and not side.is_fresh]
    if not behind:
        return None
    lags = ", ".join(f"{side.side} lags by {sum(side.unread.values()):,} records" for side in behind)
    most = max(behind, key=lambda side: max(side.unread.values()))
    partition = max(most.unread, key=lambda number: most.unread[number])
    return Reason("W5", "lag", f"{lags}; most in {most.topic}/{partition}", stands=False)


def _open_transaction(look: Look) -> Reason | None:
    for side in look.sides:
        held = [number for number, offsets in sorted(side.held.items()) if offsets]
        if held:
            text = f"an open transaction holds the end of {_places(side, held)}: its producer must commit or abort it"
            return Reason("W6", "open_transaction", text, stands=True)
    return None


def _mirror(look: Look) -> Reason | None:
    return Reason("W7", "mirror", look.mirror, stands=True) if look.mirror else None


def _unvouched(look: Look) -> Reason | None:
    if not look.members:
        return None
    for side in look.sides:
        idle = [number for number in side.unvouched if not side.unread.get(number) and not side.held.get(number)]
        idle = [number for number in idle if number not in side.unassigned]
        if idle:
            text = f"nobody vouches for {_places(side, idle)}, read to the end"
            return Reason("W8", "not_vouched", text, stands=True)
    return None


def _judge_lag(look: Look) -> Reason | None:
    usual = 2 * max(1, look.members) * BARRIERS_MS / max(1, look.interval_ms)
    if look.unjudged <= usual:
        return None
    return Reason("W9", "judge_lag", f"the judge lags by {look.unjudged:,} intake records", stands=False)


def _backlog(look: Look) -> Reason | None:
    closing = [side.side for side in look.sides if side.is_closing]
    if not closing:
        return None
    text = f"a backlog of {' and '.join(closing)} messages is due, and is being closed, oldest first"
    return Reason("W13", "backlog", text, stands=False)


def _frontier(look: Look) -> Reason | None:
    said = [
        f"{one.pending:,} {one.side} messages are pending, and nobody knows how complete {name} is"
        for one in look.sides
        if one.pending and not one.is_closing and (name := _stale_opposite(look, one))
    ]
    return Reason("W14", "frontier", "; ".join(said), stands=True) if said else None


def _stale_opposite(look: Look, one: SideLook) -> str:
    """Return the name of the other side where its frontier is old; empty otherwise."""
    return next((each.side for each in look.sides if each is not one and not each.is_fresh), "")


def _grace(look: Look) -> Reason | None:
    pending = [
        f"{side.pending:,} {side.side}"
        for side in look.sides
        if side.pending and not side.is_closing and not _stale_opposite(look, side)
    ]
    if not pending:
        return None
    text = f"{' and '.join(pending)} messages are pending: their grace of {seconds(look.grace_ms)} has not passed yet"
    return Reason("W10", "grace", text, stands=False)


_RULES: Final = (
    _no_worker,
    _rebalancing,
    _quarantined,
    _recovering,
    _unassigned,
    _lag,
    _open_transaction,
    _mirror,
    _unvouched,
    _judge_lag,
    _backlog,
    _frontier,
    _grace,
)


def seconds(duration_ms: int) -> str:
    """Return a duration as a reason says it: `4 s`, `0.5 s`."""
    return f"{duration_ms / 1000:,.1f}".removesuffix(".0") + " s"


def _places(side: SideLook, partitions: Sequence[int]) -> str:
    return f"{side.side} partition{_s(partitions)} {side.topic}/{_listed(partitions)}"


def _s(items: Sequence[int]) -> str:
    return "s" if len(items) > 1 else ""


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:LISTED_MAX]))
    more = len(numbers) - LISTED_MAX
    return f"{shown} and {more} more" if more > 0 else shown
