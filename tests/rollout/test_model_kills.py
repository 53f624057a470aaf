"""A worker and Kafka killed in the middle of a promote: the bench of kills, a small part of it."""

from __future__ import annotations

import pytest

from bench.kill_schedules import Incident, Kill, Order, Schedule
from bench.kills import run_all
from streams.embedded.kafka import ApacheKafka, Broker

pytestmark = [pytest.mark.kafka, pytest.mark.redis]


def test_one_version_is_agreed_after_the_deciding_worker_and_then_kafka_were_killed(
    kafka: Broker, redis_url: str
) -> None:
    """No event lost, none judged by a stranger, each command decided once, revisions without a gap."""
    if not isinstance(kafka, ApacheKafka):
        pytest.skip("kills a Kafka of its own")
    agent = Incident(Kill.AGENT, (Order("2"),), Order("3"), 0.3, 0.0, (Order(""),))
    broker = Incident(Kill.BROKER, (), Order("1"), 0.3, 0.0, (Order("2"),))
    (outcome,) = run_all([Schedule(1, 2, (agent, broker))], print)
    assert outcome.broken == []
    assert (outcome.lost, outcome.ended_by_themselves) == (0, 0)
    assert outcome.decisions == {"promoted": 4, "rolled_back": 1, "refused": 2}
