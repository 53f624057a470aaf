"""Kafka away while a worker has nothing to do: it says so once, and finds the brokers wherever they are."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from bench.faults.proxy import Proxy
from streams.codec.ingest.connections import encode_connections
from streams.core.kdd99 import KDD99
from streams.embedded.kafka import ApacheKafka
from streams.errors import Unavailable
from tests.conftest import NO_KAFKA, absent
from tests.path import DEADLINE_S, TestedPath, path
from tests.pipeline.test_dead_letters_path import good_rows

pytestmark = [pytest.mark.kafka, pytest.mark.redis]


def test_a_broker_that_comes_back_at_another_address_is_found_through_the_configured_name(
    redis_url: str, tmp_path: Path
) -> None:
    """The name leads through a proxy to the only broker, which is killed, and starts under another port."""
    with ExitStack() as stack:
        try:
            kafka = stack.enter_context(ApacheKafka())
        except Unavailable as exc:
            absent(f"{NO_KAFKA}{exc}")
        name = stack.enter_context(Proxy(port_of(kafka)))
        tested = stack.enter_context(path(f"127.0.0.1:{name.port}", redis_url, tmp_path))
        worker = tested.worker()
        send(tested, 10)
        tested.read([tested.topics.classified], lambda found: len(found) >= 10)
        kafka.kill()
        wait_for_line(tested, "does not answer")
        before = len(tested.logs().splitlines())
        kafka.move()
        name.target_port = port_of(kafka)
        send(tested, 10)
        tested.read([tested.topics.classified], lambda found: len(found) >= 20)
        lines = tested.logs().splitlines()[before:]
        assert worker.stop() == 0
    assert "found Kafka's brokers again through the configured servers" in tested.logs()
    assert len(lines) < 15, "\n".join(lines)


def port_of(kafka: ApacheKafka) -> int:
    return int(kafka.bootstrap_servers.rpartition(":")[2])


def send(tested: TestedPath, count: int) -> None:
    rows = good_rows(count)
    devices = [f"d{i}" for i in range(len(rows))]
    values = encode_connections(KDD99, devices, 1_700_000_000_000_000 + np.arange(len(rows)), rows)
    tested.send([(device.encode(), value) for device, value in zip(devices, values, strict=True)])


def wait_for_line(tested: TestedPath, text: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while text not in tested.logs():
        assert time.monotonic() < deadline_s, tested.logs()
        time.sleep(0.05)
