"""Flows of devices as bytes and back; a general Avro reader agrees."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.codec import device_flows
from streams.codec.avro import framing, schemas
from streams.core.flows import DeviceFlow, Direction, Quality, Role, State
from tests.device_flows import flow_of

counters = st.none() | st.integers(0, 2**63 - 1)
words = st.text(max_size=20)

flows = st.builds(
    DeviceFlow,
    device=words,
    direction=st.sampled_from(Direction),
    role=st.sampled_from(Role),
    peer=words,
    protocol=words,
    device_port=st.integers(0, 65_535),
    peer_port=st.integers(0, 65_535),
    service=words,
    state=st.sampled_from(State),
    start_us=st.integers(-(2**63), 2**63 - 1),
    end_us=st.integers(-(2**63), 2**63 - 1),
    packets_out=counters,
    packets_in=counters,
    ip_bytes_out=counters,
    ip_bytes_in=counters,
    payload_bytes_out=counters,
    payload_bytes_in=counters,
    flow_id=words,
    quality=st.integers(0, 255).map(Quality),
    final=st.booleans(),
    half=st.booleans(),
    tcp_flags=st.none() | st.integers(0, 255),
    community_id=words,
    site=words,
    sensor=words,
    event_id=words,
)


@given(st.lists(flows, max_size=4))
def test_what_is_written_is_read_again(wanted: list[DeviceFlow]) -> None:
    assert [device_flows.decode(value) for value in device_flows.encode(wanted)] == wanted


@given(flows)
def test_a_general_reader_finds_the_same(flow: DeviceFlow) -> None:
    schema = schemas.load(schemas.DEVICE_FLOW)
    (value,) = device_flows.encode([flow])
    stream = io.BytesIO(value[framing.SINGLE_OBJECT_SIZE :])
    found = fastavro.schemaless_reader(stream, json.loads(json.dumps(schema.source)), None)
    assert stream.read() == b""
    assert isinstance(found, dict)
    assert found["peer"] == flow.peer
    assert found["packets_in"] == flow.packets_in
    assert found["quality"] == flow.quality.words
    assert found["half"] is flow.half
    assert set(found) == set(DeviceFlow.__dataclass_fields__)


@given(flows, st.integers(0, 400))
def test_a_value_that_ends_early_or_late_is_refused(flow: DeviceFlow, size: int) -> None:
    (value,) = device_flows.encode([flow])
    for other in (value[: min(size, len(value) - 1)], value + b"\x00"):
        with pytest.raises(device_flows.FlowUnreadable):
            device_flows.decode(other)


def test_a_word_that_is_none_is_refused() -> None:
    flow = replace(flow_of("home/10.0.0.2", Role.ORIGINATOR), state=State.RESET)
    (value,) = device_flows.encode([flow])
    with pytest.raises(device_flows.FlowUnreadable, match="resex"):
        device_flows.decode(value.replace(b"reset", b"resex"))
    with pytest.raises(device_flows.FlowUnreadable):
        device_flows.decode(None)
