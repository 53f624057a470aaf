"""Attack episodes, each an imitation of one type of the KDD'99 training file.

What an attacker does is written here: ports, states, bytes and what a look inside the sessions shows. Counts
and rates are not; they follow from the traffic windows. A session is reported when it ends, so a long one may
have begun before its episode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from streams.demo.episodes import Stage
from streams.demo.habits import FTP_DATA, NOTHING, Flow, Service, Spread, always

FLOODED_SERVICES: Final = (
    ("http", 80), ("telnet", 23), ("ftp", 21), ("ssh", 22), ("finger", 79), ("smtp", 25),
    *(("private", port) for port in (5, 49, 83, 101, 116, 143, 389, 520, 555, 800, 904)),
)  # fmt: skip


def syn_flood(stage: Stage) -> Iterator[Flow]:
    """neptune: half-open connections to some 17 ports in turn; 100 to 290 of them in two seconds."""
    for at_us in stage.moments(per_s=115):
        name, port = stage.random.choice(FLOODED_SERVICES)
        half_open = Service(name, "tcp", port, NOTHING, NOTHING, flags=(("S0", 1.0),))
        yield half_open.flow(at_us, stage.device, stage.random)


def ping_flood(stage: Stage) -> Iterator[Flow]:
    """smurf: echo replies of 1032 bytes, more than the 511 in two seconds that the columns can count."""
    reply = Service("ecr_i", "icmp", 0, always(1032), NOTHING)
    for at_us in stage.moments(per_s=300):
        yield reply.flow(at_us, stage.device, stage.random)


def port_scan(stage: Stage) -> Iterator[Flow]:
    """satan: each port once, as fast as it goes; most refuse, some stay silent, few answer."""
    ports = stage.random.sample(range(1, 10_000), 9_999)
    for at_us, port in zip(stage.moments(per_s=270), ports, strict=False):
        name = "private" if stage.random.random() < 0.12 else "other"
        probe = Service(
            name, "tcp", port, NOTHING, NOTHING, flags=(("REJ", 0.87), ("S0", 0.12), ("SF", 0.01))
        )
        yield probe.flow(at_us, stage.device, stage.random)


def stealth_scan(stage: Stage) -> Iterator[Flow]:
    """nmap: SYN and then FIN to one port after the other, slowly, from one source port."""
    ports = stage.random.sample(range(1, 10_000), 9_999)
    source_port = stage.random.randint(32_768, 60_999)
    for at_us, port in zip(stage.moments(per_s=0.9), ports, strict=False):
        probe = Service(
            "private", "tcp", port, NOTHING, NOTHING, flags=(("SH", 1.0),), source_port=source_port
        )
        yield probe.flow(at_us, stage.device, stage.random)


def telnet_guessing(stage: Stage) -> Iterator[Flow]:
    """guess_passwd over telnet: one wrong password a connection, cut off by the guesser."""
    session = Service(
        "telnet", "tcp", 23, Spread(125, 125, 126, 126, 126), always(179), Spread(0, 0, 0, 0, 2),
        flags=(("RSTO", 0.86), ("RSTR", 0.06), ("SF", 0.04), ("S3", 0.04)),
        content={"hot": always(1), "num_failed_logins": always(1)},
    )  # fmt: skip
    for at_us in stage.moments(per_s=0.8):
        yield session.flow(at_us, stage.device, stage.random)


def ftp_guessing(stage: Stage) -> Iterator[Flow]:
    """guess_passwd over FTP. The training file has only telnet's; this is how FTP servers refuse."""
    session = Service(
        "ftp", "tcp", 21, Spread(26, 30, 34, 38, 60), Spread(120, 140, 155, 170, 210), Spread(1, 2, 3, 3, 5),
        flags=(("SF", 0.6), ("RSTO", 0.4)),
        content={"hot": always(1), "num_failed_logins": Spread(1, 1, 1, 1, 3)},
    )  # fmt: skip
    for at_us in stage.moments(per_s=0.8):
        yield session.flow(at_us, stage.device, stage.random)


def privilege_escalation(stage: Stage) -> Iterator[Flow]:
    """buffer_overflow: telnet sessions that end with a root shell, and the fetching of what they leave."""
    session = Service(
        "telnet", "tcp", 23, Spread(900, 1567, 1800, 2336, 2628), Spread(1900, 2738, 3816, 5020, 9000),
        Spread(12, 30, 53, 162, 305),
        content={
            "hot": Spread(1, 2, 3, 3, 4),
            "logged_in": always(1),
            "num_compromised": Spread(1, 1, 1, 2, 4),
            "root_shell": always(1),
            "num_root": Spread(0, 0, 0, 0, 1),
            "num_file_creations": Spread(0, 0, 1, 1, 4),
        },
    )  # fmt: skip
    fetch = replace(FTP_DATA, sent=NOTHING, received=Spread(1351, 2738, 5020, 5020, 8000))
    for place, at_us in enumerate(stage.evenly(6)):
        kind = fetch if place % 3 == 0 else session
        yield kind.flow(at_us, stage.device, stage.random)


def module_loading(stage: Stage) -> Iterator[Flow]:
    """loadmodule: short telnet sessions that create files, open shells and touch files of the system."""
    session = Service(
        "telnet", "tcp", 23, Spread(120, 142, 200, 277, 302), Spread(1000, 1301, 2400, 5014, 8876),
        Spread(15, 21, 50, 79, 103),
        content={
            "hot": Spread(0, 1, 2, 3, 4),
            "logged_in": always(1),
            "num_compromised": Spread(0, 0, 1, 2, 4),
            "root_shell": always(1),
            "num_root": Spread(0, 0, 1, 2, 3),
            "num_file_creations": Spread(1, 1, 2, 4, 4),
            "num_shells": Spread(0, 0, 1, 1, 2),
            "num_access_files": Spread(0, 0, 0, 0, 1),
        },
    )  # fmt: skip
    for at_us in stage.evenly(4):
        yield session.flow(at_us, stage.device, stage.random)


@dataclass(frozen=True, slots=True)
class Attack:
    """An episode's kind. `begins` and `ends` are shares of a round; `of` are kinds of devices."""

    name: str
    attack: str
    truth: str
    of: tuple[str, ...]
    begins: float
    ends: float
    flows: Callable[[Stage], Iterator[Flow]]


ATTACKS: Final = (
    Attack("SYN flood", "neptune", "dos", ("camera",), 0.12, 0.30, syn_flood),
    Attack("telnet password guessing", "guess_passwd", "r2l", ("lock",), 0.20, 0.65, telnet_guessing),
    Attack("port scan", "satan", "probe", ("hub",), 0.35, 0.45, port_scan),
    Attack("privilege escalation", "buffer_overflow", "u2r", ("speaker",), 0.45, 0.75, privilege_escalation),
    Attack("ping flood", "smurf", "dos", ("thermostat",), 0.55, 0.72, ping_flood),
    Attack("stealth scan", "nmap", "probe", ("plug",), 0.60, 0.96, stealth_scan),
    Attack("FTP password guessing", "guess_passwd", "r2l", ("camera",), 0.68, 0.94, ftp_guessing),
    Attack("kernel module loading", "loadmodule", "u2r", ("hub",), 0.76, 0.96, module_loading),
)
"""One round of episodes, about 45 seconds. Each takes a device of its own."""
