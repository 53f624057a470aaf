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

from streams.core.flow.columns import Index, Mask
from streams.model.detector import Detector, OperatingPoint
from streams.training.flow_protocol.deciding import thresholds
from streams.training.flow_protocol.figures import DAY_US
from streams.training.flow_protocol.incidents import NONE, incidents, observed_us
from streams.training.flow_protocol.labelled import NORMAL, LabelledFlows
from streams.training.flows.fit import Found

Floats = npt.NDArray[np.float64]
SHARE: Final = 0.003
"""Of clean flows, at most, for a class of which one network alone has attacks."""
_SHARES: Final = (0.05, 0.04, 0.03, 0.02, 0.015, 0.01, 0.007, 0.005, 0.003, 0.002, 0.001, 0.0005)
NOVEL_SHARE: Final = 0.0002
"""Of clean flows of networks left out whose novelty alone makes an alert."""
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
BY_ITSELF: Final = Aim("a class", 0.12, 2.5)
DEFAULT: Final = "operator"
CLASSES: Final = 4
"""Of attacks."""


def with_points(detector: Detector, flows: LabelledFlows, found: Found) -> Detector:
    """The detector with thresholds by class, novelty's share and operating points."""
    clean, those = _Clean.of(flows)
    offsets = np.array([_limit(flows, found.scores[:, at], clean, those, at + 1) for at in range(CLASSES)])
    margin = found.scores - offsets
    limit = float(np.quantile(found.novelty[flows.clean], 1.0 - NOVEL_SHARE))
    offset = float(np.log(_SURE / (1.0 - _SURE)) - _SLOPE * limit)
    points = {aim.name: _point(aim, clean, margin[those].max(axis=1)) for aim in AIMS}
    parameters = dataclasses.replace(
        detector.parameters,
        log_prior=(0.0, *(offsets + detector.parameters.log_prior[1:]).tolist()),
        unknown_offset=offset,
        unknown_slope=_SLOPE,
        operating_points=MappingProxyType(points),
        default_point=DEFAULT,
    )
    return Detector(detector.identity, parameters, detector.network)


def _limit(flows: LabelledFlows, scores: Floats, clean: _Clean, those: Mask, target: int) -> float:
    """The least score of a class at which it costs few false incidents, by itself, on networks left out.

    By incidents, not by flows: three devices that are set up and retry for minutes are three incidents, and
    hundreds of flows. A class of one network alone cannot be tried on another, so it gets no more than SHARE.
    """
    networks = {flows.datasets[at] for at in np.unique(flows.capture[flows.target == target]).tolist()}
    limit = 0.0
    for share in _SHARES if len(networks) > 1 else (SHARE,):
        limit = float(thresholds(scores[:, None], flows.clean, share)[0])
        steady, setup = clean.false_incidents(scores[those] > limit)
        if steady <= BY_ITSELF.steady and setup <= BY_ITSELF.setup:
            break
    return limit


def _point(aim: Aim, clean: _Clean, margin: Floats) -> OperatingPoint:
    """The least factor at which false incidents are as few as the aim says; the greatest, where none is."""
    for factor in _FACTORS:
        steady, setup = clean.false_incidents(margin > np.log(factor))
        if steady <= aim.steady and setup <= aim.setup:
            break
    says = (
        f"{steady:.2f} false incidents a device-day in steady state (aim: {aim.steady:g}) and {setup:.2f} "
        f"while devices are set up (aim: {aim.setup:g}), on networks left out, nothing learnt of them"
    )
    return OperatingPoint(factor, says)


@dataclass(frozen=True, slots=True, eq=False)
class _Clean:
    """The flows of devices without attacks."""

    device: Index
    end_us: Index
    setting_up: Mask

    @classmethod
    def of(cls, flows: LabelledFlows) -> tuple[_Clean, Mask]:
        """And which they are."""
        attacked = np.unique(flows.device[flows.target > NORMAL])
        those = flows.scored & ~np.isin(flows.device, attacked)
        return cls(flows.device[those], flows.end_us[those], flows.setting_up[those]), those

    def false_incidents(self, alert: Mask) -> tuple[float, float]:
        """A device-day, in steady state and while devices are set up; 0 where none was watched."""
        counts = incidents(self.device, self.end_us, alert).counts
        found = []
        for part in (~self.setting_up, self.setting_up):
            days = observed_us(self.device[part], self.end_us[part]) / DAY_US
            number = len(np.setdiff1d(counts[part], [NONE]))
            found.append(number / days if days else 0.0)
        return found[0], found[1]
