"""Chunks are held back while a switch is prepared, and given up when a rebalance or a stop begins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from streams.codec.models import ModelState, Switch
from streams.errors import ModelRejected, Unavailable
from streams.rollout.entry import Entry, EntryPorts
from streams.rollout.follower import Follower, FollowerPorts
from streams.rollout.serving import Serving, ref_of
from streams.rollout.turnstile import Turnstile
from tests.rollout.test_model_follower import DEADLINE_S, Store, detector, eventually, state
from tests.rollout.test_model_switches import TOPICS, chunk, ref


def preparing(revision: int, version: str, champion: str = "1") -> ModelState:
    candidate = ref_of(detector(version))
    return ModelState(revision, ref_of(detector(champion)), 3, command_id="c", preparing=candidate)


def switched(revision: int, version: str, at: int) -> ModelState:
    switches = (Switch(ref("1"), {}, ""), Switch(ref(version), {"0": at}, str(TOPICS[0])))
    return ModelState(revision, ref(version), 3, command_id="c", switches=switches)


class Parts:
    def __init__(self) -> None:
        self.store = Store()
        self.told: list[tuple[str, int, str]] = []
        self.serving = Serving(detector("1"))
        self.turnstile = Turnstile()
        ports = FollowerPorts(
            self.store.load, lambda s: self.told.append((s.outcome, s.revision, s.version)), lambda: 9
        )
        self.follower = Follower("here", self.serving, ports, 0, self.turnstile)
        self.newest: list[ModelState | Exception | None] = []
        self.entry = Entry(self.serving, self.follower, self.turnstile, EntryPorts(self.ask, self.store.load))

    def ask(self) -> ModelState | None:
        found = self.newest.pop(0)
        if isinstance(found, Exception):
            raise found
        return found


def waiting(work: Callable[[], object], turnstile: Turnstile) -> Future[object]:
    """Begin in a thread, and return once it waits in the turnstile."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(work)
    pool.shutdown(wait=False)
    eventually(lambda: bool(turnstile._changed._waiters) or future.done())  # type: ignore[attr-defined]
    assert not future.done()
    return future


def test_a_prepared_model_is_loaded_beside_the_champion_then_chunks_are_held_then_it_is_told() -> None:
    parts = Parts()
    held_when_told: list[bool] = []

    def report(status: object) -> None:
        held_when_told.append(parts.turnstile.reason is not None)

    follower = Follower(
        "here", parts.serving, FollowerPorts(parts.store.load, report, lambda: 9), 0, parts.turnstile
    )
    follower.offer(preparing(1, "2"))
    assert parts.turnstile.reason is None, "the old model serves while the new one is loaded"
    assert follower.bring_about(preparing(1, "2"))
    assert held_when_told == [True]
    assert parts.turnstile.reason == "holding for m/2: waiting for the other workers"
    assert (parts.serving.ref.version, parts.store.loaded) == ("1", ["2"])


@pytest.mark.parametrize(
    ("after", "judges"), [(switched(2, "2", 7), ["1", "2"]), (state(2, "1"), ["1"]), (state(2, "2"), ["1"])]
)
def test_a_newer_state_ends_the_hold_and_what_was_held_is_cut_by_its_list(
    after: ModelState, judges: list[str]
) -> None:
    """After a plain promote the old one judges until the new one is brought about."""
    parts = Parts()
    parts.follower.offer(preparing(1, "2"))
    parts.follower.bring_about(preparing(1, "2"))
    held = waiting(lambda: parts.entry.parts(chunk([5, 6, 7, 8])), parts.turnstile)
    parts.follower.offer(after)
    found = held.result(DEADLINE_S)
    assert isinstance(found, list)
    judged = []
    for part in found:
        assert parts.entry.ready(part)
        judged.append(parts.serving.judge(part).identity.version)
    assert (judged, parts.entry.why_not) == (judges, None)
    assert parts.store.loaded == ["2"], "what was prepared is not loaded again"


