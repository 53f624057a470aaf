"""The demonstration on flows: what leaves when, and the whole of it on real parts, in short."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streams.adapters.kafka.profile_topic import read_profiles
from streams.adapters.store.models import open_store
from streams.core.kdd99 import KDD99
from streams.core.profile.agreed import LEAD_US
from streams.core.profile.values import UNNAMED, blank
from streams.demo.flows import feed, path
from streams.demo.flows.feed import FlowFeed, Told, send_history
from streams.demo.flows.habits import NETWORK
from streams.demo.flows.knowing import Known, wait_for
from streams.demo.flows.path import played, prepare, run_of
from streams.demo.flows.simulator import FlowSimulation, simulate
from streams.demo.flows.stage import Asked, staged_flows
from streams.demo.play import LAST_VERDICT_S, Polled
from streams.demo.summary import summarise
from streams.demo.summary_tables import notes
from streams.model.detector import Detector
from tests.demo.test_demo_account import said, told
from tests.flow_model import save_flow_model

START_US = 1_790_000_000_000_000


@pytest.fixture(scope="module")
def simulation() -> FlowSimulation:
    return simulate(4, 1, history_s=150)


class FakeParts:
    """Gives `a_poll` verdicts for what was sent at each poll, while time passes."""

    def __init__(self, simulation: FlowSimulation, a_poll: int = 500) -> None:
        self.sent: list[tuple[str | None, Mapping[str, Any], int]] = []
        self.sender = self.reader = self
        self.now_s = 0.0
        self.most_ahead = 0
        self._names = simulation.names
        self._a_poll = a_poll
        self._events = self._told = 0

    def clock_s(self) -> float:
        return self.now_s

    def queue(
        self, keys: list[str | None], values: list[bytes], timestamps_ms: list[int] | None = None
    ) -> None:
        records = [json.loads(value) for value in values]
        self.sent += zip(keys, records, timestamps_ms or [0] * len(keys), strict=True)
        self._events += sum(one[end] in self._names for one in records for end in ("id.orig_h", "id.resp_h"))
        self.most_ahead = max(self.most_ahead, self._events - self._told)

    def finish(self) -> None:
        """Nothing is under way."""

    def check(self) -> None:
        """It runs."""

    def poll(self, wait_s: float) -> Polled:
        self.now_s += wait_s
        now = min(self._a_poll, self._events - self._told)
        self._told += now
        return Polled((replace(said(0, "dos"), event_time_us=1),) * now, (), 0, (told("i1", "dos", 3),))


def test_records_leave_without_keys_when_their_connections_have_ended(simulation: FlowSimulation) -> None:
    parts = FakeParts(simulation)
    sender = FlowFeed(parts, simulation)
    assert sender.send_due(-1, START_US) == 0
    left = sender.send_due(3_000_000, START_US)
    assert left == int((simulation.sent_us <= 3_000_000).sum())
    assert {key for key, _, _ in parts.sent} == {None}
    ends = [one["ts"] + one.get("duration", 0) for _, one, _ in parts.sent]
    assert max(ends) <= START_US / 1e6 + 3.001
    assert sender.send_due(60_000_000, START_US) == len(simulation.device_id)
    assert len(parts.sent) == len(simulation.records)


def test_what_came_before_is_sent_with_its_times_and_not_far_ahead_of_the_worker(
    simulation: FlowSimulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "UNDER_WAY", 600)
    monkeypatch.setattr(feed, "_PIECE", 100)
    parts = FakeParts(simulation, a_poll=80)
    history = send_history(parts, simulation, Told.of(simulation, START_US), parts.clock_s)
    assert len(parts.sent) == len(simulation.history) > 1_000
    times_ms = [time_ms for _, _, time_ms in parts.sent]
    assert times_ms == sorted(times_ms)
    assert START_US // 1000 - 151_000 < times_ms[0] < times_ms[-1] <= START_US // 1000
    assert parts.most_ahead < 600 + 200
    assert history.judged == parts._events
    assert list(history.incidents) == ["i1"]


def test_a_worker_that_judges_nothing_is_not_waited_for_for_ever(simulation: FlowSimulation) -> None:
    parts = FakeParts(simulation, a_poll=0)
    assert send_history(parts, simulation, Told.of(simulation, START_US), parts.clock_s).judged == 0
    assert parts.now_s > LAST_VERDICT_S


def test_it_begins_when_the_profile_is_in_force(simulation: FlowSimulation) -> None:
    parts = FakeParts(simulation)
    known = Known(blank(UNNAMED), parts.clock_s() + LEAD_US / 1e6)
    wait_for(known, parts, parts.clock_s, parts.poll)
    assert LEAD_US / 1e6 <= parts.now_s < LEAD_US / 1e6 + 1


@pytest.mark.redis
def test_every_event_of_the_fleet_has_its_verdict_and_late_and_second_records_cost_none(
    redis_url: str, tmp_path: Path, simulation: FlowSimulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_flow_model(tmp_path)
    models = open_store(str(tmp_path))
    models.set_alias("flows", "champion", "1")
    models.save(Detector.random(KDD99, seed=1), "kdd99", "1", {}, "random")
    monkeypatch.setenv("AUTODEEP_MODEL_STORE", str(tmp_path))
    monkeypatch.setenv("AUTODEEP_MODEL", "kdd99/1")
    monkeypatch.setattr(path, "wait_for", lambda known, parts: None)
    with staged_flows(Asked(home=NETWORK), simulation.names) as stage:
        before = prepare(stage, simulation)
        what = played(stage, simulation, 4, lambda view: None, before)
        standing = stage.standing()
        known = read_profiles(stage.settings).newest(UNNAMED)
    summary = summarise(run_of(simulation, (4, 1), what, before, standing), what.ledger)
    assert (summary.lost, summary.repeats, summary.dead_letters) == (0, 0, 0)
    assert (summary.alerts_differing, summary.incidents_differing) == (0, 0)
    assert summary.events == summary.classified == len(simulation.device_id)
    assert summary.shipped["twice"] > 10
    assert summary.shipped["events_before"] == before.history.judged > len(simulation.history)
    assert known == before.profile
    assert [one.action for one in before.profile.history] == ["learn", "accept"]
    assert before.profile.proposals == ()
    assert {one.how for one in before.profile.known} == {"accepted", "learnt"}
    seen = before.profile.warm_up
    assert seen is not None
    assert (seen.model, seen.devices) == ("flows/1", len(simulation.names))
    assert summary.shipped["held_back"] == sum(standing.held.values()) - sum(before.held.values())
    assert {line.device_id for line in summary.episodes} <= set(simulation.names.values())
    assert {line.model for line in summary.models} == {"flows/1"}
    assert any("without keys" in line for line in notes(summary))
