"""A site's profile: a value with a revision. Every change, learning's or a person's, makes the next one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from streams.core.topics import ATTACK_CLASSES, NOVEL

UNNAMED: Final = "-"
"""The site of sensors that name none, where a site must have a name."""
SITE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
MOST_KNOWN: Final = 2_000
MOST_PROPOSALS: Final = 500
MOST_REJECTED: Final = 2_000
MOST_HISTORY: Final = 100
"""Decisions that a profile remembers; earlier revisions have the earlier ones."""
MOST_TEXT: Final = 500

KINDS: Final = ("public", "private", "multicast")
"""Of peers, in the order of `core.flow.columns.PeerKind`."""
Role = Literal["originator", "target"]
PROTOCOLS: Final = ("other", "tcp", "udp", "icmp")
"""In the order of `core.flow.columns.Protocol`."""
How = Literal["learnt", "accepted"]
Action = Literal["learn", "accept", "reject", "forget", "import"]
CLASSES: Final = (*ATTACK_CLASSES, "c2", NOVEL)


@dataclass(frozen=True, slots=True)
class Key:
    """What recurs: a device's flows with a peer or kind of peers, by role, protocol and port asked for."""

    device: str
    peer: str
    """One of KINDS, or an address."""
    role: Role
    protocol: str
    port: int
    """That was asked for; of ICMP its type and code, the type in the upper byte."""

    def __post_init__(self) -> None:
        if not self.device or not self.peer:
            raise ValueError("a key names a device and a peer")
        if self.role not in ("originator", "target") or self.protocol not in PROTOCOLS:
            raise ValueError(f"{self.role!r} {self.protocol!r} is no role and protocol of a flow")
        if not 0 <= self.port <= 0xFFFF:
            raise ValueError(f"{self.port} is no port")

    @property
    def id(self) -> str:
        """Short, and the same on every machine."""
        said = "\n".join((self.device, self.peer, self.role, self.protocol, str(self.port)))
        return hashlib.sha256(said.encode()).hexdigest()[:10]

    def __str__(self) -> str:
        arrow = "->" if self.role == "originator" else "<-"
        if self.protocol == "icmp":
            return f"{self.device} {arrow} {self.peer} icmp/{self.port >> 8}.{self.port & 0xFF}"
        return f"{self.device} {arrow} {self.peer} {self.protocol}/{self.port}"


@dataclass(frozen=True, slots=True)
class Word:
    """Whose word something rests on. Of what was learnt silently, nobody's."""

    who: str
    why: str
    at_us: int

    def __post_init__(self) -> None:
        if max(len(self.who), len(self.why)) > MOST_TEXT:
            raise ValueError(f"who and why are at most {MOST_TEXT} characters each")


@dataclass(frozen=True, slots=True)
class Known:
    """A key whose flows do not alert as `covers`."""

    key: Key
    covers: tuple[str, ...]
    how: How
    word: Word
    flows: int = 0
    """Seen while it was learnt."""

    def __post_init__(self) -> None:
        _check_classes(self.covers)
        _check_word(self.how, self.word)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A class alerts from this probability on; `novel` from this novelty on."""

    verdict: str
    value: float
    how: How
    word: Word

    def __post_init__(self) -> None:
        _check_classes((self.verdict,))
        _check_word(self.how, self.word)
        most = 1.0 if self.verdict != NOVEL else 1e6
        if not 0 <= self.value <= most:
            raise ValueError(f"the threshold {self.value} of {self.verdict} is not in 0..{most:g}")

    @property
    def id(self) -> str:
        return threshold_id(self.verdict)


@dataclass(frozen=True, slots=True)
class Proposal:
    """What recurs at a site and is for a person to judge: a key, or a threshold as all flows ask for it."""

    key: Key | None
    threshold: tuple[str, float] | None = None
    verdicts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Of its flows, by class: those that alerted, or would have."""
    flows: int = 0
    failing: int = 0
    unanswered: int = 0
    first_us: int = 0
    last_us: int = 0
    peers: tuple[str, ...] = ()
    """Some of them, as an example."""

    def __post_init__(self) -> None:
        if (self.key is None) == (self.threshold is None):
            raise ValueError("a proposal is a key or a threshold")
        _check_classes(tuple(self.verdicts))

    @property
    def id(self) -> str:
        if self.key is not None:
            return self.key.id
        assert self.threshold is not None
        return threshold_id(self.threshold[0])

    @property
    def alerts(self) -> int:
        return sum(self.verdicts.values())


