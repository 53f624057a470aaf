"""What a demonstration plays, whatever its events are: the truth of each, and when it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt


class Episode(Protocol):
    """One attack on or by one device, in [start, end)."""

    @property
    def name(self) -> str: ...
    @property
    def attack(self) -> str:
        """The type of the KDD'99 training file that it imitates; empty where it imitates none."""

    @property
    def truth(self) -> str: ...
    @property
    def device_id(self) -> str: ...
    @property
    def start_us(self) -> int: ...
    @property
    def end_us(self) -> int: ...


class Script(Protocol):
    """N events in the order in which they leave. Times are microseconds from the beginning on."""

    @property
    def episodes(self) -> Sequence[Episode]: ...
    @property
    def classes(self) -> Sequence[str]:
        """Of attacks, in the order in which they are told."""

    @property
    def device_id(self) -> Sequence[str]: ...
    @property
    def event_time_us(self) -> npt.NDArray[np.int64]:
        """(N,) of a device no two are equal."""

    @property
    def sent_us(self) -> npt.NDArray[np.int64]:
        """(N,) ascending: when each leaves."""

    @property
    def truth(self) -> Sequence[str]:
        """`normal`, or the episode's class."""

    @property
    def episode(self) -> npt.NDArray[np.int64]:
        """(N,) place in `episodes`; below 0: of none."""

    def service(self, place: int) -> str:
        """Of an event, as its sensor calls it."""
