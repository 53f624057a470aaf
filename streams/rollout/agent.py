"""Carries out commands about models: the shell around the rules of `decisions`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from streams.codec.models import (
    Agreed,
    ModelCommand,
    ModelMessageUnreadable,
    ModelRef,
    ModelState,
    ModelStatus,
    Outcome,
    decode_command,
)
from streams.core.patience import Retry
from streams.rollout.decisions import (
    Examined,
    Moment,
    Standing,
    Wanted,
    decide,
    is_served,
    refused,
    status_of,
    wanted,
)
from streams.rollout.switching import ExactSwitch, GivenUp

log: Final = logging.getLogger("autodeep.models")


class Decisions(Protocol):
    """`kafka.model_topics.DecisionLog`, or the tests' in memory."""

    def agreed(self) -> Agreed: ...

    def write(self, state: ModelState | None, status: ModelStatus) -> None: ...


class ModelAgent:
    """Carries out commands about one family one at a time, in the thread that calls; refuses others.

    `examine` loads and examines a version beside the champion; `serving` is the champion of this worker.
    """

    def __init__(  # noqa: PLR0913  # a shell around ports
        self,
        name: str,
        decisions: Decisions,
        examine: Callable[[Wanted, ModelRef], Examined],
        serving: Callable[[], ModelRef],
        patience: Retry,
        clock_us: Callable[[], int],
        *,
        exactly: ExactSwitch,
    ) -> None:
        self._name = name
        self._decisions = decisions
        self._examine = examine
        self._serving = serving
        self._patience = patience
        self._clock_us = clock_us
        self._exactly = exactly

    def carry_out(self, value: bytes | None, where: str) -> bool:
        """Decide and publish; afterwards the command may be acknowledged. `where` is its topic and offset.

        False where it was given up in the middle, for whoever reads it next: it must not be acknowledged.
        Raises Unavailable where Kafka is away until the worker stops.
        """
        try:
            command = decode_command(value)
        except ModelMessageUnreadable as exc:
            self._refuse_unreadable(f"{where}: {exc}")
            return True
        known: dict[tuple[Wanted, ModelRef], Examined] = {}

        def examine(target: Wanted, champion: ModelRef) -> Examined:
            if (target, champion) not in known:
                known[target, champion] = self._examine(target, champion)
            return known[target, champion]

        try:
            self._patience(lambda: self._attempt(command, examine))
        except GivenUp:
            log.info("command %s is left to whoever reads it next", command.command_id)
            return False
        return True

    def _attempt(self, command: ModelCommand, examine: Callable[[Wanted, ModelRef], Examined]) -> None:
        agreed = self._decisions.agreed()
        if command.command_id and command.command_id in agreed.decided:
            return  # read again after a crash or a rebalance; the answer stands
        standing = Standing(
            agreed.state, agreed.state.champion if agreed.state is not None else self._serving()
        )
        state = standing.state
        if state is None or state.preparing is None or state.command_id != command.command_id:
            target = wanted(standing, command)
            examined = None
            if isinstance(target, Wanted) and not is_served(standing, target):
                examined = examine(target, standing.champion)
            state, status = decide(standing, command, examined, self._moment())
            self._decisions.write(state, status)
            _say(status)
        if state is not None and state.preparing is not None:
            self._switch(command, state, state.preparing)

    def _switch(self, command: ModelCommand, prepared: ModelState, candidate: ModelRef) -> None:
        """The second phase of a promote at exact offsets, by whichever agent comes this far."""
        state, said, is_switch = self._exactly.outcome(prepared)
        outcome: Outcome = "promoted" if is_switch else "refused"
        status = status_of(candidate, state.revision, command, outcome, said, self._moment())
        self._decisions.write(state, status)
        _say(status)

    def _refuse_unreadable(self, problem: str) -> None:
        command = ModelCommand(command_id="", action="", name="", issued_at_us=0)

        def attempt() -> None:
            state = self._decisions.agreed().state
            standing = Standing(state, state.champion if state is not None else self._serving())
            status = refused(standing, command, problem, self._moment())
            self._decisions.write(None, status)
            _say(status)

        self._patience(attempt)

    def _moment(self) -> Moment:
        return Moment(self._name, self._clock_us())


class Agents:
    """One for each family of models; the first gets the commands about others, and refuses them."""

    def __init__(self, by_family: Mapping[str, ModelAgent]) -> None:
        self._by_family = dict(by_family)
        self._first = next(iter(self._by_family.values()))

    def carry_out(self, value: bytes | None, where: str) -> bool:
        """As the agent does whose command it is."""
        try:
            family = decode_command(value).name
        except ModelMessageUnreadable:
            family = ""
        return self._by_family.get(family, self._first).carry_out(value, where)


def _say(status: ModelStatus) -> None:
    level = logging.WARNING if status.outcome == "refused" else logging.INFO
    ref = f"{status.name}/{status.version}" if status.name else "a command"
    log.log(level, "%s %s, revision %d %s", ref, status.outcome, status.revision, status.detail)
