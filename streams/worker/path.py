"""The path of one worker on real adapters: settings in, a detection processor out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from streams import __version__
from streams.adapters.decoding import decoder_of
from streams.adapters.kafka.history import KafkaHistory
from streams.adapters.kafka.limits import TopicLimits, check_limits
from streams.adapters.kafka.publisher import KafkaPublisher
from streams.adapters.kafka.rights import check_rights
from streams.adapters.kafka.topics import wait_for_broker
from streams.adapters.redis.windows import RedisWindows
from streams.adapters.registry import ConfluentRegistry, registry_of
from streams.codec.avro.schemas import ALERT, INCIDENT, load
from streams.codec.ingest.telemetry import TelemetryDecoder
from streams.codec.output.alerts import AlertFormat, AlertOutput, Output
from streams.codec.output.projections import Projection
from streams.core.incident_rules import IncidentRules
from streams.core.patience import BackOff
from streams.core.severity import Severity, severities_by_class
from streams.core.topics import Topics
from streams.core.windows import WindowLayout
from streams.errors import SettingsError, Unavailable
from streams.pipeline.alerting import Rules
from streams.pipeline.cache import WindowCache
from streams.pipeline.detection import Detection, Ports, Watchers
from streams.pipeline.recovery import Recovery, RecoveryParts
from streams.rollout.admission import Admission
from streams.settings import Settings
from streams.worker.health import Health
from streams.worker.probes import Probe
from streams.worker.redis_watch import RedisWatch

log: Final = logging.getLogger("autodeep")


@dataclass(frozen=True, slots=True)
class Judging:
    """Which model judges what, and who looks on."""

    admission: Admission
    watchers: Watchers


def build_detection(
    settings: Settings, layout: WindowLayout, judging: Judging, health: Health, parts: ExitStack
) -> Detection:
    """Of a topic whose records are of the layout's table; `parts` closes what is opened.

    Raises BrokerUnavailable or WindowStoreUnavailable where one does not answer within `start_timeout_s`.
    """
    by_class = severities_by_class(settings.severities)
    starting = at_start(settings)
    topics = Topics(settings.topic_prefix)
    ttl_s = settings.window_ttl_days * 86_400
    store = parts.enter_context(
        RedisWindows(
            layout,
            settings.redis_url,
            settings.topic_prefix,
            ttl_s,
            settings.network_timeout_s,
            settings.redis_ca_file,
        )
    )
    starting(store.ping)
    RedisWatch(store, settings.group, health).start(starting)
    health.probes.append(Probe(f"Redis at {store.address} (AUTODEEP_REDIS_URL)", store.ping))
    wait_for_broker(settings, starting)
    starting(lambda: check_rights(settings))
    limits = TopicLimits(settings)
    check_limits(settings, limits)
    registry = registry_of(settings) if settings.schema_registry_url else None
    decoder = decoder_of(settings, layout.table, registry)
    ports = Ports(
        decoder=decoder,
        store=store,
        publisher=parts.enter_context(KafkaPublisher(settings, limits)),
        patience=waiting(health),
        clock_us=lambda: time.time_ns() // 1000,
        recovery=_recovery(settings, layout, store, decoder, health),
    )
    rules = Rules(
        topics=topics,
        idle_us=int(settings.window_idle_s * 1e6),
        outputs=starting(lambda: outputs_of(settings, registry, by_class)),
        publish_classified=settings.publish_classified,
        version=__version__,
        explain_share=settings.explain_share,
        new_devices_per_s=settings.new_devices_per_s,
        incidents=incident_rules(settings),
        severities=by_class,
        incident_explain_share=settings.incident_explain_share,
    )
    cache = _cache(settings, layout, judging.admission.serving.latent_size)
    return Detection(ports, rules, cache, judging.admission, judging.watchers)


def at_start(settings: Settings) -> BackOff:
    """Waits until the start's deadline, from now on."""
    return BackOff(_sleep_until(time.monotonic() + settings.start_timeout_s), log_unavailable)


def waiting(health: Health) -> BackOff:
    """Waits until the worker stops, and says so on the page of health."""

    said = Said()

    def note(problem: Unavailable | None) -> None:
        said(problem)
        health.note_away(problem)

    return BackOff(health.wait, note)


def incident_rules(settings: Settings) -> IncidentRules | None:
    if not settings.incidents:
        return None
    return IncidentRules(
        quiet_us=int(settings.incident_quiet_s * 1e6),
        update_us=int(settings.incident_update_s * 1e6),
        reopen_us=int(settings.incident_reopen_s * 1e6),
        novel_least=settings.incident_novel_least,
    )


def _cache(settings: Settings, layout: WindowLayout, latent_size: int) -> WindowCache:
    least = settings.chunk_max_records
    cache = WindowCache(layout, settings.window_cache_mib << 20, latent_size, least)
    if cache.capacity < settings.chunk_max_records:
        raise SettingsError(
            f"AUTODEEP_WINDOW_CACHE_MIB={settings.window_cache_mib} holds {cache.capacity} devices, fewer "
            f"than AUTODEEP_CHUNK_MAX_RECORDS={settings.chunk_max_records}: raise the one or lower the other"
        )
    return cache


def _recovery(
    settings: Settings, layout: WindowLayout, store: RedisWindows, decoder: TelemetryDecoder, health: Health
) -> Recovery | None:
    if not settings.rebuild_windows_records:
        return None
    parts = RecoveryParts(layout, store, KafkaHistory(settings), decoder, log.warning, health.progressed)
    return Recovery(parts, settings.rebuild_windows_records, int(settings.window_idle_s * 1e6))


def outputs_of(
    settings: Settings, registry: ConfluentRegistry | None, by_class: Mapping[str, Severity]
) -> list[Output]:
    """The forms in which alerts and incidents leave. Raises RegistryUnavailable."""
    topics, asked = Topics(settings.topic_prefix), settings.alert_format
    is_json = asked == "json" or (asked == "auto" and registry is None)
    alert_id = incident_id = None
    if registry is not None and not is_json and asked != "single-object":
        alert_topics = (*topics.all_alerts(), topics.classified)
        alert_id = registry.register([f"{topic}-value" for topic in alert_topics], load(ALERT))
        incident_id = registry.register([f"{topics.incidents}-value"], load(INCIDENT))
    fmt: AlertFormat = "json" if is_json else "avro"
    ours = AlertOutput(topics, fmt, alert_id, settings.publish_classified, incident_id, by_class)
    return [ours, *(Projection(topics, name, __version__, by_class) for name in settings.output_names)]


class Said:
    """Logs what is away once, and that it is back. For all threads."""

    def __init__(self) -> None:
        self._away: set[str] = set()

    def __call__(self, problem: Unavailable | None) -> None:
        if problem is None:
            for text in sorted(self._away):
                log.info("no longer: %s", text)
            self._away = set()
        elif str(problem) not in self._away:
            self._away = self._away | {str(problem)}
            log_unavailable(problem)


def log_unavailable(problem: Unavailable | None) -> None:
    if problem is not None:
        log.warning("%s; trying again", problem)


def _sleep_until(deadline_s: float) -> Callable[[float], bool]:
    """A wait for a start: sleeps so long, and says True once the deadline has passed."""

    def wait(pause_s: float) -> bool:
        time.sleep(max(0.0, min(pause_s, deadline_s - time.monotonic())))
        return time.monotonic() >= deadline_s

    return wait
