"""What has to be true after a run; each check returns lines that say what is not."""

import zlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from msgspec import UnsetType

from cutover_app.core.decide import UNPROVEN_NOTE
from cutover_app.core.frames import LEGACY, MESSAGE, REBUILT, SIDES, Entry, Origin
from cutover_app.core.limits import CLOSEST_MAX
from cutover_app.core.state import ORDER_PREFIX
from cutover_app.core.verdicts import (
    DUPLICATE,
    FINE,
    INDETERMINATE,
    LATE,
    MISMATCH,
    MISSING,
    OUT_OF_ORDER,
    RESOLVED,
    UNDECODABLE,
    UNKNOWN,
    Position,
    Verdict,
    family_of,
    verdict_id,
)
from cutover_app.lab.oracle import (
    Accepted,
    Expectation,
    Terms,
    accepted_from,
    compact,
    differences,
    oracle,
)
from tests.simulation.judging import Committed, JudgeHost, Run
from tests.simulation.reference import Account, Hastening
from tests.simulation.rules import TOLERATED, placed_by, shown_key
from tests.simulation.setting import Setting
from tests.simulation.topics import Record


class Truth:
    """What the topics held, by key and digest: (true time of the append, identity)."""

    def __init__(self, setting: Setting) -> None:
        self.entries: tuple[dict[Origin, Entry], dict[Origin, Entry]] = ({}, {})
        self.appended: dict[Origin, int] = {}
        self.by_key: tuple[dict[bytes, list[Origin]], dict[bytes, list[Origin]]] = (
            defaultdict(list),
            defaultdict(list),
        )
        for side in (LEGACY, REBUILT):
            for record in setting.topics[side].records():
                for entry in entries_of(setting, side, record):
                    origin = Origin(setting.source(side, record.partition), record.offset, entry.index)
                    self.entries[side][origin] = entry
                    self.appended[origin] = record.appended
                    if entry.kind == MESSAGE:
                        self.by_key[side][entry.order + entry.key].append(origin)


def entries_of(setting: Setting, side: int, record: Record) -> list[Entry]:
    """Return the intake entries of a source record."""
    where = (record.partition, record.offset, record.timestamp)
    if side == LEGACY:
        return setting.rules.rebuild(*where, record.value)
    return [setting.rules.observe(*where, record.value)]


