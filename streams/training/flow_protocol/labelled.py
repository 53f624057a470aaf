"""Flows of all captures as features and classes: what models of flows learn from and are judged on."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.core.flow.columns import Hashes, Index, Mask
from streams.core.tables import Rows
from streams.errors import DataError
from streams.training.flow_captures import Capture, Described, describe

CLASSES: Final = ("normal", "probe", "c2", "dos", "r2l")
NORMAL: Final = 0
UNSCORED: Final = -1
TAXONOMY: Final = {"normal": "normal", "scan": "probe", "flood": "dos", "c2": "c2", "r2l": "r2l"}
"""A capture's label -> class."""
SETTING_UP: Final = frozenset({"sentinel"})
"""Data sets whose devices are set up for the first time."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledFlows:
    """N device flows, capture by capture, in arrival order within each."""

    captures: tuple[str, ...]
    datasets: tuple[str, ...]
    """Of each capture."""
    capture: Index
    """(N,) place in `captures`, ascending."""
    device: Index
    """(N,) numbers that no two captures share."""
    peer: Hashes
    inbound: Mask
    """(N,) the device is the target."""
    start_us: Index
    end_us: Index
    target: Index
    """(N,) place in `CLASSES`; UNSCORED: nobody says."""
    rows: Rows
    """(N,) of the table `flow`."""
    setting_up: Mask
    """(N,) of a device that is set up for the first time."""

    def __len__(self) -> int:
        return len(self.capture)

    def at(self, places: Index | Mask) -> LabelledFlows:
        """Those at the places, in their order; the captures keep their numbers."""
        return LabelledFlows(
            self.captures, self.datasets, **{name: getattr(self, name)[places] for name in _PER_FLOW}
        )

    @property
    def scored(self) -> Mask:
        return np.asarray(self.target != UNSCORED)

    @property
    def clean(self) -> Mask:
        """(N,) normal flows of devices that have no attack in their capture."""
        attacked = np.unique(self.device[self.target > NORMAL])
        return np.asarray((self.target == NORMAL) & ~np.isin(self.device, attacked))


_PER_FLOW: Final = tuple(field.name for field in fields(LabelledFlows))[2:]


def labelled(captures: Iterable[Capture], setting_up: Container[str] = SETTING_UP) -> LabelledFlows:
    """Of captures, each by itself. Raises DataError for none, and for a label beyond `TAXONOMY`."""
    parts = [describe(one) for one in captures if len(one.flows)]
    if not parts:
        raise DataError("no flows: no capture has a device at home")
    devices = np.cumsum([0, *(len(one.capture.devices) for one in parts)])
    flows = [one.flows for one in parts]
    sizes = [len(one.flow) for one in parts]
    return LabelledFlows(
        captures=tuple(one.capture.name for one in parts),
        datasets=tuple(one.capture.dataset for one in parts),
        capture=np.repeat(np.arange(len(parts)), sizes),
        device=np.concatenate([one.device + first for one, first in zip(flows, devices, strict=False)]),
        peer=np.concatenate([one.peer for one in flows]),
        inbound=~np.concatenate([one.originates for one in flows]),
        start_us=np.concatenate([one.start_us for one in flows]),
        end_us=np.concatenate([one.end_us for one in flows]),
        target=np.concatenate([_targets(one) for one in parts]),
        rows=np.concatenate([one.rows for one in parts]),
        setting_up=np.repeat([one.capture.dataset in setting_up for one in parts], sizes),
    )


def _targets(described: Described) -> npt.NDArray[np.int64]:
    """A flow is known by its identity: a record may let an older flow go."""
    capture = described.capture
    place = {None: UNSCORED} | {label: CLASSES.index(name) for label, name in TAXONOMY.items()}
    unknown = sorted({one for one in capture.label if one not in place and one is not None})
    if unknown:
        raise DataError(
            f"capture {capture.name}: labels of another taxonomy: {', '.join(unknown[:5])}; "
            f"known are {', '.join(TAXONOMY)} and none"
        )
    of_row = np.full(int(capture.row.max(initial=-1)) + 1, UNSCORED, np.int64)
    of_row[capture.row] = [place[one] for one in capture.label]
    return of_row[described.flows.identity.astype(np.int64) - 1]
