"""What stands in a sensor's records, counted while they pass: in bounded memory, whatever comes.

Order counts: a flow is late by how far its end lies behind the latest end before it, of a topic in the same
partition.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from streams.client.flow_files import FileRecord
from streams.core.flow_columns import ReadFlows
from streams.core.flows import Flow, Quality, State
from streams.core.home import Home, Kind

MANY_ADDRESSES: Final = 8
"""So many addresses of one MAC at home are those behind a router."""
LATE_S: Final = 2
"""A flow is late from here on."""
OTHERS: Final = "others"
"""Names beyond those that are counted each."""
_MOST_KEPT: Final = 200_000
_MOST_NAMED: Final = 2_000
_BOUNDS_S: Final = (0, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 86_400, 864_000, 10**9)


class Recent:
    """The latest of a kind, so many at most."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, object] = {}

    def swap(self, key: Hashable, value: object = True) -> object:
        """What was kept for the key before; None where nothing was."""
        before = self._kept.pop(key, None)
        if len(self._kept) >= _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = value
        return before

    def take(self, key: Hashable) -> bool:
        return self._kept.pop(key, None) is not None

    def __len__(self) -> int:
        return len(self._kept)


@dataclass(slots=True)
class Spread:
    """How far times are apart, in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(_BOUNDS_S) + 1))
    count: int = 0
    least_s: float = float("inf")
    most_s: float = float("-inf")

    def add(self, seconds: float) -> None:
        self.count += 1
        self.least_s, self.most_s = min(self.least_s, seconds), max(self.most_s, seconds)
        self.counts[sum(bound < seconds for bound in _BOUNDS_S)] += 1

    def beyond(self, bound_s: int) -> int:
        """How many lie further apart than one of the bounds."""
        return sum(self.counts[_BOUNDS_S.index(bound_s) + 1 :])

    def median_s(self) -> float:
        """The bound below which half of them lie."""
        seen = 0
        for place, count in enumerate(self.counts):
            seen += count
            if seen * 2 >= self.count:
                return min(float(_BOUNDS_S[min(place, len(_BOUNDS_S) - 1)]), self.most_s)
        return 0.0


@dataclass(slots=True)
class Survey:
    """Counts of one file's records, or a topic's."""

    home: Home
    records: int = 0
    flows: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    details: dict[str, str] = field(default_factory=dict)
    dialects: Counter[str] = field(default_factory=Counter)
    quality: Counter[str] = field(default_factory=Counter)
    at_home: int = 0
    nobodys: int = 0
    """Between groups and the unspecified, as DHCP's first message: no end could be a device."""
    elsewhere: Counter[str] = field(default_factory=Counter)
    """Networks of flows without an end at home."""
    elsewhere_ends: Counter[str] = field(default_factory=Counter)
    """Addresses of such flows: one that most of them share is a device of its own."""
    elsewhere_flows: int = 0
    internal: int = 0
    unanswered: int = 0
    """Datagrams without an answer, and those of them to multicast and broadcast."""
    to_groups: int = 0
    halves: int = 0
    paired: int = 0
    repeated: int = 0
    interim: int = 0
    late: Spread = field(default_factory=Spread)
    delay: Spread = field(default_factory=Spread)
    """From a flow's end to Kafka."""
    of_sensor: dict[str, Spread] = field(default_factory=dict)
    skewed: Counter[str] = field(default_factory=Counter)
    without: Counter[str] = field(default_factory=Counter)
    protocols: Counter[str] = field(default_factory=Counter)
    addresses_of: dict[str, set[str]] = field(default_factory=dict)
    _latest_us: dict[int, int] = field(default_factory=dict)
    """By partition."""
    _devices: Recent = field(default_factory=Recent)
    _identities: Recent = field(default_factory=Recent)
    _uids: Recent = field(default_factory=Recent)
    _open_halves: Recent = field(default_factory=Recent)

    @property
    def devices(self) -> int:
        return len(self._devices)

    @property
    def two_way(self) -> int:
        return self.flows - self.halves

    def add(self, records: Sequence[FileRecord], read: ReadFlows) -> None:
        """Count a block of records and what became of them."""
        self.records += len(records)
        _count(self.skipped, (one.reason for one in read.skipped))
        _count(self.rejected, (str(one.reason) for one in read.rejected))
        for one in read.rejected:
            self.details.setdefault(str(one.reason), one.detail)
        _count(self.dialects, read.flows.dialect.to_list())
        for position, flow in zip(read.flows.position.tolist(), read.flows, strict=True):
            self._add_flow(flow, records[position])

    def _add_flow(self, flow: Flow, record: FileRecord) -> None:
        self.flows += 1
        self.protocols[flow.protocol] += 1
        for word in flow.quality.words:
            self.quality[word] += 1
        self._add_times(flow, record.timestamp * 1_000, record.partition)
        self._add_identity(flow)
        self._add_home(flow)

    def _add_times(self, flow: Flow, kafka_us: int, partition: int) -> None:
        if Quality.CLOCK_SKEW in flow.quality:
            _count(self.skewed, [flow.sensor])
            return
        latest_us = self._latest_us.get(partition, flow.end_us)
        self.late.add(max(0, latest_us - flow.end_us) / 1e6)
        if partition in self._latest_us or len(self._latest_us) < _MOST_NAMED:
            self._latest_us[partition] = max(latest_us, flow.end_us)
        if kafka_us > 0:
            self.delay.add((kafka_us - flow.end_us) / 1e6)
            if flow.sensor in self.of_sensor or len(self.of_sensor) < _MOST_NAMED:
                self.of_sensor.setdefault(flow.sensor, Spread()).add((kafka_us - flow.end_us) / 1e6)

    def _add_identity(self, flow: Flow) -> None:
        ends = flow.protocol, flow.originator, flow.originator_port, flow.responder, flow.responder_port
        counted = (
            *(flow.originator_packets, flow.responder_packets),
            *(flow.originator_ip_bytes, flow.responder_ip_bytes, flow.originator_payload_bytes),
        )
        span_s = flow.start_us // 1_000_000, flow.end_us // 1_000_000
        if Quality.ZERO_COUNTERS in flow.quality:
            pass  # what was not counted cannot be told apart
        elif self._identities.swap(hash((ends, span_s, counted))):
            self.repeated += 1
        elif flow.flow_id and self._uids.swap(hash((flow.sensor, flow.flow_id, flow.start_us))):
            self.interim += 1
        if flow.half:
            self.halves += 1
            if self._open_halves.take(hash((ends[0], *ends[3:], *ends[1:3]))):
                self.paired += 2
            else:
                self._open_halves.swap(hash(ends))

    def _add_home(self, flow: Flow) -> None:
        events = self.home.device_flows(flow)
        networks = self.home.of_site.get(self.home.site_of(flow), self.home.networks)
        if flow.protocol == "udp" and flow.state is State.NO_ANSWER:
            self.unanswered += 1
            self.to_groups += networks.kind(flow.responder) in (Kind.NOBODY, Kind.BROADCAST_LIKE)
        if not events:
            outside = [one for one in (flow.originator, flow.responder) if networks.kind(one) is Kind.OUTSIDE]
            if not outside:
                self.nobodys += 1
                return
            self.elsewhere_flows += 1
            _count(self.elsewhere, sorted({network_of(one) for one in outside}))
            _count(self.elsewhere_ends, sorted({*outside}))
            return
        self.at_home += 1
        self.internal += len(events) == 2
        for event in events:
            self._devices.swap(event.device)
        self._add_mac(flow.originator_mac, flow.originator)
        self._add_mac(flow.responder_mac, flow.responder)
        named = {
            "community_id": flow.community_id,
            "mac": flow.originator_mac or flow.responder_mac,
            "service": flow.service,
            "flow_id": flow.flow_id,
        }
        for name, value in named.items():
            self.without[name] += not value

    def _add_mac(self, mac: str, address: str) -> None:
        """Of a station at home which addresses it has had: a few of them, of IPv4."""
        if mac and ":" not in address and self.home.networks.kind(address) is Kind.HOME:
            if mac not in self.addresses_of and len(self.addresses_of) >= _MOST_NAMED:
                return
            seen = self.addresses_of.setdefault(mac, set())
            if len(seen) < MANY_ADDRESSES:
                seen.add(address)


