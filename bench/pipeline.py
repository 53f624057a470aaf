"""Events a second through Kafka, one worker and Redis, beside the bare model on the same micro-batches.

All events wait on the broker before the worker starts; the rate is taken between the first tenth and the
last event. Then a worker gets half that rate, paced, and the latency is the broker's append time of each
alert less the producer's time of its event. CPU microseconds are those of the worker's process: `poll` is
what its pipeline thread did not use (fetching, event loop, commits, librdkafka's threads).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from bench.feed import START_US, STEP_US, send, send_paced
from bench.output import to_the_end
from bench.parts import Parts, started
from streams.adapters.store.models import open_store
from streams.client.replaying import Feed, mix
from streams.codec.ingest.kdd import read_rows
from streams.codec.output.alerts import decode_alert
from streams.core import windows as sequence
from streams.core.events import NO_TOPIC_ID, Events, Source
from streams.core.kdd99 import KDD99
from streams.core.topics import NORMAL
from streams.core.windows import WindowLayout
from streams.embedded.workers import WorkerProcess
from streams.errors import Unavailable
from streams.model.detector import Detector
from streams.pipeline.reports import STAGES

LAYOUT = WindowLayout(KDD99)

WARM: Final = 0.1
"""Share of the events before the rate is taken: imports, first fetches and cold windows."""

FLOOD_SHARE: Final = 0.8
STALLED_S: Final = 60.0
CLOSE_S: Final = 0.02
APART_S: Final = 0.5
"""Between two questions for a worker's figures: near the end of what is waited for, and far from it."""


@dataclass(frozen=True, slots=True)
class Load:
    events: int
    devices: int
    attack_share: float


def measure(data: Path, load: Load, latency_s: float) -> dict[str, Any]:
    """The load asked for, and beside it the flood that the data set itself is."""
    flood = replace(load, attack_share=FLOOD_SHARE)
    result = _measure(data, load, latency_s)
    if load.attack_share != FLOOD_SHARE:
        result["flood"] = _measure(data, flood, latency_s)
    return result


def _measure(data: Path, load: Load, latency_s: float) -> dict[str, Any]:
    feed = mixed(data, load)
    with started({"log.message.timestamp.type": "LogAppendTime"}) as parts:
        send(parts.settings, feed)
        worker = parts.worker("worker")
        flat = flat_out(worker, load.events)
        rate = float(flat["events_per_s"])
        since_us = time.time_ns() // 1000
        paced = mixed(data, replace(load, events=int(rate / 2 * latency_s)))
        send_paced(parts.settings, paced, rate / 2)
        wait_for(worker, load.events + len(paced))
        latency_ms = _latencies(parts, since_us)
        peak_rss_kib = worker.figures()["peak_rss_kib"]
        worker.stop()
        detector = open_store(parts.settings.model_store).load(parts.settings.model)
        bare = bare_model(detector, feed, round(flat["events_per_turn"]), parts.settings.torch_threads)
    return {
        "events": load.events,
        "devices": load.devices,
        "attack_share": load.attack_share,
        **flat,
        "model_events_per_s": round(bare),
        "ratio": round(rate / bare, 3),
        "latency_rate": round(rate / 2),
        "latency_ms": latency_ms,
        "peak_rss_mib": round(peak_rss_kib / 1024),
    }


def mixed(data: Path, load: Load) -> Feed:
    """Runs of the file's rows, in order of capture for each device, a share of them attacks."""
    file = read_rows(data, KDD99)
    is_attack = np.array([label != NORMAL for label in file.labels])[file.label]
    row, device = mix(is_attack, load.events, load.devices, load.attack_share, seed=1)
    return Feed(file.rows[row], device, START_US + STEP_US * np.arange(load.events))


def bare_model(detector: Detector, feed: Feed, chunk: int, threads: int) -> float:
    """Events a second of encode and classify alone, on chunks of the stream's mean size; the best of three.

    The windows' earlier latents are at hand, as the worker's cache has them.
    """
    torch.set_num_threads(threads)
    source = Source("bench", NO_TOPIC_ID, 0)
    batches = []
    for start in range(0, min(len(feed), 40 * chunk), chunk):
        device = feed.device[start : start + chunk]
        events = Events(
            np.arange(len(device)),
            np.arange(len(device)),
            feed.event_time_us[start : start + chunk],
            [""] * len(device),
            feed.rows[start : start + chunk],
        )
        names, place = np.unique(device, return_inverse=True)
        windows = LAYOUT.blank(len(names), source)
        windows["head"]["count"] = LAYOUT.width
        step = sequence.advance(windows, place, events, idle_us=2**60)
        ring = np.zeros((len(names) * LAYOUT.width, detector.latent_size), np.float32)
        batches.append((events.rows, ring, step.index, step.valid))
    rates = []
    for _ in range(3):
        began_s = time.perf_counter()
        for rows, ring, index, valid in batches:
            detector.classify(np.concatenate([ring, detector.encode(rows)]), index, valid)
        rates.append(sum(len(batch[0]) for batch in batches) / (time.perf_counter() - began_s))
    return max(rates)


def flat_out(worker: WorkerProcess, events: int) -> dict[str, Any]:
    worker.wait_ready()
    begin = wait_for(worker, int(events * WARM))
    end = wait_for(worker, events)
    counted = end["records"] - begin["records"]
    stages = {name: (end["cpu_ns"][name] - begin["cpu_ns"].get(name, 0)) / counted / 1000 for name in STAGES}
    process = (end["process_cpu_ns"] - begin["process_cpu_ns"]) / counted / 1000
    return {
        "events_per_s": round(counted / (end["at_s"] - begin["at_s"])),
        "events_per_turn": round(counted / (end["turns"] - begin["turns"])),
        "stages_us": {
            "poll": round(process - sum(stages.values()), 2),
            **{name: round(value, 2) for name, value in stages.items()},
        },
        "alerts": sum(count for name, count in end["verdicts"].items() if name != NORMAL),
    }


def wait_for(worker: WorkerProcess, records: int) -> dict[str, Any]:
    """The worker's figures once it has worked on so many records, and when that was.

    It is asked less often the further it has to go: answering costs the worker what is measured here.
    """
    first, first_s = -1, time.monotonic()
    last, last_s = -1, first_s
    while True:
        figures = worker.figures()
        now_s = time.monotonic()
        done = figures.get("records", 0)
        if done >= records:
            return {**figures, "at_s": now_s}
        if done > last:
            last, last_s = done, now_s
        if first < 0:
            first, first_s = done, now_s
        if worker.exit_code is not None or now_s - last_s > STALLED_S:
            raise Unavailable(f"the worker stands at {done} of {records} records:\n{worker.log_tail()}")
        to_go_s = (records - done) * (now_s - first_s) / max(done - first, 1)
        time.sleep(min(max(to_go_s / 2, CLOSE_S), APART_S))


def _latencies(parts: Parts, since_us: int) -> dict[str, float]:
    """Milliseconds from producer to alert on the broker, of the paced events alone."""
    found = []
    for message in to_the_end(parts, parts.topics.all_alerts()):
        event_time_us = decode_alert(message.value(), message.headers()).event_time_us
        if event_time_us >= since_us:
            found.append(message.timestamp()[1] - event_time_us / 1000)
    if not found:
        return {}
    p50, p95, p99 = np.percentile(found, [50, 95, 99])
    return {"p50": round(p50, 1), "p95": round(p95, 1), "p99": round(p99, 1), "alerts": len(found)}
