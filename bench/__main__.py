"""The benches: `python -m bench --help` lists them, and `--help` on each says what it measures."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from streams.errors import AutodeepError

if TYPE_CHECKING:
    from rich.table import Table

DATA = Path("../shared/data/kdd99/corrected.gz")

TRAINING_DATA = Path("../shared/data/kdd99/kddcup.data_10_percent.gz")

FLOWS = Path("../shared/data/flows/given.parquet")

LAB = Path("../shared/data/lab")

ZEEK_TRACES = Path("../shared/data/zeek-btest")

CONN_LOG = Path("../shared/data/flows/zeek/sme-windows7ad.conn.log.labeled.gz")

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def parity(
    data: Path = typer.Option(DATA, help="A KDD'99 or NSL-KDD file, plain or gzip."),
    devices: int = typer.Option(50, min=1, help="Devices: one contiguous segment of the file each."),
    workers: int = typer.Option(2, min=1, help="Worker processes."),
    limit: int = typer.Option(0, min=0, help="Only the first rows; 0 is all. Of flows: so many, or 20,000."),
    flows: bool = typer.Option(False, help="Flows of sensors instead, from their topic to verdicts."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Every row through Kafka and Redis, verdict for verdict against offline evaluation.

    With --flows: Zeek's records of the given captures, some twice and some late, against the same in memory.
    """
    if flows:
        result = _parity_of_flows(FLOWS if data == DATA else data, workers, limit or 20_000)
    else:
        from bench.parity import measure

        result = measure(data, devices, workers, limit)
    _print(result, as_json)
    if any(result.get(law) for law in ("mismatches", "missing", "extra", "flows_missing", "flows_extra")):
        raise typer.Exit(1)


def _parity_of_flows(data: Path, workers: int, records: int) -> dict[str, Any]:
    from bench.flows_parity import measure

    with tempfile.TemporaryDirectory(prefix="autodeep-bench-") as folder:
        return measure(data, records, workers, Path(folder))


