"""From what only a topic shows to findings: whether records come, keys, partitions, whose clock it has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from streams.client.flow_topics import MOST_KEYS, TopicFacts
from streams.doctor.findings import Finding, Level
from streams.legible import counted

_SILENT_S: Final = 600.0
_UNEVEN: Final = 0.8
_KEYED: Final = 0.9
_FEW_RECORDS: Final = 100
"""Fewer say nothing about how keys and partitions are used."""


def topic_findings(topic: str, facts: TopicFacts, now_ms: int) -> list[Finding]:
    """Before those of the records themselves."""
    return [*_read(topic, facts, now_ms), *_partitions(facts), *_keys(facts), *_timestamps(topic, facts)]


def figures(facts: TopicFacts) -> dict[str, object]:
    """The counts themselves, for machines."""
    return {
        "partitions": {str(number): list(bounds) for number, bounds in facts.bounds.items()},
        "read": {str(number): count for number, count in sorted(facts.read.items())},
        "keyless": facts.keyless,
        "keys": len(facts.keys),
        "timestamps_by_writer": facts.by_writer,
        "first_ms": facts.first_ms or None,
        "newest_ms": facts.newest_ms or None,
        "cut": facts.is_cut,
    }


def _read(topic: str, facts: TopicFacts, now_ms: int) -> Iterator[Finding]:
    read, partitions = facts.read.total(), counted(len(facts.bounds), "partition")
    if not read:
        were = sum(first for first, _ in facts.bounds.values())
        if facts.is_cut:
            found = f"{partitions} with {facts.kept:,} records, none of which came in time"
            advice = "give it longer: --seconds; see whether the brokers answer: `autodeep doctor`"
        elif facts.kept or not were:
            found = f"{partitions}, and no record in them"
            advice = "look at whether the sensor's shipper runs, and to which topic and brokers it writes"
        else:
            found = f"{partitions}, and no record in them: retention has deleted all {were:,}"
            advice = "look at whether the sensor's shipper still writes, and at the topic's retention.ms"
        yield Finding("topic", Level.BROKEN, found, advice)
        return
    text = f"the last {read:,} of {facts.kept:,} records, in {partitions}"
    span_s = (facts.newest_ms - facts.first_ms) / 1e3
    if span_s > 0:
        text += f": those of {span_s:,.0f} s, {read / span_s:,.3g} a second"
    if facts.is_cut:
        text += "; not all that were asked for came in time"
    yield Finding("topic", Level.NOTE if facts.is_cut else Level.GOOD, text)
    silent_s = (now_ms - facts.newest_ms) / 1e3
    if facts.newest_ms and silent_s > _SILENT_S:
        yield Finding(
            "silence",
            Level.WARNING,
            f"the newest record of {topic} is {silent_s / 60:,.0f} minutes old",
            "look at whether the sensor and its shipper still run",
        )


def _partitions(facts: TopicFacts) -> Iterator[Finding]:
    """By how many records each has got so far: what was read is equally much of each."""
    ends = {number: end for number, (_, end) in facts.bounds.items()}
    whole, used = sum(ends.values()), sum(end > 0 for end in ends.values())
    if len(ends) == 1:
        yield Finding(
            "partitions", Level.NOTE, "there is one, so that one worker reads all of it", "more partitions"
        )
    elif whole >= _FEW_RECORDS:
        busiest = max(ends, key=lambda number: ends[number])
        share = ends[busiest] / whole
        is_odd = share > _UNEVEN
        yield Finding(
            "partitions",
            Level.WARNING if is_odd else Level.GOOD,
            f"{used} of {len(ends)} have had records; {share:.0%} of all went to partition {busiest}",
            "let the shipper write without a key, or with one that tells devices or flows apart"
            if is_odd
            else "",
        )


def _keys(facts: TopicFacts) -> Iterator[Finding]:
    read = facts.read.total()
    keyed = read - facts.keyless
    if not read:
        return
    if not keyed:
        yield Finding("keys", Level.GOOD, "there are none: workers key flows by device, whatever the sensor")
        return
    distinct = f"{len(facts.keys):,}{' or more' if len(facts.keys) >= MOST_KEYS else ''}"
    text = f"{keyed:,} of {read:,} records have one, {distinct} different: workers key flows by device anew"
    _, most = facts.keys.most_common(1)[0]
    is_odd = len(facts.bounds) > 1 and read >= _FEW_RECORDS and most > _KEYED * read
    yield Finding(
        "keys",
        Level.WARNING if is_odd else Level.GOOD,
        text + (f"; one of them is that of {most / read:.0%}" if is_odd else ""),
        "a key that most records share puts them on one partition: leave it out" if is_odd else "",
    )


def _timestamps(topic: str, facts: TopicFacts) -> Iterator[Finding]:
    if facts.by_writer:
        yield Finding(
            "timestamps",
            Level.NOTE,
            f"{facts.by_writer:,} of {facts.read.total():,} are their writers' own: how late a flow is, and "
            "whether a sensor's clock is wrong, goes by the shipper's clock",
            f"kafka-configs --alter --topic {topic} --add-config message.timestamp.type=LogAppendTime",
        )
