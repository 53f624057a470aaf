"""Schedules of faults, drawn by a seed. Pure."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bench.faults.setups import KafkaForm, RedisForm, SetUp
from streams.errors import SettingsError


class Kind(StrEnum):
    KILL = "kill"  # SIGKILL of a worker
    TERM = "term"  # SIGTERM of a worker
    ZOMBIE = "zombie"  # SIGSTOP of a worker for longer than its session lives, then SIGCONT
    JOIN = "join"  # more workers
    BROKER = "broker"  # SIGKILL of the only Kafka node, and a start on the same data
    LEADER = "leader"  # of three nodes, SIGKILL of one that leads a telemetry partition, and its start
    REDIS = "redis"  # SIGKILL of Redis, and a start on its append-only file
    REDIS_LOSS = "redis-loss"  # SIGKILL of Redis, and a start without its data
    REDIS_CUT = "redis-cut"  # Redis behind a proxy that stalls, resets or is slow
    KAFKA_CUT = "kafka-cut"  # Kafka likewise, for the workers alone
    REDIS_FULL = "redis-full"  # maxmemory reached, noeviction; room again later
    POISON = "poison"  # records that cannot be read
    TOPIC_ANEW = "topic-anew"  # the telemetry topic deleted and made again
    PARTITIONS = "partitions"  # its partitions doubled
    EXCEPTION = "exception"  # a worker that meets an unexpected exception
    PROMOTE = "promote"  # another model, alike but for its digest
    ABORTED = "aborted"  # good events in a transaction that its producer aborts
    HUNG = "hung"  # good events in a transaction that nobody ends, until Kafka does
    RETENTION = "retention"  # workers cut off while Kafka deletes what they have not read
    MOVE = "move"  # SIGKILL of a Kafka node, and its start under another address
    ROLLING = "rolling"  # of three nodes, each stopped and started in turn
    RIGHTS = "rights"  # one right of the workers taken, and given back
    RENEWAL = "renewal"  # the workers' certificate renewed, and the former one ends
    FAILOVER = "failover"  # a Redis replica takes over from a primary that crashes or hands over
    SLOT_MOVE = "slot-move"  # the windows of all partitions moved between nodes of a cluster


class Cut(StrEnum):
    """What a proxy does instead of passing bytes on."""

    STALL = "stall"
    RESET = "reset"
    SLOW = "slow"


FLOW_S: Final = 24.0
"""How long events flow; every fault begins meanwhile."""
_CUTS: Final = (Kind.REDIS_CUT, Kind.KAFKA_CUT)
_LASTS_S: Final[Mapping[Kind, tuple[float, float]]] = {
    Kind.ZOMBIE: (11.5, 16.0),  # beyond a session, which lives 10 s (streams.adapters.kafka.faust_app)
    **dict.fromkeys(_CUTS, (1.0, 14.0)),
    **dict.fromkeys((Kind.BROKER, Kind.LEADER, Kind.MOVE), (0.2, 6.0)),
    **dict.fromkeys((Kind.REDIS, Kind.REDIS_LOSS, Kind.REDIS_FULL), (0.2, 6.0)),
    **dict.fromkeys((Kind.KILL, Kind.TERM, Kind.EXCEPTION), (0.0, 2.0)),  # until it is replaced
    Kind.ABORTED: (0.2, 6.0),
    Kind.HUNG: (2.0, 8.0),
    Kind.RETENTION: (2.0, 4.0),  # within a session, so that a worker goes on with what it has in hand
    Kind.ROLLING: (0.0, 1.0),  # each node
    Kind.RIGHTS: (2.0, 14.0),
    Kind.RENEWAL: (4.0, 8.0),
    Kind.FAILOVER: (0.2, 6.0),
    Kind.SLOT_MOVE: (1.0, 6.0),
}
"""From how long to how long it lasts; others are over at once."""
_ONE_NODE: Final = (Kind.BROKER,)
_THREE_NODES: Final = (Kind.LEADER, Kind.ROLLING)
_KAFKA: Final[Mapping[Kind, Collection[KafkaForm]]] = {
    Kind.RIGHTS: (KafkaForm.LOG_IN, KafkaForm.CERTIFICATES),
    Kind.RENEWAL: (KafkaForm.CERTIFICATES,),
}
_REDIS: Final[Mapping[Kind, Collection[RedisForm]]] = {
    **dict.fromkeys((Kind.REDIS, Kind.REDIS_LOSS, Kind.REDIS_CUT, Kind.REDIS_FULL), (RedisForm.SERVER,)),
    Kind.FAILOVER: (RedisForm.SENTINEL, RedisForm.CLUSTER),
    Kind.SLOT_MOVE: (RedisForm.CLUSTER,),
}
"""In which forms there is something to strike; others are struck in all."""
_ONCE: Final = (Kind.PARTITIONS, Kind.TOPIC_ANEW)
"""At most once in a schedule."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Begins `at_s` after the first event and lasts `for_s`. `which` chooses among what could be struck."""

    kind: Kind
    at_s: float
    for_s: float = 0.0
    which: int = 0
    manner: Cut | None = None

    def __str__(self) -> str:
        lasts = f" for {self.for_s:.1f} s" if self.for_s else ""
        return f"{self.at_s:.1f} s {self.kind}{f' {self.manner}' if self.manner else ''}{lasts}"


