"""The laboratory's course: servers, sensors, benign devices, then each attack; what is on ids.flows then."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Message

from bench.lab import network, packages, sensors
from bench.lab.enter import run_inside, settle_in, why_not
from bench.lab.scenarios import Scenario, all_of
from bench.output import to_the_end
from bench.parts import Parts, started
from streams.adapters.kafka.topics import TopicSpec, create_topics
from streams.codec import device_flows
from streams.codec.output.alerts import decode_alert
from streams.core.flows import DeviceFlow
from streams.embedded.kafka_jars import find_java, kafka_jars
from streams.errors import AutodeepError

WITHIN_S: Final = 15.0
"""From a scenario's start to its first flow on ids.flows."""
_TOPICS: Final = ("lab.meter", "lab.suricata", "lab.netflow")
_PARTITIONS: Final = 6
_TAIL: Final = 1_000
_WARM_S: Final = 4.0
_BETWEEN_S: Final = 1.0
_LOOK_S: Final = 3.0
_AT_MOST_S: Final = 200.0
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Played:
    scenario: Scenario
    began_s: float
    ended_s: float
    """Of the wall clock."""


def outside(arguments: Sequence[str], say: Say) -> int:
    """Install, then start ourselves again in namespaces of our own. Exit code 0 where it is skipped, too."""
    reason = why_not()
    if not reason:
        missing = packages.install()
        if missing:
            say(f"lab: not here, so left out: {', '.join(missing)}")
        if shutil.which("redis-server") is None:
            reason = "no redis-server"
        try:
            find_java()
            kafka_jars()  # by the network, which is not there later
        except AutodeepError as exc:
            reason = str(exc)
    if reason:
        say(f"lab: skipped: {reason}")
        return 0
    command = [sys.executable, "-m", "bench", "lab", *arguments]
    process = run_inside(command)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: process.kill())  # all in the namespace ends with it
    return process.wait()


def inside(say: Say) -> dict[str, Any]:
    settle_in()
    network.build()
    began_s = time.monotonic()
    with started(flow_topics=",".join(_TOPICS), flow_learning_s="0") as parts:  # it lasts minutes
        create_topics(parts.settings, [TopicSpec(name, _PARTITIONS, ()) for name in _TOPICS])
        worker = parts.worker("worker")
        start = sensors.Started(parts.stack, parts.logs)
        _people(start)
        running = [
            name
            for (name, begin), topic in zip(sensors.ALL.items(), _TOPICS, strict=True)
            if begin(start, parts.settings.kafka_servers, topic)
        ]
        worker.wait_ready()
        say(f"worker ready after {time.monotonic() - began_s:.0f} s; sensors: {', '.join(running)}")
        time.sleep(_WARM_S)
        played = [_play(one, parts.logs, say) for one in all_of(parts.logs) if one.is_here]
        _wait_for(parts, played, running)
        return _result(parts, played, running) | {"seconds": round(time.monotonic() - began_s)}


def _people(start: sensors.Started) -> None:
    for name in network.ADDRESSES:
        actor = [sys.executable, "-m", "bench.lab.actors", name, str(_AT_MOST_S)]
        start(f"actor-{name}", network.within(name, *actor))


