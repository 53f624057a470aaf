"""`autodeep topics`: make the topics, say how those that exist differ, list them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from streams.adapters.kafka.topics import TopicReport

app = typer.Typer(no_args_is_help=True, help="Make and list the topics.")


@app.command()
def create(
    partitions: int = typer.Option(
        12, min=1, max=100_000, help="Partitions of the telemetry: the most workers that share it."
    ),
    replication: int = typer.Option(0, min=0, max=1000, help="Copies of each; 0: three, or one a broker."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only say what is missing and what differs."),
    as_json: bool = typer.Option(False, "--json", help="One JSON object."),
) -> None:
    """Make every topic that is missing. Topics that exist are compared, never changed.

    Example:

        AUTODEEP_KAFKA_SERVERS=kafka:9092 autodeep topics create --partitions 24

    Exit codes: 4 a topic exists and differs, 69 Kafka did not answer.
    """
    import os

    from streams.adapters.kafka.topics import State, create_topics, topic_specs
    from streams.core.topics import Topics
    from streams.errors import TopicsDiffer
    from streams.settings import Settings

    settings = Settings.from_environment(os.environ)
    specs = topic_specs(Topics(settings.topic_prefix), partitions, settings.output_names)
    reports = create_topics(settings, specs, replication or None, dry_run=dry_run)
    _show_json(reports) if as_json else _show(reports)
    differing = [report.spec.name for report in reports if report.state is State.DIFFERS]
    if differing:
        raise TopicsDiffer(
            f"{', '.join(differing)}: there, and not as asked for. Kafka's own tools alter topics "
            "(kafka-configs, kafka-topics); more partitions move devices between them"
        )


@app.command()
def strimzi(
    cluster: str = typer.Option("kafka", help="Name of Strimzi's Kafka resource."),
    partitions: int = typer.Option(
        12, min=1, max=100_000, help="Partitions of the telemetry: the most workers that share it."
    ),
    replication: int = typer.Option(3, min=1, max=1000, help="Copies of each topic."),
    authentication: str = typer.Option("scram-sha-512", help="How users log in: scram-sha-512 or tls."),
) -> None:
    """Print every topic, and users with the rights that they need, as resources of Strimzi (YAML).

    Nothing is asked and nothing made. Example:

        autodeep topics strimzi --cluster my-kafka | kubectl apply -n kafka -f -
    """
    import os

    from streams.adapters.kafka import strimzi as resources
    from streams.adapters.kafka.topics import topic_specs
    from streams.core.topics import Topics
    from streams.errors import SettingsError
    from streams.settings import Settings

    if authentication not in {"scram-sha-512", "tls"}:
        raise SettingsError(f"--authentication {authentication}: expected scram-sha-512 or tls")
    settings = Settings.from_environment(os.environ)
    of = resources.Cluster(cluster, replication, authentication)
    specs = topic_specs(Topics(settings.topic_prefix), partitions, settings.output_names)
    found = [*resources.topics(specs, of), *resources.users(settings, of)]
    typer.echo(resources.as_yaml(found), nl=False)


@app.command("list")
def list_(as_json: bool = typer.Option(False, "--json", help="One JSON object.")) -> None:
    """List the topics under the prefix, with partitions and copies. Example: autodeep topics list --json"""
    import json
    import os

    from streams.adapters.kafka.topics import list_topics
    from streams.settings import Settings

    settings = Settings.from_environment(os.environ)
    found = list_topics(settings, settings.topic_prefix)
    if as_json:
        table = {
            name: {"partitions": parts, "replication": copies} for name, (parts, copies) in found.items()
        }
        typer.echo(json.dumps({"topics": table}))
        return
    for name, (parts, copies) in found.items():
        typer.echo(f"{name:<28} {parts:>4} partitions  {copies} copies")
    if not found:
        typer.echo(
            f"no topics begin with {settings.topic_prefix}.; `autodeep topics create` makes them", err=True
        )


def _show(reports: list[TopicReport]) -> None:
    from rich.table import Table

    from streams.cli.output import add_row, console

    table = Table("topic", "partitions", "state", "what differs", "wanted", "found", box=None, pad_edge=False)
    for report in reports:
        first, *more = report.differences or (None,)
        cells = (first.what, first.wanted, first.found) if first else ("", "", "")
        add_row(table, report.spec.name, str(report.spec.partitions), report.state.value, *cells)
        for other in more:
            add_row(table, "", "", "", *((other.what, other.wanted, other.found) if other else ()))
    console().print(table)


def _show_json(reports: list[TopicReport]) -> None:
    import dataclasses
    import json

    topics = {
        report.spec.name: {
            "state": report.state.value,
            "partitions": report.spec.partitions,
            "replication": report.replication,
            "config": dict(report.spec.config),
            "differences": [dataclasses.asdict(difference) for difference in report.differences],
        }
        for report in reports
    }
    typer.echo(json.dumps({"topics": topics}))
