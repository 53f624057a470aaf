"""`autodeep flows read` on files of every form, and on the messages that real sensors sent."""

from __future__ import annotations

import base64
import collections
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streams.cli import flows
from streams.client.flow_files import Options, opened, records
from streams.client.flow_reading import as_json, outcomes
from streams.codec.ingest.flows.decoder import FlowDecoder
from streams.core.home import Home
from streams.errors import DataError, SettingsError
from tests.codec.test_flow_dialects import protobuf, tsv
from tests.flow_samples import data, eve, goflow2, nfdump, zeek


def read(path: Path, dialect: str = "auto", is_kafka: bool = False) -> list[dict[str, Any]]:
    options = Options(dialect, is_kafka)
    with opened(str(path)) as stream:
        found = outcomes(records(stream, str(path), options), FlowDecoder(dialect))
        return [as_json(outcome, Home()) for _, outcome in found]


def kinds(found: list[dict[str, Any]]) -> collections.Counter[str]:
    return collections.Counter(next(iter(one)) for one in found)


def test_each_record_is_one_object_in_order_and_null_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "mixed.json"
    lines = [zeek(), eve(event_type="dns"), zeek(**{"id.resp_p": 70_000}), goflow2()]
    path.write_text("\n\n".join(json.dumps(line) for line in lines))
    first, skipped, rejected, half = read(path)
    assert first["flows"][0] == {
        "device": "192.168.1.20", "direction": "out", "role": "originator", "peer": "203.0.113.9",
        "protocol": "tcp", "device_port": 50_000, "peer_port": 443, "service": "ssl", "state": "answered",
        "start_us": 1_790_000_000_250_000, "end_us": 1_790_000_001_750_000, "packets_out": 10,
        "packets_in": 8, "ip_bytes_out": 1_020, "ip_bytes_in": 3_416, "payload_bytes_out": 500,
        "payload_bytes_in": 3_000, "flow_id": "CAbcd1", "quality": [], "final": True,
    }  # fmt: skip
    assert list(skipped) == ["skipped"]
    assert rejected == {"rejected": "bad_port", "detail": "id.resp_p is 70000; the largest is 65535"}
    assert (half["flows"][0]["packets_in"], half["flows"][0]["service"]) == (None, None)


TABLE = (
    "#separator \\x09\n#unset_field\t-\n#path\tconn\n"
    "#fields\tuid\tts\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tconn_state\torig_pkts\n"
    "#types\tstring\ttime\n"
    "C1\t1790000000.25\t10.0.0.1\t5\t192.0.2.1\t80\ttcp\tS0\t3\n"
    "#fields\tts\tid.orig_h\n"
    "1790000000.25\t10.0.0.1\n"
    "#close\n"
)
FILES: dict[str, tuple[bytes, list[str]]] = {
    "a table of Zeek's, its header anew in its middle": (TABLE.encode(), ["flows", "skipped"]),
    "lines of Zeek's TSV without a header": (f"{tsv()}\n{tsv()}\n".encode(), ["flows"] * 2),
    "a table with commas": (
        b'ts,uid,id.orig_h,id.orig_p,id.resp_h,id.resp_p,proto,service,conn_state\n'
        b'1790000000,C1,10.0.0.1,5,192.0.2.1,80,tcp,"ssl,http",S0\n', ["flows"],
    ),
    "an array": (json.dumps([nfdump(), nfdump(type="EVENT")], indent=1).encode(), ["flows", "skipped"]),
    "an array that is cut": (json.dumps([nfdump(), nfdump()]).encode()[:-40], ["flows", "rejected"]),
    "an empty array": (b"[\n]", []),
    "messages behind their lengths": (2 * (bytes([len(protobuf())]) + protobuf()), ["flows"] * 2),
    "messages, the last one cut": ((2 * (bytes([len(protobuf())]) + protobuf()))[:-9], ["flows", "rejected"]),
    "one message": (protobuf(), ["flows"]),
    "1 MB of brackets": (b"[" * 1_000_000, ["rejected"]),
    "a line beyond all bounds": (
        b"x" * 3_000_000 + b"\n" + json.dumps(zeek()).encode(), ["rejected", "flows"],
    ),
    "no UTF-8": (b'{"conn_state":"\xff"}\n', ["rejected"]),
    "nothing": (b"", []),
    "a Kafka message without a value": (b'{"partition":0,"offset":1,"value":null}', ["rejected"]),
    "a message of kcat -J": (
        json.dumps({"topic": "t", "partition": 0, "offset": 1, "ts": 0, "payload": tsv()}).encode(),
        ["flows"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_files_of_every_form_are_read_record_by_record(name: str, packed: bool, tmp_path: Path) -> None:
    content, expected = FILES[name]
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(content) if packed else content)
    assert [next(iter(one)) for one in read(path)] == expected


def test_kafka_messages_a_line_are_opened_and_their_time_counts(tmp_path: Path) -> None:
    message = {"partition": 0, "offset": 3, "timestamp_ms": 1_790_000_000_000 + 90 * 86_400_000}
    path = tmp_path / "topic.jsonl"
    text = json.dumps({**message, "value": json.dumps(zeek())})
    binary = json.dumps({**message, "value_b64": base64.b64encode(protobuf()).decode()})
    path.write_text(f"{text}\n{binary}\n")
    late, _ = found = read(path)
    assert kinds(found) == {"flows": 2}
    assert late["flows"][0]["quality"] == ["clock_skew"]
    assert read(path, is_kafka=True) == found


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"\xd4\xc3\xb2\xa1\x02\x00", "capture"), (b"\x0a\x0d\x0d\x0a\x00", "capture"), (b"PAR1", "Parquet"),
        (b"Obj\x01", "container"),
    ],
)  # fmt: skip
def test_what_is_no_file_of_records_says_what_it_is(head: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(head + bytes(100))
    with pytest.raises(DataError, match=says):
        read(path)


def test_damaged_gzip_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(json.dumps([zeek()] * 500).encode())[:-20])
    with pytest.raises(DataError, match="cut off or damaged"):
        read(path)


