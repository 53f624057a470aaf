"""Copies of structured arrays, made at the speed of memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Structs = npt.NDArray[np.void]


def as_bytes(structs: Structs) -> Structs:
    """The elements as so many bytes each, not copied.

    What is moved whole, numpy moves field by field otherwise: a device's window takes 4 us then, and 0.6 so.
    """
    return structs.view(f"V{structs.dtype.itemsize}")


def copied(structs: Structs, places: npt.NDArray[np.int64] | None = None) -> Structs:
    """A copy of all, or of those at the places."""
    moved = as_bytes(structs)
    return (moved.copy() if places is None else moved[places]).view(structs.dtype)
