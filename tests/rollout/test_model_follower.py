"""The follower: what serves after which states, and what it tells."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from streams.codec.models import ModelRef, ModelState, ModelStatus
from streams.core.kdd99 import KDD99
from streams.errors import ModelRejected, Unavailable
from streams.model.detector import Detector, Identity
from streams.rollout.admission import Admission
from streams.rollout.follower import Follower, FollowerPorts
from streams.rollout.loading import ref_of

BASE = Detector.random(KDD99, seed=1)
DEADLINE_S = 20.0


def detector(version: str) -> Detector:
    return BASE.renamed(Identity("m", version, version.rjust(64, "0")))


def state(revision: int, version: str) -> ModelState:
    return ModelState(revision, ref_of(detector(version)), 3, command_id=f"c{revision}")


class Store:
    """Loads every version but those that are broken; `gate` holds a load back until it is set."""

    def __init__(self) -> None:
        self.broken: dict[str, Exception] = {}
        self.loaded: list[str] = []
        self.gate = threading.Event()
        self.gate.set()

    def load(self, ref: ModelRef) -> Detector:
        self.loaded.append(ref.version)
        assert self.gate.wait(DEADLINE_S)
        if ref.version in self.broken:
            raise self.broken[ref.version]
        return detector(ref.version)


class Parts:
    def __init__(self) -> None:
        self.store = Store()
        self.told: list[ModelStatus] = []
        self.admission = Admission(detector("1"))
        ports = FollowerPorts(self.store.load, self.told.append, lambda: 9)
        self.follower = Follower("here", self.admission, ports)

    def outcomes(self) -> list[tuple[str, int, str]]:
        return [(status.outcome, status.revision, status.version) for status in self.told]


@contextmanager
def following() -> Iterator[Parts]:
    parts = Parts()
    thread = threading.Thread(target=parts.follower.follow)
    thread.start()
    try:
        yield parts
    finally:
        parts.store.gate.set()
        parts.follower.stop()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def eventually(what: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not what():
        assert time.monotonic() < deadline_s, "it did not come about in time"
        time.sleep(0.002)


def test_a_newer_state_is_loaded_served_and_told_with_its_time() -> None:
    with following() as parts:
        parts.follower.offer(state(1, "2"))
        eventually(lambda: len(parts.told) == 2)
    assert parts.outcomes() == [("serving", 0, "1"), ("serving", 1, "2")]
    told = parts.told[1]
    assert (told.worker, told.command_id, told.digest, told.kind) == (
        "here",
        "c1",
        "2".rjust(64, "0"),
        "worker",
    )
    assert told.load_s >= 0
    assert parts.admission.ref.version == "2"


def test_older_and_equal_revisions_are_passed_over() -> None:
    with following() as parts:
        for revision, version in ((4, "2"), (4, "3"), (3, "4"), (5, "5")):
            parts.follower.offer(state(revision, version))
            eventually(lambda revision=revision: parts.follower.revision >= min(revision, 4))  # type: ignore[misc]
        eventually(lambda: parts.follower.revision == 5)
    assert parts.store.loaded == ["2", "5"]


def test_the_old_model_serves_while_the_new_one_is_loaded_and_the_newest_counts() -> None:
    with following() as parts:
        parts.store.gate.clear()
        parts.follower.offer(state(1, "2"))
        eventually(lambda: parts.store.loaded == ["2"])
        assert parts.admission.ref.version == "1"
        parts.follower.offer(state(2, "3"))
        parts.follower.offer(state(3, "4"))
        parts.store.gate.set()
        eventually(lambda: parts.follower.revision == 3)
    assert parts.store.loaded == ["2", "4"]  # what was superseded before its turn is not loaded


def test_what_cannot_be_loaded_leaves_the_old_one_is_told_once_and_tried_again() -> None:
    with following() as parts:
        parts.store.broken = {"2": ModelRejected("cut short")}
        parts.follower.offer(state(1, "2"))
        eventually(lambda: len(parts.store.loaded) >= 3)
        assert parts.admission.ref.version == "1"
        assert parts.follower.problem == "cut short"
        assert parts.follower.figures()["problem"] == "cut short"
        assert parts.outcomes() == [("serving", 0, "1"), ("load_failed", 1, "2")]
        parts.store.broken = {}
        eventually(lambda: parts.follower.revision == 1)
        eventually(lambda: len(parts.told) == 3)
    assert parts.follower.problem is None
    assert parts.outcomes()[-1] == ("serving", 1, "2")


def test_a_newer_state_ends_the_waiting_for_one_that_cannot_be_loaded() -> None:
    with following() as parts:
        parts.store.broken = {"2": Unavailable("the store does not answer")}
        parts.follower.offer(state(1, "2"))
        eventually(lambda: parts.follower.problem is not None)
        parts.follower.offer(state(2, "3"))
        eventually(lambda: parts.follower.revision == 2)
    assert (parts.admission.ref.version, parts.follower.problem) == ("3", None)


def test_a_rollback_to_what_still_serves_loads_nothing() -> None:
    with following() as parts:
        parts.store.broken = {"2": ModelRejected("cut short")}
        parts.follower.offer(state(1, "2"))
        eventually(lambda: parts.follower.problem is not None)
        parts.follower.offer(state(2, "1"))
        eventually(lambda: parts.follower.revision == 2)
    assert set(parts.store.loaded) == {"2"}
    assert parts.follower.problem is None


def test_a_model_that_no_longer_serves_is_freed() -> None:
    """Its tensors too, as soon as the last turn that it judges has ended, without the garbage collector."""

    class Fresh(Store):
        def load(self, ref: ModelRef) -> Detector:
            random = Detector.random(KDD99, seed=int(ref.version))
            return random.renamed(Identity("m", ref.version, ref.digest))

    admission = Admission(Fresh().load(state(1, "1").champion))
    follower = Follower("here", admission, FollowerPorts(Fresh().load, lambda _: None, lambda: 9))
    gone: list[Callable[[], object]] = []
    gc.disable()
    try:
        for revision in range(1, 6):
            judging = admission.serving
            gone += [weakref.ref(judging), weakref.ref(judging.network.classifier.output.weight)]
            assert follower.apply_state(state(revision, str(revision + 1)))
            assert gone[-1]() is not None
            del judging
            assert all(one() is None for one in gone)
    finally:
        gc.enable()


def test_a_status_that_cannot_be_told_stops_nothing() -> None:
    def away(status: ModelStatus) -> None:
        raise Unavailable("Kafka is away")

    admission, store = Admission(detector("1")), Store()
    follower = Follower("here", admission, FollowerPorts(store.load, away, lambda: 9))
    assert follower.apply_state(state(1, "2"))
    assert admission.ref.version == "2"
