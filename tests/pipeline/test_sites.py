"""Profiles hold verdicts of the stream back, alerts name the revision, and the words come with incidents."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.codec.ingest.device_flows import DeviceFlowDecoder
from streams.codec.output.alerts import AlertOutput
from streams.codec.output.incidents import decode_incident
from streams.core.alerts import Alert
from streams.core.incident_rules import IncidentRules
from streams.core.profile.agreed import LEAD_US, Agreed
from streams.core.profile.values import CLASSES, Key, Known, Profile, Word
from streams.core.topics import NORMAL
from streams.pipeline.alerting import Rules
from streams.pipeline.cache import WindowCache
from streams.pipeline.describing import Intake, as_flows
from streams.pipeline.detection import Ports
from streams.pipeline.reports import Report
from streams.pipeline.sites import Sites
from tests.core.flow.drawn import drawn
from tests.fakes import Always, patient
from tests.flow_world import (
    TOPICS,
    WINDOWS,
    FlowWorld,
    Judge,
    Stored,
    chunks_of,
    detector,
    device_flow,
    stored,
)

SEEDS = st.integers(0, 2**32)
WORD = Word("ann", "the laboratory", 1)
DEVICE = "10.0.0.1"


@dataclass
class SiteWorld(FlowWorld):
    sites: Sites = field(default_factory=lambda: Sites(Agreed, learning_ms=0))

    def worker(self, *_: object, **__: object) -> Judge:
        ports = Ports(
            Intake(TOPICS.flows, DeviceFlowDecoder(), as_flows),
            self.store,
            self.publisher,
            patient,  # type: ignore[arg-type]
            lambda: 5,
            sites=self.sites,
        )
        outputs = [AlertOutput(TOPICS, publish_classified=True)]
        rules = Rules(TOPICS, 3_600_000_000, outputs, publish_classified=True, incidents=self.incidents)
        return Judge(ports, rules, WindowCache(WINDOWS, 1 << 22, detector().latent_size), Always(detector()))


def lying(seed: int, count: int = 40) -> list[Stored]:
    return stored([device_flow(one) for one in drawn(seed, count, 2)])


def fed(records: list[Stored], size: int, **changes: object) -> tuple[SiteWorld, list[Report]]:
    world = SiteWorld(**changes)  # type: ignore[arg-type]
    return world, world.feed(records, size)


def everything_of(device: str, revision: int) -> Profile:
    """A profile by which nothing of the device alerts: all kinds of peers, the ports that are drawn."""
    ports = {443, 23, 80, 1883, 40_000, 40_001, 22, *range(120)}
    keys = [
        Key(device, peer, role, protocol, port)
        for peer in ("public", "private", "multicast")
        for role in ("originator", "target")
        for protocol in ("tcp", "udp")
        for port in sorted(ports)
    ]
    known = tuple(Known(key, CLASSES, "accepted", WORD) for key in keys[:2_000])
    return Profile("-", revision, known=known)


def plain(alert: Alert) -> Alert:
    return replace(alert, profile_revision=None, reasons=())


@settings(max_examples=3, deadline=None)
@given(SEEDS, st.integers(5, 20))
def test_turns_change_neither_what_is_held_back_nor_the_revisions_named(seed: int, size: int) -> None:
    records = lying(seed, 30)
    taken_us = records[len(records) // 3].timestamp * 1000 - LEAD_US
    agreed = Agreed().with_revision(everything_of(DEVICE, 4), taken_us)
    sites = Sites(lambda: agreed, learning_ms=60_000)
    whole, _ = fed(records, len(records), sites=sites)
    world, reports = fed(records, size, sites=sites)
    assert world.verdicts() == whole.verdicts()
    assert world.windows() == whole.windows()
    without, _ = fed(records, size)
    held = Counter[str]()
    for report in reports:
        held.update(report.held)
    changed = 0
    for one in world.verdicts().values():
        before = without.verdicts()[one.alert_id]
        assert plain(one) in (plain(before), plain(replace(before, verdict=NORMAL)))
        changed += one.verdict != before.verdict
        at_us = next(record.timestamp for record in records if record.offset == one.offset) * 1000
        assert one.profile_revision == (4 if at_us >= taken_us + LEAD_US else None)
    assert changed == sum(held.values())


def test_while_a_device_is_learnt_about_little_alerts() -> None:
    records = lying(3)
    alone, _ = fed(records, 7)
    learning, reports = fed(records, 7, sites=Sites(Agreed, learning_ms=1 << 50))

    def alerting(world: SiteWorld) -> int:
        return sum(one.verdict != NORMAL for one in world.verdicts().values())

    held = sum(report.held.get("learning", 0) for report in reports)
    assert held == alerting(alone) - alerting(learning) > 0


def test_incidents_say_in_words_what_drove_their_worst_alert() -> None:
    """Of all incidents, also those that are not explained by shares, and in later revisions."""
    rules = IncidentRules(novel_least=1)
    records = lying(11, 60)
    world, _ = fed(records, 9, incidents=rules)
    incidents = [decode_incident(one.value) for one in world.publisher.topics[TOPICS.incidents]]
    assert incidents
    told = {one.alert_id: one.reasons for one in world.verdicts().values() if one.reasons}
    worded = [one for one in incidents if one.reasons]
    assert worded
    for one in worded:
        assert one.reasons == told[one.worst_alert_id]
    whole, _ = fed(records, len(records), incidents=rules)
    final = {one.incident_id: one.reasons for one in incidents}
    for message in whole.publisher.topics[TOPICS.incidents]:
        one = decode_incident(message.value)
        assert one.reasons == final[one.incident_id] or one.revision < max(
            other.revision for other in incidents if other.incident_id == one.incident_id
        )


def test_nothing_is_judged_while_what_is_known_of_sites_may_be_too_old() -> None:
    why: list[str | None] = ["reading the profiles takes too long"]
    world = SiteWorld(sites=Sites(Agreed, lambda: why[0]))
    worker = world.worker()
    chunks = chunks_of(lying(1), 40)
    begun = worker.begin(chunks)
    assert (begun.taken, begun.computed) == ((), None)
    assert set(begun.held.values()) == {why[0]}
    why[0] = None
    assert len(worker.begin(chunks).taken) == 1
