"""Flows of devices, as they stand on ids.flows, to events: rows of PACKED, and what their alerts say of them.

Whole batches become columns. A record's result depends on its own key and bytes alone.
"""

from __future__ import annotations

import functools
import ipaddress
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, overload

import numpy as np
import numpy.typing as npt
import polars as pl

from streams.codec.avro import schemas
from streams.codec.avro.columns import Columns
from streams.codec.avro.datum import Unreadable
from streams.codec.ingest import datums
from streams.codec.ingest.checks import (
    END_OF_YEAR_9999_US,
    USUAL,
    Batch,
    Limits,
    check_devices,
    rejected,
    shown,
    without_nulls,
)
from streams.codec.ingest.writers import Writers
from streams.core.clocks import kafka_time_us
from streams.core.events import Decoded, Events, RawRecord, Reason, Rejected
from streams.core.flow.columns import (
    COUNTERS,
    DIRECTIONS,
    PACKED,
    ROLES,
    UNKNOWN,
    PeerKind,
    Protocol,
    hash_of,
)
from streams.core.flow.table import FLOW
from streams.core.flows import Quality, Role, State

_KEPT: Final = 1 << 16
"""Peers whose hashes are remembered."""
_OPTIONAL: Final = frozenset((*COUNTERS, "tcp_flags"))
_CODES: Final[Mapping[str, Mapping[str, int]]] = {
    "direction": {str(one): place for place, one in enumerate(DIRECTIONS)},
    "role": {str(one): place for place, one in enumerate(ROLES)},
    "state": {one.name.lower(): int(one) for one in State},
}
_QUALITIES: Final = {word: int(one) for one in Quality for word in one.words}
_NO_CODE: Final = 255
_TOLD: Final = ("device", "role", "peer", "device_port", "peer_port", "protocol", "site")
_AS_WRITTEN: Final = ("flow_id", "community_id", "sensor")
"""What the context of an alert is made of."""


class FlowContexts(Sequence[Mapping[str, str] | None]):
    """What N flows carry beside their features; each is written when it is asked for, as alerts are few."""

    def __init__(self, columns: Mapping[str, pl.Series], at: npt.NDArray[np.int64]) -> None:
        self._columns = columns
        self._at = at
        self._rows: list[tuple[Any, ...]] = []
        """Of all N, once one is asked for: a value of a column by itself costs as much as a row."""

    @classmethod
    def of(cls, parts: Sequence[Columns]) -> FlowContexts:
        names = (*_TOLD, *_AS_WRITTEN)
        columns = {name: pl.concat([part[name] for part in parts]) for name in names if parts}
        return cls(columns, np.arange(sum(len(part["device"]) for part in parts)))

    def at(self, places: npt.NDArray[np.int64]) -> FlowContexts:
        return FlowContexts(self._columns, self._at[places])

    def __len__(self) -> int:
        return len(self._at)

    @overload
    def __getitem__(self, place: int) -> Mapping[str, str]: ...
    @overload
    def __getitem__(self, place: slice) -> FlowContexts: ...
    def __getitem__(self, place: int | slice) -> Mapping[str, str] | FlowContexts:
        if isinstance(place, slice):
            return self.at(np.arange(len(self))[place])
        if not self._rows:
            columns = [self._columns[name].gather(self._at) for name in (*_TOLD, *_AS_WRITTEN)]
            self._rows = list(zip(*(column.to_list() for column in columns), strict=True))
        device, role, peer, device_port, peer_port, protocol, site, *written = self._rows[place]
        address = device.removeprefix(f"{site}/") if site else device
        mine, theirs = ("src", "dst") if role == Role.ORIGINATOR else ("dst", "src")
        told = {f"{mine}_address": address} if _is_address(address) else {}
        told[f"{mine}_port"] = str(device_port)
        told[f"{theirs}_address"], told[f"{theirs}_port"] = peer, str(peer_port)
        told["protocol"] = protocol
        for name, text in zip(_AS_WRITTEN, written, strict=True):
            if text:
                told[name] = text
        return told


@dataclass(frozen=True, slots=True)
class _Part:
    """Readable records of one writer."""

    positions: npt.NDArray[np.int64]  # (N,)
    columns: Columns
    rows: npt.NDArray[np.void]  # (N,) of PACKED

    def only(self, keep: npt.NDArray[np.bool_]) -> _Part:
        mask = pl.Series(keep)
        columns = {name: series.filter(mask) for name, series in self.columns.items()}
        return _Part(self.positions[keep], columns, self.rows[keep])


