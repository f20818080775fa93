"""When the copy may be asked where it ends, and for which barrier (R1.5)."""

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from cutover_app.core.standing import UNKNOWN_END
from cutover_app.mirror.proof import Behind, LegacyLog, Proof, Range


def log(*ends: int, starts: Mapping[int, int] | None = None, topic_id: str = "t") -> LegacyLog:
    return LegacyLog(topic_id, dict.fromkeys(range(len(ends)), 0) | dict(starts or {}), dict(enumerate(ends)))


def lost(proof: Proof) -> list[Range]:
    """Return what is told to be lost."""
    return [Range(*each[:3]) for each in proof.take_lost()]


def ready(proof: Proof) -> dict[int, tuple[int, ...]]:
    found = proof.ready()
    proof.asked(found)
    return found


def test_the_copy_is_asked_when_the_mirror_has_passed_the_end() -> None:
    """The barrier is the one before the question whose answer has been passed, and it is given once."""
    proof = Proof()
    proof.observe([7, 9], log(50), {0: 40})

    assert ready(proof) == {}
    assert proof.behind() == [Behind(0, 10, 0)]

    proof.observe([8, 11], log(60), {0: 50})

    assert ready(proof) == {0: (7, 9)}
    assert ready(proof) == {}


def test_an_idle_mirror_keeps_up_with_the_barriers() -> None:
    """A position at the end passes each question in the look in which it was asked."""
    proof = Proof()
    for barrier in (7, 8, 9):
        proof.observe([barrier], log(50, 0), {0: 50})

        assert ready(proof) == {0: (barrier,), 1: (barrier,)}


def test_a_stalled_partition_holds_back_only_itself() -> None:
    """The frontier is the minimum over partitions anyway; the others are as fresh as they can be."""
    proof = Proof()
    proof.observe([1], log(10, 10), {0: 10, 1: 4})
    proof.observe([2], log(20, 20), {0: 20, 1: 4})

    assert ready(proof) == {0: (2,)}

    proof.observe([3], log(30, 30), {0: 20, 1: 10})

    assert ready(proof) == {1: (1,)}
    assert proof.behind() == [Behind(1, 20, 0), Behind(0, 10, 1)]


def test_without_a_position_the_mirror_stands_at_the_beginning() -> None:
    """An empty partition is passed; one with records is not, wherever its log begins later."""
    proof = Proof()
    proof.observe([1], log(5, 8, starts={0: 5, 1: 3}), {})

    assert ready(proof) == {0: (1,)}
    assert proof.behind() == [Behind(1, 5, 0)]

    proof.observe([2], log(5, 8, starts={0: 5, 1: 8}), {})

    assert ready(proof) == {0: (2,)}
    assert lost(proof) == [Range(1, 3, 8)]


def test_a_position_that_stands_still_is_helped_over_what_is_not_copied() -> None:
    """After two looks in the same place the log is read; nothing to copy there, and the end counts as passed."""
    proof = Proof()
    for barrier in (1, 2):
        proof.observe([barrier], log(12), {0: 10})

        assert proof.looks([0]) == []

    proof.observe([3], log(12), {0: 10})

    assert proof.looks([1]) == []
    assert proof.looks([0]) == [Range(0, 10, 12)]

    proof.looked(Range(0, 10, 12), 12, found=False)

    assert ready(proof) == {0: (3,)}


def test_a_record_to_copy_is_waited_for() -> None:
    """It is looked for once; then only a position that has passed it brings another look."""
    proof = Proof()
    for barrier in (1, 2, 3):
        proof.observe([barrier], log(12), {0: 10})
    proof.looked(Range(0, 10, 12), 11, found=True)
    proof.observe([4], log(12), {0: 10})

    assert ready(proof) == {}
    assert proof.looks([0]) == []

    for barrier in (5, 6, 7):
        proof.observe([barrier], log(14), {0: 12})

    assert ready(proof) == {0: (4,)}
    assert proof.looks([0]) == [Range(0, 12, 14)]


def test_an_unfinished_look_goes_on_where_it_ended() -> None:
    """What was read and held nothing is not read again."""
    proof = Proof()
    for barrier in (1, 2, 3):
        proof.observe([barrier], log(90), {0: 10})
    proof.looked(Range(0, 10, 90), 40, found=False)

    assert proof.looks([0]) == [Range(0, 40, 90)]


