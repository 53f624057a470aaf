"""Ordinary devices of today and what they do all day: they ask for names and the time, speak TLS and MQTT to
a cloud, read each other at home, and announce themselves to a group.

Sizes, durations and intervals are plausible ones, of the order of public captures of such devices; no row of
any is repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from streams.demo.flows.connections import Connection, Kind
from streams.demo.habits import A_SECOND_US, FLEET, Spread, always, device_ids, kind_of

ROUTER: Final = "router"
NETWORK: Final = "192.168.50.0/24"

_FEW_FAIL: Final = (("SF", 0.985), ("RSTO", 0.01), ("S0", 0.005))
DNS: Final = Kind(
    "udp", 53, "dns", Spread(28, 33, 40, 47, 60), Spread(44, 60, 92, 140, 220), Spread(2, 8, 20, 40, 90)
)
NTP: Final = Kind("udp", 123, "ntp", always(48), always(48), Spread(8, 15, 25, 40, 80), source_port=123)
TLS: Final = Kind(
    "tcp", 443, "ssl", Spread(500, 900, 1_400, 2_600, 9_000), Spread(2_800, 3_600, 4_800, 7_000, 24_000),
    Spread(150, 400, 900, 2_500, 15_000), _FEW_FAIL,
)  # fmt: skip
MQTT: Final = Kind(
    "tcp", 8883, "ssl", Spread(700, 1_000, 1_500, 2_400, 4_000), Spread(2_900, 3_300, 3_800, 4_600, 6_000),
    Spread(800, 2_000, 6_000, 12_000, 25_000), _FEW_FAIL,
)  # fmt: skip
UPLOAD: Final = Kind(
    "tcp", 443, "ssl",
    Spread(9_000, 30_000, 60_000, 120_000, 400_000), Spread(3_000, 4_000, 5_000, 6_500, 9_000),
    Spread(400, 1_200, 2_500, 5_000, 12_000), _FEW_FAIL,
)  # fmt: skip
COAP: Final = Kind(
    "udp", 5683, "", Spread(20, 28, 36, 48, 80), Spread(12, 24, 40, 60, 120), Spread(1, 3, 6, 15, 60)
)
STATUS: Final = Kind(
    "tcp",
    80,
    "http",
    Spread(120, 160, 210, 260, 400),
    Spread(200, 350, 600, 1_200, 3_000),
    Spread(5, 12, 25, 60, 200),
)
ANNOUNCE: Final = Kind(
    "udp", 5353, "dns", Spread(60, 100, 160, 260, 500), states=(("S0", 1.0),), source_port=5353
)


@dataclass(frozen=True, slots=True)
class Habit:
    """Something a device does about every `every_s` seconds: `burst` connections in a row, to one of `to`.

    A name is asked for first where `looks_up` says so.
    """

    kind: Kind
    to: tuple[str, ...]
    every_s: float
    burst: tuple[int, int] = (1, 1)
    looks_up: bool = False

    def connections(self, device: str, begin_us: int, end_us: int, random: Random) -> Iterator[Connection]:
        """What ends in [begin, end), unordered where one burst runs into the next."""
        at_us = begin_us + round(random.random() * self.every_s * A_SECOND_US)
        mine = random.choice(self.to)  # a device keeps to the host that it was given
        while at_us < end_us:
            moment_us = at_us
            if self.looks_up and random.random() < 0.5:  # else it is known still
                yield DNS.between(device, ROUTER, moment_us, random)
                moment_us += random.randint(20_000, 90_000)
            for _ in range(random.randint(*self.burst)):
                if moment_us < end_us:
                    yield self.kind.between(device, mine, moment_us, random)
                moment_us += random.randint(100_000, 900_000)
            at_us += round(self.every_s * random.uniform(0.75, 1.25) * A_SECOND_US)


_CLOUD: Final = tuple(f"203.0.113.{host}" for host in range(10, 16))
_BROKER: Final = ("198.51.100.40", "198.51.100.41")
_TIME: Final = ("192.0.2.123", "192.0.2.124")
_GROUP: Final = ("224.0.0.251",)
_TIME_CHECK: Final = Habit(NTP, _TIME, 64, looks_up=True)
_ANNOUNCES: Final = Habit(ANNOUNCE, _GROUP, 60)

HABITS: Final[Mapping[str, tuple[Habit, ...]]] = {
    "camera": (
        Habit(UPLOAD, _CLOUD, 12, (1, 2), looks_up=True),
        Habit(MQTT, _BROKER, 30),
        _TIME_CHECK,
        _ANNOUNCES,
    ),
    "bulb": (Habit(COAP, ("hub-01", "hub-02"), 8), Habit(TLS, _CLOUD, 60, looks_up=True), _TIME_CHECK),
    "hub": (
        Habit(TLS, _CLOUD, 10, (1, 3), looks_up=True),
        Habit(COAP, ("bulb-01", "bulb-02", "bulb-03"), 6, (1, 3)),
        Habit(MQTT, _BROKER, 30),
        _TIME_CHECK,
        _ANNOUNCES,
    ),
    "thermostat": (
        Habit(TLS, _CLOUD, 20, (1, 2), looks_up=True),
        Habit(STATUS, ("hub-01",), 15),
        _TIME_CHECK,
    ),
    "lock": (Habit(MQTT, _BROKER, 20, looks_up=True), Habit(TLS, _CLOUD, 45), _TIME_CHECK),
    "plug": (Habit(COAP, ("hub-01", "hub-03"), 8), Habit(MQTT, _BROKER, 40, looks_up=True), _TIME_CHECK),
    "speaker": (Habit(TLS, _CLOUD, 9, (1, 4), looks_up=True), _TIME_CHECK, _ANNOUNCES),
}


def addresses() -> dict[str, str]:
    """Of the fleet and its router, by name."""
    names = (ROUTER, *device_ids())
    return {name: f"192.168.50.{host}" for host, name in enumerate(names, 1)}


def ordinary(device: str, begin_us: int, end_us: int, random: Random) -> list[Connection]:
    """What the device begins, and what ends in [begin, end), unordered."""
    return [
        connection
        for habit in HABITS[kind_of(device)]
        for connection in habit.connections(device, begin_us, end_us, random)
    ]


assert HABITS.keys() == FLEET.keys()
