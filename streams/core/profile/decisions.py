"""A person's decisions about a site's profile. Each makes the next revision, and says who made it and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

from streams.core.profile.learning import COVERED, next_revision
from streams.core.profile.values import (
    MOST_KNOWN,
    MOST_REJECTED,
    Decision,
    Known,
    Profile,
    Proposal,
    Rejected,
    Threshold,
    Word,
)
from streams.errors import DataError

ALL: Final = "all"
"""In place of ids: every proposal."""
_SHOWN: Final = 20

Decided = Literal["accept", "reject", "forget"]


def decide(profile: Profile, action: Decided, ids: Sequence[str], word: Word) -> Profile:
    """`ids` of proposals, keys and thresholds. Raises DataError that says what is there instead."""
    if not (word.who.strip() and word.why.strip()):
        raise DataError(f"{action} needs who decides and why: --who NAME --why TEXT")
    wanted = _wanted(profile, action, ids)
    after = {"accept": _accepted, "reject": _rejected, "forget": _forgotten}[action](profile, wanted, word)
    return next_revision(after, Decision(0, action, tuple(wanted[:_SHOWN]), word))


def _wanted(profile: Profile, action: Decided, ids: Sequence[str]) -> list[str]:
    proposed = [one.id for one in profile.proposals]
    known = [one.key.id for one in profile.known] + [one.id for one in profile.thresholds]
    there = {
        "accept": proposed,
        "reject": [*proposed, *known],
        "forget": [*known, *(one.id for one in profile.rejected)],
    }[action]
    wanted = list(dict.fromkeys(ids))
    if ALL in wanted and action != "forget":
        wanted = proposed
    if not wanted:
        raise DataError(f"nothing to {action} at {profile.site}: there is no proposal")
    missing = [one for one in wanted if one not in there]
    if missing:
        shown = f"`autodeep profile show {profile.site}` lists the ids"
        raise DataError(f"{profile.site} has nothing to {action} by the id {missing[0]!r}; {shown}")
    return wanted


def _accepted(profile: Profile, ids: Sequence[str], word: Word) -> Profile:
    chosen = [one for one in profile.proposals if one.id in ids]
    keys = [_known(one, word) for one in chosen if one.key is not None]
    raised = [
        Threshold(*one.threshold, how="accepted", word=word) for one in chosen if one.threshold is not None
    ]
    if len(profile.known) + len(keys) > MOST_KNOWN:
        raise DataError(
            f"{profile.site} would know more than {MOST_KNOWN:,} keys; forget some first, or accept fewer"
        )
    above = {one.verdict for one in raised}
    return replace(
        profile,
        known=(*profile.known, *keys),
        thresholds=tuple(
            sorted(
                (*(one for one in profile.thresholds if one.verdict not in above), *raised),
                key=lambda one: one.verdict,
            )
        ),
        proposals=_without(profile.proposals, ids),
    )


def _known(proposal: Proposal, word: Word) -> Known:
    assert proposal.key is not None
    return Known(proposal.key, tuple(proposal.verdicts) or COVERED, "accepted", word, proposal.flows)


def _rejected(profile: Profile, ids: Sequence[str], word: Word) -> Profile:
    said = {one.id: _said(one) for one in profile.proposals}
    said |= {one.key.id: str(one.key) for one in profile.known}
    said |= {one.id: f"{one.verdict} from {one.value:g}" for one in profile.thresholds}
    known = {one.id for one in profile.rejected}
    rejected = (*profile.rejected, *(Rejected(one, said[one], word) for one in ids if one not in known))
    if len(rejected) > MOST_REJECTED:
        raise DataError(f"{profile.site} has more than {MOST_REJECTED:,} rejected entries; forget some first")
    return replace(
        _without_known(profile, ids), rejected=rejected, proposals=_without(profile.proposals, ids)
    )


def _forgotten(profile: Profile, ids: Sequence[str], word: Word) -> Profile:
    after = _without_known(profile, ids)
    return replace(after, rejected=tuple(one for one in profile.rejected if one.id not in ids))


def _without_known(profile: Profile, ids: Sequence[str]) -> Profile:
    return replace(
        profile,
        known=tuple(one for one in profile.known if one.key.id not in ids),
        thresholds=tuple(one for one in profile.thresholds if one.id not in ids),
    )


def _without(proposals: tuple[Proposal, ...], ids: Sequence[str]) -> tuple[Proposal, ...]:
    return tuple(one for one in proposals if one.id not in ids)


def _said(proposal: Proposal) -> str:
    if proposal.key is not None:
        return str(proposal.key)
    assert proposal.threshold is not None
    return f"{proposal.threshold[0]} from {proposal.threshold[1]:g}"
