"""The model agent's decisions: pure rules first, then the shell with what is decided kept in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.codec.models import (
    MOST_REVISION,
    Agreed,
    ModelCommand,
    ModelRef,
    ModelState,
    ModelStatus,
    encode_command,
)
from streams.core.fleet import Ends, Readiness
from streams.core.patience import BackOff
from streams.errors import BrokerUnavailable, Unavailable
from streams.rollout.agent import ModelAgent
from streams.rollout.decisions import Examined, Moment, Standing, Wanted, decide, is_served, wanted
from streams.rollout.switching import ExactSwitch

FIRST = ModelRef("kdd99", "1", "a" * 64)
MOMENT = Moment("here", 17)


def ref(version: str) -> ModelRef:
    return ModelRef("kdd99", version, version.rjust(64, "0"))


def promote(version: str, command_id: str = "c", **fields: object) -> ModelCommand:
    command = ModelCommand(command_id, "promote", "kdd99", 5, version=version)
    return dataclasses.replace(command, **fields)  # type: ignore[arg-type]


ROLLBACK = ModelCommand("r", "rollback", "", 5)


class Log:
    """Decisions in memory. The next `failures` writes are lost, or kept with no answer, as `kept` says."""

    def __init__(self) -> None:
        self.states: list[ModelState] = []
        self.statuses: list[ModelStatus] = []
        self.failures: list[bool] = []

    def agreed(self) -> Agreed:
        decided = frozenset(status.command_id for status in self.statuses)
        return Agreed(self.states[-1] if self.states else None, decided)

    def write(self, state: ModelState | None, status: ModelStatus) -> None:
        kept = self.failures.pop(0) if self.failures else None
        if kept is not False:
            self.states += [state] if state is not None else []
            self.statuses.append(status)
        if kept is not None:
            raise BrokerUnavailable("no answer")


class Gate:
    def __init__(self, problems: dict[str, str] | None = None) -> None:
        self.problems = problems or {}
        self.asked: list[tuple[Wanted, ModelRef]] = []

    def __call__(self, target: Wanted, champion: ModelRef) -> Examined:
        self.asked.append((target, champion))
        version = target.ref.version
        found = target.ref if target.ref.digest else ref(version)
        return Examined(found, self.problems.get(version, ""))


def agent(log: Log, gate: Gate) -> ModelAgent:
    patience = BackOff(lambda _: False, lambda _: None)
    return ModelAgent("here", log, gate, lambda: FIRST, patience, lambda: 17, exactly=never_exactly())


def never_exactly() -> ExactSwitch:
    return ExactSwitch(NoFleet(), lambda _: False, 60.0, lambda: 17)


class NoFleet:
    def watch(self, family: str, revision: int) -> AbstractContextManager[Callable[[], Readiness]]:
        raise AssertionError("nobody is to be asked")

    def ends(self) -> Ends:
        raise AssertionError("nobody is to be asked")


def carry_out(log: Log, gate: Gate, *commands: ModelCommand) -> list[ModelStatus]:
    for command in commands:
        agent(log, gate).carry_out(encode_command(command), "topic-0@0")
    return log.statuses


def test_the_first_promote_is_revision_1_and_remembers_the_champion_of_the_settings() -> None:
    log = Log()
    (status,) = carry_out(log, Gate(), promote("2"))
    assert log.states == [ModelState(1, ref("2"), 17, previous=FIRST, command_id="c")]
    assert (status.outcome, status.revision, status.digest) == ("promoted", 1, ref("2").digest)


def test_rollback_goes_back_and_a_second_one_forth_again() -> None:
    log = Log()
    again = dataclasses.replace(ROLLBACK, command_id="r2")
    statuses = carry_out(log, Gate(), promote("2"), ROLLBACK, again)
    assert [status.outcome for status in statuses] == ["promoted", "rolled_back", "rolled_back"]
    assert [state.champion for state in log.states] == [ref("2"), FIRST, ref("2")]
    assert [state.revision for state in log.states] == [1, 2, 3]


def test_a_rollback_is_not_refused_for_narrower_classes() -> None:
    gate = Gate()
    carry_out(Log(), gate, promote("2"), ROLLBACK)
    assert [target.allow_narrower for target, _ in gate.asked] == [False, True]


def test_a_rollback_without_a_former_champion_is_refused() -> None:
    (status,) = carry_out(Log(), Gate(), ROLLBACK)
    assert (status.outcome, status.revision) == ("refused", 0)
    assert "no champion before" in status.detail


def test_a_failed_check_is_told_and_changes_nothing() -> None:
    log = Log()
    said = "latency: measured 3.1 x, allowed 1.2 x"
    statuses = carry_out(log, Gate({"3": said}), promote("2"), promote("3", "d"))
    assert (statuses[1].outcome, statuses[1].detail, statuses[1].revision) == ("refused", said, 1)
    assert [state.champion for state in log.states] == [ref("2")]


def test_what_is_served_is_promoted_without_a_new_revision_and_without_examination() -> None:
    log, gate = Log(), Gate()
    statuses = carry_out(log, gate, promote("2"), promote("2", "d"), promote("2", "e", digest="f" * 64))
    assert [(status.outcome, status.revision) for status in statuses[:2]] == [("promoted", 1)] * 2
    assert len(gate.asked) == 2  # the third names another digest, which the loader refuses


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (promote("2", action="retire"), "'retire'"),
        (promote("2", at_offsets={"0": 4}), "offsets of now"),
        (dataclasses.replace(ROLLBACK, at_offsets={}), "only a promote switches at exact offsets"),
        (promote(""), "names a model and a version"),
        (promote("2", command_id=""), "no id"),
    ],
)
def test_what_this_agent_cannot_do_is_refused_by_name(command: ModelCommand, says: str) -> None:
    gate = Gate()
    (status,) = carry_out(Log(), gate, command)
    assert (status.outcome, says in status.detail) == ("refused", True), status.detail
    assert not gate.asked


@pytest.mark.parametrize("beyond", [0, 1])
def test_where_no_revision_is_left_a_command_is_refused_and_nothing_is_written(beyond: int) -> None:
    log = Log()
    log.states.append(ModelState(MOST_REVISION - beyond, FIRST, 5))
    (answer,) = carry_out(log, Gate(), promote("2"))
    assert (answer.outcome, len(log.states)) == ("refused", 1)
    assert str(MOST_REVISION - beyond) in answer.detail


def test_bytes_that_are_no_command_are_refused_and_the_next_command_is_carried_out() -> None:
    log, gate = Log(), Gate()
    one = agent(log, gate)
    for value in (b"no Avro", None, b"\xc3\x01" + b"\0" * 30):
        one.carry_out(value, "ids.models.commands-0@7")
    one.carry_out(encode_command(promote("2")), "ids.models.commands-0@10")
    assert [status.outcome for status in log.statuses] == ["refused"] * 3 + ["promoted"]
    assert "ids.models.commands-0@7" in log.statuses[0].detail


def test_a_command_read_again_is_not_carried_out_again_even_after_others() -> None:
    log = Log()
    carry_out(log, Gate(), promote("2"), promote("3", "d"), promote("2"), promote("3", "d"))
    assert [state.champion for state in log.states] == [ref("2"), ref("3")]
    assert len(log.statuses) == 2


@pytest.mark.parametrize("kept", [True, False])
def test_a_decision_without_an_answer_is_made_once(kept: bool) -> None:
    """Whether the broker has it is not known; it is asked, and the version is not examined anew."""
    log, gate = Log(), Gate()
    log.failures = [kept]
    carry_out(log, gate, promote("2"))
    assert [state.revision for state in log.states] == [1]
    assert len(log.statuses) == len(gate.asked) == 1


def test_kafka_away_until_the_worker_stops_is_no_decision() -> None:
    log = Log()
    log.failures = [False]
    patience = BackOff(lambda _: True, lambda _: None)
    one = ModelAgent("here", log, Gate(), lambda: FIRST, patience, lambda: 17, exactly=never_exactly())
    with pytest.raises(Unavailable):
        one.carry_out(encode_command(promote("2")), "topic-0@0")
    assert not log.states


COMMANDS = st.lists(
    st.tuples(
        st.sampled_from(["promote", "rollback", "canary"]),
        st.sampled_from("1234"),
        st.integers(0, 5).map(str),
    ),
    max_size=12,
)


@given(COMMANDS, st.sets(st.sampled_from("1234")), st.lists(st.booleans(), max_size=4))
def test_revisions_count_up_by_one_and_every_command_is_answered_once(
    orders: list[tuple[str, str, str]], unfit: set[str], failures: list[bool]
) -> None:
    log = Log()
    log.failures = failures
    gate = Gate(dict.fromkeys(unfit, "unfit"))
    commands = [
        ModelCommand(command_id, action, "kdd99", 5, version=version)
        for action, version, command_id in orders
    ]
    carry_out(log, gate, *commands)
    assert [state.revision for state in log.states] == list(range(1, len(log.states) + 1))
    answered = [status.command_id for status in log.statuses]
    assert sorted(answered) == sorted({command.command_id for command in commands})
    champions = [FIRST, *(state.champion for state in log.states)]
    for state, before in zip(log.states, champions, strict=False):
        assert state.previous == (before if before != state.champion else None)
    assert not {state.champion.version for state in log.states} & unfit


@given(st.sampled_from("1234"), st.integers(1, 9), st.booleans())
def test_a_refusal_leaves_the_state_as_it_is(version: str, revision: int, unfit: bool) -> None:
    state = ModelState(revision, ref("1"), 3, previous=FIRST, command_id="before")
    standing = Standing(state, state.champion)
    command = promote(version)
    target = wanted(standing, command)
    assert isinstance(target, Wanted)
    examined = None if is_served(standing, target) else Examined(ref(version), "unfit" if unfit else "")
    after, status = decide(standing, command, examined, MOMENT)
    assert (after is None) == (status.outcome == "refused" or version == "1")
    assert status.revision == revision + (after is not None)
