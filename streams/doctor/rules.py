"""From facts to findings. Pure: what counts as sound stands here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from streams.adapters.certificates import Certificate
from streams.doctor.facts import Broker, Latest, Member, Place, RedisServer
from streams.doctor.findings import Finding, Level

GOOD, NOTE, WARNING, BROKEN = Level.GOOD, Level.NOTE, Level.WARNING, Level.BROKEN

CLOCK_SKEW_S: Final = 2.0
EVENT_SKEW_S: Final = 3600.0
CERTIFICATE_DAYS: Final = 21
WINDOW_BYTES: Final = 3200
"""The most that a device takes in Redis (docs/operating.md)."""
_DAY_S: Final = 86_400
_FULL: Final = 0.8
_MOST_NAMED: Final = 8
_YEAR_US: Final = 365 * _DAY_S * 1_000_000


def brokers(found: Sequence[Broker]) -> Iterator[Finding]:
    for broker in found:
        if broker.problem:
            yield Finding(
                "brokers",
                BROKEN,
                f"broker {broker.number} tells its clients to use {broker.address}: {broker.problem}",
                "set the broker's advertised.listeners to an address that workers reach",
            )
    if len(found) < 3:
        yield Finding(
            "brokers",
            NOTE,
            f"{len(found)} broker{'s' * (len(found) != 1)}: a lost disk loses records",
            "for production three brokers, and three copies of each topic",
        )
    elif not any(broker.problem for broker in found):
        yield Finding("brokers", GOOD, f"{len(found)} brokers answer")


def group(name: str, members: Sequence[Member] | None, partitions: int) -> Iterator[Finding]:
    """`members` None: the group is being rebalanced."""
    if members is None:
        yield Finding("workers", NOTE, f"group {name} is being rebalanced", "ask again in a minute")
        return
    working = [member for member in members if member.partitions]
    if not members:
        yield Finding(
            "workers",
            BROKEN,
            f"no worker is in group {name}",
            "start workers; those that run may have another AUTODEEP_GROUP or AUTODEEP_KAFKA_SERVERS",
        )
        return
    owned = {number for member in members for number in member.partitions}
    if len(owned) < partitions:
        unowned = sorted(set(range(partitions)) - owned)
        yield Finding(
            "workers", BROKEN, f"nobody reads partitions {_some(unowned)}", "look at the log of the workers"
        )
    spare = len(members) - len(working)
    if spare:
        yield Finding(
            "workers",
            NOTE,
            f"{spare} of {len(members)} workers are spare: there are {partitions} partitions",
            "more workers than partitions share no more work",
        )
    else:
        yield Finding(
            "workers", GOOD, f"{partitions} partitions, {len(working)} of {len(members)} workers read them"
        )


def progress(
    topic: str, before: Sequence[Place], after: Sequence[Place], seconds: float
) -> Iterator[Finding]:
    """Two looks at a topic's partitions, so long apart."""
    earlier = {place.partition: place for place in before}
    standing, lost, unknown, lag = list[int](), list[int](), list[int](), 0
    for place in after:
        first = earlier.get(place.partition, place)
        if place.committed is None:
            unknown.append(place.partition)
            continue
        lag += max(place.end - max(place.committed, place.first), 0)
        if place.committed < place.first:
            lost.append(place.partition)
        if place.end > place.committed and first.committed == place.committed and first.end > place.committed:
            standing.append(place.partition)
    if lost:
        yield Finding(
            "lag",
            BROKEN,
            f"{topic}: records of partitions {_some(lost)} were deleted before anybody read them",
            "raise retention.ms of the topic, and add workers",
        )
    if standing:
        yield Finding(
            "lag",
            BROKEN,
            f"{topic}: partitions {_some(standing)} stand still: records wait, and no offset moved in "
            f"{seconds:.0f} s",
            "/stats of the worker that owns them says under `held` and `why_not` what they wait for",
        )
    if unknown:
        yield Finding(
            "lag",
            WARNING,
            f"{topic}: partitions {_some(unknown)} have no committed offset",
            "lag exporters and autoscalers misjudge them; a worker that owns them commits one",
        )
    if not (lost or standing):
        yield Finding("lag", GOOD, f"{topic}: {lag:,} records wait in {len(after)} partitions")


