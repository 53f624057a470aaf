"""`autodeep replay`: rows of a KDD'99 or NSL-KDD file as live telemetry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from streams.client.replaying import Feed
    from streams.settings import Settings

_AT_ONCE = 2_000
_LEAST_RATE = 0.001


def replay(
    file: Path = typer.Argument(help="A KDD'99 or NSL-KDD file, plain or gzip."),
    *,
    devices: int = typer.Option(
        50, min=1, max=10_000_000, help="Devices that share the rows, a contiguous segment each."
    ),
    rate: float = typer.Option(0.0, min=0.0, max=1e9, help="Events a second; 0 sends flat out."),
    limit: int = typer.Option(0, min=0, max=2_147_483_647, help="Only the first rows; 0 sends all."),
    kafka_servers: str = typer.Option("", help="Bootstrap servers; empty: AUTODEEP_KAFKA_SERVERS."),
    attack_share: float = typer.Option(
        -1.0,
        help="Draw runs of rows so that this share (0 to 1) of the events are attacks; -1: all as it is.",
    ),
    seed: int = typer.Option(1, min=0, max=2_147_483_647, help="Of the draw for --attack-share."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object at the end."),
) -> None:
    """Send the rows of a file to the telemetry topic as connection records of many devices.

    Each device keeps the order of capture; all speak in turn. Event times begin now and lie 1 ms apart, or as
    far as the rate says. Example:

        autodeep replay data/kdd99/corrected.gz --devices 50 --rate 1000

    With --attack-share, --limit is how many events to send, and rows may occur more than once.

    Exit codes: 2 the file or an option cannot be used, 69 records did not arrive.
    """
    import dataclasses
    import json
    import os
    import time

    from streams.errors import SettingsError
    from streams.settings import Settings

    settings = Settings.from_environment(os.environ)
    if kafka_servers:
        settings = dataclasses.replace(settings, kafka_servers=kafka_servers)
    if 0 < rate < _LEAST_RATE:
        raise SettingsError(f"--rate {rate:g}: give 0, or at least {_LEAST_RATE:g} events a second")
    feed = _feed(file, devices, rate, limit, (attack_share, seed))
    began_s = time.monotonic()
    delivered = _send(settings, feed, rate)
    seconds = time.monotonic() - began_s
    result = {
        "events": delivered,
        "devices": devices,
        "seconds": round(seconds, 2),
        "events_per_s": round(delivered / seconds),
    }
    if as_json:
        print(json.dumps(result))
    else:
        print(f"{delivered:,} events of {devices} devices in {seconds:.1f} s, all on the broker")


def _send(settings: Settings, feed: Feed, rate: float) -> int:
    """Send at a rate, 0 for flat out, behind a progress bar where a person looks on; how many arrived."""
    import sys
    import time

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from streams.adapters.kafka.telemetry import TelemetrySender
    from streams.client.replaying import device_name
    from streams.core.kdd99 import KDD99

    names = [device_name(number) for number in feed.device.tolist()]
    per_s = TextColumn("{task.fields[per_s]:,.0f}/s")
    columns = (TextColumn("sending"), BarColumn(), MofNCompleteColumn(), per_s, TimeRemainingColumn())
    began_s, sent = time.monotonic(), 0
    with (
        Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress,
        TelemetrySender(settings, KDD99) as sender,
    ):
        task = progress.add_task("send", total=len(feed), per_s=0.0)
        while sent < len(feed):
            elapsed_s = time.monotonic() - began_s
            due = min(len(feed), sent + _AT_ONCE, int(elapsed_s * rate) if rate else len(feed))
            if due == sent:
                time.sleep(0.01)
                continue
            block = slice(sent, due)
            sender.send(names[block], feed.event_time_us[block], feed.rows[block])
            sent = due
            progress.update(task, completed=sent, per_s=sent / max(time.monotonic() - began_s, 1e-3))
    return sender.delivered


def _feed(file: Path, devices: int, rate: float, limit: int, mixed: tuple[float, int]) -> Feed:
    """What to send; `mixed` is the share of attacks, -1 for the file as it is, and the seed of the draw."""
    import time

    import numpy as np

    from streams.client.replaying import Feed, feed_of, mix
    from streams.codec.ingest.kdd import read_rows
    from streams.core.kdd99 import KDD99
    from streams.core.topics import NORMAL

    read = read_rows(file, KDD99)
    if read.left_out:
        typer.echo(f"autodeep: {file}: {read.left_out_said}", err=True)
    start_us, step_us = time.time_ns() // 1000, round(1e6 / rate) if rate else 1_000
    share, seed = mixed
    if share == -1:
        return feed_of(read.rows[: limit or None], devices, start_us, step_us)
    is_attack = np.array([label != NORMAL for label in read.labels])[read.label]
    row, device = mix(is_attack, limit or len(read), devices, share, seed)
    return Feed(read.rows[row], device, start_us + step_us * np.arange(len(row), dtype=np.int64))
