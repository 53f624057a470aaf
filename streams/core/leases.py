"""Which device had an address when: leases of DHCP, and whatever else somebody tells. Pure.

The lease in force is the one that began last; where that one has ended, or says nobody, the address is
nobody's. So a lease ends when the next one of its address begins, and leases that overlap leave no doubt.

A lease counts for what Kafka got SETTLED_US after the lease was told, or later. So whoever reads a record
again, on any worker, knows the same leases for it: those told later do not count, however late it is read.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

FOREVER: Final = (1 << 63) - 1
SETTLED_US: Final = 60_000_000
"""20 s in which a worker has read a lease, 30 in which all of an import is told, 10 for clocks."""
MOST_OF_ADDRESS: Final = 16
MOST_LEASES: Final = 262_144
"""About 80 MB."""

Naming = Callable[[str, str, str, int], str]
"""Site, address, the MAC that the sensor told or "", and a flow's start, to the name of the device or ""."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Of one address: [start, end), in microseconds since 1970."""

    start_us: int
    end_us: int
    name: str
    """What the device is called behind its site; empty: nobody has the address."""
    mac: str = ""
    """Of the device, where it is known."""
    told_us: int = 0

    def is_of(self, other: Lease) -> bool:
        return (self.name, self.mac) == (other.name, other.mac)


def in_force(leases: Sequence[Lease], at_us: int, known_by_us: int = FOREVER) -> Lease | None:
    """At a moment, by what had been told until another."""
    begun = [one for one in leases if one.start_us <= at_us and one.told_us <= known_by_us]
    last = max(begun, key=lambda one: (one.start_us, one.told_us), default=None)
    return last if last is not None and last.name and at_us < last.end_us else None


def with_lease(leases: tuple[Lease, ...], now: Lease) -> tuple[Lease, ...]:
    """With one more, by start; the same where it says nothing new.

    What was told before stays as it was: a renewal adds the time that is new, and a lease that ends earlier
    than it was told to is followed by nobody's.
    """
    found = leases
    bounds = {time for one in leases for time in (one.start_us, one.end_us)}
    for at_us in (now.start_us, *sorted(time for time in bounds if now.start_us < time < now.end_us)):
        held = in_force(found, at_us)
        if held is None or not held.is_of(now):
            found = _added(found, replace(now, start_us=at_us))
    after = in_force(found, now.end_us)
    if after is not None and after.is_of(now) and now.end_us < FOREVER:
        found = _added(found, Lease(now.end_us, FOREVER, "", "", now.told_us))
    return found if found == leases else _bounded(found)


def spans(leases: Sequence[Lease]) -> list[Lease]:
    """From when to when who had the address, none of them overlapping."""
    found: list[Lease] = []
    for one, after in itertools.pairwise((*leases, None)):
        if one is None or (after is not None and after.start_us == one.start_us):
            continue
        end_us = one.end_us if after is None else min(one.end_us, after.start_us)
        if found and found[-1].is_of(one) and found[-1].end_us == one.start_us:
            found[-1] = replace(found[-1], end_us=end_us)
        else:
            found.append(replace(one, end_us=end_us))
    return [one for one in found if one.name]


def _added(leases: tuple[Lease, ...], now: Lease) -> tuple[Lease, ...]:
    """What is told at one time is told as little as can be."""
    for place, one in enumerate(leases):
        if one.told_us == now.told_us and one.is_of(now) and one.end_us == now.start_us:
            return (*leases[:place], replace(one, end_us=now.end_us), *leases[place + 1 :])
    others = (one for one in leases if (one.start_us, one.told_us) != (now.start_us, now.told_us))
    return tuple(sorted((*others, now), key=lambda one: (one.start_us, one.told_us)))


def _bounded(leases: tuple[Lease, ...]) -> tuple[Lease, ...]:
    """Beyond so many the oldest that follow each other become one, or go."""
    found = list(leases)
    while len(found) > MOST_OF_ADDRESS:
        for place, (one, after) in enumerate(itertools.pairwise(found)):
            if one.is_of(after) and one.end_us == after.start_us:
                found[place : place + 2] = [replace(one, end_us=after.end_us)]
                break
        else:
            del found[0]
    return tuple(found)


class Devices:
    """Leases by site and address, in bounded memory. One thread writes while others read."""

    def __init__(self, most: int = MOST_LEASES) -> None:
        self.most = most
        self.refused = 0
        """Addresses that there was no room for."""
        self._leases: dict[tuple[str, str], tuple[Lease, ...]] = {}
        self._count = 0

    def __len__(self) -> int:
        """Addresses."""
        return len(self._leases)

    def of(self, site: str, address: str) -> tuple[Lease, ...]:
        return self._leases.get((site, address), ())

    def items(self) -> list[tuple[str, str, tuple[Lease, ...]]]:
        """Site, address and leases of each."""
        return [(site, address, found) for (site, address), found in sorted(self._leases.items())]

    def put(self, site: str, address: str, leases: Sequence[Lease]) -> bool:
        """In place of what was known of the address. False: there is no room for more."""
        key = sys.intern(site), address
        more = len(leases) - len(self._leases.get(key, ()))
        if more > 0 and self._count + more > self.most:
            self.refused += 1
            return False
        self._count += more
        if leases:
            self._leases[key] = tuple(leases)
        else:
            self._leases.pop(key, None)
        return True

    def naming(self, received_us: int) -> Naming | None:
        """Of what Kafka got then; None where no lease is known at all."""
        if not self._leases:
            return None
        known_by_us = received_us - SETTLED_US

        def name(site: str, address: str, mac: str, at_us: int) -> str:
            """A lease of another MAC than the sensor's is not about this device."""
            leases = self._leases.get((site, address))
            found = in_force(leases, at_us, known_by_us) if leases else None
            if found is None or (mac and found.mac and mac != found.mac):
                return ""
            return found.name

        return name
