"""What came of somebody's captures and logs, as tables and sentences, and as one object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streams.client.flow_verdicts import Told
from streams.codec.times import to_the_second
from streams.core.incidents import Incident
from streams.demo.flows.account import Account, FileAccount

MOST: Final = 20
"""Devices, and reasons of a kind, that are shown one by one."""


def tables(account: Account) -> RenderableType:
    """For people: what was read, who has incidents, what could not be used, and what to do about it."""
    return Group(*([_incidents(account)] if account.told else []), *(Text(line) for line in notes(account)))


def notes(account: Account) -> list[str]:
    """Sentences, each a line."""
    standing = account.standing
    lines = [
        f"Read: {', '.join([_many(len(account.files), 'file'), *_read(account.files)])}{_when(account)}.",
        f"Judged: {_many(standing.verdicts, 'flow')} of {_many(len(account.flows_of), 'device')} in "
        f"{account.seconds:.0f} s; {told(account)}.",
    ]
    more = standing.judged - standing.verdicts
    if more > 0:
        lines.append(
            f"Of {standing.judged:,} records of devices {more:,} only told more of a flow that went on, told "
            "one again, or were half of one."
        )
    if standing.held:
        lines.append(
            f"Held back: {_counts(Counter(standing.held))}. In a device's first half hour only what is "
            "beyond doubt alerts (learning); AUTODEEP_FLOW_LEARNING_S=0 has all of it told."
        )
    lines += _unused(account)
    if account.lost:
        lines.append(f"{account.lost:,} records were not judged before it ended.")
    return lines


def _read(files: Sequence[FileAccount]) -> list[str]:
    """Captures are metered here; what else there is has records of its own."""
    metered, others = [one for one in files if one.packets], [one for one in files if not one.packets]
    parts = []
    if others:
        found = sum((one.dialects for one in others), Counter[str]())
        dialects = ", ".join(f"{name} {count:,}" for name, count in found.most_common())
        records = _many(sum(one.records for one in others), "record")
        parts.append(f"{records} ({dialects})" if dialects else records)
    if metered:
        packets, flows = sum(one.packets for one in metered), sum(one.flows for one in metered)
        parts.append(f"{_many(packets, 'packet')} metered as {_many(flows, 'flow')}")
    return parts


def line(account: Account) -> str:
    """How far it is, for what is no terminal."""
    return (
        f"{account.sent:,} records sent, {account.standing.judged:,} of {account.flows_of.total():,} of "
        f"devices judged, {told(account)}"
    )


def as_json(account: Account) -> dict[str, Any]:
    return {
        "seconds": round(account.seconds, 1),
        "files": [_file(one) for one in account.files],
        "records": sum(one.records for one in account.files),
        "devices": len(account.flows_of),
        "events": account.standing.verdicts,
        "repeats": account.standing.repeats,
        "held_back": dict(account.standing.held),
        "alerts": dict(account.alerts),
        "incidents": [_incident(*one) for one in _by_time(account)],
        "dead_letters": account.dead_letters,
        "lost": account.lost,
        "interrupted": account.interrupted,
    }


def _file(one: FileAccount) -> dict[str, Any]:
    return {
        "file": one.name,
        "records": one.records,
        "packets": one.packets,
        "flows": one.flows,
        "foreign": one.foreign,
        "dialects": dict(one.dialects),
        "skipped": dict(one.skipped),
        "rejected": dict(one.rejected),
        "damage": one.damage or None,
    }


def _incident(key: str, of: Told, one: Incident) -> dict[str, Any]:
    return {
        "incident": key,
        "device": one.device_id,
        "verdict": one.verdict,
        "severity": one.severity.word,
        "alerts": of.alerts,
        "first_event_us": of.first_us,
        "last_event_us": of.last_us,
    }


def _by_time(account: Account) -> list[tuple[str, Told, Incident]]:
    found = [
        (key, of, account.incidents[key]) for key, of in account.told.items() if key in account.incidents
    ]
    return sorted(found, key=lambda one: (one[1].first_us, one[0]))


def _incidents(account: Account) -> Table:
    """Those of the devices that have most alerts."""
    table = Table(title="Incidents", title_justify="left")
    for name in ("device", "records", "what", "severity", "alerts", "from (UTC)", "to"):
        table.add_column(
            name, justify="right" if name in ("records", "alerts") else "left", no_wrap=name != "device"
        )
    of_device: dict[str, list[tuple[Told, Incident]]] = {}
    for _, of, one in _by_time(account):
        of_device.setdefault(one.device_id, []).append((of, one))
    devices = sorted(of_device, key=lambda name: (-account.alerts_of[name], name))
    for device in devices[:MOST]:
        for place, (of, one) in enumerate(_largest(of_device[device])):
            table.add_row(
                Text("" if place else device),
                "" if place else f"{account.flows_of[device]:,}",
                one.verdict,
                one.severity.word,
                f"{of.alerts:,}",
                to_the_second(of.first_us),
                to_the_second(of.last_us),
            )
    if len(devices) > MOST:
        table.caption = f"and {_many(len(devices) - MOST, 'device')} more"
    return table


def _largest(found: Sequence[tuple[Told, Incident]]) -> list[tuple[Told, Incident]]:
    """At most MOST of a device's, in order of time."""
    kept = sorted(found, key=lambda one: -one[0].alerts)[:MOST]
    return [one for one in found if one in kept]


def told(account: Account) -> str:
    if not account.alerts:
        return "no alerts"
    by_class = ", ".join(f"{name} {count:,}" for name, count in account.alerts.most_common())
    devices = len({one.device_id for one in account.incidents.values()})
    return (
        f"{_many(account.alerts.total(), 'alert')} ({by_class}) in "
        f"{_many(len(account.incidents), 'incident')} of {_many(devices, 'device')}"
        f"{f', {account.alone:,} of none' if account.alone else ''}"
    )


def _unused(account: Account) -> list[str]:
    """What could not be used, and why."""
    lines = []
    skipped = sum((one.skipped for one in account.files), Counter[str]())
    rejected = sum((one.rejected for one in account.files), Counter[str]())
    if skipped:
        lines.append(f"Skipped, as no flows: {_counts(skipped)}.")
    if rejected:
        first = next(one.name for one in account.files if one.rejected)
        lines.append(
            f"Not readable: {_counts(rejected)}; `autodeep flows read {first}` says what is wrong with each."
        )
    flows, foreign = sum(one.flows for one in account.files), sum(one.foreign for one in account.files)
    if foreign:
        lines.append(
            f"Of nobody here: {foreign:,} of {flows:,} flows have no end in a home network; "
            "`--home NETWORKS` names yours."
        )
    if not flows:
        lines.append(
            f"There was no flow to judge: `autodeep flows doctor {account.files[0].name}` says what it holds."
            if any(one.records for one in account.files)
            else "There was no flow to judge, nor any other record."
        )
    lines += [
        f"{one.name}: {one.damage.removeprefix(f'{one.name}: ')}"
        f"{'; what stood before it counts' if one.records else ''}."
        for one in account.files
        if one.damage
    ]
    return lines


def _counts(found: Counter[str]) -> str:
    parts = [f"{name.replace('_', ' ')} {count:,}" for name, count in found.most_common(MOST)]
    return ", ".join([*parts, *(["and others"] if len(found) > MOST else [])])


def _when(account: Account) -> str:
    return (
        f", of {to_the_second(account.first_us)} to {to_the_second(account.last_us)} UTC"
        if account.first_us
        else ""
    )


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
