"""What a worker believes about a source, from literal data: what follows what, and when it doubts."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from cutover_app.core.frames import LEGACY, Barrier, Edge, Source, decode_frame
from cutover_app.core.sampling import Sampling
from cutover_app.core.standing import FAR_PAST, RETENTION, START, Standing, Uncopied, note_of, standing_from
from cutover_app.kafka.cluster import Topic
from cutover_app.kafka.samplers import Sample
from cutover_app.kafka.settings import Broker
from cutover_app.kafka.starts import Resolved
from cutover_app.runtime.alignment import Alignment
from cutover_app.runtime.chunks import Chunk
from cutover_app.runtime.consuming import moved_chunks
from cutover_app.runtime.following import Doubts, Following
from cutover_app.runtime.forwarding import Forwarder
from cutover_app.runtime.transport import ChunkConsumer
from cutover_app.runtime.watching import SourceWatch

PLACE = TP("orders", 0)
HERE = Source(LEGACY, "orders", "id-1", 0)
FIRST_MS = 870  # of the first record that is there, as the cluster says


def chunk(start: int, end: int, *, after: int | None = None, times: tuple[int, ...] = ()) -> Chunk:
    made = Chunk(PLACE, start, end, [SimpleNamespace(timestamp=each) for each in times], size=0, readable=-1)
    made.after = start if after is None else after
    return made


# -- what follows what -----------------------------------------------------------------------------------------------


class Said(Doubts):
    """Doubts that keep what was said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def add(self, why: str) -> None:
        """Keep it too."""
        self.said.append(why)
        super().add(why)


class Reader:
    """What follows what in a partition that is read from `at` on."""

    def __init__(self, at: int) -> None:
        self._doubts = Said()
        self._following = Following(self._doubts)
        self._following.begin({PLACE: at})

    @property
    def said(self) -> list[str]:
        """What was doubted."""
        return self._doubts.said

    def take(self, each: Chunk) -> bool:
        """Return whether a chunk is handed on."""
        return self._following.fetched(each)


def test_a_jump_forward_is_a_gap() -> None:
    """A chunk says where the one before it ended; a position that only moved is handed on too, once."""
    reader, far, moved = Reader(10), chunk(30, 40), chunk(50, 50)
    assert reader.take(chunk(10, 20))
    assert reader.take(far)
    assert far.after == 20
    assert reader.take(moved)
    assert (moved.after, moved.end) == (40, 50)
    assert not reader.take(chunk(50, 50))
    assert reader.said == []


def test_a_step_back_stops_everything() -> None:
    """Nothing is handed on after it until the partitions are taken over anew, even when positions fit again."""
    reader = Reader(100)
    assert not reader.take(chunk(0, 60))
    assert not reader.take(chunk(60, 120))
    assert not reader.take(chunk(120, 130))
    assert len(reader.said) == 1


def test_an_emptied_partition_says_where_it_is() -> None:
    """A position without anything fetched is an empty chunk; what is fetched, not known or paused says nothing."""
    states = {
        TP("orders", 0): SimpleNamespace(position=7, has_valid_position=True, paused=False),
        TP("orders", 1): SimpleNamespace(position=7, has_valid_position=True, paused=False),
        TP("orders", 2): SimpleNamespace(has_valid_position=False, paused=False),
        TP("orders", 3): SimpleNamespace(position=7, has_valid_position=True, paused=True),
        TP("other", 0): SimpleNamespace(position=7, has_valid_position=True, paused=False),
    }
    assignment = SimpleNamespace(tps=set(states), state_value=states.__getitem__)
    subscriptions = SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))
    fetcher = SimpleNamespace(_subscriptions=subscriptions, _records={TP("orders", 1): object()})
    found = moved_chunks(fetcher, {tp for tp in states if tp.topic == "orders"})
    assert {tp: [(each.start, each.end) for each in chunks] for tp, chunks in found.items()} == {PLACE: [(7, 7)]}


# -- what is told ----------------------------------------------------------------------------------------------------


