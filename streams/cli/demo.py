"""`autodeep demo`: a simulated fleet under attack, the alerts that come of it, and the account."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from streams.demo.play import Played
    from streams.demo.simulator import Simulation
    from streams.demo.stage import Stage
    from streams.demo.summary import Summary
    from streams.demo.view import View

_A_LINE_EVERY_S = 3.0


def demo(
    *,
    seconds: float = typer.Option(45.0, min=1.0, max=3600.0, help="How long to simulate."),
    seed: int = typer.Option(
        1, min=0, max=2_147_483_647, help="Of the simulation: the same seed gives the same events."
    ),
    as_json: bool = typer.Option(
        False, "--json", help="Lines on stderr, one JSON object on stdout at the end."
    ),
    kafka: str = typer.Option(
        "", "--kafka", metavar="SERVERS", help="A Kafka of yours instead of one started here."
    ),
    redis: str = typer.Option(
        "", "--redis", metavar="URL", help="A Redis of yours instead of one started here."
    ),
) -> None:
    """Simulate 40 devices and attacks on them, and watch one worker find them. Ends by itself.

    Broker, Redis and worker are started here and stopped at the end. Of the settings' model and the latest
    other version of its name in the store, the older serves first, and the newer is promoted half-way. From
    15 seconds on every class of attack occurs. At the end stands what was simulated against what was found,
    misses and false alarms included, and which version raised which alerts. Example:

        autodeep demo --seconds 30 --json | jq .classes

    On a Kafka of yours the topics have a prefix of their own (ids-demo-...), and stay.

    Exit codes: 1 events were left without a verdict, 2 a setting is wrong, 69 a part could not be started or
    was lost on the way, 130 after Ctrl-C, 143 after SIGTERM.
    """
    import sys

    from rich.console import Console

    from streams.demo.simulator import simulate
    from streams.demo.stage import quiet, staged, stopped_in_order
    from streams.demo.summary import Run, summarise

    live = sys.stdout.isatty() and not as_json
    console = Console(stderr=as_json)
    quiet()
    stopped_in_order()
    simulation = simulate(seconds, seed, 0)
    _say(console, live, "starting the parts: Kafka, Redis, a worker")
    try:
        with staged(simulation, kafka, redis) as stage:
            _say(
                console,
                live,
                f"running: model {stage.settings.model}, topics {stage.settings.topic_prefix}.*",
            )
            played = _watch(stage, simulation, seconds, console if live else None, as_json)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    run = Run(seconds, seed, played.view.sent, played.view.dead_letters, played.view.model)
    summary = summarise(run, played.ledger)
    _show(summary, console, live=live, as_json=as_json)
    if played.interrupted:
        raise typer.Exit(130)
    if summary.lost or summary.alerts_differing or summary.incidents_differing:
        raise typer.Exit(1)


def _say(console: Console, live: bool, what: str) -> None:
    console.print(f"[dim]{what}[/dim]" if live else f"demo: {what}", highlight=False)


def _watch(
    stage: Stage, simulation: Simulation, seconds: float, terminal: Console | None, to_stderr: bool
) -> Played:
    from rich.live import Live

    from streams.demo.play import play
    from streams.demo.view import render

    if terminal is None:
        return play(stage, simulation, seconds, _lines(to_stderr))
    with Live(console=terminal, refresh_per_second=8, transient=True) as screen:
        return play(stage, simulation, seconds, lambda view: screen.update(render(view, terminal.height)))


def _lines(to_stderr: bool) -> Callable[[View], None]:
    """Prints the view as a line, every few seconds of it."""
    import sys

    from streams.demo.view import line

    shown_s = 0.0

    def show(view: View) -> None:
        nonlocal shown_s
        if view.at_s - shown_s >= _A_LINE_EVERY_S:
            shown_s = view.at_s
            print(line(view), file=sys.stderr if to_stderr else sys.stdout, flush=True)

    return show


def _show(summary: Summary, console: Console, *, live: bool, as_json: bool) -> None:
    """The tables, and for what is no terminal the same as one JSON object in the last line."""
    import dataclasses
    import json

    from streams.demo.summary_tables import tables

    if not live:
        console.width = 130  # what reads it has no width
    console.print(tables(summary, console.width))
    if as_json or not live:
        typer.echo(json.dumps(dataclasses.asdict(summary)))
