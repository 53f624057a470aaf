"""Zeek's records on an unkeyed topic of Kafka to verdicts, by one worker that re-keys and judges.

All records wait on the broker before the worker starts; some come twice, under new uids, and some late. The
rate is that of judged flows between the first tenth and the last, and `ratio` is to the bare model on turns
of the same size. `stages_us` are CPU microseconds of a flow of a device: `rekey` of the hop's threads, `rest`
is the worker's process without all of these (fetching, event loop, commits, librdkafka's threads). Then
records come at half of the rate, or at the one given; the latency is from the sensor's record, by the
broker's clock, to its verdict. Every verdict is published, or the alerts alone, as by default.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import redis
import torch
from confluent_kafka import Message

from bench.flow_feed import FlowLoad, send_records, zeek_records
from bench.flows_parity import SENSORS, with_flows
from bench.output import appended_us, to_the_end
from bench.parts import Parts
from streams.adapters.store.models import open_store
from streams.codec import device_flows
from streams.codec.output.alerts import decode_alert
from streams.core import windows as sequence
from streams.core.events import NO_TOPIC_ID, Events, Source
from streams.core.flow.keeping import WINDOWS
from streams.core.flow.table import FLOW
from streams.core.topics import NORMAL
from streams.embedded.workers import WorkerProcess
from streams.errors import Unavailable
from streams.model.detector import Detector
from streams.model.gate import standard_rows
from streams.pipeline.reports import STAGES

WARM: Final = 0.1
STALLED_S: Final = 60.0
LOOK_S: Final = 0.1
"""To ask a worker costs it a millisecond."""
QUIET_S: Final = 3.0
"""So long without a flow, and all that was sent is judged: how many count is not known before."""


@dataclass(frozen=True, slots=True)
class Measured:
    """How long records come at which rate, half of the capacity where it is 0; what is published."""

    latency_s: float
    per_s: float = 0.0
    alerts_only: bool = False


def measure(data: Path, load: FlowLoad, measured: Measured, folder: Path) -> dict[str, Any]:
    records = zeek_records(data, load)
    classified = str(not measured.alerts_only).lower()
    with with_flows(folder, publish_classified=classified) as parts:
        servers = parts.settings.kafka_servers
        send_records(servers, SENSORS, records)
        worker = parts.worker("worker")
        flat = _flat_out(worker, len(records))
        rate = flat["flows_per_s"]
        half = rate / 2 * len(records) / max(flat["flows"], 1)  # a record may be of several devices
        paced_rate = measured.per_s or half
        since_us = time.time_ns() // 1000
        paced = zeek_records(
            data, FlowLoad(max(int(paced_rate * measured.latency_s), 100), load.copies, seed=2)
        )
        send_records(servers, SENSORS, paced, paced_rate)
        _wait_quiet(worker, len(records) + len(paced))
        said = parts.topics.all_alerts() if measured.alerts_only else [parts.topics.classified]
        latency_ms = _latencies(parts, since_us, said)
        peak_rss_kib = worker.figures()["peak_rss_kib"]
        worker.stop()
        detector = open_store(parts.settings.model_store).load(parts.settings.flow_model)
        bare = _bare_model(detector, flat["flows_per_turn"], flat["flows_per_turn"] // 2 + 1)
        bytes_per_device = _bytes_per_device(parts)
    return {
        "records": len(records),
        "repeated": load.repeated,
        "late": load.late,
        **flat,
        "model": f"{detector.identity.name}/{detector.identity.version}",
        "model_flows_per_s": round(bare),
        "ratio": round(rate / bare, 3),
        "latency_records_per_s": round(paced_rate),
        "latency_ms": latency_ms,
        "bytes_per_device": bytes_per_device,
        "peak_rss_mib": round(peak_rss_kib / 1024),
    }


def _flat_out(worker: WorkerProcess, records: int) -> dict[str, Any]:
    worker.wait_ready()
    begin = _wait(worker, int(records * WARM))
    end = _wait_quiet(worker, records)
    judged = end["classified"] - begin["classified"]
    if not judged:
        raise Unavailable(f"all {end['classified']} flows were judged at once: send more --records")
    stages = {name: (end["cpu_ns"][name] - begin["cpu_ns"].get(name, 0)) / judged / 1000 for name in STAGES}
    hop_ns = _hop(end)["cpu_ns"] - _hop(begin)["cpu_ns"]
    stages = {"rekey": hop_ns / judged / 1000, **stages}
    process = (end["process_cpu_ns"] - begin["process_cpu_ns"]) / judged / 1000
    verdicts = end["verdicts"]
    return {
        "flows": end["classified"],
        "devices": end["new_devices"],
        "duplicates": end["duplicates"],
        "flows_per_s": round(judged / (end["at_s"] - begin["at_s"])),
        "flows_per_turn": round(judged / max(end["turns"] - begin["turns"], 1)),
        "stages_us": {name: round(value, 2) for name, value in stages.items()}
        | {"rest": round(process - sum(stages.values()), 2)},
        "alerts": sum(count for name, count in verdicts.items() if name != NORMAL),
    }


def _hop(figures: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = figures["flows"][SENSORS]
    return found


def _wait(worker: WorkerProcess, records: int) -> dict[str, Any]:
    """The worker's figures once so many sensors' records were given to their devices and some were judged."""
    last_s, last = time.monotonic(), -1
    while True:
        figures = worker.figures()
        done = figures.get("flows", {}).get(SENSORS, {}).get("records", 0)
        if done >= records and figures["classified"] > 0:
            return {**figures, "at_s": time.monotonic()}
        if done > last:
            last, last_s = done, time.monotonic()
        if worker.exit_code is not None or time.monotonic() - last_s > STALLED_S:
            raise Unavailable(f"the worker stands at {done} of {records} records:\n{worker.log_tail()}")
        time.sleep(LOOK_S)


def _wait_quiet(worker: WorkerProcess, records: int) -> dict[str, Any]:
    """Once all were given to their devices, and nothing was judged for a while: as of the last turn."""
    figures = _wait(worker, records)
    while time.monotonic() - figures["at_s"] < QUIET_S:
        now = worker.figures()
        if now["records"] > figures["records"]:
            figures = {**now, "at_s": time.monotonic()}
        time.sleep(LOOK_S)
    return figures


def _latencies(parts: Parts, since_us: int, said: Sequence[str]) -> dict[str, float]:
    """From when the broker had the sensor's record, to when it had the verdict, on the topics `said`."""
    sensed: dict[str, int] = {}
    for message in to_the_end(parts, [SENSORS]):
        sensed[_uid(message)] = appended_us(message)
    flow_of: dict[tuple[int, int], str] = {}
    for message in to_the_end(parts, [parts.topics.flows]):
        place = message.partition() or 0, message.offset() or 0
        flow_of[place] = device_flows.decode(message.value()).flow_id
    found = []
    for message in to_the_end(parts, said):
        alert = decode_alert(message.value(), message.headers())
        begun_us = sensed.get(flow_of[alert.partition, alert.offset], 0)
        if begun_us >= since_us:
            found.append((appended_us(message) - begun_us) / 1000)
    if not found:
        return {}
    p50, p95, p99 = np.percentile(found, [50, 95, 99])
    return {"p50": round(p50, 1), "p95": round(p95, 1), "p99": round(p99, 1), "flows": len(found)}


