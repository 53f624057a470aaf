"""The laboratory's captures by scenario, and copies that end now, since collectors say when they received."""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streams.adapters.captures import Frame, frames

_HEADER: Final = struct.Struct("<IHHiIII")
_RECORD: Final = struct.Struct("<IIII")
_MAGIC: Final = 0xA1B2C3D4
_LARGEST_BYTES: Final = 262_144
MOST_OF_A_FLOOD: Final = 2_400
"""Packets: an exporter sends the flows of a file at once, and more than these are too many for a socket."""


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    capture: Path
    """As it was recorded."""
    recent: Path
    """With all times later by `by_us`, a plain pcap."""
    by_us: int


def scenarios(lab: Path, folder: Path) -> list[Scenario]:
    """Of the laboratory's `pcap/`, by name; their copies lie in `folder`."""
    return [_scenario(path, folder) for path in sorted((lab / "pcap").glob("*.pcap.gz"))]


def _scenario(path: Path, folder: Path) -> Scenario:
    name = path.name.removesuffix(".pcap.gz")
    found = list(frames(path))
    if name.startswith("flood"):
        found = found[:MOST_OF_A_FLOOD]
    by_us = (time.time_ns() // 1_000_000_000 - found[-1].time_us // 1_000_000 - 1) * 1_000_000
    recent = folder / f"{name}.pcap"
    _write(recent, found, by_us)
    return Scenario(name.partition("-")[0], path, recent, by_us)


def _write(path: Path, found: list[Frame], by_us: int) -> None:
    with path.open("wb") as file:
        file.write(_HEADER.pack(_MAGIC, 2, 4, 0, 0, _LARGEST_BYTES, found[0].link))
        for frame in found:
            seconds, micros = divmod(frame.time_us + by_us, 1_000_000)
            file.write(_RECORD.pack(seconds, micros, len(frame.data), len(frame.data)))
            file.write(frame.data)