def test_a_position_that_goes_back_is_waited_for() -> None:
    """A mirror that begins again from an older flush has to come as far once more; what was proven stays so."""
    proof = Proof()
    proof.observe([1], log(10), {0: 10})
    ready(proof)
    proof.observe([2], log(20), {0: 4})
    proof.observe([3], log(20), {0: 19})

    assert ready(proof) == {}

    proof.observe([4], log(20), {0: 20})

    assert ready(proof) == {0: (4,)}


def test_a_position_of_another_log_is_not_believed() -> None:
    """A position beyond the end that was asked for after it was told about a topic that is gone."""
    proof = Proof()
    proof.observe([1], log(10), {0: 5_001})
    proof.observe([2], log(6_000), {0: 5_001})

    assert ready(proof) == {}
    assert proof.unbelievable() == [0]

    proof.observe([3], log(6_000), {0: 6_000})

    assert ready(proof) == {0: (3,)}
    assert proof.unbelievable() == []


def test_a_topic_made_anew_begins_anew() -> None:
    """Neither questions nor positions of the former log count, even where they would fit."""
    proof = Proof()
    proof.observe([1], log(100), {0: 40})
    proof.observe([2], log(30, topic_id="another"), {0: 40})
    proof.observe([3], log(50, topic_id="another"), {0: 40})

    assert ready(proof) == {}

    proof.observe([4], log(50, topic_id="another"), {0: 50})

    assert ready(proof) == {0: (4,)}


def test_a_topic_made_anew_that_has_grown_already_begins_anew() -> None:
    """Its end tells nothing; its id does, and what was asked about the former log is forgotten."""
    proof = Proof()
    proof.observe([1], log(100), {0: 40})
    proof.observe([2], log(500, topic_id="another"), {0: 150})

    assert ready(proof) == {}


def test_a_log_that_was_cut_short_begins_anew() -> None:
    """An end that goes back means that records were replaced: the partition's old position says nothing."""
    proof = Proof()
    proof.observe([1], log(100, 10), {0: 90, 1: 10})
    proof.observe([2], log(80, 10), {0: 90, 1: 10})
    proof.observe([3], log(95, 10), {0: 90, 1: 10})

    assert ready(proof) == {1: (3,)}

    proof.observe([4], log(95, 10), {0: 95, 1: 10})

    assert ready(proof) == {0: (4,), 1: (4,)}


def test_retention_ahead_of_the_mirror_is_told_and_not_waited_for() -> None:
    """Records that are gone cannot be copied; the range is told once."""
    proof = Proof()
    for barrier in (1, 2, 3):
        proof.observe([barrier], log(40, starts={0: 40}), {0: 10})

    assert lost(proof) == [Range(0, 10, 40)]
    assert lost(proof) == []
    assert proof.looks([0]) == [Range(0, 40, 40)]

    proof.looked(Range(0, 40, 40), 40, found=False)

    assert ready(proof) == {0: (3,)}


def test_what_was_lost_stays_lost_when_the_topic_is_made_anew() -> None:
    """A look may fail between the two: what the former log lost has still to be told."""
    proof = Proof()
    proof.observe([1], log(40, starts={0: 40}), {0: 10})
    proof.observe([2], log(5, topic_id="another"), {0: 10})

    assert lost(proof) == [Range(0, 10, 40), Range(0, 40, UNKNOWN_END)]


def test_what_a_topic_that_is_made_anew_had_beyond_the_mirror_is_lost() -> None:
    """Also where the mirror was level at the last look: more may have come since, and have gone with the topic."""
    proof = Proof()
    proof.observe([1], log(500, 7), {0: 300, 1: 7})
    proof.observe([2], log(0, 0, topic_id="another"), {0: 300, 1: 7})
    assert lost(proof) == [Range(0, 300, UNKNOWN_END), Range(1, 7, UNKNOWN_END)]
    proof.observe([3], log(0, 0, topic_id="another"), {0: 300, 1: 7})
    assert lost(proof) == []


def test_what_went_before_the_mirror_told_that_it_had_gone_on_is_lost() -> None:
    """It was short of what is gone when it was looked at last: that it is beyond it now does not show how."""
    proof = Proof()
    proof.observe([1], log(50), {0: 10})
    proof.observe([2], log(60, starts={0: 40}), {0: 55})
    assert lost(proof) == [Range(0, 10, 40)]


