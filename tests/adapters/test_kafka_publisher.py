"""Laws of a publisher, run over the fake, librdkafka's mock cluster and Apache Kafka."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Sequence

import pytest

from streams.adapters.kafka.limits import TopicLimits
from streams.adapters.kafka.publisher import KafkaPublisher
from streams.adapters.kafka.topics import touch_topics
from streams.core.events import Message
from streams.embedded.kafka import ApacheKafka, Broker, MockKafka
from streams.errors import BrokerUnavailable, MessageTooLarge, Unavailable
from streams.pipeline.ports import Publisher
from streams.settings import Settings
from tests.fakes_kafka import FakeKafkaPublisher
from tests.kafka_reading import read_all

Read = Callable[[str], list[Message]]
Stage = tuple[Publisher, str, Read]


@pytest.fixture(params=["fake", "mock", pytest.param("kafka", marks=pytest.mark.kafka)])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A publisher, a topic that exists, and how to read it."""
    topic = f"t-{uuid.uuid4().hex[:12]}"
    if request.param == "fake":
        fake = FakeKafkaPublisher([topic])
        yield fake, topic, lambda name: fake.topics[name]
        return
    broker = request.getfixturevalue("mock_kafka" if request.param == "mock" else "kafka")
    settings = Settings(kafka_servers=broker.bootstrap_servers, network_timeout_s=10)
    if request.param == "mock":
        touch_topics(settings, [topic])
    else:
        request.getfixturevalue("new_topic")(name=topic)
    with KafkaPublisher(settings) as publisher:
        yield publisher, topic, lambda name: read_all(broker.bootstrap_servers, name)


def bag(messages: Sequence[Message]) -> list[str]:
    return sorted(repr(message) for message in messages)


def test_what_was_published_is_on_the_broker_byte_for_byte(stage: Stage) -> None:
    publisher, topic, read = stage
    messages = [
        Message(topic, b"key", b"value", (("name", b"\x00\xff"), ("name", b""), ("none", None))),
        Message(topic, None, b""),
        Message(topic, b"", None),
        *(Message(topic, b"%d" % i, bytes([i % 256]) * (i % 700)) for i in range(1000)),
    ]
    publisher.publish(messages)
    assert bag(read(topic)) == bag(messages)


def test_messages_of_one_key_keep_their_order(stage: Stage) -> None:
    publisher, topic, read = stage
    messages = [Message(topic, b"same", b"%d" % i) for i in range(2000)]
    publisher.publish(messages)
    assert read(topic) == messages


def test_nothing_to_publish_is_nothing_to_wait_for(stage: Stage) -> None:
    publisher, topic, read = stage
    publisher.publish([])
    assert read(topic) == []


def test_what_is_too_large_is_named_and_the_list_arrives_once_it_is_shortened(stage: Stage) -> None:
    publisher, topic, read = stage
    small = [Message(topic, b"same", b"%d" % i) for i in range(4)]
    huge = Message(topic, b"same", os.urandom(5_000_000))
    with pytest.raises(MessageTooLarge) as caught:
        publisher.publish([*small[:2], huge, *small[2:], huge])
    assert caught.value.places == (2, 5)
    assert isinstance(caught.value, Unavailable)  # waited for, until somebody raises the limit
    publisher.publish(small)
    assert read(topic) == small


def test_a_publisher_goes_on_after_a_message_too_large(stage: Stage) -> None:
    publisher, topic, read = stage
    with pytest.raises(MessageTooLarge):
        publisher.publish([Message(topic, b"", os.urandom(5_000_000))])
    publisher.publish([Message(topic, b"", b"small")])
    assert bag(read(topic)) == bag([Message(topic, b"", b"small")])


@pytest.mark.kafka
def test_the_brokers_limit_counts_not_ours(kafka: Broker, new_topic: Callable[..., str]) -> None:
    """2 MB pass the client and are refused by the topic; a dead letter of 1 MB with its headers fits."""
    servers = kafka.bootstrap_servers
    narrow, wide = new_topic(), new_topic(config={"max.message.bytes": str(2 * 1024 * 1024)})
    dead_letter = Message(wide, b"k" * 1000, os.urandom(1_048_000), (("autodeep.detail", b"d" * 5000),))
    with KafkaPublisher(Settings(kafka_servers=servers)) as publisher:
        with pytest.raises(MessageTooLarge) as caught:
            publisher.publish([dead_letter, Message(narrow, b"", os.urandom(2_000_000)), dead_letter])
        assert caught.value.places == (1,)
    assert bag(read_all(servers, wide)) == bag([dead_letter, dead_letter])


NARROW = {"max.message.bytes": "2000"}


