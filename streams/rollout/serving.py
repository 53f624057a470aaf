"""The one reference to the model that serves, and loading what may take its place.

A swap is one assignment of a model already loaded, verified and warm. The pipeline asks once a chunk who
judges it, so that the old model is freed when its last chunk has ended. Where switches at exact offsets were
agreed on, the offsets say who judges, and a few models beside the champion are kept at hand.
"""

from __future__ import annotations

import threading
from typing import Final

import numpy as np

from streams.adapters.store.models import ModelStore
from streams.codec.models import ModelRef, Switch
from streams.core.events import Chunk
from streams.core.tables import FeatureTable
from streams.core.windows import WIDTH
from streams.errors import ModelRejected, SettingsError, Unavailable
from streams.model.detector import Detector
from streams.model.gate import standard_rows
from streams.rollout import switches

WARM_ROWS: Final = 128
BESIDE: Final = 2
"""Models kept in memory beside the champion: the one before and the one to be."""
UNRUNNABLE: Final = (ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError)
"""What running a model that nobody has run before may raise: numpy's and torch's errors are among these."""


class Serving:
    """Thread-safe: references are read and assigned atomically, and writers take turns."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._plan: tuple[int, tuple[Switch, ...]] = (0, ())  # the revision that said so, and its switches
        self._beside: dict[ModelRef, Detector] = {}  # the one kept last at the end
        self._admitted: Detector | None = None
        self._lock = threading.Lock()

    def __call__(self) -> Detector:
        return self._detector

    def parts(self, chunk: Chunk) -> list[Chunk]:
        """The chunk, cut where another model begins."""
        return switches.parts(self._plan[1], chunk)

    def admit(self, part: Chunk) -> ModelRef | None:
        """None where the model of this part is at hand, and stays so until it has judged; else that model."""
        ref = self._agreed(part)
        self._admitted = None if ref is None else self.at_hand(ref)
        return None if self._admitted is not None else ref

    def judge(self, part: Chunk) -> Detector:
        """The model for the whole of this part. Raises Unavailable where it was not admitted."""
        ref = self._agreed(part)
        if ref is None:
            return self._detector
        admitted = self._admitted
        found = admitted if admitted is not None and ref_of(admitted) == ref else self.at_hand(ref)
        if found is None:
            raise Unavailable(f"{ref.name}/{ref.version} judges these offsets and is not loaded")
        return found

    def at_hand(self, ref: ModelRef) -> Detector | None:
        with self._lock:
            return self._detector if ref_of(self._detector) == ref else self._beside.get(ref)

    def swap(self, detector: Detector) -> None:
        with self._lock:
            if self._plan[1]:
                self._put_beside(self._detector)
            self._detector = detector

    def keep(self, detector: Detector) -> None:
        """Have it at hand beside the champion; of such, the oldest beyond two is let go."""
        with self._lock:
            self._put_beside(detector)

    def plan(self, revision: int, agreed: tuple[Switch, ...]) -> None:
        """Judge by these switches, unless a newer revision said otherwise."""
        with self._lock:
            if revision < self._plan[0]:
                return
            self._plan = (revision, agreed)
            if not agreed:
                self._beside = {}

    @property
    def ref(self) -> ModelRef:
        return ref_of(self._detector)

    def _agreed(self, part: Chunk) -> ModelRef | None:
        return switches.model_at(self._plan[1], part.source, part.records[0].offset)

    def _put_beside(self, detector: Detector) -> None:
        others = [(ref, kept) for ref, kept in self._beside.items() if ref != ref_of(detector)]
        self._beside = dict([*others, (ref_of(detector), detector)][-BESIDE:])


def ref_of(detector: Detector) -> ModelRef:
    identity = detector.identity
    return ModelRef(identity.name, identity.version, identity.digest)


def load(store: ModelStore, wanted: ModelRef, table: FeatureTable, operating_point: str = "") -> Detector:
    """The version at that point, whole, verified and warm, of this table's events; its golden vectors have
    been run.

    An empty digest is not checked; an empty point is the model's own. Raises ModelRejected, and Unavailable
    where the store does not answer.
    """
    name = f"{wanted.name}/{wanted.version}"
    try:
        detector = store.load(name).at(operating_point)
        _fitting(of_table(detector, table), wanted)
        _warm(detector)
    except SettingsError as exc:  # the point
        raise ModelRejected(str(exc)) from exc
    except UNRUNNABLE as exc:
        raise ModelRejected(f"{name}: cannot be run: {type(exc).__name__}: {exc}") from exc
    return detector


def of_table(detector: Detector, table: FeatureTable) -> Detector:
    """The same. Raises ModelRejected where it judges events of another table."""
    if detector.table != table:
        name = f"{detector.identity.name}/{detector.identity.version}"
        raise ModelRejected(
            f"{name}: judges events of the feature table {detector.table.name}; {table.name} is served here"
        )
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
    rows = standard_rows(detector.table, WARM_ROWS)
    places = np.arange(WARM_ROWS)[:, None] - np.arange(detector.width)[::-1]  # (N, W)
    detector.classify(detector.encode(rows), places % WARM_ROWS, np.ones(places.shape, bool))
