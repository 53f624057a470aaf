"""Very many devices: windows in Redis against a plain recomputation, their size, the worker's memory."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import redis

from bench.feed import START_US, STEP_US, send
from bench.parts import Parts, started
from bench.pipeline import wait_for
from streams.adapters.kafka.topics import topic_id
from streams.adapters.redis.windows import RedisWindows
from streams.client.replaying import Feed, device_name
from streams.codec.ingest.kdd import read_rows
from streams.core.events import Source
from streams.core.kdd99 import KDD99
from streams.core.tables import Rows
from streams.core.windows import WIDTH, WindowLayout, in_order

LAYOUT = WindowLayout(KDD99)


def measure(data: Path, devices: int, events_each: int, cache_mib: int) -> dict[str, Any]:
    """Send `events_each` events of each device, device after device in turn, and look at what is kept."""
    file = read_rows(data, KDD99).rows
    place = np.arange(devices * events_each)
    feed = Feed(file[place % len(file)], place % devices, START_US + STEP_US * place)
    began_s = time.monotonic()
    with started(window_cache_mib=str(cache_mib)) as parts:
        empty_bytes = _used_bytes(parts)
        worker = parts.worker("worker")
        worker.wait_ready()
        ready = worker.figures()
        send(parts.settings, feed)
        done = wait_for(worker, len(feed))
        used = _used_bytes(parts) - empty_bytes
        wrong = _wrong_windows(parts, feed, devices, events_each)
    return {
        "devices": devices,
        "events": len(feed),
        "wrong_windows": wrong,
        "redis_bytes_per_device": round(used / devices),
        "cache_mib": cache_mib,
        "cached_devices": done["cached_devices"],
        "cache_capacity": done["cache_capacity"],
        "rss_mib": {
            "ready": ready["rss_kib"] >> 10,
            "done": done["rss_kib"] >> 10,
            "peak": done["peak_rss_kib"] >> 10,
        },
        "seconds": round(time.monotonic() - began_s, 1),
    }


def _wrong_windows(parts: Parts, feed: Feed, devices: int, events_each: int) -> int:
    """Devices whose stored rows are not their last W events, byte for byte, in order of sending."""
    topic = parts.topics.telemetry
    life, settings = topic_id(parts.settings, topic), parts.settings
    rows: Rows = feed.rows.reshape(events_each, devices)  # event i of every device, then event i + 1
    names = [device_name(number) for number in range(devices)]
    wrong = np.ones(devices, bool)
    with RedisWindows(LAYOUT, settings.redis_url, settings.topic_prefix, 3600, 10) as store:
        for partition in range(parts.telemetry_partitions):
            source = Source(topic, life, partition)
            (values,) = store.load([(source, names)])
            windows = LAYOUT.unpack(values, source)
            for number, held in enumerate(in_order(windows)):
                if values[number] is not None:
                    expected = np.ascontiguousarray(rows[-WIDTH:, number])
                    wrong[number] = held.tobytes() != expected.tobytes()
    return int(wrong.sum())


def _used_bytes(parts: Parts) -> int:
    with redis.Redis.from_url(parts.settings.redis_url) as client:
        return int(client.info("memory")["used_memory"])
