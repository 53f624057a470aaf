"""`autodeep status`: every worker of the fleet by what it says of itself, and whether one is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from streams.core.workers import Fleet, Judged, WorkerFigures
    from streams.settings import Settings


def status(
    expect: int = typer.Option(
        0, min=0, max=100_000, help="Workers that have to be ready; 0: as many as there are."
    ),
    as_json: bool = typer.Option(False, "--json", help="One JSON object."),
) -> None:
    """Show every worker: role, version, partitions, model, rates, lag, latency, and whether it is alive.

    Each worker writes its figures to the topic ids.workers every 15 seconds; `age` says how old they are. One
    that wrote nothing for 45 seconds, and not that it leaves, is silent. Example:

        AUTODEEP_KAFKA_SERVERS=kafka:9092 autodeep status --expect 4

    Exit codes: 0 all are well, 6 somebody is missing or not well, 69 Kafka did not answer.
    """
    import json
    import os
    import sys
    import time

    from streams.adapters.kafka.worker_topic import read_figures
    from streams.core.topics import Topics
    from streams.core.workers import Asked, judged
    from streams.settings import Settings

    settings = Settings.from_environment(os.environ)
    told, members = read_figures(settings), _members(settings)
    topic = Topics(settings.topic_prefix).telemetry
    now_us = time.time_ns() // 1000
    asked = Asked(now_us, told.partitions, topic, settings.group, members, expect)
    fleet = judged(list(told.figures.values()), asked)
    if told.unreadable:
        typer.echo(f"{told.unreadable} records on the topic of workers are none of ours", err=True)
    if as_json:
        typer.echo(json.dumps(_as_json(fleet, now_us)))
    else:
        _show(fleet)
    sys.exit(0 if fleet.healthy else 6)


def _members(settings: Settings) -> list[str] | None:
    """Of the group; None where Kafka does not say, which is told."""
    from streams.doctor.kafka import members
    from streams.errors import AutodeepError

    try:
        found = members(settings)
    except AutodeepError as exc:
        typer.echo(f"the group's members are not known: {exc}", err=True)
        return None
    return None if found is None else [member.worker for member in found]


def _show(fleet: Fleet) -> None:
    from rich.table import Table

    from streams.cli.output import add_row, console, say

    head = (
        "worker", "state", "role", "version", "partitions", "model", "generation", "events/s", "lag", "p50",
        "p99", "Kafka", "Redis", "age",
    )  # fmt: skip
    table = Table(*head, box=None, pad_edge=False, header_style="dim")
    for one in fleet.workers:
        add_row(table, one.worker, one.state.value, *_cells(one))
    console().print(table)
    for problem in fleet.problems:
        say(f"! {problem}")


def _cells(one: Judged) -> Sequence[str]:
    from streams.core.workers import PRESENT

    figures = one.figures
    if figures is None:
        return ("",) * 12
    models = [f"{model.family}/{model.version}" for model in figures.models]
    beside = [f" + {model.challenger}" for model in figures.models if model.challenger]
    return (
        figures.role,
        figures.version,
        _partitions(figures),
        ", ".join(models) + "".join(beside),
        ", ".join(str(model.generation) for model in figures.models),
        *(_now(figures) if one.state in PRESENT else ("-",) * 6),
        f"{one.age_s:.0f} s",
    )


def _now(figures: WorkerFigures) -> Sequence[str]:
    """What holds as long as the figures are not too old."""
    return (
        f"{figures.events_per_s:,.0f}",
        f"{figures.lag_records:,}",
        _milliseconds(figures.latency_p50_s),
        _milliseconds(figures.latency_p99_s),
        *("away" if figures.servers.get(name, "") else "ok" for name in ("Kafka", "Redis")),
    )


def _partitions(figures: WorkerFigures) -> str:
    return " ".join(",".join(map(str, numbers)) for numbers in figures.partitions.values()) or "-"


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:,.0f} ms"


def _as_json(fleet: Fleet, now_us: int) -> Mapping[str, Any]:
    import dataclasses

    workers = [
        {
            "worker": one.worker,
            "state": one.state.value,
            "age_s": round(one.age_s, 3),
            "figures": None if one.figures is None else dataclasses.asdict(one.figures),
        }
        for one in fleet.workers
    ]
    return {"at_us": now_us, "healthy": fleet.healthy, "problems": fleet.problems, "workers": workers}