def run(*words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streams", "flows", "read", *words]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_reads_standard_input_and_what_it_cannot_use_is_one_line(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps(zeek()) for _ in range(3))
    found = run("-", "--site", "plant", "--home", "203.0.113.0/24", given=lines)
    assert [json.loads(line)["flows"][0]["device"] for line in found.stdout.splitlines()] == [
        "plant/203.0.113.9"
    ] * 3
    failed = run(str(tmp_path))
    assert (failed.returncode, failed.stderr) == (2, f"autodeep: {tmp_path}: Is a directory\n")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("0.0.0.0/0", "", ""), "every address"),
        (("", "a b", ""), "site"),
        (("", "", "netflow"), "no dialect"),
    ],
)
def test_options_that_cannot_be_used_are_said(options: tuple[str, str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        flows.settings_of(*options, is_kafka=False)


LAB = {
    "gf_json": ({"flows": 142}, "goflow2"),
    "gf_pb": ({"flows": 148}, "goflow2-protobuf"),
    "pm_nfacctd": ({"flows": 128}, "pmacct"),
    "pm_nfacctd_agg": ({"rejected": 111}, ""),
    "pm_pmacctd": ({"rejected": 156}, ""),
    "telegraf_eve": ({"flows": 32, "skipped": 82}, "suricata"),
    "telegraf_netflow": ({"rejected": 142}, ""),
    "rsyslog_raw": ({"flows": 45, "skipped": 87}, "suricata"),
    "rsyslog_default": ({"flows": 45, "skipped": 87}, "suricata"),
    "kcat_eve": ({"flows": 32, "skipped": 82}, "suricata"),
    "nfstream": ({"flows": 118}, "nfstream"),
    "nfstream_close": ({"flows": 145}, "nfstream"),
}


@pytest.mark.data
@pytest.mark.parametrize("topic", LAB)
def test_the_labs_messages_are_read_and_their_flows_have_devices(topic: str) -> None:
    expected, dialect = LAB[topic]
    found = read(data(f"lab/{topic}.jsonl"))
    assert kinds(found) == expected
    events = [event for one in found for event in one.get("flows", ())]
    assert bool(events) == bool(dialect)
    assert not [event for event in events if event["quality"] == ["clock_skew"]]


@pytest.mark.data
def test_a_real_sensor_of_each_kind_sees_the_scan_come_in_to_the_same_device() -> None:
    """nmap's SYNs from 198.51.100.66 to 192.168.50.11, as four sensors had them."""
    for name in ("suricata-scan_syn.jsonl", "nfstream-scan_syn.jsonl", "nfdump-scan_syn.json"):
        found = [event for one in read(data(f"lab/offline/{name}")) for event in one["flows"]]
        scanned = [event for event in found if event["peer"] == "198.51.100.66"]
        assert len(scanned) > 30, name
        assert {event["direction"] for event in scanned} == {"in"}, name
        assert {event["device"] for event in scanned} <= {"192.168.50.11", "02:00:00:00:50:0b"}, name
        states = {event["state"] for event in scanned}
        assert states <= {"refused", "reset", "answered", None}, name


@pytest.mark.data
def test_real_logs_of_zeek_are_read_whole() -> None:
    mqtt = read(data("flows/zeek/sme-windows7ad.conn.log.labeled.gz"))
    assert kinds(mqtt) == {"flows": 2_363}
    assert mqtt[0]["flows"][0]["device"] == "08:00:27:d0:07:30"
    assert kinds(read(data("stratosphere-zeek/002-zeek-scenario-port-scanning/conn.log.gz"))) == {
        "flows": 4_504
    }
    assert kinds(read(data("stratosphere-zeek/008-zeek-mixed/data/ssl.log.labeled.gz"))) == {"skipped": 545}
    relative = read(data("stratosphere-zeek/001-zeek-scenario-malicious/conn.log.gz"))
    assert {one["rejected"] for one in relative} == {"bad_event_time"}
