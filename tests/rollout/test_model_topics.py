"""The topics of models on librdkafka's mock cluster: what the demonstration has for a broker."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from streams.adapters.kafka.model_topics import DecisionLog, follow_states
from streams.adapters.kafka.topics import topic_specs, touch_topics
from streams.codec.models import ModelRef, ModelState, ModelStatus
from streams.core.topics import Topics
from streams.embedded.kafka import Broker
from streams.settings import Settings

DEADLINE_S = 30.0


def test_every_decision_is_followed_whatever_ends_its_transaction(mock_kafka: Broker) -> None:
    prefix = f"t{uuid4().hex[:8]}"
    settings = Settings(kafka_servers=mock_kafka.bootstrap_servers, topic_prefix=prefix)
    touch_topics(settings, [spec.name for spec in topic_specs(Topics(prefix))])
    decisions = DecisionLog(settings)
    for revision in (1, 2, 3):
        assert decisions.agreed().state == (state(revision - 1) if revision > 1 else None)
        decisions.write(state(revision), status(revision))
    assert asyncio.run(followed(settings, 3)) == [state(1), state(2), state(3)]


async def followed(settings: Settings, count: int) -> list[ModelState]:
    found: list[ModelState] = []
    enough = asyncio.Event()

    def take(state: ModelState) -> None:
        found.append(state)
        if len(found) == count:
            enough.set()

    following = asyncio.ensure_future(follow_states(settings, take))
    try:
        await asyncio.wait_for(enough.wait(), DEADLINE_S)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    return found


def state(revision: int) -> ModelState:
    return ModelState(revision, ModelRef("toy", str(revision), "ab"), decided_at_us=1)


def status(revision: int) -> ModelStatus:
    return ModelStatus(
        "decision", "w", f"command {revision}", revision, "toy", str(revision), "ab", "promoted", "", 0.0, 1
    )
