"""The compacted topic of devices: read whole by a command, and followed by workers that key flows."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from confluent_kafka import Message as KafkaMessage
from confluent_kafka import TopicPartition

from streams.adapters.kafka.client import Config, where
from streams.adapters.kafka.publisher import KafkaPublisher
from streams.adapters.kafka.reading import Reader
from streams.codec.devices import LeasesUnreadable, decode_leases, encode_leases, key_of
from streams.core.events import Message
from streams.core.leases import Devices, Lease, Naming
from streams.core.topics import Topics
from streams.errors import BrokerUnavailable
from streams.settings import Settings

log: Final = logging.getLogger("autodeep.devices")

_LATEST_S: Final = 20.0
"""How old what a worker knows of leases may be; `leases.SETTLED_US` counts on it."""
_CHECK_S: Final = 5.0
_OWN: Final[Config] = {"auto.offset.reset": "earliest", "queued.max.messages.kbytes": 8_192}
_BLOCK: Final = 1_000


class _Taken:
    """A topic's records put into a table; what cannot be read is said once."""

    def __init__(self, devices: Devices, topic: str) -> None:
        self.devices = devices
        self._topic = topic
        self._was_said = False

    def __call__(self, messages: Sequence[KafkaMessage]) -> None:
        for message in messages:
            try:
                site, address, leases = decode_leases(message.key(), message.value())
            except LeasesUnreadable as exc:
                self._say(f"a record on {self._topic} is passed over, offset {message.offset()}: {exc}")
                continue
            if not self.devices.put(site, address, leases):
                self._say(
                    f"{self._topic} holds more than {self.devices.most:,} leases; those of {address} and "
                    "others are passed over: such devices are called by their MAC or address"
                )

    def _say(self, line: str) -> None:
        if not self._was_said:
            log.warning("%s", line)
        self._was_said = True


def read_devices(settings: Settings) -> Devices:
    """All that the topic holds. Raises BrokerUnavailable, also where it is not there."""
    topic = Topics(settings.topic_prefix).devices
    taken = _Taken(Devices(), topic)
    with Reader(settings, "reading the leases of devices", _OWN) as reader:
        reader.assign(reader.places([topic]))
        for message in reader.to_the_end():
            taken([message])
    return taken.devices


def tell_leases(settings: Settings, changed: Sequence[tuple[str, str, tuple[Lease, ...]]]) -> None:
    """Write the leases of some addresses. Raises BrokerUnavailable."""
    topic = Topics(settings.topic_prefix).devices
    messages = [
        Message(topic, key_of(site, address), encode_leases(site, address, leases))
        for site, address, leases in changed
    ]
    with KafkaPublisher(settings) as publisher:
        for first in range(0, len(messages), _BLOCK):
            publisher.publish(messages[first : first + _BLOCK])


class DeviceFollower:
    """Keeps a table as the topic has it, in a thread of its own: `follow`, until `stop`."""

    def __init__(self, settings: Settings, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.devices = Devices()
        self._settings = settings
        self._topic = Topics(settings.topic_prefix).devices
        self._take = _Taken(self.devices, self._topic)
        self._clock_s = clock_s
        self._whole_s = float("-inf")
        """When it was known last that nothing more is there."""
        self._stopped = threading.Event()
        self._problem = ""

    def check_fresh(self) -> None:
        """Raises BrokerUnavailable where more may have been told than is known here."""
        if self._clock_s() - self._whole_s > _LATEST_S:
            why = f": {self._problem}" if self._problem else ""
            raise BrokerUnavailable(
                f"{self._topic} on Kafka at {where(self._settings)} is not read to its end yet{why}"
            )

    def naming(self, received_us: int) -> Naming | None:
        return self.devices.naming(received_us)

    def follow(self) -> None:
        while not self._stopped.is_set():
            try:
                self._follow()
            except BrokerUnavailable as exc:
                if str(exc) != self._problem:
                    log.warning("%s; trying again", exc)
                self._problem = str(exc)
                self._stopped.wait(_CHECK_S)

    def stop(self) -> None:
        self._stopped.set()

    def _follow(self) -> None:
        """Until the topic has other partitions.

        What was known stays while it is read anew: its records say the same again.
        """
        with Reader(self._settings, "following the leases of devices", _OWN) as reader:
            places = reader.places([self._topic])
            reader.assign(places)
            read_to: dict[int, int] = {}
            while not self._stopped.is_set():
                asked_s = self._clock_s()
                if reader.partitions(self._topic)[self._topic] != [one.partition for one in places]:
                    return
                ends = {one.partition: one.offset for one in reader.at_end(places)}
                if ends != read_to:
                    self._read_on(
                        reader, [one for one in places if read_to.get(one.partition) != ends[one.partition]]
                    )
                    read_to = ends
                self._whole_s, self._problem = asked_s, ""
                self._stopped.wait(_CHECK_S)

    def _read_on(self, reader: Reader, behind: Sequence[TopicPartition]) -> None:
        """To where the partitions end: it is told once nothing more comes."""
        reader.unread = {(one.topic, one.partition) for one in behind}
        deadline_s = time.monotonic() + self._settings.network_timeout_s
        while not self._stopped.is_set():
            found = reader.take()
            self._take(found)
            if found:
                deadline_s = time.monotonic() + self._settings.network_timeout_s
            elif not reader.unread:
                return
            elif time.monotonic() > deadline_s:
                raise reader.trouble(reader.problem.str() if reader.problem is not None else "took too long")
