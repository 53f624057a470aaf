"""A network is watched over a fifth of its flows, and the rest is judged by what was learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from streams.evaluation.flows.features import told_of
from streams.evaluation.flows.warming import CLEAN, NONE, POISONED, STATUS, WATCHED, Judged, warmed
from streams.training.flow_captures import Capture, captures
from streams.training.flow_protocol.labelled import CLASSES, labelled
from tests.evaluation.flows.captures import Flow, attacks, benign, written

C2 = CLASSES.index("c2")


def judged(folder: Path, made: list[Flow], margins: dict[str, float]) -> Judged:
    """Every flow is given the class c2, this far above its threshold, by what it is in truth."""
    parts: list[Capture] = list(captures(written(folder, made), {}))
    flows = labelled(parts)
    margin = np.full((len(flows), len(CLASSES) - 1), -9.0)
    margin[:, C2 - 1] = [margins[CLASSES[one]] for one in flows.target.tolist()]
    return Judged(flows, told_of(parts), margin, np.full(len(flows), C2))


def test_the_first_fifth_of_each_class_is_watched_and_not_judged(tmp_path: Path) -> None:
    made = benign("a", "one", 50) + attacks("a", "one", "c2", 20) + benign("b", "two", 25)
    one = judged(tmp_path, made, {"normal": 1.0, "c2": 1.0})
    rest, _ = warmed(one)
    watched = np.flatnonzero(~rest)
    assert watched.tolist() == [*range(10), *range(50, 54), *range(70, 75)]
    assert len(rest) // WATCHED == len(watched)


def test_answered_flows_at_home_are_learnt_and_an_attack_is_not_whatever_was_watched(tmp_path: Path) -> None:
    home = [it | {"resp_addr": "192.168.1.1"} for it in benign("a", "one", 200)]
    one = judged(tmp_path, home + attacks("a", "one", "c2", 100), {"normal": 1.0, "c2": 1.0})
    rest, found = warmed(one)
    attack = (one.flows.target == C2) & rest
    own = (one.flows.target == 0) & rest
    assert (found[NONE][rest] == C2).all()
    assert (found[CLEAN][own] == 0).all()
    assert (found[POISONED][own] == 0).all()
    late = attack & (np.cumsum(attack) > 30)  # beyond the half hour, and beyond doubt
    assert (found[POISONED][late] == C2).all()
    assert (found[CLEAN][late] == C2).all()


def test_a_device_in_its_first_half_hour_alerts_on_evidence_beyond_doubt_alone(tmp_path: Path) -> None:
    one = judged(tmp_path, benign("a", "one", 100), {"normal": 1.0})
    rest, found = warmed(one)
    young = rest & (one.flows.end_us - one.flows.end_us[0] < 25 * 60_000_000)
    old = rest & (one.flows.end_us - one.flows.end_us[0] > 40 * 60_000_000)
    assert young.any()
    assert (found[STATUS][young] == 0).all()
    assert (found[STATUS][old] == C2).all()
    assert (found[NONE][young] == C2).all()


def test_features_and_flows_themselves_lie_in_the_same_order(tmp_path: Path) -> None:
    parts = list(captures(written(tmp_path, benign("a", "one", 9) + attacks("b", "two", "scan", 9)), {}))
    flows, told = labelled(parts), told_of(parts)
    assert np.array_equal(flows.device, told.device)
    assert np.array_equal(flows.end_us, told.end_us)
