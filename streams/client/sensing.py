"""Frames of a capture or an interface to flows, with a count of what became of the packets."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from streams.adapters.captures import Frame
from streams.codec.ingest.packets import Frames
from streams.core.flows import Flow
from streams.core.meter import Meter, Waits


@dataclass(slots=True)
class Counted:
    packets: int = 0
    """Of IP."""
    others: int = 0
    """Frames of other protocols, or cut too short."""
    flows: int = 0
    """That ended."""
    reports: int = 0
    """Of flows, on the way and at their ends."""


class Sensing:
    """For one thread. `name` is the sensor's."""

    def __init__(self, name: str, site: str, waits: Waits, *, with_macs: bool = False) -> None:
        self.counted = Counted()
        self.meter = Meter(waits)
        self._name = name
        self._site = site
        self._with_macs = with_macs
        self._run = ""  # begins the flows' ids: the same for the same capture
        self._readers: dict[int, Frames] = {}

    def flows(self, frames: Iterable[Frame | None]) -> Iterator[Flow]:
        """Each once it is to be reported; None among the frames says that time passes without any."""
        for frame in frames:
            if not self._run and frame is not None:
                self._run = f"{self._name}-{frame.time_us:x}-"
            if frame is None:
                yield from self._named(self.meter.pass_to(time.time_ns() // 1000))
                continue
            packet = self._reader(frame.link).packet(frame.time_us, frame.data)
            if packet is None:
                self.counted.others += 1
                continue
            self.counted.packets += 1
            ready = self.meter.add(packet)
            if ready:
                yield from self._named(ready)

    def rest(self) -> Iterator[Flow]:
        """What is under way, since nothing more will come."""
        yield from self._named(self.meter.end())

    def _reader(self, link: int) -> Frames:
        reader = self._readers.get(link)
        if reader is None:
            reader = self._readers[link] = Frames(link, self._with_macs)
        return reader

    def _named(self, flows: Sequence[Flow]) -> Iterator[Flow]:
        for flow in flows:
            self.counted.reports += 1
            self.counted.flows += flow.final
            yield replace(flow, flow_id=self._run + flow.flow_id, sensor=self._name, site=self._site)
