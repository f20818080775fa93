"""What a contract file may say. `reference.yaml` explains each setting; `schema.json` is made of this.

Fields hold what was written, checked for itself and against its neighbours. Settings that this
version cannot honour yet are read, and refused by `load.py`, so that nobody believes in them.
"""

import re
from datetime import date
from decimal import Decimal
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    field_validator,
    model_validator,
)

from cutover_app.contract.errors import SettingError
from cutover_app.contract.mapping import (
    Condition,
    Fields,
    OrText,
    PathText,
    SealedForm,
    all_rules,
    check_fields,
    check_table,
    targets_of,
)
from cutover_app.contract.places import check_places, check_sealed, touch
from cutover_app.contract.security import SecurityOrNone
from cutover_app.contract.start import EARLIEST, Start
from cutover_app.contract.units import Duration, Size, parse_duration
from cutover_app.core.limits import ENTRY_BYTES_MAX
from cutover_app.core.paths import ITEMS, Path, parse_path, render_path

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Topic = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
Count = Annotated[int, Field(ge=1, le=10_000)]

_ADDRESS = re.compile(r"(?:kafka://)?(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")


def _addresses(broker: str) -> str:
    for part in re.split("[;,]", broker):
        address = _ADDRESS.fullmatch(part.strip())
        if address is None or not 0 < int(address[1] or 1) < 1 << 16:
            raise ValueError("expected kafka://host:port, several separated by `;`")
    return broker


BrokerText = Annotated[str, Field(pattern=r"^kafka://[^@\s]+$"), AfterValidator(_addresses)]

EDGE_MIN = parse_duration("5m")


class Model(BaseModel):
    """Unknown keys are errors: a setting that is misspelt would otherwise be off in silence."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Mirror(Model):
    """Where the legacy topic is a copy: the cluster that it is copied from, and how far the copying is."""

    broker: BrokerText
    security: SecurityOrNone = None
    topic: Topic | None = None
    """Name of the topic on the legacy cluster; None where it is that of the copy."""
    offsets: Topic | None = None
    """Topic of the work cluster in which the mirror keeps its source positions; None where it has to be looked for."""
    isolation: Literal["read_uncommitted", "read_committed"] = "read_uncommitted"
    """How the mirror reads: MirrorMaker 2 copies the records of aborted transactions unless told otherwise."""


def _kind_of_mirror(value: Any) -> str:
    return "<mirror>" if isinstance(value, dict | Mirror) else "<trusted>"


MirrorOrTrusted = Annotated[
    Annotated[Mirror, Tag("<mirror>")] | Annotated[Literal["trusted"], Tag("<trusted>")],
    Discriminator(_kind_of_mirror),
]


class Legacy(Model):
    """The topic of the legacy producer."""

    topic: Topic
    format: Literal["json", "avro"] = "json"
    broker: BrokerText | None = None
    security: SecurityOrNone = None
    mirror: MirrorOrTrusted | None = None
    when: Condition | None = None
    compacted: bool = False

    @property
    def original(self) -> str:
        """The topic's name on its own cluster; a copy may have another."""
        return (self.mirror.topic if isinstance(self.mirror, Mirror) else None) or self.topic

    @model_validator(mode="after")
    def _one_way(self) -> "Legacy":
        if self.broker is not None and self.mirror is not None:
            raise SettingError("expected either a mirror, or the broker on which the topic itself is read", "mirror")
        return self


class Rebuilt(Model):
    """The topic of the rebuilt producer."""

    topic: Topic
    format: Literal["json", "avro"] = "json"
    compacted: bool = False


def plain_paths(texts: list[str]) -> list[str]:
    """Return paths of field names as they are; raises ValueError for any other."""
    paths = [parse_path(each) for each in texts]
    for path in paths:
        if not path or not all(isinstance(step, str) for step in path):
            raise ValueError("expected field names only: no positions, no wildcards")
    if len(set(paths)) < len(paths):
        raise ValueError("a path occurs twice")
    return texts


