"""Models promoted again and again while events flow: what is lost, who judged, what it costs.

Two versions of the shipped model, alike but for their digests, are promoted in turn through the topic of
model commands. A verdict may come from any model that served somewhere between the sending of its event and
the broker's append of the verdict: from its command to the moment when the last worker had left it. The
latency during reloads is that of events sent between a command and the last worker's switch; the latency
without is that of all others, less the first half of the time before the first command.
"""

from __future__ import annotations

import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from bench.output import to_the_end
from bench.parts import Parts, started
from bench.pipeline import Load, mixed
from streams.codec.alerts import decode_alert
from streams.codec.models import ModelCommand, ModelStatus, decode_status, encode_command
from streams.core.events import Message
from streams.embedded.workers import WorkerProcess
from streams.errors import Unavailable
from streams.kafka.client import client_config
from streams.kafka.publisher import KafkaPublisher
from streams.kafka.telemetry import TelemetrySender
from streams.replaying import device_name
from streams.store import open_store

NAME: Final = "kdd99"
WORKERS: Final = 2
FEED_EVENTS: Final = 20_000
DEVICES: Final = 2_000
ATTACK_SHARE: Final = 0.02
SWITCH_S: Final = 60.0
STALLED_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """`rate` in events a second; `quiet_s` before the first reload, `pause_s` after each."""

    times: int
    rate: float
    quiet_s: float
    pause_s: float


@dataclass(frozen=True, slots=True)
class Reign:
    """One model's: it may judge from `begun_us`; from `served_us` on all workers had it."""

    digest: str
    begun_us: int
    served_us: int


def measure(data: Path, plan: Plan) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="autodeep-bench-store-") as folder:
        digests = _two_alike(folder)
        settings = {"model_store": folder, "publish_classified": "true"}
        with started({"log.message.timestamp.type": "LogAppendTime"}, **settings) as parts:
            workers = [parts.worker(f"worker-{number}") for number in range(WORKERS)]
            for worker in workers:
                worker.wait_ready()
            with _paced(parts, data, plan) as flow:
                time.sleep(plan.quiet_s)
                reigns, refused, rss_kib = _reload(parts, workers, digests, plan)
            _drained(workers, flow.sent)
            verdicts = _verdicts(parts)
        return {
            "times": plan.times,
            "rate": plan.rate,
            "workers": WORKERS,
            "events": flow.sent,
            "refused": len(refused),
            "refusals": refused,
            "lost": flow.sent - len(verdicts),
            "wrong_model": _wrong(verdicts, reigns),
            "rss_slope_mib_per_100": _slope_mib(rss_kib),
            **_latencies(verdicts, reigns),
            "switch_s": _percentiles([(r.served_us - r.begun_us) / 1e6 for r in reigns[1:]]),
        }


def _two_alike(folder: str) -> tuple[str, str]:
    """A store with the shipped model as versions 1 and 2; their digests."""
    detector = open_store().load(f"{NAME}@champion")
    store = open_store(folder)
    first, second = (store.save(detector, NAME, version, {}, "for a bench") for version in "12")
    store.set_alias(NAME, "champion", "1")
    return first.digest, second.digest


