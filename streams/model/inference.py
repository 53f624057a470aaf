"""Verdicts of a chunk's events from raw windows: what does not depend on who keeps the windows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.core.tables import Rows
from streams.core.windows import Advance, Index, Windows, width_of
from streams.model.detector import Detector, Verdicts

Latents = npt.NDArray[np.float32]  # (D, W, L) in ring order


@dataclass(frozen=True, slots=True, eq=False)
class Canary:
    """A challenger whose verdicts a share of the devices gets, 0 < share <= 1."""

    detector: Detector
    share: float

    def takes(self, device_id: str) -> bool:
        """The same devices on every worker and for ever; a larger share keeps those that are in it.

        The device id's BLAKE2b (RFC 7693), 8 bytes, as a fraction of 1.
        """
        digest = hashlib.blake2b(device_id.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") < self.share * 2.0**64


def infer(
    detector: Detector,
    windows: Windows,
    step: Advance,
    rows: Rows,
    latents: Latents,
    known: npt.NDArray[np.bool_],
) -> tuple[Verdicts, Latents]:
    """Verdicts (A,) of the applied events among `rows` (N,), and the rings' latents (D, W, L) after them.

    `windows` (D,) are those before the chunk. `latents` (D, W, L) holds this detector's of the devices that
    are `known` (D,), in ring order; the others are encoded here, from their raw rows: those at which this
    detector looks, now or later. What is in the other places is not looked at.
    """
    size = detector.latent_size
    of, place = _looked_at(windows, ~known, detector.width)
    fresh = rows[step.applied]  # (A,)
    earlier = windows["rows"][of, place]
    encoded = detector.encode(np.concatenate([earlier, fresh]) if len(of) else fresh)
    latents[of, place] = encoded[: len(of)]
    new = encoded[len(of) :]  # (A, L)
    tape = np.concatenate([latents.reshape(-1, size), new])  # (D * W + A, L)
    w = detector.width
    verdicts = detector.classify(tape, step.index[:, -w:], step.valid[:, -w:])
    after = tape[: len(latents) * width_of(windows)]
    after[step.ring_place[step.stays]] = new[step.stays]
    return verdicts, after.reshape(latents.shape)


def _looked_at(windows: Windows, chosen: npt.NDArray[np.bool_], width: int) -> tuple[Index, Index]:
    """Of the `chosen` (D,) windows the ring places of the last `width` - 1 rows: which window, which place.

    An event's verdict looks at `width` events, itself among them, so that older rows are seen by none.
    """
    head = windows["head"]
    seen = np.where(chosen, np.minimum(head["count"], width - 1), 0)  # (D,)
    of, back = np.nonzero(np.arange(width - 1) < seen[:, None])
    return of, (head["next"].astype(np.int64)[of] - 1 - back) % width_of(windows)


def infer_from_rows(detector: Detector, windows: Windows, step: Advance, rows: Rows) -> Verdicts:
    """The same, by a detector of which nothing is remembered."""
    latents = np.zeros((len(windows), width_of(windows), detector.latent_size), np.float32)
    return infer(detector, windows, step, rows, latents, np.zeros(len(windows), bool))[0]
