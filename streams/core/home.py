"""Whose flow it is: which ends are ours, and by what name. Private addresses repeat from site to site, so a
device is a site and, within it, the name that a lease gives, else a MAC where the sensor tells it, else an
address.

    one end at home            a flow of that device: out where it began, in where it did not
    both ends at home          a flow of each, internal
    neither                    nobody's; counted
    multicast, broadcast, unspecified, loopback          never a device
    link-local, to an address that is not                a router's: never a device
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from streams.core.drafts import draft_of
from streams.core.flows import DeviceFlow, Direction, Flow, Role
from streams.core.leases import Naming

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

DEFAULT: Final = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,169.254.0.0/16,fc00::/7,fe80::/10"
SITE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_WIDEST: Final = {4: 8, 6: 7}
_SUBNET: Final = 24
"""Of a wider network the subnets are not known: there an address that ends in .255, is only sent to and
speaks no TCP is taken for a broadcast."""
_SYN, _RST, _ACK = 2, 4, 16
_NOTED: Final = 65_536
_ROUTER_TYPE: Final = 134
"""ICMPv6: router advertisement."""
ICMP_QUESTIONS: Final = frozenset({8, 13, 15, 17, 128, 135})
"""Types that are answered. Half of an answer has its question's type for the port of who asked."""
_EPHEMERAL: Final = 32_768
"""Where most systems begin to number the ports of those who call."""
_SERVERS: Final = frozenset(
    {1080, 1194, 1433, 1521, 1723, 1883, 1900, 2323, 3128, 3306, 3389, 3478, 5060, 5222, 5353, 5432}
    | {5555, 5672, 5683, 5684, 5900, 6379, 6667, 6668, 7547, 8000, 8008, 8009, 8080, 8081, 8086, 8123}
    | {8443, 8554, 8883, 8888, 9000, 9092, 9100, 27017, 37215, 47808, 51820, 52869}
)
"""Ports beyond 1023 on which something listens."""


class Kind(Enum):
    HOME = "home"
    """An address of ours, of a device as far as it goes."""
    BROADCAST_LIKE = "may be a subnet's broadcast"
    LINK_LOCAL = "link-local"
    OUTSIDE = "outside"
    NOBODY = "nobody"
    """Multicast, broadcast, unspecified, loopback."""


def parse_networks(text: str) -> tuple[Network, ...]:
    """Networks in CIDR, comma-separated. Raises ValueError that says what would be right."""
    found = [_network(one.strip()) for one in text.split(",") if one.strip()]
    if not found:
        raise ValueError(
            "it names no network, so that no flow would have a device; leave it unset for "
            "the private ranges, or give networks such as 192.168.0.0/16"
        )
    return tuple(found)


def _network(text: str) -> Network:
    try:
        found = ipaddress.ip_network(text)
    except ValueError as exc:
        try:
            meant = f"; {ipaddress.ip_network(text, strict=False)} is the network of it"
        except ValueError:
            meant = "; expected networks such as 192.168.0.0/16, comma-separated"
        raise ValueError(f"{text!r} is no network ({exc}){meant}") from exc
    if found.prefixlen < _WIDEST[found.version]:
        raise ValueError(
            f"{text} is as good as every address: each one on the Internet would be a device of yours; name "
            "your own networks"
        )
    if found.is_multicast or found.is_loopback:
        raise ValueError(f"{text} is {'multicast' if found.is_multicast else 'loopback'}: no device has it")
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Networks:
    """The networks of one site."""

    ours: tuple[Network, ...]
    _kinds: dict[str, Kind] = field(default_factory=dict, repr=False)

    def kind(self, address: str) -> Kind:
        """Of a canonical address; what was found is kept, of the latest addresses."""
        found = self._kinds.get(address)
        if found is None:
            if len(self._kinds) >= _NOTED:
                self._kinds.clear()
            found = self._kinds[address] = self._find(address)
        return found

    def _find(self, text: str) -> Kind:
        address = ipaddress.ip_address(text)
        if address.is_multicast or address.is_unspecified or address.is_loopback or text == "255.255.255.255":
            return Kind.NOBODY
        inside = [one for one in self.ours if address.version == one.version and address in one]
        if not inside:
            return Kind.OUTSIDE
        narrowest = max(inside, key=lambda one: one.prefixlen)
        if isinstance(narrowest, ipaddress.IPv4Network) and narrowest.prefixlen <= 30:
            if address in (narrowest.broadcast_address, narrowest.network_address):
                return Kind.NOBODY
            if narrowest.prefixlen < _SUBNET and text.endswith(".255"):
                return Kind.BROADCAST_LIKE
        return Kind.LINK_LOCAL if address.is_link_local else Kind.HOME


