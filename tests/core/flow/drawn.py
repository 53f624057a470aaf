"""Records of a few devices, drawn so that they meet: few peers and ports, lateness, repeats, halves, cuts."""

from __future__ import annotations

import random

from streams.core.flow.columns import DIRECTIONS, DeviceFlows
from streams.core.flow.records import Record, flows_of
from streams.core.flows import Quality, State

START_US = 1_700_000_000_000_000


def record(**changes: object) -> Record:
    """An answered connection of a device to port 443 of a peer outside."""
    values: dict[str, object] = {
        "device": 0,
        "start_us": START_US,
        "end_us": START_US + 50_000,
        "peer": 77,
        "peer_kind": 0,
        "direction": 0,
        "role": 0,
        "protocol": 1,
        "device_port": 40_000,
        "peer_port": 443,
        "service": 0,
        "state": int(State.ANSWERED),
        "packets_out": 10,
        "packets_in": 12,
        "ip_bytes_out": 900,
        "ip_bytes_in": 4_000,
        "payload_bytes_out": -1,
        "payload_bytes_in": -1,
        "quality": 0,
        "identity": 1,
        "final": True,
        "half": False,
        "tcp_flags": -1,
    }
    return Record(**(values | changes))  # type: ignore[arg-type]


def drawn(seed: int, count: int, devices: int = 3) -> list[Record]:
    """In arrival order. The seed is all that decides."""
    rng = random.Random(seed)
    habits = _Habits(rng)
    records: list[Record] = []
    now_us = START_US
    for _ in range(count):
        now_us += rng.choice(habits.steps_us)
        if records and rng.random() < habits.repeats:
            old = rng.choice(records[-habits.reach :])
            records.append(old._replace(start_us=old.start_us + rng.choice([0, 0, 400_000])))
            continue
        one = _one(rng, habits, now_us, devices)
        if records and rng.random() < habits.goes_on:
            old = rng.choice(records[-habits.reach :])
            one = one._replace(
                device=old.device,
                peer=old.peer,
                device_port=old.device_port,
                peer_port=old.peer_port,
                protocol=old.protocol,
                identity=old.identity,
            )
        records.append(one)
    return records


class _Habits:
    """What a whole stream has in common: so that one is all scan, another all halves, and so on."""

    def __init__(self, rng: random.Random) -> None:
        self.steps_us = rng.choice(
            [[0, 1000, 300_000], [50_000], [1_000_000, 40_000_000], [0, 3_600_000_000]]
        )
        self.late_us = rng.choice([0, 0, 1_500_000, 300_000_000, 3_600_000_000])
        self.late = rng.choice([0.0, 0.1, 0.5])
        self.repeats = rng.choice([0.0, 0.0, 0.1, 0.6])
        self.reach = rng.choice([3, 50, 300])
        self.peers = rng.choice([1, 3, 100, 5_000])
        self.ports = rng.choice([[443], [23, 80, 443, 1883], list(range(2_000))])
        self.halves = rng.choice([0.0, 0.0, 0.3, 0.9])
        self.interim = rng.choice([0.0, 0.0, 0.3])
        self.cut = rng.choice([0.0, 0.0, 0.2])
        self.goes_on = rng.choice([0.0, 0.5]) if self.halves or self.interim or self.cut else 0.0
        self.unknown = rng.choice([0.0, 0.2])
        self.busy = rng.choice([0.0, 0.9])


def _one(rng: random.Random, habits: _Habits, now_us: int, devices: int) -> Record:
    late_us = rng.randrange(habits.late_us + 1) if rng.random() < habits.late else 0
    end_us = now_us - late_us
    half, final = rng.random() < habits.halves, rng.random() >= habits.interim
    counters = [rng.choice([0, 1, 2, 3, 70, 4_000]) for _ in range(2)]
    sizes = [count * rng.choice([40, 60, 1_400]) for count in counters]
    if half:
        way = rng.randrange(2)
        counters[1 - way] = sizes[1 - way] = -1
    elif rng.random() < habits.unknown:
        counters[rng.randrange(2)] = -1
        sizes[rng.randrange(2)] = -1
    protocol = rng.choice([0, 1, 1, 1, 2, 3])
    return record(
        device=0 if rng.random() < habits.busy else rng.randrange(devices),
        start_us=end_us - rng.choice([0, 20_000, 5_000_000]),
        end_us=end_us,
        peer=rng.randrange(habits.peers) * 0x9E3779B97F4A7C15 % 2**64,
        peer_kind=rng.randrange(3),
        direction=rng.randrange(len(DIRECTIONS)),
        role=way if half else rng.randrange(2),
        protocol=protocol,
        device_port=rng.choice([40_000, 40_001, 22]),
        peer_port=rng.choice(habits.ports),
        service=rng.choice([0, 0, 11, 12]),
        state=0 if half or rng.random() < habits.unknown else rng.randrange(7),
        packets_out=counters[0],
        packets_in=counters[1],
        ip_bytes_out=sizes[0],
        ip_bytes_in=sizes[1],
        payload_bytes_out=-1 if half else rng.choice([-1, 0, 500]),
        quality=(int(Quality.CUT) if rng.random() < habits.cut else 0)
        | (int(Quality.FLIPPED) if rng.random() < habits.unknown else 0),
        identity=rng.randrange(6) if rng.random() < 0.5 else rng.randrange(1, 2**63),
        final=final,
        half=half,
        tcp_flags=rng.choice([-1, 0, 2, 18, 20, 27]) if half else -1,
    )


def columns(records: list[Record]) -> DeviceFlows:
    return flows_of(records)
