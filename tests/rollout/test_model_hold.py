"""Nothing begins while a switch is prepared, and what was held is judged by the list that ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from streams.codec.models import ModelState, Switch
from streams.core.events import Chunk
from streams.errors import ModelRejected, Unavailable
from streams.rollout.admission import Admission
from streams.rollout.follower import Follower, FollowerPorts
from streams.rollout.loading import ref_of
from tests.rollout.test_model_follower import DEADLINE_S, Store, detector, eventually, state
from tests.rollout.test_model_switches import TOPICS, chunk, judged, ref


def preparing(revision: int, version: str, champion: str = "1") -> ModelState:
    candidate = ref_of(detector(version))
    return ModelState(revision, ref_of(detector(champion)), 3, command_id="c", preparing=candidate)


def switched(revision: int, version: str, at: int) -> ModelState:
    switches = (Switch(ref("1"), {}, ""), Switch(ref(version), {"0": at}, str(TOPICS[0])))
    return ModelState(revision, ref(version), 3, command_id="c", switches=switches)


class Parts:
    """An admission and its follower; the background is here, and the clock moves when a test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.store = Store()
        self.told: list[tuple[str, int, str]] = []
        self.admission = Admission(
            detector("1"), self.store.load, lambda work: work(), clock_s=lambda: self.now_s
        )
        self.admission.learn = self._learn
        ports = FollowerPorts(
            self.store.load, lambda s: self.told.append((s.outcome, s.revision, s.version)), lambda: 9
        )
        self.follower = Follower("here", self.admission, ports)
        self.newest: list[ModelState | Exception | None] = []

    def _learn(self) -> None:
        found = self.newest.pop(0)
        if isinstance(found, Exception):
            raise found
        if found is not None:
            self.follower.offer(found, before_a_chunk=True)

    def prepared(self) -> None:
        """This worker is prepared for version 2, and waits for the others."""
        self.follower.offer(preparing(1, "2"))
        assert self.follower.apply_state(preparing(1, "2"))

    def why_held(self, chunk: Chunk) -> str | None:
        """None where something of the chunk begins."""
        admitted = self.admission.admit([chunk])
        assert bool(admitted.chunks) != bool(admitted.held)
        return admitted.held.get(chunk.source.place)


def test_a_prepared_model_is_loaded_beside_the_champion_then_events_are_held_then_it_is_told() -> None:
    parts = Parts()
    held_when_told: list[bool] = []

    def report(status: object) -> None:
        held_when_told.append(parts.admission.reason is not None)

    follower = Follower("here", parts.admission, FollowerPorts(parts.store.load, report, lambda: 9))
    follower.offer(preparing(1, "2"))
    assert parts.admission.reason is None, "the old model serves while the new one is loaded"
    assert follower.apply_state(preparing(1, "2"))
    assert held_when_told == [True]
    assert parts.admission.reason == "holding for m/2: waiting for the other workers"
    assert (parts.admission.ref.version, parts.store.loaded) == ("1", ["2"])


@pytest.mark.parametrize(
    ("after", "judges"), [(switched(2, "2", 7), "1122"), (state(2, "1"), "1111"), (state(2, "2"), "1111")]
)
def test_a_newer_state_ends_the_hold_and_what_was_held_is_cut_by_its_list(
    after: ModelState, judges: str
) -> None:
    """After a plain promote the old one judges until the new one is brought about."""
    parts = Parts()
    parts.prepared()
    assert parts.why_held(chunk([5, 6, 7, 8])) == parts.admission.reason is not None
    parts.follower.offer(after)
    assert judged(parts.admission, chunk([5, 6, 7, 8])) == list(zip([5, 6, 7, 8], judges, strict=True))
    assert parts.admission.reason is None
    assert parts.store.loaded == ["2"], "what was prepared is not loaded again"


def test_every_partition_waits_while_a_switch_is_prepared() -> None:
    parts = Parts()
    parts.prepared()
    chunks = [chunk([5], partition) for partition in range(3)]
    admitted = parts.admission.admit(chunks)
    assert (admitted.chunks, admitted.judges) == ((), ())
    assert admitted.held == {one.source.place: parts.admission.reason for one in chunks}


