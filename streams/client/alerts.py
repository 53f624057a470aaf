"""Reading alerts, for other people's programs: each once, of the classes wanted, from a moment on.

from streams.client.alerts import read_alerts

for alert in read_alerts("localhost:9092", classes=["dos", "r2l"], since="10m"):
    print(alert.device_id, alert.verdict, alert.scores)
"""

from __future__ import annotations

import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka import Message as Record

from streams.adapters.kafka.client import LOG, client_config, where
from streams.codec.output.alerts import AlertUnreadable, decode_alert
from streams.core.alerts import Alert
from streams.core.topics import Topics
from streams.errors import BrokerUnavailable, SettingsError
from streams.settings import Settings

log: Final = logging.getLogger("autodeep.alerts")

REMEMBERED: Final = 100_000
"""Ids kept to know repeats by, about 20 MB: those of a crash or a rebalance come within seconds."""
_POLL_S: Final = 0.2
_BATCH: Final = 500
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MOVING: Final = {KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE}
"""What a broker answers of a partition that has just been made, or whose leader has just changed."""

_PASSING: Final = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
}

Since = str | datetime | timedelta
Place = tuple[str, int]


def read_alerts(
    source: Settings | str,
    *,
    classes: Sequence[str] | None = None,
    since: Since = "now",
    follow: bool = True,
    group: str | None = None,
    idle_s: float | None = None,
) -> Iterator[Alert]:
    """Alerts as they come, repeats left out. Positions are taken by this call, not by the first `next`.

    `source`: Settings, or just the bootstrap servers. `classes`: dos, probe, r2l, u2r, novel; None is all.
    `since`: `now`, `beginning`, how long ago (`90s`, `10m`, `2h`, `1d` or a timedelta), or a time (ISO 8601
    or a datetime; without a zone it is UTC), by the moment of publishing. `follow`: wait for more at the end.
    `group`: share the alerts with other readers of that consumer group and go on where it left off; an alert
    counts as read when the next one is asked for. `idle_s`: end after so many seconds without an alert. A
    value that is no alert is logged and passed over.

    Raises SettingsError for a class or `since` that cannot be, BrokerUnavailable.
    """
    settings = Settings(kafka_servers=source) if isinstance(source, str) else source
    start_ms = starting_ms(since, datetime.now(UTC))
    reader = _Reader(settings, group, follow)
    try:
        reader.begin(classes, start_ms)
    except BaseException:
        reader.close()
        raise
    return reader.alerts(idle_s)


def starting_ms(since: Since, now: datetime) -> int:
    """Milliseconds since the epoch to begin at; OFFSET_BEGINNING or OFFSET_END. Raises SettingsError."""
    if isinstance(since, str):
        if since == "now":
            return int(OFFSET_END)
        if since == "beginning":
            return int(OFFSET_BEGINNING)
        since = _parsed(since)
    moment = now - since if isinstance(since, timedelta) else since
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(int(moment.timestamp() * 1000), 0)


def _parsed(text: str) -> datetime | timedelta:
    duration = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    try:
        if duration:
            return timedelta(seconds=float(duration[1]) * _UNITS[duration[2]])
        return datetime.fromisoformat(text)
    except (ValueError, OverflowError) as exc:
        raise SettingsError(
            f"since {text!r}: expected now, beginning, a duration as 90s, 10m, 2h or 1d, or a time as "
            "2026-01-31T12:00"
        ) from exc


