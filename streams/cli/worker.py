"""`autodeep worker`: classify telemetry until told to stop."""

from __future__ import annotations

import typer

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def worker(
    log_level: str = typer.Option("INFO", help="DEBUG, INFO, WARNING or ERROR."),
) -> None:
    """Run one worker of the group until SIGTERM or Ctrl-C. Start more of them to go faster.

    Settings come from AUTODEEP_* variables. Example:

        AUTODEEP_KAFKA_SERVERS=kafka:9092 AUTODEEP_REDIS_URL=redis://redis:6379/0 autodeep worker

    Exit codes: 2 a setting is wrong, 3 the model was refused, 69 Kafka or Redis did not answer in time.
    """
    import os

    from streams.errors import SettingsError
    from streams.settings import Settings

    settings = Settings.from_environment(os.environ)
    if log_level.upper() not in _LEVELS:
        raise SettingsError(f"--log-level {log_level}: give one of {', '.join(_LEVELS)}")
    os.environ.setdefault("POLARS_MAX_THREADS", str(settings.torch_threads))  # read when polars is imported
    from streams.worker.app import run_worker

    run_worker(settings, log_level.upper())
