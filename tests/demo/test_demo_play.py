"""Playing a simulation: events go out when they happen; it ends when all is known. The clock is a fake."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from streams.adapters.store.models import open_store
from streams.core.alerts import Alert
from streams.core.kdd99 import KDD99
from streams.demo.change import Versions, versions
from streams.demo.play import LAST_VERDICT_S, Played, Polled, play
from streams.demo.rows import RowSender
from streams.demo.view import View
from streams.errors import Unavailable
from streams.model.detector import Detector
from streams.settings import Settings
from tests.demo.test_demo_account import said, simulation


class FakePath:
    """A path that gives every event its verdict `delay_s` later; time passes where it is read."""

    def __init__(self, delay_s: float = 0.2, deaf_to: Sequence[int] = ()) -> None:
        self.now_s = 1000.0
        self.sent: list[tuple[float, str, int]] = []
        self.finished = False
        self.dies_at_s = float("inf")
        self.interrupted_at_s = float("inf")
        self._due: list[tuple[float, str, int]] = []
        self._delay_s = delay_s
        self._deaf_to = deaf_to
        self.reader = self.promotion = self
        self.sender = RowSender(self, simulation())
        self.said = "kdd99/1 serves"
        self.asked_s: list[float] = []

    def clock_s(self) -> float:
        return self.now_s

    def send(self, devices: Sequence[str], event_times_us: Any, rows: Any) -> None:
        assert len(devices) == len(event_times_us) == len(rows)
        for device, time_us in zip(devices, np.asarray(event_times_us).tolist(), strict=True):
            if len(self.sent) not in self._deaf_to:
                self._due.append((self.now_s + self._delay_s, device, time_us))
            self.sent.append((self.now_s, device, time_us))

    def poll(self, wait_s: float) -> Polled:
        self.now_s += wait_s
        if self.now_s > self.interrupted_at_s:
            raise KeyboardInterrupt
        ready = [each for each in self._due if each[0] <= self.now_s]
        self._due = [each for each in self._due if each[0] > self.now_s]
        alerts = [self._alert(device, time_us) for _, device, time_us in ready]
        return Polled(tuple(alerts), tuple(each for each in alerts if each.verdict != "normal"), 0)

    def begin(self) -> None:
        self.asked_s.append(self.now_s)
        self.said = "kdd99/2 promoted"

    def finish(self) -> None:
        self.finished = True

    def check(self) -> None:
        if self.now_s > self.dies_at_s:
            raise Unavailable("the worker ended")

    def _alert(self, device: str, time_us: int) -> Alert:
        verdict = "dos" if device == "cam-1" else "normal"
        return replace(said(0, verdict), device_id=device, event_time_us=time_us, detected_at_us=time_us)


@pytest.mark.parametrize(
    ("there", "settings_say", "first", "then"),
    [
        (["2"], "2", "2", ""),
        (["2", "3"], "2", "2", "3"),
        (["2", "3"], "3", "2", "3"),
        (["2", "9", "10"], "10", "9", "10"),
        (["1", "3", "2"], "1", "1", "3"),
    ],
)
def test_of_two_versions_the_older_serves_first_and_the_newer_is_promoted(
    tmp_path: pathlib.Path, there: list[str], settings_say: str, first: str, then: str
) -> None:
    store = open_store(str(tmp_path))
    for version in there:
        store.save(Detector.random(KDD99, seed=1), "toy", version, {}, "random")
    found = versions(Settings(model_store=str(tmp_path), model=f"toy/{settings_say}"))
    assert found == Versions(f"toy/{first}", f"toy/{then}" if then else "")


def played(path: FakePath, show: Callable[[View], None] = lambda view: None) -> Played:
    return play(path, simulation(), 7.0, show, path.clock_s)


def test_events_go_out_when_they_happen_and_carry_the_present_time() -> None:
    path = FakePath()
    began_s = path.now_s
    played(path)
    late_s = [
        at_s - began_s - due for (at_s, _, _), due in zip(path.sent, (0, 1, 2, 3, 3.5, 5, 6), strict=True)
    ]
    assert all(0 <= late <= 0.06 for late in late_s)
    times_us = np.array([time_us for _, _, time_us in path.sent])
    assert (times_us - times_us[0]).tolist() == simulation().event_time_us.tolist()


def test_it_ends_soon_after_the_last_verdict() -> None:
    path = FakePath(delay_s=2.0)
    result = played(path)
    assert result.ledger.classified == 7
    assert path.finished
    assert path.now_s < 1000 + 6 + 2 + 2


def test_an_event_without_a_verdict_is_waited_for_and_then_given_up() -> None:
    path = FakePath(deaf_to=[3])
    result = played(path)
    assert result.ledger.classified == 6
    assert LAST_VERDICT_S <= path.now_s - 1006 <= LAST_VERDICT_S + 2


def test_the_death_of_the_worker_ends_it() -> None:
    path = FakePath()
    path.dies_at_s = 1002.0
    with pytest.raises(Unavailable, match="worker ended"):
        played(path)


def test_ctrl_c_ends_it_with_what_is_known_so_far() -> None:
    path = FakePath()
    path.interrupted_at_s = 1002.5
    result = played(path)
    assert result.interrupted
    assert (result.view.sent, result.ledger.classified) == (3, 3)


def test_the_view_goes_from_nothing_to_everything() -> None:
    views: list[View] = []
    played(FakePath(), views.append)
    assert [views[-1].sent, views[-1].classified, views[-1].lag_events] == [7, 7, 0]
    assert views[-1].alerts == {"dos": 3}
    assert all(a.at_s <= b.at_s and a.sent <= b.sent for a, b in pairwise(views))
    assert any(view.under_way for view in views)


def test_the_other_model_is_asked_for_once_half_way_and_the_view_says_so() -> None:
    path, views = FakePath(), list[View]()
    began_s = path.now_s
    played(path, views.append)
    assert [at_s - began_s for at_s in path.asked_s] == [pytest.approx(3.5, abs=0.06)]
    said = [view.model for view in views]
    assert said == sorted(said)  # first the one, then the other
    assert {*said} == {"kdd99/1 serves", "kdd99/2 promoted"}
