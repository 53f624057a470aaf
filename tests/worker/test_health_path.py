"""Health and figures of idle, spare and waiting workers, on a Kafka and a Redis that go away."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from streams.cli.commands import app as command_line
from streams.codec.ingest.connections import encode_connections
from streams.core.kdd99 import KDD99
from streams.embedded.kafka import ApacheKafka
from streams.embedded.redis import RedisServer
from streams.embedded.workers import WorkerProcess
from streams.errors import Unavailable
from tests.conftest import NO_KAFKA, NO_REDIS, absent
from tests.path import DEADLINE_S, TestedPath, path
from tests.pipeline.test_dead_letters_path import good_rows

pytestmark = [pytest.mark.kafka, pytest.mark.redis]


@dataclass
class Deployment:
    kafka: ApacheKafka
    redis: RedisServer
    tested: TestedPath

    def send(self, count: int) -> None:
        """So many events of one device."""
        times = time.time_ns() // 1000 + np.arange(count)
        values = encode_connections(KDD99, ["d"] * count, times, good_rows(count))
        self.tested.send([(b"d", value) for value in values])


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One partition and two workers, on servers that a test may end and start again."""
    folder = tmp_path_factory.mktemp("health")
    try:
        kafka = ApacheKafka()
        kafka.__enter__()
    except Unavailable as exc:
        absent(f"{NO_KAFKA}{exc}")
    try:
        with (
            RedisServer() as redis,
            path(
                kafka.bootstrap_servers,
                redis.url,
                folder,
                1,
                chunk_max_records="64",
                network_timeout_s="3",
            ) as tested,
        ):
            for _ in range(2):
                tested.worker()
            for worker in tested.workers:
                worker.wait_ready()
            yield Deployment(kafka, redis, tested)
    except Unavailable as exc:
        absent(f"{NO_REDIS}{exc}")
    finally:
        kafka.__exit__(None, None, None)


def page(worker: WorkerProcess, name: str) -> tuple[int, dict[str, Any]]:
    """Status and content of a page of health."""
    url = f"http://127.0.0.1:{worker.web_port}/health/{name}"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as exc:
        return exc.code, json.load(exc)
    except urllib.error.URLError:  # it has ended
        return 0, {}


def until(deployment: Deployment, condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        workers = deployment.tested.workers
        ended = [worker.exit_code for worker in workers if worker.exit_code is not None]
        assert not ended, deployment.tested.logs()
        assert time.monotonic() < deadline_s, [page(worker, "ready") for worker in workers]
        time.sleep(0.1)


def all_ready(deployment: Deployment) -> bool:
    return all(page(worker, "ready")[0] == 200 for worker in deployment.tested.workers)


def roles(deployment: Deployment) -> list[str]:
    return sorted(page(worker, "ready")[1]["role"] for worker in deployment.tested.workers)


def standing(deployment: Deployment) -> dict[str, Any]:
    """The figures of the worker that has the partition."""
    for worker in deployment.tested.workers:
        figures = worker.figures()
        for name, found in figures.get("offsets", {}).items():
            return {**found, "lag": figures["lag"][name]}
    return {}


def test_a_worker_beyond_the_partitions_is_ready_as_a_spare(deployment: Deployment) -> None:
    until(deployment, lambda: all_ready(deployment) and roles(deployment) == ["active", "spare"])
    assert sorted(worker.figures()["role"] for worker in deployment.tested.workers) == ["active", "spare"]


def test_one_question_gives_the_whole_fleet_and_a_worker_that_left_is_not_missed(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested = deployment.tested
    for name, value in tested.environment.items():
        monkeypatch.setenv(name, value)
    until(deployment, lambda: all_ready(deployment) and roles(deployment) == ["active", "spare"])
    until(deployment, lambda: states(deployment) == ["active ready", "spare ready"])
    third = tested.worker()
    third.wait_ready()
    until(deployment, lambda: states(deployment) == ["active ready", "spare ready", "spare ready"])
    code, answer = asked("status", "--json", "--expect", "3")
    assert (code, json.loads(answer)["healthy"]) == (0, True)
    tested.workers.remove(third)
    assert third.stop() == 0
    until(deployment, lambda: states(deployment) == ["active ready", "left left", "spare ready"])
    until(deployment, lambda: asked("status")[0] == 0)
    code, answer = asked("status", "--expect", "3")
    assert code == 6
    assert "2 workers are ready, and 3 are expected" in answer
    shown = [line.split()[1:3] for line in answer.splitlines()[1:4]]
    assert sorted(shown) == [["left", "left"], ["ready", "active"], ["ready", "spare"]]


def asked(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(command_line, list(words), catch_exceptions=False)
    return done.exit_code, done.stdout


def states(deployment: Deployment) -> list[str]:
    """Role and state of each worker, as the command says."""
    _, answer = asked("status", "--json")
    told = json.loads(answer)["workers"]
    assert all(0 <= one["age_s"] < 60 for one in told if one["figures"])
    return sorted(f"{one['figures'] and one['figures']['role']} {one['state']}" for one in told)


def test_where_a_partition_stands_is_known_while_the_worker_waits_and_nothing_is_fetched(
    deployment: Deployment,
) -> None:
    until(deployment, lambda: standing(deployment) != {})
    before = standing(deployment)["end_offset"] or 0
    deployment.redis.kill()
    try:
        deployment.send(1000)
        until(deployment, lambda: standing(deployment).get("end_offset") == before + 1000)
        found = standing(deployment)
        assert found["lag"] == before + 1000 - found["position"]
        assert found["lag"] > 500
        assert found["committed_offset"] in (None, before)
        until(deployment, lambda: standing(deployment)["seconds_since_fetch"] > 2)
        until(deployment, lambda: not any(page(w, "ready")[0] == 200 for w in deployment.tested.workers))
        assert "Redis at 127.0.0.1" in page(deployment.tested.workers[0], "ready")[1]["why_not"]
    finally:
        deployment.redis.start()
    until(deployment, lambda: standing(deployment).get("committed_offset") == before + 1000)
    until(deployment, lambda: standing(deployment)["seconds_since_fetch"] < 2)
    assert standing(deployment)["lag"] == 0
    until(deployment, lambda: all_ready(deployment))


def test_what_goes_away_while_no_event_is_under_way_is_named_and_ready_comes_back_with_it(
    deployment: Deployment,
) -> None:
    until(deployment, lambda: all_ready(deployment))
    deployment.redis.kill()
    deployment.kafka.kill()
    try:
        for worker in deployment.tested.workers:

            def names_both(worker: WorkerProcess = worker) -> bool:
                status, found = page(worker, "ready")
                why = str(found["why_not"])
                return status == 503 and "Redis at 127.0.0.1" in why and "Kafka at 127.0.0.1" in why

            until(deployment, names_both)
            assert page(worker, "live") == (200, {"live": True})
    finally:
        deployment.kafka.restart()
        deployment.redis.start()
    until(deployment, lambda: all_ready(deployment) and roles(deployment) == ["active", "spare"])
