"""The agent's two phases of a promote at exact offsets, with a fleet whose answers are drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hypothesis import given
from hypothesis import strategies as st

from streams.adapters.kafka.fleet import Statuses
from streams.codec.models import (
    Agreed,
    ModelCommand,
    ModelRef,
    ModelState,
    ModelStatus,
    Switch,
    encode_command,
    encode_status,
)
from streams.core.fleet import Ends, Readiness
from streams.core.patience import BackOff
from streams.errors import BrokerUnavailable
from streams.rollout.agent import ModelAgent
from streams.rollout.switching import ExactSwitch
from tests.rollout.test_model_agent import FIRST, Gate, promote, ref
from tests.rollout.test_model_agent import Log as PlainLog

READY = Readiness({}, ())
ENDS = Ends("the topic", {"0": 7, "10": 1, "2": 3})


def waiting_for(*workers: str) -> Readiness:
    return Readiness({}, workers)


class Log(PlainLog):
    """As the decision log: that a model is being prepared is no answer."""

    def agreed(self) -> Agreed:
        decided = frozenset(status.command_id for status in self.statuses if status.is_final)
        return Agreed(self.states[-1] if self.states else None, decided)


class Fleet:
    """Looks come from a list, the last one again and again; an error in it is raised."""

    def __init__(self, *looks: Readiness | Exception, ends: Ends = ENDS) -> None:
        self.looks = list(looks)
        self._ends = ends
        self.watched: list[tuple[str, int]] = []

    @contextmanager
    def watch(self, family: str, revision: int) -> Iterator[Callable[[], Readiness]]:
        self.watched.append((family, revision))
        yield self._look

    def ends(self) -> Ends:
        assert self.looks in ([], [READY]), "the ends are read once all are prepared"
        return self._ends

    def _look(self) -> Readiness:
        found = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(found, Exception):
            raise found
        return found


class Clock:
    """Each wait takes a second; the command is given up after so many."""

    def __init__(self, until_given_up: int = 10**6) -> None:
        self.now_us = 17
        self._left = until_given_up

    def wait(self, pause_s: float) -> bool:
        self.now_us += 1_000_000
        self._left -= 1
        return self._left < 0

    def us(self) -> int:
        return self.now_us


def agent(log: Log, fleet: Fleet, gate: Gate | None = None, clock: Clock | None = None) -> ModelAgent:
    clock = clock or Clock()
    patience = BackOff(lambda _: False, lambda _: None)
    exactly = ExactSwitch(fleet, clock.wait, 60.0, clock.us)
    return ModelAgent("here", log, gate or Gate(), lambda: FIRST, patience, clock.us, exactly=exactly)


def exact(version: str, command_id: str = "c", **fields: object) -> ModelCommand:
    return promote(version, command_id, at_offsets={}, **fields)


def carry_out(one: ModelAgent, command: ModelCommand) -> bool:
    return one.carry_out(encode_command(command), "topic-0@0")


def test_first_all_are_prepared_then_the_ends_are_where_the_model_changes() -> None:
    log, fleet = Log(), Fleet(waiting_for("a", "b"), waiting_for("b"), READY)
    assert carry_out(agent(log, fleet), exact("2"))
    first, second = log.states
    assert first == ModelState(1, FIRST, 17, command_id="c", preparing=ref("2"))
    assert (second.revision, second.champion, second.previous, second.preparing) == (2, ref("2"), FIRST, None)
    assert second.switches == (Switch(FIRST, {}, ""), Switch(ref("2"), ENDS.offsets, "the topic"))
    told = [(status.outcome, status.revision, status.detail) for status in log.statuses]
    assert told == [("preparing", 1, ""), ("promoted", 2, "from offsets 0:7 2:3 10:1")]
    assert fleet.watched == [("kdd99", 1)]


def test_a_second_switch_is_appended_and_a_plain_promote_or_rollback_begins_anew() -> None:
    log = Log()
    one = agent(log, Fleet(READY))
    assert all(carry_out(one, exact(version, version)) for version in "23")
    assert [switch.model for switch in log.states[-1].switches] == [FIRST, ref("2"), ref("3")]
    assert carry_out(one, ModelCommand("r", "rollback", "", 5))
    assert (log.states[-1].champion, log.states[-1].switches) == (ref("2"), ())


def test_a_worker_that_cannot_load_it_ends_the_preparation_and_the_champion_stays() -> None:
    log = Log()
    fleet = Fleet(waiting_for("a", "b"), Readiness({"b": "cut short"}, ("b",)))
    assert carry_out(agent(log, fleet), exact("2"))
    assert [(s.revision, s.champion, s.preparing) for s in log.states] == [
        (1, FIRST, ref("2")),
        (2, FIRST, None),
    ]
    last = log.statuses[-1]
    assert (last.outcome, last.revision) == ("refused", 2)
    assert last.detail == "worker b could not load it: cut short"


def test_who_is_not_ready_in_time_is_named() -> None:
    log = Log()
    assert carry_out(agent(log, Fleet(waiting_for("b", "c"))), exact("2"))
    assert log.states[-1].preparing is None
    assert log.statuses[-1].detail == "not ready for the switch within 60 s: b, c"


def test_what_one_agent_left_in_the_middle_the_next_one_ends_without_a_new_gate() -> None:
    log, gate = Log(), Gate()
    assert not carry_out(agent(log, Fleet(waiting_for("a")), gate, Clock(3)), exact("2"))
    assert [status.outcome for status in log.statuses] == ["preparing"]
    fleet = Fleet(READY)
    assert carry_out(agent(log, fleet, gate), exact("2"))
    assert [(s.revision, s.preparing) for s in log.states] == [(1, ref("2")), (2, None)]
    assert (fleet.watched, len(gate.asked)) == ([("kdd99", 1)], 1)
    assert carry_out(agent(log, Fleet(READY), gate), exact("2"))
    assert len(log.statuses) == 2, "read once more, it is answered"


def test_agents_that_die_one_after_the_other_do_not_prolong_the_hold() -> None:
    """The time counts from the state's."""
    log, clock = Log(), Clock()
    assert not carry_out(agent(log, Fleet(waiting_for("a")), clock=Clock(1)), exact("2"))
    clock.now_us = log.states[0].decided_at_us + 60_000_001
    assert carry_out(agent(log, Fleet(waiting_for("a")), clock=clock), exact("2"))
    assert log.statuses[-1].outcome == "refused"


