"""A fleet of 40 devices behind a router, and who attacks it or is attacked by it, as records of a sensor.

Pure, and repeatable by seed. What it makes are connections; each is an event of every end at home. A record
leaves when its connection has ended, some late, some twice. Nothing here knows what a detector would say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.core.topics import NORMAL
from streams.demo.episodes import NO_EPISODE, Episode, planned, stages
from streams.demo.flows.attacks import ATTACKS, Attack
from streams.demo.flows.connections import Connection, zeek_record
from streams.demo.flows.habits import addresses, ordinary
from streams.demo.habits import A_SECOND_US, device_ids
from streams.errors import SettingsError

CLASSES: Final = ("probe", "c2", "dos", "r2l")
HISTORY_S: Final = 2_400
"""So much ordinary traffic comes before: the devices are known then."""
LATE_SHARE, LATE_S = 0.12, (0.5, 4.0)
TWICE_SHARE, AGAIN_S = 0.1, (0.05, 0.8)
_FIRST_FRESH, _FRESH = 32_768, 28_000
"""Ports of those who call, in turn."""


@dataclass(frozen=True, slots=True)
class Record:
    """What the sensor's shipper sends, and when, from the beginning on."""

    sent_us: int
    connection: Connection
    uid: str


@dataclass(frozen=True, slots=True, eq=False)
class FlowSimulation:
    """N events in the order in which they leave, of R records."""

    episodes: tuple[Episode, ...]
    device_id: list[str]
    event_time_us: npt.NDArray[np.int64]  # (N,) when the connection ended; of a device no two are equal
    sent_us: npt.NDArray[np.int64]  # (N,) ascending: when its first record leaves
    truth: list[str]
    episode: npt.NDArray[np.int64]  # (N,) place in `episodes`, or NO_EPISODE
    services: list[str]
    records: Sequence[Record]  # R, in the order in which they leave
    events_through: npt.NDArray[np.int64]  # (R,) how many events have left with each record
    history: Sequence[Record]
    """What came before the beginning, at times below 0."""
    names: Mapping[str, str]
    """Of devices, by address."""

    def told_before(self, start_us: int) -> list[bytes]:
        """The records of what came before, as the sensor writes them; `start_us`: when the beginning is."""
        return [zeek_record(one.connection.moved(start_us), one.uid) for one in self.history]

    @property
    def classes(self) -> tuple[str, ...]:
        return CLASSES

    @property
    def late(self) -> int:
        return sum(record.sent_us - record.connection.end_us > A_SECOND_US // 4 for record in self.records)

    @property
    def twice(self) -> int:
        return len(self.records) - len({record.connection for record in self.records})

    def service(self, place: int) -> str:
        return self.services[place]


def simulate(seconds: float, seed: int, history_s: float = HISTORY_S) -> FlowSimulation:
    """The same arguments give the same. All kinds of attack occur from 15 seconds on.

    Raises SettingsError for a time that is no positive number.
    """
    if not (math.isfinite(seconds) and seconds > 0):
        raise SettingsError(f"cannot simulate {seconds} seconds: it must be a positive number")
    at = addresses()
    plan = planned(ATTACKS, seconds, seed)
    found = [
        *_ordinary(-round(history_s * A_SECOND_US), round(seconds * A_SECOND_US), seed),
        *_hostile(plan, seed),
    ]
    drawn = _apart(sorted(_addressed(found, at), key=lambda one: (one[0].end_us, one[0].ends)))
    before = [
        Record(one.end_us, one, _uid(seed, place)) for place, (one, _) in enumerate(drawn) if one.end_us < 0
    ]
    live = drawn[len(before) :]
    records, firsts = _sent(live, seed, len(before))
    return _of(tuple(episode for episode, _ in plan), live, records, firsts, before, at)


_Drawn = tuple[Connection, int]
"""And of which episode it is."""


def _ordinary(begin_us: int, end_us: int, seed: int) -> Iterable[_Drawn]:
    for device in device_ids():
        for connection in ordinary(device, begin_us, end_us, Random(f"{seed}/habits/{device}")):
            yield connection, NO_EPISODE


def _hostile(plan: Sequence[tuple[Episode, Attack]], seed: int) -> Iterable[_Drawn]:
    for place, attack, stage in stages(plan, seed):
        for connection in attack.connections(stage):
            yield connection, place


def _addressed(found: Iterable[_Drawn], at: Mapping[str, str]) -> Iterable[_Drawn]:
    """Addresses for names."""
    for connection, episode in found:
        ends = (at.get(end, end) for end in connection.ends)
        originator, responder = ends
        yield replace(connection, originator=originator, responder=responder), episode


def _apart(drawn: Sequence[_Drawn]) -> list[_Drawn]:
    """Ends a microsecond apart where they coincide, and fresh ports in turn: no two are told for one."""
    latest_us, ports, found = -(1 << 62), dict[str, int](), []
    for connection, episode in drawn:
        end_us = max(latest_us + 1, connection.end_us)
        latest_us = end_us
        port = connection.originator_port
        if port >= _FIRST_FRESH:
            port = ports.get(connection.originator, port)
            ports[connection.originator] = _FIRST_FRESH + (port + 1 - _FIRST_FRESH) % _FRESH
        moved = replace(connection, start_us=connection.start_us + end_us - connection.end_us, end_us=end_us)
        found.append((replace(moved, originator_port=port), episode))
    return found


def _sent(live: Sequence[_Drawn], seed: int, first: int) -> tuple[list[Record], list[int]]:
    """The records as they leave, and of each connection when its first does."""
    random = Random(f"{seed}/shipping")
    records, firsts = [], []
    for place, (connection, _) in enumerate(live):
        is_late, is_twice = random.random() < LATE_SHARE, random.random() < TWICE_SHARE
        sent_us = connection.end_us + (_drawn_us(random, LATE_S) if is_late else 0)
        uid = _uid(seed, first + place)
        records.append(Record(sent_us, connection, uid))
        firsts.append(sent_us)
        if is_twice:  # by a shipper that was not sure, or by a second sensor under a name of its own
            name = uid if random.random() < 0.5 else f"{uid}x"
            records.append(Record(sent_us + _drawn_us(random, AGAIN_S), connection, name))
    records.sort(key=lambda record: (record.sent_us, record.connection.end_us))
    return records, firsts


def _drawn_us(random: Random, span_s: tuple[float, float]) -> int:
    return round(random.uniform(*span_s) * A_SECOND_US)


def _uid(seed: int, place: int) -> str:
    return f"C{seed:x}d{place:06x}"


def _of(
    episodes: tuple[Episode, ...],
    live: Sequence[_Drawn],
    records: Sequence[Record],
    firsts: Sequence[int],
    before: Sequence[Record],
    at: Mapping[str, str],
) -> FlowSimulation:
    names = {address: name for name, address in at.items()}
    order = sorted(range(len(live)), key=lambda place: (firsts[place], live[place][0].end_us))
    events = [
        (names[end], live[place], firsts[place])
        for place in order
        for end in live[place][0].ends
        if end in names
    ]
    many = [sum(end in names for end in live[place][0].ends) for place in order]
    left = np.cumsum([0, *many])  # events that have left with so many connections
    sent = np.array([firsts[place] for place in order], np.int64)
    gone = np.searchsorted(sent, [record.sent_us for record in records], "right")
    return FlowSimulation(
        episodes=episodes,
        device_id=[name for name, _, _ in events],
        event_time_us=np.array([connection.end_us for _, (connection, _), _ in events], np.int64),
        sent_us=np.array([first for _, _, first in events], np.int64),
        truth=[NORMAL if episode < 0 else episodes[episode].truth for _, (_, episode), _ in events],
        episode=np.array([episode for _, (_, episode), _ in events], np.int64),
        services=[
            connection.service or f"{connection.protocol}/{connection.responder_port}"
            for _, (connection, _), _ in events
        ],
        records=records,
        events_through=left[gone],
        history=before,
        names=names,
    )
