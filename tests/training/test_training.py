"""Training's laws: cleansing counts everything, nothing leaks between the sides, runs resume exactly."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from typer.testing import CliRunner

from streams.adapters.store.models import open_store
from streams.cli.train import app as train_app
from streams.codec.ingest.kdd import KddRows
from streams.core.decisions import unknown_share
from streams.core.kdd99 import KDD99
from streams.core.tables import Rows
from streams.errors import AutodeepError, DataError, ModelRejected
from streams.model.detector import Detector
from streams.training import log as run_log
from streams.training.binning import bin_edges, table
from streams.training.calibrate import (
    Scored,
    best_temperature,
    flagged_shares,
    logistic,
    with_points,
)
from streams.training.dataset import TAXONOMIES, TrainingSet, cleanse, distinct_vectors, held_out
from streams.training.evaluate import evaluate_rows
from streams.training.fit import fit
from streams.training.folds import folds
from streams.training.plan import Plan
from streams.training.run import Run
from streams.training.sampling import vae_weights
from streams.training.usual import usual_values
from streams.training.windows import hide_history, interleave, windows

QUICK = Plan(
    seed=4,
    vae_steps=30,
    classifier_steps=30,
    vae_batch=64,
    classifier_batch=32,
    checkpoint_every_steps=10,
    validate_every_steps=10,
    folds=2,
    normal_kinds=6,
)


def some_rows(rng: np.random.Generator, kind: int, count: int) -> Rows:
    """Rows of one kind: kinds differ in level and service."""
    numbers = np.round(rng.random((count, len(KDD99.numeric))) * (1 + 3 * kind), 3).astype(np.float32)
    return KDD99.pack(numbers, np.tile(np.array([2, 10 + kind, 10], np.uint8), (count, 1)))


def made_up(labels: tuple[str, ...] = ("neptune", "normal", "satan"), seed: int = 0) -> KddRows:
    """A file of 3,000 made-up rows in which every tenth row repeats one before it."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, len(labels), 3000)
    rows = np.concatenate([some_rows(rng, int(kind), 1) for kind in label])
    for place in range(10, 3000, 10):
        source = place - int(rng.integers(1, 10))
        rows[place], label[place] = rows[source], label[source]
    return KddRows(rows, label.astype(np.int64), labels, np.arange(1, 3001), {"not a number": 2}, KDD99)


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    return cleanse(made_up(), TAXONOMIES["kdd99"])


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def run_of(data: TrainingSet, plan: Plan = QUICK, folder: Path | None = None) -> Run:
    validate = held_out(data, plan.seed)
    return Run(data, ~validate, validate, plan, folder)


def weights(detector: Detector) -> dict[str, torch.Tensor]:
    return dict(detector.network.state_dict())


def assert_equal_models(one: Detector, other: Detector) -> None:
    assert one.parameters == other.parameters
    for name, tensor in weights(one).items():
        assert torch.equal(tensor, weights(other)[name]), name


def test_cleansing_accounts_for_every_line(data: TrainingSet) -> None:
    found = data.cleansing
    assert found.read == 3002
    assert found.distinct + found.repeats == 3000
    assert found.repeats == 299
    assert sum(found.per_class.values()) + found.contradictory + found.without_class == 3000
    assert found.left_out == {"not a number": 2}


def test_rows_of_one_vector_with_two_classes_are_counted_and_not_learnt_from() -> None:
    read = made_up()
    read.rows[100] = read.rows[200]
    read.label[100], read.label[200] = 0, 1
    found = cleanse(read, TAXONOMIES["kdd99"])
    assert found.cleansing.contradictory >= 2
    assert found.target[[100, 200]].tolist() == [-1, -1]
    assert len(found.rows) == 3000  # they stay as history


def test_two_types_of_one_class_are_no_contradiction() -> None:
    read = made_up(("neptune", "normal", "smurf"))
    read.rows[100] = read.rows[200]
    read.label[100], read.label[200] = 0, 2
    assert cleanse(read, TAXONOMIES["kdd99"]).target[100] == 2