def test_a_plain_promote_ends_a_preparation_that_was_left_over() -> None:
    log = Log()
    assert not carry_out(agent(log, Fleet(waiting_for("a")), clock=Clock(0)), exact("2"))
    assert carry_out(agent(log, Fleet(READY)), promote("3", "another"))
    assert (log.states[-1].champion, log.states[-1].preparing) == (ref("3"), None)


def test_a_champion_is_not_prepared_and_what_the_gate_refuses_neither() -> None:
    log, fleet = Log(), Fleet(READY)
    one = agent(log, fleet, Gate({"4": "too slow"}))
    assert carry_out(one, promote("2"))
    assert all(carry_out(one, exact(version, version)) for version in "24")
    assert [status.outcome for status in log.statuses] == ["promoted", "promoted", "refused"]
    assert fleet.watched == []


@given(
    st.lists(st.sampled_from([None, "b", BrokerUnavailable("away")]), max_size=4),
    st.lists(st.booleans(), max_size=4),
    st.integers(0, 4),
)
def test_whatever_fails_a_command_is_answered_once_and_revisions_count_up(
    looks: list[str | Exception | None], failures: list[bool], until_given_up: int
) -> None:
    """Writes whose answer is lost, Kafka away, agents that give up: others try until it is answered."""
    log, gate = Log(), Gate()
    log.failures = failures
    answers = [look if isinstance(look, Exception) else waiting_for(look or "a") for look in looks]
    carry_out(agent(log, Fleet(*answers, READY), gate, Clock(until_given_up)), exact("2"))
    assert carry_out(agent(log, Fleet(READY), gate), exact("2"))
    assert [state.revision for state in log.states] == [1, 2]
    assert [status.is_final for status in log.statuses] == [False, True]
    assert (log.states[1].champion, log.states[1].preparing) == (ref("2"), None)


def test_a_switch_to_another_family_that_was_begun_before_there_were_families_is_called_off() -> None:
    log, fleet = Log(), Fleet(READY)
    log.states = [ModelState(1, FIRST, 17, command_id="c", preparing=ModelRef("other", "1", "ab"))]
    assert carry_out(agent(log, fleet), exact("1", name="other"))
    assert (log.states[-1].revision, log.states[-1].champion, log.states[-1].preparing) == (2, FIRST, None)
    assert log.statuses[-1].detail == "other is another family of models"
    assert fleet.watched == []


def test_of_what_workers_tell_only_that_family_and_revision_count() -> None:
    status = ModelStatus("worker", "a", "c", 3, "m", "2", "", "prepared", "", 0.0, 1)
    told = Statuses("m", 3)
    for one in (
        status,
        dataclasses.replace(status, worker="b", revision=2),
        dataclasses.replace(status, worker="f", name="another family"),
        dataclasses.replace(status, worker="g", name="another family", outcome="load_failed", detail="cut"),
        dataclasses.replace(status, worker="c", kind="decision"),
        dataclasses.replace(status, worker="d", outcome="serving"),
        dataclasses.replace(status, worker="e", outcome="load_failed", detail="cut short"),
    ):
        told.take(encode_status(one))
    told.take(b"noise")
    assert (told.prepared, told.failed) == ({"a"}, {"e": "cut short"})
    told.take(encode_status(dataclasses.replace(status, worker="e")))
    assert (told.prepared, told.failed) == ({"a", "e"}, {})
