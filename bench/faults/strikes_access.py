"""Rights taken and given back, and certificates renewed, while workers run."""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence
from typing import Final

from confluent_kafka.admin import AclBinding, AclOperation, ResourceType

from bench.faults.access import allowed, give, is_refused, take, wait_past
from bench.faults.schedules import Cut, Fault
from bench.faults.servers import Servers
from bench.faults.setups import KafkaForm
from bench.faults.stage import Stage, now_us

_LONG: Final = datetime.timedelta(days=1)


def rights(stage: Stage, fault: Fault) -> int:
    """One right is away for a while. 0 where no worker said so: then none had needed it."""
    servers = stage.servers
    if servers.access is None:
        return 0
    chosen = _takeable(servers)
    right = chosen[fault.which % len(chosen)]
    with servers.kafka_cut_lock:
        said = _named(servers, right)
        take(servers.settings, right)
        try:
            time.sleep(fault.for_s)
        finally:
            give(servers.settings, [right])
        return now_us() if _named(servers, right) > said else 0


def _takeable(servers: Servers) -> Sequence[AclBinding]:
    topics = servers.topics
    return (
        allowed(ResourceType.TOPIC, topics.telemetry, AclOperation.READ),
        allowed(ResourceType.GROUP, servers.settings.group, AclOperation.READ),
        allowed(ResourceType.TOPIC, topics.model_commands, AclOperation.READ),
        allowed(ResourceType.TOPIC, topics.alerts("dos"), AclOperation.WRITE),
    )


def _named(servers: Servers, right: AclBinding) -> int:
    """How often workers have named it as missing."""
    what = f"{right.operation.name} on {right.restype.name.lower()} {right.name}"
    logs = (log.read_text(encoding="utf-8", errors="replace") for log in servers.logs.iterdir())
    return sum(text.count(what) for text in logs)


def renewal(stage: Stage, fault: Fault) -> int:
    """A certificate that soon ends is shown by all; another takes its place, and all must show that one.

    Brokers look at certificates when a connection begins: so all connections begin anew, with each of them.
    """
    servers, access = stage.servers, stage.servers.access
    if access is None or access.form is not KafkaForm.CERTIFICATES:
        return 0
    with servers.kafka_cut_lock:
        lives = datetime.timedelta(seconds=fault.for_s)
        ends = datetime.datetime.now(datetime.UTC) + lives
        access.renew(lives)
        _begin_anew(servers)
        former = access.as_shown_now()
        time.sleep(fault.for_s / 2)
        access.renew(_LONG)
        wait_past(ends)
        is_over = is_refused(former, servers.kafka.behind_ports[0])
        _begin_anew(servers)
        return now_us() if is_over else 0


def _begin_anew(servers: Servers) -> None:
    servers.cut_kafka(Cut.RESET)
    servers.cut_kafka(None)