def test_the_papers_taxonomy_leaves_out_what_it_has_no_class_for() -> None:
    found = cleanse(made_up(), TAXONOMIES["paper"])
    assert found.cleansing.without_class == int((made_up().label == 2).sum())
    assert set(found.target.tolist()) == {-1, 0, 1}


def test_a_file_without_attacks_or_with_unknown_labels_is_refused() -> None:
    with pytest.raises(DataError, match="at least one class of attacks"):
        cleanse(made_up(("normal",)), TAXONOMIES["kdd99"])
    with pytest.raises(DataError, match="'martian'"):
        cleanse(made_up(("martian", "normal")), TAXONOMIES["kdd99"])


@given(seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_no_vector_stands_on_both_sides_and_rare_types_are_all_learnt_from(seed: int) -> None:
    read = made_up(("neptune", "normal", "satan"), seed=3)
    read.label[(read.label == 2) & (np.arange(3000) > 150)] = 0  # satan becomes rare
    data = cleanse(read, TAXONOMIES["kdd99"])
    out = held_out(data, seed)
    assert not set(data.vector[out]) & set(data.vector[~out])
    assert not (out & (data.label == 2) & (data.target >= 0)).any()
    assert (out & (data.target == 0)).any()


def test_distinct_vectors_are_found_by_all_columns() -> None:
    rows = some_rows(np.random.default_rng(0), 0, 4)
    rows[2] = rows[0]
    rows[3] = rows[0]
    rows["codes"][3, 2] = 1
    first, vector = distinct_vectors(rows)
    assert len(first) == 3
    assert vector[0] == vector[2] != vector[3]


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    width=st.integers(1, 5),
)
def test_a_window_holds_the_last_rows_of_its_device_oldest_first(lengths: list[int], width: int) -> None:
    starts = np.cumsum([0, *lengths[:-1]])
    index, valid = windows(np.arange(sum(lengths)), starts, width)
    for device, length in enumerate(lengths):
        for place in range(length):
            at = int(starts[device]) + place
            expected = list(range(max(int(starts[device]), at - width + 1), at + 1))
            assert index[at][valid[at]].tolist() == expected
            assert valid[at, -1]


def test_hidden_history_never_hides_the_present_event_nor_leaves_holes() -> None:
    rng = np.random.default_rng(0)
    shown = hide_history(np.ones((5000, 16), bool), 0.3, rng)
    assert shown[:, -1].all()
    assert (np.diff(shown.astype(int), axis=1) >= 0).all()
    assert 0.25 < (shown.sum(1) == 1).mean() < 0.4


@given(seed=st.integers(0, 1000), share=st.floats(0, 1))
@settings(deadline=None, max_examples=50)
def test_strangers_between_events_keep_their_order_and_the_present_one(seed: int, share: float) -> None:
    """What is left of a window when the strangers are taken out is its newest part."""
    index = np.tile(np.arange(8), (20, 1))
    mixed, valid = interleave(
        index, np.ones_like(index, bool), np.array([99]), share, np.random.default_rng(seed)
    )
    assert (mixed[:, -1] == 7).all()
    for window, shown in zip(mixed, valid, strict=True):
        own = window[shown & (window != 99)]
        assert own.tolist() == list(range(8 - len(own), 8))


def test_interleaving_touches_about_the_share_of_windows_that_it_should() -> None:
    index = np.tile(np.arange(8), (4000, 1))
    mixed, _ = interleave(index, np.ones_like(index, bool), np.array([99]), 0.5, np.random.default_rng(0))
    assert 0.35 < (mixed != index).any(1).mean() < 0.5


def test_bins_begin_at_common_values_and_quantiles() -> None:
    """By hand: half of the rows are 0, a fifth 0.5; between them ten values once each."""
    values = np.concatenate((np.zeros(50), np.full(20, 0.5), np.linspace(0.51, 1, 30))).astype(np.float32)
    (edges,) = bin_edges(values[:, None], np.ones(100), 4, 2)
    assert edges[:2].tolist() == [0.5, np.float32(0.51)]  # 0.5 has a bin of its own
    assert 0.55 < edges[2] < 0.65  # the third quartile
    (constant,) = bin_edges(np.zeros((5, 1), np.float32), np.ones(5), 4, 2)
    assert len(constant) == 0
    assert table([edges, constant]).shape == (2, 3)