class Match(Model):
    """What expected and actual messages are paired by, in the new format."""

    key: list[PathText] = Field(min_length=1, max_length=16)
    unique: bool = False
    kafka_key: bool = False

    @field_validator("key")
    @classmethod
    def _plain(cls, key: list[str]) -> list[str]:
        return plain_paths(key)


class Order(Model):
    """Within which records order must hold."""

    by: list[PathText] = Field(min_length=1, max_length=16)

    @field_validator("by")
    @classmethod
    def _plain(cls, by: list[str]) -> list[str]:
        return plain_paths(by)


class Timing(Model):
    """How long to wait, and to remember."""

    grace: Duration = parse_duration("30s")
    late_after: Duration | None = None
    remember: Duration = parse_duration("6h")
    remember_problems: Duration | None = None
    edge: Duration | None = None
    barrier: Duration = parse_duration("1s")

    @model_validator(mode="after")
    def _relations(self) -> "Timing":
        if self.barrier < 1:
            raise SettingError("expected more than 0", "barrier")
        if self.grace < 4 * self.barrier:
            raise SettingError(
                "expected at least 4 times timing.barrier, or a step of the brokers' clocks "
                "could use it up: raise grace or lower barrier",
                "grace",
            )
        if self.remember < self.grace:
            raise SettingError("expected at least timing.grace", "remember")
        if self.problems_ms < self.remember:
            raise SettingError("expected at least timing.remember", "remember_problems")
        return self

    @property
    def late_ms(self) -> int:
        """Milliseconds after which an actual is late."""
        return self.grace if self.late_after is None else self.late_after

    @property
    def problems_ms(self) -> int:
        """Milliseconds for which unresolved problems are remembered."""
        return 4 * self.remember if self.remember_problems is None else self.remember_problems

    @property
    def edge_ms(self) -> int:
        """Milliseconds by which a lost range is widened on either side."""
        return max(self.grace, EDGE_MIN) if self.edge is None else self.edge


class PythonRebuild(Model):
    """A function `record -> dict | list[dict] | None`, for what a mapping cannot say."""

    python: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")


class Ignore(Model):
    """A path that is not compared, and why."""

    path: PathText
    reason: str = Field(min_length=1)
    until: str | None = Field(default=None, pattern=r"^\d{4}-\d{2}-\d{2}$")

    @field_validator("until")
    @classmethod
    def _a_day(cls, until: str | None) -> str | None:
        try:
            date.fromisoformat(until or "2000-01-01")
        except ValueError:
            raise ValueError("expected a day that exists, like 2027-01-31") from None
        return until


class Tolerance(Model):
    """A number that may be off by `abs`, or by `rel` of the larger one; either is enough."""

    path: PathText
    abs: Any = None
    rel: Any = None

    @field_validator("abs", "rel")
    @classmethod
    def _number(cls, value: Any) -> str | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | Decimal) or value < 0:
            raise ValueError("expected a number, 0 or more")
        return str(value)

    @model_validator(mode="after")
    def _either(self) -> "Tolerance":
        if self.abs is None and self.rel is None:
            raise ValueError("expected abs, rel or both")
        return self


class Unordered(Model):
    """A list whose order means nothing; `by` names the fields that tell its items apart."""

    path: PathText
    by: PathText | list[PathText] = Field(default_factory=list)

    @property
    def by_paths(self) -> tuple[Path, ...]:
        """Return `by` as paths."""
        by = [self.by] if isinstance(self.by, str) else self.by
        return tuple(parse_path(each) for each in by)

    @field_validator("by")
    @classmethod
    def _inside(cls, by: str | list[str]) -> str | list[str]:
        for each in [by] if isinstance(by, str) else by:
            path = parse_path(each)
            if not path or not all(isinstance(step, str) for step in path):
                raise ValueError("expected field names within an item: no positions, no wildcards")
        return by


