"""Reading without a group: to the end, from where one says, and which errors are endured."""

from __future__ import annotations

import uuid

import pytest
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Producer, TopicPartition

from streams.adapters.kafka.reading import Reader
from streams.adapters.kafka.topics import touch_topics
from streams.embedded.kafka import Broker
from streams.errors import BrokerUnavailable
from streams.settings import Settings


@pytest.fixture
def settings(mock_kafka: Broker) -> Settings:
    return Settings(kafka_servers=mock_kafka.bootstrap_servers, network_timeout_s=10)


@pytest.fixture
def topic(settings: Settings) -> str:
    """Ten records on partition 0, three on 2, none on 1 and 3."""
    name = f"t{uuid.uuid4().hex[:10]}"
    touch_topics(settings, [name])
    producer = Producer({"bootstrap.servers": settings.kafka_servers})
    for i, partition in enumerate([0] * 10 + [2] * 3):
        producer.produce(name, b"%d" % i, partition=partition)
    assert producer.flush(10) == 0
    return name


def test_everything_comes_up_to_the_ends_and_reading_ends_there(settings: Settings, topic: str) -> None:
    with Reader(settings, "testing") as reader:
        reader.assign(reader.places([topic]))
        assert len(reader.unread) == 4
        found = [(record.partition(), record.offset()) for record in reader.to_the_end()]
        assert not reader.unread
    assert sorted(found) == [*((0, i) for i in range(10)), *((2, i) for i in range(3))]


def test_reading_begins_where_it_is_told_and_takes_no_more_than_asked(settings: Settings, topic: str) -> None:
    with Reader(settings, "testing") as reader:
        places = reader.at_end(reader.places([topic]))
        assert [one.offset for one in places] == [10, 0, 3, 0]
        assert reader.bounds(places[0]) == (0, 10)
        reader.assign([TopicPartition(topic, 0, 4)])
        found: list[int] = []
        while reader.unread:
            some = reader.take(2)
            assert len(some) <= 2
            found += [record.offset() for record in some]
    assert found == list(range(4, 10))


def test_a_topic_that_is_not_there_is_named_with_what_makes_it(settings: Settings, topic: str) -> None:
    with (
        Reader(settings, "testing") as reader,
        pytest.raises(BrokerUnavailable, match=r"testing.*no topic never, gone;.*topics create"),
    ):
        reader.places([topic, "never", "gone"])


def test_a_kafka_that_is_not_there_is_named_within_the_time_out() -> None:
    settings = Settings(kafka_servers="127.0.0.1:1", network_timeout_s=0.3)
    for ask in (
        lambda reader: reader.places(["t"]),
        lambda reader: reader.bounds(TopicPartition("t", 0)),
        lambda reader: reader.at_times([TopicPartition("t", 0, 1)]),
        lambda reader: reader.committed([TopicPartition("t", 0)]),
    ):
        with (
            Reader(settings, "testing") as reader,
            pytest.raises(BrokerUnavailable, match=r"testing.*127\.0\.0\.1:1"),
        ):
            ask(reader)


def test_ends_that_do_not_come_are_not_waited_for_for_ever() -> None:
    settings = Settings(kafka_servers="127.0.0.1:1", network_timeout_s=0.3)
    with Reader(settings, "testing") as reader:
        reader.assign([TopicPartition("t", 0, OFFSET_BEGINNING)])
        with pytest.raises(BrokerUnavailable, match="testing"):
            list(reader.to_the_end())


@pytest.mark.parametrize("of", ["leader", "coordinator"])
def test_what_has_just_gone_to_another_broker_is_asked_for_again(of: str) -> None:
    answers = {
        "leader": [KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE],
        "coordinator": [
            KafkaError.NOT_COORDINATOR,
            KafkaError.COORDINATOR_NOT_AVAILABLE,
            KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        ],
    }[of]

    def ask(limit_s: float) -> int:
        if answers:
            raise KafkaException(KafkaError(answers.pop()))
        return 7

    with Reader(Settings(network_timeout_s=5), "testing") as reader:
        assert reader._asked(ask) == 7
        answers.append(KafkaError.TOPIC_AUTHORIZATION_FAILED)
        with pytest.raises(BrokerUnavailable):
            reader._asked(ask)


class Record:
    def __init__(self, code: int | None, partition: int = 0) -> None:
        self._error = None if code is None else KafkaError(code)
        self._partition = partition

    def error(self) -> KafkaError | None:
        return self._error

    def topic(self) -> str:
        return "t"

    def partition(self) -> int:
        return self._partition


class Answers:
    """A consumer that has these records at once."""

    def __init__(self, *records: Record) -> None:
        self._left = list(records)

    def poll(self, wait_s: float) -> Record | None:
        return self._left.pop(0) if self._left else None

    def consume(self, most: int, wait_s: float) -> list[Record]:
        taken, self._left = self._left[:most], self._left[most:]
        return taken

    def close(self) -> None: ...


def test_what_passes_is_endured_and_known_until_a_record_comes_and_the_rest_raises() -> None:
    with Reader(Settings(), "testing") as reader:
        reader.consumer.close()
        reader.unread = {("t", 0), ("t", 1)}
        reader.consumer = Answers(Record(KafkaError._TRANSPORT), Record(KafkaError._PARTITION_EOF, 1))
        assert reader.take() == []
        assert reader.problem is not None
        assert reader.unread == {("t", 0)}
        good = Record(None)
        reader.consumer = Answers(Record(KafkaError._ALL_BROKERS_DOWN), good)
        assert reader.take() == [good]
        assert reader.problem is None
        reader.consumer = Answers(good, Record(KafkaError.TOPIC_AUTHORIZATION_FAILED))
        with pytest.raises(BrokerUnavailable, match="testing"):
            reader.take()


@pytest.mark.parametrize("joins", [False, True])
def test_the_right_to_a_group_is_asked_of_who_joins_it_alone(joins: bool) -> None:
    """librdkafka asks for the coordinator of any group that is named."""
    with Reader(Settings(), "testing", joins=joins) as reader:
        reader.consumer.close()
        good = Record(None)
        reader.consumer = Answers(Record(KafkaError.GROUP_AUTHORIZATION_FAILED), good)
        if joins:
            with pytest.raises(BrokerUnavailable):
                reader.take()
        else:
            assert reader.take() == [good]
