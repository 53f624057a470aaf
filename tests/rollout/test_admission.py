"""What may begin now, and who judges it: each partition by itself, and nothing that is not certain."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.codec.models import ModelRef, Switch
from streams.core.events import Chunk
from streams.core.patience import FIRST_PAUSE_S, LONGEST_PAUSE_S
from streams.errors import ModelRejected, Unavailable
from streams.model.detector import Detector
from streams.pipeline.turn import Admitted
from streams.rollout.admission import Admission
from streams.rollout.loading import ref_of
from tests.rollout.test_model_switches import (
    OFFSETS,
    SWITCHES,
    TOPICS,
    as_the_list_says,
    chunk,
    detector,
    ref,
)


class World:
    """A store and a background whose work begins when the test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.loaded_s: list[float] = []
        self.problem: Exception | None = None
        self.waiting: list[Callable[[], None]] = []
        self.admission = Admission(detector("1"), self._load, self.waiting.append, lambda: self.now_s)

    def _load(self, wanted: ModelRef) -> Detector:
        self.loaded_s.append(self.now_s)
        if self.problem is not None:
            raise self.problem
        return detector(wanted.version)

    def work(self) -> None:
        while self.waiting:
            self.waiting.pop(0)()

    def switches(self, **versions: int) -> None:
        """From now on version v2 judges from this offset on, of partition 0."""
        agreed = [Switch(ref(name[1:]), {"0": at}, str(TOPICS[0])) for name, at in versions.items()]
        self.admission.plan(1, (Switch(ref("1"), {}, ""), *agreed))


def begun(admitted: Admitted) -> list[tuple[int, list[int], str]]:
    """Of each partition the offsets that begin, and the version that judges them."""
    return [
        (part.source.partition, [record.offset for record in part.records], ref_of(judge).version)
        for part, judge in zip(admitted.chunks, admitted.judges, strict=True)
    ]


def test_a_chunk_is_cut_at_the_switch_and_the_rest_comes_with_the_new_model() -> None:
    world = World()
    world.switches(v2=7)
    world.admission.keep(detector("2"))
    assert begun(world.admission.admit([chunk([5, 6, 7, 8])])) == [(0, [5, 6], "1")]
    assert begun(world.admission.admit([chunk([7, 8])])) == [(0, [7, 8], "2")]


def test_a_partition_waits_alone_for_its_model_which_is_loaded_in_the_background() -> None:
    world = World()
    world.switches(v2=7)
    mine, other = chunk([7, 8]), chunk([3, 4], partition=1)
    world.admission.plan(2, (Switch(ref("1"), {}, ""), Switch(ref("2"), {"0": 7, "1": 9}, str(TOPICS[0]))))
    for _ in range(3):
        admitted = world.admission.admit([mine, other])
        assert begun(admitted) == [(1, [3, 4], "1")]
        assert admitted.held == {mine.source.place: "loading m/2, which judges these offsets"}
    assert (len(world.waiting), world.loaded_s) == (1, []), "once, and not in the thread that computes"
    assert world.admission.reason is None, "something may begin"
    world.work()
    assert begun(world.admission.admit([mine, other])) == [(0, [7, 8], "2"), (1, [3, 4], "1")]


@pytest.mark.parametrize("problem", [ModelRejected("cut short"), Unavailable("no answer")])
def test_a_load_that_fails_is_tried_again_with_back_off_and_logged_once(
    problem: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    world.switches(v2=7)
    world.problem = problem
    with caplog.at_level(logging.WARNING, "autodeep.models"):
        while world.now_s < 60.0:
            admitted = world.admission.admit([chunk([7])])
            assert not admitted.chunks
            world.work()
            world.now_s += 1 / 32  # sums of it are exact
    assert admitted.held == {chunk([7]).source.place: str(problem)}
    assert [record.getMessage() for record in caplog.records] == [f"events wait: {problem}; trying again"]
    pauses = [later - earlier for earlier, later in zip(world.loaded_s, world.loaded_s[1:], strict=False)]
    assert pauses[0] == pytest.approx(FIRST_PAUSE_S, abs=0.06)
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE_S, abs=0.06)
    world.problem = None
    world.now_s += LONGEST_PAUSE_S
    world.admission.admit([chunk([7])])
    world.work()
    assert begun(world.admission.admit([chunk([7])])) == [(0, [7], "2")]


