"""Figures of the topics of sensors for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, Metric

from streams.worker.figures import FlowTotals


def flow_metrics(flows: Mapping[str, FlowTotals]) -> Iterator[Metric]:
    """By topic; nothing where no sensor's topic is read."""
    if not flows:
        return
    records = CounterMetricFamily("autodeep_flow_records", "Sensors' records read.", labels=["topic"])
    foreign = CounterMetricFamily(
        "autodeep_flow_foreign", "Flows without an end in a home network.", labels=["topic"]
    )
    for topic, totals in flows.items():
        records.add_metric([topic], totals.records)
        foreign.add_metric([topic], totals.foreign)
    yield records
    yield foreign
    for name, said, label, counts in _COUNTERS:
        yield _counters(name, said, label, {topic: counts(totals) for topic, totals in flows.items()})


_COUNTERS: Final[Sequence[tuple[str, str, str, Callable[[FlowTotals], Mapping[str, int]]]]] = (
    ("flows", "Flows of devices written.", "direction", lambda one: one.flows),
    ("flow_skipped", "Sensors' records that are no flows.", "reason", lambda one: one.skipped),
    ("flow_dead_letters", "Sensors' records not read.", "reason", lambda one: one.dead_letters),
)


def _counters(name: str, said: str, label: str, by_topic: Mapping[str, Mapping[str, int]]) -> Metric:
    family = CounterMetricFamily(f"autodeep_{name}", said, labels=["topic", label])
    for topic, counts in by_topic.items():
        for value, count in sorted(dict(counts).items()):
            family.add_metric([topic, value], count)
    return family