@dataclass
class Examination:
    """The checks of one intake partition."""

    setting: Setting
    host: JudgeHost
    terms: Terms
    truth: Truth
    account: Account
    compacted: dict[str, Verdict] = field(init=False)

    def __post_init__(self) -> None:
        self.compacted = compact(self.host.committed.verdicts)

    @cached_property
    def accepted(self) -> Accepted:
        """What this partition accepted (R4)."""
        log = ((each.offset, each.frame) for each in self.host.partition.log)
        return accepted_from(log, self.host.partition.number, self.setting.plan.intake)

    @cached_property
    def expectations(self) -> dict[str, Expectation]:
        """What the oracle says."""
        accepted = self.accepted
        return oracle(accepted.legacy, accepted.rebuilt, accepted.edges, self.terms)

    @cached_property
    def messages(self) -> list[tuple[Entry, int]]:
        """The accepted messages, with the intake offsets at which they were."""
        records = self.accepted.legacy + self.accepted.rebuilt
        return [
            (entry, self.accepted.at[Origin(source, entry.offset, entry.index)])
            for source, entry in records
            if entry.kind == MESSAGE
        ]

    @cached_property
    def orders(self) -> dict[bytes, bytes]:
        """The order key of each row: keys of one order key are forgotten together."""
        return {entry.order + entry.key: placed_by(entry) for entry, _ in self.messages}

    @cached_property
    def arrivals(self) -> dict[bytes, list[int]]:
        """Intake offsets at which records of an order key, and of a row, were accepted."""
        arrivals: dict[bytes, set[int]] = defaultdict(set)
        for entry, at in self.messages:
            arrivals[placed_by(entry)].add(at)
            arrivals[entry.order + entry.key].add(at)
        return {each: sorted(offsets) for each, offsets in arrivals.items()}

    @cached_property
    def touched_again(self) -> dict[bytes, int]:
        """Order keys and rows that got a record after having been forgotten, with the intake offset of the first."""
        return dict(sorted(self._returns(self.host.forgotten())))

    @cached_property
    def forgotten_before_an_edge(self) -> set[bytes]:
        """Order keys and rows whose verdicts an edge came too late to change."""
        edges = [each.offset for each in self.host.partition.log if getattr(each.frame, "edges", None)]
        return {self._whole(row, offset) for row, offset in self.host.forgotten() if edges and edges[-1] >= offset}

    def _whole(self, row: bytes, offset: int) -> bytes:
        """Return what a row is forgotten with: its order key, or itself where that is crowded."""
        if row.startswith(ORDER_PREFIX):
            return row.removeprefix(ORDER_PREFIX)
        order = self.orders[row]
        known = sum(at < offset for entry, at in self.messages if placed_by(entry) == order)
        return row if known > self.setting.plan.ordered_max else order

    def _returns(self, forgotten: Iterable[tuple[bytes, int]]) -> Iterator[tuple[bytes, int]]:
        for row, offset in sorted(set(forgotten), reverse=True):
            whole = self._whole(row, offset)
            later = [each for each in self.arrivals[whole] if each >= offset]
            if later:
                yield whole, later[0]

    @cached_property
    def not_compared(self) -> set[bytes]:
        """Match keys of which the judge cannot know what the oracle knows."""
        gone = self.touched_again.keys() | self.forgotten_before_an_edge | self.crowded_out
        return {entry.key for entry, _ in self.messages if _is_in(entry, gone)}

    @cached_property
    def crowded_out(self) -> set[bytes]:
        """Order keys of rows of which more records came than are paired: the pairs of these are no longer known."""
        counts = Counter(entry.order + entry.key for entry, _ in self.messages)
        most = self.setting.plan.records_max
        return {placed_by(entry) for entry, _ in self.messages if counts[entry.order + entry.key] > most}

    def _shown(self, line: str) -> str:
        return f"intake {self.host.partition.number}: {line}"

    # -- the checks ----------------------------------------------------------------------------------------------------

    def all(self) -> list[str]:
        """Run every check of this partition but the replays."""
        checks = (
            self.equals_oracle,
            self.balances,
            self.rows_are_whole,
            self.revisions_are_ordered,
            self.resolved_name_their_pair,
            self.families_count_what_stands,
            self.nothing_too_early,
            self.nothing_forgotten_too_early,
        )
        return [self._shown(f"{check.__name__}: {line}") for check in checks for line in check()]

    def equals_oracle(self) -> list[str]:
        """A. The compacted verdicts equal the oracle's."""
        return differences(
            self.compacted,
            self.expectations,
            shown_key=shown_key,
            without_keys=self.not_compared,
        )

    def balances(self) -> list[str]:
        """B. The books balance, agree with what was accepted, and nothing is pending."""
        books = self.host.run.judge.books
        lines = list(self.host.run.judge.balance())
        for side in (LEGACY, REBUILT):
            if books.pending(side):
                lines.append(f"{books.pending(side)} {SIDES[side]} records are still pending")
            accepted = len((self.accepted.legacy, self.accepted.rebuilt)[side])
            if books.ledgers[side].accepted != accepted:
                lines.append(f"{books.ledgers[side].accepted} {SIDES[side]} records in the books, {accepted} accepted")
        redelivered = sum(ledger.redelivered for ledger in books.ledgers)
        if redelivered != self.accepted.redelivered:
            lines.append(f"{redelivered} redelivered in the books, {self.accepted.redelivered} truly")
        return lines

    def rows_are_whole(self) -> list[str]:
        """Whatever a judge began on was what had been committed: nothing of it is taken for flawed."""
        return list(self.host.flaws)

    def revisions_are_ordered(self) -> list[str]:
        """Revisions of an id ascend in `rev` by one and never go back in `at`, in the order of their commits.

        A judge that had to begin again counts from one again.
        """
        lines = []
        newest: dict[str, Verdict] = {}
        for number, verdict in enumerate(self.host.committed.verdicts):
            if number in self.host.lives:
                newest.clear()
            former = newest.get(verdict.id)
            if verdict.rev != (former.rev if former else 0) + 1:
                lines.append(f"{verdict.id[:12]} revision {verdict.rev} after {former and former.rev}")
            if former and verdict.at < former.at:
                lines.append(f"{verdict.id[:12]} revision {verdict.rev} is older than its predecessor")
            newest[verdict.id] = verdict
        return lines

    def resolved_name_their_pair(self) -> list[str]:
        """A resolved rebuilt record names the verdict of a legacy record of its key."""
        ids = {
            verdict_id(self.terms.contract, Origin(source, entry.offset, entry.index)): entry.key
            for source, entry in self.accepted.legacy
        }
        return [
            f"{each.id[:12]} is resolved by {each.pair!r}, which is no legacy record of its key"
            for each in self.compacted.values()
            if each.outcome == RESOLVED
            and isinstance(each.legacy, UnsetType)
            and (isinstance(each.pair, UnsetType) or shown_key(ids.get(each.pair, b"")) != each.key)
        ]

    def families_count_what_stands(self) -> list[str]:
        """The families' open counts are those of the compacted verdicts."""
        standing: Counter[tuple[str, str]] = Counter()
        for verdict in self.compacted.values():
            if verdict.outcome not in FINE:
                standing.update({family_of(finding) for finding in verdict.findings})
        # Looked up here only: families are a view of the judge's own, not part of its contract with the log.
        counted = {(row.kind, row.path): row.open for row in self.host.run.judge._rows.families() if row.open}
        if counted == dict(standing):
            return []
        return [f"families say {sorted(counted.items())}, verdicts say {sorted(standing.items())}"]

    def nothing_too_early(self) -> list[str]:
        """E. Nothing was said about a record whose partner was in its topic in time, by the true time."""
        hastening = Hastening(self.host.partition.log, self.setting.plan.interval_ms)
        lines = []
        for verdict in self.host.said:
            side = _anchored_at(verdict, self._judged_late)
            if side is None:
                continue
            origin = self._origin(side, verdict)
            entry = self.truth.entries[side][origin]
            at = self.accepted.at[origin]
            if _is_in(entry, self.touched_again) or _in_time_only(verdict):
                continue
            log = self.host.partition.log
            hastened = hastening.gain(at, verdict.at[1])
            deadline = log[at].true_ms + self.setting.plan.grace_ms - hastened
            partners = self._partners(side, entry, deadline)
            if self._must_be_paired(side, entry, verdict, partners):
                lines.append(
                    f"{verdict.outcome} {entry.key.decode()} {SIDES[side]} {origin.offset}.{origin.index}, in intake "
                    f"at {log[at].true_ms}, but {partners} were in their topic by {deadline}"
                )
        return lines

    @cached_property
    def _judged_late(self) -> frozenset[str]:
        """Outcomes that need a close: a mismatch does not where keys are unique, and tolerance makes equals differ."""
        plan = self.setting.plan
        late = {MISSING, UNKNOWN}
        return frozenset(late if plan.unique or plan.tolerant else late | {MISMATCH})

    def _origin(self, side: int, verdict: Verdict) -> Origin:
        position = verdict.legacy if side == LEGACY else verdict.rebuilt
        assert isinstance(position, Position)
        source = self.setting.source(side, position.partition)
        return Origin(source, position.offset, position.index)

    def _partners(self, side: int, entry: Entry, deadline: int) -> dict[Origin, int]:
        """Return the accepted records of the other side and of this key that were in their topic by the deadline."""
        return {
            origin: self.truth.appended[origin]
            for origin in self.truth.by_key[1 - side][entry.order + entry.key]
            if self.truth.appended[origin] <= deadline and origin in self.accepted.at
        }

    def _must_be_paired(self, side: int, entry: Entry, verdict: Verdict, partners: dict[Origin, int]) -> bool:
        """Tell whether these partners, all known by now, leave no room for the verdict, whatever else is known."""
        rivals = [
            origin
            for origin in self.truth.by_key[side][entry.order + entry.key]
            if self.accepted.at.get(origin, verdict.at[1] + 1) <= verdict.at[1]
        ]
        entries, others = self.truth.entries[side], self.truth.entries[1 - side]
        row = entry.order + entry.key
        known = [entries[each] for each in self.truth.by_key[side][row]]
        known += [others[each] for each in self.truth.by_key[1 - side][row]]
        # Where values under a tolerance differ, equal digests alone make no partner.
        uniform = len({each.beside for each in known if each.digest == entry.digest}) == 1
        equal = sum(others[origin].digest == entry.digest for origin in partners)
        if uniform and equal >= sum(entries[origin].digest == entry.digest for origin in rivals):
            return True
        # With one record of the key on either side, any partner will do: an unequal pair is a mismatch.
        alone = len(rivals) == 1 and len(self.truth.by_key[1 - side][row]) == 1
        return verdict.outcome != MISMATCH and alone and bool(partners)

    def nothing_forgotten_too_early(self) -> list[str]:
        """F. Both frontiers had passed the key's last record by `remember`; the time for problems is not held."""
        account, plan = self.account, self.setting.plan
        lines = []
        for key, offset in sorted(set(self.host.forgotten())):
            # Of a frame a record may crowd the order key, and another one meet a match key that is alone by then.
            before = [each for each in self.arrivals[self._whole(key, offset + 1)] if each < offset]
            if not before:
                lines.append(f"{key.decode()} forgotten at {offset}, before it was known")
                continue
            passed = min(max(each[: offset + 1]) for each in account.complete_ms)
            if passed < account.judge_ms[before[-1]] + plan.remember_ms:
                lines.append(
                    f"{key.decode()} forgotten at {offset}, its last record came at {account.judge_ms[before[-1]]}, "
                    f"the frontiers are at {passed}"
                )
        return lines

    # -- replays -------------------------------------------------------------------------------------------------------

    def compare_replay(self, run: Run, committed: Committed, name: str) -> list[str]:
        """C. Another judge on the same log says, counts and forgets the same."""
        mine, theirs = self.host.run.judge.books, run.judge.books
        lines = []
        said, again = _problems(self.compacted), _problems(compact(committed.verdicts))
        lines += [
            f"{each[:12]} live {said.get(each)}, replayed {again.get(each)}"
            for each in sorted(said.keys() | again.keys())
            if said.get(each) != again.get(each)
        ]
        if mine.ledgers != theirs.ledgers:
            lines.append(f"books live {mine.ledgers}, replayed {theirs.ledgers}")
        if (mine.crowded, mine.spread) != (theirs.crowded, theirs.spread):
            lines.append(f"noted live {mine.crowded}, {mine.spread}, replayed {theirs.crowded}, {theirs.spread}")
        returned = dict(sorted(self._returns(run.forgotten)))
        if returned != self.touched_again:
            lines.append(f"forgotten and touched again live {self.touched_again}, replayed {returned}")
        return [self._shown(f"replay {name}: {line}") for line in lines]


