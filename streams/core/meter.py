"""Packets to flows: a table of the connections under way, and when each is reported.

A TCP connection is reported a second after its last FIN or its RST, so that what trails behind joins it;
anything else when it has been silent for `idle_us`. A long one is reported on the way as well, each
`interim_us`, as it stands and under the same id. An established TCP connection that falls silent is reported
likewise, and goes on under its id if it speaks again within `silent_us`. Time is the packets' own, so that a
file gives what its packets gave.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from streams.core.flows import Flow, Quality, State

TCP: Final = 6
UDP: Final = 17
ICMP: Final = 1
ICMP6: Final = 58
FIN, SYN, RST, ACK = 1, 2, 4, 16
_NAMES: Final = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMP6: "icmp"}
_QUESTIONS: Final = {0: 8, 14: 13, 16: 15, 18: 17, 129: 128, 136: 135}
"""Types of ICMP and ICMPv6 by the type that answers them."""
_PRIVILEGED: Final = 1024
_NOTHING: Final[Sequence[Flow]] = ()


class Packet(NamedTuple):
    """What the meter sees of one."""

    time_us: int
    source: str
    destination: str
    protocol: int
    source_port: int
    """Of ICMP the type; 0 where there are no ports."""
    destination_port: int
    """Of ICMP the code."""
    ip_bytes: int
    payload_bytes: int
    flags: int = 0
    """Of TCP."""
    source_mac: str = ""
    destination_mac: str = ""


@dataclass(frozen=True, slots=True)
class Waits:
    """How long the meter waits for more, in microseconds, and how many flows may be under way."""

    idle_us: int = 5_000_000
    interim_us: int = 30_000_000
    closing_us: int = 1_000_000
    silent_us: int = 300_000_000
    most_flows: int = 200_000


End = tuple[str, int]
Key = tuple[int, End, End]


class _Ends(NamedTuple):
    """Of a packet; `key` is the same for both directions."""

    key: Key
    source: End
    destination: End


class _Way:
    """What one end sent."""

    __slots__ = ("flags", "ip_bytes", "packets", "payload_bytes")

    def __init__(self) -> None:
        self.packets = self.ip_bytes = self.payload_bytes = self.flags = 0


class _Entry:
    """A connection under way."""

    __slots__ = (
        "accepted",
        "back",
        "closed_us",
        "flipped",
        "flow_id",
        "key",
        "last_us",
        "macs",
        "opened",
        "originator",
        "reported_packets",
        "reported_us",
        "reset",
        "responder",
        "start_us",
        "there",
    )

    def __init__(self, ends: _Ends, packet: Packet, flow_id: str) -> None:
        turned, flipped = _turned(packet)
        macs = packet.source_mac, packet.destination_mac
        self.key = ends.key
        self.flow_id = flow_id
        self.originator = ends.destination if turned else ends.source
        self.responder = ends.source if turned else ends.destination
        self.macs = macs[::-1] if turned else macs
        self.flipped = flipped
        self.start_us = self.last_us = self.reported_us = packet.time_us
        self.reported_packets = 0
        self.there, self.back = _Way(), _Way()
        self.opened = self.accepted = self.reset = False
        self.closed_us = -1

    def count(self, packet: Packet, is_back: bool) -> None:
        way = self.back if is_back else self.there
        flags = packet.flags
        way.packets += 1
        way.ip_bytes += packet.ip_bytes
        way.payload_bytes += packet.payload_bytes
        way.flags |= flags
        self.last_us = max(self.last_us, packet.time_us)
        if flags & SYN:
            if is_back:
                self.accepted = bool(flags & ACK)
            else:
                self.opened = True
        if flags & RST:
            self.reset = True
            self.closed_us = self.last_us
        elif flags & FIN and self.there.flags & self.back.flags & FIN:
            self.closed_us = self.last_us

    @property
    def established(self) -> bool:
        """A TCP connection that both ends speak on, seen from its beginning or not."""
        return self.key[0] == TCP and bool(self.there.flags & self.back.flags & ACK)

    @property
    def state(self) -> State:
        there, back = self.there, self.back
        if self.key[0] != TCP:
            return State.ANSWERED if back.packets else State.NO_ANSWER
        if not self.opened:
            return State.PARTIAL
        if not back.packets:
            return State.HALF_OPEN if self.reset or there.flags & FIN else State.NO_ANSWER
        if not self.accepted:
            return State.REFUSED if back.flags & RST else State.PARTIAL
        if self.reset:
            return State.RESET
        return State.ANSWERED if there.flags & ACK else State.HALF_OPEN

    def flow(self, final: bool, quality: Quality) -> Flow:
        there, back = self.there, self.back
        return Flow(
            flow_id=self.flow_id,
            originator=self.originator[0],
            responder=self.responder[0],
            originator_port=self.originator[1],
            responder_port=self.responder[1],
            protocol=_NAMES.get(self.key[0], str(self.key[0])),
            start_us=self.start_us,
            end_us=self.last_us,
            state=self.state,
            originator_packets=there.packets,
            responder_packets=back.packets,
            originator_ip_bytes=there.ip_bytes,
            responder_ip_bytes=back.ip_bytes,
            originator_payload_bytes=there.payload_bytes,
            responder_payload_bytes=back.payload_bytes,
            originator_mac=self.macs[0],
            responder_mac=self.macs[1],
            final=final,
            quality=quality | (Quality.FLIPPED if self.flipped else Quality.NONE),
        )


class Meter:
    """For one thread."""

    def __init__(self, waits: Waits = Waits()) -> None:
        self._waits = waits
        self._count = 0
        self._now_us = 0
        self._open: OrderedDict[Key, _Entry] = OrderedDict()  # the one that spoke last at the end
        self._closed: OrderedDict[Key, _Entry] = OrderedDict()  # in the order in which they closed
        self._silent: OrderedDict[Key, _Entry] = OrderedDict()  # established; in the order of their last word
        self.let_go = 0
        """Flows cut because too many were under way."""

    def __len__(self) -> int:
        return len(self._open) + len(self._closed) + len(self._silent)

    def add(self, packet: Packet) -> Sequence[Flow]:
        """The flows to report now; few packets bring any."""
        due = self.pass_to(packet.time_us)
        ends = _ends_of(packet)
        key = ends.key
        entry = self._open.get(key) or self._closed.get(key) or self._silent.get(key)
        if entry is not None and _opens(packet) and (entry.closed_us >= 0 or entry.established):
            due = [*due, self._ended(entry)]  # the same ports for another connection
            entry = None
        if entry is None:
            due = [*due, *self._let_go()]
            entry = self._begun(ends, packet)
        elif key in self._silent:
            self._open[key] = self._silent.pop(key)
        entry.count(packet, ends.source == entry.responder and entry.responder != entry.originator)
        if entry.closed_us >= 0:
            if self._open.pop(key, None) is not None:
                self._closed[key] = entry
            return due
        self._open.move_to_end(key)
        if packet.time_us - entry.reported_us >= self._waits.interim_us:
            return [*due, self._interim(entry)]
        return due

    def pass_to(self, time_us: int) -> Sequence[Flow]:
        """Time has passed, with a packet or without one; the flows whose end that is."""
        now_us = self._now_us = max(self._now_us, time_us)
        due: list[Flow] = []
        while self._closed:
            entry = next(iter(self._closed.values()))
            if now_us - entry.closed_us < self._waits.closing_us:
                break
            due.append(self._ended(entry))
        while self._silent:
            entry = next(iter(self._silent.values()))
            if now_us - entry.last_us < self._waits.silent_us:
                break
            due.append(self._ended(entry))
        while self._open:
            entry = next(iter(self._open.values()))
            if now_us - entry.last_us < self._waits.idle_us:
                break
            due += self._idle(entry)
        return due or _NOTHING

    def end(self) -> Sequence[Flow]:
        """All that is under way: nothing more will come."""
        left = [*self._closed.values(), *self._silent.values(), *self._open.values()]
        return [self._ended(entry) for entry in left]

    def _idle(self, entry: _Entry) -> list[Flow]:
        if not entry.established:
            return [self._ended(entry)]
        del self._open[entry.key]
        self._silent[entry.key] = entry
        news = entry.there.packets + entry.back.packets > entry.reported_packets
        lately = entry.reported_packets and self._now_us - entry.reported_us < self._waits.interim_us
        return [self._interim(entry)] if news and not lately else []

    def _begun(self, ends: _Ends, packet: Packet) -> _Entry:
        self._count += 1
        entry = self._open[ends.key] = _Entry(ends, packet, f"{self._count:x}")
        return entry

    def _interim(self, entry: _Entry) -> Flow:
        entry.reported_us = max(self._now_us, entry.last_us)
        entry.reported_packets = entry.there.packets + entry.back.packets
        return entry.flow(final=False, quality=Quality.CUT)

    def _ended(self, entry: _Entry, quality: Quality = Quality.NONE) -> Flow:
        for table in (self._open, self._closed, self._silent):
            table.pop(entry.key, None)
        return entry.flow(final=True, quality=quality)

    def _let_go(self) -> list[Flow]:
        """Make room for one: those that ended, then those that have been silent longest."""
        if len(self) < self._waits.most_flows:
            return []
        for table in (self._closed, self._silent, self._open):
            if table:
                entry = next(iter(table.values()))
                self.let_go += 1
                return [self._ended(entry, Quality.NONE if table is self._closed else Quality.CUT)]
        return []


def _ends_of(packet: Packet) -> _Ends:
    protocol, sent, to = packet.protocol, packet.source_port, packet.destination_port
    if protocol in {ICMP, ICMP6}:  # type and code stand for the ends' ports, those of the question
        question = _QUESTIONS.get(sent)
        asks = question is None
        kind, code = (sent, to) if asks else (question or 0, to)
        source = (packet.source, kind if asks else code)
        other = (packet.destination, code if asks else kind)
    else:
        source, other = (packet.source, sent), (packet.destination, to)
    return _Ends((protocol, source, other) if source < other else (protocol, other, source), source, other)


def _opens(packet: Packet) -> bool:
    return packet.protocol == TCP and packet.flags & (SYN | ACK) == SYN


def _turned(packet: Packet) -> tuple[bool, bool]:
    """Whether a flow's first packet comes from its responder, and whether that is a guess by ports."""
    if packet.protocol in {ICMP, ICMP6}:
        return packet.source_port in _QUESTIONS, False
    if packet.protocol == TCP and packet.flags & SYN:
        return bool(packet.flags & ACK), False
    by_ports = packet.source_port < _PRIVILEGED <= packet.destination_port and packet.protocol == TCP
    return by_ports, by_ports
