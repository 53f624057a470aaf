"""What other sensors tell of a capture: less, or in pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streams.core.flow.columns import UNKNOWN
from streams.core.flows import Quality, State
from streams.evaluation.flows.views import CUT_ALONE, CUT_MERGED, FULL, NETFLOW, VIEWS, seen_as
from streams.training.flow_captures import describe
from streams.training.flow_protocol.labelled import CLASSES, labelled
from tests.training.test_flow_captures import read

LONG = {"duration_s": 200.0, "orig_packets": 10.0, "orig_ip_bytes": 1_001.0, "label": "c2"}


def test_netflow_knows_counters_and_ends_but_neither_state_nor_service_nor_payload(tmp_path: Path) -> None:
    (capture,) = read(tmp_path, {})
    flows = seen_as(capture, NETFLOW).flows
    assert flows.state.tolist() == [State.UNKNOWN]
    assert (flows.service[0], flows.payload_bytes_out[0]) == (0, UNKNOWN)
    assert (flows.packets_out[0], flows.ip_bytes_in[0], flows.peer_port[0]) == (10, 4_000, 443)
    assert seen_as(capture, FULL) is capture


@pytest.mark.parametrize("view", [CUT_MERGED[0], CUT_ALONE[0]])
def test_a_long_flow_comes_in_pieces_that_add_up_to_it(tmp_path: Path, view: str) -> None:
    (capture,) = read(tmp_path, LONG, {"start_s": 1_600_000_090.5, "duration_s": 1.0, "orig_port": 2})
    flows = seen_as(capture, view).flows
    pieces = flows.at(flows.identity == 1)
    assert ((pieces.end_us - pieces.start_us) / 1e6).tolist() == [60, 60, 60, 20]
    assert pieces.start_us[1:].tolist() == pieces.end_us[:-1].tolist()
    assert pieces.packets_out.tolist() == [3, 3, 2, 2]
    assert int(pieces.ip_bytes_out.sum()) == 1_001
    told = ((pieces.quality & int(Quality.CUT)) != 0).tolist()
    assert told == ([True, True, True, False] if view in CUT_MERGED else [False] * 4)
    assert flows.identity.tolist() == [1, 1, 1, 1, 2]  # the other came behind the whole flow, and still does


def test_pieces_come_when_they_end_as_far_as_the_file_goes(tmp_path: Path) -> None:
    short = {"duration_s": 1.0, "start_s": 1_600_000_090.5, "orig_port": 2}
    (capture,) = read(tmp_path, short, LONG)
    assert seen_as(capture, CUT_ALONE[0]).flows.identity.tolist() == [2, 1, 2, 2, 2]


@pytest.mark.parametrize("view", VIEWS)
def test_merged_pieces_are_one_flow_again_with_its_label(tmp_path: Path, view: str) -> None:
    (capture,) = read(tmp_path, LONG, {"start_s": 1_600_000_900.0, "orig_port": 2})
    flows = labelled([seen_as(capture, view)])
    c2 = CLASSES.index("c2")
    assert flows.target.tolist() == ([c2] * 4 + [0] if view == CUT_ALONE[0] else [c2, 0])
    if view in CUT_MERGED:
        whole = describe(capture)
        assert np.array_equal(flows.rows["numbers"][:, :7], whole.rows["numbers"][:, :7])


def test_a_flow_has_no_more_pieces_than_packets(tmp_path: Path) -> None:
    few = LONG | {"orig_packets": 2.0, "resp_packets": 1.0}
    (capture,) = read(tmp_path, few)
    flows = seen_as(capture, CUT_ALONE[0]).flows
    assert flows.packets_out.tolist() == [1, 1]
    assert flows.end_us[-1] - flows.start_us[0] == 200_000_000
