"""`autodeep try`: captures and logs of one's own through the whole path, without Kafka or settings."""

from __future__ import annotations

from pathlib import Path

import typer

from streams.cli.flow_options import DIALECT, HOME


def attempt(
    what: Path = typer.Argument(
        metavar="FILE|FOLDER",
        help="A capture (pcap, pcapng), a conn.log, an eve.json, flows in any dialect; or a folder of them.",
    ),
    *,
    home: str = HOME,
    dialect: str = DIALECT,
    as_json: bool = typer.Option(
        False, "--json", help="Lines on stderr, one JSON object on stdout at the end."
    ),
) -> None:
    """Judge a capture or a sensor's log by the whole path, and say which devices have incidents.

    Broker, Redis and worker are started here and stopped at the end. What the file holds goes to a topic of
    sensors as a shipper would send it. At the end stand the incidents, and what could not be used and why.
    Example:

        autodeep try capture.pcapng
        autodeep try /var/log/zeek/2026-11-27 --home 10.20.0.0/16

    Exit codes: 1 some was left without a verdict, 2 an option cannot be used or there was no flow, 69 a part
    could not be started or was lost on the way, 130 after Ctrl-C, 143 after SIGTERM.
    """
    import json

    from streams.cli.flows import settings_of
    from streams.cli.screen import Screen
    from streams.demo.flows.stage import Asked, staged_flows
    from streams.demo.flows.trial import files_in, tried
    from streams.demo.flows.trial_summary import as_json as object_of
    from streams.demo.flows.trial_summary import line, tables
    from streams.demo.stage import quiet, stopped_in_order

    stopped_in_order()
    quiet()
    ours, options = settings_of(home, "", dialect, False)
    files = files_in(what)
    if not what.is_dir():
        what.open("rb").close()  # before anything is started
    screen = Screen.of("try", as_json=as_json)
    screen.say("starting the parts: Kafka, Redis, a worker")
    try:
        with (
            staged_flows(Asked(home=home, told=False, learns=False)) as stage,
            screen.watching(lambda account: account.view, line) as show,
        ):
            stage.worker.wait_ready()
            account = tried(stage, files, ours, options, show)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    screen.console.print(tables(account))
    if as_json:
        typer.echo(json.dumps(object_of(account)))
    if account.interrupted:
        raise typer.Exit(130)
    if account.lost:
        raise typer.Exit(1)
    if not any(file.flows for file in account.files):
        raise typer.Exit(2)
