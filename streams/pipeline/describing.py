"""How the records of a topic become rows of a table: one value for each topic that is judged.

A record of telemetry is an event, and its columns are the row. A flow is not: its row says what it is in the
light of what its device did before, several rows may come of one record, or none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np

from streams.core import windows as sequence
from streams.core.clocks import counted_time_us
from streams.core.events import Events
from streams.core.flow.columns import ROLES, DeviceFlows, Mask, Protocol, unpacked
from streams.core.flow.passing import Passed, pass_turn
from streams.core.flow.table import FLOW
from streams.core.flows import Role
from streams.core.moving import as_bytes, copied
from streams.core.windows import Advance, Index, Windows
from streams.pipeline.ports import Decoder


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """What a turn's records are, and the windows (D,) of their devices before they come in."""

    events: Events  # (M,) with rows of the table, by record
    device: Index  # (M,)
    windows: Windows  # (D,) with what is kept beside the rows as it is afterwards
    reached: Index | None = None
    """(D,) the offset of the last record of each; None: each record is an event."""
    repeats: int = 0
    """Records that had been taken in before: read again."""
    duplicates: int = 0
    """Records that say what another one said."""
    flows: DeviceFlows | None = None
    """(M,) of the events; None: they are no flows."""
    age_ms: Index | None = None
    """(M,) how long the device of each flow was known by then."""


Describe = Callable[[Windows, Index, Events], Described]
"""Windows (D,), and the records (N,) with whose each is (N,), to what becomes of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What became of a turn's records."""

    described: Described
    advance: Advance


def advance(describe: Describe, windows: Windows, device: Index, records: Events, idle_us: int) -> Step:
    """Records (N,) of devices (D,) with these windows: what they are, and the windows afterwards."""
    described = describe(windows, device, records)
    step = sequence.advance(described.windows, described.device, described.events, idle_us)
    if described.reached is not None:
        step = sequence.reaching(step, described.reached)
    return Step(described, step)


def as_events(windows: Windows, device: Index, records: Events) -> Described:
    """Each record is an event."""
    before = records.offset <= windows["head"]["offset"][device]
    return Described(records, device, windows, repeats=int(before.sum()))


@dataclass(frozen=True, slots=True)
class Intake:
    """A topic, and how its records become rows."""

    topic: str
    decoder: Decoder
    describe: Describe = as_events


def as_flows(windows: Windows, device: Index, records: Events) -> Described:
    """Each record is of a flow of its device; what stands beside the rows is as in `core/flow/keeping.py`."""
    head = windows["head"]
    fresh = np.flatnonzero(records.offset > head["offset"][device])  # (K,)
    repeats = len(records) - len(fresh)
    if not len(fresh):
        nothing = replace(records.only(np.zeros(len(records), np.bool_)), rows=np.zeros(0, FLOW.row))
        return Described(nothing, fresh, windows, repeats=repeats)
    owners, number = np.unique(device[fresh], return_inverse=True)
    kept = windows["beside"]
    flows = unpacked(records.rows[fresh], number)
    time_us = counted_time_us(records.event_time_us[fresh], records.kafka_us[fresh])
    passed = pass_turn(copied(kept["state"], owners), kept["latest_us"][owners], flows, time_us)
    after, reached = copied(windows), head["offset"].astype(np.int64)
    as_bytes(after["beside"]["state"])[owners] = as_bytes(passed.step.states)
    after["beside"]["latest_us"][owners] = passed.latest_us
    np.maximum.at(reached, device[fresh], records.offset[fresh])
    return Described(
        _events(records, fresh[passed.step.record], passed),
        owners[passed.step.flows.device],
        after,
        reached,
        repeats,
        int((~passed.step.new).sum()),
        passed.step.flows,
        passed.step.age_ms,
    )


def _events(records: Events, cause: Index, passed: Passed) -> Events:
    """Of the flows (M,) that count, with the records that brought them about."""
    flows, told = passed.step.flows, None
    if records.context is not None:
        told = _Contexts(records.context, cause, _is_its_own(records, cause, flows), flows)
    return Events(
        position=records.position[cause],
        offset=records.offset[cause],
        event_time_us=flows.end_us,
        device_id=[records.device_id[at] for at in cause.tolist()],
        rows=passed.step.rows,
        context=told,
        timestamp_us=None if records.timestamp_us is None else records.timestamp_us[cause],
        ordinal=passed.ordinal if passed.ordinal.any() else None,
    )


def _is_its_own(records: Events, cause: Index, flows: DeviceFlows) -> Mask:
    """(M,) whether a flow is the one that its record tells of: a record may let older ones go."""
    names = ("protocol", "peer", "device_port", "peer_port")
    same = [records.rows[name][cause] == getattr(flows, name) for name in names]
    return np.asarray(np.logical_and.reduce(same))


class _Contexts(Sequence[Mapping[str, str] | None]):
    """What M flows carry: as their records say, where they tell of them; of others ports alone are kept."""

    def __init__(
        self,
        of_records: Sequence[Mapping[str, str] | None],
        cause: Index,
        is_its_own: Mask,
        flows: DeviceFlows,
    ) -> None:
        self._of_records = of_records
        self._cause = cause
        self._is_its_own = is_its_own
        self._flows = flows

    def __len__(self) -> int:
        return len(self._cause)

    @overload
    def __getitem__(self, place: int) -> Mapping[str, str] | None: ...
    @overload
    def __getitem__(self, place: slice) -> list[Mapping[str, str] | None]: ...
    def __getitem__(self, place: int | slice) -> Mapping[str, str] | list[Mapping[str, str] | None] | None:
        if isinstance(place, slice):
            return [self[at] for at in range(*place.indices(len(self)))]
        if self._is_its_own[place]:
            return self._of_records[int(self._cause[place])]
        flows = self._flows
        begins = ROLES[int(flows.role[place])] == Role.ORIGINATOR
        mine, theirs = ("src", "dst") if begins else ("dst", "src")
        ports = {mine: flows.device_port[place], theirs: flows.peer_port[place]}
        told = {f"{end}_port": str(int(port)) for end, port in sorted(ports.items())}
        protocol = Protocol(int(flows.protocol[place]))
        return told if protocol is Protocol.OTHER else told | {"protocol": protocol.name.lower()}
