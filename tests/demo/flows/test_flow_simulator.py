"""The fleet's connections: what a sensor would write of them is what was meant, late and twice included."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from streams.codec.ingest.flows.decoder import FlowDecoder
from streams.core.flow.columns import from_values
from streams.core.flow.features import advance
from streams.core.flow.state import blank
from streams.core.flows import Direction
from streams.core.home import Home
from streams.demo.flows.attacks import ATTACKS
from streams.demo.flows.connections import zeek_record
from streams.demo.flows.simulator import FlowSimulation, simulate
from streams.errors import SettingsError
from tests.flow_samples import Raw

START_US = 1_790_000_000_123_457


@pytest.fixture(scope="module")
def simulation() -> FlowSimulation:
    return simulate(45, 1, history_s=120)


def test_the_same_seed_gives_the_same_and_another_one_another(simulation: FlowSimulation) -> None:
    again, other = simulate(45, 1, history_s=120), simulate(45, 2, history_s=120)
    assert again.records == simulation.records
    assert again.history == simulation.history
    assert other.records != simulation.records


def test_every_kind_of_attack_occurs_once_in_a_round_and_in_fifteen_seconds() -> None:
    for seconds in (15, 45):
        found = simulate(seconds, 3, history_s=1)
        assert [one.name for one in found.episodes] == [attack.name for attack in ATTACKS]
        assert set(found.episode.tolist()) == {-1, *range(len(ATTACKS))}
    with pytest.raises(SettingsError, match="positive"):
        simulate(0, 1)


def test_events_are_the_ends_at_home_of_the_connections_by_device_and_time(
    simulation: FlowSimulation,
) -> None:
    """As the path will find them: through Zeek's record, by whose the flow is and when it ended."""
    names = list(zip(simulation.device_id, simulation.event_time_us.tolist(), strict=True))
    assert len(set(names)) == len(names)
    records = [Raw(zeek_record(one.connection.moved(START_US), one.uid)) for one in simulation.records]
    read = FlowDecoder().decode(records)
    assert (read.skipped, read.rejected) == ((), ())
    home = Home()
    found = {
        (simulation.names[one.device], one.end_us - START_US)
        for flow in read.flows
        for one in home.device_flows(flow)
    }
    assert found == set(names)


def test_some_records_leave_late_and_some_twice_and_no_two_connections_are_taken_for_one(
    simulation: FlowSimulation,
) -> None:
    assert 0.05 < simulation.late / len(simulation.records) < 0.25
    assert 0.05 < simulation.twice / len(simulation.records) < 0.15
    sent_us = [one.sent_us for one in simulation.records]
    assert sent_us == sorted(sent_us)
    records = [Raw(zeek_record(one.connection.moved(START_US), one.uid)) for one in simulation.records]
    home = Home()
    flows = [one for flow in FlowDecoder().decode(records).flows for one in home.device_flows(flow)]
    columns, devices = from_values(flows)
    assert len(advance(blank(len(devices)), columns).record) == len(simulation.device_id)


def test_events_have_left_with_the_first_record_of_their_connection(simulation: FlowSimulation) -> None:
    left = simulation.events_through.tolist()
    assert left == sorted(left)
    assert left[-1] == len(simulation.device_id)
    gone = np.searchsorted(simulation.sent_us, [one.sent_us for one in simulation.records], "right")
    assert left == gone.tolist()


def test_infected_devices_attack_and_others_are_attacked(simulation: FlowSimulation) -> None:
    home, ways = Home(), Counter[tuple[str, Direction]]()
    attacked = dict(enumerate(simulation.episodes))
    of = {
        (device, time_us): attacked[episode].name
        for device, time_us, episode in zip(
            simulation.device_id, simulation.event_time_us.tolist(), simulation.episode.tolist(), strict=True
        )
        if episode >= 0
    }
    records = [Raw(zeek_record(one.connection.moved(START_US), one.uid)) for one in simulation.records]
    for flow in FlowDecoder().decode(records).flows:
        for one in home.device_flows(flow):
            name = of.get((simulation.names[one.device], one.end_us - START_US))
            if name is not None:
                ways[name, one.direction] += 1
    outward = {name for (name, direction) in ways if direction is Direction.OUT}
    assert outward == {one.name for one in ATTACKS if "infected" in one.name or "command" in one.name}
    assert {direction for _, direction in ways} == {Direction.OUT, Direction.IN}
