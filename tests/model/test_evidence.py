"""Networks of tables with absent columns: evidence only raises, what is withheld or absent says nothing."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.flow.table import EVIDENCE, FLOW, SLOW
from streams.core.known_tables import TABLES
from streams.core.tables import Rows
from streams.errors import ModelRejected
from streams.model import artifact
from streams.model.detector import Detector, Identity
from streams.model.explanation import Explainer, usual_event
from streams.model.network import Network

NUMBERS = FLOW.numeric_names
EVIDENCE_AT = tuple(NUMBERS.index(name) for name in EVIDENCE)
WITHHELD = tuple(NUMBERS.index(name) for name in SLOW if name not in EVIDENCE)


def made(seed: int) -> Detector:
    like = Detector.random(FLOW, seed)
    shape = dataclasses.replace(
        like.parameters.shape, repetition=False, masked=True, evidence=EVIDENCE_AT, withheld=WITHHELD
    )
    network = Network.random(shape, seed)
    with torch.no_grad():
        network.edges[:] = torch.linspace(0.05, 0.95, network.edges.shape[1])
        for weight in network.classifier.parameters():
            weight.mul_(2.0)
    parameters = dataclasses.replace(like.parameters, shape=shape)
    return Detector(Identity("flows", str(seed), f"{seed:064x}"), parameters, network)


DETECTOR = made(3)


def some_rows(count: int, seed: int = 1) -> Rows:
    rng = np.random.default_rng(seed)
    numbers = np.expm1(rng.uniform(0, 5, (count, len(NUMBERS)))).astype(np.float32)
    codes = np.stack([rng.integers(0, of.size, count) for of in FLOW.symbolic], 1).astype(np.uint8)
    there = np.ones((count, len(FLOW.names)), bool)
    for name in FLOW.optional:
        there[:, FLOW.names.index(name)] = rng.random(count) < 0.8
    return FLOW.pack(numbers, codes, there)


def odds(detector: Detector, rows: Rows) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Of each attack against normal, each row by itself. (N, C - 1)."""
    index = np.repeat(np.arange(len(rows))[:, None], detector.width, 1)
    valid = np.zeros(index.shape, bool)
    valid[:, -1] = True
    posterior = detector.classify(detector.encode(rows), index, valid).posterior.astype(np.float64)
    logs = np.log(posterior)
    return np.asarray(logs[:, 1:] - logs[:, :1])


@given(st.integers(0, 500), st.sampled_from(EVIDENCE_AT), st.floats(0.1, 1e6))
@settings(deadline=None, max_examples=30)
def test_more_evidence_never_lowers_the_score_of_an_attack(seed: int, column: int, more: float) -> None:
    before = some_rows(4, seed)
    after = before.copy()
    after["numbers"][:, column] += np.float32(more)
    assert (odds(DETECTOR, after) >= odds(DETECTOR, before) - 1e-4).all()


def test_evidence_raises_scores_and_reaches_them_by_no_other_way() -> None:
    rows = some_rows(64)
    more = rows.copy()
    rows["numbers"][:, list(EVIDENCE_AT)] = 0.0
    more["numbers"][:, list(EVIDENCE_AT)] = 50.0
    assert (odds(DETECTOR, more) > odds(DETECTOR, rows) + 0.01).all()
    seen = list(DETECTOR.parameters.shape.seen)
    assert np.array_equal(DETECTOR.encode(more)[:, seen], DETECTOR.encode(rows)[:, seen])


def test_what_is_withheld_changes_nothing() -> None:
    rows = some_rows(64)
    other = rows.copy()
    other["numbers"][:, list(WITHHELD)] += 7.0
    assert np.array_equal(DETECTOR.encode(other), DETECTOR.encode(rows))


def test_an_absent_number_is_not_a_zero() -> None:
    column = NUMBERS.index("duration_s")
    there = np.ones((1, len(FLOW.names)), bool)
    numbers, codes = np.zeros((1, len(NUMBERS)), np.float32), np.ones((1, len(FLOW.symbolic)), np.uint8)
    zero = FLOW.pack(numbers, codes, there)
    there[0, column] = False
    absent = FLOW.pack(numbers, codes, there)
    assert not np.array_equal(DETECTOR.encode(absent), DETECTOR.encode(zero))
    assert DETECTOR.surprise(absent)[0, column] == 0.0 != DETECTOR.surprise(zero)[0, column]


def test_what_serves_computes_what_was_trained() -> None:
    rows, width = some_rows(40), DETECTOR.width
    rng = np.random.default_rng(2)
    index, valid = rng.integers(0, 40, (30, width)), rng.random((30, width)) < 0.7
    valid[:, -1] = True
    network, parameters = DETECTOR.network, DETECTOR.parameters
    with torch.inference_mode():
        features = DETECTOR.features(rows)
        extracted = network.extract(features, parameters.score_floor, parameters.score_threshold)
        events = network.events(features, extracted)
        scores = network.classifier(events[torch.from_numpy(index)], torch.from_numpy(valid))
        trained = torch.softmax(scores / parameters.temperature - torch.tensor(parameters.log_prior), 1)
    found = DETECTOR.classify(DETECTOR.encode(rows), index, valid)
    np.testing.assert_allclose(DETECTOR.encode(rows), events.numpy(), atol=1e-4)
    np.testing.assert_allclose(found.posterior, trained.numpy(), atol=1e-4)


def test_a_verdict_does_not_depend_on_its_companions() -> None:
    rows = some_rows(300)
    whole = odds(DETECTOR, rows)
    for chosen in (slice(0, 1), slice(7, 20), slice(100, 163)):
        assert np.array_equal(odds(DETECTOR, rows[chosen]), whole[chosen])


def test_its_files_give_it_back_and_name_their_kind_of_network() -> None:
    files = artifact.pack(DETECTOR, "flows", "1", {}, "# A card\n")
    again = artifact.unpack(files, "flows/1", TABLES)
    assert again.parameters.shape == DETECTOR.parameters.shape
    assert again.golden_difference == 0.0
    assert json.loads(files[artifact.MANIFEST])["network"] == artifact.WITH_EVIDENCE


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"evidence": [62]}, "evidence names a column that is no number"),
        ({"withheld": ["x"]}, "withheld names a column that is no number"),
        ({"masked": 1}, "masked is neither true nor false"),
        ({"masked": False}, "need a network of absent columns"),
        ({"masked": False, "evidence": [], "withheld": []}, "is of the network vae-bigru$"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(changed: dict[str, object], says: str) -> None:
    files = artifact.pack(DETECTOR, "flows", "1", {}, "# A card\n")
    manifest = json.loads(files[artifact.MANIFEST])
    manifest["architecture"].update(changed)
    files[artifact.MANIFEST] = json.dumps(manifest).encode()
    with pytest.raises(ModelRejected, match=says):
        artifact.unpack(files, "flows/1", TABLES)


def test_an_explanation_is_against_an_event_without_evidence() -> None:
    assert not usual_event(DETECTOR)["numbers"][0, [*EVIDENCE_AT, *WITHHELD]].any()
    rows = np.repeat(some_rows(1)[:, None], DETECTOR.width, 1)
    valid = np.zeros(rows.shape, bool)
    valid[:, -1] = True
    shares = Explainer(DETECTOR).shares(rows, valid, np.array([1]))
    assert not shares.columns[0, list(WITHHELD)].any()
    assert shares.columns[0, list(EVIDENCE_AT)].any()
