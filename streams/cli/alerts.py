"""`autodeep alerts`: read alerts in the terminal or as lines of JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from streams.cli.output import echo_each, finite
from streams.legible import one_line, shortened

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.codec.output.alerts import AlertOutput
    from streams.core.alerts import Alert
    from streams.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Read alerts.")

COLOURS = {
    "dos": "red",
    "c2": "bright_red",
    "u2r": "magenta",
    "r2l": "yellow",
    "probe": "cyan",
    "novel": "blue",
}


@app.callback()
def _group() -> None:
    pass


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
        0, "--max", min=0, max=2_147_483_647, help="End after so many alerts; 0: no end."
    ),
    idle_exit_s: float = typer.Option(
        0.0, min=0, max=1e9, help="End after so many seconds without an alert; 0: never."
    ),
    as_json: bool = typer.Option(False, "--json", help="One JSON object a line."),
) -> None:
    """Show alerts as they come, each once, until Ctrl-C.

    Example:

        autodeep alerts tail --class dos --class r2l --since 10m --json | jq .device_id

    Exit codes: 2 no such class or --since, 69 Kafka did not answer, 130 after Ctrl-C.
    """
    import os

    from streams.client.alerts import read_alerts
    from streams.settings import Settings

    settings = Settings.from_environment(os.environ)
    found = read_alerts(
        settings, classes=classes or None, since=since, follow=follow, idle_s=idle_exit_s or None
    )
    show = _json_of(settings) if as_json else _line
    echo_each(map(show, found), most)


def _json_of(settings: Settings) -> Callable[[Alert], str]:
    """JSON as on the alerts' topics, whatever form they have there."""
    from functools import partial

    from streams.codec.output.alerts import AlertOutput
    from streams.core.severity import severities_by_class
    from streams.core.topics import Topics

    output = AlertOutput(Topics(), "json", by_class=severities_by_class(settings.severities))
    return partial(json_line, output)


def json_line(output: AlertOutput, alert: Alert) -> str:
    """In ASCII: what a device calls itself may hold terminal commands, or letters that the terminal lacks.

    Avro takes numbers that JSON has no word for, whoever wrote the alert: such an alert has the schema's own
    names, and null for those numbers.
    """
    import dataclasses
    import json

    try:
        fields = json.loads(output.values([alert])[0])
    except ValueError:
        fields = finite(dataclasses.asdict(alert))
    return json.dumps(fields, separators=(",", ":"), allow_nan=False)


def _line(alert: Alert) -> str:
    """One line for people, whatever is in the alert's texts."""
    what = alert.verdict if alert.verdict == alert.closest else f"{alert.verdict} (like {alert.closest})"
    score = alert.scores.get(alert.closest, 0.0)
    verdict = typer.style(f"{one_line(what):<18}", fg=COLOURS.get(alert.verdict, "white"), bold=True)
    rest = one_line(
        f"{shortened(alert.device_id):<24} p {score:.2f}  novelty {alert.novelty:.2f}  "
        f"window {alert.window_fill}/{alert.window_width}  {alert.topic}-{alert.partition}@{alert.offset}  "
        f"{alert.model_name}/{alert.model_version}"
    )
    return f"{when(alert.event_time_us)}  {verdict} {rest}"


def when(time_us: int) -> str:
    from datetime import UTC, datetime

    try:
        moment = datetime.fromtimestamp(time_us / 1e6, UTC)
    except (ValueError, OverflowError):  # a sensor's clock may say anything
        return f"{time_us} us"
    return moment.replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds") + "Z"
