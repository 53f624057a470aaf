"""Reading, straight from the servers, what the judge is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import redis
from confluent_kafka import Message

from bench.faults.case import Case, Letter, Polled, Span, Stored
from bench.faults.feed import Record
from bench.faults.flow import SERIAL, Flow, Place
from bench.faults.offline import Event, Offline, events_of
from bench.faults.servers import VERSIONS, Servers
from bench.faults.stage import FaultLog
from bench.output import appended_us, to_the_end
from streams.adapters.store.models import open_store
from streams.codec.output.alerts import decode_alert
from streams.codec.output.incidents import decode_incident
from streams.core.incidents import Incident
from streams.core.kdd99 import KDD99
from streams.core.windows import WIDTH, WindowLayout
from streams.errors import DataError
from streams.worker.path import incident_rules

LAYOUT = WindowLayout(KDD99)

Found = Mapping[Place, tuple[Record, int]]
"""Each record of the input where it stands, and when (microseconds) the broker appended it; 0: not known."""


def gather(servers: Servers, flow: Flow, diary: FaultLog) -> Case:
    """Everything, once the group is done. Raises DataError where Kafka lost what it had acknowledged."""
    found = read_input(servers, flow, diary)
    detector = open_store(servers.settings.model_store).load(f"kdd99/{VERSIONS[0]}")
    topics, lives = servers.topics, [str(one) for one in diary.topic_ids]
    classified = _of_telemetry(servers, [topics.classified])
    letters = [_letter(message, lives) for message in to_the_end(servers, [topics.dead_letters])]
    gone = unread(found, diary.deletions, lives, classified, letters)
    found = {place: one for place, one in found.items() if place not in gone}
    events = events_of(found, flow.feed, WIDTH, int(servers.settings.window_idle_s * 1e6))
    models = {servers.digests[VERSIONS[0]]: 0}
    for at_us, version in diary.promoted:
        models.setdefault(servers.digests[version], at_us)
    return Case(
        events=events,
        width=detector.width,
        poison={place: one for place, one in found.items() if one[0].poison is not None},
        expected=Offline(detector, events, flow.feed),
        row=lambda event: flow.feed.rows[event.row].tobytes(),
        lives=lives,
        committed=diary.committed,
        losses=diary.losses,
        models=models,
        classified=classified,
        alerts=_of_telemetry(servers, topics.all_alerts()),
        letters=letters,
        stored=_stored(servers, events, len(lives) - 1),
        alert_topic=topics.alerts,
        gone=gone,
        deletions=diary.deletions,
        said_lost=diary.said_lost,
        counted_lost=diary.counted_lost,
        incidents=[one for one in _incidents(servers) if one.topic == topics.telemetry],
        incident_rules=incident_rules(servers.settings),
        rebuilds=servers.settings.rebuild_windows_records > 0,
    )


def unread(
    found: Found,
    deletions: Sequence[Span],
    lives: Sequence[str],
    classified: Sequence[Polled],
    letters: Sequence[Letter],
) -> frozenset[Place]:
    """What was deleted before it was committed, and nobody judged: it is in no device's history."""
    judged = {(one.alert.topic_id, one.alert.partition, one.alert.offset) for one in classified}
    judged |= {(lives[at.life], at.partition, at.offset) for at in (one.place for one in letters) if at}
    return frozenset(
        place
        for place in found
        if (lives[place.life], place.partition, place.offset) not in judged
        and any(place in span for span in deletions)
    )


