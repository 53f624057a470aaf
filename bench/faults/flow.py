"""A paced producer that keeps what it sent and where the broker acknowledged it.

Idempotent, and it never gives up: a broker that is killed and started again gets everything, once and in
order. It reaches Kafka past the proxies, so that a cut hits the workers alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaError, Message, Producer

from bench.faults.feed import Poison, Record, poisoned, records
from streams.adapters.kafka.client import LOG, producer_config
from streams.adapters.kafka.telemetry import PARTITIONER
from streams.client.replaying import Feed, device_name
from streams.core.topics import Topics
from streams.errors import BrokerUnavailable
from streams.settings import Settings

SERIAL: Final = "bench.serial"
"""The header by which a record is known again on the topic."""
_STEP_S: Final = 0.01
_FLUSH_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands. `life` counts the telemetry topic's lives from 0."""

    life: int
    partition: int
    offset: int


class Flow:
    """Sends a feed at a rate in a thread of its own; `pausing` holds it while the topic is changed."""

    def __init__(self, settings: Settings, feed: Feed, events_per_s: float) -> None:
        self.feed = feed
        self.sent: list[Record] = []
        self.acknowledged: dict[Place, int] = {}
        """Place to serial."""
        self.unplaced: dict[int, int] = {}
        """Serial to life, of those acknowledged at a repeat alone, to which the broker tells no offset."""
        self.life = 0
        self.begun_s = 0.0
        self._topic = Topics(settings.topic_prefix).telemetry
        self._settings = settings
        self._rate = events_per_s
        self._next = 0
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._producer = self._connect()

    def run(self) -> None:
        try:
            self._send()
        except BaseException as exc:
            self._error = exc
            raise

    def poison(self, which: Poison) -> None:
        """One bad record among the others."""
        with self._lock:
            place = len(self.sent) % len(self.feed)
            device = device_name(int(self.feed.device[place]))
            self._produce(poisoned(which, len(self.sent), self.feed.rows[place : place + 1], device))

    def unsent(self, count: int) -> list[Record]:
        """Good events of devices that speak as well, for another producer: none of ours."""
        with self._lock:
            first = max(min(self._next, len(self.feed) - count), 0)
            return records(self.feed, range(first, first + count), -1)

    @contextmanager
    def pausing(self) -> Iterator[None]:
        """All that was sent is acknowledged, and nothing more is sent meanwhile.

        Afterwards a new producer goes on: of a topic made again the broker knows none of the old one's
        numbers.
        """
        with self._lock:
            self._flush()
            yield
            self._producer = self._connect()

    def finish(self) -> None:
        """Everything sent is acknowledged. Raises what ended the sending; BrokerUnavailable if late."""
        with self._lock:
            self._flush()
        if self._error is not None:
            raise self._error

    def _send(self) -> None:
        self.begun_s = time.monotonic()
        while self._next < len(self.feed):
            time.sleep(_STEP_S)
            with self._lock:
                due = min(int((time.monotonic() - self.begun_s) * self._rate), len(self.feed))
                for record in records(self.feed, range(self._next, due), len(self.sent)):
                    self._produce(record)
                self._next = due
                self._producer.poll(0)

    def _produce(self, record: Record) -> None:
        life = self.life

        def told(error: KafkaError | None, message: Message) -> None:
            if error is None and message.offset() is None:
                self.unplaced[record.serial] = life
            elif error is None:
                self.acknowledged[Place(life, message.partition(), message.offset())] = record.serial
            elif self._error is None:
                self._error = BrokerUnavailable(f"record {record.serial} was not taken: {error.str()}")

        self.sent.append(record)
        headers = [(SERIAL, str(record.serial).encode())]
        self._producer.produce(self._topic, record.value, record.key, headers=headers, on_delivery=told)

    def _flush(self) -> None:
        left = self._producer.flush(_FLUSH_S)
        if left:
            raise BrokerUnavailable(f"{left} records were not acknowledged within {_FLUSH_S:g} s")

    def _connect(self) -> Producer:
        own = {
            "partitioner": PARTITIONER,
            "message.timeout.ms": 0,  # for ever
            "topic.metadata.refresh.interval.ms": 1000,  # new partitions are used soon
        }
        config = {**producer_config(self._settings), **own}
        del config["delivery.timeout.ms"]
        return Producer(config, logger=LOG)


@contextmanager
def flowing(flow: Flow) -> Iterator[None]:
    """The flow in a thread of its own, from its first event; at the end everything is acknowledged."""
    thread = threading.Thread(target=flow.run, name="flow")
    thread.start()
    try:
        yield
    finally:
        thread.join()
    flow.finish()
