"""What a report is made of: splits that do not leak, figures that a count by hand confirms, whole files."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from streams.codec.ingest.kdd import KddRows
from streams.core.kdd99 import KDD99
from streams.errors import DataError, SettingsError
from streams.evaluation import baselines, curves, measure, pictures, splits, study, written
from streams.evaluation.page import page
from streams.evaluation.printed import print_study
from streams.evaluation.protocols import parsed_seeds
from streams.evaluation.splits import Split, Trial
from streams.evaluation.spread import mean_and_spread
from streams.evaluation.study import Scope
from streams.model.detector import Detector, Identity

DETECTOR = Detector.random(KDD99, seed=3)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


LABELS = ("httptunnel", "neptune", "normal", "rootkit")


def some_rows(count: int, seed: int = 0, labels: tuple[str, ...] = LABELS) -> KddRows:
    """Rows of few different values, so that many repeat."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, len(labels), count)
    numbers = np.repeat(label[:, None] * 3 + rng.integers(0, 6, (count, 1)), len(KDD99.numeric), 1).astype(
        np.float32
    )
    rows = KDD99.pack(numbers, np.ones((count, 3), np.uint8))
    return KddRows(rows, label.astype(np.int64), labels, np.arange(1, count + 1), {}, KDD99)


def a_split(test: KddRows, training: KddRows | None = None, *, ordered: bool = True) -> Split:
    return Split("made up", test, training, "nothing was chosen", ordered=ordered)


def numbers_of(read: KddRows) -> list[tuple[float, str]]:
    return [(float(v), read.labels[k]) for v, k in zip(read.rows["numbers"][:, 0], read.label, strict=True)]


def test_the_papers_split_puts_each_row_on_one_side_in_file_order_and_keeps_three_classes() -> None:
    read = some_rows(2000, labels=("neptune", "normal", "rootkit", "satan"))
    split = splits.paper(read, seed=7)
    assert split.training is not None
    wanted = {place + 1 for place, name in enumerate(read.label) if read.labels[name] != "satan"}
    assert set(split.test.line) | set(split.training.line) == wanted
    assert not set(split.test.line) & set(split.training.line)
    assert np.all(np.diff(split.test.line) > 0)
    assert 0.15 < len(split.test) / len(wanted) < 0.25
    assert not np.array_equal(split.test.line, splits.paper(read, seed=8).test.line)
    at = dict(zip(read.line, numbers_of(read), strict=True))
    assert numbers_of(split.test) == [at[line] for line in split.test.line]


def test_rows_seen_in_training_and_repeats_are_those_that_a_plain_search_finds() -> None:
    test, training = some_rows(60, seed=1), some_rows(15, seed=2)
    seen = splits.seen_in_training(a_split(test, training))
    trained = {value for value, _ in numbers_of(training)}
    assert seen is not None
    assert seen.tolist() == [value in trained for value, _ in numbers_of(test)]
    met: set[tuple[float, str]] = set()
    first = [not (it in met or met.add(it)) for it in numbers_of(test)]
    assert splits.first_of_each(test).tolist() == first
    assert splits.seen_in_training(a_split(test)) is None


def test_numbers_of_several_seeds_become_their_mean_with_standard_deviation_and_range() -> None:
    one = {"a": 1.0, "b": {"c": None}, "d": [1, 2], "e": "x"}
    other = {"a": 3.0, "b": {"c": 2.0}, "d": [3, 4], "e": "y"}
    found = mean_and_spread([one, other])
    assert found["a"] == 2.0
    assert found["spread"]["a"] == {"sd": pytest.approx(2**0.5), "low": 1.0, "high": 3.0}
    assert found["b"]["c"] == 2.0
    assert found["d"] == [2.0, 3.0]
    assert found["e"] is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8))
def test_a_mean_lies_between_the_lowest_and_the_highest(values: list[float]) -> None:
    found = mean_and_spread([{"a": value} for value in values])
    assert min(values) - 1e-6 <= found["a"] <= max(values) + 1e-6
    assert ("spread" in found) == (len(values) > 1)


def case_of(closest: list[int], truth: list[int]) -> measure.Case:
    answers = np.array(closest)
    posterior = np.eye(5, dtype=np.float32)[answers]
    return measure.Case(np.array(truth), answers, answers != 0, posterior, DETECTOR.classes, answers < 0)


def test_an_area_without_two_sides_is_null_with_a_sentence_and_never_nan() -> None:
    found = measure.section(case_of([0, 0, 1, 0], [0, 0, 0, 0]))
    assert found["per_class"]["normal"]["auc"] is None
    assert "AUC of normal is undefined: every row is normal." in found["notes"]
    assert "AUC of u2r is undefined: no row is u2r." in found["notes"]
    assert found["false_positives_per_100000"] == 25_000
    json.dumps(found, allow_nan=False)


