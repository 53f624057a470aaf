"""The worker's pages: /health/live, /health/ready, /metrics and /stats."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import faust

from streams.pipeline.detection import Detection
from streams.rollout.admission import Admission
from streams.worker.figures import memory_kib
from streams.worker.health import Health
from streams.worker.metrics import CONTENT_TYPE, exposition
from streams.worker.models import WorkerModels


def add_pages(
    app: faust.App, health: Health, detection: Detection, admission: Admission, models: WorkerModels | None
) -> None:
    follower = models.follower if models is not None else None

    @app.page("/health/live")
    async def live(web: Any, request: Any) -> Any:
        return web.json({"live": health.live}, status=200 if health.live else 503)

    @app.page("/health/ready")
    async def ready(web: Any, request: Any) -> Any:
        unready = health.unready
        detail = follower.problem if follower is not None else None
        return web.json(
            {"ready": unready is None, "why_not": unready, "role": health.role, "detail": detail},
            status=200 if unready is None else 503,
        )

    scraped = exposition(health, detection, lambda: admission.ref)

    @app.page("/metrics")
    async def metrics(web: Any, request: Any) -> Any:
        return web.bytes(scraped(), headers={"Content-Type": CONTENT_TYPE})

    @app.page("/stats")
    async def stats(web: Any, request: Any) -> Any:
        model = follower.figures() if follower is not None else dataclasses.asdict(admission.ref)
        return web.json({**stats_of(health, detection), "model": model})


def stats_of(health: Health, detection: Detection) -> dict[str, object]:
    """The totals and what the process has used, as one JSON object."""
    rss_kib, peak_rss_kib = memory_kib()
    cache = detection.cache_figures
    return {
        **health.figures(),
        "rebuilt_windows": detection.recovered.windows,
        "process_cpu_ns": time.process_time_ns(),
        "cached_devices": cache.devices,
        "cache_capacity": cache.capacity,
        "rss_kib": rss_kib,
        "peak_rss_kib": peak_rss_kib,
    }
