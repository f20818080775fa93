"""How an explanation looks: as a timeline for people, as JSON for programs."""

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from cutover_app.commands.fixes import show_time
from cutover_app.commands.kcat import kcat_line
from cutover_app.commands.output import (
    CANNOT_TELL,
    FINE,
    JSON,
    PROBLEMS,
    console,
    plain,
    shown,
    shown_position,
    table,
    write_json,
)
from cutover_app.commands.timeline import Event, Known, newest
from cutover_app.contract.models import Contract
from cutover_app.core.state import PAIRED, PENDING, TALLIES, UNDETERMINED
from cutover_app.core.verdicts import FINE as FINE_OUTCOMES
from cutover_app.core.verdicts import INDETERMINATE, Position, Verdict

VERSION: Final = 1
"""Version of the JSON form."""


@dataclass(frozen=True, slots=True)
class Content:
    """What was fetched of one record, masked; `error` says why there is nothing."""

    place: str
    message: Any = None
    expected: list[Any] = field(default_factory=list)
    error: str = ""


@dataclass(slots=True)
class Story:
    """What is known about one key row."""

    partition: int
    """Of intake."""
    key: list[Any]
    records: list[Known] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    balanced: bool = True
    """Whether the books of its partition balance."""
    contents: list[Content] = field(default_factory=list)

    def places(self) -> list[tuple[str, str, int, int]]:
        """Return side, topic, partition and offset of every record, those that only a verdict names too."""
        found = dict.fromkeys((each.side, each.topic, each.partition, each.offset) for each in self.records)
        for verdict in self.verdicts:
            for side, position in (("legacy", verdict.legacy), ("rebuilt", verdict.rebuilt)):
                if isinstance(position, Position):
                    found[side, position.topic, position.partition, position.offset] = None
        return list(found)


@dataclass(slots=True)
class Explanation:
    """What `explain` shows."""

    contract: str
    run: str
    verdict: str = ""
    """The id that was asked for."""
    key: list[Any] = field(default_factory=list)
    """The key that was asked for, as the contract lets it be shown."""
    partitions: list[int] = field(default_factory=list)
    """Intake partitions in which it may be."""
    stories: list[Story] = field(default_factory=list)
    """One, or more where the match key occurs under several order keys."""
    notes: list[str] = field(default_factory=list)
    unread: dict[str, int | None] = field(default_factory=dict)
    """Source records that nobody has read yet, by side, where nothing is known of the key; None: nobody knows how many,
    as of a topic that is not there."""
    unjudged: int = 0
    hint: str = ""
    """What may have been meant."""


def exit_code(told: Explanation) -> int:
    """Return 1 for open problems, 3 where something is pending, indeterminate, not known or in doubt, else 0."""
    outcomes = {verdict.outcome for story in told.stories if story.balanced for verdict in newest(story.verdicts)}
    if outcomes - FINE_OUTCOMES - {INDETERMINATE}:
        return PROBLEMS
    tallies = {record.tally for story in told.stories for record in story.records}
    open_ones = tallies & {TALLIES[PENDING], TALLIES[UNDETERMINED]}
    for story in told.stories:  # what was decided has a verdict somewhere
        open_ones |= set() if story.verdicts else {record.tally for record in story.records} - {TALLIES[PAIRED]}
    in_doubt = not all(story.balanced for story in told.stories)
    return CANNOT_TELL if not told.stories or open_ones or in_doubt or INDETERMINATE in outcomes else FINE


def print_explanation(contract: Contract, told: Explanation, form: str) -> None:
    """Write it in the form that was asked for."""
    if form == JSON:
        write_json(explanation_json(contract, told))
    else:
        # A line for kcat is there to be copied: it is not broken.
        console().print(explanation_table(contract, told), soft_wrap=False)
        for line in _kcat_lines(contract, told):
            console().print(Text(line), soft_wrap=True)
        console().print(Text(conclusion(told), style="bold"))


def explanation_json(contract: Contract, told: Explanation) -> dict[str, Any]:
    """Return the JSON form, its version first."""
    built: dict[str, Any] = msgspec.to_builtins(told)
    for made, story in zip(built["stories"], told.stories, strict=True):
        made["kcat"] = [
            {"side": side, "topic": topic, "partition": partition, "offset": offset}
            | {"line": kcat_line(contract, topic, partition, offset)}
            for side, topic, partition, offset in story.places()
        ]
    return {"v": VERSION, "exit": exit_code(told), **built}


