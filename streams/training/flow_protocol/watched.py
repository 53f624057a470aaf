"""False incidents of many thresholds: what does not depend on them is found once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streams.core.flow.columns import Index, Mask
from streams.training.flow_protocol.figures import DAY_US
from streams.training.flow_protocol.incidents import incidents, observed_us, ordinals
from streams.training.flow_protocol.labelled import NORMAL, LabelledFlows


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """Flows of devices without attacks, in arrival order."""

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
        device, end_us, setting_up = flows.device[place], flows.end_us[place], flows.setting_up[place]
        steady, setup = (observed_us(device[it], end_us[it]) / DAY_US for it in (~setting_up, setting_up))
        return cls(place, device, ordinals(device), end_us, setting_up, (steady, setup))

    def false_incidents(self, alert: Mask) -> tuple[float, float]:
        """A device-day, in steady state and while devices are set up; 0 where none was watched.

        `alert` (N,) is of all flows. An incident is of the time in which it opened.
        """
        found = incidents(self.device, self.end_us, alert[self.place], ordinal=self.ordinal)
        setup = int(self.setting_up[found.opened_by].sum())
        counts = (len(found.opened_by) - setup, setup)
        of_steady, of_setup = (n / days if days else 0.0 for n, days in zip(counts, self.days, strict=True))
        return of_steady, of_setup
