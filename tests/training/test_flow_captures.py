"""Labelled captures become device flows, and features by the stream's own code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from streams.core.flow.records import records_of
from streams.core.flows import Quality, State
from streams.training.flow_captures import Capture, captures, describe
from tests.core.flow.oracle import values_of

GIVEN = (
    Path(os.environ.get("AUTODEEP_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    / "flows"
    / "given.parquet"
)
ROW: dict[str, Any] = {
    "capture": "a",
    "dataset": "set",
    "row": 0,
    "start_s": 1_600_000_000.5,
    "duration_s": 2.25,
    "orig_addr": "192.168.1.9",
    "orig_port": 40_000,
    "resp_addr": "203.0.113.9",
    "resp_port": 443,
    "proto": "tcp",
    "service": "ssl",
    "state": "SF",
    "orig_packets": 10.0,
    "orig_ip_bytes": 900.0,
    "resp_packets": 12.0,
    "resp_ip_bytes": 4_000.0,
    "orig_bytes": 300.0,
    "resp_bytes": None,
    "history": "ShADadFf",
    "label": "normal",
    "label_given": "Benign",
}


def read(tmp_path: Path, *changes: dict[str, Any], **settings: Any) -> list[Capture]:
    rows = [ROW | {"row": place} | change for place, change in enumerate(changes)]
    path = tmp_path / "flows.parquet"
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(path)
    return list(captures(path, settings.get("at_home", {}), settings.get("alone", ())))


def test_a_flow_is_its_devices(tmp_path: Path) -> None:
    (capture,) = read(tmp_path, {})
    (flow,) = records_of(capture.flows)
    assert (capture.devices, capture.label, capture.row.tolist()) == (["192.168.1.9"], ["normal"], [0])
    assert (flow.start_us, flow.end_us) == (1_600_000_000_500_000, 1_600_000_002_750_000)
    assert (flow.packets_out, flow.ip_bytes_in, flow.payload_bytes_out, flow.payload_bytes_in) == (
        10,
        4_000,
        300,
        -1,
    )
    assert (flow.device_port, flow.peer_port, flow.role, flow.direction) == (40_000, 443, 0, 0)


def test_both_ends_at_home_are_a_flow_each_and_neither_is_none(tmp_path: Path) -> None:
    inside, outside = {"resp_addr": "10.0.0.1"}, {"orig_addr": "198.51.100.1"}
    (capture,) = read(tmp_path, inside, outside)
    one, other = records_of(capture.flows)
    assert capture.devices == ["192.168.1.9", "10.0.0.1"]
    assert (one.direction, other.direction, one.role, other.role) == (2, 2, 0, 1)
    assert (one.packets_out, other.packets_out, other.device_port) == (10, 12, 443)
    assert capture.row.tolist() == [0, 0]


def test_home_is_what_is_named_or_the_busiest_address_alone(tmp_path: Path) -> None:
    server = {"orig_addr": "198.51.100.1"}
    (named,) = read(tmp_path, server, at_home={"a": ["203.0.113.9"]})
    assert named.devices == ["203.0.113.9"]
    (alone,) = read(tmp_path, server, {}, {"resp_addr": "10.0.0.1"}, alone=("a",))
    assert alone.devices == ["192.168.1.9"]


@pytest.mark.parametrize(
    ("proto", "told", "replies", "state"),
    [
        ("tcp", "S0", 0.0, State.NO_ANSWER),
        ("tcp", "RSTOS0", 0.0, State.HALF_OPEN),
        ("tcp", "OTH", 4.0, State.PARTIAL),
        ("udp", "S0", 0.0, State.NO_ANSWER),
        ("udp", "SHR", 3.0, State.ANSWERED),
        ("icmp", "OTH", 3.0, State.ANSWERED),
    ],
)
def test_zeeks_state_is_believed_of_tcp_alone(
    tmp_path: Path, proto: str, told: str, replies: float, state: State
) -> None:
    (capture,) = read(tmp_path, {"proto": proto, "state": told, "resp_packets": replies})
    assert capture.flows.state.tolist() == [state]


def test_rows_without_any_counter_know_none(tmp_path: Path) -> None:
    nothing = {name: 0.0 for name in ROW if name.endswith(("_packets", "_bytes"))}
    (capture,) = read(tmp_path, nothing | {"history": "^C", "proto": "udp", "label": None})
    (flow,) = records_of(capture.flows)
    assert (flow.packets_out, flow.ip_bytes_in, flow.state) == (-1, -1, State.UNKNOWN)
    assert flow.quality == Quality.ZERO_COUNTERS | Quality.FLIPPED
    assert capture.label == [None]


def test_features_do_not_depend_on_the_turns_and_repeats_have_none(tmp_path: Path) -> None:
    rows = [{"start_s": 1_600_000_000.0 + 5 * (place // 2)} for place in range(40)]
    (capture,) = read(tmp_path, *rows)
    whole, parts = describe(capture), describe(capture, turn=7)
    assert whole.flow.tolist() == parts.flow.tolist() == list(range(0, 40, 2))
    assert whole.rows.tobytes() == parts.rows.tobytes()
    assert values_of(whole.rows[-1])["last_flows"] == 20


@pytest.mark.data
def test_the_given_captures_have_features() -> None:
    if not GIVEN.exists():
        pytest.skip(f"no {GIVEN}")
    scans = next(one for one in captures(GIVEN, {}) if one.name == "iotS198")
    found = describe(scans)
    labels = np.array([scans.label[place] or "" for place in found.flow])
    failing = found.rows["numbers"][:, _place("last_failing_peers_on_port")]
    assert np.median(failing[labels == "scan"]) > 30
    assert np.median(failing[labels == "normal"]) < 3


def _place(name: str) -> int:
    from streams.core.flow.table import FLOW

    return FLOW.numeric_names.index(name)
