"""Labelled captures of flows, as a table of Zeek's fields, and their features: by the code of the stream.

A capture is a network of its own: its devices start with empty states, and its flows come in file order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from streams.core.flow.columns import (
    DIRECTIONS,
    ROLES,
    UNKNOWN,
    DeviceFlows,
    Index,
    PeerKind,
    Protocol,
    columns_of,
    from_values,
    hash_of,
    joined,
)
from streams.core.flow.features import advance
from streams.core.flow.state import blank
from streams.core.flows import DeviceFlow, Direction, Quality, Role, State
from streams.core.tables import Rows

TURN: Final = 4_096

_TCP_STATES: Final = {
    "S0": State.NO_ANSWER,
    "REJ": State.REFUSED,
    "RSTO": State.RESET,
    "RSTR": State.RESET,
    "SH": State.HALF_OPEN,
    "RSTOS0": State.HALF_OPEN,
    "SF": State.ANSWERED,
    "S1": State.ANSWERED,
    "S2": State.ANSWERED,
    "S3": State.ANSWERED,
    "OTH": State.PARTIAL,
    "SHR": State.PARTIAL,
    "RSTRH": State.PARTIAL,
}


@dataclass(frozen=True, slots=True, eq=False)
class Capture:
    """N device flows of one capture: a flow between two devices is there for each of them."""

    name: str
    dataset: str
    flows: DeviceFlows
    devices: list[str]
    row: Index
    """(N,) place in the capture's file."""
    label: list[str | None]
    """N; None: not to be scored."""


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """A capture's features."""

    capture: Capture
    flow: Index
    """(M,) the records with which flows counted: repeats do not."""
    flows: DeviceFlows
    """(M,) those that count, known by `identity`: place in the capture's file + 1."""
    rows: Rows
    """(M,) of the table `flow`."""


def captures(
    path: Path, at_home: Mapping[str, Sequence[str]], alone: Sequence[str] = ()
) -> Iterator[Capture]:
    """Those of a file, by name.

    Home are private addresses and those that `at_home` names for a capture; of the captures `alone`, the
    address that has the most flows, and no other.
    """
    yield from captures_of(pl.read_parquet(path), at_home, alone)


def captures_of(
    table: pl.DataFrame, at_home: Mapping[str, Sequence[str]], alone: Sequence[str] = ()
) -> Iterator[Capture]:
    """Those of a table, likewise."""
    for name in sorted(table["capture"].unique()):
        part = table.filter(pl.col("capture") == name).sort("row")
        inside = _home(part, set(at_home.get(name, ())), only_busiest=name in alone)
        yield _capture(name, part, inside)


def benign_capture(name: str, flows: Sequence[DeviceFlow]) -> Capture:
    """Of flows in arrival order, all of them normal."""
    columns, devices = from_values(flows)
    _, number = np.unique(columns.identity, return_inverse=True)
    known = replace(columns, identity=number.astype(np.uint64) + np.uint64(1))
    return Capture(name, name, known, devices, number, ["normal"] * len(number))


def describe(capture: Capture, turn: int = TURN) -> Described:
    """Of a capture that has flows."""
    states = blank(len(capture.devices))
    counted, flows, rows = [], [], []
    for first in range(0, len(capture.flows), turn):
        step = advance(states, capture.flows.at(slice(first, first + turn)))
        states = step.states
        counted.append(step.record + first)
        flows.append(step.flows)
        rows.append(step.rows)
    return Described(capture, np.concatenate(counted), joined(flows), np.concatenate(rows))


def _home(part: pl.DataFrame, named: set[str], *, only_busiest: bool) -> set[str]:
    ends = pl.concat([part["orig_addr"], part["resp_addr"]])
    if only_busiest:
        return {str(ends.value_counts(sort=True)[ends.name][0])}
    return named | {address for address in ends.unique() if PeerKind.of(address) == PeerKind.PRIVATE}