def conclusion(told: Explanation) -> str:
    """Return the last line."""
    if not told.stories:
        return _nothing_known(told)
    counts: dict[str, int] = {}
    for story in told.stories:
        for verdict in newest(story.verdicts):
            counts[verdict.outcome] = counts.get(verdict.outcome, 0) + 1
    pending = sum(record.tally == TALLIES[PENDING] for story in told.stories for record in story.records)
    said = [f"{count} {name}" for name, count in sorted(counts.items())] + ([f"{pending} pending"] if pending else [])
    word = {FINE: "FINE", PROBLEMS: "PROBLEMS", CANNOT_TELL: "CANNOT TELL"}[exit_code(told)]
    doubt = "" if all(story.balanced for story in told.stories) else "; the books of its partition do not balance"
    nothing = "no verdict: nothing is wrong with it" if word == "FINE" else "the verdict is not there: ask again"
    return f"{word}: {', '.join(said) or nothing}{doubt}"


def _nothing_known(told: Explanation) -> str:
    what = f"verdict {told.verdict}" if told.verdict else f"key {shown(told.key)}"
    parts = [f"CANNOT TELL: nothing is known about {what}"]
    if told.key:
        several = len(told.partitions) > 1
        numbers = ", ".join(map(str, told.partitions))
        parts.append(f"it would be in {'one of ' if several else ''}intake partition{'s' if several else ''} {numbers}")
    waiting = [_unread(side, count) for side, count in told.unread.items() if count != 0]
    parts.append(" and ".join(waiting) or "all source records have been read")
    if told.unjudged:
        parts.append(f"{told.unjudged:,} intake records, barriers included, have come since the last checkpoint")
    if told.hint:
        parts.append(f"perhaps {told.hint} was meant: a text is not a number")
    return "; ".join(parts)


def _unread(side: str, count: int | None) -> str:
    if count is None:
        return f"how much of {side} has not been read is not known"
    return f"{count:,} {side} records have not been read yet"


def explanation_table(contract: Contract, told: Explanation) -> RenderableType:
    """Return what is known as tables."""
    parts: list[RenderableType] = [Text(f"contract {plain(contract.contract)}, run {plain(contract.run)}")]
    for story in told.stories:
        parts.append(Text(f"key {shown(story.key)}, in intake partition {story.partition}"))
        if story.records:
            parts.append(_records(story))
        parts.append(_timeline(story))
        parts += _findings(story)
        parts += _unreadable(story)
        parts += _contents(story)
    return Group(*parts, *(Text(f"note: {plain(note)}") for note in told.notes))


def _records(story: Story) -> RenderableType:
    drawn = table(
        "Records", "side", "record", "published", ("judge time", "right"), "counts as", "partner, or what it waits for"
    )
    for each in story.records:
        published = show_time(each.timestamp if each.timestamp >= 0 else None)
        drawn.add_row(
            each.side, plain(each.place), published, f"{each.judge_ms:,}", each.tally, plain(each.partner or each.waits)
        )
    return drawn


def _timeline(story: Story) -> RenderableType:
    drawn = table("Timeline", ("intake", "right"), ("judge time", "right"), "what", "about", "")
    for each in story.events:
        judge = "" if each.judge_ms is None else f"{each.judge_ms:,}"
        place = f"{each.intake_partition}@{each.intake_offset}"
        drawn.add_row(place, judge, each.what, plain(each.about), plain(each.text))
    return drawn


def _findings(story: Story) -> list[RenderableType]:
    found = [(verdict, finding) for verdict in newest(story.verdicts) for finding in verdict.findings]
    if not found:
        return []
    drawn = table("Findings now", "verdict", "kind", "path", "expected", "actual", "note")
    for verdict, finding in found:
        values = (shown(finding.expected), shown(finding.actual))
        drawn.add_row(verdict.id, finding.kind, plain(finding.path), *values, plain(finding.note))
    return [drawn]


def _unreadable(story: Story) -> list[RenderableType]:
    """Name the records that could not be read, any of which may be the partner of one without (R11)."""
    told: list[RenderableType] = []
    for verdict in newest(story.verdicts):
        if verdict.undecodable:
            places = ", ".join(plain(shown_position(each)) for each in verdict.undecodable)
            told.append(Text(f"verdict {verdict.id}: its partner may be one of those that could not be read: {places}"))
    return told


def _contents(story: Story) -> list[RenderableType]:
    if not story.contents:
        return []
    drawn = table("Contents, as far as the contract lets them be seen", "record", "", "")
    for each in story.contents:
        drawn.add_row(plain(each.place), "message", plain(each.error) if each.error else shown(each.message))
        for expected in each.expected:
            drawn.add_row("", "expected", shown(expected))
    return [drawn]


def _kcat_lines(contract: Contract, told: Explanation) -> list[str]:
    places = dict.fromkeys(place for story in told.stories for place in story.places())
    return [kcat_line(contract, topic, partition, offset) for _, topic, partition, offset in places]
