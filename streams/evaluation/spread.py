"""Several readings of the same figures as one: numbers are means, `spread` says how far they lie apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def mean_and_spread(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One object of the shape of each of `found`: numbers averaged, and beside them `spread`, where there
    are several: name -> standard deviation (n - 1), lowest, highest.

    None stands for undefined and is left out of the mean; lists of numbers are averaged place by place, other
    lists joined without repeats, and everything else must be equal or becomes None. Keys of the first.
    """
    merged: dict[str, Any] = {}
    spread = {}
    for key in dict.fromkeys(key for of in found for key in of):
        values = [of[key] for of in found if key in of]
        known = [value for value in values if value is not None]
        if known and all(_is_number(value) for value in known):
            merged[key] = _mean(known)
            if len(known) > 1:
                spread[key] = {
                    "sd": float(np.std(known, ddof=1)),
                    "low": min(known),
                    "high": max(known),
                }
        elif known and all(isinstance(value, Mapping) for value in known):
            merged[key] = mean_and_spread(known)
        elif known and all(isinstance(value, list) for value in known):
            merged[key] = _lists(known)
        else:
            merged[key] = known[0] if known and all(value == known[0] for value in known) else None
    return {**merged, "spread": spread} if spread else merged


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _mean(values: Sequence[float]) -> float:
    return values[0] if all(value == values[0] for value in values) else float(np.mean(values))


def _lists(values: Sequence[list[Any]]) -> list[Any]:
    if all(isinstance(item, str) for value in values for item in value):
        return list(dict.fromkeys(item for value in values for item in value))
    mean: list[Any] = np.mean(np.array(values, float), axis=0).tolist()
    return mean
