"""Whether a Redis drops keys of its own accord to make room: every window has a time to live, so it may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

NONE: Final = "noeviction"


@dataclass(frozen=True, slots=True)
class Evictions:
    policy: str | None
    """`maxmemory-policy`, of the first server that may evict; None where a server does not say."""
    evicted_keys: int | None
    """Since the servers started, all of them together."""

    @property
    def evicts(self) -> bool | None:
        return None if self.policy is None else self.policy != NONE


def read_evictions(told: Sequence[Sequence[Any]]) -> Evictions:
    """Of each server the answers to INFO memory and INFO stats, errors among them."""
    fields = [info_fields(answers) for answers in told]
    policies = [of_one.get("maxmemory_policy") for of_one in fields]
    evicting = [policy for policy in policies if policy not in {None, NONE}]
    counts = [of_one.get("evicted_keys", "") for of_one in fields]
    known = bool(policies) and None not in policies
    return Evictions(
        policy=evicting[0] if evicting else NONE if known else None,
        evicted_keys=sum(map(int, counts)) if counts and all(map(str.isdecimal, counts)) else None,
    )


def info_fields(answers: Sequence[Any]) -> dict[str, str]:
    """What answers to INFO say, by name; an answer that is an error says nothing."""
    text = [answer.decode(errors="replace") for answer in answers if isinstance(answer, bytes)]
    lines = [line.partition(":") for part in text for line in part.splitlines()]
    return {name: value.strip() for name, _, value in lines}