class Repeats:
    """Knows the latest ids again; forgets the oldest beyond `most`."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._ids: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ids)

    def seen(self, alert_id: str) -> bool:
        """Whether this id came before; it is remembered from now on."""
        known = alert_id in self._ids
        self._ids[alert_id] = None
        self._ids.move_to_end(alert_id)
        if len(self._ids) > self._most:
            self._ids.popitem(last=False)
        return known


class _Reader:
    """One consumer with its positions."""

    def __init__(self, settings: Settings, group: str | None, follow: bool) -> None:
        self._settings = settings
        self._in_group = group is not None
        self._follow = follow
        self._starts: dict[Place, int] = {}
        self._unread: set[Place] | None = (
            None  # the partitions whose end is still to come, when not following
        )
        self._repeats = Repeats()
        config = {
            **client_config(settings),
            "group.id": group
            or "autodeep-alerts",  # asked for by librdkafka; without a group nothing is joined
            "enable.auto.commit": self._in_group,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 100,
            "enable.partition.eof": not follow,
        }
        self._consumer = Consumer(config, logger=LOG)

    def begin(self, classes: Sequence[str] | None, since_ms: int) -> None:
        try:
            places = self._places(classes)
            found = self._patiently(lambda: self._positions(places, since_ms))
            self._starts = {(place.topic, place.partition): place.offset for place in found}
            if self._in_group:
                topics = sorted({topic for topic, _ in places})
                self._consumer.subscribe(topics, on_assign=self._assigned)
            else:
                self._assign([TopicPartition(*place, start) for place, start in self._starts.items()])
        except KafkaException as exc:
            raise self._unavailable(exc.args[0]) from exc

    def alerts(self, idle_s: float | None) -> Iterator[Alert]:
        quiet_since_s = time.monotonic()
        try:
            while self._follow or self._unread is None or self._unread:
                for record in self._consumer.consume(_BATCH, _POLL_S):
                    alert = self._take(record)
                    if alert is not None:
                        yield alert
                        quiet_since_s = time.monotonic()
                    self._done(record)
                if idle_s is not None and time.monotonic() - quiet_since_s > idle_s:
                    return
        finally:
            self.close()

    def close(self) -> None:
        self._consumer.close()

    def _take(self, record: Record) -> Alert | None:
        """The alert of a record; None for a repeat, for what is none, and for a passing trouble."""
        error = record.error()
        if error is not None:
            self._endure(record, error)
            return None
        try:
            alert = decode_alert(record.value())
        except AlertUnreadable as exc:
            log.warning("%s-%s@%s: %s", record.topic(), record.partition(), record.offset(), exc)
            return None
        return None if self._repeats.seen(alert.alert_id) else alert

    def _done(self, record: Record) -> None:
        if self._in_group and record.error() is None:
            self._consumer.store_offsets(record)

    def _endure(self, record: Record, error: KafkaError) -> None:
        """Let pass what passes: librdkafka goes on by itself. Raises BrokerUnavailable for the rest."""
        if error.code() == KafkaError._PARTITION_EOF:
            if self._unread is not None:
                self._unread.discard((record.topic() or "", record.partition() or 0))
        elif error.code() not in _PASSING and not error.retriable():
            raise self._unavailable(error)

    def _places(self, classes: Sequence[str] | None) -> list[Place]:
        topics = Topics(self._settings.topic_prefix)
        known = self._consumer.list_topics(timeout=self._settings.network_timeout_s).topics
        wanted = topics.all_alerts() if classes is None else topics.all_alerts(classes)
        there = [name for name in wanted if name in known]
        if not there or (classes is not None and len(there) < len(wanted)):
            missing = ", ".join(name for name in wanted if name not in known)
            raise SettingsError(
                f"Kafka at {where(self._settings)} has no topic {missing}: `autodeep topics create` makes "
                "those of dos, probe, r2l, u2r and novel"
            )
        return [(name, partition) for name in there for partition in known[name].partitions]

    def _positions(self, places: Sequence[Place], since_ms: int) -> list[TopicPartition]:
        timeout_s = self._settings.network_timeout_s
        if since_ms == OFFSET_BEGINNING:
            return [TopicPartition(*place, OFFSET_BEGINNING) for place in places]
        if since_ms == OFFSET_END:
            return [TopicPartition(*place, self._end(place)) for place in places]
        asked = [TopicPartition(*place, since_ms) for place in places]
        found: list[TopicPartition] = self._consumer.offsets_for_times(asked, timeout=timeout_s)
        return [
            place if place.offset >= 0 else TopicPartition(place.topic, place.partition, self._end_of(place))
            for place in found
        ]

    def _patiently(self, ask: Callable[[], list[TopicPartition]]) -> list[TopicPartition]:
        """Ask again, within the network time-out, while a partition's leader is being found."""
        deadline_s = time.monotonic() + self._settings.network_timeout_s
        while True:
            try:
                return ask()
            except KafkaException as exc:
                if exc.args[0].code() not in _MOVING or time.monotonic() > deadline_s:
                    raise
                time.sleep(_POLL_S)

    def _end_of(self, place: TopicPartition) -> int:
        return self._end((place.topic, place.partition))

    def _end(self, place: Place) -> int:
        """The offset that the next record of the partition will have."""
        timeout_s = self._settings.network_timeout_s
        _, end = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=timeout_s)
        return int(end)

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Go on where the group left off; where it never was, begin at `since`."""
        committed = consumer.committed(partitions, timeout=self._settings.network_timeout_s)
        for place in committed:
            if place.offset < 0:
                place.offset = self._starts.get((place.topic, place.partition), OFFSET_BEGINNING)
        self._assign(committed)

    def _assign(self, places: Sequence[TopicPartition]) -> None:
        self._unread = {(place.topic, place.partition) for place in places}
        self._consumer.assign(list(places))

    def _unavailable(self, error: KafkaError) -> BrokerUnavailable:
        return BrokerUnavailable(f"reading alerts from Kafka at {where(self._settings)}: {error.str()}")