def network_of(address: str) -> str:
    """The network that an address is shown as a part of."""
    width = 48 if ":" in address else 16
    return str(ipaddress.ip_network(f"{address}/{width}", strict=False))


def _count(counts: Counter[str], names: Iterable[str]) -> None:
    """Count each, and what is beyond so many names under one of its own."""
    for name in names:
        counts[name if name in counts or len(counts) < _MOST_NAMED else OTHERS] += 1


def figures(survey: Survey) -> dict[str, object]:
    """The counts themselves, for machines."""
    return {
        "records": survey.records,
        "flows": survey.flows,
        "skipped": dict(survey.skipped.most_common(50)),
        "rejected": dict(survey.rejected),
        "dialects": dict(survey.dialects),
        "protocols": dict(survey.protocols.most_common(20)),
        "at_home": survey.at_home,
        "nobodys": survey.nobodys,
        "elsewhere": survey.elsewhere_flows,
        "elsewhere_networks": dict(survey.elsewhere.most_common(20)),
        "internal": survey.internal,
        "devices": survey.devices,
        "halves": survey.halves,
        "paired": survey.paired,
        "udp_unanswered": survey.unanswered,
        "udp_unanswered_to_groups": survey.to_groups,
        "repeated": survey.repeated,
        "interim": survey.interim,
        "quality": dict(survey.quality),
        "late_over_2_s": survey.late.beyond(LATE_S),
        "latest_s": round(max(0.0, survey.late.most_s), 6) if survey.late.count else None,
        "delay_median_s": round(survey.delay.median_s(), 3) if survey.delay.count else None,
        "delay_most_s": round(survey.delay.most_s, 3) if survey.delay.count else None,
        "skewed_by_sensor": dict(survey.skewed.most_common(50)),
        "without": dict(survey.without),
    }