def test_what_nobody_foresaw_in_a_load_is_raised_where_turns_begin() -> None:
    """It ends the process, as anywhere else; in the background alone nobody would hear of it."""
    world = World()
    world.switches(v2=7)
    world.problem = AttributeError("no such thing")
    world.admission.admit([chunk([7])])
    for of in (world.work, lambda: world.admission.admit([chunk([7])])):
        with pytest.raises(AttributeError, match="no such thing"):
            of()


class Asked:
    """Answers about the newest state, in this order; whoever asks once more fails."""

    def __init__(self, admission: Admission, *answers: Exception | Callable[[], None] | None) -> None:
        self.answers = list(answers)
        admission.learn = self

    def __call__(self) -> None:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            answer()


def test_after_an_assignment_nothing_begins_before_the_newest_state_was_learnt(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    away = [Unavailable("no answer")] * 3
    asked = Asked(world.admission, *away, lambda: world.switches(v2=0), None)
    world.admission.keep(detector("2"))
    world.admission.assigned()
    with caplog.at_level(logging.WARNING, "autodeep.models"):
        for _ in range(1000):
            admitted = world.admission.admit([chunk([7]), chunk([1], partition=1)])
            if admitted.chunks:
                break
            assert set(admitted.held.values()) == {world.admission.reason} == {"no answer"}
            world.now_s += 0.01
    assert begun(admitted) == [(0, [7], "2"), (1, [1], "2")]
    assert world.now_s == pytest.approx((1 + 2 + 4) * FIRST_PAUSE_S, abs=0.04)
    assert len(caplog.records) == 1
    assert world.admission.reason is None
    world.admission.admit([chunk([8])])
    assert asked.answers == [None], "once it is known it is not asked for again"
    world.admission.assigned()
    world.admission.admit([chunk([9])])
    assert asked.answers == [], "until the next assignment"


@pytest.mark.parametrize("begins", [Admission.leave, Admission.stop])
def test_nothing_begins_where_a_rebalance_or_a_stop_begins_while_the_state_is_read(
    begins: Callable[[Admission], None],
) -> None:
    world = World()
    Asked(world.admission, lambda: begins(world.admission))
    world.admission.assigned()
    admitted = world.admission.admit([chunk([7])])
    assert (admitted.chunks, admitted.held) == ((), {})


def test_while_leaving_nothing_is_admitted_and_nobody_is_asked_and_the_next_assignment_ends_it() -> None:
    world = World()
    asked = Asked(world.admission, None)
    world.admission.leave()
    admitted = world.admission.admit([chunk([7])])
    assert (admitted.chunks, admitted.held) == ((), {})
    world.admission.assigned()
    world.admission.leave()
    assert not world.admission.admit([chunk([7])]).chunks
    assert asked.answers == [None]
    world.admission.assigned()
    assert begun(world.admission.admit([chunk([7])])) == [(0, [7], "1")]


def test_a_stop_is_for_good() -> None:
    world = World()
    world.admission.stop()
    world.admission.assigned()
    assert not world.admission.admit([chunk([7])]).chunks


class Swapping(Admission):
    """Between any two looks at what serves, it may change."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    def at_hand(self, wanted: ModelRef) -> Detector | None:
        self.meanwhile()
        return super().at_hand(wanted)


@given(SWITCHES.filter(bool), SWITCHES.filter(bool), st.lists(OFFSETS, min_size=1, max_size=3))
def test_a_turn_is_judged_by_one_list_though_another_comes_while_it_is_admitted(
    before: tuple[Switch, ...], after: tuple[Switch, ...], partitions: list[list[int]]
) -> None:
    chunks = [chunk(offsets, partition) for partition, offsets in enumerate(partitions)]
    admission = Swapping(detector("0"), lambda wanted: detector(wanted.version), lambda work: work())
    admission.plan(1, before)
    admission.meanwhile = lambda: admission.plan(2, after)
    for part, judge in _both(admission.admit(chunks)):
        for record in part.records:
            assert ref_of(judge) == as_the_list_says(before, part.source, record.offset)


def _both(admitted: Admitted) -> list[tuple[Chunk, Detector]]:
    return list(zip(admitted.chunks, admitted.judges, strict=True))