class DeviceFlowDecoder:
    """Decodes chunks of ids.flows; safe to use from several threads."""

    def __init__(self, limits: Limits = USUAL) -> None:
        self._writers = Writers(schemas.load(schemas.DEVICE_FLOW))
        self._limits = limits

    def decode(self, records: Sequence[RawRecord]) -> Decoded:
        """Events in the records' order, their rows of PACKED, and a Rejected for each record that is none."""
        wrong: list[Rejected] = []
        parts: list[_Part] = []
        for group in self._writers.groups(records, wrong):
            if isinstance(group.plan, Unreadable):
                wrong += [rejected(at, group.plan.reason, group.plan.detail) for at in group.positions]
                continue
            data = [(records[at].value or b"")[group.header_size :] for at in group.positions]
            places, read = datums.read(group.plan, group.positions, data, wrong)
            positions, read, nulls = without_nulls(np.array(places, np.int64), read, _OPTIONAL)
            wrong += nulls
            if len(positions):
                parts.append(self._checked(records, _Part(positions, read, _packed(read)), wrong))
        return Decoded(_merged(records, parts), tuple(sorted(wrong, key=lambda one: one.position)))

    def _checked(self, records: Sequence[RawRecord], part: _Part, wrong: list[Rejected]) -> _Part:
        """Without the records that are no flows of the device that their key names."""
        rows, read = part.rows, part.columns
        keys = [records[at].key for at in part.positions.tolist()]
        named, no_time = {"device_id": read["device"]}, np.zeros(len(keys), np.int64)
        devices = read["device"].to_list()
        batch = Batch(FLOW, part.positions, keys, named, devices, no_time, self._limits)
        check_devices(batch)
        for name in (*_CODES, "quality"):
            unknown = np.asarray(rows[name] == _NO_CODE)
            batch.reject(unknown, Reason.UNDECODABLE, functools.partial(_no_word, name, read[name]))
        early = np.minimum(rows["start_us"], rows["end_us"]) < 0
        late = np.maximum(rows["start_us"], rows["end_us"]) >= END_OF_YEAR_9999_US
        batch.reject(np.asarray(early | late), Reason.BAD_EVENT_TIME, lambda row: _times(rows[row]))
        wrong += batch.wrong.values()
        if not batch.wrong:
            return part
        return part.only(np.array([row not in batch.wrong for row in range(len(rows))]))


def _no_word(name: str, column: pl.Series, row: int) -> str:
    value = column[row]
    text = value if isinstance(value, str) else ", ".join(value)
    return f"column {name} says {shown(text)}, which has no meaning"


def _times(row: np.void) -> str:
    return f"the flow is of {row['start_us']} to {row['end_us']} us; it must lie in 1970 to 9999"


def _merged(records: Sequence[RawRecord], parts: Sequence[_Part]) -> Events:
    """The flows of all parts, in the records' order."""
    position = np.concatenate([np.empty(0, np.int64), *(part.positions for part in parts)])
    rows = np.concatenate([np.empty(0, PACKED), *(part.rows for part in parts)])
    devices = [one for part in parts for one in part.columns["device"].to_list()]
    told = FlowContexts.of([part.columns for part in parts])
    if len(parts) > 1:
        order = np.argsort(position)
        position, rows, told = position[order], rows[order], told.at(order)
        devices = [devices[at] for at in order.tolist()]
    places = position.tolist()
    offset = np.fromiter((records[at].offset for at in places), np.int64, len(places))
    stamped = kafka_time_us(np.fromiter((records[at].timestamp for at in places), np.int64, len(places)))
    return Events(position, offset, rows["end_us"].copy(), devices, rows, told, stamped)


def _packed(read: Columns) -> npt.NDArray[np.void]:
    """(N,) of PACKED; a word without a meaning is _NO_CODE."""
    rows = np.zeros(len(read["device"]), PACKED)
    for name in ("start_us", "end_us", "device_port", "peer_port", "final", "half"):
        rows[name] = read[name].to_numpy()
    for name in (*COUNTERS, "tcp_flags"):
        rows[name] = np.maximum(read[name].fill_null(UNKNOWN).to_numpy(), UNKNOWN)
    for name, codes in _CODES.items():
        rows[name] = [codes.get(word, _NO_CODE) for word in read[name].to_list()]
    peers = [_peer(address) for address in read["peer"].to_list()]
    rows["peer"] = np.fromiter((one for one, _ in peers), np.uint64, len(peers))
    rows["peer_kind"] = np.fromiter((kind for _, kind in peers), np.uint8, len(peers))
    rows["protocol"] = [Protocol.of(name) for name in read["protocol"].to_list()]
    rows["service"] = [_service(name) for name in read["service"].to_list()]
    rows["identity"] = np.fromiter(map(hash_of, read["flow_id"].to_list()), np.uint64, len(rows))
    rows["quality"] = [_quality(tuple(words)) for words in read["quality"].to_list()]
    return rows


@functools.lru_cache(maxsize=_KEPT)
def _is_address(text: str) -> bool:
    """A device may be named by its MAC."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


@functools.lru_cache(maxsize=_KEPT)
def _peer(address: str) -> tuple[int, int]:
    return hash_of(address), int(PeerKind.of(address))


@functools.lru_cache(maxsize=4096)
def _service(name: str) -> int:
    return hash_of(name) & 0xFFFFFFFF


@functools.lru_cache(maxsize=4096)
def _quality(words: tuple[str, ...]) -> int:
    bits = [_QUALITIES.get(word, 0) for word in words]
    return functools.reduce(operator.or_, bits, 0) if all(bits) else _NO_CODE