def _play(scenario: Scenario, logs: Path, say: Say) -> Played:
    began_s = time.time()
    with (logs / f"attack-{scenario.name.replace(' ', '-')}.log").open("wb") as log:
        process = subprocess.Popen(
            network.within(scenario.where, *scenario.command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            process.wait(scenario.seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    ended_s = time.time()
    say(f"{scenario.name}: {scenario.command[0]}, {ended_s - began_s:.1f} s")
    time.sleep(_BETWEEN_S)
    return Played(scenario, began_s, ended_s)


def _wait_for(parts: Parts, played: Sequence[Played], running: Sequence[str]) -> None:
    """Until every sensor told of every scenario, or none of them may any more."""
    last_s = max(one.ended_s for one in played)
    while time.time() < last_s + WITHIN_S:
        seen = _by_scenario(_flows(parts), played)
        if all(seen[one.scenario.name].keys() >= set(running) for one in played):
            return
        time.sleep(_LOOK_S)


Arrived = tuple[float, DeviceFlow]


def _flows(parts: Parts) -> list[Arrived]:
    """When each was written to ids.flows, seconds of the wall clock."""
    return [
        (_written_s(one), device_flows.decode(one.value())) for one in to_the_end(parts, [parts.topics.flows])
    ]


def _written_s(message: Message) -> float:
    return float(message.timestamp()[1]) / 1e3


def _by_scenario(flows: Sequence[Arrived], played: Sequence[Played]) -> dict[str, dict[str, list[float]]]:
    """Of each scenario and sensor how many seconds after its start each flow was there."""
    found: dict[str, dict[str, list[float]]] = {one.scenario.name: {} for one in played}
    for written_s, flow in flows:
        for one in played:
            if one.scenario.fits(flow) and one.began_s - 1 <= flow.start_us / 1e6 <= one.ended_s + 1:
                found[one.scenario.name].setdefault(flow.sensor, []).append(written_s - one.began_s)
    return found


def _result(parts: Parts, played: Sequence[Played], running: Sequence[str]) -> dict[str, Any]:
    flows = _flows(parts)
    seen = _by_scenario(flows, played)
    rows = []
    for one in played:
        by = {
            name: {"flows": len(after), "first_s": round(min(after), 1)}
            for name, after in seen[one.scenario.name].items()
        }
        first_s = min((told["first_s"] for told in by.values()), default=None)
        rows.append(
            {
                "scenario": one.scenario.name,
                "kind": one.scenario.kind,
                "tool": one.scenario.command[0].rpartition("/")[2],
                "seconds": round(one.ended_s - one.began_s, 1),
                "sensors": by,
                "first_s": first_s,
                "in_time": first_s is not None and first_s <= WITHIN_S,
                "alerts": _alerts(parts, one),
            }
        )
    attacked = {one.scenario.name for one in played}
    return {
        "scenarios": rows,
        "running": list(running),
        "left_out": [one.name for one in all_of(parts.logs) if one.name not in attacked],
        "flows": len(flows),
        "benign_alerts": _benign(parts, played),
        "late": [row["scenario"] for row in rows if not row["in_time"]],
        "silent": {
            name: _tail(parts.logs, name)
            for name in running
            if not all(name in seen[one.scenario.name] for one in played)
        },
    }


def _tail(logs: Path, sensor: str) -> str:
    """What a sensor said that did not tell of all."""
    names = {sensors.NETFLOW: ("softflowd", "goflow2", "nfacctd")}.get(sensor, (sensor,))
    found = [logs / f"{name}.log" for name in names]
    return "\n".join(log.read_text(errors="replace")[-_TAIL:] for log in found if log.exists())


def _told(parts: Parts) -> list[tuple[float, Any]]:
    topics = parts.topics.all_alerts()
    return [(_written_s(one), decode_alert(one.value(), one.headers())) for one in to_the_end(parts, topics)]


def _alerts(parts: Parts, one: Played) -> dict[str, Any]:
    """By class: how many of its device, and how many seconds after its start the first was there."""
    found: dict[str, list[float]] = {}
    for written_s, alert in _told(parts):
        if alert.device_id == one.scenario.device and one.began_s <= written_s <= one.ended_s + WITHIN_S:
            found.setdefault(alert.verdict, []).append(written_s - one.began_s)
    return {name: {"alerts": len(after), "first_s": round(min(after), 1)} for name, after in found.items()}


def _benign(parts: Parts, played: Sequence[Played]) -> int:
    """Of devices to which nothing was done."""
    attacked = {one.scenario.device for one in played}
    return sum(alert.device_id not in attacked for _, alert in _told(parts))
