"""The same job as a plain confluent-kafka loop, for `bench latency --beside loop`: what our worker must beat.

Same model, decoder, windows and alerts, in one thread: consume up to 500 records of all partitions, judge
them at once, publish, write the windows to Redis in one pipeline, commit. What a worker promises beyond that
is not here: no fence against a former owner, no recovery of windows, no waiting for what is away, no change
of model. It answers `/health/ready` and `/stats` as a worker does.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import numpy as np
import redis
import torch
from confluent_kafka import Consumer, KafkaException, Message, Producer

from streams.adapters.kafka.client import LOG, client_config, producer_config
from streams.adapters.kafka.history import PastRecord, past_record
from streams.adapters.kafka.topics import topic_id
from streams.adapters.store.models import open_store
from streams.codec.ingest.telemetry import TelemetryDecoder
from streams.codec.output.alerts import encode_alert
from streams.core import windows as sequence
from streams.core.alerts import Alert
from streams.core.events import Events, Source
from streams.core.kdd99 import KDD99
from streams.core.topics import NORMAL, Topics
from streams.core.windows import WIDTH, Advance, Index, WindowLayout
from streams.errors import BrokerUnavailable
from streams.model.classified import Classified, alerts_of
from streams.model.detector import Detector, Verdicts
from streams.model.inference import infer
from streams.settings import Settings

LAYOUT: Final = WindowLayout(KDD99)
MOST: Final = 500
WAIT_S: Final = 0.05
DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What became of a batch: its alerts, the windows of its devices, and the verdict of each new event."""

    alerts: Sequence[Alert]
    windows: Mapping[str, bytes]
    verdicts: Sequence[str]


class Judge:
    """Windows and latents of all devices so far, and the model that reads them."""

    def __init__(self, detector: Detector, topic: str, topic_id: uuid.UUID, idle_us: int) -> None:
        self._detector = detector
        self._idle_us = idle_us
        self._source = Source(topic, topic_id, -1)
        self._decoder = TelemetryDecoder(LAYOUT.table)
        self._place: dict[str, int] = {}
        self._windows = np.zeros(1024, LAYOUT.dtype)
        self._latents = np.zeros((1024, WIDTH, detector.latent_size), np.float32)

    def __call__(self, messages: Sequence[Message]) -> Judged:
        """A batch across partitions; bad records are left out."""
        events = self._decoder.decode([_record(message) for message in messages]).events
        partition = np.array([message.partition() for message in messages], np.int64)[events.position]  # (N,)
        devices, device = sequence.numbered(events.device_id)
        first = np.unique(device, return_index=True)[1]  # (D,)
        places = self._places(devices, partition[first].tolist())
        windows, latents = self._windows[places], self._latents[places]
        step = sequence.advance(windows, device, events, self._idle_us)
        known = np.ones(len(devices), bool)
        verdicts, latents = infer(self._detector, windows, step, events.rows, latents, known)
        self._windows[places], self._latents[places] = step.windows, latents
        names = [self._detector.verdicts[verdict] for verdict in verdicts.verdict.tolist()]
        alerts = self._alerts(events, step, verdicts, partition[step.applied])
        values = [window.tobytes() for window in step.windows]
        return Judged(alerts, dict(zip(devices, values, strict=True)), names)

    def _places(self, devices: Sequence[str], partition: Sequence[int]) -> Index:
        """Where these devices (D) of these partitions (D) are kept; a new one has an empty window."""
        for device, number in zip(devices, partition, strict=True):
            if device not in self._place:
                place = self._place[device] = len(self._place)
                if place == len(self._windows):
                    self._windows = np.concatenate([self._windows, np.zeros_like(self._windows)])
                    self._latents = np.concatenate([self._latents, np.zeros_like(self._latents)])
                self._windows[place] = LAYOUT.blank(1, replace(self._source, partition=number))[0]
        return np.array([self._place[device] for device in devices], np.int64)

    def _alerts(self, events: Events, step: Advance, verdicts: Verdicts, partition: Index) -> list[Alert]:
        """Of the applied events (A) of these partitions (A) that are not normal."""
        normal = self._detector.verdicts.index(NORMAL)
        alerts: list[Alert] = []
        for number in np.unique(partition[verdicts.verdict != normal]).tolist():
            source = replace(self._source, partition=number)
            origin = np.zeros(len(events), np.int64)
            classified = Classified([source], origin, events, step, self._detector, verdicts)
            theirs = np.flatnonzero((verdicts.verdict != normal) & (partition == number)).tolist()
            alerts += alerts_of(classified, theirs, time.time_ns() // 1000)
        return alerts


class Loop:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topics = Topics(settings.topic_prefix)
        topic = self._topics.telemetry
        detector = open_store(settings.model_store).load(settings.model).at(settings.operating_point)
        self._judge = Judge(detector, topic, topic_id(settings, topic), int(settings.window_idle_s * 1e6))
        self._redis = redis.Redis.from_url(settings.redis_url)
        self._producer = Producer(producer_config(settings), logger=LOG)
        own = {"group.id": settings.group, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
        self._consumer = Consumer({**client_config(settings), **own}, logger=LOG)
        self._errors: list[object] = []
        self.partitions: list[int] = []
        self._totals: Counter[str] = Counter()

    def run(self, over: threading.Event) -> None:
        self._consumer.subscribe([self._topics.telemetry], on_assign=self._assigned)
        while not over.is_set():
            messages = self._consumer.consume(MOST, WAIT_S)
            if not messages:
                continue
            judged = self._judge(messages)
            self._publish(judged.alerts)
            self._save(judged.windows)
            self._consumer.commit(asynchronous=True)
            self._totals.update(turns=1, records=len(messages), classified=len(judged.verdicts))
        self._consumer.close()

    def figures(self) -> dict[str, Any]:
        return {**self._totals, "partitions": self.partitions, "process_cpu_ns": time.process_time_ns()}

    def _assigned(self, consumer: Consumer, places: Sequence[Any]) -> None:
        self.partitions = sorted(place.partition for place in places)

    def _publish(self, alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            topic, value = self._topics.alerts(alert.verdict), encode_alert(alert)
            self._producer.produce(topic, value, alert.device_id.encode(), on_delivery=self._told)
        if self._producer.flush(self._settings.network_timeout_s) or self._errors:
            raise BrokerUnavailable(f"alerts were not taken: {self._errors or 'no answer'}")

    def _save(self, windows: Mapping[str, bytes]) -> None:
        with self._redis.pipeline(transaction=False) as pipe:
            for device, window in windows.items():
                pipe.set(f"{self._topics.prefix}:w:{device}", window, ex=DAY_S)
            pipe.execute()

    def _told(self, error: object, message: Message) -> None:
        if error is not None:
            self._errors.append(error)


def _record(message: Message) -> PastRecord:
    if message.error() is not None:
        raise KafkaException(message.error())
    return past_record(message)


def _serve(loop: Loop, settings: Settings) -> None:
    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_ready = bool(loop.partitions)
            self.send_response(200 if is_ready or self.path == "/stats" else 503)
            self.end_headers()
            self.wfile.write(json.dumps(loop.figures()).encode())

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the benches ask often."""

    server = ThreadingHTTPServer((settings.web_bind, settings.web_port), Pages)
    threading.Thread(target=server.serve_forever, name="pages", daemon=True).start()


def main() -> None:
    settings, over = Settings.from_environment(os.environ), threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: over.set())
    torch.set_num_threads(settings.torch_threads)
    loop = Loop(settings)
    _serve(loop, settings)
    loop.run(over)


if __name__ == "__main__":
    main()
