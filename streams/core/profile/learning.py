"""The next profile of a site after a warm-up: what is learnt silently, and what a person is asked.

Silently: keys that recur and all of whose flows were safe (`warm_up.py`), as c2 and novel alone; and of each
class the score that few of the safe flows lie above, within bounds. All else that recurs is a proposal, and
so are the thresholds that would follow if the whole warm-up were clean. What a person accepted or rejected
before stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from streams.core.profile.values import (
    MOST_HISTORY,
    MOST_KNOWN,
    MOST_PROPOSALS,
    Decision,
    Known,
    Profile,
    Proposal,
    Threshold,
    WarmUpSeen,
    Word,
)
from streams.core.profile.warm_up import MOST_NOVELTY, KeySeen, WarmUp
from streams.core.topics import NOVEL

COVERED: Final = ("c2", NOVEL)
"""The classes in which a key that was learnt silently does not alert."""
LEAST_FLOWS: Final = 3
LEAST_SPAN_US: Final = 60_000_000
"""What came at least so often, over so long, recurs."""
SHARE: Final = 0.003
"""Of clean flows, that may lie above a class's threshold."""
HIGHEST: Final[Mapping[str, float]] = MappingProxyType({"learnt": 0.95, "accepted": 0.999})
HIGHEST_NOVELTY: Final[Mapping[str, float]] = MappingProxyType({"learnt": 3.0, "accepted": MOST_NOVELTY})
LEAST: Final = (0.05, 1.0)
"""Scores at which no verdict is of a class, and none is novel: a threshold there says nothing."""
USUAL_SHARE: Final = 0.95


def learnt(before: Profile, warm_up: WarmUp, model: tuple[str, str], at_us: int, word: Word) -> Profile:
    """`model` is NAME/VERSION and digest of the one whose scores were counted; `word` whose doing it is."""
    seen = WarmUpSeen(
        *model, warm_up.flows, len(warm_up.devices), from_us=warm_up.from_us, until_us=warm_up.until_us
    )
    kept = tuple(one for one in before.known if one.how == "accepted")
    refused = {one.id for one in before.rejected}
    settled = refused | {one.key.id for one in kept}
    recurring = [one for one in warm_up.keys.values() if _recurs(one) and one.key.id not in settled]
    nobody = Word("", "", at_us)
    silent = [_silent(one, nobody) for one in recurring if _is_safe(one)]
    silent = sorted(silent, key=lambda one: (-one.flows, one.key.id))[: MOST_KNOWN - len(kept)]
    thresholds = _thresholds(before, warm_up, model[1], refused, nobody)
    asked = [_proposal(one) for one in recurring if not _is_safe(one)]
    asked += _threshold_proposals(warm_up, {one.verdict: one for one in thresholds}, refused)
    after = replace(
        before,
        warm_up=seen,
        thresholds=thresholds,
        usual=MappingProxyType(warm_up.usual_at(USUAL_SHARE)),
        known=(*kept, *silent),
        proposals=in_order(asked)[:MOST_PROPOSALS],
    )
    return next_revision(after, Decision(0, "learn", (), replace(word, at_us=at_us)))


def next_revision(profile: Profile, decision: Decision) -> Profile:
    """With the decision that made it; its revision is the next."""
    revision = profile.revision + 1
    history = (*profile.history, replace(decision, revision=revision))[-MOST_HISTORY:]
    return replace(profile, revision=revision, at_us=decision.word.at_us, history=history)


def in_order(proposals: list[Proposal]) -> tuple[Proposal, ...]:
    """Thresholds first, then what alerted most."""
    return tuple(sorted(proposals, key=lambda one: (one.threshold is None, -one.alerts, -one.flows, one.id)))


def _recurs(one: KeySeen) -> bool:
    return one.flows >= LEAST_FLOWS and one.last_us - one.first_us >= LEAST_SPAN_US


def _is_safe(one: KeySeen) -> bool:
    return one.safe == one.flows


def _silent(one: KeySeen, nobody: Word) -> Known:
    return Known(one.key, COVERED, "learnt", nobody, one.flows)


def _proposal(one: KeySeen) -> Proposal:
    return Proposal(
        one.key,
        verdicts=MappingProxyType(dict(sorted(one.verdicts.items()))),
        flows=one.flows,
        failing=one.failing,
        unanswered=one.unanswered,
        first_us=one.first_us,
        last_us=one.last_us,
        peers=tuple(one.peers),
    )


def _thresholds(
    before: Profile, warm_up: WarmUp, digest: str, refused: set[str], nobody: Word
) -> tuple[Threshold, ...]:
    """Those accepted for the same model's scores, and of the other classes those of the safe flows."""
    same = before.warm_up is not None and before.warm_up.model_digest == digest
    found = {one.verdict: one for one in before.thresholds if same and one.how == "accepted"}
    for verdict in warm_up.scores:
        value = _score(warm_up, verdict, "learnt", of_all=False)
        one = None if value is None else Threshold(verdict, value, "learnt", nobody)
        if one is not None and one.id not in refused:
            found.setdefault(verdict, one)
    return tuple(found[verdict] for verdict in sorted(found))


def _threshold_proposals(warm_up: WarmUp, now: Mapping[str, Threshold], refused: set[str]) -> list[Proposal]:
    """Of the classes in which the whole warm-up, were it clean, asks for a higher one."""
    asked = []
    for verdict in warm_up.scores:
        value, present = _score(warm_up, verdict, "accepted", of_all=True), now.get(verdict)
        if value is None or (present is not None and present.value >= value):
            continue
        one = Proposal(None, (verdict, value), flows=warm_up.flows)
        if one.id not in refused:
            asked.append(one)
    return asked


def _score(warm_up: WarmUp, verdict: str, how: str, *, of_all: bool) -> float | None:
    found = warm_up.score_at(verdict, SHARE, of_all=of_all)
    if found is None or found <= LEAST[verdict == NOVEL]:
        return None
    return min(found, HIGHEST_NOVELTY[how] if verdict == NOVEL else HIGHEST[how])
