"""False incidents of many thresholds, counted from alerts alone: most flows raise none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from streams.core.flow.columns import Index, Mask
from streams.training.flow_protocol.incidents import IncidentRule, observed_us
from streams.training.flow_protocol.labelled import NORMAL, LabelledFlows

_DAY_US: Final = 86_400_000_000
_RULE: Final = IncidentRule()


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """Flows of devices without attacks, device by device, each in arrival order."""

    place: Index
    """(M,) among all flows."""
    device: Index
    ordinal: Index
    """(M,) which of its device's flows."""
    end_us: Index
    setting_up: Mask
    days: tuple[float, float]
    """Device-days in steady state, and while devices are set up."""

    @classmethod
    def of(cls, flows: LabelledFlows, among: Mask) -> Watched:
        """Those that are scored, of the flows that `among` (N,) marks."""
        attacked = np.unique(flows.device[flows.target > NORMAL])
        place = np.flatnonzero(flows.scored & among & ~np.isin(flows.device, attacked))
        place = place[np.argsort(flows.device[place], kind="stable")]
        device, end_us, setting_up = flows.device[place], flows.end_us[place], flows.setting_up[place]
        _, first, number = np.unique(device, return_index=True, return_inverse=True)
        steady, setup = (observed_us(device[it], end_us[it]) / _DAY_US for it in (~setting_up, setting_up))
        ordinal = np.arange(len(place)) - first[number] if len(place) else place
        return cls(place, device, ordinal, end_us, setting_up, (steady, setup))

    def false_incidents(self, alert: Mask, rule: IncidentRule = _RULE) -> tuple[float, float]:
        """A device-day, in steady state and while devices are set up; 0 where none was watched.

        `alert` (N,) is of all flows. As `incidents` counts them.
        """
        at = np.flatnonzero(alert[self.place])
        counts = [0, 0]
        device, recent, last_us = -1, [0], 0
        is_open = False
        of = (self.device[at], self.ordinal[at], self.end_us[at], self.setting_up[at])
        for now, ordinal, end_us, setting_up in zip(*(it.tolist() for it in of), strict=True):
            if now != device:
                device, recent, is_open = now, [], False
            recent = [one for one in recent if one > ordinal - rule.flows] + [ordinal]
            is_open = is_open and end_us - last_us <= rule.quiet_us
            if not is_open and len(recent) >= rule.alerts:
                is_open, last_us = True, end_us
                counts[setting_up] += 1
            if is_open:
                last_us = max(last_us, end_us)
        steady, setup = (n / days if days else 0.0 for n, days in zip(counts, self.days, strict=True))
        return steady, setup
