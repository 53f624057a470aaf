"""What a worker judges, and by which models: telemetry always, flows where a model of them is at hand."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final

from streams.adapters.store.models import ModelStore
from streams.codec.ingest.checks import Limits
from streams.codec.ingest.device_flows import DeviceFlowDecoder
from streams.core.flow.keeping import WINDOWS
from streams.core.kdd99 import KDD99
from streams.core.topics import Topics
from streams.core.windows import WindowLayout
from streams.model.detector import Detector
from streams.model.drift import Drift
from streams.pipeline.describing import Intake, as_flows
from streams.pipeline.detection import Detection
from streams.pipeline.reports import Observed, Report, Watchers
from streams.rollout.admission import Admission
from streams.rollout.loading import family_of, fitting
from streams.settings import Settings
from streams.worker.health import Health
from streams.worker.models import Family, Waiting, WorkerModels, assemble, challenged, store_loader
from streams.worker.odd_times import OddTimesLog
from streams.worker.path import Ground, Judging, Subject, at_start, build_detection
from streams.worker.profiles import Profiles

log: Final = logging.getLogger("autodeep")

LAYOUT: Final = WindowLayout(KDD99)
"""Of the topic of telemetry: what its records describe an event by, and how many events a window keeps."""
FLOW_MODEL: Final = "AUTODEEP_FLOW_MODEL"


@dataclass(frozen=True, slots=True)
class Begin:
    """A topic that is judged, and the model that begins."""

    detector: Detector
    layout: WindowLayout
    subject: Callable[[Ground], Subject]
    operating_point: str = ""
    is_first: bool = False
    """Telemetry: whose drift is watched."""


@dataclass(frozen=True, slots=True)
class Served:
    detection: Detection
    admission: Admission
    models: WorkerModels | None


def begins(settings: Settings, store: ModelStore) -> list[Begin]:
    """Telemetry first. Raises ModelRejected for a model that is not to be served."""
    point = settings.operating_point
    telemetry = Begin(
        fitting(store, settings.model, LAYOUT, point),
        LAYOUT,
        lambda ground: ground.telemetry(LAYOUT),
        point,
        is_first=True,
    )
    flows = _flows(settings, store) if settings.sensors_topics else None
    return [telemetry] if flows is None else [telemetry, flows]


def _flows(settings: Settings, store: ModelStore) -> Begin | None:
    family = family_of(settings.flow_model)
    topics = Topics(settings.topic_prefix)
    if not store.holds(family):
        log.warning(
            "flows go to %s and are not judged: the model store has no model %r (%s=%s)",
            topics.flows,
            family,
            FLOW_MODEL,
            settings.flow_model,
        )
        return None
    decoder = DeviceFlowDecoder(Limits(settings.device_id_max_bytes))
    subject = Subject(Intake(topics.flows, decoder, as_flows), WINDOWS)
    point = settings.flow_operating_point
    detector = fitting(store, settings.flow_model, WINDOWS, point)
    return Begin(detector, WINDOWS, lambda _: subject, point)


def serve(begin: Begin, ground: Ground, store: ModelStore, parts: ExitStack) -> Served:
    """Its detection, with the model that was agreed on."""
    settings, health = ground.settings, ground.health
    admission = Admission(begin.detector, store_loader(store, begin.layout, begin.operating_point))
    challenge, shadow = challenged(settings, parts)
    subject = begin.subject(ground)
    if not begin.is_first:
        subject = replace(subject, sites=Profiles(settings).start(at_start(settings), parts))
    drift = Drift(lambda: admission.ref.digest) if begin.is_first else None
    if drift is not None:
        health.drift = drift.figures
    watch = _watch(drift, shadow.watch)
    watchers = Watchers(challenge.canary, watch, _done(health))
    detection = build_detection(ground, subject, Judging(admission, watchers), parts)
    family = Family(subject.intake.topic, admission, challenge, begin.is_first)
    models = assemble(settings, store, family, Waiting(at_start(settings), health.wait), parts)
    ref = admission.ref
    log.info("serving model %s/%s (%s) on %s", ref.name, ref.version, ref.digest[:12], subject.intake.topic)
    return Served(detection, admission, models)


def _watch(drift: Drift | None, compare: Callable[[Observed], None]) -> Callable[[Observed], None]:
    def watch(observed: Observed) -> None:
        if drift is not None:
            drift.note(observed.classified)
        compare(observed)

    return watch


def _done(health: Health) -> Callable[[Report], None]:
    odd_times = OddTimesLog(log.warning)

    def done(report: Report) -> None:
        health.totals.add(report)
        odd_times.note(report.skew)

    return done


def followed(served: Sequence[Served]) -> list[WorkerModels]:
    """Of all families, or none: the topics of models are there, or not."""
    return [one.models for one in served if one.models is not None]
