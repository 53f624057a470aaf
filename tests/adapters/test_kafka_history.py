"""A partition read back on Kafka itself: what is asked for, in order, gaps and lost beginnings and all."""

from __future__ import annotations

import sys
import time
import uuid

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from streams.adapters.kafka.history import KafkaHistory
from streams.adapters.kafka.topics import topic_id
from streams.core.events import Source
from streams.embedded.kafka import Broker
from streams.errors import BrokerUnavailable
from streams.settings import Settings
from tests.conftest import MakeTopic

pytestmark = pytest.mark.kafka


def read(history: KafkaHistory, source: Source, first: int, end: int) -> list[int]:
    return [record.offset for some in history.read(source, first, end) for record in some]


def wait_for_end(kafka: Broker, place: TopicPartition, end: int) -> None:
    """The mark of a transaction is written a moment after the transaction ended."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": uuid.uuid4().hex})
    deadline_s = time.monotonic() + 30
    while consumer.get_watermark_offsets(place, timeout=10)[1] < end:
        assert time.monotonic() < deadline_s
    consumer.close()


def test_what_is_asked_for_comes_in_order_and_aborted_records_do_not(
    kafka: Broker, new_topic: MakeTopic
) -> None:
    """Offsets 0 to 199; then 200 to 202 aborted, 203 the mark of that; then 204."""
    topic = new_topic(partitions=2)
    servers = {"bootstrap.servers": kafka.bootstrap_servers}
    plain = Producer(servers)
    for i in range(200):
        plain.produce(topic, b"%d" % i, b"key", partition=1, headers=[("trace", b"\x00\xff")])
    assert plain.flush(30) == 0
    transactional = Producer({**servers, "transactional.id": uuid.uuid4().hex})
    transactional.init_transactions(30)
    transactional.begin_transaction()
    for _ in range(3):
        transactional.produce(topic, b"x", partition=1)
    assert transactional.flush(30) == 0
    transactional.abort_transaction(30)
    wait_for_end(kafka, TopicPartition(topic, 1), 204)
    plain.produce(topic, b"last", partition=1)
    assert plain.flush(30) == 0

    settings = Settings(kafka_servers=kafka.bootstrap_servers, chunk_max_records=64)
    history, source = KafkaHistory(settings), Source(topic, topic_id(settings, topic), 1)
    pieces = list(history.read(source, 10, 150))
    assert [record.offset for some in pieces for record in some] == list(range(10, 150))
    assert max(map(len, pieces)) <= 64
    record = pieces[0][0]
    assert (record.key, record.value, record.headers) == (b"key", b"10", [("trace", b"\x00\xff")])
    assert record.timestamp > 1_600_000_000_000
    assert read(history, source, 198, 204) == [198, 199], "the gap at the end is no wait"
    assert read(history, source, 203, 205) == [204]
    assert read(history, source, 204, 300) == [204], "the topic ends before that"
    assert history.first_offset(source) == 0
    admin = AdminClient(servers)  # kept: its answers end with it
    (deleted,) = admin.delete_records([TopicPartition(topic, 1, 50)]).values()
    deleted.result(30)
    assert history.first_offset(source) == 50
    with pytest.raises(BrokerUnavailable):
        read(history, source, 10, 150)
    assert history.first_offset(Source(topic, uuid.uuid4(), 1)) == sys.maxsize


def test_a_kafka_that_is_not_there_is_named() -> None:
    settings = Settings(kafka_servers="127.0.0.1:1", network_timeout_s=0.3)
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1"):
        KafkaHistory(settings).first_offset(Source("t", uuid.UUID(int=0), 0))
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1"):
        read(KafkaHistory(settings), Source("t", uuid.UUID(int=0), 0), 0, 5)
