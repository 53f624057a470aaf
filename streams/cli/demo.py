"""`autodeep demo`: a simulated fleet under attack, the alerts that come of it, and the account."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from rich.console import Console

    from streams.cli.screen import Screen
    from streams.demo.play import Played
    from streams.demo.summary import Run, Summary
    from streams.demo.view import View

_ON_FLOWS = True
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

    Broker, Redis and worker are started here and stopped at the end. First the network is made known: a
    profile of its ordinary connections is learnt and accepted. From 15 seconds on every kind of attack
    occurs. At the end stands what was simulated against what was found, misses and false alarms included.
    Examples:

        autodeep demo --seconds 30 --json | jq .classes

        autodeep demo --kdd99

    With --kdd99 the events are KDD'99's features. Of the settings' model and the latest other version of its
    name in the store, the older serves first then, and the newer is promoted half-way.

    On a Kafka of yours the topics have a prefix of their own (ids-demo-...), and stay.

    Exit codes: 1 events were left without a verdict, 2 a setting is wrong, 69 a part could not be started or
    was lost on the way, 130 after Ctrl-C, 143 after SIGTERM.
    """
    from streams.cli.screen import Screen
    from streams.demo.stage import quiet, stopped_in_order
    from streams.demo.summary import summarise

    screen = Screen.of("demo", as_json=as_json)
    quiet()
    stopped_in_order()
    play = _flows if flows else _kdd99
    try:
        played, run = play(seconds, seed, (kafka, redis), screen)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    summary = summarise(run, played.ledger)
    _show(summary, screen.console, as_object=as_json or not screen.live)
    if played.interrupted:
        raise typer.Exit(130)
    if summary.lost or summary.alerts_differing or summary.incidents_differing:
        raise typer.Exit(1)


def _kdd99(seconds: float, seed: int, given: tuple[str, str], screen: Screen) -> tuple[Played, Run]:
    from streams.demo.play import play
    from streams.demo.simulator import simulate
    from streams.demo.stage import staged
    from streams.demo.summary import Run

    simulation = simulate(seconds, seed, 0)
    screen.say("starting the parts: Kafka, Redis, a worker")
    with staged(simulation, *given) as stage:
        screen.say(f"running: model {stage.settings.model}, topics {stage.settings.topic_prefix}.*")
        with _watching(screen) as show:
            played = play(stage, simulation, seconds, show)
    view = played.view
    return played, Run(seconds, seed, view.sent, view.dead_letters, view.model, (_NO_MEASURE,))


def _flows(seconds: float, seed: int, given: tuple[str, str], screen: Screen) -> tuple[Played, Run]:
    from streams.demo.flows.habits import NETWORK
    from streams.demo.flows.path import played, prepare, run_of
    from streams.demo.flows.simulator import simulate
    from streams.demo.flows.stage import Asked, staged_flows

    simulation = simulate(seconds, seed)
    screen.say("starting the parts: Kafka, Redis, a worker")
    with staged_flows(Asked(*given, NETWORK), simulation.names) as stage:
        screen.say(f"running: model {stage.model}, topics {stage.settings.topic_prefix}.*")
        screen.say("making the network known, as it is without attacks: what its devices did before")
        before = prepare(stage, simulation)
        screen.say(f"{before.history.judged:,} events judged, what is usual here is learnt; now it begins")
        with _watching(screen) as show:
            what = played(stage, simulation, seconds, show, before)
        standing = stage.standing()
    return what, run_of(simulation, (seconds, seed), what, before, standing)


def _watching(screen: Screen) -> AbstractContextManager[Callable[[View], None]]:
    from streams.demo.view import line

    return screen.watching(lambda view: view, line)


def _show(summary: Summary, console: Console, *, as_object: bool) -> None:
    """The tables, and for what is no terminal the same as one JSON object in the last line."""
    import dataclasses
    import json

    from streams.demo.summary_tables import tables

    console.print(tables(summary, console.width))
    if as_object:
        typer.echo(json.dumps(dataclasses.asdict(summary)))
