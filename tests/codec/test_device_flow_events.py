"""Records of ids.flows to events: the values that were written, whole batches at once or one by one alike."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.codec import device_flows
from streams.codec.ingest.device_flows import DeviceFlowDecoder
from streams.core.events import Decoded, Reason
from streams.core.flow.columns import from_values, unpacked
from streams.core.flow.records import records_of
from streams.core.flows import Quality, Role
from tests.core.flow.drawn import drawn
from tests.device_flows import flow_of
from tests.flow_world import Stored, device_flow, stored

DECODER = DeviceFlowDecoder()


def decoded(records: list[Stored]) -> Decoded:
    return DECODER.decode(records)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_events_are_the_flows_that_were_written(seed: int) -> None:
    flows = [replace(device_flow(one), device="10.0.0.1") for one in drawn(seed, 20)]
    events = decoded(stored(flows)).events
    wanted, _ = from_values(flows)
    assert records_of(unpacked(events.rows, np.zeros(len(flows), np.int64))) == records_of(wanted)
    assert events.offset.tolist() == list(range(len(flows)))
    assert events.event_time_us.tolist() == [flow.end_us for flow in flows]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_a_record_is_read_alike_alone_and_among_bad_ones(seed: int) -> None:
    rng = random.Random(seed)
    records = stored([device_flow(one) for one in drawn(seed, 12)])
    for at in rng.sample(range(12), 3):
        value = bytearray(records[at].value or b"")
        value[rng.randrange(len(value))] ^= 1 << rng.randrange(8)
        records[at] = replace(records[at], value=bytes(value))
    together = decoded(records)
    rejected = {one.position: one for one in together.rejected}
    place = {position: row for row, position in enumerate(together.events.position.tolist())}
    assert rejected.keys() | place.keys() == set(range(12))
    for at, record in enumerate(records):
        alone = decoded([record])
        if at in rejected:
            (why,) = alone.rejected
            assert (why.reason, why.detail) == (rejected[at].reason, rejected[at].detail)
        else:
            assert alone.events.rows[0].tobytes() == together.events.rows[place[at]].tobytes()
            assert alone.events.device_id[0] == together.events.device_id[place[at]]


GOOD = flow_of("10.0.0.1", Role.TARGET)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"start_us": -5}, Reason.BAD_EVENT_TIME),
        ({"end_us": 2**62}, Reason.BAD_EVENT_TIME),
        ({"device": ""}, Reason.BAD_DEVICE_ID),
    ],
)
def test_what_no_flow_can_be_is_rejected(change: dict[str, int], reason: Reason) -> None:
    (why,) = decoded(stored([replace(GOOD, **change)])).rejected  # type: ignore[arg-type]
    assert why.reason is reason


def test_words_without_a_meaning_are_rejected_by_their_column() -> None:
    (value,) = device_flows.encode([replace(GOOD, quality=Quality.CUT)])
    state, quality = (b"\x10answered", b"\x10answeree"), (b"\x06cut", b"\x06cud")
    for (word, other), column in ((state, "state"), (quality, "quality")):
        (why,) = decoded([Stored(0, b"10.0.0.1", value.replace(word, other), 0)]).rejected
        assert (why.reason, column in why.detail) == (Reason.UNDECODABLE, True)


def test_the_context_names_both_ends_as_the_flow_went() -> None:
    site = replace(GOOD, device="plant/02:00:00:00:00:01", site="plant", sensor="edge", community_id="1:x")
    contexts = decoded(stored([GOOD, site])).events.context
    assert contexts is not None
    assert contexts[0] == {
        "dst_address": "10.0.0.1",
        "dst_port": "40000",
        "src_address": "192.0.2.1",
        "src_port": "443",
        "protocol": "tcp",
        "flow_id": "C1",
    }
    assert contexts[1] is not None
    assert "dst_address" not in contexts[1], "a MAC is no address"
    assert (contexts[1]["community_id"], contexts[1]["sensor"]) == ("1:x", "edge")