def parse_home(networks: str, site: str = "", sensors: str = "") -> Home:
    """`networks`: those of every site, then `; SITE=NETWORKS` for each that has others.

    `sensors`: SENSOR=SITE, comma-separated. Raises ValueError that says what would be right.
    """
    general, of_site = parse_networks(DEFAULT), {}
    for place, group in enumerate(part.strip() for part in networks.split(";")):
        name, is_named, listed = group.partition("=")
        if is_named:
            of_site[_site(name.strip())] = Networks(parse_networks(listed))
        elif place == 0:
            general = parse_networks(group)
        else:
            raise ValueError(f"{group!r} follows a ';' and names no site; expected SITE=NETWORK,NETWORK")
    of_sensor = {}
    for pair in (part.strip() for part in sensors.split(",") if part.strip()):
        sensor, is_named, of = pair.rpartition("=")
        if not is_named or not sensor.strip():
            raise ValueError(f"{pair!r} names no site; expected SENSOR=SITE")
        of_sensor[sensor.strip()] = _site(of.strip())
    return Home(_site(site) if site else "", Networks(general), of_site, of_sensor)


def _site(text: str) -> str:
    if not SITE.fullmatch(text):
        raise ValueError(f"{text!r} is no name of a site: 1 to 64 letters, digits, '.', '_' and '-'")
    return text


@dataclass(frozen=True, slots=True, eq=False)
class Home:
    """Which networks are ours, at which site, as the settings have it."""

    site: str = ""
    """Of sensors that have none of their own."""
    networks: Networks = field(default_factory=lambda: Networks(parse_networks(DEFAULT)))
    of_site: Mapping[str, Networks] = field(default_factory=dict)
    """Sites whose networks are others."""
    of_sensor: Mapping[str, str] = field(default_factory=dict)
    """Sensor to site."""

    def is_home(self, site: str, address: str) -> bool:
        """Whether a device of that site may have the address."""
        return self.of_site.get(site, self.networks).kind(address) in (Kind.HOME, Kind.BROADCAST_LIKE)

    def devices(self, flow: Flow) -> tuple[str, ...]:
        """Whose the flow is, by name and without leases: of nobody, one or two."""
        site = self.site_of(flow)
        return tuple(one for one in _devices(flow, self._kinds(site, flow), site, None) if one)

    def _kinds(self, site: str, flow: Flow) -> tuple[Kind, Kind]:
        networks = self.of_site.get(site, self.networks)
        return networks.kind(flow.originator), networks.kind(flow.responder)

    def site_of(self, flow: Flow) -> str:
        return flow.site or self.of_sensor.get(flow.sensor, self.site)

    def device_flows(self, flow: Flow, naming: Naming | None = None) -> tuple[DeviceFlow, ...]:
        """The flow as each of its devices has it: none, one or two. `naming`: by the leases that count."""
        site = self.site_of(flow)
        kinds = self._kinds(site, flow)
        devices = _devices(flow, kinds, site, naming)
        if not any(devices):
            return ()
        is_internal = not (_is_outside(kinds[0]) or _is_outside(kinds[1]))
        begins = initiator(flow, kinds)
        return tuple(
            [
                _as_of(flow, place, (device, site), (begins == place, is_internal))
                for place, device in enumerate(devices)
                if device
            ]
        )


def _devices(flow: Flow, kinds: tuple[Kind, Kind], site: str, naming: Naming | None) -> tuple[str, str]:
    """The name of each end's device; empty where it is none."""
    return _device(flow, kinds, 0, site, naming), _device(flow, kinds, 1, site, naming)


def _device(flow: Flow, kinds: tuple[Kind, Kind], place: int, site: str, naming: Naming | None) -> str:
    """The name of an end's device; empty where it is none."""
    kind, other = kinds[place], kinds[1 - place]
    if _is_outside(kind):
        return ""
    packets = (flow.originator_packets, flow.responder_packets)[place]
    if kind is Kind.BROADCAST_LIKE and flow.protocol != "tcp" and not packets:
        return ""
    if kind is Kind.LINK_LOCAL and (other in (Kind.HOME, Kind.OUTSIDE) or _advertises(flow, place)):
        return ""
    mac, address = (flow.originator_mac, flow.responder_mac)[place], (flow.originator, flow.responder)[place]
    name = (naming(site, address, mac, flow.start_us) if naming else "") or mac or address
    return f"{site}/{name}" if site else name


def _is_outside(kind: Kind) -> bool:
    return kind is Kind.OUTSIDE or kind is Kind.NOBODY


