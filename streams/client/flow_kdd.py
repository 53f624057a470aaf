"""A file's flows as rows of KDD'99's columns, in the order in which they count."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from streams.client.flow_files import FileRecord
from streams.client.flow_reading import blocks
from streams.codec.ingest.flows.decoder import FlowDecoder
from streams.core.flow.columns import DeviceFlows, Index, from_values, hash_of
from streams.core.flow.kdd import Columns, projected
from streams.core.flow.passing import pass_turn
from streams.core.flow.records import NEVER, Patience
from streams.core.flow.settling import release
from streams.core.flow.state import States, blank
from streams.core.flows import DeviceFlow
from streams.core.home import Home
from streams.core.kdd99 import KDD99

COLUMNS: Final = KDD99.file_columns
_NUMBERS: Final = {column.name: column.is_rate for column in KDD99.numeric}


class _Projection:
    """States of all devices so far."""

    def __init__(self) -> None:
        self._number: dict[str, int] = {}
        self._states: States = blank(0)
        self._latest_us: Index = np.zeros(0, np.int64)
        self._addresses: list[int] = []

    def of(self, flows: Sequence[DeviceFlow]) -> Iterator[list[str]]:
        """In a turn as the stream's, but that no timestamp of Kafka's bounds a device's time."""
        records, names = from_values(flows)
        devices = np.array([self._numbered(name) for name in names], np.int64)
        before = self._states[devices]
        passed = pass_turn(before, self._latest_us[devices], records, records.end_us)
        self._states[devices], self._latest_us[devices] = passed.step.states, passed.latest_us
        yield from self._rows(before, passed.step.flows, devices)

    def rest(self) -> Iterator[list[str]]:
        """What waits at the end."""
        states = self._states[: len(self._number)]
        flows, before = release(states, NEVER, Patience())
        yield from self._rows(before, flows, np.arange(len(states)))

    def _rows(self, before: States, flows: DeviceFlows, devices: Index) -> Iterator[list[str]]:
        """Of flows in the order in which they count."""
        if not len(flows):
            return
        order = np.argsort(flows.device, kind="stable")
        sorted_ = flows.at(order)
        address = np.array(self._addresses, np.uint64)[devices][sorted_.device]
        land = (sorted_.peer == address) & (sorted_.device_port == sorted_.peer_port)
        back = np.argsort(order)
        yield from _texts(projected(before, sorted_, land), back)

    def _numbered(self, name: str) -> int:
        found = self._number.get(name)
        if found is None:
            found = self._number[name] = len(self._number)
            self._addresses.append(hash_of(name.rpartition("/")[2]))
            if found >= len(self._states):
                more = max(64, len(self._states))
                self._states = np.concatenate([self._states, blank(more)])
                self._latest_us = np.concatenate([self._latest_us, np.zeros(more, np.int64)])
        return found


def kdd_rows(records: Iterable[FileRecord], decoder: FlowDecoder, home: Home) -> Iterator[list[str]]:
    """Cells in the order of COLUMNS; what is unknown is empty. What cannot be read has no row."""
    projection = _Projection()
    for block in blocks(records):
        read = decoder.decode(block, block[0].header)
        flows = [one for flow in read.flows for one in home.device_flows(flow)]
        if flows:
            yield from projection.of(flows)
    yield from projection.rest()


def _texts(columns: Columns, order: Index) -> Iterator[list[str]]:
    listed = {
        name: values
        if isinstance(values, list)
        else [_number(one, _NUMBERS[name]) for one in values.tolist()]
        for name, values in columns.items()
    }
    told = [listed.get(name) for name in COLUMNS]
    for at in order.tolist():
        yield ["" if values is None else values[at] for values in told]


def _number(value: float, is_rate: bool) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.2f}" if is_rate else str(int(value))
