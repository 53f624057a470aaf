"""`autodeep sensor`: packets to flows on Kafka, for networks without Zeek, Suricata or an exporter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from streams.adapters.captures import Frame
    from streams.adapters.interface import Interface
    from streams.client.sensing import Sensing
    from streams.core.flows import Flow
    from streams.settings import Settings

_SAY_S = 60.0
_DELIVERY_S = 300.0
_AT_ONCE = 500


def sensor(
    *,
    interface: str = typer.Option("", help="Interface to listen on, such as eth0; needs CAP_NET_RAW."),
    pcap: Path | None = typer.Option(None, help="A capture instead: pcap or pcapng, plain or gzip."),
    topic: str = typer.Option("", help="Where flows go; empty: the topic of sensors (ids.sensors)."),
    name: str = typer.Option("", help="The sensor's name; empty: this machine's."),
    site: str = typer.Option("", help="Site of its devices; empty: AUTODEEP_SITE."),
    idle: float = typer.Option(5.0, min=0.1, max=86_400, help="Seconds of silence that end a flow."),
    interim: float = typer.Option(30.0, min=1.0, max=86_400, help="Seconds between reports of a long flow."),
    macs: bool = typer.Option(
        False, help="Name devices by MAC: only where all of them are on this link, behind no router of yours."
    ),
    to_stdout: bool = typer.Option(False, "--stdout", help="Print them as `flows read` does; no Kafka."),
) -> None:
    """Meter packets into flows and send them, as our own Avro Flow, for workers to read.

    Workers read them where AUTODEEP_FLOW_TOPICS names the topic. Each flow is reported a second after it
    closes, or when it has been silent; a long one also on the way. Example:

        AUTODEEP_KAFKA_SERVERS=kafka:9092 autodeep sensor --interface eth0

    Exit codes: 2 an option cannot be used, 69 Kafka did not take the flows, 77 no right to listen.
    """
    import os
    import socket

    from streams.client.sensing import Sensing
    from streams.core.meter import Waits
    from streams.settings import Settings

    if bool(interface) == (pcap is not None):
        raise typer.BadParameter("name either an --interface or a --pcap file")
    settings = Settings.from_environment(os.environ)
    waits = Waits(idle_us=int(idle * 1e6), interim_us=int(interim * 1e6))
    sensing = Sensing(name or socket.gethostname(), site or settings.site, waits, with_macs=macs)
    if pcap is not None:
        from streams.adapters.captures import frames

        _send(settings, topic, _whole(sensing, pcap, frames(pcap)), to_stdout=to_stdout)
        typer.echo(_said(sensing), err=True)
        return
    from streams.adapters.interface import Interface

    with Interface(interface) as listening:
        _send(settings, topic, _live(sensing, listening), to_stdout=to_stdout)
    typer.echo(_said(sensing), err=True)


def _whole(sensing: Sensing, path: Path, frames: Iterator[Frame]) -> Iterator[Flow]:
    """Of a capture; what is damaged is said at the end of what is whole."""
    from streams.errors import DataError

    try:
        yield from sensing.flows(frames)
    except DataError as exc:
        typer.echo(f"autodeep: {exc}; what stood before it counts", err=True)
        if not sensing.counted.packets:
            raise
    yield from sensing.rest()


def _live(sensing: Sensing, interface: Interface) -> Iterator[Flow]:
    """Until a signal comes; then the rest."""
    import signal
    import time

    stopping = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopping
        stopping = True

    def until_stopped() -> Iterator[Frame | None]:
        said_s = time.monotonic()
        for frame in interface.frames():
            yield frame
            if stopping:
                return
            if time.monotonic() - said_s >= _SAY_S:
                said_s = time.monotonic()
                lost = interface.lost().dropped
                typer.echo(f"{_said(sensing)}, {lost} packets lost in {_SAY_S:.0f} s", err=True)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    yield from sensing.flows(until_stopped())
    yield from sensing.rest()


def _send(settings: Settings, topic: str, flows: Iterator[Flow], *, to_stdout: bool) -> None:
    from streams.client.homes import home_of

    home = home_of(settings)
    if to_stdout:
        import json

        from streams.client.flow_reading import event_as_json

        for flow in flows:
            print(json.dumps({"flows": [event_as_json(one) for one in home.device_flows(flow)]}))
        return
    from streams.adapters.kafka.telemetry import Sender
    from streams.codec.ingest.flows import ours
    from streams.core.topics import Topics

    with Sender(settings, topic or Topics(settings.topic_prefix).sensors, _DELIVERY_S) as sender:
        for flow in flows:
            mine = home.device_flows(flow)
            sender.queue([mine[0].device if mine else None], [ours.encode(flow)])


def _said(sensing: Sensing) -> str:
    counted = sensing.counted
    return (
        f"{counted.packets:,} packets of IP, {counted.others:,} other frames, {counted.flows:,} flows in "
        f"{counted.reports:,} reports, {len(sensing.meter):,} under way, {sensing.meter.let_go:,} let go"
    )
