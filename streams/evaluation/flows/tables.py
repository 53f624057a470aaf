"""The tables of a report, as heads and rows of text: a page and a terminal show the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

Json = Mapping[str, Any]
NOTHING: Final = "-"
COLUMN_NAMES: Final = {
    "probe_out": "scan out",
    "probe_in": "scan in",
    "c2": "C2",
    "c2_retrying": "C2, retrying",
    "dos_out": "flood out",
    "dos_in": "flood in",
    "r2l": "R2L",
}
PARTS: Final = {"all": "all", "steady": "steady state", "setup": "first setup"}


class Table(NamedTuple):
    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def ranged(of: Json | None, name: str, digits: int = 3) -> str:
    """.951 (.948 to .953): mean, lowest to highest of the seeds."""
    value = (of or {}).get(name)
    if of is None or value is None:
        return NOTHING
    spread = of.get("spread", {}).get(name)
    text = f"{value:,.{digits}f}"
    if not spread or spread["low"] == spread["high"]:
        return text
    return f"{text} ({spread['low']:,.{digits}f} to {spread['high']:,.{digits}f})"


def episodes(of: Json | None) -> str:
    """13/13; a mean of seeds may lie between."""
    return f"{of['found']:.3g}/{of['episodes']:.3g}" if of else NOTHING


def false_incidents(figures: Json, part: str) -> str:
    return ranged(figures["false_incidents"][part], "a_device_day", 2)


def _columns(found: Json) -> list[str]:
    """Those that have attacks."""
    return list(main_of(found)["figures"]["columns"])


def main_of(found: Json) -> Json:
    main: Json = next(iter(found["methods"].values()))
    return main


def summary(found: Json) -> Table:
    """What the report is about, by column, and how long it takes."""
    rows = []
    for name, of in main_of(found)["figures"]["columns"].items():
        rows.append(
            [
                COLUMN_NAMES[name],
                ranged(of, "flagged"),
                ranged(of, "recall"),
                episodes(of),
                f"{of['named']:.3g}",
                ranged(of, "flows_until_found", 0),
                ranged(of, "seconds_until_found", 1),
            ]
        )
    head = ("", "flagged", "as its class", "episodes found", "and named", "flows until found", "seconds")
    return Table(f"{next(iter(found['methods']))}, {_at(found)}", head, rows)


def _at(found: Json) -> str:
    return f"thresholds at {found['budget']:g} false incidents a device-day and class on other folds"


def alarms(found: Json) -> Table:
    rows = []
    for name, method in found["methods"].items():
        figures = method["figures"]
        days = [false_incidents(figures, part) for part in PARTS]
        rows.append([name, *days, ranged(figures, "false_positives_per_100000", 0)])
    watched = main_of(found)["figures"]["false_incidents"]
    head = ("", *(f"{said} ({watched[part]['device_days']:.1f} days)" for part, said in PARTS.items()))
    title = f"False incidents a device-day, {_at(found)}"
    return Table(title, (*head, "false positives in 100,000 clean flows"), rows)


def compared(found: Json) -> Table:
    rows = [
        [name, *_recalls(method["figures"], _columns(found)), false_incidents(method["figures"], "all")]
        for name, method in found["methods"].items()
    ]
    return Table(f"Flows flagged, episodes found, {_at(found)}", _head(found), rows)


def equal(found: Json) -> Iterator[Table]:
    for budget, methods in found["at_equal_false_incidents"].items():
        rows = []
        for name, point in methods.items():
            cells = [NOTHING] * (len(_columns(found)) + 1)
            if point:
                cells = [*_recalls(point, _columns(found)), false_incidents(point, "all")]
            rows.append([name, *cells])
        yield Table(f"At most {budget} false incidents a device-day", _head(found), rows)


def _head(found: Json) -> tuple[str, ...]:
    return ("", *(COLUMN_NAMES[name] for name in _columns(found)), "false incidents a device-day")


def _recalls(figures: Json, columns: Sequence[str]) -> list[str]:
    of = [figures["columns"].get(name) for name in columns]
    return [f"{ranged(it, 'flagged')}, {episodes(it)}" if it else NOTHING for it in of]


def by_capture(found: Json) -> Table:
    rows = []
    for capture, columns in main_of(found)["figures"]["by_capture"].items():
        for name, of in columns.items():
            rows.append(
                [
                    f"{capture}: {COLUMN_NAMES[name]}",
                    f"{of['flows']:,.0f}",
                    ranged(of, "flagged"),
                    ranged(of, "recall"),
                    episodes(of),
                    ranged(of, "flows_until_found", 0),
                    ranged(of, "seconds_until_found", 1),
                ]
            )
    head = ("", "flows", "flagged", "as its class", "episodes found", "flows until found", "seconds")
    return Table(f"{next(iter(found['methods']))}, by capture", head, rows)


def views(found: Json) -> Iterator[Table]:
    for name, of in found["views"].items():
        if len(of) > 1:
            yield _variants(found, f"{name}, as other sensors would have told it", of)


def ablation(found: Json) -> Iterator[Table]:
    if found.get("ablation"):
        yield _variants(found, "What windows and groups of features are worth", found["ablation"])


def _variants(found: Json, title: str, of: Json) -> Table:
    rows = [
        [name, *_recalls(figures, _columns(found)), false_incidents(figures, "all")]
        for name, figures in of.items()
    ]
    return Table(title, _head(found), rows)


def warm_up(found: Json) -> Iterator[Table]:
    """False incidents in steady state and in setup stand apart: there are aims for each."""
    for name, ways in found["warm_up"].items():
        columns = _columns(found)
        head = ("", *(COLUMN_NAMES[it] for it in columns), "false, steady state", "false, first setup")
        rows = [
            [way, *_recalls(of, columns), false_incidents(of, "steady"), false_incidents(of, "setup")]
            for way, of in ways.items()
        ]
        yield Table(f"{name}, on the flows after a fifth of each capture", head, rows)


def leak(found: Json) -> Iterator[Table]:
    for method, fits in found["leak"].items():
        rows = []
        for name, of in fits.items():
            for it, column in of["columns"].items():
                kind = it.split("_")[0]
                rows.append(
                    [f"{name}: {COLUMN_NAMES[it]}", ranged(of["area"], kind), ranged(column, "flagged")]
                )
        yield Table(f"{method}, fitted anew", ("", "area under the curve", "flagged"), rows)


def captures(found: Json) -> Table:
    names = ("flows", "distinct", "normal", "probe", "c2", "dos", "r2l", "unscored")
    rows = [
        [f"{it['dataset']}: {it['capture']}", *(f"{it[name]:,}" for name in names)]
        for it in found["captures"]
    ]
    return Table("Device flows by capture", ("", *names), rows)


def aims(found: Json) -> Table:
    rows = [[it["aim"], it["figure"], "met" if it["met"] else "missed"] for it in found["aims"]]
    return Table(f"Aims, for {next(iter(found['methods']))}", ("", "figure", ""), rows)
