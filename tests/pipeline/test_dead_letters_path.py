"""Every bad input among good records, through Kafka and Redis and a worker process: the real path."""

from __future__ import annotations

import importlib.util
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from confluent_kafka import Message
from prometheus_client.parser import text_string_to_metric_families

from streams.adapters.store.models import open_store
from streams.codec.avro import framing
from streams.codec.ingest.connections import encode_connections
from streams.codec.output.alerts import decode_alert
from streams.core.events import Reason
from streams.core.kdd99 import KDD99
from streams.embedded.kafka import Broker
from streams.embedded.workers import WorkerProcess
from streams.training.evaluate import evaluate_rows
from tests.codec_samples import CURRENT, fields, single
from tests.path import DEADLINE_S, path

pytestmark = [pytest.mark.kafka, pytest.mark.redis]

Sent = tuple[bytes | None, bytes | None]

GOOD = single(fields("d0"))
DEVICE = b"d0"

BAD: dict[str, tuple[Sent, Reason]] = {
    "null value": ((DEVICE, None), Reason.EMPTY_VALUE),
    "empty value": ((DEVICE, b""), Reason.EMPTY_VALUE),
    "one byte": ((DEVICE, b"\x07"), Reason.UNKNOWN_FRAMING),
    "no framing": ((DEVICE, b'{"device_id": "d0"}'), Reason.UNKNOWN_FRAMING),
    "unknown fingerprint": ((DEVICE, b"\xc3\x01" + b"\x11" * 8 + GOOD[10:]), Reason.UNKNOWN_SCHEMA),
    "unknown schema id": ((DEVICE, framing.confluent_header(77) + GOOD[10:]), Reason.UNKNOWN_SCHEMA),
    "truncated datum": ((DEVICE, GOOD[:-3]), Reason.TRUNCATED),
    "trailing bytes": ((DEVICE, GOOD + b"\x00\x01"), Reason.TRAILING_BYTES),
    "key missing": ((None, GOOD), Reason.KEY_MISSING),
    "key of another device": ((b"d1", GOOD), Reason.KEY_NOT_DEVICE_ID),
    "NaN": ((DEVICE, single(fields("d0", serror_rate=float("nan")))), Reason.NOT_FINITE),
    "infinity": ((DEVICE, single(fields("d0", same_srv_rate=float("inf")))), Reason.NOT_FINITE),
    "negative count": ((DEVICE, single(fields("d0", src_bytes=-5))), Reason.NEGATIVE_NUMBER),
    "a 200 KB device id": ((b"d" * 200_000, single(fields("d" * 200_000))), Reason.BAD_DEVICE_ID),
    "a 1 MB record": ((DEVICE, GOOD + b"\xaa" * (1_000_000 - len(GOOD))), Reason.TRAILING_BYTES),
    "a length of 2^60": (
        (DEVICE, GOOD[:10] + b"\x80\x80\x80\x80\x80\x80\x80\x80\x20" + GOOD[19:]),
        Reason.TRUNCATED,
    ),
}


