"""The check of a deployment: what became of the events it sent, with workers and without."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from streams.cli.commands import app
from streams.client.checking import DEVICE, check, flood
from streams.core.kdd99 import KDD99
from streams.core.tables import Rows
from streams.embedded.kafka import Broker
from streams.errors import Unavailable
from tests.path import TestedPath, path

pytestmark = [pytest.mark.kafka, pytest.mark.redis]


@pytest.fixture(scope="module")
def deployment(
    kafka: Broker, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestedPath]:
    folder = tmp_path_factory.mktemp("check")
    with path(kafka.bootstrap_servers, redis_url, folder, 2, device_id_max_bytes="64") as tested:
        tested.worker().wait_ready()
        yield tested


def ordinary(count: int) -> Rows:
    """Finished connections to a web server, one at a time."""
    values = dict.fromkeys(("count", "srv_count", "logged_in", "same_srv_rate", "dst_host_same_srv_rate"), 1)
    values |= {"src_bytes": 240, "dst_bytes": 3000, "dst_host_count": 20, "dst_host_srv_count": 20}
    numbers = np.array([[values.get(name, 0.0) for name in KDD99.numeric_names]], np.float32)
    codes = [column.code(text) for column, text in zip(KDD99.symbolic, ("tcp", "http", "SF"), strict=True)]
    return KDD99.pack(np.repeat(numbers, count, 0), np.repeat([codes], count, 0).astype(np.uint8))


def test_a_flood_is_judged_as_one_and_the_command_says_so(deployment: TestedPath) -> None:
    done = CliRunner().invoke(app, ["check", "--events", "16", "--json"], env=dict(deployment.environment))
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["events"] == 16
    assert said["device_id"] == DEVICE
    assert said["verdicts"] == {"dos": 16}
    assert not said["dead_letters"]


def test_a_normal_verdict_that_nobody_publishes_shows_in_what_the_group_commits(
    deployment: TestedPath,
) -> None:
    assert check(deployment.settings, ordinary(20), 60.0).verdicts == {"normal": 20}
    alerts_alone = dataclasses.replace(deployment.settings, publish_classified=False)
    assert check(alerts_alone, ordinary(20), 60.0).verdicts == {"normal": 20}
    assert check(alerts_alone, flood(20), 60.0, "another").verdicts == {"dos": 20}


def test_events_that_are_refused_are_said_with_the_reason(deployment: TestedPath) -> None:
    options = ["check", "--events", "3", "--device", "d" * 65]
    done = CliRunner().invoke(app, options, env=dict(deployment.environment))
    assert done.exit_code == 6, done.output
    assert "dead letters: 3 bad_device_id" in done.output


def test_without_workers_it_says_where_the_group_stands(kafka: Broker, tmp_path: Path) -> None:
    waited = r"came on 0\. .*telemetry-0@4; group \S+ has committed nothing"
    with (
        path(kafka.bootstrap_servers, "redis://unused", tmp_path, 1) as tested,
        pytest.raises(Unavailable, match=waited),
    ):
        check(tested.settings, flood(5), 1.0)
