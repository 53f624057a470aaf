"""A network that was watched before it is judged: with nothing but its own traffic, or with attacks in it.

A network is a capture. It is watched over a fifth of its normal flows; poisoned, over a fifth of each of its
attacks besides, whenever these began. What is left is judged, the same flows each time. A profile is learnt
as the product learns one when nobody says a word: thresholds and keys from safe flows alone; and as it is
once a person has accepted all that recurred.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.core.flow.columns import DeviceFlows, Index, Mask
from streams.core.profile.decisions import ALL, decide
from streams.core.profile.learning import learnt
from streams.core.profile.rules import LEARNING_MS, InForce, Scores, Seen, applied
from streams.core.profile.values import Word, blank
from streams.core.profile.warm_up import WarmUp
from streams.core.topics import NOVEL
from streams.training.flow_protocol.labelled import CLASSES, NORMAL, LabelledFlows

Floats = npt.NDArray[np.floating]
WATCHED: Final = 5
"""A fifth of the flows."""
NONE: Final = "nothing learnt"
STATUS: Final = "nothing learnt, first half hour of a device as its status"
CLEAN: Final = "clean warm-up"
POISONED: Final = "poisoned warm-up"
ACCEPTED: Final = "clean warm-up, a person accepts what is proposed"
WAYS: Final = (NONE, STATUS, CLEAN, POISONED, ACCEPTED)
_SITE: Final = "network"
_DIGEST: Final = "0" * 64
_MODEL: Final = ("flows/0", _DIGEST)


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """N flows of all captures with what a method says of them."""

    flows: LabelledFlows
    told: DeviceFlows
    """The flows themselves, device numbers as in `flows`."""
    margins: Floats
    """(N, C) above each class's threshold, and novelty's."""
    verdicts: Index


def warmed(judged: Judged) -> tuple[Mask, dict[str, Index]]:
    """(N,) which flows are left to judge, and the verdicts by each of WAYS."""
    watched = _watched(judged.flows)
    rest = ~watched
    found = {way: judged.verdicts.copy() for way in WAYS}
    for here, seen, scores in _networks(judged):
        profiles = {STATUS: blank(_SITE)}
        for way, part in ((CLEAN, judged.flows.target[here] == NORMAL), (POISONED, True)):
            at = np.flatnonzero(watched[here] & part)
            warm_up = WarmUp(_SITE)
            warm_up.add(seen.at(at), scores.at(at), {})
            profiles[way] = learnt(blank(_SITE), warm_up, _MODEL, 0, Word("", "", 0))
        profiles[ACCEPTED] = profiles[CLEAN]
        if profiles[CLEAN].proposals:
            profiles[ACCEPTED] = decide(profiles[CLEAN], "accept", [ALL], Word("a person", "clean", 0))
        for way, profile in profiles.items():
            found[way][here] = applied(InForce(profile), seen, scores, LEARNING_MS).verdict
    return rest, found


def _watched(flows: LabelledFlows) -> Mask:
    """(N,) the first fifth of each capture's flows of each class."""
    watched = np.zeros(len(flows), np.bool_)
    kind = np.where(flows.scored, flows.capture * len(CLASSES) + flows.target, -1)
    for one in np.unique(kind[kind >= 0]).tolist():
        places = np.flatnonzero(kind == one)
        watched[places[: len(places) // WATCHED]] = True
    return watched


def _networks(judged: Judged) -> Iterator[tuple[Index, Seen, Scores]]:
    """Of each capture its flows' places, and the flows as a profile sees them: a site of its own."""
    flows = judged.flows
    names = (*CLASSES, NOVEL)[: 1 + judged.margins.shape[1]]
    age_ms = _ages_ms(flows)
    devices = [f"{_SITE}/{one}" for one in range(int(flows.device.max()) + 1)]
    for number in range(len(flows.captures)):
        here = np.flatnonzero(flows.capture == number)
        odds = np.exp(np.clip(judged.margins[here, : len(CLASSES) - 1], -50, 50))
        posterior = np.concatenate((np.ones((len(here), 1)), odds), axis=1)
        posterior /= posterior.sum(axis=1, keepdims=True)
        novelty = judged.margins[here, -1] if NOVEL in names else np.zeros(len(here))
        scores = Scores(
            names,
            judged.verdicts[here],
            posterior.astype(np.float32),
            np.maximum(novelty, 0.0).astype(np.float32),
            _DIGEST,
        )
        yield here, Seen(devices, judged.told.at(here), flows.rows[here], age_ms[here]), scores


def _ages_ms(flows: LabelledFlows) -> Index:
    """(N,) since the device's first flow."""
    first = np.full(int(flows.device.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, flows.device, flows.end_us)
    return np.asarray((flows.end_us - first[flows.device]) // 1000)