def _is_in(entry: Entry, gone: Collection[bytes]) -> bool:
    return placed_by(entry) in gone or entry.order + entry.key in gone


def _anchored_at(verdict: Verdict, outcomes: frozenset[str]) -> int | None:
    """Return the side of the record that a verdict of these outcomes is about."""
    if verdict.outcome not in outcomes:
        return None
    return REBUILT if isinstance(verdict.legacy, UnsetType) else LEGACY


def _in_time_only(verdict: Verdict) -> bool:
    """Tell whether a verdict says nothing but when a message was published, which needs no close."""
    return bool(verdict.findings) and all(each.kind in (LATE, OUT_OF_ORDER) for each in verdict.findings)


def _problems(compacted: dict[str, Verdict]) -> dict[str, tuple[object, ...]]:
    return {
        name: (each.outcome, each.findings, each.key, each.legacy, each.rebuilt)
        for name, each in compacted.items()
        if each.outcome not in FINE
    }


def topics_were_read(setting: Setting, truth: Truth, examined: list[Examination]) -> list[str]:
    """D. Everything that the topics held was accepted where it belongs, lost ranges apart."""
    lines = []
    for side in (LEGACY, REBUILT):
        for origin, entry in truth.entries[side].items():
            number = origin.source.partition
            if entry.kind == MESSAGE:
                home = zlib.crc32(placed_by(entry)) % setting.plan.intake
            else:
                home = number % setting.plan.intake
            accepted = examined[home].accepted
            lost = any(
                edge.source == origin.source and edge.start <= origin.offset < edge.end for edge in accepted.edges
            )
            deleted = origin.offset < setting.topics[side].partitions[number].start
            if origin not in accepted.at and not (lost and deleted):
                lines.append(f"{SIDES[side]} {number}@{origin.offset}.{origin.index} was not accepted")
    for examination in examined:
        known = truth.entries[LEGACY].keys() | truth.entries[REBUILT].keys()
        lines += [f"accepted {each}, which is in no topic" for each in examination.accepted.at if each not in known]
    return lines