class Stage:
    """A stage whose intake acknowledges everything at once."""

    def __init__(self) -> None:
        self.topic, self.sampling, self.partitions = "orders", Sampling(), frozenset({0})
        self.sender = SimpleNamespace(sender_id="s", send_barriers=self._send_barriers)
        self.log: list[Any] = []
        self.notes: list[tuple[int, str]] = []
        self.note: Any = None
        self.sound: Any = None

    async def _send_barriers(self, build: Any) -> list[int]:
        self.log.append(decode_frame(build()[0]))
        return [0]

    async def send(self, _tp: TP, end: int, _frames: Any, account: Any) -> None:
        """Account for what goes out, and note where it ends."""
        account()
        self.log.append(end)

    async def assigned(self, positions: Mapping[TP, int]) -> None:
        """Note that reading begins."""
        self.sampling.assign({tp.partition: position for tp, position in positions.items()})
        self.log.append("assigned")

    def renew(self, partition: int, position: int) -> None:
        """Keep what is to be committed."""
        self.notes.append((position, self.note(TP(self.topic, partition), position)))

    def hold(self, _tps: Any) -> None:
        """Nobody fetches here."""


class Scene:
    """A forwarder, its stage, what the cluster says, and what was doubted."""

    def __init__(self, *edges: Edge) -> None:
        self.stage, self.doubts, self.id, self.ours = Stage(), list[str](), "id-1", True
        standings = {0: Standing(HERE, 10, 500, edges)}
        self.forwarder = Forwarder(
            self.stage,  # type: ignore[arg-type]
            lambda _records: ([], 0),
            Alignment(),
            starts=SimpleNamespace(resolve=self._resolved(standings), first_ms=self._first_ms),  # type: ignore[arg-type]
            identity=SimpleNamespace(at=self._identity),  # type: ignore[arg-type]
            doubt=self.doubts.append,
            ours=lambda: self.ours,
            side=LEGACY,
            rules="r",
            partitions=1,
        )

    def _resolved(self, standings: dict[int, Standing]) -> Any:
        async def resolve(_numbers: Any) -> Resolved:
            return Resolved("id-1", standings)

        return resolve

    async def _first_ms(self, _partition: int) -> int:
        return FIRST_MS

    async def _identity(self, _partition: int, _fetched: float) -> str:
        if not self.id:
            raise TimeoutError
        return self.id

    async def begin(self) -> None:
        """Take the partition over."""
        await self.forwarder.assigned(await self.forwarder.starts([PLACE]))

    def barrier(self) -> Barrier:
        """Return the next barrier."""
        built = decode_frame(self.forwarder.barriers()[0])
        assert isinstance(built, Barrier)
        return built


def test_the_first_barrier_tells_what_the_standing_knows() -> None:
    """Whoever takes a partition over tells its edges, once; barriers and sources carry the incarnation."""
    edge = Edge(HERE, 0, 10, FAR_PAST, 500, START)
    scene = Scene(edge)
    asyncio.run(scene.begin())
    assert (scene.barrier().edges, scene.barrier().edges) == ([edge], [])
    assert scene.barrier().incarnation == "id-1"
    assert scene.forwarder.source(0) == HERE


def test_a_lost_range_is_acknowledged_before_anything_beyond_it() -> None:
    """The edge is told, between the last record before it and the first after it, and not counted as passed."""
    scene = Scene()

    async def play() -> None:
        await scene.begin()
        await scene.forwarder.take(chunk(10, 12, times=(600, 700)))
        await scene.forwarder.take(chunk(20, 22, after=12, times=(900, 950)))

    asyncio.run(play())
    start, first, told, second = scene.stage.log
    assert (start, first, second) == ("assigned", 12, 22)
    assert told.edges == [Edge(HERE, 12, 20, 700, 900, RETENTION)]
    assert [(each.start, each.end) for each in told.passed] == [(10, 12)]
    assert [(each.start, each.end) for each in scene.barrier().passed] == [(20, 22)]


def test_a_lost_range_at_the_very_beginning_reaches_back_to_what_was_committed() -> None:
    """A worker that has read nothing itself knows the last record from the commit."""
    scene = Scene()

    async def play() -> None:
        await scene.begin()
        await scene.forwarder.take(chunk(15, 17, after=10, times=(900, 950)))

    asyncio.run(play())
    assert scene.stage.log[1].edges == [Edge(HERE, 10, 15, 500, 900, RETENTION)]


def test_a_lost_range_with_nothing_fetched_beyond_it_ends_where_the_cluster_says() -> None:
    """A position that jumped without a record shows no time: the first record that is left bounds the edge, not now."""
    scene = Scene()

    async def play() -> None:
        await scene.begin()
        await scene.forwarder.take(chunk(20, 20, after=10))

    asyncio.run(play())
    assert scene.stage.log[1].edges == [Edge(HERE, 10, 20, 500, FIRST_MS, RETENTION)]


