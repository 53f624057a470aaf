"""What a detector of flows is held to, each aim with its figure, even where it is missed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from streams.evaluation.flows.views import CUT_MERGED, FULL, NETFLOW
from streams.evaluation.flows.warming import ACCEPTED, CLEAN, POISONED, STATUS

Json = Mapping[str, Any]
_RECALL: Final = {"probe_out": 0.97, "probe_in": 0.97, "c2_retrying": 0.85, "dos_out": 0.95, "dos_in": 0.93}
_FALSE: Final = {"steady": 0.3, "setup": 4.0}
_WARM: Final = {"steady": 0.1, "setup": 1.0}
_LOSS: Final = {"probe_out": 0.05, "probe_in": 0.05, "c2_retrying": 0.1}


def aims(found: Json) -> list[dict[str, Any]]:
    """Of the first method; those for which there are no data are left out."""
    name = next(iter(found["methods"]))
    figures = found["methods"][name]["figures"]
    return [
        *_of_recall(figures),
        *_of_time(figures),
        *_of_alarms(figures["false_incidents"], "without warm-up", _FALSE),
        *_of_warm_up(found["warm_up"].get(name, {})),
        *_of_views(found["views"][name]),
    ]


def _aim(text: str, value: float | None, limit: float, *, at_least: bool, digits: int = 3) -> dict[str, Any]:
    met = value is not None and (value >= limit if at_least else value <= limit)
    return {"aim": text, "figure": "-" if value is None else f"{value:,.{digits}f}", "met": met}


def _of_recall(figures: Json) -> Iterator[dict[str, Any]]:
    for column, limit in _RECALL.items():
        if column in figures["columns"]:
            value = figures["columns"][column]["flagged"]
            yield _aim(f"{column}: flows flagged, at least {limit:.2f}", value, limit, at_least=True)


def _of_time(figures: Json) -> Iterator[dict[str, Any]]:
    for column, share in (("probe_out", 1.0), ("probe_in", 0.9), ("c2", 1.0)):
        of = figures["columns"].get(column)
        if of and of["episodes"]:
            text = f"{column}: episodes found, at least {share:.0%}"
            yield _aim(text, of["found"] / of["episodes"], share, at_least=True)
    for column, key, limit in (
        ("probe_out", "flows_until_found", 10),
        ("c2_retrying", "seconds_until_found", 60),
    ):
        if column in figures["columns"]:
            text = f"{column}: median {key.replace('_', ' ')}, at most {limit}"
            yield _aim(text, figures["columns"][column][key], limit, at_least=False, digits=1)


def _of_alarms(told: Json, when: str, limits: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    for part, limit in limits.items():
        if told[part]["device_days"]:
            text = f"{part}: false incidents a device-day {when}, at most {limit:g}"
            yield _aim(text, told[part]["a_device_day"], limit, at_least=False)


def _of_warm_up(ways: Json) -> Iterator[dict[str, Any]]:
    if not ways:
        return
    for way in (CLEAN, ACCEPTED):
        yield from _of_alarms(ways[way]["false_incidents"], f"after a {way}", _WARM)
    for column, before in ways[STATUS]["columns"].items():
        if before["flagged"]:
            loss = 1.0 - ways[POISONED]["columns"][column]["flagged"] / before["flagged"]
            text = f"{column}: part of the recall that a poisoned warm-up costs, at most 0.1"
            yield _aim(text, loss, 0.1, at_least=False)


def _of_views(views: Json) -> Iterator[dict[str, Any]]:
    for view in (NETFLOW, *CUT_MERGED):
        for column, limit in _LOSS.items():
            if view in views and column in views[FULL]["columns"] and column in views[view]["columns"]:
                most = limit if view == NETFLOW else 0.05
                loss = views[FULL]["columns"][column]["flagged"] - views[view]["columns"][column]["flagged"]
                yield _aim(f"{view}: loss of {column}, at most {most:.2f}", loss, most, at_least=False)
