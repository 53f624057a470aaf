"""What sites' profiles make of a turn's verdicts on flows: some do not alert, all name the revision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from streams.core.flow.columns import ROLES, DeviceFlows, Index, Protocol
from streams.core.flow.facts import ports_of
from streams.core.flow.saying import FlowTold, Usual, said
from streams.core.flow.table import FLOW
from streams.core.flows import Role
from streams.core.profile.agreed import NONE, Agreed, Outcome, applied_at
from streams.core.profile.rules import LEARNING_MS, Held, Scores, Seen
from streams.core.profile.values import site_of
from streams.core.topics import NORMAL, NOVEL
from streams.model.classified import Classified
from streams.model.detector import Detector


@dataclass(frozen=True, slots=True)
class Sites:
    """What is agreed on about sites, as far as it is known."""

    agreed: Callable[[], Agreed]
    why_not: Callable[[], str | None] = lambda: None
    """Why nothing may be judged: what is known may be too old. None where it is not."""
    learning_ms: int = LEARNING_MS


@dataclass(frozen=True, slots=True, eq=False)
class SiteTurn:
    """Of the applied events (A) that one model judged."""

    flows: DeviceFlows  # (A,)
    ports: Index  # (A,) that were asked for
    agreed: Agreed
    outcome: Outcome
    usual: Mapping[str, float]
    """In training, by column."""

    @property
    def held(self) -> Mapping[str, int]:
        """How many verdicts do not alert, by why."""
        found = Counter(self.outcome.applied.held.tolist())
        return {Held(code).word: count for code, count in found.items() if code}


def seen_of(classified: Classified, flows: DeviceFlows, age_ms: Index) -> tuple[Seen, Scores]:
    """The applied events (A) as profiles look at them; `flows` and `age_ms` (N,) are the turn's events'."""
    events, verdicts, detector = classified.events, classified.verdicts, classified.detector
    at = classified.step.applied
    mine = flows.at(at)
    numbers, of = np.unique(mine.device, return_inverse=True)
    first = np.zeros(len(numbers), np.int64)
    first[of[::-1]] = at[::-1]
    seen = Seen(
        [events.device_id[place] for place in first.tolist()],
        replace(mine, device=of),
        events.rows[at],
        age_ms[at],
    )
    scores = Scores(
        detector.verdicts, verdicts.verdict, verdicts.posterior, verdicts.novelty, detector.identity.digest
    )
    return seen, scores


def applied_to(
    classified: Classified, seen: Seen, scores: Scores, sites: Sites
) -> tuple[Classified, SiteTurn]:
    """What is `seen_of` them, in the light of what is agreed on."""
    agreed, at = sites.agreed(), classified.step.applied
    outcome = applied_at(agreed, classified.events.kafka_us[at], seen, scores, sites.learning_ms)
    revisions = [None if one == NONE else one for one in outcome.revision.tolist()]
    after = replace(
        classified,
        verdicts=replace(classified.verdicts, verdict=outcome.applied.verdict),
        profiles=revisions if outcome.revision.any() else None,
    )
    usual = usual_in_training(classified.detector)
    return after, SiteTurn(seen.flows, ports_of(seen.flows)[0], agreed, outcome, usual)


def reasons_of(classified: Classified, site: SiteTurn, place: int) -> tuple[str, ...]:
    """Of an applied event: what drove its verdict, in words."""
    at = int(classified.step.applied[place])
    context = (None if classified.events.context is None else classified.events.context[at]) or {}
    originates = ROLES[int(site.flows.role[place])] == Role.ORIGINATOR
    told = FlowTold(
        context.get("dst_address" if originates else "src_address", ""),
        int(site.ports[place]),
        Protocol(int(site.flows.protocol[place])).name.lower(),
        originates,
    )
    detector, verdicts = classified.detector, classified.verdicts
    verdict = detector.verdicts[int(verdicts.verdict[place])]
    if verdict == NOVEL:
        verdict = detector.classes[int(verdicts.closest[place])]
    in_force = site.agreed.at(site_of(classified.events.device_id[at]), int(classified.events.kafka_us[at]))
    here: Mapping[str, float] = {} if in_force is None else in_force.profile.usual
    return said(classified.events.rows[at], told, verdict, Usual(here, site.usual))


def usual_in_training(detector: Detector) -> Mapping[str, float]:
    """Of columns of the table `flow` what 95 % of the benign flows do not exceed, as the model says."""
    usual = detector.parameters.usual.get(NORMAL)
    if usual is None:
        return MappingProxyType({})
    return {name: high for name, (_, high) in zip(FLOW.numeric_names, usual.numbers, strict=True)}
