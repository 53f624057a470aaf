"""What the path needs of the world: where windows are kept, and where messages go."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from streams.core.events import Decoded, Message, RawRecord, Source
from streams.core.windows import Index, Windows


class Saved(IntEnum):
    """What became of one device's window in a save."""

    DONE = 0
    NEWER_STORED = 1
    """A window with a later offset stands there: another worker owns the device by now."""


class WindowStore(Protocol):
    """Packed windows by device. Raises WindowStoreUnavailable; every call may be repeated."""

    def load(self, source: Source, devices: Sequence[str]) -> list[bytes | None]: ...

    def save(
        self,
        source: Source,
        devices: Sequence[str],
        based_on: Index,
        windows: Windows,
        added: Index,
    ) -> npt.NDArray[np.uint8]:
        """Store windows (D,), of which the last `added` (D,) rows are new; answers Saved (D,).

        `based_on` (D,) is the last offset of the window that each grew from, -1 for a blank one. A stored
        window of this life of the topic with a later offset than the given one stays as it is.
        """
        ...


class Publisher(Protocol):
    """Returns when every message is on the broker; raises BrokerUnavailable. May be repeated."""

    def publish(self, messages: Sequence[Message]) -> None: ...


class Decoder(Protocol):
    def decode(self, records: Sequence[RawRecord]) -> Decoded: ...
