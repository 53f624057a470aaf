"""Whatever a sensor's record holds, it costs itself alone: in re-keying, the doctor and a device's state."""

from __future__ import annotations

import uuid

import numpy as np
import pytest

from streams.client.flow_files import FileRecord
from streams.codec import device_flows
from streams.codec.ingest.flows.decoder import FlowDecoder
from streams.codec.ingest.flows.devices import DeviceFlowReader
from streams.core.events import Chunk, Source
from streams.core.flow.columns import from_values
from streams.core.flow.features import advance
from streams.core.flow.state import blank
from streams.core.flow.table import FLOW
from streams.core.home import Home
from streams.doctor.flow_rules import findings
from streams.doctor.flow_survey import Survey
from streams.pipeline.rekeying import FlowTopics, Rekeying
from tests.belt import conveyed
from tests.codec.test_flow_dialects import BROKEN
from tests.fakes import patient
from tests.fakes_kafka import FakeKafkaPublisher
from tests.flow_samples import Raw, bytes_of, eve, goflow2, zeek, zeek_udp

TOPICS = FlowTopics("zeek", "ids.flows", "ids.dead-letters")
NOW_MS = 1_790_000_005_000


@pytest.mark.parametrize("name", BROKEN)
def test_a_record_that_cannot_be_read_is_one_dead_letter_and_its_neighbours_are_as_if_alone(
    name: str,
) -> None:
    value, reason, _ = BROKEN[name]
    bad = bytes_of(value)
    values = [bytes_of(zeek(uid="C1")), bad, *(bytes_of(zeek(uid=f"D{at}")) for at in range(20))]
    broker = FakeKafkaPublisher([TOPICS.flows, TOPICS.dead_letters], largest_bytes=4_000_000)
    records = [Raw(value, NOW_MS, at) for at, value in enumerate(values)]
    reader = DeviceFlowReader(FlowDecoder(), Home())
    chunk = Chunk(Source("zeek", uuid.UUID(int=7), 0), records, len(records))
    conveyed(Rekeying(TOPICS, reader, broker, patient, lambda report: None, "1"), [chunk])  # type: ignore[arg-type]
    (letter,) = broker.topics[TOPICS.dead_letters]
    assert letter.value == bad
    assert dict(letter.headers)["autodeep.reason"] == str(reason).encode()
    found = [device_flows.decode(message.value).flow_id for message in broker.topics[TOPICS.flows]]
    assert found == ["C1", *(f"D{at}" for at in range(20))]


@pytest.mark.parametrize("name", BROKEN)
def test_the_doctor_names_what_cannot_be_read(name: str) -> None:
    value, reason, _ = BROKEN[name]
    records = [FileRecord(bytes_of(one), 0, NOW_MS) for one in (value, zeek())]
    survey = Survey(Home())
    survey.add(records, FlowDecoder().decode(records))
    shown = {one.check: one.found for one in findings(survey)}
    assert f"1 of 2 (50.0%) as {reason}" in shown["refused"]
    assert "1 flow in 2 records" in shown["records"]


EXTREME = {
    "the largest counters": zeek(**dict.fromkeys(("orig_pkts", "resp_pkts", "orig_ip_bytes"), 2**63 - 1)),
    "the first time": zeek(ts=946_684_800.0, duration=0),
    "the last time": zeek(ts=4_102_444_790.0, duration=0),
    "a year long": zeek(ts=1_790_000_000 - 360 * 86_400, duration=360 * 86_400.0),
    "an end that is the other": zeek(**{"id.resp_h": "192.168.1.20", "id.resp_p": 50_000}),
    "less bytes than frames have headers": eve(flow={"pkts_toserver": 9, "bytes_toserver": 10}),
    "port 0": zeek_udp(**{"id.orig_p": 0, "id.resp_p": 0}),
    "a half of everything": goflow2(packets=2**63 - 1, bytes=2**63 - 1, tcp_flags=255),
    "packets of no bytes": zeek(orig_ip_bytes=0, resp_ip_bytes=0),
}


@pytest.mark.parametrize("name", EXTREME)
def test_extremes_that_can_be_are_flows_with_finite_features(name: str) -> None:
    reader = DeviceFlowReader(FlowDecoder(), Home())
    read = reader.read([Raw(bytes_of(EXTREME[name]), at_ms) for at_ms in (0, NOW_MS)])
    assert not read.rejected
    flows = [device_flows.decode(value) for value in device_flows.encode([flow for _, flow in read.flows])]
    assert all(flow.ip_bytes_out is None or flow.ip_bytes_out >= 0 for flow in flows)
    records, devices = from_values(flows * 3)
    rows = advance(blank(len(devices)), records).rows
    for column in FLOW.numeric_names:
        assert np.isfinite(rows["numbers"][:, FLOW.numeric_names.index(column)]).all()
