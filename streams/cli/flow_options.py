"""Options of all commands that read records of sensors from files."""

from __future__ import annotations

from typing import Any, Final

import typer

HOME: Final[Any] = typer.Option("", help="Networks of devices; empty: AUTODEEP_HOME_NETWORKS.")
SITE: Final[Any] = typer.Option("", help="Site of the devices; empty: AUTODEEP_SITE.")
DIALECT: Final[Any] = typer.Option("", help="Such as zeek or suricata; empty: AUTODEEP_FLOW_DIALECT.")
KAFKA_JSONL: Final[Any] = typer.Option(False, help="Each line is a Kafka message; else told of each line.")
