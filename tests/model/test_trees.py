"""Trees beside the network: asked as a person would, row by row, whatever stands beside it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from streams.core.flow.table import EVIDENCE, FLOW
from streams.core.known_tables import TABLES
from streams.core.tables import Rows
from streams.errors import ModelRejected
from streams.model import artifact
from streams.model.detector import Detector
from streams.model.trees import ABSENT, Forest, Trees, asked, mixed, questions
from tests.model.test_evidence import DETECTOR as WITHOUT
from tests.model.test_evidence import EVIDENCE_AT, NUMBERS, odds, some_rows

QUESTIONS = questions(FLOW, EVIDENCE_AT)
ATTACKS = 4


def some_trees(seed: int = 5, count: int = 7, depth: int = 3) -> Trees:
    rng = np.random.default_rng(seed)
    trees = Trees(count, depth, ATTACKS)
    trees.columns[:] = torch.from_numpy(rng.integers(0, len(QUESTIONS), (depth, count)).astype(np.float32))
    trees.limits[:] = torch.from_numpy(rng.uniform(-1, 20, (depth, count)).astype(np.float32))
    trees.leaves[:] = torch.from_numpy(rng.normal(size=(count, 1 << depth, ATTACKS)).astype(np.float32))
    trees.trust[:] = torch.tensor([1.0, 0.25, 1.0, 2.0])
    return trees


def with_trees(trees: Trees) -> Detector:
    network = WITHOUT.network.with_trees(trees)
    parameters = dataclasses.replace(WITHOUT.parameters, shape=network.shape)
    return Detector(WITHOUT.identity, parameters, network)


DETECTOR = with_trees(some_trees())


def answers(row: Rows) -> dict[str, float]:
    """What a row says, by name."""
    there = dict(zip(FLOW.names, FLOW.present(row)[0].tolist(), strict=True))
    found = {
        name: max(value, 0.0) if there[name] else ABSENT
        for name, value in zip(NUMBERS, row["numbers"][0].tolist(), strict=True)
    }
    for column, code in zip(FLOW.symbolic, row["codes"][0].tolist(), strict=True):
        found |= {f"{column.name}={it}": float(code == column.code(it)) for it in column.symbols}
    role = FLOW.symbolic[0].symbols[row["codes"][0, 0] - 1] if row["codes"][0, 0] else None
    for side in FLOW.symbolic[0].symbols:
        found |= {f"{side}: {name}": found[name] if side == role else 0.0 for name in EVIDENCE}
    return found


def test_what_is_asked_is_what_a_row_says() -> None:
    rows = some_rows(30)
    matrix = asked(FLOW, EVIDENCE_AT, rows)
    for at in range(len(rows)):
        told = dict(zip(QUESTIONS, matrix[:, at].tolist(), strict=True))
        assert told == pytest.approx(answers(rows[at : at + 1]))


def test_scores_are_those_of_a_walk_from_question_to_question() -> None:
    trees, rows = some_trees(), some_rows(50)
    matrix = asked(FLOW, EVIDENCE_AT, rows)
    found = Forest.of(trees)(torch.from_numpy(matrix)).numpy()
    for at in range(len(rows)):
        total = np.zeros(ATTACKS)
        for tree in range(7):
            bits = [matrix[int(trees.columns[d, tree]), at] > float(trees.limits[d, tree]) for d in range(3)]
            total += trees.leaves[tree, sum(bit << d for d, bit in enumerate(bits))].numpy()
        np.testing.assert_allclose(found[at], total, atol=1e-5)


def test_a_class_score_is_the_networks_so_far_as_it_is_trusted_and_the_trees() -> None:
    found = mixed(torch.tensor([[1.0, 3.0, 0.0]]), torch.tensor([[0.5, -1.0]]), torch.tensor([2.0, 0.5]))
    assert found.tolist() == [[0.0, 4.5, -1.5]]
    rows = some_rows(40)
    boosted = Forest.of(some_trees())(torch.from_numpy(asked(FLOW, EVIDENCE_AT, rows))).numpy()
    prior = np.array(DETECTOR.parameters.log_prior)
    shift = prior[1:] - prior[0]
    expected = (odds(WITHOUT, rows) + shift) * [1.0, 0.25, 1.0, 2.0] + boosted - shift
    np.testing.assert_allclose(odds(DETECTOR, rows), expected, atol=1e-3)


def test_a_verdict_does_not_depend_on_its_companions() -> None:
    rows = some_rows(700)
    whole, encoded = odds(DETECTOR, rows), DETECTOR.encode(rows)
    for chosen in (slice(0, 1), slice(7, 20), slice(100, 163), slice(5, 600)):
        assert np.array_equal(odds(DETECTOR, rows[chosen]), whole[chosen])
        assert np.array_equal(DETECTOR.encode(rows[chosen]), encoded[chosen])


def test_its_files_give_it_back_and_name_their_kind_of_network() -> None:
    files = artifact.pack(DETECTOR, "flows", "1", {}, "# A card\n")
    again = artifact.unpack(files, "flows/1", TABLES)
    assert (again.parameters.shape, again.golden_difference) == (DETECTOR.parameters.shape, 0.0)
    assert json.loads(files[artifact.MANIFEST])["network"] == artifact.WITH_TREES


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"tree_depth": 0}, "trees are some, of a depth of 1 to 8"),
        ({"tree_depth": 9}, "trees are some, of a depth of 1 to 8"),
        ({"trees": 0}, "is of the network vae-bigru-evidence$"),
        ({"trees": 0, "tree_depth": 0}, "is of the network vae-bigru-evidence$"),
        ({"trees": 8}, "trees.* is torch.float32"),
        ({"evidence": []}, "trees need evidence"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(changed: dict[str, Any], says: str) -> None:
    files = artifact.pack(DETECTOR, "flows", "1", {}, "# A card\n")
    manifest = json.loads(files[artifact.MANIFEST])
    manifest["architecture"].update(changed)
    files[artifact.MANIFEST] = json.dumps(manifest).encode()
    with pytest.raises(ModelRejected, match=says):
        artifact.unpack(files, "flows/1", TABLES)


@pytest.mark.parametrize("column", [-1.0, float(len(QUESTIONS)), 0.5])
def test_a_question_that_cannot_be_asked_is_refused(column: float) -> None:
    trees = some_trees()
    files = artifact.pack(DETECTOR, "flows", "1", {}, "# A card\n")
    trees.columns[1, 2] = column
    tensors = DETECTOR.network.state_dict() | {"trees.columns": trees.columns}
    files[artifact.TENSORS] = save(tensors)
    manifest = json.loads(files[artifact.MANIFEST])
    manifest["files"][artifact.TENSORS]["sha256"] = hashlib.sha256(files[artifact.TENSORS]).hexdigest()
    files[artifact.MANIFEST] = json.dumps(manifest).encode()
    with pytest.raises(ModelRejected, match="a column is none of the"):
        artifact.unpack(files, "flows/1", TABLES)
