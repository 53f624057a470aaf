"""Whether a deployment judges: events of a test device are sent, and what becomes of each is awaited.

An event is done when its verdict or dead letter has come, or when the workers' group has committed an offset
behind it and nothing was published: what is published stands on the broker before that, so that such an event
was judged normal.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from confluent_kafka import Message as Record
from confluent_kafka import TopicPartition

from streams.adapters.kafka.reading import Reader
from streams.adapters.kafka.telemetry import TelemetrySender
from streams.codec.output.alerts import AlertUnreadable, decode_alert
from streams.codec.output.dead_letters import PREFIX
from streams.core.kdd99 import KDD99
from streams.core.tables import Rows
from streams.core.topics import NORMAL, Topics
from streams.errors import Unavailable
from streams.settings import Settings

Place = tuple[int, int]
"""Partition and offset of an event."""

DEVICE: Final = "autodeep-check"
_STEP_US: Final = 1000
_LOOK_S: Final = 0.5
"""Between two questions about what the group has committed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the events, by verdict and by the reason of a dead letter."""

    events: int
    device_id: str
    partition: int
    verdicts: Mapping[str, int]
    dead_letters: Mapping[str, int]
    seconds: float


def flood(count: int) -> Rows:
    """(N,) half-open connections in quick succession to one port, as a SYN flood shows them."""
    values = {
        **dict.fromkeys(("count", "dst_host_count"), 255),
        **dict.fromkeys(("srv_count", "dst_host_srv_count"), 12),
        **{name: 1.0 for name in KDD99.numeric_names if name.endswith("serror_rate")},
        **dict.fromkeys(("same_srv_rate", "dst_host_same_srv_rate"), 0.05),
        **dict.fromkeys(("diff_srv_rate", "dst_host_diff_srv_rate"), 0.07),
    }
    numbers = np.array([[values.get(name, 0.0) for name in KDD99.numeric_names]], np.float32)
    codes = [
        column.code(symbol) for column, symbol in zip(KDD99.symbolic, ("tcp", "private", "S0"), strict=True)
    ]
    return KDD99.pack(np.repeat(numbers, count, 0), np.repeat([codes], count, 0).astype(np.uint8))


def check(settings: Settings, rows: Rows, timeout_s: float, device_id: str = DEVICE) -> Outcome:
    """Send the rows as events of this moment, and wait until all are done.

    Raises BrokerUnavailable, and Unavailable where some are not done within `timeout_s`.
    """
    with Reader(settings, "checking", {"group.id": settings.group}) as reader:
        waiting = _Waiting(settings, reader, device_id)
        began_s = time.monotonic()
        waiting.send(rows)
        while not waiting.done():
            if time.monotonic() - began_s > timeout_s:
                raise Unavailable(waiting.late(timeout_s))
        return waiting.outcome(time.monotonic() - began_s)


class _Waiting:
    """Reads what workers write, from where it ended before the events were sent."""

    def __init__(self, settings: Settings, reader: Reader, device_id: str) -> None:
        self._settings, self._reader, self._device_id = settings, reader, device_id
        self._topics = Topics(settings.topic_prefix)
        classified = (self._topics.classified,) if settings.publish_classified else ()
        starts = reader.at_end(
            reader.places((*self._topics.all_alerts(), self._topics.dead_letters, *classified))
        )
        self._next = {(one.topic, one.partition): one.offset for one in starts}
        reader.assign(starts)
        self._sent: list[Place] = []
        self._verdicts: dict[Place, str] = {}
        self._letters: dict[Place, str] = {}
        self._committed = -1
        self._looked_s = 0.0

    def send(self, rows: Rows) -> None:
        times_us = time.time_ns() // 1000 + _STEP_US * np.arange(-len(rows), 0)
        with TelemetrySender(self._settings, KDD99, lambda *place: self._sent.append(place)) as sender:
            sender.send([self._device_id] * len(rows), times_us, rows)

    def done(self) -> bool:
        """Read on for a moment; whether every event is done."""
        self._take()
        if self._settled or time.monotonic() - self._looked_s < _LOOK_S:
            return self._settled
        partition, offset = self._sent[-1]
        place = TopicPartition(self._topics.telemetry, partition)
        self._committed = self._reader.committed([place])[0].offset
        self._looked_s = time.monotonic()
        if self._committed <= offset:
            return False
        self._take_to_the_end()
        return True

    def outcome(self, seconds: float) -> Outcome:
        verdicts, letters = Counter(self._verdicts.values()), Counter(self._letters.values())
        silent = len(self._sent) - verdicts.total() - letters.total()
        partition, _ = self._sent[-1]
        return Outcome(
            len(self._sent),
            self._device_id,
            partition,
            dict(sorted((verdicts + Counter({NORMAL: silent})).items())),
            dict(sorted(letters.items())),
            round(seconds, 2),
        )

    def late(self, timeout_s: float) -> str:
        partition, offset = self._sent[-1]
        stands = f"stands at offset {self._committed}" if self._committed >= 0 else "has committed nothing"
        return (
            f"{len(self._sent)} events were sent, and within {timeout_s:g} s verdicts came on "
            f"{len(self._verdicts)}. The last event is at {self._topics.telemetry}-{partition}@{offset}; "
            f"group {self._settings.group} {stands} there. `autodeep doctor` says what workers wait for"
        )

    @property
    def _settled(self) -> bool:
        return len(self._verdicts) + len(self._letters) >= len(self._sent)

    def _take(self) -> None:
        for record in self._reader.take():
            self._next[record.topic() or "", record.partition() or 0] = (record.offset() or 0) + 1
            self._take_in(record)

    def _take_to_the_end(self) -> None:
        """What was published before the group committed."""
        places = [TopicPartition(topic, number) for topic, number in self._next]
        ends = {(one.topic, one.partition): one.offset for one in self._reader.at_end(places)}
        deadline_s = time.monotonic() + self._settings.network_timeout_s
        while not self._settled and any(self._next[place] < end for place, end in ends.items()):
            self._take()
            if time.monotonic() > deadline_s:
                raise self._reader.trouble("what workers published is not given in time")

    def _take_in(self, record: Record) -> None:
        if record.topic() == self._topics.dead_letters:
            place, reason = _letter(record)
            self._letters.update({place: reason} if place in self._sent else {})
            return
        try:
            alert = decode_alert(record.value())
        except AlertUnreadable:
            return
        if (alert.partition, alert.offset) in self._sent:
            self._verdicts[alert.partition, alert.offset] = alert.verdict


def _letter(record: Record) -> tuple[Place, str]:
    """Where the record of a dead letter came from, and why; the last header of a name counts."""
    said = {name: (value or b"").decode(errors="replace") for name, value in record.headers() or ()}
    partition, offset = (said.get(PREFIX + name, "") for name in ("partition", "offset"))
    place = (int(partition), int(offset)) if partition.isdecimal() and offset.isdecimal() else (-1, -1)
    return place, said.get(f"{PREFIX}reason", "unknown")
