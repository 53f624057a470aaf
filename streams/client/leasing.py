"""Leases of a file onto the topic of devices: what it says anew, and nothing else."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from streams.client.lease_files import LeaseRow, Passed
from streams.core.home import Home
from streams.core.leases import Devices, Lease, in_force, spans, with_lease
from streams.errors import DataError

SLOW_S: Final = 30.0
"""Within this, all of an import has to be on the topic; `leases.SETTLED_US` counts on it."""
_MOST_REASONS: Final = 100

Changed = list[tuple[str, str, tuple[Lease, ...]]]


class Naming(StrEnum):
    """What devices are called by."""

    MAC = "mac"
    HOST = "hostname"


@dataclass(frozen=True, slots=True)
class Means:
    home: Home
    site: str
    """Of rows that name none; a row of another site is refused where this is given."""
    names: Naming
    now_us: int


@dataclass(slots=True)
class Gathered:
    """What a file says, by address."""

    devices: Devices = field(default_factory=Devices)
    rows: int = 0
    used: int = 0
    overlapping: int = 0
    """Leases that began while another device still had one of the address."""
    passed: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    first_line: dict[str, int] = field(default_factory=dict)

    def leave(self, line: int, reason: str, *, is_wrong: bool) -> None:
        counts = self.wrong if is_wrong else self.passed
        if reason not in counts and len(counts) >= _MOST_REASONS:
            reason = "has another fault"
        counts[reason] += 1
        self.first_line.setdefault(reason, line)


def gathered(rows: Iterable[LeaseRow | Passed], means: Means, found: Gathered | None = None) -> Gathered:
    """In order, so that of a log of leases the newest rows count. Raises DataError beyond what is kept."""
    found = found or Gathered()
    for row in rows:
        found.rows += 1
        if isinstance(row, Passed):
            found.leave(row.line, row.reason, is_wrong=row.is_wrong)
            continue
        lease = _lease_of(row, means, found)
        if lease is None:
            continue
        site, found.used = row.site or means.site or means.home.site, found.used + 1
        before = found.devices.of(site, row.address)
        held = in_force(before, lease.start_us)
        found.overlapping += held is not None and not held.is_of(lease)
        if not found.devices.put(site, row.address, with_lease(before, lease)):
            raise _too_many(found.devices, f"line {row.line}")
    return found


def _lease_of(row: LeaseRow, means: Means, found: Gathered) -> Lease | None:
    """None, and why is counted, where the row names no device of ours."""
    site = means.site or row.site or means.home.site
    start_us = means.now_us if row.start_us is None else row.start_us
    by_host = row.host if means.names is Naming.HOST else ""
    lease = Lease(start_us, row.end_us, row.name or by_host or row.mac, row.mac)
    if row.site and row.site != site:
        found.leave(row.line, f"is of another site than {site}", is_wrong=True)
    elif not means.home.is_home(site, row.address):
        found.leave(row.line, "has an address outside the home networks", is_wrong=True)
    elif not lease.name:
        found.leave(row.line, "tells neither a name nor a MAC", is_wrong=False)
    elif row.start_us is None and row.end_us <= means.now_us:
        found.leave(row.line, "has ended, and does not say when it began", is_wrong=False)
    elif row.end_us <= start_us:
        found.leave(row.line, "ends before it starts", is_wrong=True)
    else:
        return lease
    return None


def told_anew(known: Devices, found: Gathered, now_us: int | None = None) -> Changed:
    """What the topic does not say yet. Raises DataError beyond what is kept."""
    told_us = time.time_ns() // 1_000 if now_us is None else now_us
    changed: Changed = []
    for site, address, leases in found.devices.items():
        before = after = known.of(site, address)
        for lease in spans(leases):
            after = with_lease(after, replace(lease, told_us=told_us))
        if after != before:
            if not known.put(site, address, after):
                raise _too_many(known, f"{address} of this file")
            changed.append((site, address, after))
    return changed


def _too_many(devices: Devices, at: str) -> DataError:
    return DataError(
        f"at {at} there are more than {devices.most:,} leases, which is all that a worker keeps: import the "
        "leases of your own networks, by site, and no history of years"
    )


def listed(devices: Devices, site: str, now_us: int, *, everything: bool) -> Sequence[tuple[str, str, Lease]]:
    """Site, address and lease: those in force, or all."""
    rows = []
    for of, address, leases in devices.items():
        if site and of != site:
            continue
        present = in_force(leases, now_us)
        rows += [(of, address, one) for one in leases if (everything and one.name) or one is present]
    return rows
