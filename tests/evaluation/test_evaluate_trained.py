"""The protocols that train their own models, through the command, on a few made-up lines."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from streams.cli.evaluate import app
from streams.core.kdd99 import KDD99

OF_KIND = {"normal": 0, "neptune": 200, "rootkit": 20, "satan": 60, "spy": 90, "mscan": 75}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def a_file(path: Path, count: int, kinds: tuple[str, ...], tail: str = "", seed: int = 0) -> None:
    """Lines whose numbers tell their kind, in random order; many repeat."""
    rng = np.random.default_rng(seed)
    made: list[Any] = []
    for place in range(count):
        kind = kinds[place % len(kinds)] if place % 5 == 0 else str(rng.choice(kinds[:2]))
        values = dict.fromkeys(KDD99.file_columns, "0")
        values |= {"protocol_type": "tcp", "service": "http", "flag": "SF"}
        values |= {"src_bytes": str(OF_KIND[kind] + rng.integers(8)), "dst_bytes": str(rng.integers(4000))}
        if made and rng.random() < 0.6:
            made.append(made[rng.integers(len(made))])
            continue
        made.append(",".join([*values.values(), kind]) + tail)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(("\n".join(made) + "\n").encode()))


def evaluated(*arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_papers_protocol_trains_a_model_a_seed_and_says_why_it_is_easy(tmp_path: Path) -> None:
    path = tmp_path / "kddcup.data_10_percent.gz"
    a_file(path, 3000, ("normal", "neptune", "rootkit", "satan"), tail=".")
    arguments = ("paper", "--data", path, "--seeds", "4,9", "--steps", 20, "--json", "--no-baselines")
    found = evaluated(*arguments, "--out", tmp_path / "out")
    assert found["seeds"] == 2
    assert [of["seed"] for of in found["models"]] == [4, 9]
    for point in found["operating_points"].values():
        assert set(point["per_class"]) == {"normal", "dos", "u2r"}  # satan's rows are left out
        assert point["per_class"]["u2r"]["support"] > 0
        assert "accuracy" in point["spread"]
        assert "accuracy" in point["distinct"]
    share = found["split"]["seen_rows_share"]
    assert 0.4 < share < 1
    assert f"{100 * share:.1f} % of its test rows" in found["key_sentences"][0]
    assert "U2R recall" in found["key_sentences"][1]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "the paper&#x27;s own figures" in page
    assert (tmp_path / "out" / "training.png").is_file()  # from the runs' own logs
    assert all(log["records"] for log in found["training_logs"])


def test_nsl_kdd_trains_on_its_training_file_and_judges_every_row_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "nsl-kdd"
    kinds = ("normal", "neptune", "rootkit", "satan", "spy")
    a_file(folder / "KDDTrain+.txt.gz", 2000, kinds, tail=",21")
    a_file(folder / "KDDTest+.txt.gz", 300, (*kinds, "mscan"), tail=",21", seed=1)
    a_file(folder / "KDDTest-21.txt.gz", 100, (*kinds, "mscan"), tail=",21", seed=2)
    monkeypatch.chdir(tmp_path)
    found = evaluated("nsl-kdd", "--data", tmp_path, "--seeds", "1", "--steps", 20, "--json")
    assert (found["rows"], found["also"]["KDDTest-21"]["rows"]) == (300, 100)
    assert found["split"]["ordered"] is False
    assert "no capture order" in found["split"]["remark"]
    assert [of["window_events"] for of in found["models"]] == [1]
    for point in found["operating_points"].values():
        assert point["per_attack_type"]["mscan"]["known"] is False
        assert point["novel_flagged"] is not None