def read_input(servers: Servers, flow: Flow, diary: FaultLog) -> Found:
    """The present life of the topic as it is; of the former ones what the producer was told.

    What was deleted meanwhile is as it was read before.
    """
    present = len(diary.topic_ids) - 1
    found: dict[Place, tuple[Record, int]] = {}
    for place, serial in flow.acknowledged.items():
        if place.life < present:
            found[place] = (flow.sent[serial], 0)
    for place, (serial, at_us) in diary.deleted.items():
        found[place] = (flow.sent[serial], at_us)
    for message in to_the_end(servers, [servers.topics.telemetry]):
        place = Place(present, message.partition(), message.offset())
        record = flow.sent[int(dict(message.headers())[SERIAL])]
        if (message.key(), message.value()) != (record.key, record.value):
            raise DataError(f"{place} is not record {record.serial}, as its header says")
        found[place] = (record, appended_us(message))
    _check_complete(found, flow, present)
    return found


def _check_complete(found: Found, flow: Flow, present: int) -> None:
    missing = [place for place in flow.acknowledged if place not in found]
    there = {record.serial for record, _ in found.values()}
    missing_serials = [serial for serial in flow.unplaced if serial not in there]
    if any(flow.unplaced[serial] < present for serial in missing_serials):
        raise DataError("where some records of the deleted topic stood the broker did not tell: run it again")
    if missing or missing_serials:
        count = len(missing) + len(missing_serials)
        raise DataError(
            f"Kafka acknowledged {count} records that it does not have: {missing[:5]}, and of those that "
            f"it told no offset of, numbers {missing_serials[:5]}"
        )


def _of_telemetry(servers: Servers, topics: Sequence[str]) -> list[Polled]:
    """`sensors.py` judges what is said of flows."""
    heard = (_heard(message) for message in to_the_end(servers, topics))
    return [one for one in heard if one.alert.topic == servers.topics.telemetry]


def _incidents(servers: Servers) -> Iterator[Incident]:
    for message in to_the_end(servers, [servers.topics.incidents]):
        yield decode_incident(message.value(), message.headers())


def _heard(message: Message) -> Polled:
    alert = decode_alert(message.value(), message.headers())
    where = (message.topic(), message.partition(), message.offset())
    return Polled(*where, appended_us(message), alert)


def _letter(message: Message, lives: Sequence[str]) -> Letter:
    headers = tuple((name, value) for name, value in message.headers() or ())
    told = {name: value.decode() for name, value in headers}
    place = None
    if told.get("autodeep.topic-id") in lives:
        life = lives.index(told["autodeep.topic-id"])
        place = Place(life, int(told["autodeep.partition"]), int(told["autodeep.offset"]))
    return Letter(place, message.key(), message.value(), headers, appended_us(message))


def _stored(servers: Servers, events: Sequence[Event], present: int) -> dict[tuple[int, str], Stored | None]:
    """Every window of ours in Redis, and None for each that should be there and is not."""
    stored: dict[tuple[int, str], Stored | None] = {
        (event.place.partition, event.device): None for event in events if event.place.life == present
    }
    prefix = f"{servers.topics.prefix}:w:{{{servers.topics.telemetry}-"
    for port in servers.redis_ports:
        with redis.Redis(port=port) as client:
            for key in client.scan_iter(match=f"{prefix}*", count=1000):
                partition, _, device = key.decode().removeprefix(prefix).partition("}:")
                window = _unrolled(client.get(key))
                if window is not None and (window.topic_id == "" or (int(partition), device) in stored):
                    stored[int(partition), device] = window
    return stored


def _unrolled(value: bytes | None) -> Stored | None:
    """A packed window, oldest row first, read by the layout alone (docs/wire.md)."""
    if value is None or len(value) != LAYOUT.dtype.itemsize:
        return None
    window = np.frombuffer(value, LAYOUT.dtype)[0]
    head, count = window["head"], int(window["head"]["count"])
    ring = [row.tobytes() for row in window["rows"]]
    first = int(head["next"]) - count
    identity = bytes(head["topic_id"]).hex()
    return Stored(
        f"{identity[:8]}-{identity[8:12]}-{identity[12:16]}-{identity[16:20]}-{identity[20:]}",
        int(head["partition"]),
        int(head["offset"]),
        int(head["event_time_us"]),
        tuple(ring[(first + i) % WIDTH] for i in range(count)),
    )