class _Flow:
    """Events at a rate, in steps of 10 ms, from a thread until ended; event times are those of sending."""

    def __init__(self, parts: Parts, data: Path, rate: float) -> None:
        self.sent = 0
        self.end = threading.Event()
        self._settings, self._rate = parts.settings, rate
        self._feed = mixed(data, Load(FEED_EVENTS, DEVICES, ATTACK_SHARE))

    def run(self) -> None:
        feed, begun_s = self._feed, time.monotonic()
        with TelemetrySender(self._settings) as sender:
            while not self.end.wait(0.01):
                due = int((time.monotonic() - begun_s) * self._rate)
                place = np.arange(self.sent, due) % len(feed)
                names = [device_name(number) for number in feed.device[place].tolist()]
                sender.send(names, np.full(len(place), time.time_ns() // 1000), feed.rows[place])
                self.sent = due


@contextmanager
def _paced(parts: Parts, data: Path, plan: Plan) -> Iterator[_Flow]:
    flow = _Flow(parts, data, plan.rate)
    thread = threading.Thread(target=flow.run)
    thread.start()
    try:
        yield flow
    finally:
        flow.end.set()
        thread.join()


def _reload(
    parts: Parts, workers: Sequence[WorkerProcess], digests: tuple[str, str], plan: Plan
) -> tuple[list[Reign], list[str], list[list[int]]]:
    """The models' reigns, why promotes were refused, and after each reload the workers' memory (KiB)."""
    reigns, refused, rss_kib = [Reign(digests[0], 0, 0)], list[str](), list[list[int]]()
    consumer = Consumer({**client_config(parts.settings), "group.id": "bench", "fetch.wait.max.ms": 10})
    consumer.assign([TopicPartition(parts.topics.model_status, 0, OFFSET_BEGINNING)])
    with KafkaPublisher(parts.settings) as publisher:
        for _ in range(plan.times):
            version = "2" if reigns[-1].digest == digests[0] else "1"
            command = _promote(version)
            message = Message(parts.topics.model_commands, b"", encode_command(command))
            publisher.publish([message])
            served_us, refusal = _switched(consumer, command.command_id)
            if refusal:
                refused.append(refusal)
            else:
                reigns.append(Reign(digests[int(version) - 1], command.issued_at_us, served_us))
                rss_kib.append([worker.figures()["rss_kib"] for worker in workers])
            time.sleep(plan.pause_s)
    consumer.close()
    return reigns, refused, rss_kib


def _promote(version: str) -> ModelCommand:
    return ModelCommand(str(uuid.uuid4()), "promote", NAME, time.time_ns() // 1000, version=version)


def _switched(consumer: Consumer, command_id: str) -> tuple[int, str]:
    """When the last worker served what the command asked for, in microseconds, or why it was refused."""
    serving: dict[str, int] = {}
    deadline_s = time.monotonic() + SWITCH_S
    while len(serving) < WORKERS:
        message = consumer.poll(0.1)
        if message is None or message.error():
            if time.monotonic() > deadline_s:
                raise Unavailable(f"{len(serving)} of {WORKERS} workers serve the promoted model so far")
            continue
        status: ModelStatus = decode_status(message.value())
        if status.command_id != command_id:
            continue
        if status.outcome == "refused":
            return 0, status.detail
        if status.outcome == "serving":
            serving[status.worker] = status.at_us
    return max(serving.values()), ""


def _drained(workers: Sequence[WorkerProcess], sent: int) -> None:
    """Wait until the workers have worked on all that was sent, or stand still."""
    last, last_s = -1, time.monotonic()
    while last < sent and time.monotonic() - last_s < STALLED_S:
        done = sum(worker.figures().get("records", 0) for worker in workers)
        if done > last:
            last, last_s = done, time.monotonic()
        time.sleep(0.05)


@dataclass(frozen=True, slots=True)
class _Verdict:
    sent_us: int
    appended_us: int
    digest: str


def _verdicts(parts: Parts) -> list[_Verdict]:
    """The first verdict of each event."""
    found: dict[str, _Verdict] = {}
    for message in to_the_end(parts, [parts.topics.classified]):
        alert = decode_alert(message.value())
        appended_us = message.timestamp()[1] * 1000 + 999  # the broker's clock counts milliseconds
        found.setdefault(str(alert.alert_id), _Verdict(alert.event_time_us, appended_us, alert.model_digest))
    return list(found.values())


def _wrong(verdicts: Sequence[_Verdict], reigns: Sequence[Reign]) -> int:
    """Verdicts of a model that served nowhere while their event was under way."""
    digests = np.array([reign.digest for reign in reigns])
    begun_us = np.array([reign.begun_us for reign in reigns])
    left_us = np.array([*(reign.served_us for reign in reigns[1:]), np.iinfo(np.int64).max])
    return sum(
        not np.any(
            (digests == verdict.digest) & (begun_us <= verdict.appended_us) & (left_us >= verdict.sent_us)
        )
        for verdict in verdicts
    )


def _latencies(verdicts: Sequence[_Verdict], reigns: Sequence[Reign]) -> dict[str, Any]:
    """Milliseconds from sending to verdict, and the 99th percentiles' ratio."""
    sent_us = np.array([verdict.sent_us for verdict in verdicts])
    taken_ms = np.array([verdict.appended_us - verdict.sent_us for verdict in verdicts]) / 1000
    during = np.zeros(len(verdicts), bool)
    for reign in reigns[1:]:
        during |= (sent_us >= reign.begun_us) & (sent_us <= reign.served_us)
    if len(reigns) < 2 or not during.any():
        return {"p99_ratio": None}
    warm_us = (sent_us.min() + reigns[1].begun_us) // 2  # before: first fetches, cold windows
    with_ms = _percentiles(taken_ms[during])
    without_ms = _percentiles(taken_ms[~during & (sent_us >= warm_us)])
    return {
        "p99_ratio": round(with_ms["p99"] / without_ms["p99"], 2),
        "during_ms": with_ms,
        "without_ms": without_ms,
        "reloading_share": round(float(during.mean()), 2),
    }


def _percentiles(values: Any) -> dict[str, float]:
    if not len(values):
        return {}
    return {
        f"p{percent}": round(float(value), 3)
        for percent, value in zip((50, 95, 99), np.percentile(values, [50, 95, 99]), strict=True)
    }


def _slope_mib(rss_kib: Sequence[Sequence[int]]) -> float | None:
    """The steepest worker's growth in a hundred reloads, by least squares; the first tenth is warming up."""
    kept = np.array(rss_kib[len(rss_kib) // 10 :], float)  # (times, workers)
    if len(kept) < 2:
        return None
    slopes = np.polyfit(np.arange(len(kept)), kept, 1)[0]  # KiB a reload, (workers,)
    return round(float(slopes.max()) * 100 / 1024, 2)
