"""Topics against what `autodeep topics create` makes: how grave a difference is, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from streams.adapters.kafka.topics import Difference, State, TopicReport, TopicSpec
from streams.core.topics import Topics
from streams.doctor.findings import Finding, Level
from streams.settings import Settings

CHECK: Final = "topics"
_UNLESS: Final = "unless it is meant so"
_BY_HAND: Final = f"alter it with Kafka's own tools, {_UNLESS}"


def wanted(specs: Sequence[TopicSpec], known: Collection[str], settings: Settings) -> list[TopicSpec]:
    """All but those that are not there and that nothing writes to or reads, by the settings."""
    names = Topics(settings.topic_prefix)
    used = {
        names.classified: settings.publish_classified,
        names.incidents: settings.incidents,
        **dict.fromkeys((names.flows, names.devices, names.profiles), bool(settings.flow_topics)),
        names.sensors: names.sensors in settings.sensors_topics,
    }
    return [spec for spec in specs if spec.name in known or used.get(spec.name, True)]


def findings(reports: Sequence[TopicReport], names: Topics) -> Iterator[Finding]:
    yield from _missing([report.spec.name for report in reports if report.state is State.MISSING])
    for report in reports:
        for one in report.differences:
            yield _finding(report.spec.name, one, names)
    if all(report.state is State.SAME for report in reports):
        partitions = {report.spec.name: report.spec.partitions for report in reports}
        found = f"all {len(reports)} as we make them, {partitions[names.telemetry]} of telemetry"
        yield Finding(CHECK, Level.GOOD, found)


def not_compared(missing: Sequence[str], why: str) -> Iterator[Finding]:
    """Where the user may not see how topics are kept."""
    yield from _missing(missing)
    yield Finding(
        CHECK, Level.NOTE, f"not compared: {why}", "give DESCRIBE_CONFIGS on topics to whoever runs this"
    )


def of_sensors(missing: Sequence[str], names: Topics) -> Iterator[Finding]:
    """Those that sensors write to are theirs; ours is made with the others."""
    theirs = [name for name in missing if name != names.sensors]
    if theirs:
        found = f"{', '.join(theirs)} missing (AUTODEEP_FLOW_TOPICS): nothing is read of these sensors"
        yield Finding(CHECK, Level.BROKEN, found, "make them, with as many partitions as workers may share")


def _missing(names: Sequence[str]) -> Iterator[Finding]:
    if names:
        found = f"{', '.join(names)} missing"
        yield Finding(CHECK, Level.BROKEN, found, "`autodeep topics create` makes them")


def _finding(topic: str, one: Difference, names: Topics) -> Finding:
    found = f"{topic}: {one.what} is {one.found}, we make it {one.wanted}"
    if one.what == "cleanup.policy":
        lost = {names.model_active: "agreed on about models", names.profiles: "decided about sites"}
        costs = (
            f"what was {lost[topic]} is deleted with age"
            if topic in lost
            else "of each key Kafka keeps the last record alone, whether the others were read or not"
        )
        return Finding(CHECK, Level.BROKEN, f"{found}: {costs}", _altered(topic, one))
    if one.what == "partitions" and topic == names.model_commands:
        advice = "delete it, and `autodeep topics create`: whoever has its one partition decides about models"
        return Finding(CHECK, Level.WARNING, found, advice)
    by_hand = one.what in ("partitions", "replication")
    advice = _BY_HAND if by_hand else f"{_altered(topic, one)}, {_UNLESS}"
    return Finding(CHECK, Level.WARNING, found, advice)


def _altered(topic: str, one: Difference) -> str:
    setting = f"{one.what}={one.wanted}"
    return f"kafka-configs --alter --entity-type topics --entity-name {topic} --add-config {setting}"
