"""What is counted of judged flows while a site is learnt: keys, and how the scores lie. Bounded memory.

What may be learnt without anybody's word is *safe*: answered, with a private peer, on a port that is neither
a shell's nor one that malware comes through, and with nothing in the windows that is beyond doubt. Attackers
who are there from the first minute have few of such flows that look like their attack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.core.flow.columns import Index, Mask, PeerKind, Protocol
from streams.core.flow.facts import failing_of, ports_of, unanswered_of
from streams.core.flow.table import CLASS_OF_PORT, EVIDENCE, FLOW, PORT_CLASSES
from streams.core.profile.evidence import STRONG, strong
from streams.core.profile.matching import flow_keys
from streams.core.profile.rules import Scores, Seen, answered
from streams.core.profile.values import KINDS, PROTOCOLS, Key
from streams.core.topics import NORMAL, NOVEL

MOST_KEYS: Final = 20_000
EXAMPLES: Final = 3
BINS: Final = 1_000
MOST_NOVELTY: Final = 20.0
_GUARDED: Final = np.array([PORT_CLASSES.index(name) + 1 for name in ("shell", "exploit")])
USUAL: Final = tuple(name for name in EVIDENCE if name != "attempts")
"""Columns of which is kept what is usual at the site."""


@dataclass(slots=True)
class KeySeen:
    """Of one key, so far."""

    key: Key
    flows: int = 0
    safe: int = 0
    failing: int = 0
    unanswered: int = 0
    first_us: int = 0
    last_us: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)
    peers: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True)
class WarmUp:
    """Accumulates; the same flows give the same, however they are cut into turns."""

    site: str
    keys: dict[int, KeySeen] = field(default_factory=dict)
    left_out: int = 0
    """Flows of keys beyond MOST_KEYS."""
    flows: int = 0
    devices: set[str] = field(default_factory=set)
    from_us: int = 0
    until_us: int = 0
    scores: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    """By class (2, BINS): how many of the safe flows and of all scored so high."""
    usual: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((len(USUAL), 256), np.int64))
    """How many safe flows had each value."""

    def add(self, seen: Seen, scores: Scores, peers: Mapping[int, str]) -> None:
        """Flows of the site's devices; `peers` are addresses by their hash, as far as they are at hand."""
        if not len(seen.rows):
            return
        is_safe = safe(seen, scores)
        self._scored(scores, is_safe)
        columns = [FLOW.numeric_names.index(name) for name in USUAL]
        values = np.minimum(seen.rows["numbers"][is_safe][:, columns], 255).astype(np.int64)
        for place in range(len(USUAL)):
            self.usual[place] += np.bincount(values[:, place], minlength=256)
        ends = seen.flows.end_us
        self.from_us = int(ends.min()) if not self.flows else min(self.from_us, int(ends.min()))
        self.until_us = max(self.until_us, int(ends.max()))
        self.flows += len(seen.rows)
        self.devices.update(seen.devices[number] for number in np.unique(seen.flows.device).tolist())
        self._count(seen, scores, is_safe, peers)

    def _scored(self, scores: Scores, is_safe: Mask) -> None:
        for place, name in enumerate(scores.names):
            if name == NORMAL:
                continue
            value = scores.novelty if name == NOVEL else scores.posterior[:, place]
            bins = np.ceil(np.clip(value / _range_of(name), 0, 1) * BINS).astype(np.int64) - 1
            bins = np.maximum(bins, 0)
            held = self.scores.setdefault(name, np.zeros((2, BINS), np.int64))
            held[0] += np.bincount(bins[is_safe], minlength=BINS)
            held[1] += np.bincount(bins, minlength=BINS)

    def _count(self, seen: Seen, scores: Scores, is_safe: Mask, peers: Mapping[int, str]) -> None:
        hashes = flow_keys(seen.flows, seen.devices).by_kind
        unanswered, is_known = unanswered_of(seen.flows)
        failing, _ = failing_of(seen.flows)
        unanswered = unanswered & is_known
        _, first, of = np.unique(hashes, return_index=True, return_inverse=True)
        for number in np.argsort(first, kind="stable").tolist():
            place = int(first[number])
            one = self._key(int(hashes[place]), seen, place)
            at = np.flatnonzero(of == number)
            if one is None:
                self.left_out += len(at)
                continue
            _grow(one, at, seen.flows.end_us)
            one.safe += int(is_safe[at].sum())
            one.failing += int(failing[at].sum())
            one.unanswered += int(unanswered[at].sum())
            for verdict, count in zip(*np.unique(scores.verdict[at], return_counts=True), strict=True):
                name = scores.names[int(verdict)]
                if name != NORMAL:
                    one.verdicts[name] = one.verdicts.get(name, 0) + int(count)
            for peer in seen.flows.peer[at][:64].tolist():
                if len(one.peers) < EXAMPLES and peer in peers:
                    one.peers[peers[peer]] = None

    def _key(self, hashed: int, seen: Seen, place: int) -> KeySeen | None:
        found = self.keys.get(hashed)
        if found is None and len(self.keys) < MOST_KEYS:
            found = self.keys[hashed] = KeySeen(key_of(seen, place))
        return found

    def score_at(self, verdict: str, share: float, *, of_all: bool) -> float | None:
        """The score that at most this share of the safe flows, or of all, lies above; None: too few."""
        held = self.scores.get(verdict)
        if held is None:
            return None
        counts = held[int(of_all)]
        total = int(counts.sum())
        if total * share < 1:
            return None
        above = total - np.cumsum(counts)  # (BINS,) that lie above each bin's upper end
        place = int(np.flatnonzero(above <= total * share)[0])
        return float((place + 1) / BINS * _range_of(verdict))

    def usual_at(self, share: float) -> dict[str, float]:
        """Of each column the value that this share of the safe flows does not exceed."""
        total = int(self.usual[0].sum())
        if not total:
            return {}
        reached = np.cumsum(self.usual, axis=1) >= share * total  # (columns, 256)
        return dict(zip(USUAL, reached.argmax(axis=1).astype(float).tolist(), strict=True))


def safe(seen: Seen, scores: Scores) -> Mask:
    """(M,) the flows from which is learnt without anybody's word."""
    flows = seen.flows
    asked, _ = ports_of(flows)
    guarded = np.isin(CLASS_OF_PORT[asked], _GUARDED) & (flows.protocol != Protocol.ICMP)
    private = flows.peer_kind == PeerKind.PRIVATE
    found: Mask = answered(flows) & private & ~guarded
    for name in STRONG:
        if name in scores.names:
            every: Index = np.full(len(seen.rows), scores.names.index(name))
            found &= ~strong(seen.rows, every, scores.names)
    return found


def key_of(seen: Seen, place: int) -> Key:
    """Of the flow at a place, by its peer's kind."""
    flows = seen.flows.at(slice(place, place + 1))
    return Key(
        seen.devices[int(flows.device[0])],
        KINDS[int(flows.peer_kind[0])],
        "originator" if flows.originates[0] else "target",
        PROTOCOLS[int(flows.protocol[0])],
        int(ports_of(flows)[0][0]),
    )


def _grow(one: KeySeen, at: Index, end_us: Index) -> None:
    first, last = int(end_us[at].min()), int(end_us[at].max())
    one.first_us = first if not one.flows else min(one.first_us, first)
    one.last_us = max(one.last_us, last)
    one.flows += len(at)


def _range_of(verdict: str) -> float:
    return MOST_NOVELTY if verdict == NOVEL else 1.0