def event_times(latest: Sequence[Latest]) -> Iterator[Finding]:
    unreadable = [one for one in latest if one.problem]
    if unreadable:
        yield Finding(
            "telemetry",
            WARNING,
            f"the last record of partitions {_some([one.partition for one in unreadable])} cannot be read: "
            f"{unreadable[0].problem}",
            "such records become dead letters: the reason and the bytes are there",
        )
    units, skewed = set[str](), list[tuple[float, int]]()
    for one in latest:
        if one.event_time_us is None:
            continue
        if unit := _unit(one.event_time_us, one.appended_ms):
            units.add(unit)
        else:
            skewed.append((one.event_time_us / 1e6 - one.appended_ms / 1e3, one.partition))
    if units:
        yield Finding(
            "event times",
            BROKEN,
            f"event_time_us looks like {' and '.join(sorted(units))}",
            "producers must send microseconds since 1970",
        )
    worst_s, partition = max(skewed, key=lambda pair: abs(pair[0]), default=(0.0, -1))
    if abs(worst_s) > EVENT_SKEW_S:
        yield Finding(
            "event times",
            WARNING,
            f"an event of partition {partition} is {abs(worst_s):,.0f} s "
            f"{'ahead of' if worst_s > 0 else 'behind'} Kafka's timestamp",
            "look at the clock of the device or sensor, or at a buffer that is sent late",
        )
    elif skewed and not units:
        yield Finding("event times", GOOD, f"within {abs(worst_s):,.1f} s of Kafka's timestamps")


def brokers_clock(latest: Sequence[Latest], now_ms: int) -> Iterator[Finding]:
    """A broker cannot have taken a record in after now."""
    ahead_s = max((one.appended_ms - now_ms for one in latest if one.by_broker), default=0) / 1000
    if ahead_s > CLOCK_SKEW_S:
        yield Finding(
            "clocks",
            WARNING,
            f"a broker's clock is {ahead_s:,.0f} s ahead of this machine's, or was when a record came",
            "run NTP on both: windows and retention go by the brokers' clocks",
        )


def _unit(event_time_us: int, appended_ms: int) -> str:
    """What unit it seems to have been sent in, where that is not microseconds."""
    for unit, factor in (("milliseconds", 1000), ("seconds", 1_000_000)):
        if abs(event_time_us * factor - appended_ms * 1000) < _YEAR_US:
            return unit
    return ""


def redis(kind: str, servers: Sequence[RedisServer], devices: int | None) -> Iterator[Finding]:
    versions = sorted({server.info.get("redis_version", "?") for server in servers})
    yield Finding("redis", GOOD, f"{kind}, {len(servers)} serving, version {', '.join(versions)}")
    for server in servers:
        yield from _redis_eviction(server.info)
        yield from _redis_memory(server.info, devices, len(servers))
        yield from _redis_persistence(server.info)
        yield from _clock(server)


def windows_owner(owner: str | None, group: str, prefix: str) -> Finding:
    """`owner` is the group that has claimed the windows there; None where none has."""
    if owner == group:
        return Finding("redis windows", GOOD, f"those of {prefix} are group {group}'s")
    if owner is None:
        return Finding(
            "redis windows",
            WARNING,
            f"no worker keeps those of {prefix} here",
            "workers that run use another Redis or database: compare their AUTODEEP_REDIS_URL with this one",
        )
    return Finding(
        "redis windows",
        BROKEN,
        f"those of {prefix} belong to the group {owner}: workers of {group} do not start",
        f"give each group a Redis or a database of its own; where {owner} is no more, DEL {prefix}:w:group",
    )


