"""Verdicts of a file's rows by a plain recomputation of their windows, for evaluation and for comparison.

It knows nothing of the stream's windows: what the stream publishes is held against this.
"""

from __future__ import annotations

import numpy as np

from streams.codec.kdd import segment_starts
from streams.core.detector import Detector, Verdicts
from streams.core.features import Rows
from streams.training.windows import windows

BATCH_ROWS = 8192


def evaluate_rows(detector: Detector, rows: Rows, devices: int = 1) -> Verdicts:
    """Verdict of every row, in order; `devices` share the rows in contiguous segments.

    A window is a device's last W rows. Raises DataError where there are more devices than rows.
    """
    starts = segment_starts(len(rows), devices)
    latents = detector.encode(rows)  # (N, L)
    parts = []
    for begin in range(0, len(rows), BATCH_ROWS):
        places = np.arange(begin, min(begin + BATCH_ROWS, len(rows)))
        index, valid = windows(places, starts, detector.width)  # (B, W)
        parts.append(detector.classify(latents, index, valid))
    return Verdicts(
        verdict=np.concatenate([part.verdict for part in parts]),
        closest=np.concatenate([part.closest for part in parts]),
        posterior=np.concatenate([part.posterior for part in parts]),
        novelty=np.concatenate([part.novelty for part in parts]),
    )
