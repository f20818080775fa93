"""Whether a worker that says it works gets anywhere: rules about what must move, over looks at it.

A worker that is alive and does nothing is worse than a dead one, whose partitions somebody takes over. So it looks at
itself, and where something that must move has not moved for `LOOKS_MAX` looks in a row, it ends.

    L1   each agent has a task                            while the worker works
    L2   a partition that can be read on is read on       while the worker works
    L3   what may be committed is committed               while the worker works
    L4   recovery reads changelogs, or recovered rows     while the worker recovers
    L5   the partitions are handed out                    while a group rebalances
    L6   each side's barriers go out                      while the worker works

Invariants:

A. Time is counted in looks, and a look is one however long ago the last one was: a process that was halted, a machine
   that was suspended, an event loop that stood still have only looked less often.
B. A look at which the brokers gave no answer counts for nothing, and so does everything before it: what stands still
   during an outage, and for a while after it, stands still for a reason. Where it is one topic of which nobody knows,
   that is so of this topic alone: the cluster of the legacy producer may be away for long.
C. So does everything before a change of the assignment.
D. What is held back on purpose is not in a look (alignment of the sides, open transactions, quarantined partitions).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

LOOK_SECONDS: Final = 2.0
"""About the time between two looks."""

LOOKS_MAX: Final = 40
"""Looks in a row at which something has not moved; the longest deadline of a single operation is shorter."""

REBALANCE_LOOKS_MAX: Final = 90
"""Looks in a row at which the group rebalances: it waits for members that leave partitions, or open them."""

DEAD_LOOKS_MAX: Final = 3
"""Looks in a row at which an agent has no task: one may be replaced just now."""


_MOST: Final = {"L1": DEAD_LOOKS_MAX, "L5": REBALANCE_LOOKS_MAX}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a worker sees of itself at one moment.

    Attributes:
        tenure: Generation of the assignment; None between two.
        works: Whether it is at work; a spare worker is, and may read a topic of another group.
        recovers: Whether it recovers.
        rebalances: Whether its group hands out the partitions anew.
        unassigned: Topics whose group is between two assignments; that of a topic read directly is another one.
        answered: Whether the brokers answer.
        idle_agents: Agents without a task.
        silent: Topics whose barriers are overdue, though partitions of them are read; how many have gone out by now.
        unread: Partitions that can be read on, and where each is read.
        uncommitted: Positions that are committed, where others could be; None where nothing is to be committed.
        to_recover: Changelog offsets that recovery has still to read.
        examined: Recovered rows that have been looked at, which follows.
    """

    tenure: int | None
    works: bool = False
    recovers: bool = False
    rebalances: bool = False
    unassigned: Sequence[str] = ()
    answered: bool = True
    idle_agents: Sequence[str] = ()
    silent: Mapping[str, int] = field(default_factory=dict)
    unread: Mapping[str, int] = field(default_factory=dict)
    uncommitted: Mapping[str, int] | None = None
    to_recover: int = 0
    examined: int = 0


class Liveness:
    """Remembers since how many looks each thing that must move has not."""

    def __init__(self) -> None:
        self._tenure: int | None = None
        self._still: dict[str, tuple[object, int]] = {}

    def look(self, seen: Look) -> str:
        """Take in a look; return the line that says what does not get on, empty where all is well."""
        if not seen.answered or seen.tenure != self._tenure:
            self._tenure = seen.tenure
            self._still = {}
            return ""
        still = {}
        for name, value in _signs(seen).items():
            before, looks = self._still.get(name, (value, -1))
            still[name] = (value, looks + 1 if before == value else 0)
        self._still = still
        for name, (_value, looks) in still.items():
            if looks >= _MOST.get(name[:2], LOOKS_MAX):
                return _line(name, seen, looks)
        return ""


def _signs(seen: Look) -> dict[str, object]:
    """Return what must be another at the next look, or gone; named by its rule."""
    if seen.recovers:
        return {"L4": (seen.to_recover, seen.examined)}
    if seen.rebalances:
        return {"L5": True}
    if not seen.works:
        return {}
    signs: dict[str, object] = {f"L1 {agent}": True for agent in seen.idle_agents}
    signs |= {f"L2 {place}": position for place, position in seen.unread.items()}
    signs |= {f"L5 {topic}": True for topic in seen.unassigned}
    signs |= {f"L6 {topic}": beats for topic, beats in seen.silent.items()}
    if seen.uncommitted is not None:
        signs["L3"] = dict(seen.uncommitted)
    return signs


def _line(name: str, seen: Look, looks: int) -> str:
    rule, _, what = name.partition(" ")
    said = {
        "L1": f"agent {what} has ended, so nobody takes what is read for it",
        "L2": f"{what} is not read on from offset {seen.unread.get(what)}, although there is more",
        "L3": "positions are not committed, although they could be",
        "L4": f"recovery does not get on, with {seen.to_recover} changelog offsets to go",
        "L5": f"the group does not hand out {f'the partitions of {what}' if what else 'its partitions'}",
        "L6": f"no barrier of {what} goes out, so nothing that waits for it is closed",
    }[rule]
    return f"stuck ({rule}): {said}, at {looks} looks in a row"
