"""What drove a verdict: shares that add up, depend on no companion, and agree with integrated gradients."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.adapters.store.models import open_store
from streams.codec.ingest.kdd import read_rows
from streams.core.kdd99 import KDD99
from streams.core.tables import Rows
from streams.core.usual import Usual, number_text
from streams.model.detector import Detector
from streams.model.drivers import explanations
from streams.model.explanation import Explainer, usual_event

DETECTOR = Detector.random(KDD99, seed=1)
W = DETECTOR.width
TRAINING_FILE = (
    Path(os.environ.get("AUTODEEP_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    / "kdd99"
    / "kddcup.data_10_percent.gz"
)
Windows = tuple[Rows, np.ndarray, np.ndarray]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def drawn(count: int, seed: int = 0) -> Windows:
    """Made-up rows in windows (N, W) of every fill, and a verdict of every kind in turn."""
    rng = np.random.default_rng(seed)
    rates = np.array([column.is_rate for column in KDD99.numeric])
    size = (count * W, len(KDD99.numeric))
    numbers = np.where(rates, rng.random(size), np.expm1(rng.uniform(0, 7, size)))
    numbers[rng.random(size) < 0.3] = 0.0
    codes = np.stack([rng.integers(0, column.size, count * W) for column in KDD99.symbolic], 1)
    rows = KDD99.pack(np.round(numbers, 2).astype(np.float32), codes.astype(np.uint8)).reshape(count, W)
    fill = rng.integers(1, W + 1, count)
    valid = np.arange(W) >= (W - fill)[:, None]
    return rows, valid, np.arange(count) % len(DETECTOR.verdicts)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_shares_are_finite_and_their_sizes_sum_to_one(seed: int) -> None:
    rows, valid, verdict = drawn(12, seed)
    shares = Explainer(DETECTOR).shares(rows, valid, verdict)
    both = np.concatenate((shares.columns, shares.events), 1)
    assert both.shape == (12, len(KDD99.names) + W - 1)
    assert np.isfinite(both).all()
    np.testing.assert_allclose(np.abs(both).sum(1), 1.0, atol=1e-9)
    assert not shares.events[~valid[:, :-1]].any(), "an event that is not there has no share"


@pytest.mark.parametrize("at", [0, 7, 39])
def test_a_verdict_is_explained_alike_in_any_company(at: int) -> None:
    """Bit for bit: an alert that is published twice must not differ."""
    rows, valid, verdict = drawn(40)
    whole = Explainer(DETECTOR).shares(rows, valid, verdict)
    one = slice(at, at + 1)
    alone = Explainer(DETECTOR).shares(rows[one], valid[one], verdict[one])
    assert np.array_equal(alone.columns[0], whole.columns[at])
    assert np.array_equal(alone.events[0], whole.events[at])


def test_what_lies_in_places_that_hold_no_event_changes_nothing() -> None:
    rows, valid, verdict = drawn(12)
    found = Explainer(DETECTOR).shares(rows, valid, verdict)
    rows = rows.copy()
    rows[~valid] = drawn(12, seed=9)[0][~valid]
    other = Explainer(DETECTOR).shares(rows, valid, verdict)
    assert np.array_equal(found.columns, other.columns)
    assert np.array_equal(found.events, other.events)


def test_a_model_that_says_the_same_of_everything_gives_no_shares_and_no_nan() -> None:
    detector = Detector.random(KDD99, seed=2)
    with torch.no_grad():
        for parameter in detector.network.classifier.parameters():
            parameter.zero_()
    detector = detector.at("")  # compiled anew
    rows, valid, _ = drawn(6)
    shares = Explainer(detector).shares(rows, valid, np.arange(6) % 5)
    assert not shares.columns.any()
    assert not shares.events.any()


@pytest.mark.parametrize(("window", "embedding"), [(1, 16), (8, 0), (16, 16)])
def test_models_of_other_shapes_are_explained_too(window: int, embedding: int) -> None:
    """Trained on single records, or as in the paper without an encoding, or of the widest window."""
    detector = Detector.random(KDD99, seed=3, window=window, embedding=embedding)
    rows = np.concatenate((drawn(6)[0], drawn(6, seed=1)[0]), 1)[:, -window:]
    shares = Explainer(detector).shares(rows, np.ones((6, window), bool), np.arange(6))
    assert shares.events.shape == (6, window - 1)
    np.testing.assert_allclose(np.abs(shares.columns).sum(1) + np.abs(shares.events).sum(1), 1.0)


def test_a_column_that_is_as_usual_has_no_share() -> None:
    rows, valid, _ = drawn(10)
    reference = usual_event(DETECTOR)[0]
    rows["numbers"][:, -1, 4:] = reference["numbers"][4:]
    shares = Explainer(DETECTOR).shares(rows, valid, np.full(10, 2))
    assert not shares.columns[:, 4 : len(KDD99.numeric)].any()
    assert shares.columns[:, :4].any()


def test_events_of_a_burst_share_what_the_burst_as_a_whole_did() -> None:
    """Each alone is hardly missed, and yet it is the history that speaks."""
    rows, valid, verdict = drawn(1)
    rows[:], valid[:], verdict[:] = rows[0, -1], True, 2
    explainer = Explainer(DETECTOR)
    shares = explainer.shares(rows, valid, verdict)

    def odds(there: np.ndarray) -> float:
        found = DETECTOR.classify(DETECTOR.encode(rows[0]), np.arange(W)[None], there[None]).posterior[0]
        return float(np.log(found[2]) - np.log(found[0]))

    alone = np.arange(W) == W - 1
    falls = np.array([odds(valid[0]) - odds(np.arange(W) != place) for place in range(W - 1)])
    together = abs(odds(valid[0]) - odds(alone))
    np.testing.assert_allclose(
        shares.events[0] / np.abs(shares.events[0]).sum(), falls / np.abs(falls).sum(), atol=1e-3
    )
    columns = np.array(
        [abs(odds(valid[0]) - odds_of(rows[0], place, reference=explainer.reference)) for place in range(41)]
    )
    assert np.abs(shares.events[0]).sum() == pytest.approx(together / (together + columns.sum()), abs=1e-3)


def odds_of(window: Rows, column: int, reference: Rows) -> float:
    """The plain way: one column of the present event as usual, and the verdict asked again."""
    changed = window.copy()
    part, place = (
        ("numbers", column) if column < len(KDD99.numeric) else ("codes", column - len(KDD99.numeric))
    )
    changed[part][-1, place] = reference[part][0, place]
    found = DETECTOR.classify(DETECTOR.encode(changed), np.arange(W)[None], np.ones((1, W), bool)).posterior[
        0
    ]
    return float(np.log(found[2]) - np.log(found[0]))


def test_of_a_novel_event_the_worst_explained_columns_and_the_events_of_its_service_are_told() -> None:
    rows, valid, verdict = drawn(8)
    verdict[:] = len(DETECTOR.classes)
    shares = Explainer(DETECTOR).shares(rows, valid, verdict)
    assert (shares.columns >= 0).all()
    assert (shares.columns.argmax(1) == DETECTOR.surprise(rows[:, -1]).argmax(1)).all()
    services = rows["codes"][:, :, 1]
    strangers = services[:, :-1] != services[:, -1:]
    assert not shares.events[strangers].any()
    rows["codes"][:, :, 1] = 5
    shares = Explainer(DETECTOR).shares(rows, valid, verdict)
    assert shares.events[valid[:, :-1]].all()


def test_surprise_and_what_the_divergence_weighs_are_the_score() -> None:
    rows = drawn(10)[0][:, -1]
    of, vae = DETECTOR.features(rows), DETECTOR.network.vae
    with torch.inference_mode():
        mean, score = vae(of)
        divergence = vae.weigh(vae.terms(of, mean, vae.encode(of)[1]))[:, -1]
    surprise = DETECTOR.surprise(rows)
    assert (surprise >= 0).all()
    np.testing.assert_allclose(surprise.sum(1), (score - divergence).numpy(), rtol=1e-4)


@pytest.mark.parametrize("version", ["kdd99/8", "kdd99/9"])
def test_the_usual_event_of_a_shipped_model_is_normal(version: str) -> None:
    detector = open_store().load(version)
    reference = usual_event(detector)
    alone = np.arange(detector.width)[None] == detector.width - 1
    found = detector.classify(detector.encode(reference), np.zeros((1, detector.width), np.int64), alone)
    assert detector.verdicts[int(found.verdict[0])] == "normal"
    assert found.novelty[0] < 1


USUAL = Usual(((0.0, 3.0),) * len(KDD99.numeric), (("tcp",), ("http", "smtp"), ("SF",)))


def test_words_are_the_largest_features_with_value_and_usual_ranges_and_the_events_that_were_there() -> None:
    parameters = dataclasses.replace(DETECTOR.parameters, usual=dict.fromkeys(DETECTOR.classes, USUAL))
    detector = Detector(DETECTOR.identity, parameters, DETECTOR.network)
    rows, valid, _ = drawn(10)
    verdict = np.full(10, 2)
    told = explanations(detector, (rows, valid), verdict, verdict, most=4)
    shares = Explainer(detector).shares(rows, valid, verdict)
    for place, explanation in enumerate(told):
        sizes = [abs(driver.share) for driver in explanation.features]
        assert sizes == sorted(sizes, reverse=True)
        assert len(sizes) == 4
        assert len(explanation.events) == valid[place].sum() - 1
        for driver in explanation.features:
            column = KDD99.names.index(driver.feature)
            assert driver.share == round(shares.columns[place, column], 3)
            assert driver.usual == driver.normal == USUAL.text(column)
            if column < len(KDD99.numeric):
                assert float(driver.value) == pytest.approx(rows["numbers"][place, -1, column], abs=0.006)


def test_windows_that_are_alike_are_told_alike_and_each_as_if_it_were_alone() -> None:
    usual = {
        name: dataclasses.replace(USUAL, numbers=((0.0, float(place)),) * len(KDD99.numeric))
        for place, name in enumerate(DETECTOR.classes)
    }
    parameters = dataclasses.replace(DETECTOR.parameters, usual=usual)
    detector = Detector(DETECTOR.identity, parameters, DETECTOR.network)
    rows, valid, verdict = drawn(6)
    order, closest = np.array([3, 0, 3, 5, 0, 1, 2, 4, 3]), np.arange(9) % 3
    told = explanations(detector, (rows[order], valid[order]), verdict[order], closest)
    for i, (place, explanation) in enumerate(zip(order, told, strict=True)):
        alone = [place]
        assert [explanation] == explanations(
            detector, (rows[alone], valid[alone]), verdict[alone], closest[i : i + 1]
        )
    other = np.where(valid, rows, rows[::-1])  # what lies where no event is
    assert explanations(detector, (other[order], valid[order]), verdict[order], closest) == told


def test_a_model_without_what_is_usual_leaves_it_empty() -> None:
    rows, valid, verdict = drawn(1)
    (explanation,) = explanations(DETECTOR, (rows, valid), verdict + 1, verdict + 1)
    assert {(driver.usual, driver.normal) for driver in explanation.features} == {("", "")}
    assert explanations(DETECTOR, (rows[:0], valid[:0]), verdict[:0], verdict[:0]) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (231.0, "231"), (0.05, "0.05"), (0.5, "0.5"), (3e38, "3e+38"), (100, "100")],
)
def test_numbers_are_written_without_idle_digits(value: float, text: str) -> None:
    assert number_text(value) == text


def test_ranges_and_symbols_are_written_for_people() -> None:
    usual = dataclasses.replace(USUAL, numbers=((1.0, 1.0), *USUAL.numbers[1:]))
    assert usual.text(0) == "1"
    assert usual.text(1) == "0..3"
    assert usual.text(len(KDD99.numeric) + 1) == "http, smtp"


@pytest.mark.data
@pytest.mark.skipif(not TRAINING_FILE.is_file(), reason="the KDD'99 training file is not here")
def test_on_real_alerts_it_agrees_with_integrated_gradients() -> None:
    from bench.explain import agreement, alerts, gradients
    from bench.gradients import integrated_gradients

    detector = open_store().load("kdd99@champion")
    found = alerts(detector, read_rows(TRAINING_FILE, KDD99), per_type=3)
    parts, difference = integrated_gradients(detector, found.rows[0], found.valid[0], int(found.verdict[0]))
    assert parts.sum() == pytest.approx(difference, rel=0.1), "integrated gradients add up"
    shares = Explainer(detector).shares(found.rows, found.valid, found.verdict)
    figures = agreement(shares, gradients(detector, found))
    assert figures["top_5_features_in_common"] > 0.75
    assert figures["first_among_their_3"] > 0.75
    assert figures["rank_correlation"] > 0.9
    backwards = dataclasses.replace(shares, columns=shares.columns[:, ::-1].copy())
    assert agreement(backwards, gradients(detector, found))["top_5_features_in_common"] < 0.5
