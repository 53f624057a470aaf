"""The model's equations against their definitions, computed another way."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from streams.core.tables import KeyPlaces
from streams.model.network import (
    GRU,
    KEYS,
    NO_EDGE,
    TERM_NATS,
    VAE,
    Architecture,
    Features,
    Network,
    OneHotLinear,
    bounded,
    features,
    min_max,
    novelty,
    related,
    smoothed,
)

SHAPE = Architecture(
    bins=(3, 2, 4),
    symbols=(2, 4, 3),
    keys=KeyPlaces(1, 2, 1, 2),
    classes=3,
    window=5,
    latent=2,
    embedding=4,
    gru_hidden=6,
)
EDGES = torch.tensor([[0.2, 0.6, NO_EDGE], [0.5, NO_EDGE, NO_EDGE], [0.25, 0.5, 0.75]])


def some_features(count: int) -> Features:
    generator = torch.Generator().manual_seed(0)
    codes = torch.stack([torch.randint(0, size, (count,), generator=generator) for size in SHAPE.symbols], 1)
    return features(torch.rand(count, 3, generator=generator), codes, EDGES, SHAPE)


def test_min_max_maps_the_training_range_to_0_and_1_and_clips_the_rest() -> None:
    """Eq. 1 on log(1 + x): by hand for a column of 0, 9, 99 seen in training."""
    low, high = torch.tensor([0.0]), torch.tensor([math.log(100)])
    found = min_max(torch.tensor([[0.0], [9.0], [99.0], [5000.0], [3e38]]), low, high)
    assert found.flatten().tolist() == pytest.approx([0, 0.5, 1, 1, 1])


def test_min_max_of_a_column_that_is_constant_in_training_tells_only_more_from_not_more() -> None:
    low = high = torch.tensor([math.log(2)])
    assert min_max(torch.tensor([[0.0], [1.0], [1.5]]), low, high).flatten().tolist() == [0, 0, 1]


def test_a_number_falls_in_the_bin_that_begins_at_or_below_it() -> None:
    scaled = torch.tensor([[0.0, 0.4, 0.24], [0.2, 0.5, 0.25], [1.0, 1.0, 1.0]])
    found = features(scaled, torch.zeros(3, 3, dtype=torch.int64), EDGES, SHAPE).places
    assert found[:, :3].tolist() == [[0, 3, 5], [1, 4, 6], [2, 4, 8]]
    assert found[0, 3:].tolist() == [9, 11, 15]  # the symbols' columns follow


def test_a_one_hot_layer_is_a_linear_layer_on_one_hot_columns() -> None:
    layer, places = OneHotLinear(SHAPE.places, 7, 6), some_features(5).places
    expected = F.one_hot(places, SHAPE.places).sum(1).float() @ layer.weight + layer.bias
    assert torch.allclose(layer(places), expected, atol=1e-6)


def test_the_divergence_is_that_of_two_gaussians() -> None:
    """Eq. 7."""
    mean, log_variance = torch.randn(4, 2), torch.randn(4, 2)
    expected = kl_divergence(Normal(mean, torch.exp(0.5 * log_variance)), Normal(0.0, 1.0)).sum(1)
    assert torch.allclose(VAE.divergence(mean, log_variance), expected, atol=1e-5)


def test_the_reconstruction_is_gaussian_of_numbers_and_categorical_of_symbols() -> None:
    """Eq. 5-6, against the library's densities."""
    vae, of = Network.random(SHAPE, 1).vae, some_features(6)
    with torch.no_grad():
        vae.log_scale.copy_(torch.tensor([-1.0, 0.5, -9.0]))
    z = torch.randn(6, 2)
    value, *logits = torch.split(vae.output(vae.decoder(z)), [3, 2, 4, 3], 1)
    scale = torch.tensor([math.exp(-1.0), math.exp(0.5), math.exp(-5.0)])  # never narrower than that
    numbers = -Normal(value, scale).log_prob(of.scaled)
    found = vae.reconstruction(of, z)
    assert torch.allclose(found[:, :3], numbers, rtol=1e-4, atol=1e-4)
    for column, start in enumerate((9, 11, 15)):
        expected = F.cross_entropy(logits[column], of.places[:, 3 + column] - start, reduction="none")
        assert torch.allclose(found[:, 3 + column], expected, atol=1e-5)


def test_the_loss_draws_z_and_its_mean_over_draws_is_the_elbo() -> None:
    """Eq. 4 and 8: without variance the draw is the mean."""
    vae, of = Network.random(SHAPE, 1).vae, some_features(6)
    with torch.no_grad():
        vae.log_variance.weight.zero_()
        vae.log_variance.bias.fill_(-12.0)
        mean, log_variance = vae.encode(of)
        elbo = vae.reconstruction(of, mean).sum(1) + vae.divergence(mean, log_variance)
        assert torch.allclose(vae.loss(of), elbo, atol=0.2)
        vae.log_variance.bias.fill_(0.0)
        assert not torch.equal(vae.loss(of), vae.loss(of))


def test_the_score_is_the_negative_elbo_at_the_mean() -> None:
    vae, of = Network.random(SHAPE, 1).vae, some_features(6)
    mean, score = vae(of)
    expected = vae.reconstruction(of, mean).sum(1) + vae.divergence(mean, vae.encode(of)[1])
    assert torch.allclose(score, expected, atol=1e-5)
    assert torch.allclose(vae.surprise(of), vae.reconstruction(of, mean) - vae.least, atol=1e-5)


