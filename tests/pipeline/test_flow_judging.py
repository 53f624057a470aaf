"""Flows judged in memory: turns change nothing, and each verdict names the record that told of its flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.flows_offline import Lying, said_of
from bench.parity import Said
from streams.core.flows import DeviceFlow, Direction, Quality, Role, State
from streams.core.profile.agreed import Agreed
from streams.pipeline.flow_judging import Arrived, FlowJudge, FlowVerdict, JudgingRules
from streams.pipeline.sites import Sites
from tests.flow_model import flow_detector
from tests.flow_world import FlowWorld, source, stored

DETECTOR = flow_detector()
START_US = 1_790_000_000_000_000
HOUR_US = 3_600_000_000
RULES = JudgingRules(HOUR_US)


def flow(number: int, device: str = "10.0.0.1", at_s: float = 0.0, **changed: object) -> DeviceFlow:
    whole = DeviceFlow(
        device=device, direction=Direction.OUT, role=Role.ORIGINATOR, peer="192.0.2.1", protocol="tcp",
        device_port=40_000 + number, peer_port=443, service="", state=State.ANSWERED,
        start_us=START_US + int(at_s * 1e6), end_us=START_US + int(at_s * 1e6) + 500_000,
        packets_out=5, packets_in=6, ip_bytes_out=600, ip_bytes_in=2_000, payload_bytes_out=None,
        payload_bytes_in=None, flow_id=f"C{number}", quality=Quality.NONE,
    )  # fmt: skip
    return replace(whole, **changed)  # type: ignore[arg-type]


def arrived(flows: Sequence[DeviceFlow]) -> list[Arrived]:
    return [Arrived(number, one, one.end_us // 1000) for number, one in enumerate(flows, 1)]


def judged(records: Sequence[Arrived], turns: Sequence[int] = ()) -> list[FlowVerdict]:
    """With all that waits at the end; `turns` are how many records each of the first turns has."""
    judge, found, rest = FlowJudge(DETECTOR, RULES), list[FlowVerdict](), list(records)
    for size in turns:
        found += judge.turn(rest[:size])
        rest = rest[size:]
    return [*found, *judge.turn(rest), *judge.rest()]


def half(number: int, at_s: float, *, back: bool = False, **changed: object) -> DeviceFlow:
    """What one end sent; port 40000."""
    unsaid = ("packets_out", "ip_bytes_out") if back else ("packets_in", "ip_bytes_in")
    way: dict[str, object] = dict.fromkeys(unsaid)
    role = Role.TARGET if back else Role.ORIGINATOR
    whole = flow(number, at_s=at_s, device_port=40_000, role=role, state=State.UNKNOWN, half=True)
    return replace(whole, **(way | changed))  # type: ignore[arg-type]


FLOWS = st.builds(
    lambda number, device, at_s, kind, port: (
        half(number, at_s, back=kind == 1, device=f"10.0.0.{device}", device_port=40_000 + port)
        if kind < 2
        else flow(
            number, f"10.0.0.{device}", at_s, device_port=40_000 + port,
            final=kind != 2, quality=Quality.CUT if kind in (2, 3) else Quality.NONE,
        )
    ),
    st.integers(0, 20), st.integers(1, 3), st.integers(-4_000, 4_000), st.integers(0, 6), st.integers(0, 3),
)  # fmt: skip


@settings(max_examples=12)
@given(st.lists(FLOWS, max_size=40), st.lists(st.integers(0, 9), max_size=8))
def test_turns_change_neither_verdicts_nor_incidents_nor_numbers(
    flows: list[DeviceFlow], turns: list[int]
) -> None:
    records = arrived(flows)
    assert judged(records, turns) == judged(records)


@settings(max_examples=12)
@given(st.lists(FLOWS, min_size=1, max_size=40))
def test_a_verdict_names_a_record_of_its_own_device_and_peer(flows: list[DeviceFlow]) -> None:
    records = arrived(flows)
    for verdict in judged(records):
        mine = flows[verdict.number - 1]
        assert (verdict.device, verdict.peer) == (mine.device, mine.peer)


def test_both_halves_are_one_flow_of_the_second_and_a_lone_one_is_its_own() -> None:
    flows = [
        half(1, 0.0, peer="192.0.2.7"),  # nobody answers
        half(2, 1.0),
        half(3, 1.1, back=True),
        flow(4, at_s=60.0),  # lets the first one go
        half(5, 61.0, peer="192.0.2.9"),  # nothing comes after it
    ]
    verdicts = judged(arrived(flows))
    told = [(one.number, one.caused_by, one.ordinal, one.peer) for one in verdicts]
    assert told == [
        (3, 3, 0, "192.0.2.1"),
        (1, 4, 0, "192.0.2.7"),
        (4, 4, 1, "192.0.2.1"),
        (5, 5, 0, "192.0.2.9"),
    ]


def test_interim_records_are_one_flow_of_their_last() -> None:
    going = [
        flow(
            1,
            at_s=place,
            flow_id="C1",
            final=place == 2,
            packets_out=5 + place,
            quality=Quality.CUT * (place < 2),
        )
        for place in range(3)
    ]
    unfinished = [
        flow(9, at_s=3, flow_id="C9", final=False),
        flow(9, at_s=4, flow_id="C9", final=False, packets_out=9),
    ]
    assert [one.number for one in judged(arrived([*going, *unfinished]))] == [3, 5]


def test_what_waits_is_known_until_it_is_told() -> None:
    judge = FlowJudge(DETECTOR, RULES)
    records = arrived([flow(1), half(2, 1.0), half(3, 1.1, back=True)])
    assert judge.turn(records[:1]) != []
    assert judge.waits_from is None
    assert judge.turn(records[1:2]) == []
    assert judge.waits_from == 2
    assert len(judge.turn(records[2:])) == 1
    assert judge.waits_from is None
    assert judge.rest() == []


def test_a_repeat_has_no_verdict() -> None:
    assert [one.number for one in judged(arrived([flow(1), flow(1), flow(2, at_s=1)]))] == [1, 3]


@pytest.mark.parametrize("back_s", [3_600, 86_400 * 365])
def test_a_clock_that_goes_back_costs_no_flow(back_s: int) -> None:
    flows = [flow(i, at_s=i - (back_s if i > 10 else 0)) for i in range(20)]
    assert [one.number for one in judged(arrived(flows))] == list(range(1, 21))


def test_incidents_count_the_alerts_that_name_them() -> None:
    judge = FlowJudge(DETECTOR, RULES)
    flows = [
        flow(i, f"10.0.0.{i % 3}", at_s=i, peer=f"192.0.2.{i % 200}", state=State.NO_ANSWER, packets_in=0)
        for i in range(60)
    ]
    verdicts = judge.turn(arrived(flows))
    named = {one.incident for one in verdicts} - {None}
    assert named
    assert named == set(judge.incidents)
    for one in verdicts:
        if one.incident is not None:
            incident = judge.incidents[one.incident]
            assert (incident.device_id, incident.verdict) == (one.device, one.verdict)


@settings(max_examples=12, deadline=None)
@given(st.lists(FLOWS, max_size=40), st.integers(1, 40))
def test_verdicts_are_those_of_the_stream(flows: list[DeviceFlow], size: int) -> None:
    """As `ids.flows` has the same records: their bytes, one partition, offsets from 0."""
    records, world = stored(flows), FlowWorld()
    world.feed(records, size)
    lying = [Lying(one.offset, one.timestamp, one.key, one.value) for one in records]
    sites = Sites(Agreed, learning_ms=0)
    assert {at: Said.by(one) for at, one in world.verdicts().items()} == said_of(
        source(), lying, lambda offset: DETECTOR, sites
    )


def test_a_model_that_takes_over_judges_as_if_it_had_seen_all_flows() -> None:
    flows = [
        flow(i, f"10.0.0.{i % 2}", at_s=i, peer=f"192.0.2.{i}", state=State.NO_ANSWER, packets_in=0)
        for i in range(30)
    ]
    other, records = flow_detector(seed=5), arrived(flows)
    judge, alone = FlowJudge(DETECTOR, RULES), FlowJudge(other, RULES)
    judge.turn(records[:15])
    alone.turn(records[:15])
    judge.serve(other)
    for first, end in ((15, 20), (20, 30)):
        verdicts, right = judge.turn(records[first:end]), alone.turn(records[first:end])
        assert [said(one) for one in verdicts] == [said(one) for one in right]


def said(one: FlowVerdict) -> FlowVerdict:
    """But for the incident, which may have begun earlier."""
    return replace(one, incident=None)
