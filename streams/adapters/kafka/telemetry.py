"""Sending in bulk, for replay, sensors and the benches: many records under way, every delivery counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

import numpy.typing as npt
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streams.adapters.kafka.client import Config, made, producer_config, where
from streams.adapters.kafka.heard import CHECK_BROKERS, Heard, advice
from streams.codec.ingest.connections import encode_connections
from streams.core.tables import FeatureTable, Rows
from streams.core.topics import Topics
from streams.errors import BrokerUnavailable
from streams.settings import Settings

PARTITIONER: Final = "murmur2_random"
"""As Java producers partition by key: a device stays on the partition that they would give it."""

_LAST_WAIT_S: Final = 60.0


class Sender:
    """To one topic. A context manager; leaving it waits for what is under way. Not for several threads.

    `note` is told partition and offset of each record that was delivered.
    """

    def __init__(
        self,
        settings: Settings,
        topic: str,
        delivery_timeout_s: float | None = None,
        note: Callable[[int, int], None] | None = None,
    ) -> None:
        """`delivery_timeout_s`: how long a record may wait for the brokers; None: as the settings have it."""
        self._settings = settings
        self._note = note
        self._topic = topic
        self._heard = Heard(settings)
        own: Config = {"partitioner": PARTITIONER, "error_cb": self._heard.note}
        if delivery_timeout_s is not None:
            own["delivery.timeout.ms"] = int(delivery_timeout_s * 1000)
        self._producer = made(Producer, {**producer_config(settings), **own}, settings)
        self._error: KafkaError | None = None
        self.delivered = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if exc is None:
            self.finish()

    def queue(
        self,
        keys: Sequence[str | None],
        values: Sequence[bytes],
        timestamps_ms: Sequence[int] | None = None,
    ) -> None:
        """Queue N records. Raises BrokerUnavailable once any record sent before could not be delivered.

        `timestamps_ms`: Kafka's; None: now.
        """
        with self._noting():
            self._queue(keys, values, timestamps_ms or [0] * len(values))
        self._check(0)

    def _queue(
        self, keys: Sequence[str | None], values: Sequence[bytes], timestamps_ms: Sequence[int]
    ) -> None:
        for text, value, time_ms in zip(keys, values, timestamps_ms, strict=True):
            key = None if text is None else text.encode()
            while True:
                try:
                    self._producer.produce(
                        self._topic, value, key, on_delivery=self._delivered, timestamp=time_ms
                    )
                except BufferError:
                    self._producer.poll(0.1)
                else:
                    break
        self._producer.poll(0)

    def finish(self) -> None:
        """Wait until every record is on the broker. Raises BrokerUnavailable where one is not."""
        left = 0
        with self._noting():
            left = self._producer.flush(_LAST_WAIT_S)
        self._check(left)

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """What ends the producer is raised by whichever call comes next."""
        try:
            yield
        except KafkaException as exc:
            self._error = exc.args[0]

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.delivered += 1
            if self._note is not None:
                self._note(message.partition() or 0, message.offset() or 0)
        else:
            self._error = error

    def _check(self, left: int) -> None:
        if self._error is not None or left:
            error = self._error
            problem = f"{left} were not taken in time" if error is None else self._heard.why(error)
            to_do = CHECK_BROKERS if error is None else advice(error, self._settings, self._topic)
            raise BrokerUnavailable(
                f"sending to {self._topic} on {where(self._settings)}: {problem}; {to_do}"
            )


class TelemetrySender(Sender):
    """Connection records to the topic of telemetry, keyed by device."""

    def __init__(
        self, settings: Settings, table: FeatureTable, note: Callable[[int, int], None] | None = None
    ) -> None:
        super().__init__(settings, Topics(settings.topic_prefix).telemetry, note=note)
        self._table = table

    def send(self, devices: Sequence[str], event_times_us: npt.ArrayLike, rows: Rows) -> None:
        """Queue N records. Raises BrokerUnavailable once any record sent before could not be delivered."""
        self.queue(devices, encode_connections(self._table, devices, event_times_us, rows))
