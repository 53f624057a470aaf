"""Loading a version that may serve: whole, verified, fitting and warm."""

from __future__ import annotations

from collections.abc import Set
from typing import Final, Protocol

import numpy as np

from streams.codec.models import ModelRef
from streams.core.tables import FeatureTable
from streams.core.windows import WindowLayout
from streams.errors import ModelRejected, SettingsError
from streams.model.artifact import UNFIT
from streams.model.detector import Detector
from streams.model.gate import standard_rows

WARM_ROWS: Final = 128
UNRUNNABLE: Final = (*UNFIT, MemoryError, OSError)
"""What running a model that nobody has run before may raise: numpy's and torch's errors are among these."""


class ModelStore(Protocol):
    """A model store; `adapters.store.models.ModelStore` is one."""

    def load(self, ref: str) -> Detector:
        """The model named by "name@alias" or "name/version", verified. Raises ModelRejected, Unavailable."""
        ...

    def retired(self, name: str) -> Set[str]:
        """The versions that are not to be promoted any more."""
        ...


def ref_of(detector: Detector) -> ModelRef:
    identity = detector.identity
    return ModelRef(identity.name, identity.version, identity.digest)


def load(store: ModelStore, wanted: ModelRef, layout: WindowLayout, operating_point: str = "") -> Detector:
    """The version at that point, whole, verified and warm, of events and windows of this layout.

    An empty digest is not checked; an empty point is the model's own. Raises ModelRejected, and Unavailable
    where the store does not answer.
    """
    name = f"{wanted.name}/{wanted.version}"
    try:
        detector = fitting(store, name, layout, operating_point)
        found = detector.identity.digest
        if wanted.digest and found != wanted.digest:
            raise ModelRejected(
                f"{name}: its manifest has sha256 {found[:16]}…, not {wanted.digest[:16]}… as asked for"
            )
        _warm(detector)
    except SettingsError as exc:  # the point
        raise ModelRejected(str(exc)) from exc
    except UNRUNNABLE as exc:
        raise ModelRejected(f"{name}: cannot be run: {type(exc).__name__}: {exc}") from exc
    return detector


def fitting(store: ModelStore, ref: str, layout: WindowLayout, operating_point: str = "") -> Detector:
    """What a reference, such as `flows/2` or `flows@champion`, stands for, at that point.

    Raises ModelRejected where it looks at more events than windows keep, or of another table; SettingsError
    for a point that it does not have.
    """
    detector = store.load(ref)
    if detector.width > layout.width:
        name = f"{detector.identity.name}/{detector.identity.version}"
        raise ModelRejected(f"{name}: looks at {detector.width} events; windows keep {layout.width}")
    return of_table(detector, layout.table).at(operating_point)


def family_of(ref: str) -> str:
    """The name of the model that a reference, such as `flows/2` or `flows@champion`, is of."""
    return ref.partition("@")[0].partition("/")[0]


def of_table(detector: Detector, table: FeatureTable) -> Detector:
    """The same. Raises ModelRejected where it judges events of another table."""
    if detector.table != table:
        name = f"{detector.identity.name}/{detector.identity.version}"
        raise ModelRejected(
            f"{name}: judges events of the feature table {detector.table.name}; {table.name} is served here"
        )
    return detector


def _warm(detector: Detector) -> None:
    """A few made-up events: the first run pays for memory and kernels."""
    rows = standard_rows(detector.table, WARM_ROWS)
    places = np.arange(WARM_ROWS)[:, None] - np.arange(detector.width)[::-1]  # (N, W)
    detector.classify(detector.encode(rows), places % WARM_ROWS, np.ones(places.shape, bool))
