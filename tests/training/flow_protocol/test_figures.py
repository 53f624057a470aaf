"""The figures of small captures, as a count by hand has them."""

from __future__ import annotations

import numpy as np
import pytest

from streams.core.flow.table import FLOW
from streams.training.flow_protocol.episodes import episodes
from streams.training.flow_protocol.figures import figures
from streams.training.flow_protocol.labelled import CLASSES
from tests.labelled_flows import flows_of

PROBE, C2 = CLASSES.index("probe"), CLASSES.index("c2")
NOVEL = len(CLASSES)
Told = tuple[int, int, float, str | None, bool]


def at(
    capture: int, device: int, seconds: list[float], name: str | None, inbound: bool = False
) -> list[Told]:
    return [(capture, device, second, name, inbound) for second in seconds]


def test_an_episode_is_one_device_class_and_direction_without_an_hours_pause() -> None:
    flows = flows_of(
        *at(0, 0, [0, 10, 3_500, 7_200, 7_300, 7_400], "c2"),
        *at(0, 0, [0, 1], "probe"),
        *at(0, 0, [5, 6, 7], "probe", True),
        *at(0, 1, [5, 6, 7], "probe", True),
    )
    found = [(one.target, one.inbound, one.flows.tolist()) for one in episodes(flows)]
    assert sorted(found) == [
        (PROBE, True, [8, 9, 10]),
        (PROBE, True, [11, 12, 13]),
        (C2, False, [0, 1, 2]),
        (C2, False, [3, 4, 5]),
    ]


def test_recall_episodes_and_time_are_those_counted_by_hand() -> None:
    flows = flows_of(
        *at(0, 0, [0, 10, 20, 30, 40], "probe"),  # missed, named, novel, c2, named: found by the fourth
        *at(1, 0, [0, 1, 2, 3], "probe"),  # two alerts: no incident
        *at(1, 1, [0, 1, 2], "c2"),  # never named
        *at(1, 1, [3], None),
    )
    verdicts = np.array([0, PROBE, NOVEL, C2, PROBE, PROBE, PROBE, 0, 0, PROBE, PROBE, PROBE, PROBE])
    found = figures(flows, verdicts)
    first = found["by_capture"]["capture0"]["probe_out"]
    assert (first["flows"], first["flagged"], first["recall"]) == (5, 0.8, 0.4)
    assert (first["episodes"], first["found"], first["named"]) == (1, 1, 1)
    assert (first["flows_until_found"], first["seconds_until_found"]) == (4, 30.0)
    missed = found["by_capture"]["capture1"]
    assert (missed["probe_out"]["found"], missed["probe_out"]["seconds_until_found"]) == (0, None)
    assert (missed["c2"]["flagged"], missed["c2"]["recall"], missed["c2"]["named"]) == (1.0, 0.0, 0)
    scans = found["columns"]["probe_out"]
    assert (scans["captures"], scans["flagged"], scans["recall"]) == (
        2,
        pytest.approx(0.65),
        pytest.approx(0.45),
    )
    assert scans["flagged_of_all_flows"] == pytest.approx(6 / 9)


def test_c2_that_keeps_failing_to_reconnect_is_a_column_of_its_own() -> None:
    flows = flows_of(*at(0, 0, [0, 10, 20], "c2"), *at(0, 1, [0, 10, 20, 30], "c2", True))
    behind = FLOW.numeric_names.index("last_failures_to_host_port")
    flows.rows["numbers"][:3, behind] = [1, 9, 80]
    flows.rows["numbers"][3:, behind] = [0, 0, 9, 9]
    columns = figures(flows, np.array([C2] * 3 + [0] * 4))["columns"]
    assert (columns["c2_retrying"]["flows"], columns["c2_retrying"]["flagged"]) == (3, 1.0)
    assert (columns["c2_retrying"]["episodes"], columns["c2"]["episodes"]) == (1, 2)
    assert columns["c2"]["flagged_of_all_flows"] == pytest.approx(3 / 7)


def test_false_incidents_are_those_of_devices_without_attacks_in_steady_state_and_setup_apart() -> None:
    day = [hour * 1_800.0 for hour in range(49)]
    flows = flows_of(
        *at(0, 0, day, "normal"),  # one incident in a day
        *at(0, 1, [0, 1, 2], "normal"),  # of a device that was attacked
        *at(0, 1, [3, 4, 5], "probe", True),
        *at(1, 0, day[:25], "normal"),  # half a day of setup: two incidents
        datasets=("home", "setup"),
    )
    verdicts = np.zeros(len(flows), np.int64)
    verdicts[2:5] = verdicts[49:52] = PROBE
    verdicts[[55, 56, 57, 70, 71, 72]] = C2
    found = figures(flows, verdicts)
    steady, setup = found["false_incidents"]["steady"], found["false_incidents"]["setup"]
    assert (steady["device_days"], steady["incidents"], steady["a_device_day"]) == (1.0, 1, 1.0)
    assert (setup["device_days"], setup["incidents"], setup["a_device_day"]) == (0.5, 2, 4.0)
    assert found["false_incidents"]["all"]["incidents"] == 3
    assert found["clean_flows"] == 74
    assert found["false_positives_per_100000"] == pytest.approx(1e5 * 9 / 74)


def test_flows_that_nobody_labelled_are_as_if_they_were_not_there() -> None:
    told = [*at(0, 0, [0, 1, 2], "probe"), *at(0, 1, [0, 9], "normal")]
    between = [*told[:1], *at(0, 0, [0.5] * 20, None), *told[1:]]
    alone = figures(flows_of(*told), np.array([PROBE] * 3 + [0, 0]))
    assert figures(flows_of(*between), np.array([PROBE] + [C2] * 20 + [PROBE] * 2 + [0, 0])) == alone


def test_without_benign_devices_nothing_is_said_of_false_incidents() -> None:
    found = figures(flows_of(*at(0, 0, [0, 1, 2], "dos")), np.array([0, 0, 0]))
    assert found["false_incidents"]["steady"]["a_device_day"] is None
    assert found["false_positives_per_100000"] is None
    assert found["columns"]["dos_out"]["found"] == 0
