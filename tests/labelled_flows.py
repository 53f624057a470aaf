"""Labelled flows made by hand: who, when, what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from streams.core.flow.table import FLOW
from streams.training.flow_protocol.labelled import CLASSES, UNSCORED, LabelledFlows


def flows_of(*told: tuple[Any, ...], datasets: Sequence[str] = ("a", "b", "c", "d")) -> LabelledFlows:
    """Of (capture, device, second, class or None, inbound), captures ascending; a flow lasts no time."""
    capture, device, second, name, inbound = zip(*told, strict=True)
    time_us = np.rint(np.array(second, float) * 1e6).astype(np.int64)
    names = tuple(f"capture{at}" for at in range(max(capture) + 1))
    return LabelledFlows(
        captures=names,
        datasets=tuple(datasets[: len(names)]),
        capture=np.array(capture),
        device=np.array(capture) * 100 + np.array(device),
        peer=np.arange(len(told), dtype=np.uint64),
        inbound=np.array(inbound, bool),
        start_us=time_us,
        end_us=time_us,
        target=np.array([UNSCORED if one is None else CLASSES.index(one) for one in name]),
        rows=np.zeros(len(told), FLOW.row),
        setting_up=np.array([datasets[at] == "setup" for at in capture]),
    )
