"""`autodeep try` as a person runs it: a process of its own, everything real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer.testing

from streams.adapters.store.models import open_store
from streams.cli.commands import app
from streams.core.kdd99 import KDD99
from streams.model.detector import Detector
from tests.flow_model import save_flow_model
from tests.flow_samples import zeek

pytestmark = pytest.mark.redis
COMMAND = [sys.executable, "-m", "streams", "try"]


def test_a_log_is_judged_by_the_whole_path_as_in_memory(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTODEEP_FLOW_LEARNING_S", "300")
    store, log = tmp_path / "store", tmp_path / "conn.log"
    save_flow_model(store)
    models = open_store(str(store))
    models.set_alias("flows", "champion", "1")
    models.save(Detector.random(KDD99, seed=1), "kdd99", "1", {}, "random")
    records = [
        zeek(
            uid=f"C{i}", ts=1_600_000_000 + i, **{"id.orig_p": 10_000 + i, "id.orig_h": f"192.168.1.{i % 7}"}
        )
        for i in range(1, 1_500)
    ]
    lines = [*map(json.dumps, records), "nonsense", json.dumps({"_path": "dns"})]
    log.write_text("\n".join(lines))
    environment = {"AUTODEEP_MODEL_STORE": str(store), "AUTODEEP_MODEL": "kdd99/1"}
    done = subprocess.run(
        [*COMMAND, str(log), "--json"],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    asked = ["flows", "judge", str(log), "--store", str(store), "--json"]
    *verdicts, last = map(json.loads, typer.testing.CliRunner().invoke(app, asked).stdout.splitlines())
    assert found["events"] == len(verdicts) == last["summary"]["events"] > 1_000
    assert 0 < sum(one["learning"] for one in verdicts) < len(verdicts)
    alerts = [
        one for one in verdicts if one["verdict"] != "normal" and (one["incident"] or not one["learning"])
    ]
    assert sum(found["alerts"].values()) == len(alerts)
    assert sorted((one["device"], one["verdict"], one["alerts"]) for one in found["incidents"]) == sorted(
        (device, verdict, sum(one["incident"] == incident for one in verdicts))
        for incident, device, verdict in {
            (one["incident"], one["device"], one["verdict"]) for one in verdicts if one["incident"]
        }
    )
    assert (found["lost"], found["dead_letters"]) == (0, 1)
    assert "Not readable: " in done.stderr


def test_a_store_without_a_model_of_flows_is_said_before_anything_waits(
    redis_url: str, tmp_path: Path
) -> None:
    (tmp_path / "conn.log").write_text(json.dumps(zeek()))
    (tmp_path / "store").mkdir()
    done = subprocess.run(
        [*COMMAND, str(tmp_path / "conn.log")],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "AUTODEEP_MODEL_STORE": str(tmp_path / "store")},
    )  # fmt: skip
    assert done.returncode == 3
    assert "holds no model 'flows'" in done.stderr
