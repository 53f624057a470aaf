"""What the chart says, carried out on a real Kafka and Redis in the order in which Helm does it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import pytest

from streams.embedded.kafka import Broker
from streams.embedded.workers import WorkerProcess
from tests.deploy.charts import Document, one, rendering
from tests.deploy.judging import environment, pods

pytestmark = [pytest.mark.kafka, pytest.mark.redis]

ETC = "/etc/autodeep"


def variables(document: Document, node: Path) -> dict[str, str]:
    """Of the pod; what is mounted there stands in a folder of this machine."""
    (spec,) = (spec for _, spec in pods([document]))
    return {name: text.replace(ETC, str(node)) for name, text in environment(spec).items()}


def carried_out(document: Document, node: Path) -> subprocess.CompletedProcess[str]:
    """Its container's command, as the image has it: `autodeep` on the PATH and as the entry point."""
    (spec,) = (spec for _, spec in pods([document]))
    (container,) = spec["containers"]
    command = [*container.get("command", ["autodeep"]), *container["args"]]
    path = f"{node}:{os.environ['PATH']}"
    return subprocess.run(
        command, env={**inherited(), **variables(document, node), "PATH": path},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def inherited() -> Mapping[str, str]:
    return {name: text for name, text in os.environ.items() if not name.startswith("AUTODEEP_")}


def test_topics_are_made_a_worker_becomes_ready_and_the_test_has_its_events_judged(
    kafka: Broker, redis_url: str, tmp_path: Path
) -> None:
    program = tmp_path / "autodeep"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m streams "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    url = tmp_path / "secret" / "redis" / "url"
    url.parent.mkdir(parents=True)
    url.write_text(redis_url + "\n", encoding="utf-8")
    prefix = f"t{uuid4().hex[:8]}"
    settings = {
        "AUTODEEP_KAFKA_SERVERS": kafka.bootstrap_servers,
        "AUTODEEP_TOPIC_PREFIX": prefix,
        "AUTODEEP_GROUP": prefix,
    }
    documents = rendering(
        {
            "settings": settings,
            "secrets": {"AUTODEEP_REDIS_URL": {"name": "redis", "key": "url"}},
            "topics": {"partitions": 2},
            "test": {"events": 8, "timeoutSeconds": 60},
        }
    )
    job, worker, check = (one(documents, kind) for kind in ("Job", "Deployment", "Pod"))
    made = carried_out(job, tmp_path)
    assert made.returncode == 0, made.stderr
    assert f"{prefix}.telemetry" in made.stdout
    of_worker = {name: text for name, text in variables(worker, tmp_path).items() if "_WEB_" not in name}
    with WorkerProcess(of_worker, tmp_path / "log") as process:
        process.wait_ready()
        judged = carried_out(check, tmp_path)
        assert judged.returncode == 0, judged.stderr
        assert "8 dos" in judged.stdout
        again = carried_out(job, tmp_path)  # as before an upgrade
        assert again.returncode == 0, again.stderr
