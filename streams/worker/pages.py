"""The worker's pages: /health/live, /health/ready, /metrics and /stats."""

from __future__ import annotations

import dataclasses
import logging
import socket
import time
from collections.abc import Sequence
from typing import Any, Final

import faust
from aiohttp.web import BaseSite, SockSite
from faust.web.drivers.aiohttp import Web

from streams.errors import SettingsError
from streams.settings import Settings
from streams.worker.figures import memory_kib
from streams.worker.health import Health
from streams.worker.metrics import CONTENT_TYPE, Together, Windows, exposition
from streams.worker.process import EX_USAGE, end_now
from streams.worker.served import Served

log: Final = logging.getLogger("autodeep")


def bound(settings: Settings) -> socket.socket:
    """The socket of the pages, which listens once they are there; at `::` for IPv4, too.

    Raises SettingsError where it cannot be had.
    """
    host, port = settings.web_bind, settings.web_port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        opened = socket.socket(family, socket.SOCK_STREAM)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            opened.bind(address)
        except OSError:
            opened.close()
            raise
    except (OSError, UnicodeError) as exc:
        raise SettingsError(_not_bound(settings, exc)) from exc
    return opened


def _not_bound(settings: Settings, problem: Exception) -> str:
    said = getattr(problem, "strerror", None) or problem
    return (
        f"the pages cannot be served at {settings.web_bind} port {settings.web_port}: {said}; "
        "change AUTODEEP_WEB_BIND or AUTODEEP_WEB_PORT"
    )


class _Pages(Web):  # type: ignore[misc, unused-ignore]
    """Faust's web server on a socket of ours."""

    def __init__(self, app: faust.App, opened: socket.socket, settings: Settings) -> None:
        super().__init__(app)
        self._opened = opened
        self._settings = settings

    def _create_site(self) -> BaseSite:
        try:
            self._opened.listen()
        except OSError as exc:  # another process bound the same port, and was faster to listen
            log.error("%s", _not_bound(self._settings, exc))
            end_now(EX_USAGE)
        host, port = self._opened.getsockname()[:2]
        log.info("pages at %s port %d", host, port)
        return SockSite(self._runner, self._opened)


def serve_at(app: faust.App, opened: socket.socket, settings: Settings) -> None:
    """Before any page is added."""
    app.web = _Pages(app, opened, settings)


def add_pages(app: faust.App, health: Health, served: Sequence[Served]) -> None:
    followers = [one.models.follower for one in served if one.models is not None]

    @app.page("/health/live")
    async def live(web: Any, request: Any) -> Any:
        return web.json({"live": health.live}, status=200 if health.live else 503)

    @app.page("/health/ready")
    async def ready(web: Any, request: Any) -> Any:
        unready = health.unready
        detail = next((one.problem for one in followers if one.problem is not None), None)
        return web.json(
            {"ready": unready is None, "why_not": unready, "role": health.role, "detail": detail},
            status=200 if unready is None else 503,
        )

    together = Together([one.detection for one in served])
    scraped = exposition(health, together, lambda: [one.admission.ref for one in served])

    @app.page("/metrics")
    async def metrics(web: Any, request: Any) -> Any:
        return web.bytes(scraped(), headers={"Content-Type": CONTENT_TYPE})

    @app.page("/stats")
    async def stats(web: Any, request: Any) -> Any:
        models = {one.detection.topic: _model(one) for one in served}
        first = next(iter(models.values()))
        return web.json({**stats_of(health, together), "model": first, "models": models})


def _model(served: Served) -> dict[str, object]:
    if served.models is not None:
        return served.models.follower.figures()
    return dataclasses.asdict(served.admission.ref)


def stats_of(health: Health, detection: Windows) -> dict[str, object]:
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
