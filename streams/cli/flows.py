"""`autodeep flows`: what a sensor's records are as flows of devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from streams.cli.flow_options import DIALECT, HOME, KAFKA_JSONL, SITE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from streams.client.flow_files import Options
    from streams.client.flow_topics import Tail
    from streams.core.home import Home
    from streams.doctor.findings import Finding
    from streams.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Look at sensors' records: Zeek, Suricata, NetFlow and others.")


@app.callback()
def _group() -> None:
    pass


@app.command()
def read(
    file: str = typer.Argument(help="A file of any dialect, also as gzip; - is standard input."),
    home: str = HOME,
    site: str = SITE,
    dialect: str = DIALECT,
    kafka_jsonl: bool = KAFKA_JSONL,
) -> None:
    """Print what each record of a file is, one JSON object a record, in order.

    A record is {"flows": [...]}, an event for each end that is a device at home, {"skipped": why} or
    {"rejected": reason, "detail": what}. Null is unknown, which is not 0. Example:

        autodeep flows read conn.log.gz --home 192.168.0.0/16 | jq -c .flows[]

    Exit codes: 2 the file or an option cannot be used.
    """
    import json

    from streams.client.flow_files import opened, records
    from streams.client.flow_reading import as_json, outcomes
    from streams.codec.ingest.flows.decoder import FlowDecoder

    ours, options = settings_of(home, site, dialect, kafka_jsonl)
    decoder = FlowDecoder(options.dialect)
    with opened(file) as stream:
        for _, outcome in outcomes(records(stream, file, options), decoder):
            print(json.dumps(as_json(outcome, ours)))


@app.command()
def kdd(
    file: str = typer.Argument(help="A file of any dialect, also as gzip; - is standard input."),
    home: str = HOME,
    site: str = SITE,
    dialect: str = DIALECT,
    kafka_jsonl: bool = KAFKA_JSONL,
) -> None:
    """Print a file's flows as rows of KDD'99's 41 columns: CSV with a header.

    A flow tells 26 of them; those of contents, wrong_fragment and urgent are empty, as is what a sensor does
    not say. A row for each device of a flow, once it counts: halves joined, interim records as one, repeats
    left out. Example:

        autodeep flows kdd conn.log.gz > kdd.csv

    Exit codes: 2 the file or an option cannot be used.
    """
    import csv
    import sys

    from streams.client.flow_files import opened, records
    from streams.client.flow_kdd import COLUMNS, kdd_rows
    from streams.codec.ingest.flows.decoder import FlowDecoder

    ours, options = settings_of(home, site, dialect, kafka_jsonl)
    out = csv.writer(sys.stdout, lineterminator="\n")
    with opened(file) as stream:
        out.writerow(COLUMNS)
        out.writerows(kdd_rows(records(stream, file, options), FlowDecoder(options.dialect), ours))


@app.command()
def doctor(
    sources: list[str] = typer.Argument(
        metavar="FILE|TOPIC...",
        help="Files of a sensor's records (- is standard input), else topics of AUTODEEP_KAFKA_SERVERS.",
    ),
    *,
    home: str = HOME,
    site: str = SITE,
    dialect: str = DIALECT,
    kafka_jsonl: bool = KAFKA_JSONL,
    last: int = typer.Option(10_000, min=1, max=1_000_000, help="Of a topic, read so many records at most."),
    seconds: float = typer.Option(30.0, min=0.1, max=3_600.0, help="Read a topic for so long at most."),
    as_json: bool = typer.Option(False, "--json", help="One JSON object, with all counts."),
) -> None:
    """Look at a sensor's records and say what is wrong with them, and what to change at the sensor.

    How much can be read, whose the flows are, what is late, repeated, one-sided, not counted or sampled, and
    whose clock is wrong; of a topic also keys, partitions and how late it all comes. A topic is read without
    joining a group, and nothing is changed. Example:

        autodeep flows doctor eve.json conn.log.gz
        AUTODEEP_KAFKA_SERVERS=kafka:9092 autodeep flows doctor zeek

    Exit codes: 0 sound, 5 something will not do for ever, 6 nothing, or next to nothing, can be used.
    """
    import json
    import os
    import sys

    from streams import __version__
    from streams.client.flow_topics import Tail, may_be_topic
    from streams.doctor.findings import as_json as json_of
    from streams.doctor.findings import exit_code

    settings = chosen(home, site, dialect)
    ours, options = settings_of(home, site, dialect, kafka_jsonl)
    every: list[Finding] = []
    reports: list[dict[str, Any]] = []
    for source in sources:
        if source == "-" or os.path.lexists(source) or not may_be_topic(source):
            found, shown = _of_file(source, ours, options)
        else:
            found, shown = _of_topic(source, settings, (ours, options), Tail(last, seconds))
        every += found
        reports.append({**shown, "findings": json_of(found, __version__)["findings"]})
        if not as_json:
            _show(source, found)
    if as_json:
        whole = json_of(every, __version__)
        print(json.dumps({"version": __version__, "worst": whole["worst"], "files": reports}))
    sys.exit(exit_code(every))


@app.command()
def judge(
    file: str = typer.Argument(
        help="A file of any dialect, or a capture (pcap, pcapng), also as gzip; - is standard input."
    ),
    *,
    home: str = HOME,
    model: str = typer.Option("flows@champion", help="name@alias or name/version."),
    profile: str = typer.Option(
        "", metavar="FILE", help="A site's profile, as `autodeep profile export` writes it."
    ),
    store: str = typer.Option(
        "", envvar="AUTODEEP_MODEL_STORE", help="Folder or URL of the models; empty: the shipped ones."
    ),
    site: str = SITE,
    dialect: str = DIALECT,
    kafka_jsonl: bool = KAFKA_JSONL,
    as_json: bool = typer.Option(False, "--json", help="One JSON object a flow, then the summary."),
) -> None:
    """Judge a file's flows in memory, as workers would: no Kafka, no Redis.

    With --json a line for each flow of a device, in the file's order: its record's number, whose it is, the
    verdict with scores and novelty, whether the device is being learnt about (its first half hour, in which
    it alerts beyond doubt alone), and the incident that counts it. What a profile holds back is normal. The
    last line is {"summary": {...}}.
    Example:

        autodeep flows judge home.pcapng --home 192.168.0.0/16 --json | jq -c 'select(.incident)'

    Exit codes: 2 the file, its rest or an option cannot be used, 3 the model cannot.
    """
    import sys

    from streams.cli.flows_judge import judge_file
    from streams.client.flow_sources import FlowSource

    ours, options = settings_of(home, site, dialect, kafka_jsonl)
    sys.exit(judge_file(FlowSource(file, options), ours, (model, store), profile, as_json=as_json))


def _of_file(file: str, home: Home, options: Options) -> tuple[list[Finding], dict[str, Any]]:
    from streams.client.flow_files import opened, records
    from streams.client.flow_reading import blocks
    from streams.codec.ingest.flows.decoder import FlowDecoder
    from streams.doctor.flow_rules import findings
    from streams.doctor.flow_survey import Survey, figures

    decoder, survey = FlowDecoder(options.dialect), Survey(home)
    with opened(file) as stream:
        for block in blocks(records(stream, file, options)):
            survey.add(block, decoder.decode(block, block[0].header))
    return findings(survey), {"file": file, "figures": figures(survey)}


def _of_topic(
    topic: str, settings: Settings, means: tuple[Home, Options], tail: Tail
) -> tuple[list[Finding], dict[str, Any]]:
    import time

    from streams.adapters.registry import registry_of
    from streams.client.flow_topics import TopicTail
    from streams.codec.ingest.flows.decoder import FlowDecoder
    from streams.doctor.flow_rules import findings
    from streams.doctor.flow_survey import Survey, figures
    from streams.doctor.flow_topic_rules import figures as topic_figures
    from streams.doctor.flow_topic_rules import topic_findings

    home, options = means
    registry = registry_of(settings) if settings.schema_registry_url else None
    decoder, survey = FlowDecoder(options.dialect, registry), Survey(home)
    with TopicTail(settings, topic, tail) as last:
        for block in last.blocks():
            survey.add(block, decoder.decode(block))
    found = topic_findings(topic, last.facts, time.time_ns() // 1_000_000)
    if survey.records:
        found += findings(survey)
    return found, {"topic": topic, "kafka": topic_figures(last.facts), "figures": figures(survey)}


def _show(file: str, findings: Sequence[Finding]) -> None:
    from streams.cli.output import say

    say(file)
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        say(f"  {finding.level.name.lower():<8} {finding.check:<{width}}  {finding.found}")
        if finding.advice:
            say(f"  {'':<8} {'':<{width}}  -> {finding.advice}")


def settings_of(home: str, site: str, dialect: str, is_kafka: bool) -> tuple[Home, Options]:
    """What the options say, else the environment."""
    from streams.client.flow_files import Options
    from streams.client.homes import dialect_of, home_of

    settings = chosen(home, site, dialect)
    return home_of(settings), Options(dialect_of(settings), is_kafka)


def chosen(home: str, site: str, dialect: str) -> Settings:
    """The environment, and what the options say instead."""
    import dataclasses
    import os

    from streams.settings import Settings

    settings = Settings.from_environment(os.environ)
    return dataclasses.replace(
        settings,
        home_networks=home or settings.home_networks,
        site=site or settings.site,
        flow_dialect=dialect or settings.flow_dialect,
    )
