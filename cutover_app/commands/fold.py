"""Many revisions of verdicts, folded into what is true now: one outcome per id, counts, and a few samples.

Memory is bounded by the number of ids, not by what verdicts contain: whole verdicts are kept as samples only.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

from cutover_app.commands.fixes import Mark, is_past
from cutover_app.core.verdicts import FINE, INDETERMINATE, OTHER_PATHS, FamilyName, Verdict, family_of

KEPT_MAX: Final = 32
"""Verdicts kept per family as candidates for samples; more than are shown, because revisions take some away."""

NO_MARKS: Final[Mapping[FamilyName, Mark]] = {}


class _Said(NamedTuple):
    """The newest revision of one id, without its content."""

    at: int
    outcome: str
    partition: int
    explained: bool
    families: tuple[FamilyName, ...]
    time_ms: int
    """Time of its records, of two the later one's; -1 where one has none."""

    def is_past(self, marks: Mapping[FamilyName, Mark]) -> bool:
        """Tell whether it is a problem of before the fixes. What is indeterminate is a doubt, which no fix removes."""
        return self.outcome not in _NEVER_PAST and is_past(self.families, self.time_ms, marks)


_NEVER_PAST: Final = FINE | {INDETERMINATE}


class Ages(NamedTuple):
    """Verdicts of a family that are problems: of before its fix, and since."""

    before: int
    since: int


class VerdictFold:
    """The newest revision of every verdict of one contract and run."""

    def __init__(self, contract: str, run: str) -> None:
        self.foreign = 0
        """Revisions of other contracts or runs, which share the topic."""
        self._contract = contract
        self._run = run
        self._said: dict[str, _Said] = {}
        self._known: dict[tuple[FamilyName, ...], tuple[FamilyName, ...]] = {}
        self._kept: dict[FamilyName, dict[str, Verdict]] = {}

    def __len__(self) -> int:
        return len(self._said)

    def __repr__(self) -> str:
        """Return how many verdicts there are of which outcome."""
        return f"<VerdictFold {dict(self.outcomes())}>"

    def add(self, verdict: Verdict) -> None:
        """Take in a revision; an older one than what is known changes nothing (R5)."""
        if verdict.contract != self._contract or verdict.run != self._run:
            self.foreign += 1
            return
        former = self._said.get(verdict.id)
        partition, at = verdict.at
        if former is not None:
            if at < former.at:
                return
            self._let_go(verdict.id, former)
        families = tuple(dict.fromkeys(family_of(finding) for finding in verdict.findings))
        families = self._known.setdefault(families, families)
        self._said[verdict.id] = _Said(
            at, verdict.outcome, partition, bool(verdict.undecodable), families, time_of(verdict)
        )
        for family in families:
            kept = self._kept.setdefault(family, {})
            if len(kept) < KEPT_MAX:
                kept[verdict.id] = verdict

    def remove(self, verdict_id: str) -> None:
        """Take in a tombstone."""
        former = self._said.pop(verdict_id, None)
        if former is not None:
            self._let_go(verdict_id, former)

    def _let_go(self, verdict_id: str, former: _Said) -> None:
        for family in former.families:
            self._kept[family].pop(verdict_id, None)

    def outcomes(
        self, *, partitions: frozenset[int] | None = None, marks: Mapping[FamilyName, Mark] = NO_MARKS
    ) -> Counter[str]:
        """Count ids by outcome, of all intake partitions or of some; without the problems of before the fixes."""
        return Counter(
            said.outcome
            for said in self._said.values()
            if (partitions is None or said.partition in partitions) and not (marks and said.is_past(marks))
        )

    def findings(self) -> Counter[FamilyName]:
        """Count, by family, the ids that have such a finding now."""
        return Counter(family for said in self._said.values() if said.outcome not in FINE for family in said.families)

    def unsaid(self, known: Counter[FamilyName]) -> Counter[FamilyName]:
        """Count, by family, the findings that judges know to be open and that are in no verdict.

        Beyond the limit of families a judge counts all of a kind as one: where these are in verdicts, there are as many
        of their kind that no other family accounts for.
        """
        said = self.findings()
        beyond = said - known
        kinds = {kind for kind, path in known if path == OTHER_PATHS}
        for each in self._said.values() if kinds else ():
            if each.outcome not in FINE:
                others = {kind for kind, path in each.families if kind in kinds and (kind, path) in beyond}
                said.update((kind, OTHER_PATHS) for kind in others)
        return known - said

    def past(self, marks: Mapping[FamilyName, Mark]) -> int:
        """Count the problems that are older than the fixes of all of their families."""
        return sum(said.is_past(marks) for said in self._said.values()) if marks else 0

    def ages(self, marks: Mapping[FamilyName, Mark]) -> dict[FamilyName, Ages]:
        """Count, for each family that is marked, its problems of before its own fix and since."""
        counted = dict.fromkeys(marks, Ages(0, 0))
        for said in self._said.values() if marks else ():
            if said.outcome in FINE:
                continue
            for family in said.families:
                if family in marks:
                    before, since = counted[family]
                    old = is_past((family,), said.time_ms, marks)
                    counted[family] = Ages(before + old, since + (not old))
        return counted

    def explained(self) -> int:
        """Count the lonely records near which an unreadable one lies: that may be their partner (R11)."""
        return sum(said.explained for said in self._said.values())

    def samples(self, family: FamilyName, most: int) -> list[Verdict]:
        """Return some verdicts that have such a finding now, by the position of their records."""
        return sorted(self._kept.get(family, {}).values(), key=_place)[:most]


def _place(verdict: Verdict) -> tuple[str, int, int, str]:
    anchor = verdict.legacy or verdict.rebuilt
    return (anchor.topic, anchor.partition, anchor.offset, verdict.id) if anchor else ("", 0, 0, verdict.id)


def time_of(verdict: Verdict) -> int:
    """Return when the records of a verdict were published, of two the later one; -1 where one does not say."""
    times = [position.timestamp for position in (verdict.legacy, verdict.rebuilt) if position]
    return max(times) if times and min(times) >= 0 else -1
