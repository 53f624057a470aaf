"""`autodeep explain`: what a user sees of a row, and what of a row that is not there."""

from __future__ import annotations

import dataclasses
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
from streams.core.usual import Usual
from streams.model.detector import Detector

Run = Callable[..., tuple[int, str, str]]
USUAL = Usual(((0.0, 3.0),) * len(KDD99.numeric), (("tcp",), ("http", "domain_u", "smtp"), ("SF",)))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Untrained models: m/1 does not know what is usual, m/2 does."""
    root = open_store(str(tmp_path_factory.mktemp("store")))
    detector = Detector.random(KDD99, seed=1)
    root.save(detector, "m", "1", {}, "# card\n")
    usual = dict.fromkeys(detector.classes, USUAL)
    parameters = dataclasses.replace(detector.parameters, usual=usual)
    root.save(Detector(detector.identity, parameters, detector.network), "m", "2", {}, "# card\n")
    return root.url


@pytest.fixture
def run(
    store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    """Runs `autodeep explain rows.csv ARGUMENTS` as `main` does: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)

    def call(*arguments: object, model: str = "m/2") -> tuple[int, str, str]:
        options = ["explain", "rows.csv", *arguments, "--store", store, "--model", model]
        monkeypatch.setattr(sys, "argv", ["autodeep", *map(str, options)])
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def rows(count: int, *ends: str) -> list[str]:
    rng = np.random.default_rng(3)
    made = []
    for place in range(count):
        values = [str(round(float(value), 2)) for value in rng.random(len(KDD99.file_columns))]
        values[1:4] = "udp", "domain_u", "SF"
        made.append(",".join((*values, *ends[place % max(len(ends), 1) :][:1])))
    return made


def write(lines: list[str]) -> None:
    Path("rows.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_a_row_is_explained_in_80_columns_with_its_history(run: Run) -> None:
    write(rows(20, "normal.", "smurf."))
    code, out, _ = run("--row", 4)
    assert code == 0
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "rows.csv, line 4, labelled smurf"
    assert lines[1].startswith("m/2 says ")
    assert "window 4 of 8" in lines[3]
    assert lines[5].split() == ["feature", "value", "usual", *lines[5].split()[3:-1], "share"]
    assert [line.split()[1] for line in lines if line.startswith("line ")] == ["1", "2", "3"]


def test_shares_in_json_sum_to_one_and_events_name_their_lines(run: Run) -> None:
    write(rows(20, "normal."))
    code, out, _ = run("--row", 12, "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["row"], found["label"], found["window_fill"]) == (12, "normal", 8)
    assert [event["row"] for event in found["events"]] == list(range(5, 12))
    sizes = [abs(of["share"]) for of in (*found["features"], *found["events"])]
    assert sum(sizes) == pytest.approx(1.0, abs=0.02)
    assert {of["usual"] for of in found["features"]} <= {"0..3", "tcp", "http, domain_u, smtp", "SF"}


def test_a_row_without_a_label_is_explained_too(run: Run) -> None:
    write(rows(5))
    code, out, _ = run("--row", 1)
    assert code == 0
    assert out.startswith("rows.csv, line 1\n")
    assert "no earlier events" in out


def test_a_model_that_does_not_know_what_is_usual_says_so(run: Run) -> None:
    write(rows(5, "normal."))
    code, out, _ = run("--row", 3, model="m/1")
    assert code == 0
    assert " ? " in out


@pytest.mark.parametrize(
    ("row", "says"),
    [(9, "has no line 9"), (0, "has no line 0"), (-3, "has no line -3"), (2, "line 2 cannot be used")],
)
def test_a_row_that_is_not_there_is_one_line_and_exit_code_2(run: Run, row: int, says: str) -> None:
    made = rows(4, "normal.")
    made[1] = made[1].replace("domain_u", "")
    write(made)
    code, out, err = run("--row", row)
    assert (code, out) == (2, "")
    assert err.startswith("autodeep: ")
    assert says in err
    assert err.count("\n") == 1


def test_a_file_or_model_that_is_not_there_is_one_line_and_exit_code_2(run: Run) -> None:
    code, _, err = run("--row", 1)
    assert (code, err.count("\n")) == (2, 1)
    write(rows(3))
    code, _, err = run("--row", 1, model="m/9")
    assert (code, err.count("\n")) == (2, 1)
    assert "m/9" in err