def _uid(message: Message) -> str:
    value = message.value() or b""
    return value.partition(b'"uid": "')[2].partition(b'"')[0].decode()


def _bare_model(detector: Detector, turn: int, devices: int) -> float:
    """Flows a second of encode and classify alone, on turns of the stream's mean size; the best of three.

    The windows' earlier latents are at hand, as the worker's cache has them.
    """
    torch.set_num_threads(1)
    rows = standard_rows(FLOW, turn)
    windows = WINDOWS.blank(devices, Source("bench", NO_TOPIC_ID, 0))
    windows["head"]["count"] = WINDOWS.width
    number = np.arange(turn)
    events = Events(number, number, number, [""] * turn, rows)
    step = sequence.advance(windows, number % devices, events, idle_us=2**60)
    ring = np.zeros((devices * WINDOWS.width, detector.latent_size), np.float32)
    index, valid = step.index[:, -detector.width :], step.valid[:, -detector.width :]
    rates = []
    for _ in range(3):
        began_s, done = time.perf_counter(), 0
        while done < 20_000:
            detector.classify(np.concatenate([ring, detector.encode(rows)]), index, valid)
            done += turn
        rates.append(done / (time.perf_counter() - began_s))
    return max(rates)


def _bytes_per_device(parts: Parts) -> float:
    """As Redis says: of a key with its value, the mean of all."""
    with redis.Redis.from_url(parts.settings.redis_url) as client:
        pattern = f"{parts.topics.prefix}:w:{{{parts.topics.flows}-*"
        sizes = [client.memory_usage(key) for key in client.scan_iter(match=pattern, count=1000)]
    return round(float(np.mean([size for size in sizes if size is not None])), 1)