def test_the_temperature_undoes_an_overconfidence_that_was_put_in() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 1.5, (20000, 3))
    chance = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    truth = (rng.random((20000, 1)) > chance.cumsum(1)).sum(1)
    sharper = chance**2
    assert best_temperature(sharper / sharper.sum(1, keepdims=True), truth) == pytest.approx(2.0, rel=0.1)


def test_the_logistic_curve_is_found_again() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 2, 50000)
    positive = rng.random(50000) < 1 / (1 + np.exp(1 - 2 * x))
    assert logistic(x, positive, np.ones(50000)) == pytest.approx((-1.0, 2.0), abs=0.1)


def test_training_learns_and_the_same_seed_gives_the_same_model(data: TrainingSet) -> None:
    plan = dataclasses.replace(QUICK, vae_steps=60, classifier_steps=120)
    losses: dict[str, list[float]] = defaultdict(list)
    run = dataclasses.replace(
        run_of(data, plan), report=lambda phase, step, of, loss: losses[phase].append(loss)
    )
    detector = fit(run)
    assert np.mean(losses["vae"][-10:]) < 0.8 * np.mean(losses["vae"][:10])
    assert np.mean(losses["classifier"][-10:]) < 0.5 * np.mean(losses["classifier"][:10])
    assert_equal_models(detector, fit(run_of(data, plan)))


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    ("phase", "step"), [("vae", 17), ("classifier", 5), ("classifier", 25), ("vae, fold 2", 15)]
)
def test_a_killed_run_resumed_equals_one_that_was_never_killed(
    data: TrainingSet, tmp_path: Path, phase: str, step: int
) -> None:
    def kill(at_phase: str, at_step: int, steps: int, loss: float) -> None:
        if (at_phase, at_step) == (phase, step):
            raise Killed

    with pytest.raises(Killed):
        fit(dataclasses.replace(run_of(data, QUICK, tmp_path), report=kill))
    steps: list[tuple[str, int]] = []
    again = dataclasses.replace(
        run_of(data, QUICK, tmp_path), report=lambda phase, step, of, loss: steps.append((phase, step))
    )
    resumed = fit(again, resume=True)
    assert steps[0] == (phase, step // 10 * 10 + 1) if step >= 10 else steps[0][1] == 1
    assert_equal_models(resumed, fit(run_of(data)))
    told = [(entry["phase"], entry["step"]) for entry in run_log.read(tmp_path)]
    assert told == [(name, at) for name in ("vae", "classifier") for at in (10, 20, 30)]


def test_the_log_tells_losses_and_what_the_held_out_rows_say(data: TrainingSet, tmp_path: Path) -> None:
    fit(run_of(data, QUICK, tmp_path))
    vae, *_, last = run_log.read(tmp_path)
    assert vae["validation_loss"] > 0
    assert vae["validation_accuracy"] is None
    assert 0 <= last["validation_accuracy"] <= 1
    assert last["validation_cost"] >= 0
    assert last["elapsed_s"] >= vae["elapsed_s"] >= 0


def held_out_accuracy(read: KddRows) -> tuple[float, float]:
    """How often the likeliest class of held-out rows is the right one, and how often the commonest one is."""
    data = cleanse(read, TAXONOMIES["kdd99"])
    run = run_of(data, dataclasses.replace(QUICK, classifier_steps=300))
    chosen = run.validate & (data.target >= 0)
    truth = data.target[chosen]
    likeliest = evaluate_rows(fit(run), data.rows).posterior[chosen].argmax(1)
    return float((likeliest == truth).mean()), float(np.bincount(truth).max() / len(truth))


def test_a_model_trained_on_shuffled_labels_scores_at_chance_on_held_out_rows() -> None:
    """A leak between the sides, or of the label into the features, would show here."""
    read = made_up()
    assert held_out_accuracy(read)[0] > 0.9
    np.random.default_rng(5).shuffle(read.label)
    accuracy, commonest = held_out_accuracy(read)
    assert accuracy < commonest + 0.08


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    data: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    original = functional.cross_entropy

    def poisoned(*args: Any, **options: Any) -> torch.Tensor:
        nonlocal calls
        of_classifier = "label_smoothing" in options
        calls += of_classifier
        return original(*args, **options) * (float("nan") if of_classifier and calls == 16 else 1.0)

    monkeypatch.setattr(functional, "cross_entropy", poisoned)
    with pytest.raises(AutodeepError, match="the loss is nan at step 15 of the classifier"):
        fit(run_of(data, QUICK, tmp_path))
    resumed = fit(run_of(data, QUICK, tmp_path), resume=True)
    assert all(torch.isfinite(tensor).all() for tensor in weights(resumed).values())


def test_a_checkpoint_of_other_options_or_a_broken_one_is_refused(data: TrainingSet, tmp_path: Path) -> None:
    fit(run_of(data, QUICK, tmp_path))
    with pytest.raises(DataError, match="other data or options"):
        fit(run_of(data, dataclasses.replace(QUICK, dropout=0.2), tmp_path), resume=True)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(DataError, match="cannot be read"):
        fit(run_of(data, QUICK, tmp_path), resume=True)


def test_scaling_and_vocabulary_come_from_the_rows_that_are_learnt_from_alone(data: TrainingSet) -> None:
    run = run_of(data)
    data.rows["numbers"][np.flatnonzero(run.validate)[0], 1] = 1e6
    try:
        detector = fit(run)
    finally:
        data.rows["numbers"][np.flatnonzero(run.validate)[0], 1] = 1.0
    assert max(detector.parameters.high) < np.log1p(20)
    assert detector.parameters.seen_codes == ((2,), (10, 11, 12), (10,))


def test_what_is_usual_comes_from_the_rows_of_a_class_that_are_learnt_from() -> None:
    read = made_up()
    read.rows["numbers"][:, 5] = np.arange(3000)
    data = cleanse(read, TAXONOMIES["kdd99"])
    learn = np.zeros(3000, bool)
    normal = np.flatnonzero(data.target == 0)[:100]
    learn[normal] = True
    read.rows["codes"][normal[:20], 2] = 9
    read.rows["codes"][normal[20:24], 2] = 8
    found = usual_values(data, learn)
    assert list(found) == ["normal"]
    assert found["normal"].numbers[5] == (normal[4], normal[94])
    assert found["normal"].symbols == (("tcp",), (KDD99.symbolic[1].symbols[10],), ("SF", "S3"))


def test_a_trained_model_says_what_is_usual_in_its_classes_after_the_store_too(
    data: TrainingSet, tmp_path: Path
) -> None:
    detector = fit(run_of(data))
    assert list(detector.parameters.usual) == ["normal", "probe", "dos"]
    store = open_store(str(tmp_path))
    store.save(detector, "m", "1", {}, "")
    assert store.load("m/1").parameters == detector.parameters


def test_repetition_is_learnt_from_no_row_that_is_left_out(data: TrainingSet) -> None:
    run, rows = run_of(data), data.rows.copy()
    rows["numbers"][run.validate] *= 3.0
    rows["codes"][run.validate] = 2
    first, vector = distinct_vectors(rows)
    other = dataclasses.replace(data, rows=rows, first=first, vector=vector)
    one, same = (fit(dataclasses.replace(run, data=of)).network.repetition for of in (data, other))
    assert one.any()
    assert torch.equal(one, same)


def test_the_novelty_threshold_lets_about_half_a_percent_of_held_out_normals_pass(data: TrainingSet) -> None:
    run = run_of(data)
    detector = fit(run)
    normal = run.validate & (data.target == 0)
    novelty = detector.encode(data.rows[normal])[:, detector.parameters.shape.latent]
    assert (novelty > 1).mean() <= 0.01
    assert novelty.max() >= 1


def held(rng: np.random.Generator, count: int = 2000) -> Scored:
    """Scores as a fold's model might give them: attacks look odder and less normal than normals do."""
    part = rng.integers(0, 3, count)
    normal = np.clip(rng.beta(8, 1, count) - 0.5 * (part == 2) * rng.random(count), 0.001, 0.999)
    posterior = np.stack((normal, *[(1 - normal) / 4] * 4), 1)
    novelty = rng.gamma(2.0, 0.3, count) + 0.2 * (part == 1) + 1.5 * (part == 2)
    return Scored(posterior, novelty, rng.integers(0, 5, count), part == 0, part == 1)


@given(seed=st.integers(0, 1000), wanted=st.floats(0.05, 0.95))
@settings(deadline=None, max_examples=20)
def test_the_operators_point_makes_false_alarms_as_dear_as_unseen_attack_types_allow(
    seed: int, wanted: float
) -> None:
    folds = [held(np.random.default_rng((seed, number))) for number in range(2)]
    plan = dataclasses.replace(QUICK, operator_types_flagged=wanted)
    found = with_points(Detector.random(KDD99), folds, plan).parameters
    assert found.operating_points["contest"].false_alarm_factor == 1
    factor = found.operating_points["operator"].false_alarm_factor
    assert flagged_shares(found, folds, factor).types >= wanted or factor == 0.5
    assert factor == 512 or flagged_shares(found, folds, factor * 1.13).types < wanted


def test_shares_are_of_normals_and_of_types_each_alike() -> None:
    """Ten rows of one type of which none is flagged, one of another that is: half of the types."""
    sure, not_at_all = (0.0, 0.0, 1.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 0.0)
    held_out = np.array([True] * 4 + [False] * 13)
    unseen = np.array([False] * 4 + [True] * 2 + [False] * 11)
    posterior = np.array([sure] + [not_at_all] * 3 + [sure, not_at_all] + [not_at_all] * 10 + [sure])
    label = np.array([9] * 6 + [1] * 10 + [2])
    found = Detector.random(KDD99).parameters
    shares = flagged_shares(found, [Scored(posterior, np.zeros(17), label, held_out, unseen)], 1.0)
    assert (shares.held_out, shares.unseen, shares.types) == (0.25, 0.5, 0.5)


def test_how_many_rows_a_kind_or_a_type_has_changes_no_share_of_the_unknown() -> None:
    rows = held(np.random.default_rng(1))
    often = np.where(rows.held_out, 1, 1 + 9 * (rows.label == 3))  # (N,) how often each row stands there
    more = Scored(*(np.repeat(getattr(rows, of.name), often, 0) for of in dataclasses.fields(Scored)))
    once, again = (with_points(Detector.random(KDD99), [of], QUICK).parameters for of in (rows, more))
    assert again.unknown_offset == pytest.approx(once.unknown_offset, rel=1e-3)
    assert again.unknown_slope == pytest.approx(once.unknown_slope, rel=1e-3)


def test_the_share_of_unknown_attacks_grows_with_novelty() -> None:
    found = with_points(Detector.random(KDD99), [held(np.random.default_rng(1))], QUICK).parameters
    share = unknown_share(np.array([0.2, 1.0, 3.0]), found.unknown_offset, found.unknown_slope)
    assert share[0] < share[1] < 0.5 < share[2]


@given(seed=st.integers(0, 50), count=st.integers(2, 4))
@settings(deadline=None, max_examples=15)
def test_each_attack_type_and_each_kind_of_normal_is_left_out_by_one_fold_and_no_vector_is_on_both_sides(
    seed: int, count: int
) -> None:
    data = cleanse(made_up(("neptune", "normal", "satan", "pod"), seed), TAXONOMIES["kdd99"])
    plan = dataclasses.replace(QUICK, folds=count, normal_kinds=12)
    found = list(folds(data, plan))
    times = np.sum([fold.left_out for fold in found], axis=0)
    assert (times[data.target >= 0] == 1).all()
    for fold in found:
        inside, outside = data.vector[fold.left_out], data.vector[~fold.left_out & (data.target >= 0)]
        assert not set(inside.tolist()) & set(outside.tolist())
        assert (data.target[fold.normals] == 0).all()
        assert (data.target[fold.attacks] != 0).all()
        for label in np.unique(data.label[data.target > 0]):
            of_type = fold.attacks[(data.label == label) & (data.target > 0)]
            assert of_type.all() or not of_type.any()


def test_a_kind_with_a_hundred_times_the_events_is_drawn_ten_times_as_often(data: TrainingSet) -> None:
    kind = np.arange(505) % 101 // 100  # one vector in 101 is of the second kind
    once_each = dataclasses.replace(data, vector=np.arange(505), first=np.arange(505))
    drawn = vae_weights(once_each, np.ones(505, bool), kind)
    assert drawn[kind == 0].sum() == pytest.approx(10 * drawn[kind == 1].sum())
    assert not vae_weights(once_each, kind == 1, kind)[kind == 0].any()


def test_within_a_kind_a_vector_is_drawn_by_the_square_root_of_its_rows(data: TrainingSet) -> None:
    drawn = vae_weights(data, np.ones(len(data.rows), bool), np.zeros(len(data.first), np.int64))
    repeats = np.bincount(data.vector)
    assert np.allclose(drawn / drawn[0], np.sqrt(repeats / repeats[0]))


def test_a_plan_is_plain_json() -> None:
    assert json.loads(json.dumps(dataclasses.asdict(Plan())))["window"] == 8


def train(*arguments: object, protocol: str = "kdd99") -> dict[str, Any]:
    result = CliRunner().invoke(train_app, [protocol, *map(str, arguments), "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def written(read: KddRows, path: Path) -> None:
    """The rows as a KDD'99 file."""
    lines = []
    for row, label in zip(read.rows, read.label, strict=True):
        symbols = [c.symbols[code - 1] for c, code in zip(KDD99.symbolic, row["codes"], strict=True)]
        numbers = [f"{value:.3f}" for value in row["numbers"]]
        lines.append(",".join([numbers[0], *symbols, *numbers[1:], read.labels[label] + "."]))
    path.write_text("\n".join(lines) + "\n")


def test_the_command_trains_resumes_and_numbers_its_versions(tmp_path: Path) -> None:
    written(made_up(), tmp_path / "kddcup.data_10_percent")
    options = [
        "--data",
        tmp_path,
        "--out",
        tmp_path / "store",
        "--run-dir",
        tmp_path / "run",
        "--limit-steps",
        20,
    ]
    first = train(*options, "--alias", "challenger")
    again = train(*options, "--resume")
    assert (first["model"]["version"], again["model"]["version"]) == ("1", "2")
    assert first["training"]["command"] == "autodeep train kdd99 --data DIR --seed 1 --limit-steps 20"
    store = open_store(str(tmp_path / "store"))
    assert store.load("kdd99@challenger").identity.version == "1"
    assert_equal_models(store.load("kdd99/1"), store.load("kdd99/2"))
    assert "Not read for this artifact" in store.describe("kdd99/1")[1]
    with pytest.raises(ModelRejected, match="immutable"):
        train(*options, "--version", "1")


def test_the_papers_three_classes_can_be_trained(tmp_path: Path) -> None:
    written(made_up(("neptune", "normal", "rootkit")), tmp_path / "kddcup.data_10_percent")
    train(
        "--data", tmp_path, "--out", tmp_path, "--run-dir", tmp_path, "--limit-steps", 5, protocol="paper"
    )  # fmt: skip
    assert open_store(str(tmp_path)).load("paper/1").verdicts == ("normal", "dos", "u2r", "novel")


def test_nsl_kdd_is_learnt_record_by_record_from_a_folder_without_a_test_file(tmp_path: Path) -> None:
    written(made_up(), tmp_path / "KDDTrain+.txt")
    train(
        "--data", tmp_path, "--out", tmp_path, "--run-dir", tmp_path / "run", "--limit-steps", 5,
        protocol="nsl-kdd",
    )  # fmt: skip
    detector = open_store(str(tmp_path)).load("nsl-kdd/1")
    assert detector.width == 1
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "checkpoint.safetensors",
        "curves.png",
        "fold-1",
        "fold-2",
        "fold-3",
        "log.jsonl",
    ]


@pytest.mark.parametrize("protocol", ["kdd99", "nsl-kdd", "paper"])
def test_a_missing_training_file_is_one_clear_line(tmp_path: Path, protocol: str) -> None:
    with pytest.raises(DataError, match="fetch it with `autodeep data fetch"):
        train("--data", tmp_path, "--out", tmp_path, protocol=protocol)
