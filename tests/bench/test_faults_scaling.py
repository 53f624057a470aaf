"""The comparison of fleets: who said what how often, and how long a join made a partition wait."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.faults.flow import Place
from bench.faults.scaling import Compared, compared, join_pauses_s
from streams.core.alerts import Alert

BEGUN_US = (1000, 2000)
ALERT = Alert(
    alert_id="a",
    device_id="d",
    event_time_us=1,
    detected_at_us=1500,
    verdict="dos",
    closest="dos",
    scores={"normal": 0.0, "dos": 1.0},
    novelty=0.5,
    window_fill=3,
    window_width=8,
    topic="ids.telemetry",
    topic_id="t",
    partition=0,
    offset=1,
    model_name="m",
    model_version="1",
    model_digest="0",
)


def test_fleets_that_say_the_same_of_each_event_differ_in_nothing() -> None:
    said = [replace(ALERT, alert_id=one, detected_at_us=at) for one in "ab" for at in (1000, 2500)]
    assert compared(said, BEGUN_US) == Compared(2, 0, 0, 0)


def test_what_one_fleet_says_twice_does_not_stand_for_another_that_says_nothing() -> None:
    said = [replace(ALERT, detected_at_us=at) for at in (1000, 1999)]
    assert compared(said, BEGUN_US) == Compared(1, missing=1, repeats=1, differing=0)


@pytest.mark.parametrize("changed", [{"novelty": 9.0}, {"verdict": "probe"}, {"window_fill": 1}])
def test_another_content_is_found(changed: dict[str, object]) -> None:
    one = replace(ALERT, detected_at_us=1500)
    other = replace(one, detected_at_us=2500, **changed)  # type: ignore[arg-type]
    assert compared([one, other], BEGUN_US).differing == 1


def test_the_pause_of_a_join_is_the_longest_wait_of_a_partition_until_the_next_join() -> None:
    """Partition 0: records each second judged after 0.1 s, but after the join at 10 s not until 13 s."""
    second = 1_000_000
    judged = {at: at * second + second // 10 for at in range(30)} | dict.fromkeys((10, 11, 12), 13 * second)
    appended = {Place(0, 0, at): at * second for at in range(30)}
    verdicts = [(done, replace(ALERT, partition=0, offset=at)) for at, done in judged.items()]
    assert join_pauses_s(appended, verdicts, [10 * second, 20 * second]) == [3.0, 0.1]
