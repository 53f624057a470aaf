"""Which chunks may begin, and which model judges each: the one reference to the model that serves.

A swap is one assignment of a model already loaded, verified and warm; a turn reads the reference once, so the
old model is freed when its last turn has ended. Where switches at exact offsets were agreed on, the offsets
say who judges, and a few models beside the champion are kept at hand.

Nothing begins while this worker waits for the others to prepare a switch, nor after an assignment before the
newest state was read. A partition whose model is not at hand waits for it alone, while it is loaded in the
background. Once a rebalance began, nothing begins any more.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from streams.codec.models import ModelRef, Switch
from streams.core.events import Chunk, Partition
from streams.core.patience import FIRST_PAUSE_S, LONGEST_PAUSE_S
from streams.errors import ModelRejected, Unavailable
from streams.model.detector import Detector
from streams.pipeline.turn import Admitted
from streams.rollout import switches
from streams.rollout.loading import ref_of

log: Final = logging.getLogger("autodeep.models")

BESIDE: Final = 2
"""Models kept in memory beside the champion: the one before and the one to be."""

Load = Callable[[ModelRef], Detector]
"""Raises ModelRejected or Unavailable."""


def _nothing(ref: ModelRef) -> Detector:
    raise ModelRejected(f"{ref.name}/{ref.version}: no store is at hand")


class Admission:
    """For all threads. `admit` is the computing thread's, and the only one that may wait for Kafka."""

    def __init__(
        self,
        detector: Detector,
        load: Load = _nothing,
        background: Callable[[Callable[[], None]], object] | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.learn: Callable[[], None] = lambda: None
        """Reads the agreed state anew and brings it about, after an assignment. Raises Unavailable."""
        self._detector = detector
        self.load = load
        self._background = background or ThreadPoolExecutor(1, thread_name_prefix="load").submit
        self._clock_s = clock_s
        self._plan: tuple[int, tuple[Switch, ...]] = (0, ())  # the revision that said so, and its switches
        self._beside: dict[ModelRef, Detector] = {}  # the one kept last at the end
        self._lock = threading.Lock()
        self._changed = threading.Condition()
        self._held_for: ModelRef | None = None
        self._held_since_s = 0.0
        self._leaving = False
        self._stopped = False
        self._is_new = threading.Event()
        self._asking = _Retry()
        self._loading: dict[ModelRef, _Retry] = {}

    # What may begin.

    def admit(self, chunks: Sequence[Chunk]) -> Admitted:
        """Of each chunk the part up to where another model judges, with its model; or why it waits."""
        if self._gives_up():
            return Admitted((), (), {})
        why_not = self._learnt() or self.reason
        if self._gives_up():  # since the state was asked for
            return Admitted((), (), {})
        if why_not is not None:
            return Admitted((), (), {chunk.source.place: why_not for chunk in chunks})
        _, agreed = self._plan
        serving = self._detector
        taken, judges = [], []
        held: dict[Partition, str] = {}
        for chunk in chunks:
            part = switches.leading_part(agreed, chunk)
            ref = switches.model_at(agreed, part.source, part.first_offset)
            judge = serving if ref is None else self.at_hand(ref)
            if judge is None and ref is not None:
                held[chunk.source.place] = self._fetched(ref)
            elif judge is not None:
                taken.append(part)
                judges.append(judge)
        return Admitted(tuple(taken), tuple(judges), held)

    def assigned(self) -> None:
        """What is known of the state is as old as the last news: ask before anything begins."""
        self._is_new.set()
        with self._changed:
            self._leaving = False

    def leave(self) -> None:
        """A rebalance began: nothing begins, and what waits in `pause` is given up, until `assigned`."""
        with self._changed:
            self._leaving = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Begin nothing more, for good."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def hold(self, candidate: ModelRef) -> None:
        """From now on nothing begins, until `release`."""
        with self._changed:
            if self._held_for is None:
                self._held_since_s = self._clock_s()
            self._held_for = candidate

    def release(self) -> None:
        with self._changed:
            if self._held_for is not None:
                log.info("held events back for %.3f s", self._clock_s() - self._held_since_s)
            self._held_for = None

    def pause(self, pause_s: float) -> bool:
        """Sleep so long, or until a rebalance begins or the worker stops; whether it does."""
        with self._changed:
            return self._changed.wait_for(self._gives_up, pause_s)

    @property
    def reason(self) -> str | None:
        """Why nothing begins on any partition; None where something may."""
        if self._asking.problem:
            return self._asking.problem
        held_for = self._held_for
        if held_for is None:
            return None
        return f"holding for {held_for.name}/{held_for.version}: waiting for the other workers"

    # Which model judges.

    @property
    def serving(self) -> Detector:
        return self._detector

    @property
    def ref(self) -> ModelRef:
        return ref_of(self._detector)

    def at_hand(self, ref: ModelRef) -> Detector | None:
        with self._lock:
            return self._detector if ref_of(self._detector) == ref else self._beside.get(ref)

    def swap(self, detector: Detector) -> None:
        with self._lock:
            if self._plan[1]:
                self._put_beside(self._detector)
            self._detector = detector

    def keep(self, detector: Detector) -> None:
        """Have it at hand beside the champion; of such, the oldest beyond two is let go."""
        with self._lock:
            self._put_beside(detector)

    def plan(self, revision: int, agreed: tuple[Switch, ...]) -> None:
        """Judge by these switches, unless a newer revision said otherwise."""
        with self._lock:
            if revision < self._plan[0]:
                return
            self._plan = (revision, agreed)
            if not agreed:
                self._beside = {}

    def _put_beside(self, detector: Detector) -> None:
        others = [(ref, kept) for ref, kept in self._beside.items() if ref != ref_of(detector)]
        self._beside = dict([*others, (ref_of(detector), detector)][-BESIDE:])

    def _gives_up(self) -> bool:
        return self._leaving or self._stopped

    def _learnt(self) -> str | None:
        """None once the state is as new as the assignment; else why nothing may begin yet."""
        if not self._is_new.is_set():
            return None
        if self._asking.is_due(self._clock_s()):
            self._is_new.clear()
            try:
                self.learn()
            except Unavailable as exc:
                self._is_new.set()
                self._asking.failed(str(exc), self._clock_s())
            else:
                self._asking = _Retry()
                return None
        return self._asking.problem

    def _fetched(self, ref: ModelRef) -> str:
        """Why its chunks wait; it is loaded in the background, again with back-off where that fails."""
        name = f"{ref.name}/{ref.version}"
        loading = self._loading.setdefault(ref, _Retry())
        if self.load is _nothing:
            return f"{name} judges these offsets, and no store is at hand"
        if loading.unforeseen is not None:
            raise loading.unforeseen
        if not loading.is_under_way and loading.is_due(self._clock_s()):
            loading.is_under_way = True
            self._background(lambda: self._fetch(ref, loading))
        return loading.problem or f"loading {name}, which judges these offsets"

    def _fetch(self, ref: ModelRef, loading: _Retry) -> None:
        try:
            self.keep(self.load(ref))
            self._loading.pop(ref, None)
        except (ModelRejected, Unavailable) as exc:
            loading.failed(str(exc), self._clock_s())
        except BaseException as exc:
            loading.unforeseen = exc  # raised where turns begin, too: nobody hears of it here
            raise
        finally:
            loading.is_under_way = False


class _Retry:
    """Something that is tried again with back-off; the same problem is logged once."""

    def __init__(self) -> None:
        self.problem: str | None = None
        self.is_under_way = False
        self.unforeseen: BaseException | None = None
        self._pause_s = FIRST_PAUSE_S
        self._due_s = -float("inf")

    def is_due(self, now_s: float) -> bool:
        return now_s >= self._due_s

    def failed(self, problem: str, now_s: float) -> None:
        if problem != self.problem:
            log.warning("events wait: %s; trying again", problem)
        self.problem = problem
        self._due_s = now_s + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
