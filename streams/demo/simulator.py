"""A fleet of 40 devices and those who attack it, as rows of the feature table. Pure, and repeatable by seed.

The habits and attacks make connections; the traffic windows of each device, warm from the first event on,
derive KDD's counts and rates from them. Nothing here knows what a detector would say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.core.kdd99 import KDD99
from streams.core.tables import FeatureTable, Rows
from streams.core.traffic import KDD_FILE_CONNECTIONS, NAMES, Spans, TrafficWindows
from streams.demo.attacks import ATTACKS, Attack
from streams.demo.episodes import NO_EPISODE, Episode, planned, stages
from streams.demo.habits import A_SECOND_US, Flow, device_ids, ordinary_flows
from streams.errors import SettingsError

WARM_UP_S: Final = 60
NORMAL: Final = "normal"
CLASSES: Final = ("dos", "probe", "r2l", "u2r")
"""Of the attacks: KDD'99's."""

_CODES: Final = tuple({symbol: column.code(symbol) for symbol in column.symbols} for column in KDD99.symbolic)
_DERIVED: Final = KDD99.numeric_names.index(NAMES[0])
"""Where the derived features begin among the numbers of a row; they go to its end."""
_PLACE: Final = {name: place for place, name in enumerate(KDD99.numeric_names)}


@dataclass(frozen=True, slots=True, eq=False)
class Simulation:
    """N events in the order of their time."""

    episodes: tuple[Episode, ...]
    device_id: list[str]
    event_time_us: npt.NDArray[np.int64]  # (N,) strictly ascending: device and time name an event
    rows: Rows  # (N,)
    truth: list[str]  # "normal" or the episode's class
    episode: npt.NDArray[np.int64]  # (N,) place in `episodes`, or NO_EPISODE
    table: FeatureTable = KDD99
    """What the rows are of: the fleet is one of KDD'99's sensors."""

    @property
    def classes(self) -> tuple[str, ...]:
        return CLASSES

    @property
    def sent_us(self) -> npt.NDArray[np.int64]:
        return self.event_time_us

    def service(self, place: int) -> str:
        """In KDD'99's words."""
        names = ("unknown", *self.table.symbolic[self.table.key_places.service].symbols)
        return names[int(self.rows["codes"][place, self.table.key_places.service])]


@dataclass(frozen=True, slots=True)
class _Event:
    device_id: str
    flow: Flow
    episode: int


def simulate(seconds: float, seed: int, start_us: int) -> Simulation:
    """What the fleet's sensors report in [start, start + seconds), 200 to 400 events a second.

    The same arguments give the same bytes. All four classes of attack occur from 15 seconds on. Raises
    SettingsError for a time that is no positive number.
    """
    if not (math.isfinite(seconds) and seconds > 0):
        raise SettingsError(f"cannot simulate {seconds} seconds: it must be a positive number")
    end_us = start_us + round(seconds * A_SECOND_US)
    plan = planned(ATTACKS, seconds, seed, start_us)
    events = [*_ordinary(start_us - WARM_UP_S * A_SECOND_US, end_us, seed), *_hostile(plan, seed)]
    events.sort(key=lambda event: (event.flow.connection.ended_us, event.device_id))
    numbers = _numbers(events)  # (M, 38), M - N of them before the start
    first = sum(event.flow.connection.ended_us < start_us for event in events)
    events = events[first:]
    episodes = tuple(episode for episode, _ in plan)
    return Simulation(
        episodes=episodes,
        device_id=[event.device_id for event in events],
        event_time_us=_apart(np.array([event.flow.connection.ended_us for event in events], np.int64)),
        rows=KDD99.pack(numbers[first:], _codes(events)),
        truth=[NORMAL if event.episode < 0 else episodes[event.episode].truth for event in events],
        episode=np.array([event.episode for event in events], np.int64),
    )


def _apart(times_us: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Ascending times, (N,), of which those that coincide are moved a microsecond apart."""
    place = np.arange(len(times_us))
    return np.maximum.accumulate(times_us - place) + place


def _ordinary(begin_us: int, end_us: int, seed: int) -> Iterable[_Event]:
    for device in device_ids():
        random = Random(f"{seed}/habits/{device}")
        for flow in ordinary_flows(device, begin_us, end_us, random):
            yield _Event(device, flow, NO_EPISODE)


def _hostile(plan: list[tuple[Episode, Attack]], seed: int) -> Iterable[_Event]:
    for place, attack, stage in stages(plan, seed):
        for flow in attack.flows(stage):
            yield _Event(stage.device, flow, place)


def _numbers(events: list[_Event]) -> npt.NDArray[np.float32]:
    """(M, 38) from M events of all devices in order of time; each device has its own windows."""
    spans = Spans(connections=KDD_FILE_CONNECTIONS)
    windows = {device: TrafficWindows(spans) for device in device_ids()}
    numbers = np.zeros((len(events), len(KDD99.numeric)), np.float32)
    for row, event in zip(numbers, events, strict=True):
        flow = event.flow
        row[:3] = flow.duration_s, flow.src_bytes, flow.dst_bytes
        for name, value in flow.content.items():
            row[_PLACE[name]] = value
        row[_DERIVED:] = windows[event.device_id].advance(flow.connection).values()
    return numbers


def _codes(events: list[_Event]) -> npt.NDArray[np.uint8]:
    """(N, 3): protocol, service, flag."""
    protocols, services, flags = _CODES
    return np.array(
        [
            (protocols[flow.protocol], services[flow.service], flags[flow.connection.flag])
            for flow in (event.flow for event in events)
        ],
        np.uint8,
    ).reshape(-1, len(KDD99.symbolic))
