"""How often normal events follow their like: what makes a burst of ordinary-looking events odd."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def repetition_table(
    service: Indices, alike: Indices, shape: tuple[int, int], smoothing: float, quantile: float
) -> Floats:
    """The novelty of a service's event by how many earlier ones in its window are like it. -> (services, W).

    `service` (N,) and `alike` (N,), in 0..W - 1, of normal events. The novelty is -log P(so many or more |
    service) as a ratio to -log(1 - quantile): 1 where a share of 1 - quantile of the service's normal events
    have so many, as the VAE's novelty is 1 at that quantile of its score. A service's shares are drawn to all
    services' as by `smoothing` events, so that few events of it prove little. One event more than were seen
    counts as having any number, so that nothing is impossible.
    """
    services, width = shape
    seen = np.zeros((services, width))
    np.add.at(seen, (service, alike), 1.0)
    at_least = np.cumsum(seen[:, ::-1], 1)[:, ::-1]  # (services, W)
    of_all = (at_least.sum(0) + 1.0) / (len(alike) + 1.0)  # (W,)
    share = (at_least + smoothing * of_all) / (at_least[:, :1] + smoothing)
    found: Floats = -np.log(share) / -math.log(1.0 - quantile)
    return found
