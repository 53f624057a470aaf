"""The detector's laws: a verdict depends on its own window, and on nothing else in the batch."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.decisions import CONTEST_COST, decide, expected_cost, unknown_share, with_false_alarms
from streams.core.kdd99 import KDD99
from streams.core.tables import Rows
from streams.errors import SettingsError
from streams.model.blocks import MANY_ROWS
from streams.model.detector import Detector, Verdicts
from streams.model.network import Network

DETECTOR = Detector.random(KDD99, seed=7)
EVENTS = 900
WINDOWS = 700


def some_rows(rng: np.random.Generator, count: int) -> Rows:
    numbers = np.exp(rng.uniform(-3, 12, (count, len(KDD99.numeric)))).astype(np.float32)
    codes = np.stack([rng.integers(0, column.size, count) for column in KDD99.symbolic], 1).astype(np.uint8)
    return KDD99.pack(numbers, codes)


RNG = np.random.default_rng(1)
ROWS = some_rows(RNG, EVENTS)
LATENTS = DETECTOR.encode(ROWS)
INDEX = RNG.integers(0, EVENTS, (WINDOWS, DETECTOR.width))
VALID = RNG.random((WINDOWS, DETECTOR.width)) < 0.7
VALID[:, -1] = True
ALL = DETECTOR.classify(LATENTS, INDEX, VALID)


def assert_same(some: Verdicts, chosen: npt.NDArray[np.int64]) -> None:
    """Exactly the same bits as the rows `chosen` of the whole batch."""
    assert np.array_equal(some.posterior, ALL.posterior[chosen])
    assert np.array_equal(some.novelty, ALL.novelty[chosen])
    assert np.array_equal(some.verdict, ALL.verdict[chosen])
    assert np.array_equal(some.closest, ALL.closest[chosen])


choices = st.lists(st.integers(0, WINDOWS - 1), min_size=1, max_size=2 * MANY_ROWS + 1) | st.builds(
    lambda seed, count: np.random.default_rng(seed).permutation(WINDOWS)[:count].tolist(),
    st.integers(0, 2**32 - 1),
    st.integers(1, WINDOWS),
)


@given(chosen=choices, seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_a_verdict_is_bit_equal_in_any_subset_order_and_company_of_masked_garbage(
    chosen: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    places = np.array(chosen)
    index, valid = INDEX[places], VALID[places]
    needed = np.unique(np.concatenate((index[valid], index[:, -1])))
    extra = int(rng.integers(0, 300))
    # Latents in another order, among values of any size that no unmasked place points at.
    latents = (rng.standard_normal((len(needed) + extra, DETECTOR.latent_size)) * 1e30).astype(np.float32)
    slots = rng.permutation(len(latents))[: len(needed)]
    latents[slots] = LATENTS[needed]
    moved = np.zeros(EVENTS, np.int64)
    moved[needed] = slots
    garbage = rng.integers(0, len(latents), index.shape)
    assert_same(DETECTOR.classify(latents, np.where(valid, moved[index], garbage), valid), places)


@pytest.mark.parametrize("place", [0, 11, 12, 23, 24, 47, 48, 63, 64, 511, 512])
def test_an_event_is_encoded_and_judged_alike_alone_and_at_either_end_of_a_block(place: int) -> None:
    among = np.roll(np.arange(place + 1), 5)
    assert np.array_equal(DETECTOR.encode(ROWS[among])[-1:], DETECTOR.encode(ROWS[among[-1:]]))
    found = DETECTOR.classify(LATENTS, INDEX[among], VALID[among])
    assert_same(found, among)
    assert_same(DETECTOR.classify(LATENTS, INDEX[among[-1:]], VALID[among[-1:]]), among[-1:])


@given(chosen=choices)
@settings(deadline=None, max_examples=40)
def test_an_encoding_is_bit_equal_in_any_subset_and_order(chosen: list[int]) -> None:
    assert np.array_equal(DETECTOR.encode(ROWS[np.array(chosen)]), LATENTS[np.array(chosen)])


@pytest.mark.parametrize(("window", "embedding", "weighed"), [(8, 16, True), (1, 0, True), (5, 16, False)])
def test_what_serves_gives_what_the_network_gives_that_is_trained(
    window: int, embedding: int, weighed: bool
) -> None:
    made = Detector.random(KDD99, 4, window, embedding)
    shape = dataclasses.replace(made.parameters.shape, weighed=weighed)
    parameters = dataclasses.replace(made.parameters, shape=shape, temperature=1.7, log_prior=(0.1,) * 5)
    network = Network(shape)
    network.load_state_dict(made.network.state_dict(), strict=weighed)
    detector = Detector(made.identity, parameters, network)
    of, latents = detector.features(ROWS), detector.encode(ROWS)
    index, valid = INDEX[:, -window:], VALID[:, -window:]
    found = detector.classify(latents, index, valid)
    with torch.inference_mode():
        events = network.events(of, network.extract(of, 0.0, parameters.score_threshold))
        windows = torch.from_numpy(latents)[torch.from_numpy(index)]
        scores = network.classifier(windows, torch.from_numpy(valid))
        posterior = torch.softmax(scores / 1.7 - torch.tensor(parameters.log_prior), 1)
        surprise = network.vae.surprise(of)
    assert np.allclose(latents, events.numpy(), rtol=1e-5, atol=1e-5)
    assert np.allclose(found.posterior, posterior.numpy(), rtol=1e-5, atol=1e-5)
    assert np.allclose(detector.surprise(ROWS), surprise.numpy(), rtol=1e-4, atol=1e-3)


def test_masked_values_that_are_not_finite_do_not_reach_the_verdict() -> None:
    latents = np.concatenate((LATENTS, np.full((1, DETECTOR.latent_size), np.nan, np.float32)))
    index = np.where(VALID, INDEX, EVENTS)
    assert_same(DETECTOR.classify(latents, index, VALID), np.arange(WINDOWS))


def test_history_changes_the_verdict_only_where_it_is_not_masked() -> None:
    alone = np.zeros_like(VALID)
    alone[:, -1] = True
    other = DETECTOR.classify(LATENTS, INDEX, alone)
    assert (np.abs(other.posterior - ALL.posterior).max(1) > 1e-3).mean() > 0.9


def test_hostile_rows_give_finite_results() -> None:
    rows = some_rows(RNG, 4)
    rows["numbers"][0] = np.finfo(np.float32).max
    rows["numbers"][1] = 0
    rows["numbers"][2] = -1
    rows["codes"][3] = 255
    latents = DETECTOR.encode(rows)
    index = np.tile(np.arange(4)[:, None], (1, DETECTOR.width))
    verdicts = DETECTOR.classify(latents, index, np.ones(index.shape, bool))
    assert np.isfinite(latents).all()
    assert np.isfinite(verdicts.posterior).all()
    assert np.allclose(verdicts.posterior.sum(1), 1, atol=1e-5)


def test_no_rows_give_no_verdicts() -> None:
    latents = DETECTOR.encode(ROWS[:0])
    verdicts = DETECTOR.classify(
        latents, np.zeros((0, DETECTOR.width), np.int64), np.zeros((0, DETECTOR.width), bool)
    )
    assert latents.shape == (0, DETECTOR.latent_size)
    assert len(verdicts.verdict) == 0


def test_threads_may_share_a_detector() -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: DETECTOR.classify(LATENTS, INDEX, VALID), range(8)))
    for result in results:
        assert_same(result, np.arange(WINDOWS))


def test_a_code_unseen_in_training_counts_as_the_unknown_symbol() -> None:
    rows = np.repeat(ROWS[:1], 2)
    rows["codes"][0, 1] = 0
    rows["codes"][1, 1] = 200
    latents = DETECTOR.encode(rows)
    assert np.array_equal(latents[0], latents[1])


def test_expected_cost_is_the_posterior_times_the_matrix() -> None:
    cost = np.array(CONTEST_COST)
    posterior = np.array([[0.7, 0.0, 0.0, 0.0, 0.3], [1.0, 0.0, 0.0, 0.0, 0.0]])
    assert expected_cost(posterior, cost) == pytest.approx(posterior @ cost)


NOTHING_NEW = np.array([0.0])


def test_a_likely_r2l_is_called_r2l_although_normal_is_likelier() -> None:
    """Calling an R2L normal costs 4, a normal R2L costs 2."""
    verdict, closest = decide(np.array([[0.6, 0.0, 0.0, 0.0, 0.4]]), NOTHING_NEW, np.array(CONTEST_COST))
    assert verdict.tolist() == closest.tolist() == [4]


def test_dearer_false_alarms_leave_the_same_event_normal() -> None:
    posterior = np.array([[0.6, 0.0, 0.0, 0.0, 0.4]])
    assert decide(posterior, NOTHING_NEW, with_false_alarms(CONTEST_COST, 2.0))[0].tolist() == [0]


def test_a_verdict_is_novel_where_the_unknown_outweighs_the_known_kinds() -> None:
    """The unknown takes its share of the normal mass; an attack that is known for sure stays what it is."""
    normal, likely = [0.98, 0.01, 0.01, 0.0, 0.0], [0.3, 0.0, 0.7, 0.0, 0.0]
    dos = [0.01, 0.0, 0.99, 0.0, 0.0]
    verdict, closest = decide(
        np.array([normal, normal, likely, dos]), np.array([0.0, 0.9, 0.2, 1.0]), np.array(CONTEST_COST)
    )
    assert verdict.tolist() == [0, 5, 2, 2]
    assert closest[0] == 0
    assert closest[1] != 0


@given(
    novelty=st.floats(0, 50),
    known=st.lists(st.floats(0.001, 1.0), min_size=5, max_size=5),
    factor=st.floats(1.0, 50.0),
)
def test_dearer_false_alarms_never_turn_a_normal_verdict_into_an_attack(
    novelty: float, known: list[float], factor: float
) -> None:
    posterior = np.array([known]) / sum(known)
    unknown = unknown_share(np.array([novelty]), -6.0, 4.0)
    plain = decide(posterior, unknown, with_false_alarms(CONTEST_COST, 1.0))[0]
    dear = decide(posterior, unknown, with_false_alarms(CONTEST_COST, factor))[0]
    assert plain[0] != 0 or dear[0] == 0


def test_operating_points_differ_in_their_verdicts_alone() -> None:
    contest = DETECTOR.at("contest").classify(LATENTS, INDEX, VALID)
    assert (DETECTOR.operating_point, DETECTOR.at("contest").operating_point) == ("operator", "contest")
    assert DETECTOR.at("").operating_point == "operator"
    assert np.array_equal(contest.posterior, ALL.posterior)
    assert (contest.verdict != 0).sum() > (ALL.verdict != 0).sum()
    assert DETECTOR.at("contest").renamed(DETECTOR.identity).operating_point == "contest"


def test_an_operating_point_that_the_model_lacks_is_named_with_those_it_has() -> None:
    with pytest.raises(SettingsError, match="no operating point 'nosy'; it has contest, operator"):
        DETECTOR.at("nosy")
