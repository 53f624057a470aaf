"""Attack episodes as a sensor's connections: who scans, floods, guesses, or knocks at a server that is gone.

`Attack.truth` is the class under which such flows are known. Where a device is infected it attacks others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from streams.demo.episodes import Stage
from streams.demo.flows.connections import Connection, Kind
from streams.demo.habits import Spread

_ATTACKER: Final = "203.0.113.66"
_VICTIM: Final = "198.51.100.80"
_COMMANDER: Final = "198.51.100.23"


def somebody(random: Random) -> str:
    """An address of the Internet."""
    first = random.choice((5, 23, 37, 46, 62, 81, 94, 109, 151, 177, 185, 203))
    return ".".join(map(str, (first, *(random.randint(1, 254) for _ in range(3)))))


def telnet_scan(stage: Stage) -> Iterator[Connection]:
    """An infected device looks for others, as Mirai does: most do not answer."""
    for at_us in stage.moments(per_s=40):
        port = 23 if stage.random.random() < 0.9 else 2323
        knock = Kind("tcp", port, states=(("S0", 0.9), ("REJ", 0.1)))
        yield knock.between(stage.device, somebody(stage.random), at_us, stage.random)


def port_scan(stage: Stage) -> Iterator[Connection]:
    """From outside, each port once: most refuse."""
    ports = stage.random.sample(range(1, 10_000), 9_999)
    for at_us, port in zip(stage.moments(per_s=60), ports, strict=False):
        knock = Kind("tcp", port, states=(("REJ", 0.9), ("S0", 0.1)))
        yield knock.between(_ATTACKER, stage.device, at_us, stage.random)


def flood_in(stage: Stage) -> Iterator[Connection]:
    """SYNs from made-up addresses to one port."""
    knock = Kind("tcp", 80, states=(("S0", 1.0),))
    for at_us in stage.moments(per_s=110):
        yield knock.between(somebody(stage.random), stage.device, at_us, stage.random)


def flood_out(stage: Stage) -> Iterator[Connection]:
    """An infected device takes part in a flood of SYNs."""
    knock = Kind("tcp", 80, states=(("S0", 1.0),))
    for at_us in stage.moments(per_s=90):
        yield knock.between(stage.device, _VICTIM, at_us, stage.random)


def knocking(stage: Stage) -> Iterator[Connection]:
    """An infected device asks again and again for a server that commanded it, and is refused."""
    knock = Kind("tcp", 4975, states=(("REJ", 0.75), ("S0", 0.25)))
    for at_us in stage.moments(per_s=0.8):
        yield knock.between(stage.device, _COMMANDER, at_us, stage.random)


def ssh_guessing(stage: Stage) -> Iterator[Connection]:
    """From outside, one log-in after the other."""
    session = Kind(
        "tcp", 22, "ssh",
        Spread(1_200, 1_500, 1_900, 2_200, 2_600), Spread(1_700, 2_000, 2_300, 2_600, 3_000),
        Spread(900, 1_500, 2_100, 2_800, 4_000), (("SF", 0.8), ("RSTO", 0.2)),
    )  # fmt: skip
    for at_us in stage.moments(per_s=2.5):
        yield session.between(_ATTACKER, stage.device, at_us, stage.random)


@dataclass(frozen=True, slots=True)
class Attack:
    """An episode's kind. `begins` and `ends` are shares of a round; `of` are kinds of devices."""

    name: str
    truth: str
    of: tuple[str, ...]
    begins: float
    ends: float
    connections: Callable[[Stage], Iterator[Connection]]
    attack: str = ""
    """None of KDD'99."""


ATTACKS: Final = (
    Attack("telnet scan by an infected device", "probe", ("camera",), 0.12, 0.32, telnet_scan),
    Attack("asking for a command server", "c2", ("lock",), 0.16, 0.96, knocking),
    Attack("port scan from outside", "probe", ("hub",), 0.34, 0.48, port_scan),
    Attack("SSH password guessing", "r2l", ("speaker",), 0.40, 0.80, ssh_guessing),
    Attack("SYN flood from outside", "dos", ("camera",), 0.54, 0.70, flood_in),
    Attack("SYN flood by an infected device", "dos", ("thermostat",), 0.76, 0.92, flood_out),
)
"""One round of episodes, about 45 seconds. Each takes a device of its own."""