def test_a_state_superseded_while_it_was_loaded_holds_nothing_back() -> None:
    parts = Parts()
    parts.follower.offer(preparing(1, "2"))
    parts.follower.offer(state(2, "1"))
    parts.follower.bring_about(preparing(1, "2"))
    assert parts.turnstile.reason is None


def test_what_cannot_be_prepared_is_told_and_nothing_is_held() -> None:
    parts = Parts()
    parts.store.broken = {"2": ModelRejected("cut short")}
    parts.follower.offer(preparing(1, "2"))
    assert not parts.follower.bring_about(preparing(1, "2"))
    assert (parts.told, parts.turnstile.reason) == ([("load_failed", 1, "2")], None)


def test_the_same_failure_is_told_again_for_another_revision() -> None:
    """The agent waits for an answer about that very revision."""
    parts = Parts()
    parts.store.broken = {"2": ModelRejected("cut short")}
    for revision in (1, 3):
        parts.follower.offer(preparing(revision, "2"))
        for _ in range(2):
            assert not parts.follower.bring_about(preparing(revision, "2"))
    assert parts.told == [("load_failed", 1, "2"), ("load_failed", 3, "2")]


@pytest.mark.parametrize("give_up", [Turnstile.leave, Turnstile.stop])
def test_a_held_chunk_is_given_up_when_a_rebalance_or_a_stop_begins(
    give_up: Callable[[Turnstile], None],
) -> None:
    parts = Parts()
    parts.turnstile.hold(ref("2"))
    held = waiting(lambda: parts.entry.parts(chunk([5])), parts.turnstile)
    give_up(parts.turnstile)
    assert held.result(DEADLINE_S) is None
    parts.turnstile.release()
    assert parts.entry.parts(chunk([6])) is None, "those after it, too: else it would be committed over"


def test_after_an_assignment_the_state_is_asked_for_and_its_preparation_holds_at_once() -> None:
    """Before the model is loaded: what this worker told in a former life may be counted on."""
    parts = Parts()
    parts.turnstile.leave()
    parts.newest = [preparing(1, "2")]
    parts.entry.assigned()
    held = waiting(lambda: parts.entry.parts(chunk([5])), parts.turnstile)
    assert (parts.store.loaded, parts.newest) == ([], [])
    parts.follower.offer(switched(2, "2", 5))
    assert held.result(DEADLINE_S) == [chunk([5])]


def test_a_worker_that_joins_after_the_switch_knows_the_list_before_its_first_chunk() -> None:
    parts = Parts()
    parts.newest = [Unavailable("no answer"), switched(2, "2", 7)]
    parts.entry.assigned()
    found = parts.entry.parts(chunk([5, 8]))
    assert found == [chunk([5]), chunk([8])]
    assert parts.entry.ready(found[1])
    assert parts.serving.judge(found[1]).identity.version == "2"


def test_a_model_of_the_list_that_cannot_be_loaded_is_waited_for_and_said() -> None:
    parts = Parts()
    parts.serving.plan(2, switched(2, "2", 7).switches)
    parts.store.broken = {"2": ModelRejected("cut short")}
    held = waiting(lambda: parts.entry.ready(chunk([8])), parts.turnstile)
    assert parts.entry.why_not == "cut short"
    parts.store.broken = {}
    assert held.result(DEADLINE_S) is True
    assert parts.entry.why_not is None
    parts.serving.plan(3, switched(3, "3", 7).switches)
    parts.store.broken = {"3": Unavailable("the store does not answer")}
    held = waiting(lambda: parts.entry.ready(chunk([8])), parts.turnstile)
    parts.turnstile.leave()
    assert held.result(DEADLINE_S) is False


def test_the_holds_of_many_threads_end_together() -> None:
    turnstile = Turnstile()
    turnstile.hold(ref("2"))
    passed = [threading.Thread(target=turnstile.passes) for _ in range(4)]
    for thread in passed:
        thread.start()
    turnstile.release()
    for thread in passed:
        thread.join(DEADLINE_S)
    assert not any(thread.is_alive() for thread in passed)
