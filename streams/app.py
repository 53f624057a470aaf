"""The composition root: settings in, a running worker out.

Faust brings the group, the rebalances, the commits and the web server; what an event means is the pipeline's.
"""

from __future__ import annotations

import asyncio
import logging
import logging.config
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

import faust
import torch

from streams import __version__
from streams.codec.registry import ConfluentRegistry, confluent_registry
from streams.codec.schemas import ALERT, load, load_folder
from streams.codec.telemetry import TelemetryDecoder
from streams.core.detector import Detector
from streams.core.events import Chunk, Source
from streams.core.patience import BackOff
from streams.core.topics import Topics
from streams.core.window_cache import WindowCache
from streams.errors import SettingsError, Unavailable
from streams.kafka.faust_app import app_settings, poll_topic
from streams.kafka.publisher import KafkaPublisher
from streams.kafka.topics import topic_id, wait_for_broker
from streams.kafka.transport import Poll
from streams.pipeline import Computed, Pipeline, Ports, Rules
from streams.settings import Settings
from streams.store import open_store
from streams.windows_redis import RedisWindows
from streams.worker import Worker

log: Final = logging.getLogger("autodeep")

EX_SOFTWARE: Final = 70


def run_worker(settings: Settings, log_level: str) -> NoReturn:
    """Check that everything is there, then classify until a signal comes; ends the process."""
    logging.config.dictConfig(_logging(log_level))
    torch.set_num_threads(settings.torch_threads)
    detector = open_store(settings.model_store).load(settings.model).at(settings.operating_point)
    identity = detector.identity
    log.info(
        "serving model %s/%s (%s), operating point %s",
        identity.name,
        identity.version,
        identity.digest[:12],
        detector.operating_point,
    )
    worker = Worker()
    with ExitStack() as parts:
        pipeline = build_pipeline(settings, worker, lambda: detector, parts)
        app = create_app(settings, worker)
        worker.serve(pipeline)
        _Process(app, worker, settings.stop_timeout_s, log_level).execute_from_commandline()
    raise SystemExit(0)


def build_pipeline(
    settings: Settings, worker: Worker, detector: Callable[[], Detector], parts: ExitStack
) -> Pipeline:
    """The path of one worker on real adapters, which `parts` closes.

    Raises BrokerUnavailable or WindowStoreUnavailable where one does not answer within `start_timeout_s`.
    """
    starting = BackOff(_sleep_until(time.monotonic() + settings.start_timeout_s), _say_away)
    topics = Topics(settings.topic_prefix)
    ttl_s = settings.window_ttl_days * 86_400
    store = parts.enter_context(
        RedisWindows(settings.redis_url, settings.topic_prefix, ttl_s, settings.network_timeout_s)
    )
    starting(store.ping)
    wait_for_broker(settings, starting)
    url = settings.schema_registry_url
    registry = confluent_registry(url, settings.network_timeout_s) if url else None
    ports = Ports(
        decoder=_decoder(settings, registry),
        store=store,
        publisher=parts.enter_context(KafkaPublisher(settings)),
        patience=BackOff(worker.wait, _noting(worker)),
        clock_us=lambda: time.time_ns() // 1000,
    )
    rules = Rules(
        topics=topics,
        idle_us=int(settings.window_idle_s * 1e6),
        alert_format=settings.alert_format,
        alert_schema_id=starting(lambda: _alert_schema_id(topics, registry)),
        publish_classified=settings.publish_classified,
        version=__version__,
    )
    return Pipeline(ports, rules, _cache(settings, detector().latent_size), detector)


def _cache(settings: Settings, latent_size: int) -> WindowCache:
    cache = WindowCache(settings.window_cache_mib << 20, latent_size)
    if cache.capacity < settings.chunk_max_records:
        raise SettingsError(
            f"AUTODEEP_WINDOW_CACHE_MIB={settings.window_cache_mib} holds {cache.capacity} devices, fewer "
            f"than AUTODEEP_CHUNK_MAX_RECORDS={settings.chunk_max_records}: raise the one or lower the other"
        )
    return cache


def _decoder(settings: Settings, registry: ConfluentRegistry | None) -> TelemetryDecoder:
    """Our own writer schemas, those of the producers' folder, and the registry's where one is set."""
    others = load_folder(Path(settings.writer_schemas)) if settings.writer_schemas else ()
    return TelemetryDecoder(others, registry, settings.device_id_max_bytes)


def _alert_schema_id(topics: Topics, registry: ConfluentRegistry | None) -> int | None:
    """The id under which consumers find the Alert schema in the registry, registered if need be."""
    if registry is None:
        return None
    subjects = [f"{topic}-value" for topic in (*topics.all_alerts(), topics.classified)]
    return registry.register(subjects, load(ALERT))


def create_app(settings: Settings, worker: Worker) -> faust.App:
    """The Faust app: one agent, the hooks of a rebalance, and the pages of health."""
    telemetry = Topics(settings.topic_prefix).telemetry
    app = faust.App(settings.group, **app_settings(settings))
    patience = BackOff(worker.wait, _noting(worker))
    life = TopicLife(lambda: patience(lambda: topic_id(settings, telemetry)))
    _add_agent(app, telemetry, life, worker)
    _add_hooks(app, telemetry, life, worker)
    _add_pages(app, worker)
    return app


