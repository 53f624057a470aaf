"""What counts as sound, from facts alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from streams.adapters.certificates import Certificate
from streams.adapters.kafka.topics import Difference, State, TopicReport, topic_specs
from streams.core.topics import Topics
from streams.doctor import rules, topics
from streams.doctor.facts import Broker, Latest, Member, Place, RedisServer
from streams.doctor.findings import Finding, Level, as_json, exit_code
from streams.settings import Settings

HOUR_MS = 3_600_000
TOPIC = "ids.telemetry"
NOW_MS = 1_790_000_000_000
SOUND_REDIS = {
    "redis_version": "7.0.15",
    "maxmemory_policy": "noeviction",
    "evicted_keys": "0",
    "used_memory": str(10 << 20),
    "maxmemory": str(100 << 20),
    "aof_enabled": "1",
    "aof_last_write_status": "ok",
    "rdb_last_bgsave_status": "ok",
}


def worst(findings: Iterable[Finding]) -> tuple[Level, str]:
    finding = max(findings, key=lambda one: one.level)
    return finding.level, f"{finding.found} -> {finding.advice}"


def redis_with(clock_us: int | None = 0, **info: str) -> tuple[Level, str]:
    server = RedisServer({**SOUND_REDIS, **info}, clock_us, 0)
    return worst(rules.redis("one server", [server], 12))


def without(*names: str) -> tuple[Level, str]:
    info = {name: value for name, value in SOUND_REDIS.items() if name not in names}
    return worst(rules.redis("one server", [RedisServer(info, None, 0)], None))


def test_the_exit_code_is_that_of_the_gravest_finding() -> None:
    found = [Finding("a", level, "") for level in (Level.GOOD, Level.NOTE)]
    assert exit_code([]) == exit_code(found) == 0
    assert exit_code([*found, Finding("b", Level.WARNING, "")]) == 5
    assert exit_code([*found, Finding("b", Level.BROKEN, ""), Finding("b", Level.WARNING, "")]) == 6
    assert as_json(found, "1")["worst"] == "note"


def test_a_broker_whose_own_address_leads_nowhere_is_named() -> None:
    three = [Broker(number, f"kafka-{number}:9092") for number in range(3)]
    assert worst(rules.brokers(three))[0] is Level.GOOD
    assert worst(rules.brokers(three[:1]))[0] is Level.NOTE
    hidden = Broker(2, "internal:9092", "Name or service not known")
    level, said = worst(rules.brokers([*three[:2], hidden]))
    assert level is Level.BROKEN
    assert "internal:9092" in said
    assert "advertised.listeners" in said


def test_a_group_owns_every_partition_or_says_which_it_does_not() -> None:
    assert worst(rules.group("g", [Member("a", (0, 1)), Member("b", (2,))], 3))[0] is Level.GOOD
    assert worst(rules.group("g", [Member("a", (0, 1, 2)), Member("b", ())], 3))[0] is Level.NOTE
    assert worst(rules.group("g", None, 3))[0] is Level.NOTE
    assert worst(rules.group("g", [], 3))[0] is Level.BROKEN
    level, said = worst(rules.group("g", [Member("a", (0,))], 3))
    assert level is Level.BROKEN
    assert "partitions 1, 2" in said


def test_waiting_records_whose_offset_does_not_move_stand_still() -> None:
    before = [Place(0, 0, 100, 50), Place(1, 0, 100, 50), Place(2, 0, 100, 100)]
    after = [Place(0, 0, 100, 50), Place(1, 0, 300, 60), Place(2, 0, 100, 100)]
    level, said = worst(rules.progress(TOPIC, before, after, 5))
    assert level is Level.BROKEN
    assert "partitions 0 stand still" in said
    assert worst(rules.progress(TOPIC, before[1:], after[1:], 5)) == (
        Level.GOOD,
        "ids.telemetry: 240 records wait in 2 partitions -> ",
    )


def test_records_that_came_between_the_looks_have_not_stood_yet() -> None:
    assert worst(rules.progress(TOPIC, [Place(0, 0, 50, 50)], [Place(0, 0, 60, 50)], 5))[0] is Level.GOOD


def test_what_retention_took_before_it_was_read_is_said() -> None:
    place = Place(3, 200, 300, 150)
    level, said = worst(rules.progress(TOPIC, [place], [place], 5))
    assert level is Level.BROKEN
    assert "partitions 3 were deleted before" in said


def test_a_partition_without_a_committed_offset_is_a_warning() -> None:
    place = Place(3, 0, 0, None)
    assert worst(rules.progress(TOPIC, [place], [place], 5))[0] is Level.WARNING


@pytest.mark.parametrize(("factor", "unit"), [(1000, "milliseconds"), (1_000_000, "seconds")])
def test_event_times_in_another_unit_are_named(factor: int, unit: str) -> None:
    level, said = worst(rules.event_times([Latest(0, NOW_MS, NOW_MS * 1000 // factor)]))
    assert level is Level.BROKEN
    assert f"looks like {unit}" in said
    assert "microseconds" in said


@pytest.mark.parametrize(
    ("off_ms", "level"),
    [
        (0, Level.GOOD),
        (-HOUR_MS // 2, Level.GOOD),
        (2 * HOUR_MS, Level.WARNING),
        (-2 * HOUR_MS, Level.WARNING),
    ],
)
def test_event_times_far_from_kafkas_are_a_warning(off_ms: int, level: Level) -> None:
    assert worst(rules.event_times([Latest(0, NOW_MS, (NOW_MS + off_ms) * 1000)]))[0] is level


def test_a_sound_redis_is_sound() -> None:
    assert redis_with()[0] is Level.GOOD


@pytest.mark.parametrize(
    ("info", "level", "advice"),
    [
        ({"maxmemory_policy": "volatile-lru"}, Level.WARNING, "noeviction"),
        ({"maxmemory_policy": "volatile-lru", "evicted_keys": "7"}, Level.BROKEN, "noeviction"),
        ({"used_memory": str(90 << 20)}, Level.WARNING, "raise maxmemory"),
        ({"maxmemory": "0"}, Level.NOTE, "set one"),
        ({"aof_enabled": "0"}, Level.WARNING, "appendonly"),
        ({"aof_last_write_status": "err"}, Level.BROKEN, "disk"),
    ],
)
def test_a_redis_that_may_forget_is_said(info: dict[str, Any], level: Level, advice: str) -> None:
    found, said = redis_with(**info)
    assert found is level
    assert advice in said


def test_what_a_redis_does_not_tell_is_no_verdict() -> None:
    assert without("maxmemory_policy")[0] is Level.NOTE
    assert without("aof_enabled")[0] is Level.NOTE


def test_clocks_that_are_apart_are_said() -> None:
    assert redis_with(clock_us=-10_000_000)[0] is Level.WARNING


@pytest.mark.parametrize(("days", "level"), [(90, Level.GOOD), (5, Level.WARNING), (-1, Level.BROKEN)])
def test_a_certificate_that_ends_soon_is_said(days: int, level: Level) -> None:
    assert worst(rules.certificates([Certificate("a", days * 86_400.0)], 0.0))[0] is level


def test_windows_that_no_worker_or_another_group_keeps_are_named() -> None:
    assert rules.windows_owner("mine", "mine", "ids").level is Level.GOOD
    level, said = worst([rules.windows_owner(None, "mine", "ids")])
    assert level is Level.WARNING
    assert "AUTODEEP_REDIS_URL" in said
    level, said = worst([rules.windows_owner("theirs", "mine", "ids")])
    assert level is Level.BROKEN
    assert "theirs" in said
    assert "ids:w:group" in said


def test_a_broker_whose_clock_is_ahead_is_named_and_a_producer_is_not() -> None:
    by_broker, by_producer = (Latest(0, NOW_MS + HOUR_MS, None, by_broker=one) for one in (True, False))
    assert list(rules.brokers_clock([], NOW_MS)) == []
    assert list(rules.brokers_clock([by_producer, Latest(1, NOW_MS, None)], NOW_MS)) == []
    level, said = worst(rules.brokers_clock([by_producer, by_broker], NOW_MS))
    assert level is Level.WARNING
    assert "3,600 s ahead" in said


def test_a_redis_that_does_not_tell_its_memory_is_not_said_to_have_no_limit() -> None:
    server = RedisServer({}, None, 0)
    found = {one.check: one.found for one in rules.redis("one server", [server], None)}
    assert found["redis memory"].startswith("not known")


@pytest.mark.parametrize(
    ("topic", "what", "found", "level", "says"),
    [
        ("ids.telemetry", "cleanup.policy", "compact", Level.BROKEN, "cleanup.policy=delete"),
        ("ids.telemetry", "cleanup.policy", "compact,delete", Level.BROKEN, "keeps the last record alone"),
        ("ids.models.active", "cleanup.policy", "delete", Level.BROKEN, "agreed on about models"),
        ("ids.models.commands", "partitions", "3", Level.WARNING, "autodeep topics create"),
        ("ids.telemetry", "partitions", "3", Level.WARNING, "unless it is meant so"),
        ("ids.telemetry", "retention.ms", "60000", Level.WARNING, "--add-config retention.ms=259200000"),
    ],
)
def test_a_topic_that_differs_is_as_grave_as_what_it_costs(
    topic: str, what: str, found: str, level: Level, says: str
) -> None:
    names = Topics()
    specs = topic_specs(names)
    assert worst(topics.findings([TopicReport(one, 3, State.SAME) for one in specs], names))[0] is Level.GOOD
    wanted = {
        "partitions": "1",
        **{name: value for one in specs if one.name == topic for name, value in one.config},
    }
    reports = [TopicReport(one, 3, State.SAME) for one in specs if one.name != topic]
    spec = next(one for one in specs if one.name == topic)
    reports.append(TopicReport(spec, 3, State.DIFFERS, (Difference(what, wanted[what], found),)))
    graveness, said = worst(topics.findings(reports, names))
    assert graveness is level
    assert says in said


def test_topics_that_cannot_be_compared_are_a_note_and_a_missing_one_is_not() -> None:
    """The rights that a worker needs do not include it."""
    assert worst(topics.not_compared([], "refused"))[0] is Level.NOTE
    level, said = worst(topics.not_compared(["ids.telemetry"], "refused"))
    assert level is Level.BROKEN
    assert said.startswith("ids.telemetry missing")


def test_the_last_days_of_a_certificate_are_told_in_hours() -> None:
    level, said = worst(rules.certificates([Certificate("kafka:9093", 30 * 3600.0)], 0.0))
    assert level is Level.WARNING
    assert "ends in 30 hours" in said


@pytest.mark.parametrize(
    ("name", "used"),
    [
        ("classified", {"publish_classified": True}),
        ("incidents", {"incidents": True}),
        ("flows", {"flow_topics": "zeek"}),
        ("sensors", {"flow_topics": "zeek,ids.sensors"}),
    ],
)
def test_a_topic_that_nothing_uses_need_not_be_there(name: str, used: dict[str, Any]) -> None:
    idle = Settings(publish_classified=False, incidents=False, flow_topics="")
    specs = topic_specs(Topics())
    everything, topic = {spec.name for spec in specs}, getattr(Topics(), name)

    def wanted(known: set[str], settings: Settings) -> set[str]:
        return {spec.name for spec in topics.wanted(specs, known, settings)}

    assert topic not in wanted(set(), idle)
    assert topic in wanted({topic}, idle), "one that is there is looked at"
    assert topic in wanted(set(), replace(idle, **used))
    assert len(everything - wanted(set(), idle)) == 6