@pytest.mark.kafka
def test_messages_that_are_small_alone_arrive_where_their_batch_is_too_large(
    kafka: Broker, new_topic: Callable[..., str]
) -> None:
    """A broker holds a topic's limit against whole batches."""
    topic = new_topic(config=NARROW)
    small = [Message(topic, b"%d" % i, os.urandom(300)) for i in range(200)]
    with KafkaPublisher(Settings(kafka_servers=kafka.bootstrap_servers)) as publisher:
        publisher.publish(small)
    assert bag(read_all(kafka.bootstrap_servers, topic)) == bag(small)


@pytest.mark.kafka
@pytest.mark.parametrize("told", [True, False], ids=["the limit is known", "no right to ask for it"])
def test_what_is_too_large_for_its_topic_is_named_with_the_limit_as_far_as_it_is_known(
    kafka: Broker, new_topic: Callable[..., str], monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    if not told:
        monkeypatch.setattr("streams.adapters.kafka.limits.message_limits", lambda *_: {})
    topic = new_topic(config=NARROW)
    small = [Message(topic, b"%d" % i, os.urandom(300)) for i in range(50)]
    settings = Settings(kafka_servers=kafka.bootstrap_servers)
    with KafkaPublisher(settings) as publisher, pytest.raises(MessageTooLarge, match=topic) as caught:
        publisher.publish([*small, Message(topic, b"", os.urandom(2500))])
    assert caught.value.limits == {50: 2000 if told else None}
    assert bag(read_all(kafka.bootstrap_servers, topic)) == bag(small)


@pytest.mark.kafka
def test_nothing_is_sent_of_a_list_of_which_one_is_known_to_be_too_large(
    kafka: Broker, new_topic: Callable[..., str]
) -> None:
    """So that it can be shortened and the whole list published in its order."""
    topic = new_topic(config=NARROW)
    settings = Settings(kafka_servers=kafka.bootstrap_servers)
    limits = TopicLimits(settings)
    limits.ask([topic])
    with KafkaPublisher(settings, limits) as publisher:
        with pytest.raises(MessageTooLarge):
            publisher.publish([Message(topic, b"", b"small"), Message(topic, b"", os.urandom(2500))])
        publisher.publish([Message(topic, b"", b"other")])
    assert read_all(kafka.bootstrap_servers, topic) == [Message(topic, b"", b"other")]


@pytest.mark.kafka
def test_a_topic_that_is_not_there_is_told_with_the_command_that_makes_it(kafka: Broker) -> None:
    servers = kafka.bootstrap_servers
    with KafkaPublisher(Settings(kafka_servers=servers)) as publisher:
        missing = Message(f"t-{uuid.uuid4().hex}", b"", b"")
        with pytest.raises(BrokerUnavailable, match="autodeep topics create"):
            publisher.publish([missing])


def test_a_broker_that_is_not_there_is_named_with_its_setting() -> None:
    with KafkaPublisher(Settings(kafka_servers="127.0.0.1:1", network_timeout_s=0.3)) as publisher:
        message = Message("t", b"", b"")
        with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1 \(AUTODEEP_KAFKA_SERVERS\)"):
            publisher.publish([message])


@pytest.mark.kafka
def test_a_list_that_failed_while_the_broker_was_away_can_be_published_again(
    kafka: Broker, new_topic: Callable[..., str]
) -> None:
    if not isinstance(kafka, ApacheKafka):
        pytest.skip("the broker is not ours to kill")
    topic = new_topic()
    messages = [Message(topic, b"%d" % i, b"%d" % i) for i in range(100)]
    settings = Settings(kafka_servers=kafka.bootstrap_servers, network_timeout_s=1.0)
    with KafkaPublisher(settings) as publisher:
        publish_patiently(publisher, messages)
        kafka.kill()
        try:
            with pytest.raises(BrokerUnavailable):
                publisher.publish(messages)
        finally:
            kafka.restart()
        publish_patiently(publisher, messages)
    assert set(bag(read_all(kafka.bootstrap_servers, topic))) == set(bag(messages))


def publish_patiently(publisher: Publisher, messages: Sequence[Message]) -> None:
    for _ in range(20):
        try:
            return publisher.publish(messages)
        except BrokerUnavailable:
            continue
    raise AssertionError("still away")


def test_the_mock_cluster_ends_with_its_context() -> None:
    with MockKafka() as broker:
        servers = broker.bootstrap_servers
    with KafkaPublisher(Settings(kafka_servers=servers, network_timeout_s=0.3)) as publisher:
        message = Message("t", b"", b"")
        with pytest.raises(BrokerUnavailable):
            publisher.publish([message])
