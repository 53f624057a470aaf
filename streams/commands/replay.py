"""`autodeep replay`: rows of a KDD'99 or NSL-KDD file as live telemetry."""

from __future__ import annotations

from pathlib import Path

import typer

_AT_ONCE = 2_000


def replay(
    file: Path = typer.Argument(help="A KDD'99 or NSL-KDD file, plain or gzip."),
    devices: int = typer.Option(50, min=1, help="Devices that share the rows, a contiguous segment each."),
    rate: float = typer.Option(0.0, min=0.0, help="Events a second; 0 sends flat out."),
    limit: int = typer.Option(0, min=0, help="Only the first rows; 0 sends all."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object at the end."),
) -> None:
    """Send the rows of a file to the telemetry topic as connection records of many devices.

    Each device keeps the order of capture; all speak in turn. Event times begin now and lie 1 ms apart, or as
    far as the rate says. Example:

        autodeep replay data/kdd99/corrected.gz --devices 50 --rate 1000
    """
    import json
    import os
    import sys
    import time

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from streams.codec.kdd import read_rows
    from streams.kafka.telemetry import TelemetrySender
    from streams.replaying import device_name, feed_of
    from streams.settings import Settings

    settings = Settings.from_environment(os.environ)
    rows = read_rows(file).rows[: limit or None]
    feed = feed_of(rows, devices, time.time_ns() // 1000, round(1e6 / rate) if rate else 1_000)
    names = [device_name(number) for number in feed.device.tolist()]
    columns = (
        TextColumn("sending"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[per_s]:,.0f}/s"),
        TimeRemainingColumn(),
    )
    began_s, sent = time.monotonic(), 0
    with (
        Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress,
        TelemetrySender(settings) as sender,
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
    seconds = time.monotonic() - began_s
    result = {
        "events": sender.delivered,
        "devices": devices,
        "seconds": round(seconds, 2),
        "events_per_s": round(sender.delivered / seconds),
    }
    if as_json:
        print(json.dumps(result))
    else:
        print(f"{sender.delivered:,} events of {devices} devices in {seconds:.1f} s, all on the broker")
