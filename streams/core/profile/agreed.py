"""Which revision of a site's profile is in force for which record: by Kafka's timestamps alone.

A revision comes into force LEAD_US after Kafka took it, for the records that Kafka took from then on. Both
times are the brokers', and part of what is stored: a replay finds the same revision for each record, whoever
judges it, and whenever. A worker is exact as long as what it knows of the topic is not older than
LEAD_US; it judges nothing while it is (`is_too_old`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import numpy as np

from streams.core.flow.columns import Index
from streams.core.profile.rules import LEARNING_MS, Applied, InForce, Scores, Seen, applied
from streams.core.profile.values import Profile, blank, site_of

LEAD_US: Final = 10_000_000
KEPT: Final = 64
"""Revisions of a site that the topic keeps: before the oldest of them no profile is in force."""
ALWAYS: Final = -(1 << 62)

NONE: Final = 0
"""Stands for no revision."""


@dataclass(frozen=True, slots=True, eq=False)
class Agreed:
    """The profiles of all sites: each one's revisions in order, and from when on each is in force."""

    of_site: Mapping[str, tuple[tuple[int, InForce], ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )

    @classmethod
    def always(cls, profile: Profile) -> Agreed:
        """One profile, in force for every record of its site."""
        return cls(MappingProxyType({profile.site: ((ALWAYS, InForce(profile)),)}))

    def with_revision(self, profile: Profile, taken_us: int) -> Agreed:
        """With one more, that Kafka took at that time; one that is known, or of another order, counts not.

        A later revision is in force no earlier than the one before it.
        """
        known = list(self.of_site.get(profile.site, ()))
        if known and profile.revision <= known[-1][1].profile.revision:
            return self
        begins_us = max(taken_us + LEAD_US, known[-1][0] if known else ALWAYS)
        known.append((begins_us, InForce(profile)))
        return Agreed(MappingProxyType({**self.of_site, profile.site: tuple(known[-KEPT:])}))

    def without(self, site: str, revision: int) -> Agreed:
        """Without a revision that is kept no more."""
        known = self.of_site.get(site, ())
        kept = tuple(one for one in known if one[1].profile.revision != revision)
        return self if len(kept) == len(known) else Agreed(MappingProxyType({**self.of_site, site: kept}))

    def newest(self, site: str) -> Profile | None:
        known = self.of_site.get(site)
        return known[-1][1].profile if known else None

    def at(self, site: str, kafka_us: int) -> InForce | None:
        """What is in force for a record that Kafka took at that time."""
        return next(
            (one for begins_us, one in reversed(self.of_site.get(site, ())) if begins_us <= kafka_us), None
        )


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What the profiles make of M verdicts, and which revision was in force for each; NONE: no profile."""

    applied: Applied
    revision: Index


def applied_at(
    agreed: Agreed, kafka_us: Index, seen: Seen, scores: Scores, learning_ms: int = LEARNING_MS
) -> Outcome:
    """Of flows (M,) of devices of any sites, with Kafka's timestamps of their records.

    A site without a profile has only the status of its devices.
    """
    sites = [site_of(device) for device in seen.devices]
    number = {site: place for place, site in enumerate(dict.fromkeys(sites))}
    of_flow = np.array([number[site] for site in sites], np.int64)[seen.flows.device]
    verdict, held = scores.verdict.copy(), np.zeros(len(of_flow), np.uint8)
    revision = np.zeros(len(of_flow), np.int64)
    for site, place in number.items():
        mine = np.flatnonzero(of_flow == place)
        known = agreed.of_site.get(site, ())
        begins_us = np.array([begins for begins, _ in known], np.int64)
        which = np.searchsorted(begins_us, kafka_us[mine], "right") - 1  # -1: before all of them
        for turn in np.unique(which).tolist():
            at = mine[which == turn]
            in_force = known[turn][1] if turn >= 0 else InForce(blank(site))
            found = applied(in_force, seen.at(at), scores.at(at), learning_ms)
            verdict[at], held[at], revision[at] = found.verdict, found.held, in_force.profile.revision
    return Outcome(Applied(verdict, held, seen.age_ms < learning_ms), revision)


def is_too_old(known_s: float, now_s: float) -> bool:
    """Whether a worker that read the topic to its end at `known_s` may miss a revision that is in force."""
    return now_s - known_s > LEAD_US / 2e6
