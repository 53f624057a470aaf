"""Methods see what they may, and no more; rules and areas are what a count by hand says."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from streams.core.flow.table import FLOW, SLOW
from streams.evaluation.flows import rules, trees
from streams.evaluation.flows.leak import area, shuffled
from streams.evaluation.flows.methods import Fitted, Method, Task
from streams.evaluation.flows.scoring import Scoring, Seen
from streams.evaluation.flows.study import within
from streams.evaluation.flows.views import FULL, NETFLOW, seen_as
from streams.training.flow_captures import captures
from streams.training.flow_protocol.folds import LeaveOut
from streams.training.flow_protocol.labelled import LabelledFlows, labelled
from tests.evaluation.flows.captures import Flow, networks, written
from tests.labelled_flows import flows_of


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "ITERATIONS", 5)


def seen(folder: Path, made: list[Flow]) -> dict[str, Seen]:
    parts = list(captures(written(folder, made), {}))
    return {
        view: Seen.of(labelled(seen_as(one, view) for one in parts), LeaveOut.DATASET)
        for view in (FULL, NETFLOW)
    }


def quiet(text: str) -> None:
    pass


def test_a_method_is_given_nothing_of_the_fold_that_it_is_judged_on(tmp_path: Path) -> None:
    given: list[set[str]] = []

    def fit(task: Task) -> Fitted:
        given.append(
            {flows.datasets[at] for flows in task.learn.values() for at in np.unique(flows.capture).tolist()}
        )
        return rules.majority

    Scoring(seen(tmp_path, networks()), None, quiet).scores(Method("spy", "", fit), 1, (FULL,))
    assert given == [{"two", "sentinel"}, {"one", "sentinel"}, {"one", "two"}]


def test_a_fit_without_the_held_network_in_the_file_scores_it_the_same(tmp_path: Path) -> None:
    method = trees.boosting()
    everything = seen(tmp_path, networks())
    scores = Scoring(everything, None, quiet).scores(method, 3, (FULL,))[FULL]
    held = everything[FULL].flows.at(everything[FULL].folds[0].held)
    others = seen(tmp_path, [one for one in networks() if one["dataset"] != "one"])
    fitted = method.fit(Task({view: it.flows for view, it in others.items()}, 3, None, quiet))
    assert np.array_equal(fitted(held), scores[everything[FULL].folds[0].held])


def test_shuffled_labels_are_the_same_ones_elsewhere(tmp_path: Path) -> None:
    told: list[LabelledFlows] = []

    def fit(task: Task) -> Fitted:
        told.append(task.learn[FULL])
        return rules.majority

    flows = seen(tmp_path, networks())[FULL].flows
    target = flows.target.copy()
    target[::7] = -1
    flows = dataclasses.replace(flows, target=target)
    shuffled(Method("spy", "", fit)).fit(Task({FULL: flows}, 5, None, quiet))
    assert np.array_equal(np.sort(told[0].target), np.sort(target))
    assert np.array_equal(told[0].target == -1, target == -1)
    assert not np.array_equal(told[0].target, target)


def test_an_area_counts_pairs_and_ties_half() -> None:
    positive = np.array([True, True, False, False])
    ones = np.ones(4)
    assert area(np.array([0.9, 0.4, 0.4, 0.1]), positive, ones) == pytest.approx(3.5 / 4)
    assert area(np.zeros(4), positive, ones) == 0.5
    assert area(np.zeros(4), positive & False, ones) is None


def test_persistence_repeats_the_devices_last_known_class() -> None:
    flows = flows_of(
        (0, 0, 0, "c2", False),
        (0, 1, 1, "normal", False),
        (0, 0, 2, None, False),
        (0, 0, 3, "normal", False),
        (0, 0, 4, "normal", False),
    )
    assert rules.persistence(flows).argmax(1)[[3]].tolist() == [1]
    assert rules.persistence(flows).any(1).tolist() == [False, False, False, True, False]


def test_trees_see_no_slow_habits_and_an_absent_column_as_no_number() -> None:
    assert set(SLOW) & set(trees.COLUMNS) == {"attempts", "fail_streak"}
    numbers = np.full((1, len(FLOW.numeric)), 3.0, np.float32)
    there = np.ones((1, len(FLOW.names)), bool)
    there[0, FLOW.names.index("duration_s")] = False
    rows = FLOW.pack(numbers, np.ones((1, len(FLOW.symbolic)), np.uint8), there)
    (row,) = trees.matrix(rows, ("duration_s", "packets_out", "state"))
    assert np.isnan(row[0])
    assert row[1:].tolist() == [3.0, 1.0]


def test_more_evidence_never_lowers_a_monotone_head_even_where_the_flows_say_so() -> None:
    failures = np.arange(400) % 100
    told = ["c2" if 20 <= one < 70 else "normal" for one in failures.tolist()]
    flows = flows_of(*((0, 0, at, name, False) for at, name in enumerate(told)))
    flows.rows["numbers"][:, FLOW.numeric_names.index("last_failures_to_host_port")] = failures
    fitted = trees.boosting().fit(Task({FULL: flows}, 1, None, quiet))
    scores = fitted(flows.at(np.arange(100)))[:, 1]
    assert (np.diff(scores) >= 0).all()
    assert scores[50] > scores[0]


def test_the_point_within_a_budget_is_the_loosest_that_keeps_to_it() -> None:
    curve = [
        {"budget": budget, "false_incidents": {"all": {"a_device_day": cost}}}
        for budget, cost in ((0.001, 0.1), (0.003, 0.3), (0.01, 0.2), (0.03, 0.9))
    ]
    chosen = within(curve, 0.25)
    assert chosen is not None
    assert chosen["budget"] == 0.01
    assert within(curve, 0.05) is None
