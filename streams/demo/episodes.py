"""Episodes of attacks: which kinds play when, on which devices of the fleet. Repeatable by seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol, TypeVar

from streams.demo.habits import A_SECOND_US, device_ids, kind_of

ROUND_S: Final = 45
NO_EPISODE: Final = -1


@dataclass(frozen=True, slots=True)
class Episode:
    """One attack on one device, in [start, end)."""

    name: str
    attack: str
    """The type of the KDD'99 training file that it imitates."""
    truth: str
    """Its class: dos, probe, r2l or u2r."""
    device_id: str
    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class Stage:
    """Where and when an episode plays: `device` takes part, in [begin, end)."""

    device: str
    begin_us: int
    end_us: int
    random: Random

    def moments(self, per_s: float) -> Iterator[int]:
        """Times at about that rate, from the beginning on; unevenly spaced, as a network delivers."""
        at_us = float(self.begin_us)
        while at_us < self.end_us:
            yield int(at_us)
            at_us += self.random.uniform(0.4, 1.6) / per_s * A_SECOND_US

    def evenly(self, times: int) -> Iterator[int]:
        """That many moments, each somewhere in its equal share of the time; none where there is no time."""
        share_us = (self.end_us - self.begin_us) / times
        for place in range(times if share_us else 0):
            yield self.begin_us + int(share_us * (place + self.random.random()))


class Kind(Protocol):
    """A kind of attack. `begins` and `ends` are shares of a round; `of` are kinds of devices."""

    @property
    def name(self) -> str: ...
    @property
    def attack(self) -> str: ...
    @property
    def truth(self) -> str: ...
    @property
    def of(self) -> tuple[str, ...]: ...
    @property
    def begins(self) -> float: ...
    @property
    def ends(self) -> float: ...


K = TypeVar("K", bound=Kind)


def planned(attacks: Sequence[K], seconds: float, seed: int, start_us: int = 0) -> list[tuple[Episode, K]]:
    """Rounds of about 45 seconds, every attack once in each; within a round no device has two."""
    random = Random(f"{seed}/plan")
    rounds = max(1, round(seconds / ROUND_S))
    round_us = seconds * A_SECOND_US / rounds
    plan = []
    for number in range(rounds):
        free = list(device_ids())
        for attack in attacks:
            target = random.choice([device for device in free if kind_of(device) in attack.of])
            free.remove(target)
            begin_us, end_us = (
                start_us + int(round_us * (number + share)) for share in (attack.begins, attack.ends)
            )
            plan.append((Episode(attack.name, attack.attack, attack.truth, target, begin_us, end_us), attack))
    return plan


def stages(plan: Sequence[tuple[Episode, K]], seed: int) -> Iterator[tuple[int, K, Stage]]:
    """Of each episode its place in the plan, its kind, and where it plays."""
    for place, (episode, attack) in enumerate(plan):
        random = Random(f"{seed}/attacks/{place}")
        yield place, attack, Stage(episode.device_id, episode.start_us, episode.end_us, random)