@app.command()
def profiles(
    data: Path = typer.Option(FLOWS, help="A table of labelled flows."),
    seed: int = typer.Option(1, help="Of the boosting whose scores are taken."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """What profiles of sites cost in recall and save in false alarms, after warm-ups clean and poisoned."""
    from bench.profiles import measure

    _print(measure(data, seed, lambda text: print(text, file=sys.stderr)), as_json)


@app.command()
def pipeline(
    data: Path = typer.Option(DATA, help="A KDD'99 or NSL-KDD file, plain or gzip."),
    events: int = typer.Option(200_000, min=10_000, help="Events sent flat out."),
    devices: int = typer.Option(10_000, min=1, help="Devices they come from."),
    attack_share: float = typer.Option(0.02, min=0.0, max=1.0, help="Share of attacks among the events."),
    latency_s: float = typer.Option(20.0, min=1.0, help="Seconds of paced events for the latencies."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Events a second end to end on Kafka with one worker, beside the bare model on the same batches."""
    from bench.pipeline import Load, measure

    _print(measure(data, Load(events, devices, attack_share), latency_s), as_json)


@app.command()
def start(
    runs: int = typer.Option(3, min=1, help="Workers, one after the other."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """How long a worker takes to be ready and to stop, and the memory it holds at rest."""
    from bench.start import measure

    _print(measure(runs), as_json)


@app.command()
def incidents(
    data: Path = typer.Option(DATA, help="A KDD'99 or NSL-KDD file, plain or gzip."),
    events: int = typer.Option(100_000, min=10_000, help="Events sent flat out, of each load."),
    devices: int = typer.Option(10_000, min=100, help="Devices of the usual load; a flood: a hundredth."),
    latency_s: float = typer.Option(10.0, min=1.0, help="Seconds of paced events for the latencies."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Alerts an incident, what incidents cost a worker, and how soon one is told; usual load and a flood."""
    from bench.incidents import Plan, measure

    result = measure(data, Plan(events, devices, latency_s))
    _print(result, as_json)
    if result["usual"]["broken_laws"] or result["flood"]["broken_laws"]:
        raise typer.Exit(1)


class Beside(StrEnum):
    LOOP = "loop"


@app.command()
def latency(  # noqa: PLR0917  # options are arguments
    data: Path = typer.Option(DATA, help="A KDD'99 or NSL-KDD file, plain or gzip."),
    seconds: float = typer.Option(20.0, min=1.0, help="Seconds at each rate, after a warm-up of 3."),
    devices: int = typer.Option(10_000, min=1, help="Devices they come from."),
    flat_out: int = typer.Option(200_000, min=10_000, help="Events from which the capacity is taken."),
    beside: Beside | None = typer.Option(None, help="loop: a plain confluent-kafka loop in the same run."),
    burst: bool = typer.Option(True, help="Also ten times half of the capacity for 10 s (minutes)."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Latency and CPU of one worker at five rates up to half of its capacity; at rest; out of a burst."""
    from bench.latency import Plan, measure
    from bench.latency_figures import tables

    plan = Plan(seconds, devices, flat_out, beside is Beside.LOOP, burst)
    result = measure(data, plan, lambda line: print(line, file=sys.stderr, flush=True))
    if as_json:
        _print(result, as_json)
        return
    from rich.console import Console

    Console().print(*tables(result))


@app.command()
def devices(
    data: Path = typer.Option(DATA, help="A KDD'99 or NSL-KDD file, plain or gzip."),
    devices: int = typer.Option(100_000, min=1, help="Devices."),
    events_each: int = typer.Option(3, min=1, help="Events of each device."),
    cache_mib: int = typer.Option(64, min=16, help="The worker's cache setting."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Windows of very many devices: right in Redis, small there, and bounded in the worker."""
    from bench.devices import measure

    result = measure(data, devices, events_each, cache_mib)
    _print(result, as_json)
    if result["wrong_windows"]:
        raise typer.Exit(1)


@app.command("flows-state")
def flows_state(
    data: Path = typer.Option(FLOWS, help="Labelled captures of flows; left out where they are missing."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """A device's state and all features of a flow: microseconds of CPU by mix, bytes a device."""
    from bench.flows_state import measure

    _print(measure(data), as_json)


@app.command()
def sensors(  # noqa: PLR0917  # options are arguments
    data: Path = typer.Option(LAB, help="The laboratory's packets, and what sensors wrote of them."),
    zeek_traces: Path = typer.Option(ZEEK_TRACES, help="Packets of Zeek's tests, and its logs of them."),
    goflow2: str = typer.Option("goflow2", help="The program, by name or path."),
    nfstream_python: str = typer.Option(sys.executable, help="A Python that has NFStream."),
    order: bool = typer.Option(False, "--order", help="Instead: one capture in order, late, repeated."),
    conn_log: Path = typer.Option(CONN_LOG, help="Zeek's log for --order, JSON or TSV."),
    limit: int = typer.Option(2_000, min=100, help="Records of it."),
    seed: int = typer.Option(1, help="What lateness and repeats are drawn from."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """The same packets by several sensors: the same devices, directions, counters and windows?

    Suricata, softflowd with goflow2 and nfacctd, and NFStream read the packets where they are installed; else
    what they wrote elsewhere is taken. Our own meter is what they are compared with. Exit code 1 where a
    device is missing, or the order of arrival changes what it may not.
    """
    from bench.sensors.printed import order_table, tables

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    if order:
        from bench.sensors.order import is_broken, measure

        result = measure(conn_log, limit, seed)
        _show(result, as_json, [order_table(result)])
    else:
        from bench.sensors.measure import Programs, is_broken
        from bench.sensors.measure import measure as compare

        result = compare(data, Programs(goflow2, nfstream_python, zeek_traces), say)
        _show(result, as_json, tables(result))
    if is_broken(result):
        raise typer.Exit(1)


@app.command()
def flows(
    data: Path = typer.Option(FLOWS, help="Labelled captures of flows, played as Zeek's records."),
    records: int = typer.Option(100_000, min=10_000, help="Records sent flat out."),
    copies: int = typer.Option(200, min=1, help="Parts of the captures played at once; each has devices."),
    latency_s: float = typer.Option(20.0, min=1.0, help="Seconds of paced records for the latencies."),
    *,
    per_s: float = typer.Option(0.0, min=0.0, help="Their rate; 0: half of the capacity."),
    alerts_only: bool = typer.Option(False, help="Publish no normal verdicts, as by default."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Zeek's records on an unkeyed topic to verdicts, by one worker, beside the bare model."""
    from bench.flow_feed import FlowLoad
    from bench.flows import Measured, measure

    measured = Measured(latency_s, per_s, alerts_only)
    with tempfile.TemporaryDirectory(prefix="autodeep-bench-") as folder:
        _print(measure(data, FlowLoad(records, copies), measured, Path(folder)), as_json)


@app.command()
def lab(as_json: bool = typer.Option(False, "--json", help="Print one JSON object.")) -> None:
    """Real attack tools and sensors in network namespaces, Kafka, a worker: what is on ids.flows, and when.

    Root, on Debian; elsewhere it is skipped, with the reason. Packages that are missing are installed. All of
    it runs in namespaces that end with it. Exit code 1 where no sensor told of an attack within 15 s.
    """
    from bench.lab import enter, run
    from bench.lab.printed import table

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    if not enter.is_inside():
        raise typer.Exit(run.outside(["--json"] if as_json else [], say))
    result = run.inside(say)
    _show(result, as_json, [table(result)])
    for name, log in result["silent"].items():
        say(f"{name} did not tell of all; its log ends: {log}")
    if result["late"]:
        raise typer.Exit(1)


@app.command()
def reload(
    data: Path = typer.Option(DATA, help="A KDD'99 or NSL-KDD file, plain or gzip."),
    times: int = typer.Option(200, min=2, help="Promotes, to and fro between two versions."),
    rate: float = typer.Option(0.0, min=0.0, help="Events a second meanwhile; 0: half the capacity."),
    flat_out: int = typer.Option(60_000, min=10_000, help="Events from which the capacity is taken."),
    quiet_s: float = typer.Option(10.0, min=2.0, help="Seconds before the first promote."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Models promoted while events flow: what is lost, who judged, memory, latency, time to switch."""
    from bench.reload import Plan, measure

    result = measure(data, Plan(times, rate, flat_out, quiet_s))
    _print(result, as_json)
    if result["lost"] or result["wrong_model"]:
        raise typer.Exit(1)


@app.command()
def kills(
    schedules: int = typer.Option(10, min=1, help="Schedules, drawn one by one from the seed."),
    seed: int = typer.Option(1, help="What they are drawn from."),
    only: int = typer.Option(0, min=0, help="The number of the one schedule to run; 0: all."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Workers and Kafka killed while models change: is one version agreed on, and no event lost?"""
    from bench.kills import measure

    numbers = [only] if only else range(1, schedules + 1)
    result = measure(list(numbers), seed, lambda line: print(line, file=sys.stderr, flush=True))
    _print(result, as_json)
    if result["disagreeing"] or result["lost"]:
        raise typer.Exit(1)


@app.command()
def faults(  # noqa: PLR0917  # options are arguments
    data: Path = typer.Option(DATA, help="A KDD'99 or NSL-KDD file, plain or gzip."),
    schedules: int = typer.Option(10, min=1, help="Schedules, drawn one by one from the seed."),
    first: int = typer.Option(1, min=1, help="The number to begin with, where many are run in parts."),
    seed: int = typer.Option(1, help="What they are drawn from."),
    only: int = typer.Option(0, min=0, help="The number of the one schedule to run; 0: all."),
    kinds: str = typer.Option("", help="Only these kinds of fault, comma-separated; empty: all."),
    rebuild: bool = typer.Option(False, help="Workers rebuild windows that Redis lost; none may be short."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Overlapping faults while events flow, and a judge: nothing lost, nothing twice, no wrong window.

    A number that failed is run again alone, the other options as they were:

        python -m bench faults --schedules 200 --seed 1 --only 17

    Exit code 1 where a law is broken.
    """
    from bench.faults.case import Law
    from bench.faults.figures import summary
    from bench.faults.run import run_all
    from bench.faults.schedules import draw, kinds_named

    chosen = kinds_named(kinds)
    numbers = [only] if only else range(first, schedules + 1)
    drawn = [draw(seed, number, chosen) for number in numbers]

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    result = summary(run_all(drawn, data, say, rebuild=rebuild), seed)
    _print(result, as_json)
    if any(result[law] for law in Law):
        raise typer.Exit(1)


@app.command()
def explain(
    data: Path = typer.Option(TRAINING_DATA, help="KDD'99's 10 % training file, plain or gzip."),
    model: str = typer.Option("kdd99@champion", help="name@alias or name/version, of those that ship."),
    per_type: int = typer.Option(12, min=1, help="Most rows of each attack type."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Explanations of alerts: agreement with integrated gradients, and microseconds of CPU an alert."""
    from bench.explain import measure

    _print(measure(data, model, per_type), as_json)


@app.command()
def model(
    data: Path = typer.Option(DATA, help="A KDD'99 or NSL-KDD file, plain or gzip."),
    model: str = typer.Option("kdd99@champion", help="name@alias or name/version, of those that ship."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Microseconds of CPU that a turn of 1 to 4,096 events costs the model, and its parts."""
    from bench.model_cost import measure

    _print(measure(data, model), as_json)


@app.command()
def scaling(
    data: Path = typer.Option(DATA, help="A KDD'99 or NSL-KDD file, plain or gzip."),
    seed: int = typer.Option(1, help="What the stream is drawn from."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """The same stream with 1, 2, 3 and 4 workers, and with workers that join while it flows: the same alerts.

    Also the pause that each join causes. Exit code 1 where an alert is missing or differs.
    """
    from bench.faults.scaling import measure

    result = measure(data, seed, lambda line: print(line, file=sys.stderr, flush=True))
    _print(result, as_json)
    if result["missing"] or result["differing"]:
        raise typer.Exit(1)


@app.command()
def soak(
    data: Path = typer.Option(DATA, help="A KDD'99 or NSL-KDD file, plain or gzip."),
    minutes: int = typer.Option(30, min=1, help="How long; each minute has a fault."),
    share: float = typer.Option(0.7, min=0.01, max=1.0, help="Of the capacity, which is measured first."),
    seed: int = typer.Option(1, help="What the faults are drawn from."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """A steady load with a fault each minute: events lost, and how the memory of a worker grows.

    Exit code 1 where an event was lost.
    """
    from bench.soak import Plan, measure

    plan = Plan(minutes, share, seed)
    result = measure(data, plan, lambda line: print(line, file=sys.stderr, flush=True))
    _print(result, as_json)
    if result["lost"]:
        raise typer.Exit(1)


def _show(result: dict[str, Any], as_json: bool, tables: Sequence[Table]) -> None:
    if as_json:
        print(json.dumps(result))
        return
    from rich.console import Console

    Console(width=max(Console().width, 120)).print(*tables)


def _print(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(result))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False)
    for name, value in result.items():
        table.add_row(name, json.dumps(value) if isinstance(value, dict) else str(value))
    Console().print(table)


def _stop_children_on_signals() -> None:
    """Also by SIGTERM, and by Ctrl-C where a shell starts us in the background: Kafka would run on."""
    for told in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(told, signal.default_int_handler)


if __name__ == "__main__":
    _stop_children_on_signals()
    try:
        app()
    except AutodeepError as exc:
        print(f"bench: {exc}", file=sys.stderr)
        sys.exit(exc.exit_code)