def test_a_state_superseded_while_it_was_loaded_holds_nothing_back() -> None:
    parts = Parts()
    parts.follower.offer(preparing(1, "2"))
    parts.follower.offer(state(2, "1"))
    parts.follower.apply_state(preparing(1, "2"))
    assert parts.why_held(chunk([5])) is None


def test_what_cannot_be_prepared_is_told_and_nothing_is_held() -> None:
    parts = Parts()
    parts.store.broken = {"2": ModelRejected("cut short")}
    parts.follower.offer(preparing(1, "2"))
    assert not parts.follower.apply_state(preparing(1, "2"))
    assert (parts.told, parts.why_held(chunk([5]))) == ([("load_failed", 1, "2")], None)


def test_the_same_failure_is_told_again_for_another_revision() -> None:
    """The agent waits for an answer about that very revision."""
    parts = Parts()
    parts.store.broken = {"2": ModelRejected("cut short")}
    for revision in (1, 3):
        parts.follower.offer(preparing(revision, "2"))
        for _ in range(2):
            assert not parts.follower.apply_state(preparing(revision, "2"))
    assert parts.told == [("load_failed", 1, "2"), ("load_failed", 3, "2")]


@pytest.mark.parametrize("give_up", [Admission.leave, Admission.stop])
def test_what_was_held_does_not_begin_once_a_rebalance_or_a_stop_began(
    give_up: Callable[[Admission], None],
) -> None:
    parts = Parts()
    parts.prepared()
    assert parts.why_held(chunk([5])) is not None
    give_up(parts.admission)
    parts.admission.release()
    for offset in (5, 6):  # those after it neither: else it would be committed over
        admitted = parts.admission.admit([chunk([offset])])
        assert (admitted.chunks, admitted.held) == ((), {})


def test_after_an_assignment_the_state_is_asked_for_and_its_preparation_holds_at_once() -> None:
    """Before the model is loaded: what this worker told in a former life may be counted on."""
    parts = Parts()
    parts.admission.leave()
    parts.newest = [preparing(1, "2")]
    parts.admission.assigned()
    assert parts.why_held(chunk([5])) == "holding for m/2: waiting for the other workers"
    assert (parts.store.loaded, parts.newest) == ([], [])
    parts.follower.offer(switched(2, "2", 5))
    assert judged(parts.admission, chunk([5])) == [(5, "2")]


def test_a_worker_that_joins_after_the_switch_knows_the_list_before_its_first_chunk() -> None:
    parts = Parts()
    parts.newest = [Unavailable("no answer"), switched(2, "2", 7)]
    parts.admission.assigned()
    assert parts.why_held(chunk([5, 8])) == "no answer"
    parts.now_s += 60.0
    assert judged(parts.admission, chunk([5, 8])) == [(5, "1"), (8, "2")]


def test_a_model_of_the_list_that_cannot_be_loaded_is_waited_for_and_said() -> None:
    parts = Parts()
    parts.admission.plan(2, switched(2, "2", 7).switches)
    parts.store.broken = {"2": ModelRejected("cut short")}
    assert parts.why_held(chunk([8])) == "cut short"
    parts.store.broken = {}
    assert parts.why_held(chunk([8])) == "cut short", "it is not tried again before its time"
    parts.now_s += 60.0
    assert judged(parts.admission, chunk([8])) == [(8, "2")]
    assert parts.store.loaded == ["2", "2"]


@pytest.mark.parametrize("give_up", [Admission.leave, Admission.stop])
def test_the_pauses_of_many_threads_end_together_once_a_rebalance_or_a_stop_begins(
    give_up: Callable[[Admission], None],
) -> None:
    """An agent that waits for the other workers, say."""
    admission = Admission(detector("1"))
    ended: list[bool] = []
    threads = [threading.Thread(target=lambda: ended.append(admission.pause(600.0))) for _ in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(admission._changed._waiters) == 4)  # type: ignore[attr-defined]
    give_up(admission)
    for thread in threads:
        thread.join(DEADLINE_S)
    assert ended == [True] * 4


def test_a_pause_that_nothing_ends_says_so() -> None:
    admission = Admission(detector("1"))
    assert not admission.pause(0)
    admission.leave()
    assert admission.pause(0)
    admission.assigned()
    assert not admission.pause(0)