def _capture(name: str, part: pl.DataFrame, inside: set[str]) -> Capture:
    ends = {way: part[f"{way}_addr"].to_list() for way in ("orig", "resp")}
    both = np.array([[one in inside for one in ends[way]] for way in ("orig", "resp")])  # (2, rows)
    row, end = np.nonzero(both.T)  # device flows in file order, the originator's first
    mine = [(ends["orig"], ends["resp"])[e][r] for r, e in zip(row.tolist(), end.tolist(), strict=True)]
    peers = [(ends["resp"], ends["orig"])[e][r] for r, e in zip(row.tolist(), end.tolist(), strict=True)]
    number = {address: place for place, address in enumerate(dict.fromkeys(mine))}
    hashes = {address: (hash_of(address), PeerKind.of(address)) for address in set(peers)}
    whole = _columns(part)
    taken = {key: column[row] for key, column in whole.items()}
    begins = end == 0
    internal = both[0, row] & both[1, row]
    direction = np.where(begins, DIRECTIONS.index(Direction.OUT), DIRECTIONS.index(Direction.IN))
    flows = columns_of(
        device=[number[address] for address in mine],
        peer=np.array([hashes[address][0] for address in peers], np.uint64),
        peer_kind=[hashes[address][1] for address in peers],
        direction=np.where(internal, DIRECTIONS.index(Direction.INTERNAL), direction),
        role=np.where(begins, ROLES.index(Role.ORIGINATOR), ROLES.index(Role.TARGET)),
        **_sided(taken, begins),
        **{key: taken[key] for key in ("start_us", "end_us", "protocol", "service", "state", "quality")},
        identity=row.astype(np.uint64) + np.uint64(1),
        final=np.ones(len(row), np.bool_),
        half=np.zeros(len(row), np.bool_),
        tcp_flags=np.full(len(row), UNKNOWN),
    )
    labels = part["label"].to_list()
    return Capture(name, part["dataset"][0], flows, list(number), row, [labels[r] for r in row.tolist()])


def _columns(part: pl.DataFrame) -> dict[str, npt.NDArray[np.generic]]:
    """What a table says of each row, whoever looks at it."""
    counters = {
        f"{way}_{what}": part[f"{way}_{what}"].cast(pl.Int64).fill_null(UNKNOWN).to_numpy().copy()
        for way in ("orig", "resp")
        for what in ("packets", "ip_bytes", "bytes")
    }
    nothing = np.asarray(np.stack(list(counters.values())).max(axis=0) <= 0)
    for column in counters.values():
        column[nothing] = UNKNOWN
    start_us = np.rint(part["start_s"].to_numpy() * 1e6).astype(np.int64)
    duration_s = part["duration_s"].fill_null(0.0).to_numpy()
    protocol = np.array([Protocol.of(one) for one in part["proto"].to_list()], np.uint8)
    flipped = part["history"].fill_null("").str.contains("^", literal=True).to_numpy()
    quality = flipped * int(Quality.FLIPPED) + nothing * int(Quality.ZERO_COUNTERS)
    services = part["service"].fill_null("").to_list()
    coded = {one: hash_of(one) & 0xFFFFFFFF for one in set(services)}
    return {
        **counters,
        "orig_port": part["orig_port"].to_numpy(),
        "resp_port": part["resp_port"].to_numpy(),
        "start_us": start_us,
        "end_us": start_us + np.rint(duration_s * 1e6).astype(np.int64),
        "protocol": protocol,
        "quality": quality,
        "service": np.array([coded[one] for one in services], np.uint32),
        "state": _states(part, protocol, counters["resp_packets"]),
    }


def _states(part: pl.DataFrame, protocol: npt.NDArray[np.uint8], replies: Index) -> npt.NDArray[np.uint8]:
    """Zeek's of TCP; of other protocols whether anything came back."""
    told = np.array([_TCP_STATES.get(one, State.UNKNOWN) for one in part["state"].to_list()], np.uint8)
    counted = np.where(replies == 0, State.NO_ANSWER, State.ANSWERED)
    counted = np.where(replies < 0, State.UNKNOWN, counted)
    return np.where(protocol == Protocol.TCP, told, counted).astype(np.uint8)


def _sided(taken: dict[str, npt.NDArray[np.generic]], begins: npt.NDArray[np.bool_]) -> dict[str, Index]:
    """Ports and counters as the device has them."""
    sides: dict[str, Index] = {}
    for mine, ours, theirs in (("device", "orig", "resp"), ("peer", "resp", "orig")):
        sides[f"{mine}_port"] = np.where(begins, taken[f"{ours}_port"], taken[f"{theirs}_port"])
    for name, what in (("packets", "packets"), ("ip_bytes", "ip_bytes"), ("payload_bytes", "bytes")):
        for way, ours, theirs in (("out", "orig", "resp"), ("in", "resp", "orig")):
            sides[f"{name}_{way}"] = np.where(begins, taken[f"{ours}_{what}"], taken[f"{theirs}_{what}"])
    return sides
