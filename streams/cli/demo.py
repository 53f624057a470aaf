"""`autodeep demo`: a simulated fleet under attack, the alerts that come of it, and the account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from streams.demo.play import Played
    from streams.demo.summary import Run, Summary
    from streams.demo.view import View

_A_LINE_EVERY_S = 3.0
_ON_FLOWS = False
_NO_MEASURE = (
    "Devices and attacks imitate the data that the model learnt from: this shows the path at work and is "
    "no measure of the model (`autodeep evaluate kdd99` is)."
)


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
    flows: bool = typer.Option(
        _ON_FLOWS, "--flows/--kdd99", help="Connections as Zeek writes them, or events of KDD'99's features."
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

    from streams.demo.stage import quiet, stopped_in_order
    from streams.demo.summary import summarise

    live = sys.stdout.isatty() and not as_json
    screen = _Screen(Console(stderr=as_json), live, as_json)
    quiet()
    stopped_in_order()
    play = _flows if flows else _kdd99
    try:
        played, run = play(seconds, seed, (kafka, redis), screen)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    summary = summarise(run, played.ledger)
    _show(summary, screen.console, live=live, as_json=as_json)
    if played.interrupted:
        raise typer.Exit(130)
    if summary.lost or summary.alerts_differing or summary.incidents_differing:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Screen:
    """Where it is shown, and how."""

    console: Console
    live: bool
    to_stderr: bool


def _kdd99(seconds: float, seed: int, given: tuple[str, str], screen: _Screen) -> tuple[Played, Run]:
    from streams.demo.play import play
    from streams.demo.simulator import simulate
    from streams.demo.stage import staged
    from streams.demo.summary import Run

    simulation = simulate(seconds, seed, 0)
    _say(screen, "starting the parts: Kafka, Redis, a worker")
    with staged(simulation, *given) as stage:
        _say(screen, f"running: model {stage.settings.model}, topics {stage.settings.topic_prefix}.*")
        played = _watch(screen, lambda show: play(stage, simulation, seconds, show))
    view = played.view
    return played, Run(seconds, seed, view.sent, view.dead_letters, view.model, (_NO_MEASURE,))


def _flows(seconds: float, seed: int, given: tuple[str, str], screen: _Screen) -> tuple[Played, Run]:
    from streams.demo.flows.habits import NETWORK
    from streams.demo.flows.path import played, prepare, run_of
    from streams.demo.flows.simulator import simulate
    from streams.demo.flows.stage import Asked, staged_flows

    simulation = simulate(seconds, seed)
    _say(screen, "starting the parts: Kafka, Redis, a worker")
    with staged_flows(Asked(*given, NETWORK), simulation.names) as stage:
        _say(screen, f"running: model {stage.model}, topics {stage.settings.topic_prefix}.*")
        _say(screen, "making the devices known: ordinary connections of the time before")
        history = prepare(stage, simulation, lambda judged, of: None)
        _say(screen, f"{history.judged:,} events judged; now it begins")
        what = _watch(screen, lambda show: played(stage, simulation, seconds, show, history))
    return what, run_of(seconds, seed, what, simulation, history)


def _say(screen: _Screen, what: str) -> None:
    screen.console.print(f"[dim]{what}[/dim]" if screen.live else f"demo: {what}", highlight=False)


def _watch(screen: _Screen, play: Callable[[Callable[[View], None]], Played]) -> Played:
    from rich.live import Live

    from streams.demo.view import render

    if not screen.live:
        return play(_lines(screen.to_stderr))
    terminal = screen.console
    with Live(console=terminal, refresh_per_second=8, transient=True) as shown:
        return play(lambda view: shown.update(render(view, terminal.height)))


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