def good_rows(n: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    rows = np.zeros(n, KDD99.row)
    rows["numbers"][:, 1:3] = rng.integers(0, 5000, (n, 2))
    rows["numbers"][:, KDD99.numeric_names.index("count")] = rng.integers(0, 511, n)
    rows["codes"] = [[rng.integers(0, column.size) for column in KDD99.symbolic] for _ in range(n)]
    return rows


def header(message: Message, name: str) -> str:
    return dict(message.headers() or [])[f"autodeep.{name}"].decode()


def test_bad_records_become_dead_letters_and_good_ones_come_out_as_if_alone(
    kafka: Broker, redis_url: str, tmp_path: Path
) -> None:
    rows = good_rows(40 * (len(BAD) + 1))
    devices = [f"d{i % 8}" for i in range(len(rows))]
    values = encode_connections(KDD99, devices, 1_700_000_000_000_000 + np.arange(len(rows)), rows)
    records: list[Sent] = [(device.encode(), value) for device, value in zip(devices, values, strict=True)]
    for i, (sent, _) in enumerate(BAD.values()):
        records.insert((i + 1) * 41, sent)
    good_at = [i for i, record in enumerate(records) if record not in [sent for sent, _ in BAD.values()]]
    assert len(good_at) == len(rows)

    with path(kafka.bootstrap_servers, redis_url, tmp_path) as tested:
        tested.send(records)
        worker = tested.worker()
        letters = tested.read([tested.topics.dead_letters], lambda found: len(found) >= len(BAD))
        verdicts = tested.read([tested.topics.classified], lambda found: len(found) >= len(rows))
        assert worker.exit_code is None, worker.log_tail()
        assert_counted(worker, [reason for _, reason in BAD.values()], len(rows))

    by_offset = {int(header(letter, "offset")): letter for letter in letters}
    assert len(letters) == len(by_offset) == len(BAD)
    for i, (name, (sent, reason)) in enumerate(BAD.items()):
        letter = by_offset[(i + 1) * 41]
        assert (letter.key(), letter.value()) == sent, name
        assert header(letter, "reason") == reason, (name, header(letter, "detail"))
        assert 10 < len(header(letter, "detail")) < 500, name
        assert (letter.headers() or [])[0] == ("trace", b"\x00\xff"), name
        assert header(letter, "topic") == tested.topics.telemetry

    detector = open_store(tested.settings.model_store).load(tested.settings.model)
    order = np.argsort([int(device[1:]) for device in devices], kind="stable")
    offline = evaluate_rows(detector, rows[order], 8)
    expected = {good_at[int(row)]: offline.posterior[i] for i, row in enumerate(order)}
    found = {alert.offset: alert for alert in (decode_alert(message.value()) for message in verdicts)}
    assert found.keys() == expected.keys()
    for offset, posterior in expected.items():
        scores = posterior.astype(np.float64).round(4).tolist()
        assert list(found[offset].scores.values()) == scores


def assert_counted(worker: WorkerProcess, reasons: list[str], good: int) -> None:
    """What is told to Prometheus, once the chunk whose output was read is counted too."""
    deadline_s = time.monotonic() + DEADLINE_S
    while worker.figures()["records"] < good + len(reasons):
        assert time.monotonic() < deadline_s, worker.figures()
        time.sleep(0.05)
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(worker.metrics()):
        for sample in family.samples:
            found[f"{sample.name} {sample.labels.get('reason', '')}".rstrip()] = sample.value
    for reason in reasons:
        assert found[f"autodeep_dead_letters_total {reason}"] == reasons.count(reason)
    assert found["autodeep_records_total"] == good + len(reasons)
    assert found["autodeep_ready"] == 1


def test_symbols_never_seen_are_no_error(kafka: Broker, redis_url: str, tmp_path: Path) -> None:
    strange = [
        (b"d0", single(fields("d0", service="quantum-telnet", flag="S9"))),
        (b"d0", single(fields("d0", protocol_type="sctp"))),
    ]
    with path(kafka.bootstrap_servers, redis_url, tmp_path) as tested:
        tested.send(strange)
        tested.worker()
        verdicts = tested.read([tested.topics.classified], lambda found: len(found) >= 2)
    assert [decode_alert(message.value()).device_id for message in verdicts] == ["d0", "d0"]


def test_what_a_sender_compressed_away_costs_nothing_but_itself(
    kafka: Broker, redis_url: str, tmp_path: Path
) -> None:
    """Zeros pass the broker's limit as a few hundred bytes: beyond a batch's bound, and beyond a letter's."""
    one = [(b"d0", single(fields("d0")))]
    with path(kafka.bootstrap_servers, redis_url, tmp_path) as tested:
        tested.send(one)
        tested.send([(b"bomb", bytes(40_000_000))], compression="zstd")
        tested.send([(b"large", bytes(3_000_000))], compression="gzip")
        tested.send(one)
        worker = tested.worker()
        verdicts = tested.read([tested.topics.classified], lambda found: len(found) >= 2)
        letters = tested.read([tested.topics.dead_letters], lambda found: len(found) >= 2)
        assert worker.exit_code is None, worker.log_tail()
    assert [decode_alert(message.value()).offset for message in verdicts] == [0, 3]
    bomb, large = sorted(letters, key=lambda letter: int(header(letter, "offset")))
    assert [header(letter, "reason") for letter in (bomb, large)] == [Reason.TOO_LARGE] * 2
    assert [header(letter, "offset") for letter in (bomb, large)] == ["1", "2"]
    assert (bomb.key(), len(bomb.value()) < 10_000) == (None, True)
    assert (large.key(), large.value()) == (b"large", bytes(65_536))


class Registry(BaseHTTPRequestHandler):
    """Gives one id and refuses another; what else it is asked for it does not have."""

    asked: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        schema_id = int(self.path.split("?")[0].rsplit("/", 1)[-1])
        self.asked.append(schema_id)
        match schema_id:
            case 7:
                self.answer(200, {"schema": json.dumps(CURRENT.source)})
            case 13:
                self.answer(403, {"error_code": 40301, "message": "User is denied operation Read"})
            case _:
                self.answer(404, {"error_code": 40403, "message": "Schema not found"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, {"id": 12})

    def answer(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.mark.skipif(importlib.util.find_spec("authlib") is None, reason="the extra registry is not installed")
def test_ids_that_a_sender_makes_up_or_may_not_name_cost_their_own_records_alone(
    kafka: Broker, redis_url: str, tmp_path: Path
) -> None:
    def framed(schema_id: int) -> Sent:
        return DEVICE, framing.confluent_header(schema_id) + GOOD[10:]

    made_up = [framed(1_000_000 + i) for i in range(1000)]
    records = [framed(13), *made_up, framed(7), framed(13), *made_up, framed(7)]
    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            with path(kafka.bootstrap_servers, redis_url, tmp_path, schema_registry_url=url) as tested:
                tested.send(records)
                worker = tested.worker()
                verdicts = tested.read([tested.topics.classified], lambda found: len(found) >= 2)
                letters = tested.read([tested.topics.dead_letters], lambda found: len(found) >= 2002)
                assert worker.exit_code is None, worker.log_tail()
                assert len(tested.logs().splitlines()) < 40
        finally:
            server.shutdown()
            thread.join()
    assert len(verdicts) == 2
    assert {header(letter, "reason") for letter in letters} == {Reason.UNKNOWN_SCHEMA}
    details = {int(header(letter, "offset")): header(letter, "detail") for letter in letters}
    assert "denied operation Read" in details[0]
    assert "was not asked for" in details[500]
    assert len(Registry.asked) < 100
