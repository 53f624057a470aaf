"""Re-keying on real adapters: a processor a topic of sensors; it says where most flows are foreign."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from contextlib import ExitStack
from typing import Final

from streams import __version__
from streams.adapters.kafka.client import where
from streams.adapters.kafka.device_topic import DeviceFollower
from streams.adapters.kafka.publisher import KafkaPublisher
from streams.adapters.kafka.topics import known_topics
from streams.adapters.registry import registry_of
from streams.client.homes import dialect_of, home_of
from streams.codec.ingest.flows.decoder import FlowDecoder
from streams.codec.ingest.flows.devices import NO_LEASES, DeviceFlowReader, Leases
from streams.core.topics import Topics
from streams.pipeline.rekeying import FlowReport, FlowTopics, Rekeying
from streams.settings import Settings
from streams.worker.figures import FlowTotals
from streams.worker.health import Health
from streams.worker.path import at_start, waiting
from streams.worker.process import start_thread

log: Final = logging.getLogger("autodeep.devices")

_JOIN_S: Final = 5.0
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

    Raises SettingsError where networks, sites or the dialect cannot be used, BrokerUnavailable where Kafka
    does not answer within `start_timeout_s`.
    """
    if not settings.flow_topics:
        return []
    topics = Topics(settings.topic_prefix)
    known = at_start(settings)(lambda: known_topics(settings))
    missing = [name for name in settings.sensors_topics if name not in known]
    if missing:
        warn(
            f"AUTODEEP_FLOW_TOPICS names {', '.join(missing)}, which Kafka at {where(settings)} does not "
            "show; it is read once it is there"
        )
    registry = registry_of(settings) if settings.schema_registry_url else None
    decoder, home = FlowDecoder(dialect_of(settings), registry), home_of(settings)
    reader = DeviceFlowReader(decoder, home, _followed(settings, known, parts))
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


def _followed(settings: Settings, known: Collection[str], parts: ExitStack) -> Leases:
    """The leases of devices; none, with a line in the log, where the topic is missing."""
    topic = Topics(settings.topic_prefix).devices
    if topic not in known:
        log.warning(
            "no leases name devices: Kafka has no topic %s (`autodeep topics create` makes it)", topic
        )
        return NO_LEASES
    follower = DeviceFollower(settings)
    thread = start_thread("devices", follower.follow)

    def stop() -> None:
        follower.stop()
        thread.join(_JOIN_S)

    parts.callback(stop)
    return follower