def test_what_was_never_copied_is_told_by_the_next_barrier_and_committed() -> None:
    """Once, from the last record read; a worker that dies before the barrier leaves it in the commit."""
    scene = Scene()
    asyncio.run(scene.begin())
    scene.forwarder.never_copied(0, Uncopied(4, 8, 900))
    (edge,), then = scene.barrier().edges, scene.barrier().edges
    assert (edge.start, edge.end, edge.from_ms, edge.to_ms, then) == (10, 10, 500, 900, [])
    assert [(at, standing_from(HERE, at, note).edges) for at, note in scene.stage.notes] == [(10, (edge,))]
    asyncio.run(scene.begin())
    assert scene.barrier().edges == []


def test_what_was_never_copied_outlives_a_rebalance() -> None:
    """If one comes before the barrier, and nothing was committed, whoever still owns the partition tells it."""
    scene = Scene()
    asyncio.run(scene.begin())
    scene.forwarder.never_copied(0, Uncopied(4, 8, 900))
    asyncio.run(scene.begin())
    assert [each.to_ms for each in scene.barrier().edges] == [900]


def test_what_was_never_copied_of_another_workers_partition_is_told_at_a_takeover() -> None:
    """Its owner may be dead. It is told before anything is read, so from the last record that the owner committed."""
    scene = Scene()
    scene.forwarder.never_copied(0, Uncopied(4, 8, 900))
    asyncio.run(scene.begin())
    assert [(each.from_ms, each.to_ms) for each in scene.barrier().edges] == [(500, 900)]
    assert scene.barrier().edges == []


def test_what_was_never_copied_begins_before_what_was_read_meanwhile() -> None:
    """Copies of what came behind the gap may have been read before anybody found that there is one."""
    scene = Scene()

    async def play() -> None:
        await scene.begin()
        await scene.forwarder.take(chunk(10, 12, times=(600, 700)))
        before = scene.forwarder.read_to_ms()
        await scene.forwarder.take(chunk(12, 14, times=(9_001, 9_050)))
        scene.forwarder.never_copied(0, Uncopied(4, 8, 9_001, before[0]))

    asyncio.run(play())
    assert [(each.from_ms, each.to_ms) for each in scene.barrier().edges] == [(700, 9_001)]


def test_what_is_found_at_a_first_look_begins_where_the_partition_was_taken_over() -> None:
    """Who has just begun has read beyond the gap before it could look; what is told already is not told again."""
    scene = Scene()

    async def play() -> None:
        await scene.begin()
        await scene.forwarder.take(chunk(10, 12, times=(9_001, 9_050)))
        scene.forwarder.never_copied(0, Uncopied(4, 8, 9_001))
        scene.forwarder.never_copied(0, Uncopied(4, 6, 10_000))

    asyncio.run(play())
    assert [(each.from_ms, each.to_ms) for each in scene.barrier().edges] == [(500, 9_001)]


def test_an_end_asked_for_before_more_was_read_is_no_doubt() -> None:
    """One broker answers at once, another takes its time; meanwhile the first one's partition is read on."""
    scene = Scene()
    asyncio.run(scene.begin())
    scene.stage.sampling.assign({0: 10})
    before = scene.stage.sampling.positions()
    scene.stage.sampling.progress(0, 20)
    assert scene.stage.sound(Sample(1, {0: 15}, "id-1"), before)
    assert scene.doubts == []


def test_nothing_goes_on_behind_a_chunk_that_was_let_go_of() -> None:
    """Both were fetched before anybody doubted; the second one would be committed, and the first one be nowhere."""
    scene, doubts = Scene(), Doubts()
    app = SimpleNamespace(lossy={"orders"}, doubts=doubts)
    following = Following(doubts)
    consumer: Any = SimpleNamespace(_idle={}, _streams_open=True, _following=following, _waiting=Counter(), app=app)
    scene.forwarder._doubt = doubts.add
    queue = [chunk(10, 12, times=(600, 700)), chunk(12, 14, times=(800, 900))]

    async def events() -> AsyncIterator[Any]:
        for scene.id, each in zip(("id-2", "id-1"), queue, strict=True):
            yield SimpleNamespace(value=each)

    stream: Any = SimpleNamespace(
        channel=SimpleNamespace(get_topic_name=lambda: "orders"), noack=lambda: SimpleNamespace(events=events)
    )

    async def play() -> None:
        await scene.begin()
        following.begin({PLACE: 10})
        assert all(following.fetched(each) for each in queue)
        async for each in ChunkConsumer.chunks(consumer, stream):
            await scene.forwarder.take(each)

    asyncio.run(play())
    assert scene.stage.log == ["assigned"]