@dataclass(frozen=True, slots=True)
class Rejected:
    """What must not be known, and is proposed no more."""

    id: str
    said: str
    word: Word


@dataclass(frozen=True, slots=True)
class Decision:
    """What made a revision."""

    revision: int
    action: Action
    subjects: tuple[str, ...]
    """Ids of what was decided on, some of them where there were many."""
    word: Word


@dataclass(frozen=True, slots=True)
class WarmUpSeen:
    """What was learnt from."""

    model: str
    """NAME/VERSION, as people know it."""
    model_digest: str
    """Thresholds count for this model's scores alone."""
    flows: int
    devices: int
    from_us: int
    until_us: int


@dataclass(frozen=True, slots=True)
class Profile:
    site: str
    revision: int
    """From 1; 0 is the profile of a site about which nothing was said."""
    at_us: int = 0
    """When it was made, by the clock of whoever made it."""
    warm_up: WarmUpSeen | None = None
    thresholds: tuple[Threshold, ...] = ()
    usual: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Of columns of the table `flow`: what 95 % of the site's own clean flows stay below."""
    known: tuple[Known, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    history: tuple[Decision, ...] = ()
    """What made the latest revisions, oldest first."""

    def __post_init__(self) -> None:
        if not SITE.fullmatch(self.site):
            raise ValueError(
                f"{self.site!r} is no name of a site: 1 to 64 letters, digits, '.', '_' and '-'; {UNNAMED} "
                "is the site without a name"
            )
        if not 0 <= self.revision < 2**31:
            raise ValueError(f"{self.revision} is no revision")
        _check_sizes(self)
        for key in self.keys:
            if site_of(key.device) != self.site:
                raise ValueError(f"{key}: a device of site {site_of(key.device)}, not of {self.site}")
        known = [one.key.id for one in self.known] + [one.id for one in self.thresholds]
        for ids in (known, [one.id for one in self.proposals], [one.id for one in self.rejected]):
            if len(set(ids)) != len(ids):
                raise ValueError("the same key or threshold stands there twice")

    @property
    def keys(self) -> tuple[Key, ...]:
        proposed = (one.key for one in self.proposals if one.key is not None)
        return (*(one.key for one in self.known), *proposed)


def blank(site: str) -> Profile:
    return Profile(site, 0)


def site_of(device: str) -> str:
    """The site that a device's name says."""
    site, is_named, _ = device.partition("/")
    return site if is_named else UNNAMED


def threshold_id(verdict: str) -> str:
    return f"threshold-{verdict}"


def _check_classes(names: tuple[str, ...]) -> None:
    unknown = [name for name in names if name not in CLASSES]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no class of alerts; those are {', '.join(CLASSES)}")


def _check_word(how: str, word: Word) -> None:
    if how not in ("learnt", "accepted"):
        raise ValueError(f"{how!r}: expected learnt or accepted")
    if how == "accepted" and not (word.who and word.why):
        raise ValueError("what was accepted says by whom and why")


def _check_sizes(profile: Profile) -> None:
    for name, most in (
        ("known", MOST_KNOWN),
        ("proposals", MOST_PROPOSALS),
        ("rejected", MOST_REJECTED),
        ("history", MOST_HISTORY),
    ):
        if len(getattr(profile, name)) > most:
            raise ValueError(f"{name} has more than {most:,} entries")
