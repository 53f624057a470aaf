"""`autodeep check`: send events of a test device, and wait until workers have judged them."""

from __future__ import annotations

from collections.abc import Mapping

import typer


def check(
    events: int = typer.Option(24, min=1, max=10_000, help="How many events to send."),
    timeout_s: float = typer.Option(
        60.0, min=1.0, max=86_400, help="Seconds to wait for all of them to be judged."
    ),
    device: str = typer.Option("autodeep-check", help="The test device; its alerts are alerts like others."),
    as_json: bool = typer.Option(False, "--json", help="One JSON object."),
) -> None:
    """Send a short flood of one test device through a deployment, and wait until workers have judged it.

    Its alerts reach everybody who reads alerts: tell them the device's name.
    A normal verdict shows in what the group commits, unless
    AUTODEEP_PUBLISH_CLASSIFIED has it published. The user needs WRITE on the
    telemetry topic, READ on the topics of alerts, dead letters and all
    verdicts (where that is on), and READ on the group. Example:

        AUTODEEP_KAFKA_SERVERS=kafka:9092 autodeep check --timeout-s 30

    Exit codes: 0 all were judged, 6 some became dead letters, 69 Kafka did not answer, or no verdict in time.
    """
    import dataclasses
    import json
    import os

    from streams.client.checking import check as checked
    from streams.client.checking import flood
    from streams.settings import Settings

    settings = Settings.from_environment(os.environ)
    outcome = checked(settings, flood(events), timeout_s, device)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(outcome)))
    else:
        typer.echo(
            f"{outcome.events} events of {outcome.device_id}, partition {outcome.partition}: judged in "
            f"{outcome.seconds:.1f} s: {_counted(outcome.verdicts) or 'none'}"
        )
        if outcome.dead_letters:
            typer.echo(f"dead letters: {_counted(outcome.dead_letters)}")
    if outcome.dead_letters:
        raise typer.Exit(6)


def _counted(found: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in found.items())
