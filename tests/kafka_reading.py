"""Reading a topic from its beginning to its present end, for tests."""

from __future__ import annotations

import time
from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from streams.core.events import Message

_NO_LEADER_YET = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)


def make_topic(servers: str, name: str, partitions: int = 4, config: Mapping[str, str] | None = None) -> str:
    """Make a topic of one copy, and answer its name."""
    admin = AdminClient({"bootstrap.servers": servers})
    topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=dict(config or {}))
    admin.create_topics([topic], operation_timeout=10)[name].result(timeout=20)
    return name


def read_all(servers: str, topic: str, timeout_s: float = 20.0) -> list[Message]:
    """Every record of the topic, by partition and offset."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "unused", "auto.offset.reset": "earliest"})
    try:
        partitions = consumer.list_topics(topic, timeout=timeout_s).topics[topic].partitions
        ends, found = {}, {}
        for number in partitions:
            first, end = watermarks(consumer, TopicPartition(topic, number), timeout_s)
            if first < end:
                ends[number] = end
        consumer.assign([TopicPartition(topic, number, 0) for number in ends])
        while ends:
            record = consumer.poll(timeout_s)
            assert record is not None, f"{topic} gave nothing; still to be read: {ends}"
            assert record.error() is None, record.error()
            place = (record.partition(), record.offset())
            headers = tuple(record.headers() or ())
            found[place] = Message(topic, record.key(), record.value(), headers)
            if record.offset() + 1 >= ends[record.partition()]:
                del ends[record.partition()]
                consumer.incremental_unassign([TopicPartition(topic, record.partition())])
        return [found[place] for place in sorted(found)]
    finally:
        consumer.close()


def watermarks(consumer: Consumer, place: TopicPartition, timeout_s: float) -> tuple[int, int]:
    """First and end offset of a partition; where a topic just made has no leader yet, that is waited for."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            first, end = consumer.get_watermark_offsets(place, timeout=timeout_s)
        except KafkaException as exc:
            if exc.args[0].code() not in _NO_LEADER_YET or time.monotonic() > deadline_s:
                raise
            consumer.list_topics(place.topic, timeout=timeout_s)  # asks anew who leads
        else:
            return first, end


def committed(servers: str, group: str, topic: str) -> dict[int, tuple[int, int]]:
    """Partition to (committed offset, end offset); the former is negative where nothing was committed."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": group})
    try:
        partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
        places = [TopicPartition(topic, number) for number in partitions]
        return {
            place.partition: (place.offset, watermarks(consumer, place, 20)[1])
            for place in consumer.committed(places, timeout=20)
        }
    finally:
        consumer.close()
