"""A worker's figures for Prometheus, by its naming conventions: base units, `_total` for what only grows.

What each means: docs/operating.md. Everything is read when it is asked for; nothing is counted here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from itertools import accumulate
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from streams.adapters.kafka.losses import LossReason
from streams.codec.models import ModelRef
from streams.core import latency, skew
from streams.core.events import Reason
from streams.core.incidents import Activity
from streams.core.profile.rules import Held
from streams.core.topics import ATTACK_CLASSES, NORMAL, NOVEL
from streams.pipeline.cache import CacheFigures
from streams.pipeline.incidents import IncidentFigures
from streams.pipeline.recovery import Recovered
from streams.pipeline.reports import STAGES
from streams.worker.figures import SIZE_BOUNDS, Totals
from streams.worker.flow_metrics import flow_metrics
from streams.worker.health import OUTCOMES, Health
from streams.worker.standing import PartitionFigures

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_NS_PER_S: Final = 1e9
_PARTS: Final = ("dead_letter", "explanation", "context")
"""What messages that are too large go without."""


class Windows(Protocol):
    """What is asked of detection: its cache, and what was rebuilt."""

    @property
    def cache_figures(self) -> CacheFigures: ...
    @property
    def recovered(self) -> Recovered: ...
    @property
    def incident_figures(self) -> IncidentFigures: ...


class Together:
    """The figures of all that a worker judges, added up."""

    def __init__(self, each: Sequence[Windows]) -> None:
        self._each = tuple(each)

    @property
    def cache_figures(self) -> CacheFigures:
        found = [astuple(one.cache_figures) for one in self._each]
        return CacheFigures(*(sum(column) for column in zip(*found, strict=True)))

    @property
    def recovered(self) -> Recovered:
        found = [astuple(one.recovered) for one in self._each]
        return Recovered(*(sum(column) for column in zip(*found, strict=True)))

    @property
    def incident_figures(self) -> IncidentFigures:
        found = [one.incident_figures for one in self._each]
        by_kind = Counter[tuple[str, str]]()
        for one in found:
            by_kind.update(one.by_kind)
        return IncidentFigures(by_kind, sum(one.devices for one in found))


class _WorkerCollector(Collector):
    def __init__(self, health: Health, windows: Windows, models: Callable[[], Sequence[ModelRef]]) -> None:
        self._health = health
        self._windows = windows
        self._models = models

    def collect(self) -> Iterator[Metric]:
        health, totals = self._health, self._health.totals
        yield _counter("records", "Telemetry records read, whatever became of them.", totals.records)
        yield _counter("repeats", "Events read again that had been applied before.", totals.repeats)
        yield _counter("duplicates", "Records that said what another one had said.", totals.duplicates)
        yield _counters("held_back", "Verdicts on flows that did not alert, by why.", "why", _held(totals))
        yield _counter("new_devices", "Devices let in of which no window was known.", totals.new_devices)
        yield _counter("fenced_windows", "Windows that another worker had changed.", totals.fenced)
        yield _counter("window_resets", "Windows that began anew after a gap.", totals.window_resets)
        recovered = self._windows.recovered
        yield _counter("window_rebuilds", "Partitions read again for lost windows.", recovered.rebuilds)
        yield _counter("rebuilt_windows", "Lost windows made again.", recovered.windows)
        verdicts = _from_zero((NORMAL, *ATTACK_CLASSES, NOVEL), totals.verdicts)
        yield _counters("events", "Events classified, by verdict.", "verdict", verdicts)
        alerts = {name: count for name, count in verdicts.items() if name != NORMAL}
        yield _counters("alerts", "Alerts published, by class.", "class", alerts)
        revisions = _from_zero(Activity, totals.revisions)
        yield _counters("incident_revisions", "Records on incidents.", "activity", revisions)
        yield from _incidents(self._windows.incident_figures)
        yield from _not_as_it_came(totals)
        seconds = {stage: ns / _NS_PER_S for stage, ns in _from_zero(STAGES, totals.cpu_ns).items()}
        yield _counters("stage_cpu_seconds", "CPU time of the worker's threads, by stage.", "stage", seconds)
        yield _turn_sizes(health)
        yield _skews(totals)
        yield _latency(totals)
        yield from _by_partition(health)
        yield from flow_metrics(health.flows)
        yield from _cache(self._windows.cache_figures)
        yield from _evictions(health)
        yield from _drift(health)
        yield _certificates(health)
        told = {outcome: health.tellings[outcome] for outcome in OUTCOMES}
        yield _counters("fleet_reports", "What this worker told the fleet of itself.", "outcome", told)
        yield _gauge("live", "1 while turns make progress, or wait for what is away.", health.live)
        yield _gauge("ready", "1 while events could be classified here.", health.unready is None)
        family = InfoMetricFamily("autodeep_model", "The models that serve.")
        for model in self._models():
            family.add_metric([], {"name": model.name, "version": model.version, "digest": model.digest})
        yield family


def exposition(
    health: Health, windows: Windows, models: Callable[[], Sequence[ModelRef]]
) -> Callable[[], bytes]:
    """What /metrics answers, each time anew; the process's own CPU, memory and files are in it."""
    registry = CollectorRegistry()
    registry.register(_WorkerCollector(health, windows, models))
    ProcessCollector(registry=registry)
    return lambda: generate_latest(registry)


def _not_as_it_came(totals: Totals) -> Iterator[Metric]:
    letters = _from_zero(Reason, totals.dead_letters)
    yield _counters("dead_letters", "Records not read, by reason.", "reason", letters)
    shortened = _from_zero(_PARTS, totals.shortened)
    yield _counters("shortened", "Messages too large for a topic, by what went.", "part", shortened)
    lost = _from_zero(LossReason, totals.lost)
    yield _counters("lost_records", "Offsets gone before they were read.", "reason", lost)


