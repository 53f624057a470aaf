"""The one reference to the model that serves, and loading what may take its place.

A swap is one assignment of a model already loaded, verified and warm. The pipeline reads the reference once a
chunk, so that the old model is freed when its last chunk has ended.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from streams.codec.models import ModelRef
from streams.core.detector import Detector
from streams.core.events import Chunk
from streams.core.windows import WIDTH
from streams.errors import ModelRejected
from streams.gate import standard_rows
from streams.store import ModelStore

WARM_ROWS: Final = 128
UNRUNNABLE: Final = (ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError)
"""What running a model that nobody has run before may raise: numpy's and torch's errors are among these."""


class Serving:
    """Thread-safe: reading and assigning one reference are atomic."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def __call__(self) -> Detector:
        return self._detector

    def judge(self, chunk: Chunk) -> Detector:
        """The model for the whole of this chunk."""
        return self._detector

    def swap(self, detector: Detector) -> None:
        self._detector = detector

    @property
    def ref(self) -> ModelRef:
        return ref_of(self._detector)


def ref_of(detector: Detector) -> ModelRef:
    identity = detector.identity
    return ModelRef(identity.name, identity.version, identity.digest)


def load(store: ModelStore, wanted: ModelRef) -> Detector:
    """The version, whole, verified and warm; its golden vectors have been run.

    An empty digest is not checked. Raises ModelRejected, and Unavailable where the store does not answer.
    """
    name = f"{wanted.name}/{wanted.version}"
    try:
        detector = store.load(name)
        _fitting(detector, wanted)
        _warm(detector)
    except UNRUNNABLE as exc:
        raise ModelRejected(f"{name}: cannot be run: {type(exc).__name__}: {exc}") from exc
    return detector


def _fitting(detector: Detector, wanted: ModelRef) -> None:
    name, found = f"{wanted.name}/{wanted.version}", detector.identity.digest
    if wanted.digest and found != wanted.digest:
        raise ModelRejected(
            f"{name}: its manifest has sha256 {found[:16]}…, not {wanted.digest[:16]}… as asked for"
        )
    if detector.width > WIDTH:
        raise ModelRejected(f"{name}: looks at {detector.width} events; windows keep {WIDTH}")


def _warm(detector: Detector) -> None:
    """A few made-up events: the first run pays for memory and kernels."""
    rows = standard_rows(WARM_ROWS)
    places = np.arange(WARM_ROWS)[:, None] - np.arange(detector.width)[::-1]  # (N, W)
    detector.classify(detector.encode(rows), places % WARM_ROWS, np.ones(places.shape, bool))
