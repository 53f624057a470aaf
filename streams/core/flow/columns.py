"""Flows of many devices as columns, in arrival order: what state and features are computed from.

Counters and flags that a sensor does not say are -1. Peers, services and identities are numbers: the first
eight bytes of a hash of their text, the same on every machine.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.core.flows import DeviceFlow, Direction, Quality, Role

Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]

UNKNOWN: Final = -1


class Protocol(IntEnum):
    OTHER = 0
    TCP = 1
    UDP = 2
    ICMP = 3

    @classmethod
    def of(cls, name: str) -> Protocol:
        return _PROTOCOLS.get(name, cls.OTHER)


class PeerKind(IntEnum):
    PUBLIC = 0
    PRIVATE = 1
    MULTICAST = 2
    """Or broadcast: nobody's address."""

    @classmethod
    def of(cls, address: str) -> PeerKind:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return cls.PUBLIC
        number = int(parsed)
        for first, last, kind in _KINDS[parsed.version]:
            if first <= number <= last:
                return cls(kind)
        return cls.PUBLIC


_PROTOCOLS: Final = {"tcp": Protocol.TCP, "udp": Protocol.UDP, "icmp": Protocol.ICMP}
_PRIVATE: Final = (
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
    *("fc00::/7", "fe80::/10"),
)
"""RFC 1918, RFC 4193 and link-local."""
_NOBODY: Final = ("224.0.0.0/4", "255.255.255.255/32", "ff00::/8")


def _ranges(version: int) -> list[tuple[int, int, PeerKind]]:
    """First and last address of each network of this version, as numbers."""
    kinds = dict.fromkeys(_PRIVATE, PeerKind.PRIVATE) | dict.fromkeys(_NOBODY, PeerKind.MULTICAST)
    networks = [(ipaddress.ip_network(text), kind) for text, kind in kinds.items()]
    return [
        (int(one.network_address), int(one.broadcast_address), kind)
        for one, kind in networks
        if one.version == version
    ]


_KINDS: Final = {version: _ranges(version) for version in (4, 6)}
ROLES: Final = tuple(Role)
DIRECTIONS: Final = tuple(Direction)


def hash_of(text: str) -> int:
    """64 bits of a text; 0 stands for the empty one, which says nothing."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") if text else 0


@dataclass(frozen=True, slots=True, eq=False)
class DeviceFlows:
    """N flows in arrival order, each as its device has it: `out` is what the device sent."""

    device: Index
    """(N,) number of the device among those whose states are at hand."""
    start_us: Index
    end_us: Index
    peer: Hashes
    peer_kind: Codes
    """Of `PeerKind`."""
    direction: Codes
    """Place in `DIRECTIONS`."""
    role: Codes
    """Place in `ROLES`."""
    protocol: Codes
    """Of `Protocol`."""
    device_port: Index
    peer_port: Index
    service: npt.NDArray[np.uint32]
    """Half a hash; 0: unknown."""
    state: Codes
    """Of `State`."""
    packets_out: Index
    packets_in: Index
    ip_bytes_out: Index
    ip_bytes_in: Index
    payload_bytes_out: Index
    payload_bytes_in: Index
    quality: Index
    """Bits of `Quality`."""
    identity: Hashes
    """Of the flow: equal in its interim records and its final one."""
    final: Mask
    half: Mask
    tcp_flags: Index
    """Of a half."""

    def __post_init__(self) -> None:
        if any(len(getattr(self, name)) != len(self.device) for name in COLUMNS):
            raise ValueError("columns of flows must be equally long")

    def __len__(self) -> int:
        return len(self.device)

    def at(self, places: Index | Mask | slice) -> DeviceFlows:
        """Those at the places, in their order."""
        return DeviceFlows(**{name: getattr(self, name)[places] for name in COLUMNS})

    @property
    def originates(self) -> Mask:
        """(N,) where the device began the flow."""
        return np.asarray(self.role == ROLES.index(Role.ORIGINATOR))


COLUMNS: Final = tuple(field.name for field in fields(DeviceFlows))
DTYPES: Final[dict[str, type[np.generic]]] = {
    "peer": np.uint64,
    "peer_kind": np.uint8,
    "direction": np.uint8,
    "role": np.uint8,
    "protocol": np.uint8,
    "service": np.uint32,
    "state": np.uint8,
    "identity": np.uint64,
    "final": np.bool_,
    "half": np.bool_,
}
"""Of the columns that are not int64."""
PACKED: Final = np.dtype([(name, DTYPES.get(name, np.int64)) for name in COLUMNS if name != "device"])
"""A flow in one piece, by whomever it is."""
COUNTERS: Final = (
    "packets_out",
    "packets_in",
    "ip_bytes_out",
    "ip_bytes_in",
    "payload_bytes_out",
    "payload_bytes_in",
)


def columns_of(**columns: Sequence[object] | npt.NDArray[np.generic]) -> DeviceFlows:
    """From whatever holds the values, each column by its name."""
    return DeviceFlows(**{name: np.asarray(columns[name], DTYPES.get(name, np.int64)) for name in COLUMNS})


def unpacked(flows: npt.NDArray[np.void], device: Index) -> DeviceFlows:
    """Flows (N,) of PACKED, with the number of each's device (N,)."""
    columns = {name: np.ascontiguousarray(flows[name]) for name in PACKED.names or ()}
    return DeviceFlows(device=device, **columns)


MOST_COUNTED: Final = 1 << 48
"""More packets or bytes than this are as many: sums stay whole numbers."""


def bounded(flows: DeviceFlows) -> DeviceFlows:
    """With counters and ports in the range that the state has room for."""
    counters = {name: np.minimum(getattr(flows, name), MOST_COUNTED) for name in COUNTERS}
    ports = {name: getattr(flows, name) & 0xFFFF for name in ("device_port", "peer_port")}
    return replace(flows, **counters, **ports)


def joined(parts: Sequence[DeviceFlows]) -> DeviceFlows:
    """One behind the other."""
    return DeviceFlows(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS})


def from_values(flows: Sequence[DeviceFlow]) -> tuple[DeviceFlows, list[str]]:
    """Values as columns, and the devices' names by number, in order of appearance."""
    number: dict[str, int] = {}
    rows = [_row(flow, number.setdefault(flow.device, len(number))) for flow in flows]
    columns = zip(*rows, strict=True) if rows else ([] for _ in COLUMNS)
    return columns_of(**dict(zip(COLUMNS, (list(column) for column in columns), strict=True))), list(number)


def _row(flow: DeviceFlow, number: int) -> tuple[int | bool, ...]:
    """In the order of COLUMNS."""
    counters = (getattr(flow, name) for name in COUNTERS)
    return (
        number,
        flow.start_us,
        flow.end_us,
        hash_of(flow.peer),
        PeerKind.of(flow.peer),
        DIRECTIONS.index(flow.direction),
        ROLES.index(flow.role),
        Protocol.of(flow.protocol),
        flow.device_port,
        flow.peer_port,
        hash_of(flow.service) & 0xFFFFFFFF,
        int(flow.state),
        *(UNKNOWN if counter is None else counter for counter in counters),
        int(flow.quality),
        hash_of(flow.flow_id),
        flow.final,
        flow.half,
        UNKNOWN if flow.tcp_flags is None else flow.tcp_flags,
    )


def unsure_of_direction(flows: DeviceFlows) -> Mask:
    """(N,) whose ends the sensor turned round by a guess."""
    return np.asarray((flows.quality & int(Quality.FLIPPED)) != 0)
