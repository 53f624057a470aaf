"""Kafka deletes what a group that is cut off has not read, and the workers have to say so."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import Any, Final

from confluent_kafka import TopicPartition

from bench.faults.case import Span
from bench.faults.committed import committed, ends, standing
from bench.faults.flow import SERIAL, Place
from bench.faults.schedules import Cut, Fault
from bench.faults.stage import Stage, admin_of, now_us
from bench.output import appended_us, to_the_end
from streams.errors import BrokerUnavailable

_WAIT_S: Final = 90.0
_SAID: Final = re.compile(r"(\S+)-(\d+): offsets (\d+) to (\d+) are lost: Kafka deleted them")
"""The line of a worker that found its position gone."""


def retention(stage: Stage, fault: Fault) -> int:
    """Half of what came while the workers were cut off is deleted. 0 where no worker missed any of it.

    Whether each that missed some says so is the judge's to find out.
    No worker starts or ends meanwhile, and no server is struck: what a worker has in hand is judged. Of one
    that ended before, the group has caught up: what it had judged and not saved would be in no window, and
    from outside nobody could tell which that is.
    """
    servers, flow = stage.servers, stage.flow
    if flow is None:
        return 0
    with stage.fleet.still(), servers.kafka_lock, servers.redis_lock, servers.topic_lock:
        said, counted = _said(stage), _counted(stage)
        with servers.redis_cut_lock, servers.kafka_cut_lock:
            _wait_caught_up(stage)
            servers.cut_kafka(Cut.RESET)
            time.sleep(fault.for_s)
            until = _delete(stage, flow.life)
            servers.cut_kafka(None)
            _wait_passed(stage, until)
        new = _said(stage) - said
        stage.diary.said_lost += [Span(flow.life, *one) for one in new.elements()]
        stage.diary.counted_lost += _counted(stage) - counted
        return now_us() if new else 0


def _delete(stage: Stage, life: int) -> dict[int, int]:
    """Of each partition where the group stands: up to the middle of what it has not committed."""
    servers, diary = stage.servers, stage.diary
    topic = servers.topics.telemetry
    done, end = standing(servers.settings, topic), ends(servers.settings, topic)
    until = {number: (at + end[number]) // 2 for number, at in done.items() if at < end[number] - 1}
    for message in to_the_end(servers, [topic]):
        place = Place(life, message.partition(), message.offset())
        if place.offset < until.get(place.partition, 0):
            serial = int(dict(message.headers() or ())[SERIAL])
            diary.deleted[place] = serial, appended_us(message)
    asked = [TopicPartition(topic, number, offset) for number, offset in until.items()]
    admin = admin_of(servers)
    for answer in admin.delete_records(asked, request_timeout=_WAIT_S).values() if asked else ():
        answer.result()
    diary.deletions += [Span(life, number, done[number], offset) for number, offset in until.items()]
    return until


def _wait_caught_up(stage: Stage) -> None:
    """Until the group has committed, in each partition, something and all that is there by now.

    Where it has committed nothing it would lose nothing.
    """
    settings, topic = stage.servers.settings, stage.servers.topics.telemetry
    there, deadline_s = ends(settings, topic), time.monotonic() + _WAIT_S
    while time.monotonic() < deadline_s:
        done = standing(settings, topic)
        if all(done.get(number, -1) >= end for number, end in there.items()):
            return
        time.sleep(0.2)


def _wait_passed(stage: Stage, until: dict[int, int]) -> None:
    deadline_s = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline_s:
        try:
            done = committed(stage.servers.settings, stage.servers.topics.telemetry)
        except BrokerUnavailable:
            continue
        if all(done[number] >= offset for number, offset in until.items()):
            return
        time.sleep(0.2)


def _said(stage: Stage) -> Counter[tuple[int, int, int]]:
    """What the workers' logs say: partition, first offset, end."""
    found = Counter[tuple[int, int, int]]()
    for log in stage.servers.logs.iterdir():
        for topic, *numbers in _SAID.findall(log.read_text(encoding="utf-8", errors="replace")):
            if topic == stage.servers.topics.telemetry:
                partition, first, last = map(int, numbers)
                found[partition, first, last + 1] += 1
    return found


def _counted(stage: Stage) -> int:
    lost: list[Any] = [worker.figures().get("lost", {}).get("retention", 0) for worker in stage.fleet.workers]
    return sum(map(int, lost))
