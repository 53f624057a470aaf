"""Windows over a file in capture order, by the stream's rule: a device's last W rows, the missing masked."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def windows(places: Indices, starts: Indices, width: int) -> tuple[Indices, Mask]:
    """The window of each row in `places`: rows (N, W), oldest first, and which of them exist (N, W).

    `starts` holds the first row of each device, ascending; a window never reaches beyond its device's.
    """
    index = places[:, None] + np.arange(1 - width, 1)  # (N,) -> (N, W)
    begin = starts[np.searchsorted(starts, places, side="right") - 1]  # (N,)
    valid = index >= begin[:, None]
    return np.where(valid, index, places[:, None]), valid


def hide_history(valid: Mask, share: float, rng: np.random.Generator) -> Mask:
    """Mask all history in about `share` of the windows, and cut it short in as many again. (N, W) -> (N, W).

    A device that has just appeared has none, and its record must still be judged.
    """
    count, width = valid.shape
    draw = rng.random(count)
    keep = np.where(draw < share, 1, np.where(draw < 1.5 * share, rng.integers(1, width + 1, count), width))
    shown: Mask = np.arange(width) >= (width - keep)[:, None]
    return valid & shown


def interleave(
    index: Indices, valid: Mask, others: Indices, share: float, rng: np.random.Generator
) -> tuple[Indices, Mask]:
    """Random rows of `others` put between the events of about `share` of the windows. (N, W), (N, W).

    The training file has its attacks in pure bursts; elsewhere ordinary events come between. In a chosen
    window each earlier place takes a stranger with a probability drawn for the window, and the events that
    were there move back.
    """
    count, width = index.shape
    rate = np.where(rng.random(count) < share, rng.random(count), 0.0)  # (N,)
    stranger = rng.random((count, width)) < rate[:, None]  # (N, W)
    stranger[:, -1] = False
    behind = np.cumsum(stranger[:, ::-1], 1)[:, ::-1]  # strangers at this place or after it
    source = np.arange(width) + behind  # the place whose event moves here; beyond the present one: none
    source = np.minimum(source, width - 1)
    moved = np.take_along_axis(index, source, 1)
    shown = np.take_along_axis(valid, source, 1)
    drawn = others[rng.integers(0, len(others), (count, width))]
    return np.where(stranger, drawn, moved), np.where(stranger, True, shown)
