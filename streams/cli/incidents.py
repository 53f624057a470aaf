"""`autodeep incidents`: alerts of one class about one device, told as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from streams.cli.alerts import COLOURS, when
from streams.cli.output import add_row, console, echo_each, finite, say
from streams.legible import one_line, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.client.incidents import IncidentReader
    from streams.core.incidents import Incident
    from streams.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Read incidents.")


@app.command()
def tail(
    classes: list[str] = typer.Option(
        [], "--class", help="Only this class: c2, dos, probe, r2l, u2r or novel. May be given again."
    ),
    since: str = typer.Option(
        "now",
        help="now, beginning, how long ago (90s, 10m, 2h, 1d), or an ISO 8601 time; UTC without a zone.",
    ),
    follow: bool = typer.Option(True, help="Wait for more at the end."),
    most: int = typer.Option(
        0, "--max", min=0, max=2_147_483_647, help="End after so many revisions; 0: no end."
    ),
    idle_exit_s: float = typer.Option(
        0.0, min=0, max=1e9, help="End after so many seconds without one; 0: never."
    ),
    as_json: bool = typer.Option(False, "--json", help="One JSON object a line."),
) -> None:
    """Show what is told of incidents as it comes, each revision once, until Ctrl-C.

    Example:

        autodeep incidents tail --since 10m

    Exit codes: 2 no such --since or --class, 69 Kafka did not answer, 130 after Ctrl-C.
    """
    from streams.client.incidents import IncidentReader
    from streams.core.topics import ATTACK_CLASSES, NOVEL
    from streams.errors import SettingsError

    unknown = sorted(set(classes) - {*ATTACK_CLASSES, NOVEL})
    if unknown:
        known = ", ".join((*ATTACK_CLASSES, NOVEL))
        raise SettingsError(f"--class {', '.join(unknown)}: expected some of {known}")
    show = _json if as_json else _line
    with IncidentReader(_settings()) as reader:
        found = reader.revisions(since, follow=follow, idle_s=idle_exit_s or None)
        wanted = (one for one in found if not classes or one.verdict in classes)
        echo_each(map(show, wanted), most)


@app.command()
def show(
    incident_id: str = typer.Argument(help="The incident's id, or how it begins."),
    as_json: bool = typer.Option(False, "--json", help="One JSON object."),
) -> None:
    """Show one incident as it stands, with what drove its worst alert.

    Exit codes: 2 no such incident, or several begin so; 69 Kafka did not answer.
    """
    from streams.client.incidents import IncidentReader
    from streams.errors import SettingsError

    with IncidentReader(_settings()) as reader:
        found = [one for key, one in reader.standing().items() if key.startswith(incident_id)]
        _say_strangers(reader, as_json)
    if len(found) != 1:
        raise SettingsError(f"{len(found) or 'no'} incidents whose ids begin with {incident_id!r}")
    if as_json:
        typer.echo(_json(found[0]))
        return
    _show(found[0])


@app.command("list")
def list_(
    only_open: bool = typer.Option(False, "--open", help="Only those that have not ended."),
    as_json: bool = typer.Option(False, "--json", help="One JSON object a line."),
) -> None:
    """List the incidents as they stand, the latest last.

    One whose end nobody could tell, since its partition fell silent, is shown as expired.

    Exit codes: 69 Kafka did not answer.
    """
    from streams.client.incidents import IncidentReader, state_of

    with IncidentReader(_settings()) as reader:
        found = sorted(reader.standing().values(), key=lambda one: (one.changed_at_us, one.incident_id))
        _say_strangers(reader, as_json)
    now_us = _now_us()
    if only_open:
        found = [one for one in found if state_of(one, now_us) == "open"]
    if as_json:
        for one in found:
            typer.echo(_json(one))
        return
    _list(found, now_us)


def _settings() -> Settings:
    import os

    from streams.settings import Settings

    return Settings.from_environment(os.environ)


def _now_us() -> int:
    import time

    return time.time_ns() // 1000


def _say_strangers(reader: IncidentReader, as_json: bool) -> None:
    if reader.strangers and not as_json:
        say(f"{reader.strangers:,} records on the topic are no incidents and were passed over.")


def _list(found: Sequence[Incident], now_us: int) -> None:
    from rich.table import Table

    from streams.client.incidents import state_of

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("state", "severity", "class", "device"):
        table.add_column(name)
    table.add_column("alerts", justify="right")
    for name in ("from", "to", "incident"):
        table.add_column(name)
    for one in found:
        add_row(
            table,
            state_of(one, now_us),
            one.severity.word,
            one.verdict,
            one.device_id,
            f"{one.alerts:,}",
            when(one.first_event_us),
            when(one.last_event_us),
            one.incident_id,
        )
    console().print(table)


def _show(one: Incident) -> None:
    from rich.table import Table

    from streams.client.incidents import state_of

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    score = "highest novelty" if one.verdict == "novel" else "highest score"
    rows = {
        "incident": one.incident_id,
        "state": f"{state_of(one, _now_us())}, revision {one.revision}",
        "device": one.device_id,
        "class": f"{one.verdict}, severity {one.severity.word}",
        "alerts": f"{one.alerts:,}",
        "from": when(one.first_event_us),
        "to": when(one.last_event_us),
        "expires": when(one.expires_at_us),
        score: f"{one.worst_score:.4f}",
        "first alert": one.first_alert_id,
        "worst alert": one.worst_alert_id,
        "last alert": one.last_alert_id,
        "models": ", ".join(one.models),
        **dict(one.context or {}),
    }
    for name, text in rows.items():
        add_row(table, name, text)
    console().print(table)
    if one.reasons:
        console().print()
        for reason in one.reasons:
            console().print(one_line(reason), markup=False, highlight=False)
    if one.explanation is not None:
        _explain(one)


def _explain(one: Incident) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("what drove the worst alert", "value"):
        table.add_column(name)
    table.add_column("share", justify="right")
    for name in (f"usual for {one_line(one.verdict)}", "usual for normal"):
        table.add_column(name)
    for driver in () if one.explanation is None else one.explanation.features:
        add_row(table, driver.feature, driver.value, f"{driver.share:.1%}", driver.usual, driver.normal)
    console().print()
    console().print(table)


def _line(one: Incident) -> str:
    """One line for people, whatever is in the incident's texts."""
    said = typer.style(f"{one.activity.value:<6}", bold=True)
    what = typer.style(f"{one_line(one.verdict):<6}", fg=COLOURS.get(one.verdict, "white"), bold=True)
    device = shortened(one.device_id)
    rest = one_line(f"{one.severity.word:<8}  {device:<24} {one.alerts:>9,} alerts  {one.incident_id}")
    return f"{when(one.changed_at_us)}  {said}  {what} {rest}"


def _json(incident: Incident) -> str:
    import dataclasses
    import json

    # In ASCII: what a device calls itself may hold terminal commands, or letters that the terminal lacks.
    fields = finite({**dataclasses.asdict(incident), "severity": incident.severity.word})
    return json.dumps(fields, separators=(",", ":"), allow_nan=False)
