"""What a seed decides before anything happens, and what all parts of a world share."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from cutover_app.core.frames import LEGACY, REBUILT, Source
from cutover_app.core.limits import CLOSED_MAX, KEY_RECORDS_MAX, TURN_KEYS
from cutover_app.core.sampling import Sampling
from tests.simulation.intake import IntakePartition
from tests.simulation.rules import Rules
from tests.simulation.timeline import BrokerClock, Timeline
from tests.simulation.topics import Partition, Topic

INTERVAL_MS = 100


@dataclass(frozen=True)
class Plan:
    """The parameters of one world. Times in virtual milliseconds."""

    rules: str
    interval_ms: int
    grace_ms: int
    remember_ms: int
    problems_ms: int
    edge_ms: int
    span_ms: int
    """How long the producers are at work."""
    stories: int
    unique: bool
    tolerant: bool
    matches: bool
    partitions: tuple[int, int]
    intake: int
    workers: tuple[int, int]
    clocks: str
    """`calm`, `steps` or `swing`."""
    stall_ms: int
    slow_samples: float
    transactions: float
    scattered: bool
    """Whether a key is spread over the partitions of its topic."""
    growth: bool
    start_behind: bool
    retention: bool
    fleet_faults: int
    judge_faults: float
    eager: bool
    """Whether judges commit after every frame or two, and often die just then."""
    lag_side: int
    """The side that falls behind, or -1."""
    crowd: bool
    late_ms: int
    apart: bool
    """Whether the order key is another one than the match key."""
    ordered_max: int
    appended: float
    """Part of the rebuilt messages whose timestamps are the broker's."""
    mirrored: bool
    """Whether the legacy topic is a copy."""
    unproven: bool
    """Whether now and then nobody can say how complete the copy is."""
    tail_ms: int
    """How long to go on after everything has closed."""
    turn_keys: int
    """Keys that a barrier goes through in one go; whoever has more of them gives up their rows as it goes."""
    close_max: int
    """Undecided records of a side that a barrier closes."""
    records_max: int
    """Records of one match key that are paired."""


def draw_plan(rng: Random) -> Plan:
    """Draw a world."""
    grace = INTERVAL_MS * rng.choice((4, 5, 6, 8))
    mirrored = rng.random() < 0.4
    remember = grace * rng.choice((1, 1, 2, 3))
    return Plan(
        rules="sha256:simulation",
        interval_ms=INTERVAL_MS,
        grace_ms=grace,
        remember_ms=remember,
        problems_ms=remember * rng.choice((1, 2, 4)),
        edge_ms=grace * rng.choice((1, 2)),
        span_ms=INTERVAL_MS * rng.randint(20, 50),
        stories=(stories := rng.randint(6, 28)),
        unique=rng.random() < 0.35,
        tolerant=rng.random() < 0.3,
        matches=rng.random() < 0.2,
        partitions=(rng.randint(1, 3), rng.randint(1, 3)),
        intake=rng.choice((1, 1, 2, 3)),
        workers=(rng.randint(1, 3), rng.randint(1, 3)),
        clocks=rng.choice(("calm", "calm", "steps", "swing")),
        stall_ms=rng.choice((0, 0, 4, 8, 12)) * INTERVAL_MS,
        slow_samples=rng.choice((0.0, 0.1, 0.3)),
        transactions=rng.choice((0.0, 0.0, 0.2)),
        scattered=rng.random() < 0.4,
        growth=rng.random() < 0.4,
        start_behind=rng.random() < 0.2,
        retention=rng.random() < 0.2,
        fleet_faults=rng.choice((0, 2, 4, 8)),
        judge_faults=rng.choice((0.0, 0.02, 0.06)),
        eager=rng.random() < 0.15,
        lag_side=rng.choice((-1, LEGACY, REBUILT, REBUILT)),
        crowd=rng.random() < 0.04,
        late_ms=grace // rng.choice((1, 1, 2, 4)),
        apart=rng.random() < 0.4,
        ordered_max=rng.choice((1000, 1000, 6)),
        appended=rng.choice((0.0, 0.0, 0.3)),
        mirrored=mirrored,
        unproven=mirrored and rng.random() < 0.4,
        tail_ms=rng.choice((0, 0, remember + 4 * INTERVAL_MS)),
        # Not drawn: one draw more makes every seed another world.
        turn_keys=(1, 2, TURN_KEYS)[stories % 3],
        close_max=2 if stories % 5 == 0 else CLOSED_MAX,
        records_max=6 if stories % 4 == 0 else KEY_RECORDS_MAX,
    )


@dataclass
class Setting:
    """Everything that the parts of one world share."""

    rng: Random
    plan: Plan
    timeline: Timeline = field(default_factory=Timeline)
    reached: Counter[str] = field(default_factory=Counter)
    topics: list[Topic] = field(init=False)
    original: Topic | None = field(init=False)
    """The topic of the legacy cluster of which `topics[LEGACY]` is a copy."""
    mirror: Any = field(default=None)
    """What copies it (`mirror.Mirror`)."""
    intake: list[IntakePartition] = field(init=False)
    rules: Rules = field(init=False)
    sampling: Callable[[], Sampling] = Sampling
    forwarded: tuple[set[tuple[int, int]], set[tuple[int, int]]] = field(default_factory=lambda: (set(), set()))
    """Per side: (partition, offset) of every record that some sender forwarded."""
    edges_found: dict[tuple[int, int, int], int] = field(default_factory=lambda: defaultdict(int))
    on_edge: Callable[[Any], None] = field(default=lambda _finder: None)
    """Told of every sender that has found a lost range."""
    quiet: bool = False
    """Whether faults are over, and everything is to come to its end."""

    def __post_init__(self) -> None:
        plan = self.plan
        self.topics = [
            Topic("shop.orders", plan.partitions[LEGACY]),
            Topic("orders.v2", plan.partitions[REBUILT]),
        ]
        self.original = Topic("shop.orders", plan.partitions[LEGACY]) if plan.mirrored else None
        self.intake = [IntakePartition(number, BrokerClock(self.rng), self.reached) for number in range(plan.intake)]
        self.rules = Rules(plan.tolerant, plan.apart)

    def published(self, side: int) -> Topic:
        """Return the topic that the producer of a side publishes to."""
        return self.original if side == LEGACY and self.original is not None else self.topics[side]

    def source(self, side: int, partition: int) -> Source:
        """Return the name of a source partition."""
        return Source(side, self.topics[side].name, "i1", partition)

    @staticmethod
    def sampled_end(partition: Partition) -> int:
        """Return what a sampler takes for the end: the high watermark."""
        return partition.end

    @staticmethod
    def edge_reason(start: int) -> str:
        """Return why a range is lost."""
        return "retention" if start else "start"