class Compare(Model):
    """How expected and actual are compared."""

    ignore: list[Ignore] = Field(default_factory=list)
    tolerance: list[Tolerance] = Field(default_factory=list)
    unordered: list[Unordered] = Field(default_factory=list)
    numbers: Literal["exact", "strict"] = "exact"
    unexpected: Literal["report", "ignore"] = "report"


class Sealed(Model):
    """A path that is encrypted in the rebuilt message."""

    path: PathText
    form: SealedForm = "any"

    @field_validator("path")
    @classmethod
    def _no_positions(cls, path: str) -> str:
        if any(isinstance(step, int) for step in parse_path(path)):
            raise ValueError("expected [*]: single positions have no rules")
        return path


def _path_alone(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


SealedSpec = Annotated[Sealed, BeforeValidator(_path_alone), OrText()]


class Intake(Model):
    """The internal topic that carries both sides to the judge."""

    partitions: Annotated[int, Field(ge=1, le=1000)] = 12


class Verdicts(Model):
    """The topic that verdicts are published to."""

    topic: Topic = "cutover.verdicts"
    format: Literal["json", "avro"] = "json"
    matches: bool = False
    replication: Count = 1


class Internal(Model):
    """How safely the internal topics are kept."""

    replication: Count = 1
    min_insync: Count = 1

    @model_validator(mode="after")
    def _relation(self) -> "Internal":
        if self.min_insync > self.replication:
            raise SettingError("expected at most internal.replication", "min_insync")
        return self


class Limits(Model):
    """Limits that depend on the data."""

    record: Size = 8 << 20

    @field_validator("record")
    @classmethod
    def _range(cls, record: int) -> int:
        if not 1 <= record <= ENTRY_BYTES_MAX:
            raise ValueError(f"expected 1 byte to {ENTRY_BYTES_MAX >> 20}MiB: no larger message can be forwarded")
        return record


def _kind_of_rebuild(value: Any) -> str:
    if isinstance(value, PythonRebuild):
        return "<python>"
    alone = isinstance(value, dict) and set(value) == {"python"}
    return "<python>" if alone and isinstance(value["python"], str) else "<mapping>"


Rebuild = Annotated[
    Annotated[Fields, Tag("<mapping>")] | Annotated[PythonRebuild, Tag("<python>")],
    Discriminator(_kind_of_rebuild),
]


class Contract(Model):
    """One declared pair of topics."""

    contract: Name
    run: Name = "r1"
    broker: BrokerText
    security: SecurityOrNone = None
    legacy: Legacy
    rebuilt: Rebuilt
    match: Match
    order: Order | None = None
    start: Start = EARLIEST
    timing: Timing = Timing()
    rebuild: Rebuild
    lookups: dict[str, dict[Any, Any]] = Field(default_factory=dict)
    compare: Compare = Compare()
    sensitive: list[PathText] = Field(default_factory=list)
    sealed: list[SealedSpec] = Field(default_factory=list)
    intake: Intake = Intake()
    verdicts: Verdicts = Verdicts()
    internal: Internal = Internal()
    limits: Limits = Limits()

    _folder: FilePath = PrivateAttr(default=FilePath())
    _file: str = PrivateAttr(default="contract")
    _rebuild_line: int = PrivateAttr(default=0)
    _security_lines: dict[str, int] = PrivateAttr(default_factory=dict)

    @property
    def file(self) -> str:
        """What errors call the file."""
        return self._file

    @property
    def rebuild_line(self) -> int:
        """The line of `rebuild`, for what is found out about a Python function later; 0 if not known."""
        return self._rebuild_line

    @property
    def folder(self) -> FilePath:
        """The folder of the file, where the module of a Python rebuild is looked for."""
        return self._folder

    def line_of(self, setting: str) -> int:
        """Return the line of a security setting, or of what it is in; 0 if not known."""
        while setting and setting not in self._security_lines:
            setting = setting.rpartition(".")[0]
        return self._security_lines.get(setting, 0)

    @property
    def bootstrap(self) -> str:
        """The broker as Kafka clients want it: `host:port,host:port`."""
        return self.broker.removeprefix("kafka://").replace(";kafka://", ",").replace(";", ",")

    def key_paths(self) -> tuple[Path, ...]:
        """Return the paths of the match key."""
        return tuple(parse_path(each) for each in self.match.key)

    def order_paths(self) -> tuple[Path, ...]:
        """Return the paths of the order key, by default those of the match key."""
        return self.key_paths() if self.order is None else tuple(parse_path(each) for each in self.order.by)

    @property
    def order_apart(self) -> bool:
        """Whether the order key is another one than the match key."""
        return self.order_paths() != self.key_paths()

    @field_validator("rebuild")
    @classmethod
    def _no_conflicts(cls, rebuild: Any) -> Any:
        if isinstance(rebuild, dict):
            check_fields(rebuild)
        return rebuild

    @field_validator("sensitive")
    @classmethod
    def _no_positions(cls, paths: list[str]) -> list[str]:
        for each in paths:
            if any(isinstance(step, int) for step in parse_path(each)):
                raise ValueError(f"{each}: expected [*]: single positions have no rules")
        return paths

    @model_validator(mode="after")
    def _fit_together(self) -> "Contract":
        if self.legacy.topic == self.rebuilt.topic and self.legacy.broker is None:
            raise SettingError("the same topic as legacy.topic", "rebuilt", "topic")
        if self.verdicts.topic in {self.legacy.topic, self.rebuilt.topic}:
            raise SettingError("a topic that is verified: expected one for verdicts alone", "verdicts", "topic")
        self._compare_paths()
        self._keys_are_made()
        self._lookups_exist()
        check_sealed(self)
        check_places(self)
        if self.compare.unexpected == "ignore" and not isinstance(self.rebuild, dict):
            raise SettingError(
                "`ignore` needs a rebuild that is a mapping, because nobody knows beforehand what "
                "a Python function makes; name the paths in compare.ignore",
                "compare",
                "unexpected",
            )
        return self

    def _compare_paths(self) -> None:
        keys = {**dict.fromkeys(self.order_paths(), "order.by"), **dict.fromkeys(self.key_paths(), "match.key")}
        lists = [(parse_path(each.path), each.by_paths) for each in self.compare.unordered]
        items = [(*path, ITEMS, *by) for path, ways in lists for by in ways]
        for name in ("ignore", "tolerance", "unordered"):
            for index, rule in enumerate(getattr(self.compare, name)):
                place = ("compare", name, index, "path")
                path = parse_path(rule.path)
                if not path:
                    raise SettingError("expected a path below the message itself", *place)
                if any(isinstance(step, int) for step in path):
                    raise SettingError("expected [*]: single positions have no rules", *place)
                said = next((where for key, where in keys.items() if touch(path, key)), None)
                # A tolerance is for the value at its path, and for nothing below.
                if name == "tolerance" and any(touch(path, each) for each in items if len(path) >= len(each)):
                    said = said or "compare.unordered.by"
                if said is not None:
                    raise SettingError(f"a part of {said}, whose value counts as it is", *place)

    def _keys_are_made(self) -> None:
        if not isinstance(self.rebuild, dict):
            return
        targets = targets_of(self.rebuild)
        for paths, place in ((self.key_paths(), ("match", "key")), (self.order_paths(), ("order", "by"))):
            for key in paths:
                if not any(key[: len(target)] == target for target in targets):
                    made = ", ".join(sorted(map(render_path, targets)))
                    raise SettingError(f"nothing in rebuild makes {render_path(key)}; its targets: {made}", *place)

    def _lookups_exist(self) -> None:
        for name, table in self.lookups.items():
            if not table:
                raise SettingError("expected entries in the table", "lookups", name)
            check_table(table)
        rules = all_rules(self.rebuild) if isinstance(self.rebuild, dict) else ()
        for place, rule in rules:
            if rule.lookup is not None and rule.lookup not in self.lookups:
                known = ", ".join(sorted(self.lookups)) or "none"
                text = f"no table {rule.lookup!r} in lookups; there: {known}"
                raise SettingError(text, "rebuild", *place, "lookup")
