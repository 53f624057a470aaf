"""Incidents: how many alerts one tells, what they cost a worker, and how soon one is told.

Each load goes flat out through a worker with incidents and through one without. Their cost is told twice: by
the worker's own stages (counting, and what drives the worst alerts), and as the difference of the processes'
CPU microseconds an event, in which the publishing of the revisions is.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.faults.judge_incidents import gaps
from bench.feed import send, send_paced
from bench.output import to_the_end
from bench.parts import Parts, started
from bench.pipeline import Load, flat_out, mixed, wait_for
from streams.codec.output.alerts import decode_alert
from streams.codec.output.incidents import decode_incident
from streams.core.incidents import Incident

BROKER = {"log.message.timestamp.type": "LogAppendTime"}


@dataclass(frozen=True, slots=True)
class Plan:
    events: int
    devices: int
    """Of the usual load; a flood comes from a hundredth of them."""
    latency_s: float


def measure(data: Path, plan: Plan) -> dict[str, Any]:
    usual = Load(plan.events, plan.devices, 0.02)
    flood = Load(plan.events, max(plan.devices // 100, 1), 0.8)
    return {"usual": _loaded(data, usual, plan), "flood": _loaded(data, flood, plan)}


def _loaded(data: Path, load: Load, plan: Plan) -> dict[str, Any]:
    without = _run(data, load, plan, incidents="false")
    with_them = _run(data, load, plan, incidents="true")
    stages = with_them["stages_us"]
    process_us, before_us = sum(stages.values()), sum(without["stages_us"].values())
    return {
        **asdict(load),
        **with_them,
        "process_us_without": round(before_us, 2),
        "process_us": round(process_us, 2),
        "share_of_counting": round(stages["incidents"] / process_us, 4),
        "share_of_explaining": round(stages["explain"] / process_us, 4),
        "cost": round(process_us / before_us - 1, 4),
    }


def _run(data: Path, load: Load, plan: Plan, incidents: str) -> dict[str, Any]:
    with started(BROKER, incidents=incidents) as parts:
        send(parts.settings, mixed(data, load))
        worker = parts.worker("worker")
        flat = flat_out(worker, load.events)
        found: dict[str, Any] = {name: flat[name] for name in ("events_per_s", "alerts", "stages_us")}
        if incidents == "true":
            since_us, rate = time.time_ns() // 1000, flat["events_per_s"] / 4
            paced = mixed(data, Load(int(rate * plan.latency_s), load.devices, load.attack_share))
            send_paced(parts.settings, paced, rate)
            wait_for(worker, load.events + len(paced))
            worker.stop()
            found |= _told(parts, since_us)
        else:
            worker.stop()
    return found


def _told(parts: Parts, since_us: int) -> dict[str, Any]:
    """What stands on the topics, and milliseconds from an event to its alert and to the opening record."""
    opened_ms: list[float] = []
    incidents: list[Incident] = []
    for message in to_the_end(parts, [parts.topics.incidents]):
        one = decode_incident(message.value(), message.headers())
        incidents.append(one)
        if one.revision == 1 and one.first_event_us >= since_us:
            opened_ms.append(message.timestamp()[1] - one.first_event_us / 1000)
    alerted_ms: list[float] = []
    carried: Counter[str | None] = Counter()
    for message in to_the_end(parts, parts.topics.all_alerts()):
        alert = decode_alert(message.value())
        carried[alert.incident_id] += 1
        if alert.event_time_us >= since_us:
            alerted_ms.append(message.timestamp()[1] - alert.event_time_us / 1000)
    last = {one.incident_id: one for one in sorted(incidents, key=lambda one: one.revision)}
    wrong = [one for one in last.values() if one.alerts > carried[one.incident_id]]
    return {
        "incidents": len(last),
        "records": len(incidents),
        "alerts_an_incident": round((carried.total() - carried[None]) / max(len(last), 1), 1),
        "alerts_a_record": round((carried.total() - carried[None]) / max(len(incidents), 1), 1),
        "broken_laws": len(list(gaps(incidents))) + len(wrong) + len(set(carried) - {None, *last}),
        "opening_ms": _percentiles(opened_ms),
        "alert_ms": _percentiles(alerted_ms),
    }


def _percentiles(found_ms: list[float]) -> dict[str, float]:
    if not found_ms:
        return {}
    p50, p99 = np.percentile(found_ms, [50, 99])
    return {"p50": round(float(p50), 1), "p99": round(float(p99), 1), "count": len(found_ms)}
