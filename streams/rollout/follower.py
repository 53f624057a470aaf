"""Follows the agreed state: loads what it names while the old model serves, then swaps.

The newest state of the family counts; a version that cannot be loaded leaves the old model serving and is
tried again. Where the state prepares a switch at exact offsets, the candidate is loaded beside the champion,
chunks are held back, and only then is it told that this worker is prepared.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from streams.codec.models import ModelRef, ModelState, ModelStatus, Outcome
from streams.core.patience import FIRST_PAUSE_S
from streams.errors import ModelRejected, Unavailable
from streams.model.detector import Detector
from streams.rollout.admission import Admission
from streams.rollout.challenge import Challenge

log: Final = logging.getLogger("autodeep.models")

LONGEST_PAUSE_S: Final = 30.0
_LONGEST_DETAIL: Final = 1000


@dataclass(frozen=True, slots=True)
class FollowerPorts:
    """`load` raises ModelRejected or Unavailable; `report` waits for the broker, or raises Unavailable."""

    load: Callable[[ModelRef], Detector]
    report: Callable[[ModelStatus], None]
    clock_us: Callable[[], int]


class Follower:
    """`offer` comes from the event loop; `follow` is the body of a thread of its own."""

    def __init__(
        self,
        worker: str,
        admission: Admission,
        ports: FollowerPorts,
        revision: int = 0,
        challenge: Challenge | None = None,
    ) -> None:
        self._worker = worker
        self._challenge = challenge or Challenge()
        self._admission = admission
        self.family = admission.ref.name
        self._ports = ports
        self._changed = threading.Condition()
        self._newest: ModelState | None = None
        self._stopped = False
        self.revision = revision
        self.problem: str | None = None
        """Why the agreed model does not serve here; None where it does."""
        self._lacks_challenger = False
        self._told = (0, "")  # the revision and the problem told last

    def offer(self, state: ModelState, *, before_a_chunk: bool = False) -> None:
        """A state from the topic; another family's, older ones, and those that are served are passed over.

        Its switches count at once, before any model is loaded. While it prepares one, nothing is held back
        until that is loaded, for the sake of those who wait; except by a worker that reads it
        `before_a_chunk` of a new assignment: nobody waits for what it has promised before.
        """
        if state.family != self.family:
            return
        with self._changed:
            known = self.revision if self._newest is None else self._newest.revision
            if state.revision > known:
                self._newest = state
                if state.switches:
                    self._admission.plan(state.revision, state.switches)
                if state.preparing is None:
                    self._admission.release()
                if self._challenge.ref not in (state.challenger, state.champion):
                    self._challenge.end()  # at once: a canary may do harm while a champion is being loaded
                self._changed.notify_all()
            if before_a_chunk:
                self._hold(state)

    def follow(self) -> None:
        """Until `stop`: bring the newest state about, again with back-off where that fails."""
        self._report("serving", "", self.revision, self._admission.ref)
        pause_s = FIRST_PAUSE_S
        while (state := self._wanted()) is not None:
            served = state.revision <= self.revision or self.apply_state(state)
            if (served and self.apply_challenger(state)) or self._superseded(state, pause_s):
                pause_s = FIRST_PAUSE_S
            else:
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def apply_state(self, state: ModelState) -> bool:
        """Load and swap, in this thread; whether the state's champion serves now."""
        begun_s = time.monotonic()
        ref = state.champion
        try:
            if self._admission.ref != ref:
                self._admission.swap(self._admission.at_hand(ref) or self._ports.load(ref))
            self._admission.plan(state.revision, state.switches)
            if state.preparing is not None:
                ref = state.preparing
                self._admission.keep(self._admission.at_hand(ref) or self._ports.load(ref))
        except (ModelRejected, Unavailable) as exc:
            self._note(state, ref, str(exc), time.monotonic() - begun_s)
            return False
        load_s = time.monotonic() - begun_s
        with self._changed:
            self._hold(state)
        self.revision, self.problem = state.revision, None
        outcome: Outcome = "serving" if state.preparing is None else "prepared"
        log.info(
            "%s %s/%s (%s), revision %d", outcome, ref.name, ref.version, ref.digest[:12], state.revision
        )
        self._report(outcome, state.command_id, state.revision, ref, load_s=load_s)
        return True

    def apply_challenger(self, state: ModelState) -> bool:
        """Load the state's challenger and let it run; whether it does, or there is none.

        Whatever becomes of it, the champion serves on. While a switch is prepared it stays as it is: nobody
        must take its failure for one of the model to be.
        """
        ref = state.challenger
        if state.preparing is not None:
            self._lacks_challenger = False
            return True
        self._lacks_challenger = ref is not None
        if ref is None or ref == self._admission.ref:
            self._challenge.end()
            self._lacks_challenger = False
            return True
        begun_s = time.monotonic()
        try:
            if self._challenge.ref != ref:
                self._challenge.end()
            running = self._challenge.detector
            share = state.canary_share if state.challenger_role == "canary" else 0.0
            self._challenge.begin(running or self._ports.load(ref), share, state.revision)
        except (ModelRejected, Unavailable) as exc:
            self._note(state, ref, f"the challenger: {exc}", time.monotonic() - begun_s)
            return False
        if self._lacks_challenger and running is None:
            log.info("challenger %s/%s (%s) runs beside the champion", ref.name, ref.version, ref.digest[:12])
        self._lacks_challenger, self.problem = False, None
        return True

    def _hold(self, state: ModelState) -> None:
        """Begin no chunk while the newest state prepares a model."""
        newest = self._newest
        if state.preparing is not None and (newest is None or newest.revision == state.revision):
            self._admission.hold(state.preparing)

    @property
    def challenger(self) -> ModelRef | None:
        """What runs beside the champion."""
        return self._challenge.ref

    def figures(self) -> dict[str, object]:
        ref = self._admission.ref
        return {
            "name": ref.name,
            "version": ref.version,
            "digest": ref.digest,
            "revision": self.revision,
            "problem": self.problem,
            "challenger": self._challenge.figures(),
        }

    def _note(self, state: ModelState, ref: ModelRef, problem: str, load_s: float) -> None:
        """The same problem is told once for a revision, however often it is met again."""
        self.problem = problem
        told, self._told = self._told, (state.revision, problem)
        if told == self._told:
            return
        log.warning("keeping the model that serves: revision %d: %s; trying again", state.revision, problem)
        self._report("load_failed", state.command_id, state.revision, ref, load_s=load_s, detail=problem)

    def _report(
        self,
        outcome: Outcome,
        command_id: str,
        revision: int,
        ref: ModelRef,
        *,
        load_s: float = 0.0,
        detail: str = "",
    ) -> None:
        status = ModelStatus(
            kind="worker",
            worker=self._worker,
            command_id=command_id,
            revision=revision,
            name=ref.name,
            version=ref.version,
            digest=ref.digest,
            outcome=outcome,
            detail=detail[:_LONGEST_DETAIL],
            load_s=round(load_s, 6),
            at_us=self._ports.clock_us(),
        )
        try:
            self._ports.report(status)
        except Unavailable as exc:
            log.warning("a status was not told: %s", exc)

    def _wanted(self) -> ModelState | None:
        """The newest state once it is not the one that serves; None when stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._is_behind())
            return None if self._stopped else self._newest

    def _is_behind(self) -> bool:
        newest = self._newest
        return newest is not None and (newest.revision > self.revision or self._lacks_challenger)

    def _superseded(self, state: ModelState, pause_s: float) -> bool:
        """Wait so long, or less where a newer state comes; whether one came."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._newest is not state, pause_s)
            return self._newest is not state
