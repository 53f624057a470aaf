"""The schemas: compatible with what came before, and of bytes that do not change by accident."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import avro.schema
import pytest

from streams.codec.avro import schemas
from streams.core.alerts import Alert
from streams.core.incidents import Incident
from streams.core.kdd99 import KDD99
from streams.errors import DataError
from tests.codec_samples import CURRENT, datum, fields, writer

NAMES = [
    *("Alert", "ConnectionRecord", "DeadLetter", "DeviceFlow"),
    *("Disagreement", "Flow", "Incident", "ModelCommand", "ModelState"),
]

# Changes with the wire alone, not with docs or defaults. A new value here wants the old file in
# schemas/history, so that what was written before is still read.
FINGERPRINTS = {
    "Alert": "2fa979af04ccedf0",
    "ConnectionRecord": "21c2fb7cec4435d2",
    "DeadLetter": "7daee14f43811fa7",
    "DeviceFlow": "730487ddec9e5ed1",
    "Disagreement": "5a10f656adf0f727",
    "Flow": "7217a2454afd700e",
    "Incident": "637395eb67438146",
    "ModelCommand": "b4ec0166961867ad",
    "ModelState": "6e449daef9cbb2b2",
}

REF = {"name": "kdd99", "version": "1", "digest": "ab"}
SAMPLES: dict[str, dict[str, Any]] = {
    "Alert": {
        "alert_id": "i", "device_id": "d", "event_time_us": 1, "detected_at_us": 2, "verdict": "novel",
        "closest": "dos", "scores": {"dos": 0.5}, "novelty": 1.5, "window_fill": 3, "window_width": 16,
        "topic": "t", "topic_id": "u", "partition": 4, "offset": 5, "model_name": "m", "model_version": "v",
        "model_digest": "x", "model_role": "canary",
        "explanation": {
            "features": [{"feature": "f", "value": "1", "share": 0.5, "usual": "0..1", "normal": "0"}],
            "events": [0.5],
        },
        "context": {"src_address": "::1"}, "incident_id": "j",
        "profile_revision": 7, "reasons": ["12 hosts failed"],
    },
    "ConnectionRecord": {
        "device_id": "d", "event_time_us": 1, "protocol_type": "tcp", "service": "http", "flag": "SF",
        "src_bytes": 300, "same_srv_rate": 1.0,
    },
    "DeadLetter": {
        "reason": "truncated", "detail": "d", "topic": "t", "topic_id": "u", "partition": 1, "offset": 2,
        "timestamp_ms": 3, "id": "i", "version": "0", "cut_value_bytes": None, "cut_key_bytes": None,
        "cut_headers": None,
    },
    "DeviceFlow": {
        "event_id": "i", "device": "d", "direction": "out", "role": "target", "peer": "::1",
        "protocol": "udp", "device_port": 1, "peer_port": 2, "service": "dns", "state": "answered",
        "start_us": 3, "end_us": 4,
        "packets_out": 5, "packets_in": None, "ip_bytes_out": 6, "ip_bytes_in": None,
        "payload_bytes_out": 7, "payload_bytes_in": None, "flow_id": "C", "quality": ["gaps"], "final": False,
        "half": True, "tcp_flags": 2, "community_id": "1:x", "site": "s", "sensor": "z",
    },
    "Disagreement": {
        "alert_id": "i", "device_id": "d", "event_time_us": 1, "topic": "t", "partition": 2, "offset": 3,
        "champion": {**REF, "verdict": "dos", "score": 0.5, "novelty": 0.25},
        "challenger": {**REF, "version": "2", "verdict": "novel", "score": 0.75, "novelty": 1.5},
    },
    "Flow": {
        "flow_id": "f", "originator": "::1", "responder": "::2", "originator_port": 2, "responder_port": 3,
        "protocol": "udp", "start_us": 4, "end_us": 5, "state": "answered", "service": "dns",
        "originator_packets": 6, "responder_packets": 7, "originator_ip_bytes": 8, "responder_ip_bytes": 9,
        "originator_payload_bytes": None, "responder_payload_bytes": 10, "originator_mac": "a",
        "responder_mac": "b", "community_id": "c", "site": "s", "sensor": "n", "half": True, "final": False,
        "tcp_flags": 11, "quality": 12,
    },
    "Incident": {
        "incident_id": "i", "revision": 2, "activity": "close", "device_id": "d", "verdict": "dos",
        "severity": "high", "alerts": 3, "first_event_us": 4, "last_event_us": 5, "changed_at_us": 6,
        "expires_at_us": 7, "worst_score": 0.5, "worst_novelty": 1.5, "first_alert_id": "a",
        "worst_alert_id": "b", "last_alert_id": "c", "models": ["m/1"], "topic": "t", "topic_id": "u",
        "partition": 8, "offset": 9, "closed_because": "quiet",
        "explanation": {
            "features": [{"feature": "f", "value": "1", "share": 0.5, "usual": "0..1", "normal": "0"}],
            "events": [0.5],
        },
        "context": {"sensor": "s"},
    },
    "ModelCommand": {
        "command_id": "c", "action": "promote", "name": "m", "version": "2", "digest": "ab",
        "at_offsets": {"0": 7}, "canary_share": 0.5, "force": True, "issued_at_us": 1, "issued_by": "me",
    },
    "ModelState": {
        "revision": 1, "champion": REF, "challenger": REF, "challenger_role": "shadow", "canary_share": 0.0,
        "previous": None, "command_id": "c", "preparing": REF, "decided_at_us": 2,
        "switches": [{"model": REF, "from_offsets": {"0": 7}, "topic_id": "u"}],
    },
}  # fmt: skip
GOLDEN = {
    "Alert": (
        "0269026402040a6e6f76656c06646f730206646f73000000000000e03f00000000000000f83f062002740275080a026d"
        "027602780c63616e617279020202660231000000000000e03f08302e2e3102300002000000000000e03f00"
        "0202167372635f61646472657373063a3a310002026a020e021e313220686f737473206661696c656400"
    ),
    "ConnectionRecord": (
        "02640200067463700868747470045346d804000000000000000000000000000000000000000000000000000000000000"
        "00000000000000803f000000000000000000000000000000000000000000000000000000000000000000000000000000"
        "000000"
    ),
    "DeadLetter": "127472756e636174656402640274027502040602690230000000",
    "DeviceFlow": (
        "02690264066f75740c746172676574063a3a3106756470020406646e7310616e7377657265640608020a00020c0002"
        "0e000243020867617073000001020406313a780273027a"
    ),
    "Disagreement": (
        "0269026402027404060a6b64643939023104616206646f73000000000000e03f000000000000d03f0a6b646439390232"
        "0461620a6e6f76656c000000000000e83f000000000000f83f"
    ),
    "Flow": (
        "0266063a3a31063a3a32040606756470080a10616e73776572656406646e73020c020e0210021200021402610262026302"
        "73026e0100021618"
    ),
    "Incident": (
        "0269040a636c6f7365026406646f73086869676806080a0c0e000000000000e03f000000000000f83f02610262026302"
        "066d2f3100027402751012020a7175696574020202660231000000000000e03f08302e2e3102300002000000000000e0"
        "3f0002020c73656e736f7202730000"
    ),
    "ModelCommand": "02630e70726f6d6f7465026d0232046162020202300e00000000000000e03f0102046d65",
    "ModelState": (
        "020a6b646439390231046162020a6b6464393902310461620c736861646f770000000000000000000263020a6b6464"
        "39390231046162020a6b6464393902310461620202300e0002750004"
    ),
}


def test_every_schema_file_has_its_golden_bytes_and_fingerprint() -> None:
    found = sorted(path.stem for path in schemas.folder().glob("*.avsc"))
    assert found == NAMES == sorted(FINGERPRINTS) == sorted(GOLDEN)


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_written_as_the_golden_bytes(name: str) -> None:
    assert datum(SAMPLES[name], schemas.load(name)).hex() == GOLDEN[name]


@pytest.mark.parametrize("name", NAMES)
def test_the_fingerprint_is_the_golden_one_and_the_one_of_the_avro_package(name: str) -> None:
    schema = schemas.load(name)
    theirs = avro.schema.parse(json.dumps(schema.source)).fingerprint("CRC-64-AVRO")
    assert schema.fingerprint.hex() == FINGERPRINTS[name]
    assert schema.fingerprint == theirs


def test_the_fingerprint_of_int_is_the_one_that_java_publishes() -> None:
    """0x7275d51a3f395c8f, little-endian on the wire: our byte order is that of the specification."""
    theirs = avro.schema.parse('"int"').fingerprint("CRC-64-AVRO")
    assert theirs == (0x7275D51A3F395C8F).to_bytes(8, "little")


def test_a_schema_written_by_java_has_the_fingerprint_of_the_plain_one() -> None:
    java = writer(change={"device_id": {"type": "string", "avro.java.string": "String"}})
    assert java.fingerprint == CURRENT.fingerprint


@pytest.mark.parametrize("name", NAMES)
def test_the_current_schema_reads_every_version_before_it(name: str) -> None:
    for before in schemas.history(name):
        assert schemas.incompatibilities(schemas.load(name), before) == ()


@pytest.mark.parametrize(
    "older",
    [writer(drop=["device_id"]), writer(change={"src_bytes": "string"}), writer(change={"count": "double"})],
    ids=["a column without default is missing", "another type", "no promotion"],
)
def test_the_compatibility_check_fails_where_it_should(older: schemas.Schema) -> None:
    assert schemas.incompatibilities(CURRENT, older)


def test_the_compatibility_check_takes_an_older_writer_with_fewer_numbers() -> None:
    assert schemas.incompatibilities(CURRENT, writer(drop=["hot", "serror_rate"])) == ()


def test_superseded_versions_are_read_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "history").mkdir()
    for number in (2, 10, 1):
        source = {"type": "record", "name": "Old", "fields": [{"name": f"a{number}", "type": "int"}]}
        (tmp_path / "history" / f"Old.{number}.avsc").write_text(json.dumps(source))
    monkeypatch.setattr(schemas, "folder", lambda: tmp_path)
    assert [old.source["fields"][0]["name"] for old in schemas.history("Old")] == ["a1", "a2", "a10"]


def test_a_connection_record_has_the_columns_of_kdd_in_their_order_with_docs() -> None:
    columns = CURRENT.source["fields"]
    assert [column["name"] for column in columns] == ["device_id", "event_time_us", *KDD99.file_columns]
    assert all(column["doc"] for column in columns)
    # The packing relies on it: a number that the writer lacks is 0.
    assert {column["default"] for column in columns if "default" in column} == {0}


@pytest.mark.parametrize("value", [Alert, Incident])
def test_what_leaves_has_exactly_the_fields_of_the_value(value: type) -> None:
    names = [field["name"] for field in schemas.load(value.__name__).source["fields"]]
    assert names == [field.name for field in dataclasses.fields(value)]


@pytest.mark.parametrize("text", ["", "[]", "{", '"int"', '{"type":"record","name":"R"}', "[" * 100_000, "5"])
def test_what_is_no_record_schema_is_refused_by_name(text: str) -> None:
    with pytest.raises(DataError, match=r"their\.avsc"):
        schemas.parse(text, origin="their.avsc")


def test_a_folder_of_writer_schemas_is_read(tmp_path: Path) -> None:
    (tmp_path / "b.avsc").write_text(json.dumps(CURRENT.source))
    (tmp_path / "notes.txt").write_text("no schema")
    assert [schema.fingerprint for schema in schemas.load_folder(tmp_path)] == [CURRENT.fingerprint]
    (tmp_path / "a.avsc").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"a\.avsc"):
        schemas.load_folder(tmp_path)
    with pytest.raises(DataError, match="no folder"):
        schemas.load_folder(tmp_path / "missing")


def test_fields_of_samples_are_complete() -> None:
    """The drawn sample of the other tests has every column."""
    assert set(fields()) == {field["name"] for field in CURRENT.source["fields"]}