@pytest.mark.parametrize(("reads", "asks"), [(frozenset({0}), 1), (frozenset[int](), 0)])
def test_whoever_reads_nothing_of_a_topic_knows_of_no_other(reads: frozenset[int], asks: int) -> None:
    """It read some of it once, and is given none of the new one: it would ask for rebalances for ever."""
    scene = Scene()
    asked: list[int] = []

    class Member:
        """A member of the group."""

        doubts, tenure = Doubts(), 1

        async def partition_counts(self, _topics: Any) -> dict[str, int]:
            """As many as there are."""
            return {"orders": 1}

        async def rejoin(self) -> None:
            """Note it."""
            asked.append(self.tenure)
            self.tenure += 1

    async def another(_names: Any) -> dict[str, Topic]:
        return {"orders": Topic("orders", "id-2", {0: 1})}

    async def play() -> None:
        await scene.begin()
        scene.stage.partitions = reads
        watch = SourceWatch(Member(), Broker.parse("127.0.0.1:1"), {"orders": scene.forwarder})
        watch._cluster = SimpleNamespace(topics=another)  # type: ignore[assignment]
        await watch.look()

    asyncio.run(play())
    assert len(asked) == asks


def test_a_note_is_of_the_position_that_it_is_committed_with() -> None:
    """Records that were read and are not in intake yet do not move the last timestamp."""
    scene = Scene()

    async def play() -> None:
        await scene.begin()
        await scene.forwarder.take(chunk(10, 12, times=(600, 700)))
        await scene.forwarder.take(chunk(12, 20, times=(900,)))

    asyncio.run(play())
    notes = [(at, scene.stage.note(PLACE, at)) for at in (10, 12, 20)]
    assert [standing_from(HERE, at, note).last_ms for at, note in notes] == [500, 700, 900]
    assert notes[0][1] == note_of(Standing(HERE, 10, 500))


def test_records_of_another_topic_of_the_name_are_not_forwarded() -> None:
    """If the id is another one after the fetch, the chunk is dropped and everything is looked at anew."""
    scene = Scene()

    async def play() -> None:
        await scene.begin()
        scene.id = "id-2"
        await scene.forwarder.take(chunk(10, 12, times=(600, 700)))

    asyncio.run(play())
    assert scene.stage.log == ["assigned"]
    assert len(scene.doubts) == 1


def test_a_cluster_that_does_not_answer_holds_up_no_rebalance() -> None:
    """A chunk of which nobody says what it is, is not forwarded, and is let go of as soon as its partition is."""
    scene = Scene()

    async def play() -> None:
        await scene.begin()
        scene.id = ""
        taking = asyncio.ensure_future(scene.forwarder.take(chunk(10, 12, times=(600, 700))))
        await asyncio.sleep(0.01)
        assert not taking.done()
        scene.ours = False
        await asyncio.wait_for(taking, 5)

    asyncio.run(play())
    assert scene.stage.log == ["assigned"]
    assert scene.doubts == []


@pytest.mark.parametrize(
    ("sample", "sound"),
    [
        (Sample(1, {0: 10}, "id-1"), True),
        (Sample(2, {0: 90, 1: 0}, "id-1"), True),
        (Sample(1, {0: 9}, "id-1"), False),
        (Sample(1, {0: 90}, "id-2"), False),
    ],
    ids=["at its end", "a partition that is not ours", "cut below the position", "another topic"],
)
def test_an_unsound_sample_proves_nothing(sample: Sample, sound: bool) -> None:
    """An end below what was read, or of another topic, vouches for nothing and is looked at anew."""
    scene = Scene()
    asyncio.run(scene.begin())
    scene.stage.sampling.assign({0: 10})
    assert scene.stage.sound(sample, scene.stage.sampling.positions()) is sound
    assert bool(scene.doubts) is not sound
