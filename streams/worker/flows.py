"""Re-keying on real adapters: a processor a topic of sensors; it says where most flows are foreign."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from streams import __version__
from streams.adapters.kafka.publisher import KafkaPublisher
from streams.adapters.registry import registry_of
from streams.client.homes import dialect_of, home_of
from streams.codec.ingest.flows.decoder import FlowDecoder
from streams.codec.ingest.flows.devices import DeviceFlowReader
from streams.core.topics import Topics
from streams.pipeline.rekeying import FlowReport, FlowTopics, Rekeying
from streams.settings import Settings
from streams.worker.figures import FlowTotals
from streams.worker.health import Health
from streams.worker.path import waiting

ENOUGH: Final = 1000
"""Flows of a topic before it is said how many have no end at home."""
MOSTLY: Final = 0.5
"""A share of flows without an end at home that only settings, or the sensor's place, explain."""


class FlowLog:
    """Says once of a topic that most of its flows have no end at home, and again after it had changed."""

    def __init__(self, topic: str, totals: FlowTotals, warn: Callable[[str], None]) -> None:
        self._topic = topic
        self._totals = totals
        self._warn = warn
        self._was_said = False

    def note(self, report: FlowReport) -> None:
        self._totals.add(report)
        flows = self._totals.foreign + self._totals.flows.total()
        mostly = flows >= ENOUGH and self._totals.foreign_share > MOSTLY
        if mostly and not self._was_said:
            self._warn(
                f"{self._totals.foreign_share:.0%} of the {flows} flows on {self._topic} have no end in a "
                "home network: AUTODEEP_HOME_NETWORKS says which networks are yours, and `autodeep flows "
                "doctor` which networks the flows are in"
            )
        self._was_said = mostly


def build_rekeying(
    settings: Settings, health: Health, parts: ExitStack, warn: Callable[[str], None]
) -> list[Rekeying]:
    """One for each topic that the settings name; `parts` closes what is opened.

    Raises SettingsError where networks, sites or the dialect cannot be used.
    """
    topics = Topics(settings.topic_prefix)
    registry = registry_of(settings) if settings.schema_registry_url and settings.flow_topics else None
    reader = DeviceFlowReader(FlowDecoder(dialect_of(settings), registry), home_of(settings))
    processors = []
    for name in settings.sensors_topics:
        totals = health.flows.setdefault(name, FlowTotals())
        processors.append(
            Rekeying(
                FlowTopics(name, topics.flows, topics.dead_letters),
                reader,
                parts.enter_context(KafkaPublisher(settings)),
                waiting(health),
                FlowLog(name, totals, warn).note,
                __version__,
            )
        )
    return processors
