"""`autodeep flows judge` as a person or a program runs it, on good files and bad ones."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import typer.testing

from streams.adapters.store.models import open_store
from streams.cli.commands import app
from streams.core.kdd99 import KDD99
from streams.errors import DataError, ModelRejected, SettingsError
from streams.model.detector import Detector
from tests.flow_model import save_flow_model
from tests.flow_samples import data, eve, goflow2, zeek

KEYS = [
    *("record", "device", "direction", "peer", "verdict", "closest"),
    *("scores", "novelty", "learning", "incident"),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("store")
    save_flow_model(folder)
    models = open_store(str(folder))
    models.set_alias("flows", "champion", "1")
    models.save(Detector.random(KDD99), "kdd99", "1", {}, "of another table")
    return str(folder)


def judge(store: str, *arguments: str) -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    """The lines, what the summary says, and what stands on stderr."""
    result = typer.testing.CliRunner().invoke(app, ["flows", "judge", *arguments, "--store", store, "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    *lines, last = map(json.loads, result.stdout.splitlines())
    return lines, last["summary"], result.stderr


def write(path: Path, records: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def test_each_flow_of_a_device_is_a_line_in_the_files_order(store: str, tmp_path: Path) -> None:
    records = [
        zeek(uid="C1"),
        eve(event_type="dns"),
        zeek(uid="C2", **{"id.resp_p": 70_000}),
        zeek(uid="C3", **{"id.resp_h": "192.168.1.30"}),  # both ends are at home
        goflow2(),
        zeek(uid="C4", **{"id.orig_p": 50_001}),
    ]
    lines, summary, _ = judge(store, write(tmp_path / "mixed.json", records))
    assert all(list(line) == KEYS for line in lines)
    assert [line["record"] for line in lines] == sorted(line["record"] for line in lines)
    assert [(line["device"], line["direction"]) for line in lines if line["record"] == 4] == [
        ("192.168.1.20", "internal"),
        ("192.168.1.30", "internal"),
    ]
    assert lines[0]["peer"] == "203.0.113.9"
    assert sum(lines[0]["scores"].values()) == pytest.approx(1, abs=1e-3)
    assert {line["learning"] for line in lines} == {True}
    assert {line["record"] for line in lines} == {1, 4, 5, 6}
    assert (summary["events"], summary["skipped"], summary["rejected"]) == (len(lines), 1, 1)
    assert summary["devices"] == len({line["device"] for line in lines})
    assert summary["incidents"] == len({line["incident"] for line in lines} - {None})


def test_ten_flows_of_one_device_are_ten_verdicts(store: str, tmp_path: Path) -> None:
    records = [zeek(uid=f"C{i}", ts=1_790_000_000 + i, **{"id.orig_p": 50_000 + i}) for i in range(10)]
    lines, summary, said = judge(store, write(tmp_path / "conn.log", records))
    assert [line["record"] for line in lines] == list(range(1, 11))
    assert (summary["devices"], summary["events"], said) == (1, 10, "")


def test_no_home_network_at_all_is_said(store: str, tmp_path: Path) -> None:
    lines, summary, said = judge(store, write(tmp_path / "conn.log", [zeek()]), "--home", "172.16.0.0/12")
    assert (lines, summary["events"], summary["foreign"]) == ([], 0, 1)
    assert "--home names your networks" in said


@pytest.mark.parametrize("content", [b"", b"#fields\tts\n", b"nonsense\n" * 3])
def test_a_file_without_a_flow_has_a_summary_and_a_remark(store: str, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    lines, summary, said = judge(store, str(path))
    assert (lines, summary["events"], summary["devices"]) == ([], 0, 0)
    assert "holds no" in said


def test_a_damaged_capture_is_judged_as_far_as_it_goes(store: str, tmp_path: Path) -> None:
    whole = gzip.decompress(data("lab/pcap/scan_syn.pcap.gz").read_bytes())
    path = tmp_path / "scan.pcap"
    path.write_bytes(whole[:50_003])
    lines, summary, said = judge(store, str(path))
    assert 0 < len(lines) == summary["events"] < 1_000
    assert "damaged" in summary["damage"]
    assert "what stood before it was judged" in said


def test_what_cannot_be_used_is_said(store: str, tmp_path: Path) -> None:
    path = write(tmp_path / "conn.log", [zeek()])
    with pytest.raises(ModelRejected, match="is of the table kdd99"):
        judge(store, path, "--model", "kdd99/1")
    with pytest.raises(DataError, match="format None"):
        judge(store, path, "--profile", path)
    with pytest.raises(SettingsError, match=r"0\.0\.0\.0/0"):
        judge(store, path, "--home", "0.0.0.0/0")
    with pytest.raises(IsADirectoryError):
        judge(store, str(tmp_path))
    (tmp_path / "x.parquet").write_bytes(b"PAR1....")
    with pytest.raises(DataError, match="Parquet"):
        judge(store, str(tmp_path / "x.parquet"))


@pytest.mark.parametrize("content", [b"", b"\0" * 100_000, b"{}\n"])
def test_a_file_without_a_flow_ends_with_2(store: str, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pcap").write_bytes(content)
    path = str(tmp_path / "x.pcap")
    result = typer.testing.CliRunner().invoke(app, ["flows", "judge", path, "--store", store])
    assert result.exit_code == 2
    assert "holds no" in result.stderr


def test_without_json_the_incidents_are_a_table(store: str, tmp_path: Path) -> None:
    records = [zeek(uid=f"C{i}", ts=1_790_000_000 + i, **{"id.orig_p": 50_000 + i}) for i in range(40)]
    path = write(tmp_path / "conn.log", records)
    lines, _, _ = judge(store, path)
    result = typer.testing.CliRunner().invoke(app, ["flows", "judge", path, "--store", store])
    assert "40 records (0 skipped, 0 rejected), 40 flows of 1 device" in result.stdout
    of = [line for line in lines if line["incident"] is not None]
    for incident in {line["incident"] for line in of}:
        alerts = [line for line in of if line["incident"] == incident]
        assert f"{alerts[0]['device']}  {alerts[0]['verdict']}" in result.stdout
        assert f" {len(alerts)} " in result.stdout
