"""A switch at exact offsets: prepare, wait for every worker, read the ends, decide.

The rules are pure; `ExactSwitch` is the shell around them. Why nothing is judged by two models: what the old
one judged was fetched before the worker held back, so it lies below the ends, which are read afterwards; what
is fetched later is judged by the agreed list, which every worker reads before a new assignment's first chunk.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from streams.codec.models import ModelCommand, ModelRef, ModelState, Switch
from streams.core.fleet import Ends, Readiness
from streams.rollout.switches import appended

LOOK_EVERY_S: Final = 0.05
_NAMED: Final = 8


class Fleet(Protocol):
    """`kafka.fleet.KafkaFleet`, or the tests'. All raise Unavailable."""

    def watch(self, family: str, revision: int) -> AbstractContextManager[Callable[[], Readiness]]:
        """A look at the workers that are to prepare the model of a family's revision, to be repeated."""
        ...

    def ends(self) -> Ends: ...


class GivenUp(Exception):
    """A rebalance began or the worker stops; whoever reads the command next goes on with it."""


def preparing(
    before: ModelState | None, champion: ModelRef, candidate: ModelRef, command: ModelCommand, at_us: int
) -> ModelState:
    """The first phase: all as it was, and a model to get ready."""
    state = before or ModelState(0, champion, at_us)
    return replace(
        state,
        revision=state.revision + 1,
        preparing=candidate,
        command_id=command.command_id,
        decided_at_us=at_us,
    )


def challenge_left(state: ModelState | None, champion: ModelRef) -> dict[str, Any]:
    """The challenge goes on beside a new champion, unless that is the challenger itself."""
    if state is None or state.challenger is None or state.challenger == champion:
        return {}
    return {
        "challenger": state.challenger,
        "challenger_role": state.challenger_role,
        "canary_share": state.canary_share,
    }


def called_off(state: ModelState, at_us: int) -> ModelState:
    return replace(state, revision=state.revision + 1, preparing=None, decided_at_us=at_us)


def switched(state: ModelState, ends: Ends, at_us: int) -> ModelState:
    """The second phase: what was prepared is champion from the ends on."""
    if state.preparing is None:
        raise ValueError("a switch to a model that nobody prepared")
    latest = Switch(state.preparing, dict(ends.offsets), ends.topic_id)
    return ModelState(
        revision=state.revision + 1,
        champion=state.preparing,
        decided_at_us=at_us,
        previous=state.champion,
        command_id=state.command_id,
        **challenge_left(state, state.preparing),
        switches=appended(state.switches, state.champion, latest),
    )


def said(ends: Ends) -> str:
    """`from offsets 0:123 1:456`, in the order of the partitions."""
    places = sorted(ends.offsets.items(), key=lambda place: int(place[0]))
    return "from offsets " + " ".join(f"{partition}:{offset}" for partition, offset in places)


@dataclass(frozen=True, slots=True)
class ExactSwitch:
    """`wait` sleeps so many seconds and says whether the command is to be given up."""

    fleet: Fleet
    wait: Callable[[float], bool]
    timeout_s: float
    clock_us: Callable[[], int]

    def outcome(self, state: ModelState) -> tuple[ModelState, str, bool]:
        """The state that follows a prepared one, what to say of it, and whether it is the switch.

        The time counts from the state's, so that it ends even where one agent after the other dies. Raises
        GivenUp, and Unavailable where Kafka does not answer.
        """
        problem = self._problem(state)
        if problem:
            return called_off(state, self.clock_us()), problem, False
        ends = self.fleet.ends()
        return switched(state, ends, self.clock_us()), said(ends), True

    def _problem(self, state: ModelState) -> str:
        """Empty once every owner of telemetry is prepared."""
        if state.preparing is not None and state.preparing.name != state.family:
            return f"{state.preparing.name} is another family of models"  # begun before there were families
        with self.fleet.watch(state.family, state.revision) as look:
            while True:
                found = look()
                if found.failed:
                    worker, detail = next(iter(found.failed.items()))
                    return f"worker {worker} could not load it: {detail}"
                if not found.waiting_for:
                    return ""
                if self.clock_us() - state.decided_at_us > self.timeout_s * 1e6:
                    late = ", ".join(found.waiting_for[:_NAMED])
                    return f"not ready for the switch within {self.timeout_s:g} s: {late}"
                if self.wait(LOOK_EVERY_S):
                    raise GivenUp