def _redis_eviction(info: Mapping[str, str]) -> Iterator[Finding]:
    policy, evicted = info.get("maxmemory_policy"), int(info.get("evicted_keys", 0))
    if policy is None:
        yield Finding("redis eviction", NOTE, "not known: INFO does not say", "it must be noeviction")
    elif policy != "noeviction":
        yield Finding(
            "redis eviction",
            BROKEN if evicted else WARNING,
            f"maxmemory-policy is {policy}; {evicted:,} keys were evicted",
            "CONFIG SET maxmemory-policy noeviction: an evicted window is a device's forgotten history",
        )
    else:
        yield Finding("redis eviction", GOOD, "noeviction")


def _redis_memory(info: Mapping[str, str], devices: int | None, servers: int) -> Iterator[Finding]:
    if "used_memory" not in info:
        yield Finding("redis memory", NOTE, "not known: INFO does not say")
        return
    used, most = int(info["used_memory"]), int(info.get("maxmemory", 0))
    room = f", {devices:,} keys" if devices is not None else ""
    if most and used > _FULL * most:
        yield Finding(
            "redis memory",
            WARNING,
            f"{used >> 20:,} of {most >> 20:,} MiB used{room}",
            f"a device takes up to {WINDOW_BYTES:,} bytes; raise maxmemory or lower AUTODEEP_WINDOW_TTL_DAYS",
        )
    elif not most:
        yield Finding(
            "redis memory",
            NOTE,
            f"{used >> 20:,} MiB used{room}, and no maxmemory",
            "set one: the machine's memory is a worse limit",
        )
    else:
        yield Finding("redis memory", GOOD, f"{used >> 20:,} of {most >> 20:,} MiB used{room}")


def _redis_persistence(info: Mapping[str, str]) -> Iterator[Finding]:
    if info.get("aof_last_write_status", "ok") != "ok" or info.get("rdb_last_bgsave_status", "ok") != "ok":
        yield Finding(
            "redis persistence", BROKEN, "the last write to disk failed", "look at the log and disk of Redis"
        )
    elif info.get("aof_enabled") == "0":
        yield Finding(
            "redis persistence",
            WARNING,
            "no append-only file: after a restart every device's history is short",
            "CONFIG SET appendonly yes, or AUTODEEP_REBUILD_WINDOWS_RECORDS",
        )
    elif info.get("aof_enabled") == "1":
        yield Finding("redis persistence", GOOD, "append-only file")
    else:
        yield Finding("redis persistence", NOTE, "not known: INFO does not say")


def _clock(server: RedisServer) -> Iterator[Finding]:
    if server.clock_us is None:
        return
    skew_s = (server.clock_us - server.asked_us) / 1e6
    if abs(skew_s) > CLOCK_SKEW_S:
        yield Finding(
            "clocks",
            WARNING,
            f"the clock of Redis and this machine's are {abs(skew_s):,.1f} s apart",
            "run NTP on both",
        )
    else:
        yield Finding("clocks", GOOD, f"Redis's and this machine's: {abs(skew_s):.1f} s apart")


def certificates(found: Iterable[Certificate], now_s: float) -> Iterator[Finding]:
    for one in found:
        days = (one.ends_s - now_s) / _DAY_S
        if days < 0:
            yield Finding("certificates", BROKEN, f"that of {one.whose} has expired", "renew it")
        elif days < CERTIFICATE_DAYS:
            left = f"{days:.0f} days" if days >= 2 else f"{days * 24:.0f} hours"
            yield Finding("certificates", WARNING, f"that of {one.whose} ends in {left}", "renew it")
        else:
            yield Finding("certificates", GOOD, f"that of {one.whose} holds for {days:,.0f} days")


def _some(numbers: Sequence[int]) -> str:
    named = ", ".join(map(str, numbers[:_MOST_NAMED]))
    return f"{named} and {len(numbers) - _MOST_NAMED} more" if len(numbers) > _MOST_NAMED else named
