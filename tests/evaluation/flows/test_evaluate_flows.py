"""`autodeep evaluate flows` on small captures: its figures, its files, and what it says of bad input."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from streams.cli.evaluate import app
from streams.errors import DataError, SettingsError
from streams.evaluation.flows import trees
from streams.evaluation.flows.methods import Task
from streams.evaluation.flows.views import FULL, VIEWS
from streams.evaluation.flows.warming import WAYS
from tests.evaluation.flows.captures import attacks, benign, networks, written


def evaluated(*arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["flows", *(str(argument) for argument in arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture(scope="module", autouse=True)
def few_trees() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trees, "ITERATIONS", 4)
        patch.setattr(trees, "TREES", 4)
        yield


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("flows")
    path = written(folder, networks())
    return folder, evaluated("--data", path, "--seeds", "2", "--steps", 3, "--out", folder / "out", "--json")


def test_every_method_is_judged_on_the_networks_that_it_never_saw(
    report: tuple[Path, dict[str, Any]],
) -> None:
    _, found = report
    assert found["split"]["folds"] == ["one", "two", "sentinel"]
    names = [
        "this model",
        "boosting",
        "random forest",
        "better rules",
        "simple rules",
        "persistence",
        "majority",
    ]
    assert list(found["methods"]) == names
    assert [found["methods"][name]["seeds"] for name in names] == [2, 2, 2, 1, 1, 1, 1]
    nothing = found["methods"]["majority"]["figures"]
    assert {it["flagged"] for it in nothing["columns"].values()} == {0.0}
    assert nothing["false_incidents"]["all"]["incidents"] == 0
    better = found["methods"]["better rules"]["figures"]["columns"]
    assert better["probe_out"]["flagged"] > 0.9
    assert better["c2"]["found"] == better["c2"]["episodes"] == 3
    assert {it["capture"]: it["flows"] for it in found["captures"]}["quiet"] == 40


def test_the_report_is_a_page_with_its_pictures_and_all_figures_as_json(
    report: tuple[Path, dict[str, Any]],
) -> None:
    folder, found = report
    out = folder / "out"
    assert {path.name for path in out.glob("*.png")} == {
        f"{name}.png" for name in ("operating", "by_capture", "time", "views", "ablation")
    }
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in out.glob("*.png"))
    page = (out / "report.html").read_text()
    assert page.count("<img") == 5
    assert "http" not in page
    for text in ("scan out", "persistence", "cut at 60 s, not merged", "labels shuffled", "home1: C2"):
        assert text in page
    assert json.loads((out / "report.json").read_text()) == found


def test_other_sensors_ablation_and_shuffled_labels_are_told(report: tuple[Path, dict[str, Any]]) -> None:
    _, found = report
    assert set(found["views"]["boosting"]) == set(VIEWS)
    assert found["views"]["boosting"][FULL]["columns"] == found["methods"]["boosting"]["figures"]["columns"]
    assert "without windows" in found["ablation"]
    assert list(found["warm_up"]) == ["this model", "boosting", "random forest"]
    assert list(found["warm_up"]["boosting"]) == list(WAYS)
    assert list(found["leak"]) == ["this model", "boosting"]
    asis, shuffled = (found["leak"]["boosting"][f"labels {how}"] for how in ("as they are", "shuffled"))
    assert asis["area"]["probe"] > 0.95
    assert shuffled["area"]["probe"] < 0.8
    assert all(it["met"] in (True, False) for it in found["aims"])


def test_a_broken_command_goes_on_from_the_scores_that_are_there(tmp_path: Path) -> None:
    path = written(tmp_path, networks())
    asked = ("--data", path, "--seeds", "1", "--quick", "--no-model", "--out", tmp_path / "out", "--json")
    before = evaluated(*asked)
    kept = sorted((tmp_path / "out" / "scores").glob("*.npy"))
    kept[0].write_bytes(b"cut off")
    kept[1].unlink()
    features = next((tmp_path / "out" / "features").glob("*.npz"))
    features.write_bytes(features.read_bytes()[:100])
    with pytest.MonkeyPatch.context() as patch:
        fits: list[Task] = []
        whole = trees._material

        def counted(task: Task, columns: Sequence[str]) -> Any:
            fits.append(task)
            return whole(task, columns)

        patch.setattr(trees, "_material", counted)
        assert evaluated(*asked) == before
    assert len(fits) <= 2
    assert len(list((tmp_path / "out" / "scores").glob("*.npy"))) == len(kept)


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, networks())
    evaluated("--data", path, "--seeds", "1", "--quick", "--no-model", "--json", "--leave-out", "capture")
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (benign("a", "one", 10), "one dataset alone: nothing to leave out"),
        (attacks("a", "one", "scan", 9) + attacks("b", "two", "c2", 9), "no device without attacks"),
        (benign("a", "one", 5) + benign("b", "two", 5), "no attack to learn from"),
        ([it | {"label": "DDoS"} for it in benign("a", "one", 5)], "labels of another taxonomy: DDoS"),
        (
            [it | {"orig_addr": "192.0.2.1"} for it in benign("a", "one", 5)],
            "no capture has a device at home",
        ),
    ],
)
def test_flows_that_cannot_be_judged_are_refused_in_a_sentence(
    tmp_path: Path, made: list[dict[str, Any]], says: str
) -> None:
    with pytest.raises(DataError, match=says):
        evaluated("--data", written(tmp_path, made), "--json")


def test_a_file_that_is_no_table_of_flows_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither a table of flows nor a folder"):
        evaluated("--data", tmp_path, "--json")
    path = tmp_path / "some.parquet"
    path.write_text("no table")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        evaluated("--data", path, "--json")
    pl.DataFrame({"capture": ["a"], "row": ["1"]}).write_parquet(path)
    with pytest.raises(DataError, match="columns are missing: dataset, orig_addr"):
        evaluated("--data", path, "--json")
    pl.read_parquet(written(tmp_path, benign("a", "one", 3))).with_columns(row=pl.lit("x")).write_parquet(
        path
    )
    with pytest.raises(DataError, match="no fitting type: row"):
        evaluated("--data", path, "--json")


def test_options_that_make_no_sense_are_refused_in_a_sentence(tmp_path: Path) -> None:
    path = written(tmp_path, networks())
    with pytest.raises(SettingsError, match="say CAPTURE=ADDRESS"):
        evaluated("--data", path, "--home", "office", "--json")
    with pytest.raises(SettingsError, match="say dataset or capture or group"):
        evaluated("--data", path, "--leave-out", "flow", "--json")
