"""`autodeep flows kdd FILE`: CSV of KDD'99's columns, in their order."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from streams.cli.flows import app
from streams.core.kdd99 import KDD99
from tests.flow_samples import bytes_of, data, goflow2, zeek, zeek_udp


def rows(path: Path, *words: str) -> list[dict[str, str]]:
    result = CliRunner().invoke(app, ["kdd", str(path), *words])
    assert result.exit_code == 0
    return list(csv.DictReader(io.StringIO(result.stdout)))


def made(folder: Path, values: list[Any]) -> Path:
    path = folder / "records"
    path.write_bytes(b"\n".join(map(bytes_of, values)))
    return path


def test_a_row_has_what_a_flow_tells_and_the_rest_is_empty(tmp_path: Path) -> None:
    records = [
        zeek(),
        zeek_udp(uid="C2"),
        zeek(uid="C3"),
        b"no record",
        {"ts": 1.0, "uid": "C", "query": "x"},
    ]
    first, second = rows(made(tmp_path, records))  # the third is a repeat
    assert tuple(first) == KDD99.file_columns
    shown = ("duration", "protocol_type", "service", "flag", "src_bytes", "dst_bytes", "land", "count")
    assert [first[name] for name in shown] == ["1", "tcp", "http_443", "SF", "500", "3000", "0", "1"]
    assert [second[name] for name in shown[1:4]] == ["udp", "domain_u", "SF"]
    assert second["same_srv_rate"] == "0.50"
    assert {first[name] for name in ("urgent", "hot", "logged_in", "wrong_fragment")} == {""}


def test_both_devices_of_a_flow_have_a_row_and_a_land_attack_is_told(tmp_path: Path) -> None:
    land = {"id.resp_h": "192.168.1.20", "id.resp_p": 50_000}
    internal = {"id.resp_h": "192.168.1.30"}
    found = rows(made(tmp_path, [zeek(**internal), zeek(uid="C2", **land)]))
    assert [row["land"] for row in found] == ["0", "0", "1", "1"]


def test_halves_are_one_row_and_what_waits_comes_at_the_end(tmp_path: Path) -> None:
    back = {"src_addr": "203.0.113.9", "dst_addr": "192.168.1.20", "src_port": 443, "dst_port": 50_000}
    alone = goflow2(src_port=50_001, tcp_flags=2)
    found = rows(made(tmp_path, [alone, goflow2(), goflow2(**back, tcp_flags=27)]))
    assert [(row["flag"], row["src_bytes"]) for row in found] == [("SF", ""), ("S0", "")]


@pytest.mark.data
def test_halves_of_a_real_exporter_meet(tmp_path: Path) -> None:
    """184 halves as devices have them, in the order in which Kafka had them: all 78 pairs, and 28 alone."""
    lines = data("lab/gf_json.jsonl").read_bytes().splitlines()
    messages = sorted(map(json.loads, lines), key=lambda message: int(message["timestamp_ms"]))
    found = rows(made(tmp_path, messages))
    flags = Counter(row["flag"] for row in found if row["protocol_type"] == "tcp")
    assert len(found) == 106
    assert flags == {"SF": 25, "REJ": 12, "RSTO": 10, "OTH": 6}


def test_a_file_without_flows_has_a_header_alone(tmp_path: Path) -> None:
    assert rows(made(tmp_path, [b"no flow"])) == []


@pytest.mark.data
def test_every_flow_of_a_real_file_is_a_row_of_41_columns() -> None:
    found = rows(data("lab/kcat_eve.jsonl"))
    assert len(found) == 42
    assert {len(row) for row in found} == {41}
