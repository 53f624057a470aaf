"""Events in a transaction of another producer, which never commits."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Final

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import OffsetSpec

from bench.faults.feed import Record
from bench.faults.servers import Servers
from bench.faults.stage import admin_of
from streams.adapters.kafka.client import LOG, producer_config
from streams.adapters.kafka.telemetry import PARTITIONER

_CALL_S: Final = 60.0


class Transaction:
    """Open from the first event on. Kafka ends it by itself after `timeout_s`."""

    def __init__(self, servers: Servers, timeout_s: float) -> None:
        self._servers = servers
        self._reached: dict[int, int] = {}  # partition to its last offset
        timeout_ms = round(timeout_s * 1000)
        self._config = {
            **producer_config(servers.settings),
            "partitioner": PARTITIONER,
            "transactional.id": f"bench-{uuid.uuid4().hex}",
            "transaction.timeout.ms": timeout_ms,
            "delivery.timeout.ms": timeout_ms,  # neither may be longer
            "socket.timeout.ms": timeout_ms,
            "linger.ms": 0,
        }
        self._producer = self._connect()

    def send(self, records: Sequence[Record]) -> bool:
        """Returns once they are on the topic; whether any is.

        None that fails is missed: nobody may read them anyway.
        """
        self._producer.begin_transaction()
        for record in records:
            self._producer.produce(
                self._servers.topics.telemetry, record.value, record.key, on_delivery=self._told
            )
        self._producer.flush(_CALL_S)
        return bool(self._reached)

    def abort(self) -> None:
        """Also where a broker was away meanwhile: whoever takes over the id ends what is open."""
        try:
            self._producer.abort_transaction(_CALL_S)
        except KafkaException:
            self._connect()

    def wait_ended(self) -> None:
        """Until nothing waits behind it any more. Raises TimeoutError."""
        admin, deadline_s = admin_of(self._servers), time.monotonic() + _CALL_S
        topic = self._servers.topics.telemetry
        last = {TopicPartition(topic, number): offset for number, offset in self._reached.items()}
        asked = {place: OffsetSpec.latest() for place in last}
        while last:
            answers = admin.list_offsets(
                asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=_CALL_S
            )
            try:
                if all(answers[place].result().offset > offset for place, offset in last.items()):
                    return
            except KafkaException:  # a broker was away, and the client keeps what it knew of leaders
                admin = admin_of(self._servers)
            if time.monotonic() > deadline_s:
                raise TimeoutError("a transaction is still open after its time")
            time.sleep(0.1)

    def _connect(self) -> Producer:
        producer = Producer(self._config, logger=LOG)
        producer.init_transactions(_CALL_S)
        return producer

    def _told(self, error: KafkaError | None, message: Message) -> None:
        number, offset = message.partition(), message.offset()
        if error is None and number is not None and offset is not None:
            self._reached[number] = max(offset, self._reached.get(number, 0))