def test_areas_and_macro_means_agree_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(4)
    truth, closest = rng.integers(0, 5, 300), rng.integers(0, 5, 300)
    posterior = rng.dirichlet(np.ones(5), 300).astype(np.float32)
    found = measure.section(
        measure.Case(truth, closest, closest != 0, posterior, DETECTOR.classes, closest < 0)
    )
    for place, name in enumerate(DETECTOR.classes):
        area = metrics.roc_auc_score(truth == place, posterior[:, place])
        assert found["per_class"][name]["auc"] == pytest.approx(area)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(truth, closest, average="macro")
    macro = found["macro"]
    assert (macro["precision"], macro["recall"], macro["f1"]) == pytest.approx((precision, recall, f1))


def test_cost_is_the_contests_whatever_the_operating_point_pays_for_an_alarm() -> None:
    split = a_split(some_rows(200))
    points = measure.points_of(DETECTOR)
    found = measure.verdicts_of(points, split)
    for name in points:
        case = measure.case_of(DETECTOR, split, found[name])
        matrix = measure.contest_cost(case.classes)
        assert measure.section(case)["cost"] == pytest.approx(matrix[case.truth, case.closest].mean())


def test_the_operating_curve_runs_through_the_operating_points() -> None:
    split = a_split(some_rows(400))
    points = measure.points_of(DETECTOR)
    verdicts = measure.verdicts_of(points, split)
    for name, detector in points.items():
        case = measure.case_of(detector, split, verdicts[name])
        curve = curves.operating_curve(detector, verdicts[name], case)
        factor = DETECTOR.parameters.operating_points[name].false_alarm_factor
        near = int(np.abs(np.log(np.array(curve["alarm_factor"]) / factor)).argmin())
        around = range(max(near - 1, 0), near + 2)
        own = measure.section(case)
        rates = [curve["false_positive_rate"][place] for place in around]
        assert min(rates) <= own["false_positive_rate"] <= max(rates)
    assert np.all(np.diff(curve["false_positive_rate"]) <= 0)  # dearer alarms are never more


def test_a_full_window_flags_what_the_evaluation_flags_and_one_event_what_each_row_alone_gives() -> None:
    split = a_split(some_rows(300))
    points = measure.points_of(DETECTOR)
    everything = np.ones(300, bool)
    whole, alone = (
        {name: it.verdict != 0 for name, it in measure.verdicts_of(points, of).items()}
        for of in (split, a_split(split.test, ordered=False))
    )
    case = measure.case_of(DETECTOR, split, next(iter(measure.verdicts_of(points, split).values())))
    for name, of in curves.window_fill(points, split, case, everything).items():
        assert of["events"][0] == 1
        assert of["events"][-1] == DETECTOR.width
        for place, label in enumerate(DETECTOR.classes):
            if label in of["flagged"]:
                mine = case.truth == place
                assert of["flagged"][label][0] == pytest.approx(alone[name][mine].mean())
                assert of["flagged"][label][-1] == pytest.approx(whole[name][mine].mean())


def test_novel_flagged_leaves_out_the_types_that_look_normal_and_says_the_whole_beside_it() -> None:
    types = {
        "mscan": {"rows": 10, "known": False, "flagged": 0.9},
        "snmpguess": {"rows": 30, "known": False, "flagged": 0.0},
        "smurf": {"rows": 1000, "known": True, "flagged": 0.0},
    }
    assert measure.novel_flagged(types) == {"novel_flagged": 0.9, "novel_flagged_all": 9 / 40}
    assert measure.novel_flagged({}) == {"novel_flagged": None, "novel_flagged_all": None}


def test_a_perfectly_calibrated_answer_has_no_calibration_error() -> None:
    rng = np.random.default_rng(1)
    said = rng.random(40_000)
    posterior = np.zeros((len(said), 5), np.float32)
    posterior[:, 0], posterior[:, 2] = 1 - said, said
    truth = np.where(rng.random(len(said)) < said, 2, 0)
    found = curves.calibration(
        [measure.Case(truth, truth, truth != 0, posterior, DETECTOR.classes, truth < 0)]
    )
    assert found["expected_calibration_error"] < 0.02
    assert sum(found["rows"]) == len(said)


def test_baselines_are_fitted_on_the_training_rows_alone_and_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTODEEP_CACHE", str(tmp_path))
    monkeypatch.setattr(baselines, "TREES", 5)
    training, test = some_rows(300, seed=1), some_rows(50, seed=2)
    split = a_split(test, training)
    first = baselines.baselines(split, DETECTOR.classes, 1, lambda text: None)
    assert set(first) == {"majority", "random forest", "extra trees"}
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert len(files) == 3
    again = baselines.baselines(split, DETECTOR.classes, 1, lambda text: None)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")} == files
    relabelled = KddRows(test.rows, test.label[::-1].copy(), test.labels, test.line, {}, KDD99)
    other = baselines.baselines(a_split(relabelled, training), DETECTOR.classes, 1, lambda text: None)
    for name, case in first.items():
        assert np.array_equal(case.posterior, again[name].posterior)
        assert np.array_equal(case.posterior, other[name].posterior)  # test labels move no answer
    assert baselines.baselines(a_split(test), DETECTOR.classes, 1, lambda text: None) == {}


