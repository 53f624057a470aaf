"""How far the group has come, as the fault bench asks Kafka."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from bench.faults.committed import committed, standing
from streams.adapters.kafka.topics import create_topics, topic_id, topic_specs
from streams.core.topics import Topics
from streams.embedded.kafka import Broker
from streams.settings import Settings


@pytest.mark.kafka
def test_what_was_committed_of_a_life_before_does_not_count(kafka: Broker) -> None:
    settings = Settings(
        kafka_servers=kafka.bootstrap_servers, topic_prefix=f"c{uuid.uuid4().hex[:8]}", group="g"
    )
    topics = Topics(settings.topic_prefix)
    create_topics(settings, [spec for spec in topic_specs(topics, 3) if spec.name == topics.telemetry])
    lives = topic_id(settings, topics.telemetry), uuid.uuid4()
    config: Any = {"bootstrap.servers": kafka.bootstrap_servers, "group.id": "g"}
    consumer = Consumer(config)
    consumer.commit(
        offsets=[
            TopicPartition(topics.telemetry, number, 200, metadata=f"{life} 1700000000000")
            for number, life in enumerate(lives)
        ],
        asynchronous=False,
    )
    consumer.close()
    assert committed(settings, topics.telemetry) == {0: 200, 1: 0, 2: 0}
    assert standing(settings, topics.telemetry) == {0: 200}
