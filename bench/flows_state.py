"""A device's state and the features of flows: microseconds of CPU a flow by mix, bytes a device. No I/O."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from streams.core.flow.columns import ROLES, UNKNOWN, DeviceFlows, columns_of, joined
from streams.core.flow.passing import pass_turn
from streams.core.flow.state import STATE, States, blank
from streams.core.flow.table import FLOW
from streams.core.flows import Quality, Role, State

START_US: Final = 1_700_000_000_000_000
ROUNDS: Final = 30
WARM: Final = 3
"""Turns before those that are measured: states are full then."""
AT_HOME: Final = {"rita": ["64.225.56.201"]}
ALONE: Final = ("st008",)

TURN_US: Final = 4_500_000_000
"""From turn to turn."""

Turn = Callable[[np.random.Generator, int], DeviceFlows]


def measure(data: Path) -> dict[str, Any]:
    """The least of ROUNDS turns of each mix; of the captures, all of their flows."""
    mixes = {
        "500 devices, a flow each": (500, _plain(500, 500)),
        "4,000 devices, a flow each": (4_000, _plain(4_000, 4_000)),
        "500 devices, 4,000 flows": (500, _plain(4_000, 500)),
        "40 devices, 4,000 flows": (40, _plain(4_000, 40)),
        "one device, 4,000 flows": (1, _plain(4_000, 1)),
        "one device, 4,000 flows of a scan": (1, _scan),
        "one device, 4,000 flows, half of them late by up to 300 s": (1, _late),
        "500 devices, 4,000 records, each flow three times": (500, _thrice),
        "500 devices, 4,000 halves": (500, _halves(500)),
        "40 devices, 4,000 halves": (40, _halves(40)),
        "one device, 4,000 halves": (1, _halves(1)),
        "40 devices, 4,000 halves, the other ones missing": (40, _lone(40)),
        "one device, 4,000 halves, each of which lets one before it go": (1, _lone_by_the_second),
        "500 devices, 4,000 interim records, four a flow": (500, _interim(500)),
        "40 devices, 4,000 interim records, four a flow": (40, _interim(40)),
        "40 devices, 4,000 pieces, four a flow": (40, _pieces(40)),
        "one flow": (1, _plain(1, 1)),
    }
    figures: dict[str, Any] = {
        "bytes_a_device": STATE.itemsize,
        "bytes_a_row": FLOW.row.itemsize,
        "us_a_flow": {name: round(_cost(devices, turn), 2) for name, (devices, turn) in mixes.items()},
    }
    if data.exists():
        figures["captures"] = _captures(data)
    return figures


def _cost(devices: int, turn: Turn) -> float:
    rng = np.random.default_rng(1)
    states: States = blank(devices)
    latest_us = np.zeros(devices, np.int64)
    least = float("inf")
    for number in range(WARM + ROUNDS):
        flows = turn(rng, START_US + number * TURN_US)
        began = time.process_time()
        passed = pass_turn(states, latest_us, flows, flows.end_us)
        states, latest_us = passed.step.states, passed.latest_us
        if number >= WARM:
            least = min(least, (time.process_time() - began) / len(flows))
    return least * 1e6


def _captures(data: Path) -> dict[str, Any]:
    from streams.training.flow_captures import captures, describe

    flows = counted = 0
    spent_s = 0.0
    for capture in captures(data, AT_HOME, ALONE):
        began = time.process_time()
        described = describe(capture)
        spent_s += time.process_time() - began
        flows += len(capture.flows)
        counted += len(described.flow)
    return {
        "device_flows": flows,
        "repeated": flows - counted,
        "us_a_flow": round(spent_s / max(flows, 1) * 1e6, 2),
    }


def _plain(count: int, devices: int) -> Turn:
    def turn(rng: np.random.Generator, now_us: int) -> DeviceFlows:
        return _flows(rng, rng.permutation(np.arange(count) % devices), now_us)

    return turn


def _scan(rng: np.random.Generator, now_us: int) -> DeviceFlows:
    n = 4_000
    return _flows(
        rng,
        np.zeros(n, np.int64),
        now_us,
        peer=rng.integers(1, 2**63, n),
        peer_port=np.full(n, 23),
        state=np.full(n, int(State.NO_ANSWER)),
        packets_in=np.zeros(n, np.int64),
        ip_bytes_in=np.zeros(n, np.int64),
    )


def _late(rng: np.random.Generator, now_us: int) -> DeviceFlows:
    n = 4_000
    late_us = rng.integers(0, 300_000_000, n) * (rng.random(n) < 0.5)
    ends_us = now_us + np.arange(n) * 10_000 - late_us
    return _flows(rng, np.zeros(n, np.int64), now_us, start_us=ends_us, end_us=ends_us)


def _thrice(rng: np.random.Generator, now_us: int) -> DeviceFlows:
    flows = _flows(rng, np.arange(1_334) % 500, now_us)
    return flows.at(np.repeat(np.arange(len(flows)), 3)[:4_000])


def _halves(devices: int) -> Turn:
    """Both halves of each flow, near each other."""

    def turn(rng: np.random.Generator, now_us: int) -> DeviceFlows:
        flows = _flows(rng, np.arange(2_000) % devices, now_us)
        pairs = flows.at(np.repeat(np.arange(2_000), 2))
        begins = np.tile([True, False], 2_000)
        sides = {
            f"{what}_{way}": np.where(begins == (way == "out"), getattr(pairs, f"{what}_{way}"), UNKNOWN)
            for what in ("packets", "ip_bytes")
            for way in ("out", "in")
        }
        role = np.where(begins, ROLES.index(Role.ORIGINATOR), ROLES.index(Role.TARGET))
        return replace(
            pairs, **sides, role=role, state=np.zeros(4_000, np.uint8), half=np.ones(4_000, np.bool_)
        )

    return turn


def _lone(devices: int) -> Turn:
    """Halves as of a router that exports one direction."""
    pairs = _halves(devices)

    def turn(rng: np.random.Generator, now_us: int) -> DeviceFlows:
        both = [pairs(rng, now_us), pairs(rng, now_us + 50_000_000)]
        return joined([one.at(slice(0, None, 2)) for one in both])

    return turn


def _lone_by_the_second(rng: np.random.Generator, now_us: int) -> DeviceFlows:
    """So far apart that each waits as long as it may, and no more than twelve at once."""
    halves = _lone(1)(rng, now_us)
    end_us = now_us + np.arange(len(halves)) * 1_100_000
    return replace(halves, start_us=end_us, end_us=end_us)


def _told(rng: np.random.Generator, now_us: int, devices: int) -> DeviceFlows:
    """Each flow in four records, one behind the other."""
    flows = _flows(rng, np.arange(1_000) % devices, now_us)
    told = flows.at(np.repeat(np.arange(1_000), 4))
    count = np.tile(np.arange(1, 5), 1_000)
    counters = {
        f"{what}_{way}": getattr(told, f"{what}_{way}") * count
        for what in ("packets", "ip_bytes")
        for way in ("out", "in")
    }
    return replace(told, start_us=told.start_us + count, end_us=told.end_us + count, **counters)


def _interim(devices: int) -> Turn:
    def turn(rng: np.random.Generator, now_us: int) -> DeviceFlows:
        return replace(_told(rng, now_us, devices), final=np.tile([False, False, False, True], 1_000))

    return turn


def _pieces(devices: int) -> Turn:
    def turn(rng: np.random.Generator, now_us: int) -> DeviceFlows:
        return replace(_told(rng, now_us, devices), quality=np.tile([int(Quality.CUT)] * 3 + [0], 1_000))

    return turn


def _flows(
    rng: np.random.Generator, device: np.ndarray[Any, Any], now_us: int, **changes: np.ndarray[Any, Any]
) -> DeviceFlows:
    """Connections of a device to 30 peers, on five ports, a hundred a second in all."""
    n = len(device)
    end_us = now_us + np.arange(n) * 10_000
    packets = rng.integers(1, 9, (2, n))
    size = packets * rng.integers(40, 1_400, (2, n))
    columns: dict[str, Any] = {
        "device": device,
        "start_us": end_us - rng.integers(0, 2_000_000, n),
        "end_us": end_us,
        "peer": rng.integers(1, 31, n),
        "device_port": rng.integers(30_000, 60_000, n),
        "peer_port": rng.choice([22, 23, 80, 443, 1883], n),
        "protocol": np.ones(n),
        "state": rng.choice([1, 1, 1, 2, 3], n),
        "packets_out": packets[0],
        "packets_in": packets[1],
        "ip_bytes_out": size[0],
        "ip_bytes_in": size[1],
        "payload_bytes_out": np.full(n, UNKNOWN),
        "payload_bytes_in": np.full(n, UNKNOWN),
        "identity": rng.integers(1, 2**62, n),
        "final": np.ones(n),
        "tcp_flags": np.full(n, UNKNOWN),
    }
    others = ("peer_kind", "direction", "role", "service", "quality", "half")
    return columns_of(**{name: np.zeros(n) for name in others}, **(columns | changes))
