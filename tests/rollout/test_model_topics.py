"""The topics of models on librdkafka's mock cluster: what the demonstration has for a broker."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from streams.adapters.kafka.model_topics import DecisionLog, follow_states, newest_states
from streams.adapters.kafka.publisher import KafkaPublisher
from streams.adapters.kafka.topics import topic_specs, touch_topics
from streams.codec.models import KEY_BEFORE_FAMILIES, ModelRef, ModelState, ModelStatus, encode_state
from streams.core.events import Message
from streams.core.topics import Topics
from streams.embedded.kafka import Broker
from streams.settings import Settings

DEADLINE_S = 30.0


def test_every_decision_is_followed_whatever_ends_its_transaction(mock_kafka: Broker) -> None:
    settings = with_topics(mock_kafka)
    decisions = DecisionLog(settings, "toy")
    for revision in (1, 2, 3):
        assert decisions.agreed().state == (state(revision - 1) if revision > 1 else None)
        decisions.write(state(revision), status(revision))
    assert asyncio.run(followed(settings, 3)) == [state(1), state(2), state(3)]


def test_what_was_agreed_on_before_there_were_families_goes_on_in_that_of_its_champion(
    mock_kafka: Broker,
) -> None:
    """A state that another family's took the place of then comes to nobody again."""
    settings = with_topics(mock_kafka)
    topic = Topics(settings.topic_prefix).model_active
    old = [state(1), state(2, "mine")]
    with KafkaPublisher(settings) as publisher:
        publisher.publish([Message(topic, KEY_BEFORE_FAMILIES, encode_state(one)) for one in old])
    mine, toy = DecisionLog(settings, "mine"), DecisionLog(settings, "toy")
    assert (mine.agreed().state, toy.agreed().state) == (state(2, "mine"), None)
    mine.write(state(3, "mine"), status(3, "mine"))
    toy.write(state(4), status(4))
    assert newest_states(settings).by_family() == {"mine": state(3, "mine"), "toy": state(4)}
    found = asyncio.run(followed(settings, 3, since=2))
    assert sorted(found, key=lambda one: one.revision) == [state(2, "mine"), state(3, "mine"), state(4)]


def test_states_that_cannot_be_read_are_one_line_however_many_they_are(
    mock_kafka: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    settings = with_topics(mock_kafka)
    topic = Topics(settings.topic_prefix).model_active
    junk = [b"", b"{}", b"\xff" * 20, encode_state(state(2**63 - 1)), encode_state(state(-1))]
    with KafkaPublisher(settings) as publisher:
        publisher.publish([Message(topic, b"toy", value) for value in (encode_state(state(1)), *junk)])
    assert newest_states(settings).by_family() == {"toy": state(1)}
    (line,) = [record.getMessage() for record in caplog.records if "passed over" in record.getMessage()]
    assert line.startswith(f"{len(junk)} states on {topic} ")


async def followed(settings: Settings, count: int, since: int = 0) -> list[ModelState]:
    found: list[ModelState] = []
    enough = asyncio.Event()

    def take(state: ModelState) -> None:
        found.append(state)
        if len(found) == count:
            enough.set()

    following = asyncio.ensure_future(follow_states(settings, take, since))
    try:
        await asyncio.wait_for(enough.wait(), DEADLINE_S)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    return found


def with_topics(broker: Broker) -> Settings:
    prefix = f"t{uuid4().hex[:8]}"
    settings = Settings(kafka_servers=broker.bootstrap_servers, topic_prefix=prefix)
    touch_topics(settings, [spec.name for spec in topic_specs(Topics(prefix))])
    return settings


def state(revision: int, family: str = "toy") -> ModelState:
    return ModelState(revision, ModelRef(family, str(revision), "ab"), decided_at_us=1)


def status(revision: int, family: str = "toy") -> ModelStatus:
    return ModelStatus(
        "decision", "w", f"command {revision}", revision, family, str(revision), "ab", "promoted", "", 0.0, 1
    )
