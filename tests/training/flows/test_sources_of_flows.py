"""What else a detector of flows learns from: labelled logs of Zeek, and benign records of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streams.errors import DataError
from streams.training.flow_captures import captures_of
from streams.training.flows.zeek_labels import is_labelled_log, table_of
from tests.training.flows.test_train_flows import table, trained

__all__ = ["table"]
FIELDS = [
    "ts",
    "uid",
    "id.orig_h",
    "id.orig_p",
    "id.resp_h",
    "id.resp_p",
    "proto",
    "service",
    "duration",
    "orig_bytes",
    "resp_bytes",
    "conn_state",
    "history",
    "orig_pkts",
    "orig_ip_bytes",
    "resp_pkts",
    "resp_ip_bytes",
]


def log(path: Path, *labels: str, fields: list[str] = FIELDS) -> Path:
    """As IoT-23 writes them: labels behind three spaces."""
    head = "#separator \\x09\n#fields\t" + "\t".join(fields) + "\ttunnel_parents   label   detailed-label\n"
    lines = [
        "\t".join(
            [
                f"{1_600_000_000 + at}.5",
                "C1",
                "192.168.1.9",
                "40000",
                "203.0.113.9",
                "23",
                "tcp",
                "-",
                "1.5",
                "0",
                "0",
                "S0",
                "S",
                "1",
                "60",
                "0",
                "0",
                f"-   {label}",
            ]
        )
        for at, label in enumerate(labels)
    ]
    path.write_text(head + "\n".join(lines) + "\n#close\n")
    return path


def test_labels_of_a_log_become_those_of_tables(tmp_path: Path) -> None:
    path = log(
        tmp_path / "conn.log.labeled",
        "Benign   -",
        "Malicious   PartOfAHorizontalPortScan",
        "Malicious   C&C-HeartBeat",
        "Malicious   DDoS",
        "Malicious   Attack",
    )
    assert is_labelled_log(path)
    (capture,) = captures_of(table_of(path), {})
    assert capture.label == ["normal", "scan", "c2", "flood", None]
    assert capture.devices == ["192.168.1.9"]
    assert capture.flows.packets_out.tolist() == [1] * 5
    assert (capture.flows.end_us - capture.flows.start_us).tolist() == [1_500_000] * 5


def test_a_log_without_labels_or_flows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no column proto"):
        table_of(log(tmp_path / "a", "Benign   -", fields=[name for name in FIELDS if name != "proto"]))
    with pytest.raises(DataError, match="holds no flows"):
        table_of(log(tmp_path / "b"))


def test_what_is_neither_a_table_nor_a_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"no table")
    result = trained(tmp_path / "x.parquet", tmp_path)
    assert isinstance(result.exception, DataError)
    assert "neither a table of flows" in str(result.exception)


def test_benign_records_of_any_sensor_are_learnt_from(table: Path, tmp_path: Path) -> None:
    line = {
        "ts": 1_600_000_000.0,
        "uid": "C1",
        "id.orig_h": "10.0.0.7",
        "id.orig_p": 4000,
        "id.resp_h": "203.0.113.9",
        "id.resp_p": 443,
        "proto": "tcp",
        "service": "ssl",
        "duration": 1.0,
        "conn_state": "SF",
        "orig_pkts": 4,
        "orig_ip_bytes": 400,
        "resp_pkts": 4,
        "resp_ip_bytes": 900,
        "orig_bytes": 100,
        "resp_bytes": 700,
    }
    path = tmp_path / "conn.log"
    lines = [json.dumps(line | {"ts": 1_600_000_000.0 + 60 * at, "uid": f"C{at}"}) for at in range(30)]
    path.write_text("\n".join(lines))
    result = trained(table, tmp_path, "--benign", str(path), "--home", "10.0.0.0/8", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout.strip().splitlines()[-1])["training"]
    assert told["captures"]["conn.log"]["normal"] == 30
    assert "--benign conn.log --home 10.0.0.0/8" in told["command"]
    nobody = trained(table, tmp_path / "2", "--benign", str(path), "--home", "192.0.2.0/24")
    assert "no flow of a device at home" in str(nobody.exception)
