"""`autodeep train flows` on small made-up captures: what it learns from, repeats, resumes and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from typer.testing import CliRunner

from streams.adapters.store.models import open_store
from streams.cli.commands import app
from streams.training.flow_captures import captures
from streams.training.flow_protocol.labelled import CLASSES, LabelledFlows
from streams.training.flows.descent import against_normal
from streams.training.flows.material import learnt_from, weights_of, windows_of
from streams.training.flows.plan import FlowPlan
from streams.training.flows.run import calibration_folds, seen_of
from tests.labelled_flows import flows_of

ROW: dict[str, Any] = {
    "capture": "a", "dataset": "one", "row": 0, "start_s": 1_600_000_000.0, "duration_s": 1.0,
    "orig_addr": "192.168.1.9", "orig_port": 40_000, "resp_addr": "203.0.113.9", "resp_port": 443,
    "proto": "tcp", "service": "ssl", "state": "SF", "orig_packets": 10.0, "orig_ip_bytes": 900.0,
    "resp_packets": 12.0, "resp_ip_bytes": 4_000.0, "orig_bytes": 300.0, "resp_bytes": 3_000.0,
    "history": "ShADadFf", "label": "normal", "label_given": "",
}  # fmt: skip
SCAN: dict[str, Any] = {
    "resp_port": 23, "service": None, "state": "S0", "orig_packets": 1.0, "orig_ip_bytes": 60.0,
    "resp_packets": 0.0, "resp_ip_bytes": 0.0, "orig_bytes": 0.0, "resp_bytes": 0.0, "history": "S",
    "label": "scan", "duration_s": None,
}  # fmt: skip


def capture(name: str, dataset: str, *, attacked: bool) -> list[dict[str, Any]]:
    rows = [
        ROW | {"row": at, "start_s": ROW["start_s"] + 60.0 * at, "orig_packets": 5.0 + at % 7}
        for at in range(40)
    ]
    if attacked:
        rows += [
            ROW | SCAN | {"row": 40 + at, "start_s": ROW["start_s"] + 3_000.0 + at,
                          "resp_addr": f"198.51.100.{at}", "orig_addr": "192.168.1.66"}
            for at in range(40)
        ]  # fmt: skip
    return [row | {"capture": name, "dataset": dataset} for row in rows]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("flows") / "table.parquet"
    rows = [
        *capture("a", "one", attacked=True),
        *capture("b", "two", attacked=True),
        *capture("c", "three", attacked=False),
    ]
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(path)
    return path


def trained(table: Path, folder: Path, *options: str) -> Any:
    return CliRunner().invoke(
        app,
        ["train", "flows", "--data", str(table), "--limit-steps", "3", "--out", str(folder / "store"),
         "--run-dir", str(folder / "run"), *options],
    )  # fmt: skip


def test_the_same_seed_gives_the_same_tensors_and_a_broken_run_goes_on(table: Path, tmp_path: Path) -> None:
    first = trained(table, tmp_path / "first", "--json")
    assert first.exit_code == 0, first.output
    told = json.loads(first.stdout.strip().splitlines()[-1])
    assert told["training"]["captures"]["a"] == {
        "dataset": "one", "normal": 40, "probe": 40, "c2": 0, "dos": 0, "r2l": 0, "unscored": 0,
    }  # fmt: skip
    models = sorted((tmp_path / "first" / "run").glob("*/*"))
    assert [path.name for path in models] == ["all", "fold-1", "fold-2", "fold-3"]
    broken = tmp_path / "second"
    (broken / "run").mkdir(parents=True)
    models[0].parent.rename(broken / "run" / models[0].parent.name)
    kept = next((broken / "run").glob("*/all"))
    for file in kept.iterdir():
        file.unlink()
    kept.rmdir()
    before = {path: path.stat().st_mtime_ns for path in (broken / "run").glob("*/fold-*/*")}
    assert trained(table, broken).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    files = [
        folder / "store" / "flows" / "1" / "model.safetensors" for folder in (tmp_path / "first", broken)
    ]
    assert files[0].read_bytes() == files[1].read_bytes()
    detector = open_store(str(broken / "store")).load("flows/1")
    assert detector.verdicts == (*CLASSES, "novel")
    assert sorted(detector.parameters.operating_points) == ["operator", "sensitive", "strict"]
    card = (broken / "store" / "flows" / "1" / "MODEL_CARD.md").read_text()
    assert "encrypted C2" in card
    assert "autodeep train flows --data table.parquet --seed 1 --limit-steps 3" in card


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--device", "a"], "no CAPTURE=ADDRESS"),
        (["--busiest", "nobody"], "no such capture in the tables: nobody"),
        (["--leave-out", "one", "--leave-out", "two"], "lack one of them"),
        (["--leave-out", "one"], "attacks of one capture alone"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(
    table: Path, tmp_path: Path, options: list[str], says: str
) -> None:
    result = trained(table, tmp_path, *options)
    assert result.exit_code != 0
    assert says in f"{result.output} {result.exception}"
    assert not (tmp_path / "store").exists()


def some_flows() -> LabelledFlows:
    return flows_of(
        (0, 1, 0, "normal", False), (0, 2, 1, "probe", False), (0, 1, 2, "normal", False),
        (0, 1, 9_000, "normal", False), (1, 1, 0, "normal", False), (1, 2, 0, "c2", False),
    )  # fmt: skip


def test_windows_are_the_devices_own_and_begin_anew_after_a_pause() -> None:
    found = windows_of(some_flows(), 3, 3_600_000_000)
    seen = [row[there].tolist() for row, there in zip(found.index, found.valid, strict=True)]
    assert seen == [[0], [1], [0, 2], [3], [4], [5]]


def test_each_class_of_attacks_weighs_alike_and_no_capture_drowns_others() -> None:
    flows = some_flows()
    weight = weights_of(flows, np.arange(len(flows)), 0.5)
    assert weight[flows.target == 0].sum() == pytest.approx(0.5)
    assert weight[1] == weight[5] == pytest.approx(0.25)
    assert weight[[0, 2, 3]].sum() == pytest.approx(np.sqrt(3) * weight[4])


def test_of_a_flood_no_more_than_so_many_flows_are_learnt_from() -> None:
    flows = some_flows()
    learn = np.array([True, True, True, True, False, True])
    found = learnt_from(flows, learn, 2, 1)
    assert (flows.capture[found] * 10 + flows.target[found]).tolist() == [0, 1, 0, 12]


def test_an_attack_of_another_class_counts_little() -> None:
    plan = FlowPlan(others_weight=0.0, smoothing=0.0)
    scores = torch.tensor([[0.0, 3.0, -2.0, -2.0, -2.0]])
    as_probe = against_normal(scores, torch.tensor([1]), plan)
    as_c2 = against_normal(scores, torch.tensor([2]), plan)
    assert float(as_probe) == pytest.approx(float(torch.log1p(torch.exp(torch.tensor(-3.0)))))
    assert float(as_c2) == pytest.approx(float(torch.log1p(torch.exp(torch.tensor(2.0)))))


def test_data_sets_with_attacks_are_left_out_one_by_one(table: Path) -> None:
    seen = seen_of(list(captures(table, {})))
    assert [fold.name for fold in calibration_folds(seen.full)] == ["one", "two", "three"]
    assert np.stack([fold.held for fold in calibration_folds(seen.full)]).sum(axis=0).tolist() == [1] * 200
