"""Sensors' records leave as flows of devices, keyed by device, and the same however often they are read."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.codec import device_flows
from streams.codec.ingest.flows.devices import Read
from streams.core.events import Chunk, Header, RawRecord, Reason, Rejected, Source
from streams.core.flows import DeviceFlow, Role
from streams.errors import BrokerUnavailable
from streams.pipeline.rekeying import FlowReport, FlowTopics, Rekeying
from tests.belt import Died, conveyed
from tests.device_flows import flow_of
from tests.fakes import patient
from tests.fakes_kafka import FakeKafkaPublisher

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


def test_nothing_is_acknowledged_before_it_is_on_the_broker() -> None:
    def impatient(attempt: object) -> object:
        return attempt()  # type: ignore[operator]

    found = broker()
    found.away = 1
    with pytest.raises(Died) as died:
        conveyed(rekeying(found, patience=impatient), [chunk(0, 0, "d")])
    assert isinstance(died.value.__cause__, BrokerUnavailable)
    assert not died.value.told.through
