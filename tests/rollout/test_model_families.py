"""Families of models on the same topics: what is decided about one moves nothing of another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.adapters.kafka.model_topics import States
from streams.codec.models import (
    KEY_BEFORE_FAMILIES,
    Agreed,
    ModelCommand,
    ModelRef,
    ModelState,
    ModelStatus,
    Switch,
    encode_command,
    encode_state,
)
from streams.core.patience import BackOff
from streams.errors import BrokerUnavailable, SettingsError
from streams.rollout.agent import ModelAgent
from streams.rollout.decisions import Examined, Standing, Wanted, wanted
from streams.settings import Settings
from streams.worker.models import _nothing_left_behind
from tests.rollout.test_model_agent import never_exactly, promote
from tests.rollout.test_model_hold import Parts
from tests.rollout.test_model_switches import TOPICS, chunk

FAMILIES = ("kdd99", "flows")
OTHER = {"kdd99": "flows", "flows": "kdd99"}
Record = tuple[bytes, ModelState]


def ref(family: str, version: str) -> ModelRef:
    return ModelRef(family, version, version.rjust(64, "0"))


def read(records: Sequence[Record]) -> States:
    states = States()
    for key, state in records:
        states.take(key, encode_state(state))
    return states


# Who decides


class Topic:
    """What was written in order. The next writes are lost, or kept with no answer, as `failures` say."""

    def __init__(self, failures: list[bool | None]) -> None:
        self.records: list[Record] = []
        self.statuses: list[ModelStatus] = []
        self.epochs = Counter[str]()
        self._failures = failures

    def write(self, state: ModelState | None, status: ModelStatus) -> None:
        kept = self._failures.pop(0) if self._failures else None
        if kept is not False:
            self.records += [] if state is None else [(state.family.encode(), state)]
            self.statuses.append(status)
        if kept is not None:
            raise BrokerUnavailable("no answer")


class FencedLog:
    """As the decision log: one agent a family at a time, whoever asked last."""

    def __init__(self, topic: Topic, family: str) -> None:
        self._topic = topic
        self._family = family
        self._epoch: int | None = None
        self._agreed = Agreed()

    def agreed(self) -> Agreed:
        if self._epoch is None:
            self._topic.epochs[self._family] += 1
            self._epoch = self._topic.epochs[self._family]
            decided = frozenset(status.command_id for status in self._topic.statuses)
            self._agreed = Agreed(read(self._topic.records).by_family().get(self._family), decided)
        return self._agreed

    def write(self, state: ModelState | None, status: ModelStatus) -> None:
        epoch, self._epoch = self._epoch, None
        if epoch != self._topic.epochs[self._family]:
            raise BrokerUnavailable("another agent took over")
        self._topic.write(state, status)
        self._epoch = epoch
        self._agreed = Agreed(state or self._agreed.state, self._agreed.decided | {status.command_id})


def agent(topic: Topic, family: str) -> ModelAgent:
    patience = BackOff(lambda _: False, lambda _: None)
    log = FencedLog(topic, family)
    return ModelAgent(
        "here", log, sound, lambda: ref(family, "1"), patience, lambda: 17, exactly=never_exactly()
    )


def sound(target: Wanted, champion: ModelRef) -> Examined:
    return Examined(ref(target.ref.name, target.ref.version), "")


STEPS = st.lists(
    st.tuples(
        st.sampled_from(FAMILIES),  # of the agent that reads the command
        st.sampled_from((0, 1)),  # which of two of them
        st.booleans(),  # whether the command is about its family
        st.sampled_from(("promote", "rollback", "shadow", "canary", "dismiss")),
        st.sampled_from("123"),
    ),
    max_size=20,
)


@given(STEPS, st.lists(st.sampled_from((None, True, False)), max_size=6))
def test_whoever_takes_over_and_whatever_fails_each_familys_revisions_count_up_and_no_other_moves(
    steps: list[tuple[str, int, bool, str, str]], failures: list[bool | None]
) -> None:
    """Two agents a family take turns; each is cut off by the other, and by lost writes and answers."""
    topic = Topic(failures)
    agents = {(family, which): agent(topic, family) for family in FAMILIES for which in (0, 1)}
    for number, (family, which, own, action, version) in enumerate(steps):
        before = read(topic.records).by_family()
        command = ModelCommand(
            str(number), action, family if own else OTHER[family], 5, version=version, canary_share=0.5
        )
        assert agents[family, which].carry_out(encode_command(command), "topic-0@0")
        after = read(topic.records).by_family()
        assert after.get(OTHER[family]) == before.get(OTHER[family])
        if not own:
            assert after == before
            assert topic.statuses[-1].outcome == "refused"
            assert f"family {OTHER[family]} is not served here" in topic.statuses[-1].detail
    assert [status.command_id for status in topic.statuses] == [str(number) for number in range(len(steps))]
    for family in FAMILIES:
        mine = [state for key, state in topic.records if key == family.encode()]
        assert [state.revision for state in mine] == list(range(1, len(mine) + 1))
        named = [one for state in mine for one in (state.champion, state.challenger, state.previous) if one]
        assert {one.name for one in named} <= {family}


def test_a_rollback_without_a_name_is_about_the_family_that_is_served() -> None:
    topic = Topic([])
    back, again = ModelCommand("r", "rollback", "", 5), ModelCommand("s", "rollback", "flows", 5)
    for command in (promote("2", name="flows"), back, again):
        agent(topic, "flows").carry_out(encode_command(command), "topic-0@0")
    assert [status.outcome for status in topic.statuses] == ["promoted", "rolled_back", "rolled_back"]


def test_a_champion_of_another_family_is_not_gone_back_to() -> None:
    """Before there were families, one could be promoted."""
    state = ModelState(2, ref("mine", "1"), 5, previous=ref("kdd99", "8"))
    said = wanted(Standing(state, state.champion), ModelCommand("r", "rollback", "", 5))
    assert said == "the champion before, kdd99/8, is of another family of models"


# What the topic says


@given(
    st.lists(st.sampled_from(FAMILIES), max_size=5),
    st.lists(st.sampled_from(FAMILIES), max_size=8),
    st.sets(st.integers(0, 12)),
)
def test_of_each_family_the_newest_state_is_found_however_far_the_topic_is_compacted(
    before: list[str], since: list[str], compacted: set[int]
) -> None:
    """Before families: one key, whose newest state alone counts. Since then: a key a family."""
    records: list[Record] = []
    newest: dict[str, ModelState] = {}
    for revision, family in enumerate(before, 1):
        state = ModelState(revision, ref(family, "1"), 5)
        records.append((KEY_BEFORE_FAMILIES, state))
        newest = {family: state}
    old = next(iter(newest.values()), None)
    for family in since:
        known = newest.get(family)
        newest[family] = ModelState((known.revision if known else 0) + 1, ref(family, "2"), 5)
        records.append((family.encode(), newest[family]))
    last = {key: number for number, (key, _) in enumerate(records)}
    left = [one for number, one in enumerate(records) if number not in compacted or last[one[0]] == number]
    found = read(left)
    assert found.by_family() == newest
    assert found.before_families == old


def test_a_worker_of_another_family_than_what_served_before_there_were_families_does_not_start() -> None:
    """It would let the model of its settings judge in the place of the one that was agreed on."""
    old = (KEY_BEFORE_FAMILIES, ModelState(3, ref("mine", "1"), 5))
    with pytest.raises(SettingsError, match=r"mine/1 was agreed on.*AUTODEEP_MODEL=mine@champion"):
        _nothing_left_behind(Settings(), read([old]))
    _nothing_left_behind(Settings(), read([]))
    _nothing_left_behind(Settings(), read([old, (b"mine", ModelState(4, ref("mine", "2"), 5))]))


# Who follows


def states(name: str) -> st.SearchStrategy[ModelState]:
    models = st.sampled_from("123").map(lambda version: ref(name, version))
    return st.builds(
        ModelState,
        st.integers(1, 9),
        models,
        st.just(3),
        preparing=st.none() | models,
        switches=st.just(())
        | st.builds(Switch, models, st.just({"0": 5}), st.just(str(TOPICS[0]))).map(lambda one: (one,)),
    )


@settings(deadline=None)
@given(st.lists(st.tuples(states("m") | states("flows"), st.booleans()), max_size=8))
def test_a_worker_among_two_families_does_what_it_does_with_its_own_alone(
    offered: list[tuple[ModelState, bool]],
) -> None:
    """What it holds back, and which models judge."""
    alone, among = Parts(), Parts()
    for state, before_a_chunk in offered:
        among.follower.offer(state, before_a_chunk=before_a_chunk)
        if state.family == "m":
            alone.follower.offer(state, before_a_chunk=before_a_chunk)
        assert among.admission.reason == alone.admission.reason
        found, expected = (parts.admission.admit([chunk([3, 7])]) for parts in (among, alone))
        assert [judge.identity for judge in found.judges] == [judge.identity for judge in expected.judges]
        assert found.held == expected.held
    assert among.follower.figures() == alone.follower.figures()