def note_outcomes(reached: Counter[str], examined: list[Examination]) -> None:
    """Count the faults that only show in the end."""
    for examination in examined:
        accepted = examination.accepted
        reached["redelivery"] += accepted.redelivered
        reached["re-touched key"] += len(examination.touched_again)
        books = examination.host.run.judge.books
        reached["crowded order key"] += books.crowded
        reached["spread order key"] += books.spread
        reached["forgotten"] += len(set(examination.host.forgotten()))
        reached["several outputs"] += sum(origin.index > 0 for origin in accepted.at)
        contents = Counter((entry.key, entry.digest) for _, entry in accepted.legacy if entry.kind == MESSAGE)
        reached["equal digests"] += sum(count > 1 for count in contents.values())
        _note_truth(reached, examination.expectations.values())
        _note_revisions(reached, examination.host.said)


def _note_truth(reached: Counter[str], expectations: Collection[Expectation]) -> None:
    leftovers = Counter(truth.key for truth in expectations if truth.outcome != DUPLICATE)
    unequal = Counter(truth.key for truth in expectations if truth.legacy and truth.rebuilt)
    reached["too many leftovers"] += sum(unequal[key] > CLOSEST_MAX // 2 for key in leftovers)
    reached["step 2 chose"] += sum(unequal[key] and count > 1 for key, count in leftovers.items())
    for truth in expectations:
        if truth.outcome in (MISSING, UNKNOWN, MISMATCH, INDETERMINATE):
            reached[truth.outcome] += 1
        if truth.outcome == DUPLICATE:
            reached["transport duplicate" if truth.legacy else "duplicate"] += 1
        reached["late"] += any(each.kind == LATE for each in truth.findings)
        reached["out of order"] += any(each.kind == OUT_OF_ORDER for each in truth.findings)
        reached["rejected"] += truth.outcome == UNDECODABLE
        reached["tolerance"] += any(each.path == f"$.{TOLERATED}" for each in truth.findings)
        reached["hole"] += any(each.kind == "unmapped_value" for each in truth.findings)


def _note_revisions(reached: Counter[str], said: list[Verdict]) -> None:
    before: dict[str, str] = {}
    for verdict in said:
        former = before.get(verdict.id, verdict.outcome)
        reached["given up"] += any(each.note == UNPROVEN_NOTE for each in verdict.findings)
        reached["revised"] += former != verdict.outcome
        reached["resolved"] += verdict.outcome == RESOLVED
        reached["late after close"] += former == MISSING != verdict.outcome
        before[verdict.id] = verdict.outcome
