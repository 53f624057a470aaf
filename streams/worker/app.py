"""The composition root: settings in, a running worker out.

Faust brings the group, the rebalances, the commits and the web server; what an event means is the pipeline's.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import logging.config
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NoReturn

import faust
import torch

from streams import __version__
from streams.adapters.kafka.faust_app import app_settings, poll_topic
from streams.adapters.kafka.history import KafkaHistory
from streams.adapters.kafka.model_topics import follow_states
from streams.adapters.kafka.publisher import KafkaPublisher
from streams.adapters.kafka.topics import TopicIds, check_rights, wait_for_broker
from streams.adapters.kafka.transport import Poll, RebalanceBegins
from streams.adapters.redis.windows import RedisWindows
from streams.adapters.registry import ConfluentRegistry, confluent_registry
from streams.adapters.store.models import open_store
from streams.codec.avro.schemas import ALERT, load, load_folder
from streams.codec.ingest.telemetry import TelemetryDecoder
from streams.core.events import Chunk, Source
from streams.core.kdd99 import KDD99
from streams.core.patience import BackOff
from streams.core.topics import Topics
from streams.core.windows import WindowLayout
from streams.errors import SettingsError, Unavailable
from streams.pipeline.alerting import Rules
from streams.pipeline.cache import WindowCache
from streams.pipeline.detection import Computed, Judges, Pipeline, Ports
from streams.pipeline.recovery import Recovery, RecoveryParts
from streams.rollout.serving import Serving, of_table
from streams.settings import Settings
from streams.worker.metrics import CONTENT_TYPE, exposition
from streams.worker.models import Waiting, WorkerModels, assemble, challenged
from streams.worker.process import WorkerShell, ending, log_config, start_watch
from streams.worker.worker import Worker

log: Final = logging.getLogger("autodeep")

LAYOUT: Final = WindowLayout(KDD99)
"""Of the topic of telemetry: what its records describe an event by, and how many events a window keeps."""


def run_worker(settings: Settings, log_level: str) -> NoReturn:
    """Check that everything is there, then classify until a signal comes; ends the process."""
    logging.config.dictConfig(log_config(log_level))
    torch.set_num_threads(settings.torch_threads)
    store = open_store(settings.model_store, settings.model_trust_key)
    detector = of_table(store.load(settings.model), LAYOUT.table)
    serving = Serving(detector.at(settings.operating_point))
    worker = Worker()
    with ExitStack() as parts:
        challenge, shadow = challenged(settings, parts)
        judges = Judges(serving.judge, challenge.canary, shadow.watch)
        pipeline = build_pipeline(settings, worker, judges, serving().latent_size, parts)
        at_start = BackOff(_sleep_until(time.monotonic() + settings.start_timeout_s), _say_away)
        waiting = Waiting(at_start, worker.wait, worker.turnstile)
        models = assemble(settings, store, serving, challenge, waiting, parts)
        log.info("serving model %s/%s (%s)", serving.ref.name, serving.ref.version, serving.ref.digest[:12])
        app = create_app(settings, worker, serving, models)
        worker.serve(pipeline, None if models is None else models.entry)
        start_watch(worker, settings)
        shell = WorkerShell(app, worker, settings.stop_timeout_s, log_level)
        shell.execute_from_commandline()
    raise SystemExit(0)


def build_pipeline(
    settings: Settings, worker: Worker, judges: Judges, latent_size: int, parts: ExitStack
) -> Pipeline:
    """The path of one worker on real adapters, which `parts` closes.

    Raises BrokerUnavailable or WindowStoreUnavailable where one does not answer within `start_timeout_s`.
    """
    starting = BackOff(_sleep_until(time.monotonic() + settings.start_timeout_s), _say_away)
    topics = Topics(settings.topic_prefix)
    ttl_s = settings.window_ttl_days * 86_400
    store = parts.enter_context(
        RedisWindows(
            LAYOUT,
            settings.redis_url,
            settings.topic_prefix,
            ttl_s,
            settings.network_timeout_s,
            settings.redis_ca_file,
        )
    )
    starting(store.ping)
    wait_for_broker(settings, starting)
    starting(lambda: check_rights(settings))
    url = settings.schema_registry_url
    registry = confluent_registry(url, settings.network_timeout_s) if url else None
    decoder = _decoder(settings, registry)
    ports = Ports(
        decoder=decoder,
        store=store,
        publisher=parts.enter_context(KafkaPublisher(settings)),
        patience=BackOff(worker.wait, _noting(worker)),
        clock_us=lambda: time.time_ns() // 1000,
        recovery=_recovery(settings, store, decoder, worker),
    )
    rules = Rules(
        topics=topics,
        idle_us=int(settings.window_idle_s * 1e6),
        alert_format=settings.alert_format,
        alert_schema_id=starting(lambda: _alert_schema_id(topics, registry)),
        publish_classified=settings.publish_classified,
        version=__version__,
        explain_share=settings.explain_share,
        new_devices_per_s=settings.new_devices_per_s,
    )
    return Pipeline(ports, rules, _cache(settings, latent_size), judges)


def _cache(settings: Settings, latent_size: int) -> WindowCache:
    cache = WindowCache(LAYOUT, settings.window_cache_mib << 20, latent_size)
    if cache.capacity < settings.chunk_max_records:
        raise SettingsError(
            f"AUTODEEP_WINDOW_CACHE_MIB={settings.window_cache_mib} holds {cache.capacity} devices, fewer "
            f"than AUTODEEP_CHUNK_MAX_RECORDS={settings.chunk_max_records}: raise the one or lower the other"
        )
    return cache


def _decoder(settings: Settings, registry: ConfluentRegistry | None) -> TelemetryDecoder:
    """Our own writer schemas, those of the producers' folder, and the registry's where one is set."""
    others = load_folder(Path(settings.writer_schemas)) if settings.writer_schemas else ()
    return TelemetryDecoder(LAYOUT.table, others, registry, settings.device_id_max_bytes)


def _recovery(
    settings: Settings, store: RedisWindows, decoder: TelemetryDecoder, worker: Worker
) -> Recovery | None:
    if not settings.rebuild_windows_records:
        return None
    parts = RecoveryParts(LAYOUT, store, KafkaHistory(settings), decoder, log.warning, worker.progressed)
    return Recovery(parts, settings.rebuild_windows_records, int(settings.window_idle_s * 1e6))


def _alert_schema_id(topics: Topics, registry: ConfluentRegistry | None) -> int | None:
    """The id under which consumers find the Alert schema in the registry, registered if need be."""
    if registry is None:
        return None
    subjects = [f"{topic}-value" for topic in (*topics.all_alerts(), topics.classified)]
    return registry.register(subjects, load(ALERT))


def create_app(
    settings: Settings, worker: Worker, serving: Serving, models: WorkerModels | None = None
) -> faust.App:
    """The Faust app: the agent of events, that of models, the hooks of a rebalance, the pages of health."""
    telemetry = Topics(settings.topic_prefix).telemetry
    app = faust.App(settings.group, **app_settings(settings))
    patience, topic_ids = BackOff(worker.wait, _noting(worker)), TopicIds(settings)
    app.ask_topic_id = lambda topic: patience(lambda: topic_ids(topic))
    app.note_read = worker.note_read
    _add_agent(app, telemetry, worker)
    if models is not None:
        _add_models(app, settings, models, worker)
    _add_hooks(app, telemetry, worker)
    _add_pages(app, worker, serving, models)
    return app


def _add_agent(app: faust.App, telemetry: str, worker: Worker) -> None:
    @app.agent(poll_topic(app, telemetry), name="classify")
    async def classify(polls: faust.StreamT[Poll]) -> None:
        """Computes each poll while the one before is delivered, and acknowledges in order."""
        delivery: asyncio.Future[None] | None = None
        async for event in polls.noack().events():
            with ending("chunk"):
                poll = event.value
                source = Source(poll.topic, poll.topic_id, poll.partition)
                chunk = Chunk(source, poll.records, poll.end_offset)
                parts = await worker.parts(chunk)
                for number, part in enumerate(parts or (), start=1):
                    computed = await worker.compute(part)
                    if delivery is not None:
                        await delivery
                        delivery = None
                    if computed is None:
                        parts = None
                        break
                    is_last = parts is not None and number == len(parts)
                    delivery = asyncio.ensure_future(deliver(event if is_last else None, computed))
                if parts is None:
                    app.consumer.give_up(event.message)

    async def deliver(event: Any, computed: Computed) -> None:
        """A poll's last part brings its event, which is then acknowledged."""
        with ending("chunk"):
            await worker.deliver(computed)
            if event is not None:
                event.ack()


