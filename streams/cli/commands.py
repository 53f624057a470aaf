"""The commands of `autodeep`. Each imports what it needs when it runs."""

from __future__ import annotations

import logging

import typer

from streams import __version__
from streams.cli.alerts import app as alerts
from streams.cli.attempt import attempt
from streams.cli.check import check
from streams.cli.data import app as data
from streams.cli.demo import demo
from streams.cli.devices import app as devices
from streams.cli.doctor import doctor
from streams.cli.evaluate import app as evaluate
from streams.cli.explain import explain
from streams.cli.flows import app as flows
from streams.cli.incidents import app as incidents
from streams.cli.models import app as models
from streams.cli.profile import app as profile
from streams.cli.replay import replay
from streams.cli.sensor import sensor
from streams.cli.status import status
from streams.cli.topics import app as topics
from streams.cli.train import app as train
from streams.cli.worker import worker
from streams.legible import OneLine

app = typer.Typer(
    name="autodeep",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Intrusion detection for IoT fleets, as a Kafka stream processor.",
    epilog="Settings come from AUTODEEP_* variables; docs/settings.md lists them.",
)
for command in (demo, worker, doctor, status, check, replay, sensor, explain):
    app.command()(command)
app.command("try")(attempt)
for name, group in {
    "alerts": alerts,
    "data": data,
    "devices": devices,
    "evaluate": evaluate,
    "flows": flows,
    "incidents": incidents,
    "models": models,
    "profile": profile,
    "topics": topics,
    "train": train,
}.items():
    app.add_typer(group, name=name)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    pass


def run() -> None:
    """Warnings of a command are single lines, too; a worker configures its own log."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(OneLine("%(message)s"))
    app()