def test_where_the_terms_are_weighed_the_score_is_the_sum_of_what_each_adds() -> None:
    vae, of = Network.random(dataclasses.replace(SHAPE, weighed=True), 1).vae, some_features(6)
    vae.weights.copy_(torch.linspace(0.0, 2.0, 7))
    mean, score = vae(of)
    log_variance = vae.encode(of)[1]
    columns = vae.reconstruction(of, mean) - vae.least
    for column in range(6):
        by_hand = vae.weights[column] * columns[:, column] / (1 + columns[:, column] / TERM_NATS)
        assert torch.allclose(vae.surprise(of)[:, column], by_hand, atol=1e-5)
    divergence = VAE.divergence(mean, log_variance)
    expected = vae.surprise(of).sum(1) + vae.weights[6] * divergence / (1 + divergence / TERM_NATS)
    assert torch.allclose(score, expected, atol=1e-5)
    elbo = vae.reconstruction(of, mean).sum(1) + divergence
    assert torch.allclose(vae.negative_elbo(of), elbo, atol=1e-5), "that is not weighed"


def test_a_bounded_term_grows_with_the_term_and_never_beyond_its_bound() -> None:
    terms = torch.tensor([0.0, 0.01, 1.0, TERM_NATS, 1e6, 1e30])
    found = bounded(terms)
    assert found.tolist() == sorted(found.tolist())
    assert found[1] == pytest.approx(0.01, rel=1e-3)
    assert found[3] == TERM_NATS / 2
    assert found[-1] <= TERM_NATS


def test_a_gru_step_is_equations_9_to_12() -> None:
    """By numpy, a step at a time, r gating the state before the candidate's matrix."""
    torch.manual_seed(0)
    gru = GRU(4, 6)
    x = torch.randn(1, 3, 4)
    W, U, Uc, b = (p.detach().numpy().astype(float) for p in (gru.W, gru.U, gru.U_candidate, gru.b))
    h = np.zeros(6)
    for step in range(3):
        a = x[0, step].numpy() @ W + b
        r = 1 / (1 + np.exp(-(a[:6] + h @ U[:, :6])))
        z = 1 / (1 + np.exp(-(a[6:12] + h @ U[:, 6:])))
        h = (1 - z) * h + z * np.tanh(a[12:] + (r * h) @ Uc)
    found = gru(x, torch.ones(1, 3, 1, dtype=torch.bool), range(3))
    assert found[0].tolist() == pytest.approx(h.tolist(), abs=1e-6)


def test_a_masked_step_leaves_the_state_as_if_it_were_not_there() -> None:
    gru = GRU(4, 6)
    x = torch.randn(1, 3, 4)
    mask = torch.tensor([[[True], [False], [True]]])
    shorter = gru(x[:, [0, 2]], torch.ones(1, 2, 1, dtype=torch.bool), range(2))
    assert torch.allclose(gru(x, mask, range(3)), shorter, atol=1e-6)


def test_both_directions_and_the_last_event_reach_the_output() -> None:
    """Eq. 13: backwards reads from the present event to the oldest."""
    classifier = Network.random(SHAPE, 2).classifier
    events, valid = torch.randn(2, 5, SHAPE.event_size), torch.ones(2, 5, dtype=torch.bool)
    found, events = classifier(events, valid), related(events)
    ahead = classifier.forwards(events, valid.unsqueeze(2), range(5))
    back = classifier.backwards(events.flip(1), valid.unsqueeze(2), range(5))
    expected = classifier.output(torch.cat((ahead, back, events[:, -1]), 1))
    assert torch.allclose(found, expected, atol=1e-6)


def test_an_earlier_event_is_marked_by_what_it_shares_with_the_present_one() -> None:
    events = torch.zeros(1, 3, SHAPE.event_size)
    events[0, :, -KEYS:] = torch.tensor([[7.0, 1, 0.5, 0.1], [7, 2, 0.5, 0.2], [7, 2, 0.3, 0.2]])
    assert related(events)[0, :, -KEYS:].tolist() == [[1, 0, 0, 0], [1, 1, 0, 1], [1, 1, 1, 1]]


def test_novelty_is_averaged_over_the_events_of_the_service_the_later_counting_more() -> None:
    """By hand: weights 0.25, 0.5, 1 with the middle one of another service; the first masked then."""
    each = np.array([[4.0, 9.0, 1.0], [4.0, 9.0, 1.0]], np.float32)
    same = np.array([[True, False, True], [True, False, True]])
    valid = np.array([[True, True, True], [False, True, True]])
    assert smoothed(each, same & valid, 0.5).tolist() == pytest.approx([(0.25 * 4 + 1) / 1.25, 1.0])


def test_novelty_is_one_at_the_threshold_and_zero_at_the_floor() -> None:
    score = torch.tensor([-5.0, 2.0, 2.0 + math.e - 1])
    assert novelty(score, 2.0, 1.0).tolist() == pytest.approx([0, 0, 1])


def test_the_vae_gets_no_gradient_from_the_classifier() -> None:
    network = Network.random(SHAPE, 1)
    of = some_features(5)
    events = network.events(of, network.extract(of, 0.0, 1.0))
    assert events.shape == (5, SHAPE.event_size)
    events.sum().backward()
    assert all(p.grad is None for p in network.vae.parameters())
    for layer in (network.numbers, network.symbols, network.embedding):
        assert all(p.grad is not None for p in layer.parameters())


def test_random_networks_leave_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    Network.random(SHAPE, 5)
    assert torch.equal(torch.rand(1), expected)
