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
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, TopicPartition
from confluent_kafka import Message as Record

from streams.adapters.kafka.client import Config, where
from streams.adapters.kafka.reading import Reader
from streams.codec.output.alerts import AlertUnreadable, decode_alert
from streams.core.alerts import Alert
from streams.core.topics import Topics
from streams.errors import SettingsError
from streams.settings import Settings

log: Final = logging.getLogger("autodeep.alerts")

REMEMBERED: Final = 100_000
"""Ids kept to know repeats by, about 20 MB: those of a crash or a rebalance come within seconds."""
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

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

    `source`: Settings, or just the bootstrap servers. `classes`: c2, dos, probe, r2l, u2r, novel; None: all.
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
    """One consumer with its positions; with a group it joins that, and commits."""

    def __init__(self, settings: Settings, group: str | None, follow: bool) -> None:
        self._settings = settings
        self._in_group = group is not None
        self._follow = follow
        self._starts: dict[Place, int] = {}
        self._is_assigned = False
        self._repeats = Repeats()
        own: Config = {
            "group.id": group or "autodeep-alerts",
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 100,
            "enable.partition.eof": not follow,
        }
        self._reader = Reader(settings, "reading alerts", own, joins=self._in_group)

    def begin(self, classes: Sequence[str] | None, since_ms: int) -> None:
        topics = self._topics(classes)
        found = self._reader.places_since(topics, since_ms)
        self._starts = {(place.topic, place.partition): place.offset for place in found}
        if self._in_group:
            self._reader.consumer.subscribe(topics, on_assign=self._assigned)
        else:
            self._assign(found)

    def alerts(self, idle_s: float | None) -> Iterator[Alert]:
        quiet_since_s = time.monotonic()
        try:
            while self._follow or not self._is_assigned or self._reader.unread:
                for record in self._reader.take():
                    alert = self._alert(record)
                    if alert is not None:
                        yield alert
                        quiet_since_s = time.monotonic()
                    if self._in_group:
                        self._reader.consumer.store_offsets(record)
                if idle_s is not None and time.monotonic() - quiet_since_s > idle_s:
                    return
        finally:
            self.close()

    def close(self) -> None:
        self._reader.close()

    def _alert(self, record: Record) -> Alert | None:
        """The alert of a record; None for a repeat and for what is none."""
        try:
            alert = decode_alert(record.value(), record.headers())
        except AlertUnreadable as exc:
            log.warning("%s-%s@%s: %s", record.topic(), record.partition(), record.offset(), exc)
            return None
        return None if self._repeats.seen(alert.alert_id) else alert

    def _topics(self, classes: Sequence[str] | None) -> list[str]:
        topics = Topics(self._settings.topic_prefix)
        known = self._reader.partitions()
        wanted = topics.all_alerts() if classes is None else topics.all_alerts(classes)
        there = [name for name in wanted if name in known]
        if not there or (classes is not None and len(there) < len(wanted)):
            missing = ", ".join(name for name in wanted if name not in known)
            raise SettingsError(
                f"Kafka at {where(self._settings)} has no topic {missing}: `autodeep topics create` makes "
                "those of c2, dos, probe, r2l, u2r and novel"
            )
        return there

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Go on where the group left off; where it never was, begin at `since`."""
        committed = self._reader.committed(partitions)
        for place in committed:
            if place.offset < 0:
                place.offset = self._starts.get((place.topic, place.partition), OFFSET_BEGINNING)
        self._assign(committed)

    def _assign(self, places: Sequence[TopicPartition]) -> None:
        self._is_assigned = True
        self._reader.assign(places)