def test_a_part_of_the_test_rows_gets_the_answers_of_the_whole_without_another_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTODEEP_CACHE", str(tmp_path))
    monkeypatch.setattr(baselines, "TREES", 5)
    whole = a_split(some_rows(80, seed=2), some_rows(300, seed=1))
    mask = np.arange(80) % 3 == 0
    part = dataclasses.replace(whole, test=splits.subset(whole.test, mask), within=whole)
    answers = baselines.baselines(whole, DETECTOR.classes, 1, lambda text: None)
    files = set(tmp_path.rglob("*.npy"))
    for name, case in baselines.baselines(part, DETECTOR.classes, 1, lambda text: None).items():
        assert np.array_equal(case.posterior, answers[name].posterior[mask])
    assert set(tmp_path.rglob("*.npy")) == files


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A whole study of two models with baselines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTODEEP_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(baselines, "TREES", 5)
        split = a_split(some_rows(400, seed=1), some_rows(300, seed=2))
        log = [{"phase": "vae", "step": s, "loss": 3.0 / s, "validation_loss": 4.0 / s} for s in (1, 2, 3)]
        models = [
            Detector.random(KDD99, seed).renamed(Identity("made", str(seed), f"{seed:064x}"))
            for seed in (3, 4)
        ]
        trials = [Trial(it, split, int(it.identity.version), 1, "made-up rows", tuple(log)) for it in models]
        return {"protocol": "file", "title": "A made-up study", **study.study(trials, Scope())}


def test_several_models_give_mean_and_spread(found: dict[str, Any]) -> None:
    assert found["seeds"] == 2
    point = next(iter(found["operating_points"].values()))
    spread = point["spread"]["accuracy"]
    assert point["accuracy"] == pytest.approx((spread["low"] + spread["high"]) / 2)
    assert found["split"]["seen_rows_share"] > 0
    assert point["unseen"]["rows"] < point["rows"]
    assert any("fewer than 5 seeds" in note for note in found["notes"])
    assert set(found["baselines"]) == {"majority", "random forest", "extra trees", "description"}


def test_models_of_different_classes_are_not_averaged() -> None:
    other = Detector.random(KDD99, 1)
    other.classes = ("normal", "dos", "u2r")
    split = a_split(some_rows(20))
    with pytest.raises(DataError, match="models differ"):
        study.study([Trial(it, split, 1, 1) for it in (DETECTOR, other)], Scope())


PICTURES = {
    "training", "roc", "confusion", "compared", "parts", "attack_types", "operating", "window_fill",
    "calibration",
}  # fmt: skip


def test_the_report_is_whole_in_one_page_and_needs_no_network(found: dict[str, Any], tmp_path: Path) -> None:
    text = written.write(found, tmp_path / "out").read_text(encoding="utf-8")
    assert "<title>A made-up study</title>" in text
    assert "://" not in text
    sources = re.findall(r'src="([^"]{0,30})', text)
    assert len(sources) == len(PICTURES)
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    images = list((tmp_path / "out").glob("*.png"))
    assert {path.stem for path in images} == PICTURES
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in images)
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == json.loads(written.as_json(found))


def test_a_report_without_a_training_log_says_so(found: dict[str, Any]) -> None:
    bare = {**found, "training_logs": [{"seed": 3, "records": []}]}
    assert "No log.jsonl" in page(bare, {})
    assert pictures.training(bare) is None


def test_a_terminal_of_80_columns_shows_every_figure_with_its_spread(found: dict[str, Any]) -> None:
    """The widest that there are: a class as large as the official test file's dos, a spread everywhere."""
    wide = {
        name: {"sd": 0.263, "low": 0.0, "high": 1.0} for name in ("precision", "recall", "flagged", "auc")
    }
    points = {
        name: {
            **of,
            "per_class": {
                label: {**it, "support": 229_853, "spread": wide} for label, it in of["per_class"].items()
            },
        }
        for name, of in found["operating_points"].items()
    }
    text = io.StringIO()
    print_study(Console(file=text, width=80), {**found, "operating_points": points})
    assert "…" not in text.getvalue()
    assert max(map(len, text.getvalue().splitlines())) <= 80
    assert text.getvalue().count("229,853 ") == len(points) * len(DETECTOR.classes)
    assert "0.263" in text.getvalue()


def test_what_a_file_is_called_cannot_become_markup(found: dict[str, Any]) -> None:
    named = {**found, "title": "<script>x</script>", "split": {**found["split"], "name": "<b>.csv"}}
    text = page(named, {})
    assert "<script>" not in text
    assert "<b>.csv" not in text


def test_a_report_that_cannot_be_written_is_one_error(found: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(SettingsError, match="cannot be written"):
        written.write(found, tmp_path / "taken")


@pytest.mark.parametrize(("text", "seeds"), [("5", (1, 2, 3, 4, 5)), ("3,9", (3, 9)), ("1", (1,))])
def test_seeds_are_a_count_or_a_list(text: str, seeds: tuple[int, ...]) -> None:
    assert parsed_seeds(text) == seeds


@pytest.mark.parametrize("text", ["0", "", "-3", "1,1", "many", "1,-2"])
def test_seeds_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="--seeds"):
        parsed_seeds(text)
