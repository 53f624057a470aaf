"""`autodeep doctor`: look at a deployment and say what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.doctor.findings import Finding


def doctor(
    seconds: float = typer.Option(
        5.0, min=1.0, max=3600.0, help="Between the two looks by which progress is judged."
    ),
    as_json: bool = typer.Option(False, "--json", help="One JSON object."),
) -> None:
    """Look at a deployment: Kafka, topics, rights, workers, lag, Redis, models, clocks, certificates.

    Run it with the workers' settings, from where workers run. It changes nothing and joins no group. What it
    prints can be pasted into an issue: no password stands in it.

        AUTODEEP_KAFKA_SERVERS=kafka:9092 AUTODEEP_REDIS_URL=redis://redis:6379/0 autodeep doctor

    Exit codes: 0 sound, 5 something will not do for ever, 6 something is broken.
    """
    import json
    import os
    import platform
    import sys

    from streams import __version__
    from streams.doctor.examine import examine
    from streams.doctor.findings import as_json as json_of
    from streams.doctor.findings import exit_code
    from streams.settings import Settings

    settings = Settings.from_environment(os.environ)
    findings = examine(settings, seconds, lambda name: typer.echo(f"looking at {name}", err=True))
    if as_json:
        typer.echo(json.dumps(json_of(findings, __version__)))
    else:
        python = platform.python_version()
        typer.echo(f"autodeep {__version__}, Python {python}, {platform.platform()}")
        _show(findings)
    sys.exit(exit_code(findings))


def _show(findings: Sequence[Finding]) -> None:
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        typer.echo(f"{finding.level.name.lower():<8} {finding.check:<{width}}  {finding.found}")
        if finding.advice:
            typer.echo(f"{'':<8} {'':<{width}}  -> {finding.advice}")