def _advertises(flow: Flow, place: int) -> bool:
    return place == 0 and flow.protocol == "icmp" and flow.originator_port == _ROUTER_TYPE


def initiator(flow: Flow, kinds: tuple[Kind, Kind]) -> int:
    """Which end began, 0 the originator: a meter that joins both directions has seen it.

    A group's address begins nothing: what stands there for the originator and sent nothing was turned round.
    One direction alone says who sent it. Then a SYN without any ACK is the beginning, RST+ACK alone is its
    refusal; of ICMP a question is a beginning, and its answer is not (`ICMP_QUESTIONS`); else the end whose
    port is a service's was called; else the end at home began.
    """
    if not flow.half:
        is_group = kinds[0] in (Kind.NOBODY, Kind.BROADCAST_LIKE) and kinds[1] is not Kind.NOBODY
        return 1 if is_group and not flow.originator_packets and flow.responder_packets else 0
    for told in (_told_by_flags(flow), _told_by_ports(flow)):
        if told is not None:
            return told
    if Kind.NOBODY in kinds:
        return 1 if kinds[0] is Kind.NOBODY else 0
    return 1 if kinds[0] is Kind.OUTSIDE and kinds[1] is not Kind.OUTSIDE else 0


def _told_by_flags(half: Flow) -> int | None:
    flags = half.tcp_flags
    if not flags:
        return None
    if flags & _SYN and not flags & _ACK:
        return 0
    return 1 if flags & (_RST | _ACK) == _RST | _ACK and not flags & 0b1011 else None


def _told_by_ports(half: Flow) -> int | None:
    if half.protocol == "icmp":
        return 1 if half.originator_port == 0 and half.responder_port in ICMP_QUESTIONS else 0
    called = called_port(half.originator_port, half.responder_port)
    return None if called is None else 1 - called


def called_port(one: int, other: int) -> int | None:
    """Which of a flow's two ports was called, 0 or 1, where that can be told by them."""
    for serves in CALLED_BY:
        ports = serves(one), serves(other)
        if ports[0] != ports[1]:
            return 0 if ports[0] else 1
    return None


def _is_service(port: int) -> bool:
    return 0 < port < 1024 or port in _SERVERS


def _is_below_ephemeral(port: int) -> bool:
    return 0 < port < _EPHEMERAL


CALLED_BY: Final = (_is_service, _is_below_ephemeral)
"""By which kind of port, the first of them that only one of two ports is of."""


def _as_of(flow: Flow, place: int, device: tuple[str, str], began: tuple[bool, bool]) -> DeviceFlow:
    """The flow from one end, of a device and its site; `began`: whether that end did, and whether both are at
    home.
    """
    name, site = device
    is_first, is_internal = began
    sides = (_side(flow, 0), _side(flow, 1))
    (_, port, out), (peer, peer_port, came) = sides[place], sides[1 - place]
    direction = Direction.OUT if is_first else Direction.IN
    made = _Draft(
        device=name,
        direction=Direction.INTERNAL if is_internal else direction,
        role=Role.ORIGINATOR if is_first else Role.TARGET,
        peer=peer,
        protocol=flow.protocol,
        device_port=port,
        peer_port=peer_port,
        service=flow.service,
        state=flow.state,
        start_us=flow.start_us,
        end_us=flow.end_us,
        packets_out=out[0],
        packets_in=came[0],
        ip_bytes_out=out[1],
        ip_bytes_in=came[1],
        payload_bytes_out=out[2],
        payload_bytes_in=came[2],
        flow_id=flow.flow_id or made_id(flow),
        quality=flow.quality,
        final=flow.final,
        half=flow.half,
        tcp_flags=flow.tcp_flags,
        community_id=flow.community_id,
        site=site,
        sensor=flow.sensor,
    )
    made.__class__ = DeviceFlow
    found: DeviceFlow = made
    return found


_Draft: Final = draft_of(DeviceFlow)
_Counted = tuple[int | None, int | None, int | None]


def _side(flow: Flow, place: int) -> tuple[str, int, _Counted]:
    """Address, port, and what it sent: packets, IP bytes, payload bytes."""
    if place:
        sent = flow.responder_packets, flow.responder_ip_bytes, flow.responder_payload_bytes
        return flow.responder, flow.responder_port, sent
    sent = flow.originator_packets, flow.originator_ip_bytes, flow.originator_payload_bytes
    return flow.originator, flow.originator_port, sent


def made_id(flow: Flow) -> str:
    """Of a flow that its sensor gave no identity: its ends and its start. A half's is its own."""
    return (
        f"{flow.protocol} {flow.originator}:{flow.originator_port}>{flow.responder}:{flow.responder_port}"
        f"@{flow.start_us}"
    )
