"""Schedules of faults: every kind occurs, the same number is the same schedule, and what is drawn can be."""

from __future__ import annotations

from itertools import product

import pytest

from bench.faults.schedules import FLOW_S, Cut, Kind, draw, fits, kinds_named
from bench.faults.setups import KafkaForm, RedisForm, SetUp
from bench.faults.strikes import STRIKES
from streams.errors import SettingsError
from streams.settings import Settings

FIFTY = [draw(1, number) for number in range(1, 51)]


def test_every_kind_and_every_manner_of_a_cut_occur_in_fifty_schedules_and_can_be_struck() -> None:
    faults = [fault for schedule in FIFTY for fault in schedule.faults]
    assert {fault.kind for fault in faults} == set(Kind) == set(STRIKES)
    assert {fault.manner for fault in faults if fault.kind is Kind.KAFKA_CUT} == set(Cut)
    assert {fault.manner for fault in faults if fault.kind is Kind.REDIS_CUT} == set(Cut)
    assert {schedule.setup.nodes for schedule in FIFTY} == {1, 3}
    assert {schedule.setup.kafka for schedule in FIFTY} == set(KafkaForm)
    assert {schedule.setup.redis for schedule in FIFTY} == set(RedisForm)
    assert {schedule.workers for schedule in FIFTY} == {2, 3, 4}


def test_a_number_is_the_same_schedule_whatever_else_is_drawn() -> None:
    assert [draw(1, number) for number in reversed(range(1, 51))] == FIFTY[::-1]
    assert str(draw(1, 17)) == str(FIFTY[16])
    assert draw(2, 17) != FIFTY[16]


def test_faults_overlap_and_fit_what_is_set_up() -> None:
    for schedule in FIFTY:
        kinds = [fault.kind for fault in schedule.faults]
        assert 3 <= len(kinds) <= 5
        assert all(fits(kind, schedule.setup) for kind in kinds)
        assert max(kinds.count(Kind.PARTITIONS), kinds.count(Kind.TOPIC_ANEW)) <= 1
        for fault in schedule.faults:
            assert 0 < fault.at_s < FLOW_S
            assert fault.kind is not Kind.ZOMBIE or fault.for_s > Settings().kafka_session_timeout_s
    overlapping = sum(
        any(a.at_s + a.for_s > b.at_s for a, b in zip(one.faults, one.faults[1:], strict=False))
        for one in FIFTY
    )
    assert overlapping > 30


@pytest.mark.parametrize(
    ("kind", "nodes", "kafka", "redis"),
    [
        (Kind.BROKER, {1}, set(KafkaForm), set(RedisForm)),
        (Kind.ROLLING, {3}, set(KafkaForm), set(RedisForm)),
        (Kind.RIGHTS, {1, 3}, {KafkaForm.LOG_IN, KafkaForm.CERTIFICATES}, set(RedisForm)),
        (Kind.RENEWAL, {1, 3}, {KafkaForm.CERTIFICATES}, set(RedisForm)),
        (Kind.FAILOVER, {1, 3}, set(KafkaForm), {RedisForm.SENTINEL, RedisForm.CLUSTER}),
        (Kind.SLOT_MOVE, {1, 3}, set(KafkaForm), {RedisForm.CLUSTER}),
        (Kind.REDIS_CUT, {1, 3}, set(KafkaForm), {RedisForm.SERVER}),
        (Kind.KILL, {1, 3}, set(KafkaForm), set(RedisForm)),
    ],
)
def test_a_fault_is_struck_in_just_the_forms_that_have_something_to_strike(
    kind: Kind, nodes: set[int], kafka: set[KafkaForm], redis: set[RedisForm]
) -> None:
    every = [SetUp(*form) for form in product((1, 3), KafkaForm, RedisForm)]
    assert [one for one in every if fits(kind, one)] == [
        one for one in every if one.nodes in nodes and one.kafka in kafka and one.redis in redis
    ]


def test_only_the_kinds_asked_for_are_drawn_and_an_unknown_one_is_refused() -> None:
    kinds = kinds_named("kill, redis")
    assert kinds == (Kind.KILL, Kind.REDIS)
    assert {fault.kind for number in range(1, 9) for fault in draw(1, number, kinds).faults} == set(kinds)
    with pytest.raises(SettingsError, match=r"meteor.*redis-loss"):
        kinds_named("kill,meteor")
