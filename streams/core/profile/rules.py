"""What a profile makes of a turn's verdicts: an alert, or why not.

    a key that a person accepted     does not alert as the classes accepted, whatever the evidence
    a key that was learnt silently   does not as c2 or novel, while it is answered
    a device that is learnt about    alerts on evidence beyond doubt alone
    a class below the site's score   does not alert, but on evidence beyond doubt

The first that applies is the reason. What does not alert has the verdict normal. A profile never makes an
alert of a verdict that was none: it can only hold back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.core.flow.columns import DeviceFlows, Index, Mask
from streams.core.flow.facts import failing_of, unanswered_of
from streams.core.profile.evidence import strong
from streams.core.profile.matching import FlowKeys, flow_keys, key_hashes
from streams.core.profile.values import CLASSES, Known, Profile
from streams.core.tables import Rows
from streams.core.topics import NORMAL

LEARNING_MS: Final = 30 * 60_000
"""How long a device is learnt about, from its first flow on, in event time."""


class Held(IntEnum):
    """Why a verdict does not alert."""

    NOT = 0
    LEARNING = 1
    BELOW_THRESHOLD = 2
    LEARNT = 3
    ACCEPTED = 4

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """M flows that counted, of devices by number."""

    devices: Sequence[str]
    flows: DeviceFlows
    rows: Rows
    """Of the table `flow`."""
    age_ms: Index
    """How long the device was known by then."""

    def at(self, places: Index) -> Seen:
        return Seen(self.devices, self.flows.at(places), self.rows[places], self.age_ms[places])


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What one model said of M flows."""

    names: tuple[str, ...]
    """Of the verdicts: the model's C classes, the first is normal; then novel."""
    verdict: Index
    """(M,) places in `names`."""
    posterior: npt.NDArray[np.float32]
    """(M, C)"""
    novelty: npt.NDArray[np.float32]
    """(M,)"""
    model_digest: str = ""

    def at(self, places: Index) -> Scores:
        return Scores(
            self.names,
            self.verdict[places],
            self.posterior[places],
            self.novelty[places],
            self.model_digest,
        )

    @property
    def own(self) -> npt.NDArray[np.float64]:
        """(M,) the score that each verdict rests on: its class's probability, or the novelty."""
        classes = self.posterior.shape[1]
        of_class = self.posterior[np.arange(len(self.verdict)), np.minimum(self.verdict, classes - 1)]
        return np.where(self.verdict < classes, of_class, self.novelty).astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    verdict: Index
    """(M,) places in the scores' names."""
    held: npt.NDArray[np.uint8]
    """(M,) of `Held`."""
    learning: Mask
    """(M,) whether the device is learnt about."""


@dataclass(frozen=True)
class InForce:
    """A profile, ready to be applied."""

    profile: Profile

    @cached_property
    def accepted(self) -> Mapping[str, npt.NDArray[np.uint64]]:
        """By class, the hashes of the keys that are not to alert so."""
        return _by_class([one for one in self.profile.known if one.how == "accepted"])

    @cached_property
    def learnt(self) -> Mapping[str, npt.NDArray[np.uint64]]:
        return _by_class([one for one in self.profile.known if one.how == "learnt"])

    def thresholds(self, scores: Scores) -> npt.NDArray[np.float64]:
        """(names,) the least score of each verdict; another model's scores are not measured by it."""
        least = np.full(len(scores.names), -np.inf)
        seen = self.profile.warm_up
        if seen is not None and seen.model_digest == scores.model_digest:
            for one in self.profile.thresholds:
                if one.verdict in scores.names:
                    least[scores.names.index(one.verdict)] = one.value
        return least


def applied(in_force: InForce, seen: Seen, scores: Scores, learning_ms: int = LEARNING_MS) -> Applied:
    """Of flows whose devices are all of the profile's site."""
    learning = seen.age_ms < learning_ms
    held = np.zeros(len(seen.rows), np.uint8)
    alerting = np.flatnonzero(scores.verdict != scores.names.index(NORMAL))
    if len(alerting):
        held[alerting] = _held(in_force, seen.at(alerting), scores.at(alerting), learning[alerting])
    verdict = np.where(held > 0, scores.names.index(NORMAL), scores.verdict)
    return Applied(verdict, held, learning)


def _held(in_force: InForce, seen: Seen, scores: Scores, learning: Mask) -> npt.NDArray[np.uint8]:
    """Of K verdicts that would alert. What is written last counts most."""
    sure = strong(seen.rows, scores.verdict, scores.names)
    held = np.zeros(len(sure), np.uint8)
    below = scores.own < in_force.thresholds(scores)[scores.verdict]
    held[below & ~sure] = Held.BELOW_THRESHOLD
    held[learning & ~sure] = Held.LEARNING
    if in_force.profile.known:
        keys = flow_keys(seen.flows, seen.devices)
        silent = _are_known(in_force.learnt, keys, scores) & answered(seen.flows) & ~sure
        held[silent] = Held.LEARNT
        held[_are_known(in_force.accepted, keys, scores)] = Held.ACCEPTED
    return held


def answered(flows: DeviceFlows) -> Mask:
    """(N,) which were answered for all that is known, and did not fail."""
    unanswered, is_known = unanswered_of(flows)
    failing, _ = failing_of(flows)
    return is_known & ~unanswered & ~failing


def _are_known(of: Mapping[str, npt.NDArray[np.uint64]], keys: FlowKeys, scores: Scores) -> Mask:
    found = np.zeros(len(scores.verdict), np.bool_)
    for name, hashes in of.items():
        if name in scores.names:
            mine = scores.verdict == scores.names.index(name)
            found[mine] = np.isin(keys.by_kind[mine], hashes) | np.isin(keys.by_peer[mine], hashes)
    return found


def _by_class(known: Sequence[Known]) -> Mapping[str, npt.NDArray[np.uint64]]:
    hashes = key_hashes([one.key for one in known])
    found = {name: hashes[[name in one.covers for one in known]] for name in CLASSES if known}
    return {name: those for name, those in found.items() if len(those)}
