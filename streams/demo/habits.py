"""Ordinary devices and what they do all day: reports over HTTP, look-ups, clock checks, readings, mails.

The sizes and durations are typical values of normal connections in the KDD'99 training file, read off as
quartiles; no row of it is repeated. The fleet speaks the protocols of that file's time, mostly plain HTTP.
Two habits of today are in it all the same, MQTT (which KDD'99 has no word for) and HTTPS (which no normal
connection of the training file's ten-percent part uses); their sizes are plausible ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Final

from streams.core.traffic import Connection

A_SECOND_US: Final = 1_000_000
FIRST_FREE_PORT: Final = 1024
LAST_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Flow:
    """One finished connection of a device; `content` holds the columns that only a look inside can give."""

    connection: Connection
    protocol: str
    service: str
    duration_s: int
    src_bytes: int
    dst_bytes: int
    content: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Spread:
    """A quantity by its smallest, quartiles and largest usual value; even between them."""

    least: int
    lower: int
    middle: int
    upper: int
    most: int

    def draw(self, random: Random) -> int:
        marks = (self.least, self.lower, self.middle, self.upper, self.most)
        place = random.random() * 4
        quarter = int(place)
        return round(marks[quarter] + (place - quarter) * (marks[quarter + 1] - marks[quarter]))


def always(value: int) -> Spread:
    return Spread(value, value, value, value, value)


NOTHING: Final = always(0)


@dataclass(frozen=True, slots=True)
class Service:
    """How connections to one port look. `name` is KDD's word for the port.

    `flags` are the usual states, each with its share. `source_port` 0 stands for a fresh one each time; ICMP
    has no ports, so all its messages share one.
    """

    name: str
    protocol: str
    port: int
    sent: Spread
    received: Spread
    lasts_s: Spread = NOTHING
    flags: tuple[tuple[str, float], ...] = (("SF", 1.0),)
    content: Mapping[str, Spread] = field(default_factory=dict)
    source_port: int = 0

    def flow(self, ended_us: int, host: str, random: Random) -> Flow:
        """One connection to this port of `host`. One without an answer carries no bytes and no content."""
        states, shares = zip(*self.flags, strict=True)
        flag = random.choices(states, shares)[0] if len(states) > 1 else states[0]
        answered = flag not in ("S0", "REJ", "SH", "RSTOS0")
        return Flow(
            connection=Connection(
                ended_us=ended_us,
                host=host,
                service=f"{self.protocol}/{self.port}",
                source_port=self._source_port(random),
                flag=flag,
            ),
            protocol=self.protocol,
            service=self.name,
            duration_s=self.lasts_s.draw(random) if answered else 0,
            src_bytes=self.sent.draw(random) if answered else 0,
            dst_bytes=self.received.draw(random) if answered else 0,
            content={name: spread.draw(random) for name, spread in self.content.items()} if answered else {},
        )

    def _source_port(self, random: Random) -> int:
        if self.source_port or self.protocol == "icmp":
            return self.source_port
        return random.randint(FIRST_FREE_PORT, LAST_PORT)


LOGGED_IN: Final = {"logged_in": always(1)}
A_FEW_FAIL: Final = (("SF", 0.996), ("REJ", 0.002), ("RSTO", 0.001), ("S0", 0.001))

HTTP: Final = Service(
    "http", "tcp", 80, Spread(105, 210, 240, 302, 342), Spread(150, 458, 1425, 3729, 15825),
    flags=A_FEW_FAIL, content=LOGGED_IN,
)  # fmt: skip
HTTPS: Final = Service(
    "http_443", "tcp", 443, Spread(180, 260, 310, 420, 900), Spread(300, 900, 1800, 4200, 9000),
    flags=A_FEW_FAIL, content=LOGGED_IN,
)  # fmt: skip
LOOKUP: Final = Service("domain_u", "udp", 53, Spread(30, 37, 43, 45, 49), Spread(42, 46, 60, 112, 135))
CLOCK: Final = Service("ntp_u", "udp", 123, always(48), always(48), source_port=123)
# CoAP and SNMP readings: KDD's word for a UDP port without a name of its own is `private`.
READING: Final = Service("private", "udp", 5683, always(105), Spread(145, 145, 146, 147, 147))
ALARM_MAIL: Final = Service(
    "smtp", "tcp", 25, Spread(652, 902, 1217, 1692, 3465), Spread(324, 329, 332, 337, 435),
    Spread(0, 0, 1, 2, 5), A_FEW_FAIL, LOGGED_IN,
)  # fmt: skip
# Data connections of FTP come from port 20, which is how KDD tells them.
FTP_DATA: Final = Service(
    "ftp_data", "tcp", 20, Spread(59, 383, 1030, 7077, 16787), NOTHING, content=LOGGED_IN, source_port=20
)
MQTT: Final = Service(
    "other",
    "tcp",
    1883,
    Spread(90, 140, 220, 400, 900),
    Spread(20, 40, 80, 150, 400),
    Spread(5, 15, 30, 45, 60),
)
ALIVE: Final = Service("ecr_i", "icmp", 0, always(30), NOTHING)


@dataclass(frozen=True, slots=True)
class Habit:
    """Something a device does again and again: `burst` connections in a row, about `every_s` seconds apart.

    `to` is a host; a look-up of its name goes before each burst where `looks_up` says so.
    """

    service: Service
    to: str
    every_s: float
    burst: tuple[int, int] = (1, 1)
    looks_up: bool = False

    def flows(self, begin_us: int, end_us: int, random: Random) -> Iterator[Flow]:
        """What it causes in [begin, end), unordered where one burst runs into the next."""
        at_us = begin_us + round(random.random() * self.every_s * A_SECOND_US)
        while at_us < end_us:
            moment_us = at_us
            if self.looks_up:
                yield LOOKUP.flow(moment_us, ROUTER, random)
                moment_us += random.randint(5_000, 40_000)
            for _ in range(random.randint(*self.burst)):
                if moment_us < end_us:
                    yield self.service.flow(moment_us, self.to, random)
                moment_us += random.randint(20_000, 150_000)
            at_us += round(self.every_s * random.uniform(0.7, 1.3) * A_SECOND_US)


ROUTER: Final = "router"
CLOUD: Final = "cloud"
STORE: Final = "recorder"
MAIL: Final = "mail"
HUB: Final = "hub"

_CLOCK_CHECK: Final = Habit(CLOCK, ROUTER, 16)

HABITS: Final[Mapping[str, tuple[Habit, ...]]] = {
    "camera": (
        Habit(HTTP, CLOUD, 2.4, (4, 14), looks_up=True),
        # A recorder at home serves pages too; its control connection for FTP stays open all day.
        Habit(HTTP, STORE, 3, (1, 3)),
        Habit(FTP_DATA, STORE, 6, (1, 3)),
        Habit(ALARM_MAIL, MAIL, 12),
        _CLOCK_CHECK,
    ),
    "bulb": (Habit(READING, HUB, 0.6, (1, 2)), Habit(HTTP, CLOUD, 5, (1, 4), looks_up=True), _CLOCK_CHECK),
    "hub": (
        Habit(HTTP, CLOUD, 1.5, (4, 12), looks_up=True),
        Habit(READING, "bulbs", 1.0, (1, 3)),
        Habit(ALIVE, "bulbs", 8),
        Habit(MQTT, CLOUD, 10),
        _CLOCK_CHECK,
    ),
    "thermostat": (
        Habit(HTTP, CLOUD, 2.0, (2, 8), looks_up=True),
        Habit(READING, HUB, 2.0),
        _CLOCK_CHECK,
    ),
    "lock": (Habit(HTTP, CLOUD, 2.0, (2, 6), looks_up=True), Habit(HTTPS, CLOUD, 15), _CLOCK_CHECK),
    "plug": (Habit(READING, HUB, 0.8, (1, 3)), Habit(HTTP, CLOUD, 4, (1, 4), looks_up=True), _CLOCK_CHECK),
    "speaker": (Habit(HTTP, CLOUD, 1.8, (3, 14), looks_up=True), _CLOCK_CHECK),
}

FLEET: Final[Mapping[str, int]] = {
    "camera": 8,
    "bulb": 10,
    "hub": 3,
    "thermostat": 6,
    "lock": 5,
    "plug": 4,
    "speaker": 4,
}
"""How many devices of each kind there are; 40 in all."""


def device_ids() -> tuple[str, ...]:
    """The fleet: `camera-01` and so on. The kind is the part before the hyphen."""
    return tuple(f"{kind}-{number:02d}" for kind, many in FLEET.items() for number in range(1, many + 1))


def kind_of(device_id: str) -> str:
    return device_id.partition("-")[0]


def ordinary_flows(device_id: str, begin_us: int, end_us: int, random: Random) -> list[Flow]:
    """What the device does in [begin, end) when nobody disturbs it, unordered."""
    return [flow for habit in HABITS[kind_of(device_id)] for flow in habit.flows(begin_us, end_us, random)]