def test_a_position_that_is_taken_back_makes_nothing_lost() -> None:
    """The mirror's own memory is gone, or was taken back; what it had copied has been copied."""
    proof = Proof()
    proof.observe([1], log(2000, starts={0: 0}), {0: 1000})
    proof.observe([2], log(2000, starts={0: 900}), {})
    proof.observe([3], log(2000, starts={0: 950}), {0: 10})
    assert lost(proof) == []


def test_where_a_mirror_stood_before_anybody_looked_is_not_lost() -> None:
    """Of a mirror that is ahead of retention at the first look nothing is known that it had missed."""
    proof = Proof()
    proof.observe([1], log(60, starts={0: 40}), {0: 55})
    proof.observe([2], log(60, starts={0: 50}), {0: 60})
    assert lost(proof) == []


def test_what_holds_nothing_to_copy_is_not_lost() -> None:
    """Control records that retention takes away had no copy to begin with."""
    proof = Proof()
    for barrier in (1, 2, 3):
        proof.observe([barrier], log(12), {0: 10})
    proof.looked(Range(0, 10, 12), 12, found=False)
    proof.observe([4], log(12, starts={0: 12}), {0: 10})

    assert lost(proof) == []


def test_a_partition_that_is_added_is_waited_for_from_its_beginning() -> None:
    """It has a position as soon as something was copied."""
    proof = Proof()
    proof.observe([1], log(10), {0: 10})
    proof.observe([2], log(10, 3), {0: 10})

    assert ready(proof) == {0: (2,)}
    assert proof.partitions == 2

    proof.observe([3], log(10, 3), {0: 10, 1: 3})

    assert ready(proof) == {0: (3,), 1: (3,)}


STEPS = st.lists(
    st.sampled_from(["data", "control", "copy", "copy", "flush", "crash", "look", "barrier"]), min_size=1, max_size=120
)


class _World:
    """A partition of the legacy topic, a mirror that copies it, and a sender that proves."""

    def __init__(self) -> None:
        self.legacy: list[bool] = []  # whether the mirror copies what is there
        self.copy: list[int] = []  # offsets of the originals
        self.at = self.flushed = 0
        self.told: dict[int, int] = {}
        self.barriers: list[int] = []  # where the legacy log ended when each barrier was acknowledged
        self.proof = Proof()
        self.asked = 0

    def step(self, name: str) -> None:
        """Do what the step says."""
        getattr(self, name)()

    def data(self) -> None:
        """Publish a record."""
        self.legacy.append(True)

    def control(self) -> None:
        """Write what a mirror does not copy."""
        self.legacy.append(False)

    def copy_one(self) -> None:
        """Copy up to the next record."""
        while self.at < len(self.legacy):
            self.at += 1
            if self.legacy[self.at - 1]:
                self.copy.append(self.at - 1)
                self.flushed = self.at
                return

    def flush(self) -> None:
        """Tell the position."""
        if self.flushed:
            self.told[0] = self.flushed

    def crash(self) -> None:
        """Begin again where the last flush was."""
        self.at = self.flushed = self.told.get(0, 0)

    def barrier(self) -> None:
        """Acknowledge a barrier."""
        self.barriers.append(len(self.legacy))

    def look(self) -> None:
        """Make a look, and hold what is ready against the copy."""
        if not self.barriers:
            return
        newest = len(self.barriers) - 1
        self.proof.observe([newest], log(len(self.legacy)), self.told)
        for look in self.proof.looks([0]):
            clear = next((at for at in range(look.start, look.end) if self.legacy[at]), look.end)
            self.proof.looked(look, clear, found=clear < look.end)
        for barrier in ready(self.proof).values():
            self.asked += 1
            missing = {at for at in range(self.barriers[barrier[0]]) if self.legacy[at]} - set(self.copy)
            assert missing == set()


@settings(max_examples=400)
@given(STEPS)
def test_the_copy_is_never_asked_too_early(steps: list[str]) -> None:
    """Whatever legacy held when the barrier was acknowledged lies in the copy when the copy is asked."""
    world = _World()
    for name in steps:
        world.step("copy_one" if name == "copy" else name)


@given(STEPS)
def test_the_copy_is_asked_in_the_end(steps: list[str]) -> None:
    """Once the mirror has copied and told everything, a few looks are enough, control records at the tail or not."""
    world = _World()
    for name in steps:
        world.step("copy_one" if name == "copy" else name)
    world.barrier()
    last = len(world.barriers) - 1
    for _ in world.legacy:
        world.copy_one()
    world.flush()
    for _ in range(4):
        world.look()

    assert dict(world.proof._log.vouches()) == {0: (last,)}
