"""What is sent: rows of a labelled file as devices whose clocks jump now and then, and poison among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np

from bench.feed import START_US
from streams.client.replaying import Feed, device_name, mix
from streams.codec.ingest.connections import encode_connections
from streams.codec.ingest.kdd import read_rows
from streams.core.kdd99 import KDD99
from streams.core.tables import Rows
from streams.model.gate import standard_rows

DEVICES: Final = 60
_ATTACK_SHARE: Final = 0.3
_STEP_US: Final = 250_000
_JUMP_SHARE: Final = 0.01
_JUMP_US: Final = 7_200_000_000
"""Two hours, beyond the idle rule's one: by the device's clock alone, so its window must go on."""


class Poison(StrEnum):
    """Records that cannot be read, by the reason that their dead letters must give."""

    EMPTY = "empty_value"
    FRAMING = "unknown_framing"
    SCHEMA = "unknown_schema"
    TRUNCATED = "truncated"
    TRAILING = "trailing_bytes"
    FOREIGN_KEY = "key_not_device_id"
    NO_KEY = "key_missing"


@dataclass(frozen=True, slots=True)
class Record:
    """What the producer sends. `row` is its place in the feed, -1 for poison."""

    serial: int
    key: bytes | None
    value: bytes
    row: int
    poison: Poison | None = None


def feed(data: Path | None, events: int, seed: int) -> Feed:
    """Events of DEVICES devices in turn; without a file, rows that are drawn."""
    if data is None:
        rows, device = standard_rows(KDD99, events), np.arange(events, dtype=np.int64) % DEVICES
        counts = np.array([not number.is_rate for number in KDD99.numeric])
        rows["numbers"][:, counts] = np.floor(rows["numbers"][:, counts])  # as they travel
    else:
        read = read_rows(data, KDD99)
        is_attack = read.label != read.labels.index("normal")
        order, device = mix(is_attack, events, DEVICES, _ATTACK_SHARE, seed)
        rows = read.rows[order]
    rng = np.random.default_rng(seed)
    jumps = np.where(rng.random(events) < _JUMP_SHARE, _JUMP_US, 0)
    time_us = START_US + _STEP_US * np.arange(events, dtype=np.int64)
    for number in range(DEVICES):
        mine = device == number
        time_us[mine] += np.cumsum(jumps[mine])
    return Feed(rows, device, time_us)


def records(source: Feed, block: Sequence[int], first_serial: int) -> list[Record]:
    """The events at these places as records."""
    names = [device_name(int(source.device[place])) for place in block]
    values = encode_connections(KDD99, names, source.event_time_us[list(block)], source.rows[list(block)])
    return [
        Record(first_serial + i, name.encode(), value, place)
        for i, (name, value, place) in enumerate(zip(names, values, block, strict=True))
    ]


def poisoned(poison: Poison, serial: int, row: Rows, device: str) -> Record:
    """One poison record, on the partition of a device that speaks as well. `row` (1,) is a good one."""
    (good,) = encode_connections(KDD99, [device], [START_US], row)
    key: bytes | None = device.encode()
    value = {
        Poison.EMPTY: b"",
        Poison.FRAMING: b"\x7fnothing that anybody reads",
        Poison.SCHEMA: b"\xc3\x01" + b"\x00nobody\x00" + good[10:],
        Poison.TRUNCATED: good[:-3],
        Poison.TRAILING: good + b"\x00",
    }.get(poison, good)
    if poison is Poison.FOREIGN_KEY:
        key = device_name(DEVICES).encode()
    if poison is Poison.NO_KEY:
        key = None
    return Record(serial, key, value, -1, poison)