def _cache(cache: CacheFigures) -> Iterator[Metric]:
    yield _counter("window_cache_hits", "Windows found in memory.", cache.hits)
    yield _counter("window_cache_misses", "Windows loaded from Redis.", cache.misses)
    yield _gauge("window_cache_devices", "Windows in memory.", cache.devices)
    yield _gauge("window_cache_capacity_devices", "Windows that fit into memory.", cache.capacity)


def _incidents(figures: IncidentFigures) -> Iterator[Metric]:
    """Of this worker's partitions; a kind that was open and is no more counts 0."""
    said = "Incidents open, by class and severity."
    family = GaugeMetricFamily("autodeep_open_incidents", said, labels=["class", "severity"])
    for kind, count in sorted(figures.by_kind.items()):
        family.add_metric(list(kind), count)
    yield family
    yield _gauge("incident_devices", "Devices of which an incident is kept in memory.", figures.devices)


def _evictions(health: Health) -> Iterator[Metric]:
    """None where Redis does not say."""
    seen = health.evictions
    if seen is None:
        return
    if seen.evicts is not None:
        yield _gauge("redis_evicts", "1 where Redis drops keys to make room.", seen.evicts)
    if seen.evicted_keys is not None:
        yield _counter("redis_evicted_keys", "Keys that Redis dropped to make room.", seen.evicted_keys)


def _certificates(health: Health) -> Metric:
    said = "When the first certificate of a file ends."
    return _gauges("certificate_end_timestamp_seconds", said, "file", health.certificate_ends_s())


def _drift(health: Health) -> Iterator[Metric]:
    """None before an hour has enough events."""
    found = health.drift()
    if found is None:
        return
    said = "Population stability index of a number against training, by hour of event time."
    yield _gauges("drift_psi", said, "feature", found.psi)
    said = "Share of events with a symbol that training never saw."
    yield _gauges("drift_unknown_symbol_ratio", said, "feature", found.unknown)
    yield _gauge("drift_novel_ratio", "Share of events with the verdict novel.", found.novel)
    yield _gauge("drift_hour_events", "Events of the hour that the drift is of.", found.events)
    start_s = found.hour_start_s
    yield _gauge("drift_hour_start_timestamp_seconds", "Where that hour begins, in event time.", start_s)


def _by_partition(health: Health) -> Iterator[Metric]:
    figures = health.standings.figures()
    for suffix, said, value in _OF_PARTITION:
        family = GaugeMetricFamily(f"autodeep_partition_{suffix}", said, labels=["topic", "partition"])
        for (topic, partition), one in figures.items():
            known = value(one)
            if known is not None:
                family.add_metric([topic, str(partition)], known)
        yield family


_OF_PARTITION: Final[Sequence[tuple[str, str, Callable[[PartitionFigures], float | None]]]] = (
    ("lag_records", "Records beyond what was read last.", lambda one: one.lag_records),
    ("end_offset", "One past the last offset, by the brokers.", lambda one: one.end_offset),
    ("position", "The offset that is read next.", lambda one: one.position),
    ("committed_offset", "Of the group, by the brokers.", lambda one: one.committed_offset),
    ("seconds_since_fetch", "Since a broker last answered a fetch.", lambda one: one.seconds_since_fetch),
)


def _turn_sizes(health: Health) -> Metric:
    totals = health.totals
    buckets = _buckets(SIZE_BOUNDS, totals.sizes)
    return HistogramMetricFamily("autodeep_turn_records", "Records of a turn.", buckets, totals.records)


def _skews(totals: Totals) -> Metric:
    family = HistogramMetricFamily(
        "autodeep_event_time_skew_seconds", "Event time against Kafka's timestamp.", labels=["direction"]
    )
    for direction, one in (("ahead", totals.ahead), ("behind", totals.behind)):
        family.add_metric([direction], _buckets(skew.BOUNDS_S, one.counts), one.sum_s)
    return family


def _latency(totals: Totals) -> Metric:
    found = totals.latency
    buckets = _buckets(latency.BOUNDS_S, found.counts)
    said = "From Kafka's timestamp of an event to the acknowledgement of its alert."
    return HistogramMetricFamily("autodeep_alert_latency_seconds", said, buckets, found.sum_s)


def _buckets(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Prometheus counts each bucket with all below it."""
    names = [*(str(float(bound)) for bound in bounds), "+Inf"]
    return list(zip(names, accumulate(counts), strict=True))


def _counter(name: str, said: str, value: float) -> Metric:
    return CounterMetricFamily(f"autodeep_{name}", said, value)


def _gauge(name: str, said: str, value: float) -> Metric:
    return GaugeMetricFamily(f"autodeep_{name}", said, value)


def _gauges(name: str, said: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"autodeep_{name}", said, labels=[label])
    for value, figure in sorted(values.items()):
        family.add_metric([value], figure)
    return family


def _held(totals: Totals) -> dict[str, int]:
    return _from_zero([one.word for one in Held if one], totals.held)


def _from_zero(names: Iterable[str], counts: Mapping[str, int]) -> dict[str, int]:
    """Prometheus takes a series that begins above 0 for one that has not risen."""
    return {**{str(name): 0 for name in names}, **counts}


def _counters(name: str, said: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(f"autodeep_{name}", said, labels=[label])
    for value, count in sorted(values.items()):
        family.add_metric([value], count)
    return family