class TopicLife:
    """Which life of the topic a poll belongs to: the topic's id, asked for anew after each assignment.

    It is asked for again where offsets run backwards, as they do when the topic was deleted and made again.
    """

    def __init__(self, ask: Callable[[], uuid.UUID]) -> None:
        self._ask = ask
        self._id: uuid.UUID | None = None
        self._next_offset: dict[int, int] = {}

    def forget(self) -> None:
        self._id = None
        self._next_offset.clear()

    async def source(self, poll: Poll) -> Source:
        if poll.records[0].offset < self._next_offset.get(poll.partition, 0):
            self.forget()
        if self._id is None:
            self._id = await asyncio.get_running_loop().run_in_executor(None, self._ask)
        self._next_offset[poll.partition] = poll.records[-1].offset + 1
        return Source(poll.topic, self._id, poll.partition)


def _add_agent(app: faust.App, telemetry: str, life: TopicLife, worker: Worker) -> None:
    @app.agent(poll_topic(app, telemetry), name="classify")
    async def classify(polls: faust.StreamT[Poll]) -> None:
        """Computes each poll while the one before is delivered, and acknowledges in order."""
        delivery: asyncio.Future[None] | None = None
        async for event in polls.noack().events():
            with _ending_on_errors():
                poll = event.value
                chunk = Chunk(await life.source(poll), poll.records, poll.end_offset)
                computed = await worker.compute(chunk)
                if delivery is not None:
                    await delivery
                delivery = asyncio.ensure_future(deliver(event, computed))

    async def deliver(event: Any, computed: Computed) -> None:
        with _ending_on_errors():
            await worker.deliver(computed)
            event.ack()


@contextmanager
def _ending_on_errors() -> Iterator[None]:
    """Whatever goes wrong with a chunk ends the process before anything of it could be acknowledged."""
    try:
        yield
    except Unavailable as exc:
        log.warning("stopping with a chunk unfinished; it will be read again: %s", exc)
        _end(exc.exit_code)
    except asyncio.CancelledError:
        raise
    except BaseException:
        log.exception("unexpected: this worker ends, and the chunk will be read again")
        _end(EX_SOFTWARE)


def _add_hooks(app: faust.App, telemetry: str, life: TopicLife, worker: Worker) -> None:
    async def revoked(sender: Any, revoked: Any = (), **kwargs: Any) -> None:
        await worker.revoked()

    async def assigned(sender: Any, assigned: Any = (), **kwargs: Any) -> None:
        mine = sorted(tp.partition for tp in assigned if tp.topic == telemetry)
        log.info("partitions of %s: %s", telemetry, mine or "none")
        life.forget()
        worker.assigned(frozenset(mine))

    app.on_partitions_revoked.connect(revoked, weak=False)
    app.on_partitions_assigned.connect(assigned, weak=False)


def _add_pages(app: faust.App, worker: Worker) -> None:
    @app.page("/health/live")
    async def live(web: Any, request: Any) -> Any:
        return web.json({"live": worker.live}, status=200 if worker.live else 503)

    @app.page("/health/ready")
    async def ready(web: Any, request: Any) -> Any:
        unready = worker.unready
        return web.json(
            {"ready": unready is None, "why_not": unready}, status=200 if unready is None else 503
        )

    @app.page("/stats")
    async def stats(web: Any, request: Any) -> Any:
        return web.json(worker.figures())


class _Process(faust.Worker):  # type: ignore[misc, unused-ignore]
    """Faust's process shell; a signal also ends the waiting for what is away, and the stop has a deadline."""

    def __init__(self, app: faust.App, worker: Worker, stop_timeout_s: float, log_level: str) -> None:
        super().__init__(
            app, loglevel=log_level, quiet=True, redirect_stdouts=False, logging_config=_logging(log_level)
        )
        self._classifying = worker
        self._deadline = threading.Timer(stop_timeout_s, _end_late, (stop_timeout_s,))
        self._deadline.daemon = True

    def _on_sigint(self) -> None:
        self._stop_soon()
        super()._on_sigint()

    def _on_sigterm(self) -> None:
        self._stop_soon()
        super()._on_sigterm()

    def _stop_soon(self) -> None:
        if not self._classifying.stopping.is_set():
            self._classifying.stopping.set()
            self._deadline.start()


def _end_late(stop_timeout_s: float) -> None:
    log.error("did not stop within %g s (AUTODEEP_STOP_TIMEOUT_S): ending as it is", stop_timeout_s)
    _end(EX_SOFTWARE)


def _logging(level: str) -> dict[str, Any]:
    """Our own lines at the level asked for; Faust's and aiokafka's only where they warn, or all for DEBUG."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "loggers": {"autodeep": {"level": level}},
        "root": {"level": "DEBUG" if level == "DEBUG" else "WARNING", "handlers": ["stderr"]},
    }


def _end(exit_code: int) -> NoReturn:
    """End the process at once: any gentler way commits the chunk in hand (docs/decisions)."""
    logging.shutdown()
    sys.stderr.flush()
    os._exit(exit_code)


def _say_away(problem: Unavailable | None) -> None:
    if problem is not None:
        log.warning("%s; trying again", problem)


def _noting(worker: Worker) -> Callable[[Unavailable | None], None]:
    def note(problem: Unavailable | None) -> None:
        _say_away(problem)
        worker.note_away(problem)

    return note


def _sleep_until(deadline_s: float) -> Callable[[float], bool]:
    """A wait for a start: sleeps so long, and says True once the deadline has passed."""

    def wait(pause_s: float) -> bool:
        time.sleep(max(0.0, min(pause_s, deadline_s - time.monotonic())))
        return time.monotonic() >= deadline_s

    return wait
