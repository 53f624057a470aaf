"""Thresholds and operating points, chosen on networks that a model has not seen.

Each class's threshold is where it costs few false incidents on networks left out; it becomes the class's
share of `log_prior`, so that one number remains, how dear a false alarm is. Operating points are chosen by
the false incidents a device-day that they cost, while devices are set up and afterwards.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.model.detector import Detector, OperatingPoint
from streams.training.flow_protocol.deciding import NOVEL_SHARE, Budget, limit
from streams.training.flow_protocol.labelled import CLASSES, LabelledFlows
from streams.training.flow_protocol.watched import Watched
from streams.training.flows.fit import Found

Floats = npt.NDArray[np.float64]
_SLOPE: Final = 60.0
_SURE: Final = 0.8
"""The unknown's share at which it outweighs normal, with four classes of attacks."""
_FACTORS: Final = tuple(np.round(np.geomspace(0.2, 20.0, 31), 3).tolist())


@dataclass(frozen=True, slots=True)
class Aim:
    """The most false incidents a device-day, without any warm-up."""

    name: str
    steady: float
    setup: float


AIMS: Final = (Aim("strict", 0.1, 1.0), Aim("operator", 0.3, 4.0), Aim("sensitive", 1.0, 12.0))
BY_ITSELF: Final = Budget(0.12, 2.5)
DEFAULT: Final = "operator"


def with_points(detector: Detector, flows: LabelledFlows, found: Found) -> Detector:
    """The detector with thresholds by class, novelty's share and operating points."""
    watched = Watched.of(flows, np.ones(len(flows), bool))
    offsets = np.array(
        [
            limit(found.scores[:, at], flows.clean, watched, BY_ITSELF.of(name))
            for at, name in enumerate(CLASSES[1:])
        ]
    )
    margin = (found.scores - offsets).max(axis=1)
    odd = float(np.quantile(found.novelty[flows.clean], 1.0 - NOVEL_SHARE))
    offset = float(np.log(_SURE / (1.0 - _SURE)) - _SLOPE * odd)
    points = {aim.name: _point(aim, watched, margin) for aim in AIMS}
    parameters = dataclasses.replace(
        detector.parameters,
        log_prior=(0.0, *(offsets + detector.parameters.log_prior[1:]).tolist()),
        unknown_offset=offset,
        unknown_slope=_SLOPE,
        operating_points=MappingProxyType(points),
        default_point=DEFAULT,
    )
    return Detector(detector.identity, parameters, detector.network)


def _point(aim: Aim, watched: Watched, margin: Floats) -> OperatingPoint:
    """The least factor at which false incidents are as few as the aim says; the greatest, where none is."""
    for factor in _FACTORS:
        steady, setup = watched.false_incidents(margin > np.log(factor))
        if steady <= aim.steady and setup <= aim.setup:
            break
    says = (
        f"{steady:.2f} false incidents a device-day in steady state (aim: {aim.steady:g}) and {setup:.2f} "
        f"while devices are set up (aim: {aim.setup:g}), on networks left out, nothing learnt of them"
    )
    return OperatingPoint(factor, says)