@dataclass(frozen=True, slots=True)
class Schedule:
    number: int
    seed: int
    setup: SetUp
    workers: int
    faults: tuple[Fault, ...]
    flow_s: float = FLOW_S

    def __str__(self) -> str:
        return f"{self.setup}, {self.workers} workers: {' | '.join(map(str, self.faults))}"


def kinds_named(names: str) -> tuple[Kind, ...]:
    """Kinds by their names, comma-separated; all where that is empty. Raises SettingsError."""
    try:
        return tuple(Kind(name.strip()) for name in names.split(",")) if names else tuple(Kind)
    except ValueError as exc:
        raise SettingsError(f"--kinds {names}: {exc}; the kinds are {', '.join(Kind)}") from exc


def fits(kind: Kind, setup: SetUp) -> bool:
    """Whether there is something to strike."""
    return (
        kind not in (_ONE_NODE if setup.nodes == 3 else _THREE_NODES)
        and setup.kafka in _KAFKA.get(kind, KafkaForm)
        and setup.redis in _REDIS.get(kind, RedisForm)
    )


def draw(seed: int, number: int, kinds: Collection[Kind] = tuple(Kind)) -> Schedule:
    """The schedule of that number, counted from 1, whatever the others are. The first kinds come in turn."""
    rng = random.Random(f"{seed}/{number}")
    wanted = [kind for kind in Kind if kind in kinds]
    first = wanted[(number - 1) % len(wanted)]
    nodes = 3 if first in _THREE_NODES else 1
    setups = [SetUp(nodes, kafka, redis) for kafka in KafkaForm for redis in RedisForm]
    setup = rng.choice([one for one in setups if fits(first, one)])
    possible = [kind for kind in wanted if fits(kind, setup)]
    chosen = [first]
    for _ in range(rng.randint(2, 4)):
        left = [kind for kind in possible if kind not in _ONCE or kind not in chosen]
        chosen += [rng.choice(left)] if left else []
    faults = sorted((fault_of(rng, kind) for kind in chosen), key=lambda fault: fault.at_s)
    return Schedule(number, seed, setup, rng.randint(2, 4), tuple(faults))


def fault_of(rng: random.Random, kind: Kind) -> Fault:
    """One of that kind; when, how long, whom and how is drawn."""
    at_s, which = round(rng.uniform(1.0, FLOW_S - 6.0), 1), rng.randrange(12)
    for_s = round(rng.uniform(*_LASTS_S[kind]), 1) if kind in _LASTS_S else 0.0
    return Fault(kind, at_s, for_s, which, rng.choice(list(Cut)) if kind in _CUTS else None)
