"""What users give to `autodeep evaluate` by mistake: one clear line, exit code 2, and never NaN."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from streams import __main__ as command_line
from streams.adapters.store.models import open_store
from streams.core.kdd99 import KDD99
from streams.model.detector import Detector

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs `autodeep evaluate ARGUMENTS` as `main` does: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["autodeep", "evaluate", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an untrained model: what it answers does not matter here."""
    root = tmp_path_factory.mktemp("store")
    open_store(str(root)).save(
        Detector.random(KDD99, seed=1), "m", "1", {"training": {}, "metrics": {}}, "# card\n"
    )
    return root


def lines(count: int, labels: tuple[str, ...] = ("normal", "smurf"), columns: int = 42) -> list[str]:
    rng = np.random.default_rng(2)
    made = []
    for place in range(count):
        values = {
            name: str(round(float(value), 2))
            for name, value in zip(KDD99.file_columns, rng.random(41), strict=True)
        }
        values |= {"protocol_type": "tcp", "service": "http", "flag": "SF"}
        made.append(",".join([*values.values(), labels[place % len(labels)] + "."][:columns]))
    return made


def text_of(made: list[str], end: str = "\n") -> bytes:
    return (end.join(made) + end).encode()


CUT = gzip.compress(text_of(lines(300)))[:-2000]
BAD = {
    "a missing column": (text_of(lines(20, columns=41)), "41 columns"),
    "an unknown label": (text_of(lines(20, ("normal", "martian"))), "unknown label 'martian'"),
    "mixed line ends": (text_of(lines(10)) + text_of(lines(10), "\r\n"), "mixes line ends (10 LF, 10 CRLF)"),
    "gzip cut in the middle": (CUT, "cut off or damaged"),
    "no rows": (b"", "holds no rows"),
    "no rows in gzip": (gzip.compress(b"\n"), "holds no rows"),
    "no usable row": (text_of(["x" + "," * 41] * 3), "no usable row"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_file_that_cannot_be_used_is_one_line_and_exit_code_2(
    what: str, run: Run, store: Path, tmp_path: Path
) -> None:
    data, said = BAD[what]
    (tmp_path / "mine.csv").write_bytes(data)
    code, out, err = run("file", "mine.csv", "--model", "m/1", "--store", store, "--json")
    assert code == 2
    assert out == ""
    (line,) = err.strip().splitlines()
    assert line.startswith("autodeep: mine.csv: ")
    assert said in line


def test_a_class_that_the_model_lacks_is_refused(run: Run, store: Path, tmp_path: Path) -> None:
    manifest = store / "m" / "1" / "manifest.json"
    assert manifest.is_file()
    (tmp_path / "mine.csv").write_bytes(text_of(lines(20, ("normal", "spy"))))
    three = three_classes(tmp_path)
    code, out, err = run("file", "mine.csv", "--model", "m/1", "--store", three, "--json")
    assert (code, out) == (2, "")
    assert "rows of r2l, which this model has no class for" in err
    assert len([line for line in err.splitlines() if line.startswith("autodeep:")]) == 1


def three_classes(tmp_path: Path) -> Path:
    """A store with an untrained model of the paper's classes."""
    import dataclasses

    from streams.model.detector import Identity
    from streams.model.network import Network
    from streams.training.dataset import TAXONOMIES

    taxonomy, whole = TAXONOMIES["paper"], Detector.random(KDD99, seed=1)
    shape = dataclasses.replace(whole.parameters.shape, classes=3)
    parameters = dataclasses.replace(
        whole.parameters, shape=shape, classes=taxonomy.classes, cost=taxonomy.cost, log_prior=(0.0,) * 3
    )
    small = Detector(Identity("m", "1", ""), parameters, Network.random(shape, 1))
    root = tmp_path / "three"
    open_store(str(root)).save(small, "m", "1", {"training": {}, "metrics": {}}, "# card\n")
    return root


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("feature_table", "00" * 32, "another feature table"),
        ("format", 99, "format"),
    ],
)
def test_a_model_that_does_not_fit_is_one_line_and_exit_code_2(
    key: str, value: object, said: str, run: Run, tmp_path: Path
) -> None:
    root = tmp_path / "altered"
    open_store(str(root)).save(
        Detector.random(KDD99, seed=1), "m", "1", {"training": {}, "metrics": {}}, "# card\n"
    )
    path = root / "m" / "1" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    (tmp_path / "mine.csv").write_bytes(text_of(lines(20)))
    code, out, err = run("file", "mine.csv", "--model", "m/1", "--store", root, "--json")
    assert (code, out) == (2, "")
    (line,) = err.strip().splitlines()
    assert said in line


def test_a_model_that_is_not_there_is_exit_code_2(run: Run, store: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_bytes(text_of(lines(4)))
    code, _, err = run("file", "mine.csv", "--model", "m@nobody", "--store", store)
    assert code == 2
    assert "no alias 'nobody'" in err


@pytest.mark.parametrize("protocol", ["kdd99", "nsl-kdd", "paper"])
def test_a_folder_without_the_data_says_what_to_fetch(
    protocol: str, run: Run, store: Path, tmp_path: Path
) -> None:
    models = [] if protocol == "paper" else ["--model", "m/1", "--store", store]
    code, _, err = run(protocol, "--data", tmp_path, *models, "--json")
    assert code == 2
    assert "autodeep data fetch" in err


@pytest.mark.parametrize(("label", "undefined"), [("normal", "normal"), ("smurf", "dos")])
def test_one_class_only_has_no_area_and_says_so(
    label: str, undefined: str, run: Run, store: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.csv").write_bytes(text_of(lines(30, (label,)), "\r\n"))  # one kind of line end is fine
    code, out, _ = run("file", "mine.csv", "--model", "m/1", "--store", store, "--json")
    assert code == 0
    assert "NaN" not in out
    found = json.loads(out)
    for point in found["operating_points"].values():
        assert point["per_class"][undefined]["auc"] is None
        assert f"AUC of {undefined} is undefined: every row is {undefined}." in point["notes"]
    assert f"AUC of {undefined} is undefined: every row is {undefined}." in found["notes"]


def test_one_class_only_still_makes_a_report(run: Run, store: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_bytes(text_of(lines(30, ("normal",))))
    code, _, _ = run("file", "mine.csv", "--model", "m/1", "--store", store, "--out", "report")
    assert code == 0
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "AUC of normal is undefined" in page
    assert "NaN" not in (tmp_path / "report" / "report.json").read_text()


def test_lines_that_cannot_be_used_are_counted_and_said(run: Run, store: Path, tmp_path: Path) -> None:
    made = lines(30)
    made[7] = made[7].replace("tcp", "")
    (tmp_path / "mine.csv").write_bytes(text_of(made))
    code, out, _ = run("file", "mine.csv", "--model", "m/1", "--store", store, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["rows"] == 29
    assert found["split"]["left_out"] == {"missing value": 1}
    assert any("1 line(s) of the test file could not be used" in note for note in found["notes"])