def _add_models(app: faust.App, settings: Settings, models: WorkerModels, worker: Worker) -> None:
    """The agent of models decides in a thread of its own; every worker follows what was decided."""
    thread = ThreadPoolExecutor(1, thread_name_prefix="decide")

    @app.agent(poll_topic(app, Topics(settings.topic_prefix).model_commands), name="models")
    async def decide(polls: faust.StreamT[Poll]) -> None:
        async for event in polls.noack().events():
            with ending("model command"):
                if await asyncio.get_running_loop().run_in_executor(thread, carry_out, event.value):
                    event.ack()
                else:
                    app.consumer.give_up(event.message)

    def carry_out(poll: Poll) -> bool:
        """Whether all were carried out. Of those that are read again, the answered are known by their ids."""
        where = f"{poll.topic}-{poll.partition}"
        return all(
            not worker.turnstile.pause(0) and models.agent.carry_out(record.value, f"{where}@{record.offset}")
            for record in poll.records
        )

    @app.task
    async def follow() -> None:
        await follow_states(settings, models.follower.offer)


def _add_hooks(app: faust.App, telemetry: str, worker: Worker) -> None:
    async def revoked(sender: Any, revoked: Any = (), **kwargs: Any) -> None:
        await worker.revoked()

    async def assigned(sender: Any, assigned: Any = (), **kwargs: Any) -> None:
        mine = sorted(tp.partition for tp in assigned if tp.topic == telemetry)
        log.info("partitions of %s: %s", telemetry, mine or "none")
        worker.assigned(frozenset(mine))

    app.task(worker.turn)
    app.sensors.add(RebalanceBegins(worker.turnstile.leave))
    app.on_partitions_revoked.connect(revoked, weak=False)
    app.on_partitions_assigned.connect(assigned, weak=False)


def _add_pages(app: faust.App, worker: Worker, serving: Serving, models: WorkerModels | None) -> None:
    follower = models.follower if models is not None else None

    @app.page("/health/live")
    async def live(web: Any, request: Any) -> Any:
        return web.json({"live": worker.live}, status=200 if worker.live else 503)

    @app.page("/health/ready")
    async def ready(web: Any, request: Any) -> Any:
        unready = worker.unready
        detail = follower.problem if follower is not None else None
        return web.json(
            {"ready": unready is None, "why_not": unready, "detail": detail},
            status=200 if unready is None else 503,
        )

    scraped = exposition(worker, lambda: serving.ref)

    @app.page("/metrics")
    async def metrics(web: Any, request: Any) -> Any:
        return web.bytes(scraped(), headers={"Content-Type": CONTENT_TYPE})

    @app.page("/stats")
    async def stats(web: Any, request: Any) -> Any:
        model = follower.figures() if follower is not None else dataclasses.asdict(serving.ref)
        return web.json({**worker.figures(), "model": model})


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
