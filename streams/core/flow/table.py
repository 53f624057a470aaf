"""The feature table `flow`: what an event of a flow is described by. Any sensor's: what it lacks is absent.

Three kinds of numbers: of the flow itself, of two windows (2 s, and the last 100 connections), and of slower
habits, which are for rules and novelty alone: regularity finds beacons and NTP alike. `out` is what the
device sent, whoever began; a port is the one that was asked for, with its role and protocol.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from streams.core.flow.columns import DIRECTIONS, ROLES, PeerKind, Protocol
from streams.core.tables import FeatureTable, Keys, Numeric, Symbolic

STATES: Final = ("ok", "no_answer", "refused", "reset", "partial")
"""`partial`: a handshake that was never completed, or what was seen from its middle or one side only."""

PORT_CLASSES: Final = (
    "icmp",
    "dns",
    "ntp",
    "web",
    "iot",
    "shell",
    "discovery",
    "exploit",
    "below_1024",
    "registered",
    "dynamic",
)
_PORTS: Final = {
    "dns": (53, 853),
    "ntp": (123,),
    "web": (80, 443, 8000, 8008, 8080, 8443),
    "iot": (502, 554, 1883, 5222, 5228, 5683, 5684, 6668, 8554, 8883, 47808),
    "shell": (22, 23, 2222, 2323, 3389),
    "discovery": (67, 68, 137, 138, 547, 546, 1900, 3702, 5351, 5353, 5355, 6666, 6667, 9999, 10101),
    "exploit": (81, 445, 2375, 5555, 5900, 6379, 7547, 8291, 8728, 9034, 37215, 49152, 52869),
}

_FLOW: Final = (
    Numeric("duration_s", is_whole=False),
    Numeric("packets_out"),
    Numeric("packets_in"),
    Numeric("ip_bytes_out"),
    Numeric("ip_bytes_in"),
    Numeric("mean_bytes_out", is_whole=False),
    Numeric("mean_bytes_in", is_whole=False),
    Numeric("packets_out_share", is_rate=True),
    Numeric("bytes_out_share", is_rate=True),
    Numeric("no_answer"),
    Numeric("one_packet"),
    Numeric("new_peer"),
    Numeric("new_port"),
    Numeric("new_service"),
    Numeric("gap_s", is_whole=False),
)
COUNTS: Final = (
    "flows",
    "same_peer",
    "same_port",
    "peers",
    "ports",
    "ports_on_peer",
    "peers_on_port",
    "new_peers",
    "same_source_port",
    "failing_peers_on_port",
    "failing_ports_on_peer",
    "failures_to_host_port",
)
SHARES: Final = ("failing", "unanswered", "failing_on_port", "small")
SUMS: Final = ("bytes_out", "bytes_in")
WINDOWS: Final = ("recent", "last")
_WINDOWS: Final = tuple(
    Numeric(f"{window}_{name}", is_rate=name in SHARES or name == "bytes_out_share")
    for window in WINDOWS
    for name in (*COUNTS, *SHARES, *SUMS, "bytes_out_share")
)
_SLOW: Final = (
    Numeric("minute_flows"),
    Numeric("minute_same"),
    Numeric("hour_flows"),
    Numeric("hour_same"),
    Numeric("attempts"),
    Numeric("fail_streak"),
    Numeric("interval_s", is_whole=False),
    Numeric("interval_spread", is_whole=False),
    Numeric("size_spread", is_whole=False),
)
SLOW: Final = tuple(column.name for column in _SLOW)
"""For rules and novelty alone."""

EVIDENCE: Final = (
    *(
        f"{window}_{name}"
        for window in WINDOWS
        for name in ("failing_peers_on_port", "failing_ports_on_peer", "failures_to_host_port")
    ),
    "attempts",
    "fail_streak",
)
"""Numbers that can only make a flow more suspect as they grow."""

_SYMBOLS: Final = (
    Symbolic("role", tuple(ROLES)),
    Symbolic("direction", tuple(DIRECTIONS)),
    Symbolic("protocol", tuple(one.name.lower() for one in Protocol if one is not Protocol.OTHER)),
    Symbolic("peer_kind", tuple(one.name.lower() for one in PeerKind)),
    Symbolic("state", STATES),
    Symbolic("port_class", PORT_CLASSES),
)
_NUMBERS: Final = (*_FLOW, *_WINDOWS, *_SLOW)

FLOW: Final = FeatureTable(
    name="flow",
    numeric=_NUMBERS,
    symbolic=_SYMBOLS,
    file_columns=(*(column.name for column in _SYMBOLS), *(column.name for column in _NUMBERS)),
    keys=Keys("port_class", "state", "ip_bytes_out", "ip_bytes_in"),
    optional=frozenset(
        (
            *(column.name for column in _FLOW if column.name not in ("new_peer", "new_port")),
            *(f"{window}_{name}" for window in WINDOWS for name in (*SHARES, *SUMS, "bytes_out_share")),
            "interval_s",
            "interval_spread",
            "size_spread",
            "protocol",
            "state",
            "port_class",
        )
    ),
)


def _classes() -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """(65536,) the code of each TCP or UDP port's class."""
    code = {name: place for place, name in enumerate(PORT_CLASSES, 1)}
    classes = np.full(1 << 16, code["dynamic"], np.uint8)
    classes[:49152], classes[:1024] = code["registered"], code["below_1024"]
    for name, ports in _PORTS.items():
        classes[list(ports)] = code[name]
    return classes


CLASS_OF_PORT: Final = _classes()
