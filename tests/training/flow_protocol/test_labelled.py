"""Captures become labelled flows, each flow with the label of its own row."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.errors import DataError
from streams.training.flow_protocol.labelled import CLASSES, UNSCORED, labelled
from tests.training.test_flow_captures import read


def test_captures_stand_behind_each_other_and_share_no_device(tmp_path: Path) -> None:
    scan = {"capture": "b", "dataset": "sentinel", "label": "scan", "orig_addr": "198.51.100.1"}
    unsaid = {"label": None, "orig_port": 1}
    flows = labelled(read(tmp_path, {}, unsaid, scan | {"resp_addr": "10.0.0.1"}))
    assert (flows.captures, flows.datasets) == (("a", "b"), ("set", "sentinel"))
    assert flows.capture.tolist() == [0, 0, 1]
    assert flows.target.tolist() == [0, UNSCORED, CLASSES.index("probe")]
    assert flows.device.tolist() == [0, 0, 1]
    assert flows.inbound.tolist() == flows.setting_up.tolist() == [False, False, True]


def test_a_repeat_has_no_label_and_shifts_none(tmp_path: Path) -> None:
    told = ["normal", "normal", "scan", None, "c2"]
    rows = [{"label": label, "start_s": 1_600_000_000.0 + 9 * max(at, 1)} for at, label in enumerate(told)]
    flows = labelled(read(tmp_path, *rows))
    wanted = [CLASSES.index(name) for name in ("normal", "probe")] + [UNSCORED, CLASSES.index("c2")]
    assert flows.target.tolist() == wanted


def test_clean_are_normal_flows_of_devices_that_nobody_attacks(tmp_path: Path) -> None:
    other = {"orig_addr": "10.0.0.7"}
    flows = labelled(read(tmp_path, {}, {"label": "flood", "orig_port": 1}, other))
    assert flows.clean.tolist() == [False, False, True]


def test_labels_of_another_taxonomy_and_captures_without_devices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"capture a: labels of another taxonomy: Mirai"):
        labelled(read(tmp_path, {"label": "Mirai"}))
    with pytest.raises(DataError, match="no capture has a device at home"):
        labelled(read(tmp_path, {"orig_addr": "198.51.100.1"}))
