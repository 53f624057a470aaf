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
from streams.pipeline.describing import Intake
from streams.pipeline.detection import Detection, Ports
from streams.pipeline.recovery import Recovery, RecoveryParts
from streams.pipeline.reports import Watchers
from streams.pipeline.sites import Sites
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


@dataclass(frozen=True, slots=True)
class Subject:
    """A topic that is judged, and what is kept of its devices."""

    intake: Intake
    layout: WindowLayout
    sites: Sites | None = None
    """What is known of the sites of its devices; None: of flows alone."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What all that is judged has in common: servers that were found to answer, and how alerts leave."""

    settings: Settings
    health: Health
    store: RedisWindows
    limits: TopicLimits
    registry: ConfluentRegistry | None
    rules: Rules

    def telemetry(self, layout: WindowLayout) -> Subject:
        """Events of the layout's table, as producers describe them."""
        decoder = decoder_of(self.settings, layout.table, self.registry)
        return Subject(Intake(self.rules.topics.telemetry, decoder), layout)


def connect(settings: Settings, layout: WindowLayout, health: Health, parts: ExitStack) -> Ground:
    """To Redis and Kafka; `parts` closes what is opened. The layout is that of the windows of telemetry.

    Raises BrokerUnavailable or WindowStoreUnavailable where one does not answer within `start_timeout_s`.
    """
    starting = at_start(settings)
    store = parts.enter_context(
        RedisWindows(
            layout,
            settings.redis_url,
            settings.topic_prefix,
            settings.window_ttl_days * 86_400,
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
    return Ground(settings, health, store, limits, registry, _rules(settings, registry, starting))


def _rules(settings: Settings, registry: ConfluentRegistry | None, starting: BackOff) -> Rules:
    by_class = severities_by_class(settings.severities)
    return Rules(
        topics=Topics(settings.topic_prefix),
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


def build_detection(ground: Ground, subject: Subject, judging: Judging, parts: ExitStack) -> Detection:
    settings, health = ground.settings, ground.health
    store = ground.store.of(subject.layout)
    ports = Ports(
        intake=subject.intake,
        store=store,
        publisher=parts.enter_context(KafkaPublisher(settings, ground.limits)),
        patience=waiting(health),
        clock_us=lambda: time.time_ns() // 1000,
        sites=subject.sites,
        recovery=_recovery(settings, subject, store, health),
    )
    cache = _cache(settings, subject.layout, judging.admission.serving.latent_size)
    return Detection(ports, ground.rules, cache, judging.admission, judging.watchers)


def at_start(settings: Settings) -> BackOff:
    """Waits until the start's deadline, from now on."""
    return BackOff(_sleep_until(time.monotonic() + settings.start_timeout_s), Said())


def waiting(health: Health, is_over: Callable[[], bool] = lambda: False) -> BackOff:
    """Waits until the worker stops, or it is over, and says so on the page of health."""

    said = Said()

    def note(problem: Unavailable | None) -> None:
        said(problem)
        health.note_away(problem)

    return BackOff(lambda pause_s: health.wait(pause_s) or is_over(), note)


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


def _recovery(settings: Settings, subject: Subject, store: RedisWindows, health: Health) -> Recovery | None:
    if not settings.rebuild_windows_records:
        return None
    history = KafkaHistory(settings)
    parts = RecoveryParts(subject.layout, store, history, subject.intake, log.warning, health.progressed)
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
            log.warning("%s; trying again", problem)


def _sleep_until(deadline_s: float) -> Callable[[float], bool]:
    """A wait for a start: sleeps so long, and says True once the deadline has passed."""

    def wait(pause_s: float) -> bool:
        time.sleep(max(0.0, min(pause_s, deadline_s - time.monotonic())))
        return time.monotonic() >= deadline_s

    return wait
