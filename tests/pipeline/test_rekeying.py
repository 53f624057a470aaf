"""Sensors' records leave as flows of devices, keyed by device, and the same however often they are read."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.codec import device_flows
from streams.codec.ingest.flows.decoder import FlowDecoder
from streams.codec.ingest.flows.devices import DeviceFlowReader, Read
from streams.core.events import Chunk, Header, RawRecord, Reason, Rejected, Source
from streams.core.flows import DeviceFlow, Role
from streams.core.home import Home
from streams.core.leases import FOREVER, SETTLED_US, Devices, Lease, Naming
from streams.core.patience import Retry
from streams.errors import BrokerUnavailable
from streams.pipeline.rekeying import FlowReport, FlowTopics, Rekeying
from tests.belt import Died, conveyed
from tests.device_flows import flow_of
from tests.fakes import patient
from tests.fakes_kafka import FakeKafkaPublisher
from tests.flow_samples import Raw, bytes_of, zeek

TOPICS = FlowTopics("zeek", "ids.flows", "ids.dead-letters")
LIFE = uuid.UUID(int=7)


@dataclass(frozen=True)
class Record:
    offset: int
    value: bytes
    timestamp: int = 1_700_000_000_000
    key: bytes | None = None
    headers: Sequence[Header] = ()


class Letters:
    """A dialect of one letter: d, 2 and i a flow, two, and one of two devices; f foreign, s other."""

    def why_not(self) -> str | None:
        return None

    def read(self, records: Sequence[RawRecord]) -> Read:
        flows: list[tuple[int, DeviceFlow]] = []
        rejected: list[Rejected] = []
        kinds = Counter[str]()
        for place, record in enumerate(records):
            kind = (record.value or b"").decode()
            kinds[kind] += 1
            if kind in "di2":
                flows.append((place, flow_of("home/10.0.0.2", Role.ORIGINATOR)))
            if kind == "2":
                flows.append((place, flow_of("home/10.0.0.2", Role.ORIGINATOR)))
            if kind == "i":
                flows.append((place, flow_of("home/10.0.0.3", Role.TARGET)))
            if kind == "x":
                rejected.append(Rejected(place, Reason.UNDECODABLE, "no letter"))
        return Read(flows, rejected, {"another log": kinds["s"]}, kinds["f"])


def chunk(partition: int, first: int, kinds: str) -> Chunk:
    records = [Record(first + place, kind.encode()) for place, kind in enumerate(kinds)]
    return Chunk(Source("zeek", LIFE, partition), records, first + len(kinds))


def rekeying(
    broker: FakeKafkaPublisher, reports: list[FlowReport] | None = None, patience: Any = patient
) -> Rekeying:
    done = [] if reports is None else reports
    return Rekeying(TOPICS, Letters(), broker, patience, done.append, "1")


def broker() -> FakeKafkaPublisher:
    return FakeKafkaPublisher([TOPICS.flows, TOPICS.dead_letters])


def told(found: FakeKafkaPublisher) -> dict[str, tuple[bytes | None, bytes | None]]:
    """Of each id, what was written; the same each time."""
    by_id: dict[str, tuple[bytes | None, bytes | None]] = {}
    for message in found.topics[TOPICS.flows]:
        said = message.key, message.value
        assert by_id.setdefault(device_flows.decode(message.value).event_id, said) == said
    return by_id


def test_a_flow_goes_to_each_of_its_devices_with_an_id_of_its_own() -> None:
    found, reports = broker(), list[FlowReport]()
    conveyed(rekeying(found, reports), [chunk(0, 10, "disfx2")])
    flows = found.topics[TOPICS.flows]
    keys = [message.key for message in flows]
    assert keys == [b"home/10.0.0.2", b"home/10.0.0.2", b"home/10.0.0.3", b"home/10.0.0.2", b"home/10.0.0.2"]
    assert len(told(found)) == 5
    (report,) = reports
    assert report.flows == {"out": 5}
    assert report.foreign == 1
    assert report.skipped == {"another log": 1}
    assert report.dead_letters == {"undecodable": 1}


def test_what_cannot_be_read_leaves_byte_for_byte_with_its_reason() -> None:
    found = broker()
    conveyed(rekeying(found), [chunk(0, 10, "dx")])
    (letter,) = found.topics[TOPICS.dead_letters]
    assert letter.value == b"x"
    assert dict(letter.headers)["autodeep.reason"] == b"undecodable"
    assert dict(letter.headers)["autodeep.offset"] == b"11"


@given(st.text("difsx2", min_size=1, max_size=30), st.data())
def test_the_turns_change_nothing(kinds: str, data: st.DataObject) -> None:
    """However the records are cut into chunks, and however many are read again, the same is on the topic."""
    whole, cut = broker(), broker()
    conveyed(rekeying(whole), [chunk(0, 0, kinds)])
    ends = sorted({*data.draw(st.lists(st.integers(1, len(kinds)), max_size=4)), len(kinds)})
    for begin, end in zip([0, *ends], ends, strict=False):
        again = data.draw(st.integers(0, begin))  # a crash: from the offset committed before
        conveyed(rekeying(cut), [chunk(0, again, kinds[again:end])])
    assert told(cut) == told(whole)


@given(st.lists(st.text("difsx2", min_size=1, max_size=8), min_size=1, max_size=5))
def test_partitions_of_one_turn_are_as_each_alone(kinds: list[str]) -> None:
    chunks = [chunk(number, 5 * number, some) for number, some in enumerate(kinds)]
    found, alone = broker(), broker()
    hop = rekeying(found)
    begun = hop.begin(chunks)
    assert begun.computed is not None
    hop.deliver(begun.computed)
    for one in chunks:
        conveyed(rekeying(alone), [one])
    assert found.topics == alone.topics
    assert begun.computed.report.records == sum(map(len, kinds))


def test_nothing_is_acknowledged_before_it_is_on_the_broker() -> None:
    def impatient(attempt: object) -> object:
        return attempt()  # type: ignore[operator]

    found = broker()
    found.away = 1
    with pytest.raises(Died) as died:
        conveyed(rekeying(found, patience=impatient), [chunk(0, 0, "d")])
    assert isinstance(died.value.__cause__, BrokerUnavailable)
    assert not died.value.told.through


class KnownLeases:
    """A table that is known to be whole after so many askings."""

    def __init__(self, away: int = 0) -> None:
        self.devices = Devices()
        self.away = away

    def check_fresh(self) -> None:
        if self.away:
            self.away -= 1
            raise BrokerUnavailable("the leases are not read to their end yet")

    def naming(self, received_us: int) -> Naming | None:
        return self.devices.naming(received_us)


_retrying: Retry = patient  # type: ignore[assignment]


def keys(leases: KnownLeases, received_ms: int) -> list[bytes | None]:
    """Of a connection of 192.168.1.20, received then."""
    found = broker()
    record = Raw(bytes_of(zeek(ts=received_ms / 1_000 - 2)), received_ms, 10)
    reader = DeviceFlowReader(FlowDecoder(), Home(), leases)
    one = Chunk(Source("zeek", LIFE, 0), [record], 11)
    conveyed(Rekeying(TOPICS, reader, found, _retrying, lambda report: None, "1"), [one])
    return [message.key for message in found.topics[TOPICS.flows]]


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 900), st.integers(1, 400), st.sampled_from("abc")), max_size=5))
def test_a_lease_that_is_told_later_changes_no_key_of_what_is_read_again(
    told: list[tuple[int, int, str]],
) -> None:
    """A record is keyed by what had been told a minute before Kafka got it, whenever it is read."""
    start_ms = 1_790_000_000_000
    leases, before = KnownLeases(), dict[int, list[bytes | None]]()
    for told_s, length_s, name in sorted(told):
        told_us = (start_ms + told_s * 1_000) * 1_000
        received_ms = start_ms + told_s * 1_000 + SETTLED_US // 1_000 - 1
        before[received_ms] = keys(leases, received_ms)
        lease = Lease(told_us - 10**7, told_us + length_s * 10**6, name, "", told_us)
        leases.devices.put("", "192.168.1.20", (*leases.devices.of("", "192.168.1.20"), lease))
        assert {at_ms: keys(leases, at_ms) for at_ms in before} == before


def test_a_lease_names_a_device_a_minute_after_it_was_told() -> None:
    received_ms, leases = 1_790_000_000_000, KnownLeases()
    told_us = received_ms * 1_000 - SETTLED_US
    leases.devices.put("", "192.168.1.20", (Lease(0, FOREVER, "camera", "", told_us),))
    assert keys(leases, received_ms) == [b"camera"]
    assert keys(leases, received_ms - 1) == [b"192.168.1.20"]


def test_leases_that_are_not_known_yet_are_waited_for() -> None:
    leases = KnownLeases(away=3)
    leases.devices.put("", "192.168.1.20", (Lease(0, FOREVER, "camera", "", 0),))
    assert keys(leases, 1_790_000_000_000) == [b"camera"]
    assert leases.away == 0


def test_partitions_that_wait_for_leases_are_held_back_so_that_no_other_topic_waits_with_them() -> None:
    reader = DeviceFlowReader(FlowDecoder(), Home(), KnownLeases(away=1))
    made = Rekeying(TOPICS, reader, broker(), _retrying, lambda report: None, "1")
    begun = made.begin([chunk(0, 10, "d"), chunk(1, 10, "d")])
    assert begun.computed is None
    assert begun.held == dict.fromkeys([("zeek", 0), ("zeek", 1)], "the leases are not read to their end yet")
    assert made.begin([chunk(0, 10, "d")]).taken
