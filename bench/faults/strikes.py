"""One small function for each kind of fault: it strikes, lasts, and returns when the fault is over."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import Final

from confluent_kafka.admin import NewPartitions, PartitionMetadata

from bench.faults import strikes_redis
from bench.faults.committed import committed
from bench.faults.feed import Poison
from bench.faults.retention import retention
from bench.faults.schedules import Fault, Kind
from bench.faults.servers import PARTITIONS, VERSIONS
from bench.faults.stage import Stage, Struck, admin_of, now_us
from bench.faults.strikes_access import renewal, rights
from bench.faults.transactions import Transaction
from bench.model_orders import promote
from streams.adapters.kafka.publisher import KafkaPublisher
from streams.adapters.kafka.topics import create_topics, topic_id, topic_specs
from streams.codec.models import encode_command
from streams.core.events import Message
from streams.errors import AutodeepError

_ADMIN_S: Final = 60.0
_LONG_S: Final = 60.0
"""A transaction does not end by itself so soon."""
_MOST_POISON: Final = 5
FLAWED: Final = ("-m", "bench.faults.flawed_worker")


def strike(stage: Stage, fault: Fault) -> None:
    """Do it now; the diary has it afterwards. A fault that finds nothing to strike is noted as such."""
    begun_us = now_us()
    ended_us = STRIKES[fault.kind](stage, fault)
    if ended_us:
        stage.diary.struck.append(Struck(fault.kind, begun_us, ended_us))
    else:
        stage.diary.not_struck.append(str(fault))


def _kill(stage: Stage, fault: Fault) -> int:
    return _end(stage, fault, signal.SIGKILL)


def _term(stage: Stage, fault: Fault) -> int:
    return _end(stage, fault, signal.SIGTERM)


def _end(stage: Stage, fault: Fault, number: signal.Signals) -> int:
    with stage.fleet.taken(fault.which) as worker:
        if worker is None:
            return 0
        at_us = now_us()
        stage.fleet.end(worker, number, fault.for_s)
        return at_us


def _zombie(stage: Stage, fault: Fault) -> int:
    with stage.fleet.taken(fault.which) as worker:
        if worker is None or worker.exit_code is not None:
            return 0
        os.kill(worker.pid, signal.SIGSTOP)
        try:
            time.sleep(fault.for_s)
        finally:
            os.kill(worker.pid, signal.SIGCONT)
        return now_us()


def _join(stage: Stage, fault: Fault) -> int:
    for _ in range(1 + fault.which % 2):
        stage.fleet.add()
    return now_us()


def _broker(stage: Stage, fault: Fault) -> int:
    return _restart_node(stage, 0, fault.for_s)


def _leader(stage: Stage, fault: Fault) -> int:
    with stage.servers.topic_lock:
        partitions = _telemetry_of(stage)
    leader = partitions[fault.which % len(partitions)].leader
    return _restart_node(stage, max(leader - 1, 0), fault.for_s)


def _telemetry_of(stage: Stage) -> Mapping[int, PartitionMetadata]:
    """The partitions; of a topic that was just made again, a node may know none yet."""
    topic, admin = stage.servers.topics.telemetry, admin_of(stage.servers)
    deadline_s = time.monotonic() + _ADMIN_S
    while True:
        known = admin.list_topics(topic, timeout=_ADMIN_S).topics[topic]
        found: Mapping[int, PartitionMetadata] = known.partitions
        if found:
            return found
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{topic} is not there")
        time.sleep(0.05)


def _restart_node(stage: Stage, node: int, down_s: float) -> int:
    with stage.servers.kafka_lock:
        stage.servers.kafka.kill(node)
        time.sleep(down_s)
        stage.servers.kafka.restart(node)
        return now_us()


def _rolling(stage: Stage, fault: Fault) -> int:
    """Each node in turn: an orderly stop, and a start; the next one once all replicas follow again."""
    servers = stage.servers
    with servers.kafka_lock:
        for node in range(3):
            servers.kafka.stop(node)
            time.sleep(fault.for_s)
            servers.kafka.restart(node)
            _wait_in_sync(stage)
        return now_us()


def _wait_in_sync(stage: Stage) -> None:
    admin, deadline_s = admin_of(stage.servers), time.monotonic() + _ADMIN_S
    while True:
        topics = admin.list_topics(timeout=_ADMIN_S).topics.values()
        partitions = [one for topic in topics for one in topic.partitions.values()]
        if all(len(one.isrs) == len(one.replicas) for one in partitions):
            return
        if time.monotonic() > deadline_s:
            raise TimeoutError("replicas do not follow")
        time.sleep(0.1)


def _move(stage: Stage, fault: Fault) -> int:
    """A node ends, and comes back under another address. Workers know the configured one beside it."""
    servers, node = stage.servers, fault.which % stage.servers.kafka.nodes
    with servers.kafka_lock:
        servers.kafka.kill(node)
        servers.kafka.advertise(node, servers.kafka_proxies[node].move())
        time.sleep(fault.for_s)
        servers.kafka.restart(node)
        return now_us()


def _aborted(stage: Stage, fault: Fault) -> int:
    """Good events that their producer takes back."""
    if stage.flow is None:
        return 0
    with stage.servers.topic_lock:
        transaction = Transaction(stage.servers, _LONG_S)
        is_on_topic = transaction.send(stage.flow.unsent(1 + fault.which))
        time.sleep(fault.for_s)
        transaction.abort()
        return now_us() if is_on_topic else 0


def _hung(stage: Stage, fault: Fault) -> int:
    """A producer that says nothing any more: what stands behind its events waits until Kafka ends it."""
    if stage.flow is None:
        return 0
    with stage.servers.topic_lock:
        transaction = Transaction(stage.servers, fault.for_s)
        if not transaction.send(stage.flow.unsent(1 + fault.which)):
            return 0
        transaction.wait_ended()
        return now_us()


def _kafka_cut(stage: Stage, fault: Fault) -> int:
    with stage.servers.kafka_cut_lock:
        stage.servers.cut_kafka(fault.manner)
        time.sleep(fault.for_s)
        stage.servers.cut_kafka(None)
        return now_us()


def _poison(stage: Stage, fault: Fault) -> int:
    kinds = list(Poison)
    if stage.flow is None:
        return 0
    for i in range(1 + fault.which % _MOST_POISON):
        stage.flow.poison(kinds[(fault.which + i) % len(kinds)])
    return now_us()


def _topic_anew(stage: Stage, fault: Fault) -> int:
    """What was committed just before is noted: of the old life nothing can be read afterwards."""
    servers, flow = stage.servers, stage.flow
    topic = servers.topics.telemetry
    if flow is None:
        return 0
    with servers.kafka_lock, servers.topic_lock, flow.pausing():
        stage.diary.committed[flow.life] = committed(servers.settings, topic)
        admin = admin_of(stage.servers)
        admin.delete_topics([topic], request_timeout=_ADMIN_S)[topic].result()
        deadline_s = time.monotonic() + _ADMIN_S
        while topic in admin.list_topics(timeout=_ADMIN_S).topics:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{topic} is still there")
            time.sleep(0.05)
        create_topics(servers.settings, topic_specs(servers.topics, PARTITIONS))
        flow.life += 1
        stage.diary.topic_ids.append(topic_id(servers.settings, topic))
        return now_us()


def _partitions(stage: Stage, fault: Fault) -> int:
    topic = stage.servers.topics.telemetry
    with stage.servers.kafka_lock, stage.servers.topic_lock:
        admin, count = admin_of(stage.servers), len(_telemetry_of(stage))
        admin.create_partitions([NewPartitions(topic, 2 * count)], request_timeout=_ADMIN_S)[topic].result()
        return now_us()


def _exception(stage: Stage, fault: Fault) -> int:
    """One worker is replaced by one that raises after some records; it ends, and is replaced."""
    with stage.fleet.taken(fault.which) as worker:
        if worker is None:
            return 0
        stage.fleet.end(worker, signal.SIGTERM, 0.0, (*FLAWED, str(10 + 10 * fault.which)))
    return now_us()


def _promote(stage: Stage, fault: Fault) -> int:
    version = VERSIONS[(len(stage.diary.promoted) + 1) % len(VERSIONS)]
    stage.diary.promoted.append((now_us(), version))
    order = Message(stage.servers.topics.model_commands, b"", encode_command(promote(version)))
    with KafkaPublisher(stage.servers.settings) as publisher:
        for _ in range(12):  # a broker may be away
            try:
                publisher.publish([order])
            except AutodeepError:
                time.sleep(1.0)
            else:
                return now_us()
    return 0


STRIKES: Final[Mapping[Kind, Callable[[Stage, Fault], int]]] = {
    Kind.KILL: _kill,
    Kind.TERM: _term,
    Kind.ZOMBIE: _zombie,
    Kind.JOIN: _join,
    Kind.BROKER: _broker,
    Kind.LEADER: _leader,
    Kind.REDIS: strikes_redis.restarted,
    Kind.REDIS_LOSS: strikes_redis.lost,
    Kind.REDIS_CUT: strikes_redis.cut,
    Kind.KAFKA_CUT: _kafka_cut,
    Kind.REDIS_FULL: strikes_redis.full,
    Kind.POISON: _poison,
    Kind.TOPIC_ANEW: _topic_anew,
    Kind.PARTITIONS: _partitions,
    Kind.EXCEPTION: _exception,
    Kind.PROMOTE: _promote,
    Kind.ABORTED: _aborted,
    Kind.HUNG: _hung,
    Kind.RETENTION: retention,
    Kind.MOVE: _move,
    Kind.ROLLING: _rolling,
    Kind.RIGHTS: rights,
    Kind.RENEWAL: renewal,
    Kind.FAILOVER: strikes_redis.failed_over,
    Kind.SLOT_MOVE: strikes_redis.slots_moved,
}
